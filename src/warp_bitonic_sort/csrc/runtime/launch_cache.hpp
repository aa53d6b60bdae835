// Sorts on a device that were checked and described once, found again by their tensors' layout.
//
// Invariant: what is found is what a full check of these tensors would come to, but for their
// addresses, which are looked at every time. Looking up takes no lock: entries are only ever added.
#ifndef WARP_BITONIC_SORT_RUNTIME_LAUNCH_CACHE_HPP_
#define WARP_BITONIC_SORT_RUNTIME_LAUNCH_CACHE_HPP_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "call_check.hpp"
#include "driver/gpu.hpp"

namespace warp_bitonic_sort {

// The order and the axis of a sort; a negative axis counts from the last.
struct SortOptions {
  int64_t axis;
  bool descending;
  bool nan_last;
};

class LaunchCache {
 public:
  static LaunchCache& instance() {
    static LaunchCache sorts;
    return sorts;
  }

  // Launches the sort of tensors laid out like ones remembered; false where there are none, or
  // where these need a closer look (no memory, an address between elements, an overlap).
  bool launch(const DLTensor& x, const DLTensor& out, SortOptions options, void* stream) const {
    if (x.strides == nullptr || out.strides == nullptr) return false;
    if (options.axis < 0) options.axis += x.ndim;
    const uint64_t hash = hash_of(x, out, options);
    for (const Entry* entry = bucket_of(hash).load(std::memory_order_acquire); entry != nullptr;
         entry = entry->next) {
      if (entry->hash != hash || !entry->fits(x, out, options)) continue;
      const char* const src = first_byte(x);
      const char* const dst = first_byte(out);
      if (x.data == nullptr || out.data == nullptr) return false;
      const int64_t width = x.dtype.bits / 8;
      if (!is_aligned(src, width) || !is_aligned(dst, width)) return false;
      if (src + entry->x.high > dst + entry->out.low &&
          dst + entry->out.high > src + entry->x.low && !(src == dst && entry->in_place)) {
        return false;
      }
      wbs_gpu_sort_args args = entry->args;
      args.src = src;
      args.dst = const_cast<char*>(dst);
      entry->kernel->launch(args, stream);
      return true;
    }
    return false;
  }

  // The kernel must live for as long as the process.
  void remember(const DLTensor& x, const DLTensor& out, SortOptions options,
                const driver::GpuKernel& kernel, const wbs_gpu_sort_args& args) {
    if (x.strides == nullptr || out.strides == nullptr) return;
    if (options.axis < 0) options.axis += x.ndim;
    const std::lock_guard<std::mutex> lock(guard_);
    const uint64_t hash = hash_of(x, out, options);
    std::atomic<const Entry*>& bucket = bucket_of(hash);
    const Entry* const first = bucket.load(std::memory_order_relaxed);
    for (const Entry* entry = first; entry != nullptr; entry = entry->next) {
      if (entry->hash == hash && entry->fits(x, out, options)) return;
    }
    // A program of more shapes than that takes the longer way for the rest of them.
    if (count_ == max_entries) return;
    ++count_;
    const int64_t width = x.dtype.bits / 8;
    std::unique_ptr<Entry> entry(new Entry{hash,
                                           x.dtype,
                                           x.device,
                                           options,
                                           {x.shape, x.shape + x.ndim},
                                           {x.strides, x.strides + x.ndim},
                                           {out.strides, out.strides + out.ndim},
                                           reach_of(x, width),
                                           reach_of(out, width),
                                           false,
                                           &kernel,
                                           args,
                                           first});
    entry->in_place = entry->x_strides == entry->out_strides;
    bucket.store(entry.release(), std::memory_order_release);
  }

 private:
  struct Entry {
    uint64_t hash;
    DLDataType dtype;
    DLDevice device;
    SortOptions options;
    std::vector<int64_t> shape, x_strides, out_strides;
    Span x, out;
    bool in_place;
    const driver::GpuKernel* kernel;
    wbs_gpu_sort_args args;
    const Entry* next;

    bool fits(const DLTensor& a, const DLTensor& b, const SortOptions& wanted) const {
      const auto rank = static_cast<int32_t>(shape.size());
      return a.ndim == rank && b.ndim == rank && same(a.dtype, dtype) && same(b.dtype, dtype) &&
             same(a.device, device) && same(b.device, device) && wanted.axis == options.axis &&
             wanted.descending == options.descending && wanted.nan_last == options.nan_last &&
             std::equal(shape.begin(), shape.end(), a.shape) &&
             std::equal(shape.begin(), shape.end(), b.shape) &&
             std::equal(x_strides.begin(), x_strides.end(), a.strides) &&
             std::equal(out_strides.begin(), out_strides.end(), b.strides);
    }
    static bool same(DLDataType a, DLDataType b) { return warp_bitonic_sort::same(a, b); }
    static bool same(DLDevice a, DLDevice b) {
      return a.device_type == b.device_type && a.device_id == b.device_id;
    }
  };

  static constexpr int buckets = 1024, max_entries = 4096;

  static uint64_t hash_of(const DLTensor& x, const DLTensor& out, const SortOptions& options) {
    // One multiplication a word; the last shift brings the high bits, the best mixed, down.
    constexpr uint64_t odd = 0x9E3779B97F4A7C15u;
    uint64_t hash = static_cast<uint64_t>(x.dtype.code) << 8 | x.dtype.bits;
    const auto mix = [&hash](int64_t word) { hash = (hash ^ static_cast<uint64_t>(word)) * odd; };
    mix(x.device.device_id);
    mix(options.axis * 4 + options.descending * 2 + options.nan_last);
    for (int32_t i = 0; i < x.ndim; ++i) {
      mix(x.shape[i]);
      mix(x.strides[i]);
    }
    for (int32_t i = 0; i < out.ndim; ++i) mix(out.strides[i]);
    return hash ^ hash >> 32;
  }
  std::atomic<const Entry*>& bucket_of(uint64_t hash) { return table_[hash % buckets]; }
  const std::atomic<const Entry*>& bucket_of(uint64_t hash) const { return table_[hash % buckets]; }

  static Span reach_of(const DLTensor& tensor, int64_t width) {
    Span span{0, width};
    for (int32_t i = 0; i < tensor.ndim; ++i) {
      const int64_t stride = tensor.strides[i] * width;
      (stride < 0 ? span.low : span.high) += (tensor.shape[i] - 1) * stride;
    }
    return span;
  }

  std::atomic<const Entry*> table_[buckets] = {};
  std::mutex guard_;
  int count_ = 0;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_RUNTIME_LAUNCH_CACHE_HPP_
