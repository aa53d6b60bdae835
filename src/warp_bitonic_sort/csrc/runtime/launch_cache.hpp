// Caches checked launches by the layout of their tensors.
//
// Invariant: a cached launch equals the result of a full check of the same tensors, except for
// their addresses, which are checked at every call. A look-up takes no lock: entries are only
// added.
#ifndef WARP_BITONIC_SORT_RUNTIME_LAUNCH_CACHE_HPP_
#define WARP_BITONIC_SORT_RUNTIME_LAUNCH_CACHE_HPP_

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "call_check.hpp"
#include "driver/gpu.hpp"

namespace warp_bitonic_sort {

// The axis and order of a sort; a negative axis counts from the last.
struct SortOptions {
  int64_t axis;
  bool descending;
  bool nan_last;
};

// Selection and payload of a kernel, as one number. Kernels for the first elements are alike: the
// layout of an output tells how many are wanted.
inline int64_t operation_of(const wbs_cell& cell) {
  const bool keeps_all = cell.selection == static_cast<uint32_t>(selection::all);
  return static_cast<int64_t>(!keeps_all) << 8 | cell.payload;
}

class LaunchCache {
 public:
  static LaunchCache& instance() {
    static LaunchCache cache;
    return cache;
  }

  // Repeats the launch for tensors laid out like cached ones. Returns false if there is none, or if
  // the tensors need a full check: null pointers, unaligned addresses, overlaps.
  bool launch(int64_t operation, const Operands& operands, SortOptions options,
              void* stream) const {
    if (!has_strides(operands)) return false;
    if (options.axis < 0) options.axis += operands[0].tensor->ndim;
    const uint64_t hash = hash_of(operation, operands, options);
    for (const Entry* entry = bucket_of(hash).load(std::memory_order_acquire); entry != nullptr;
         entry = entry->next) {
      if (entry->hash != hash || !entry->fits(operation, operands, options)) continue;
      return entry->launch(operands, stream);
    }
    return false;
  }

  // The kernel must live for as long as the process.
  template <int Inputs, int Outputs>
  void remember(const Operands& operands, SortOptions options, const driver::GpuKernel& kernel,
                const wbs_args<Inputs, Outputs>& args) {
    if (!has_strides(operands)) return;
    if (options.axis < 0) options.axis += operands[0].tensor->ndim;
    const int64_t operation = operation_of(kernel.info().cell);
    const std::lock_guard<std::mutex> lock(guard_);
    const uint64_t hash = hash_of(operation, operands, options);
    std::atomic<const Entry*>& bucket = bucket_of(hash);
    const Entry* const first = bucket.load(std::memory_order_relaxed);
    for (const Entry* entry = first; entry != nullptr; entry = entry->next) {
      if (entry->hash == hash && entry->fits(operation, operands, options)) return;
    }
    // Further layouts are checked in full at every call.
    if (count_ == max_entries) return;
    ++count_;
    auto entry = std::make_unique<Entry>();
    entry->hash = hash;
    entry->operation = operation;
    entry->options = options;
    for (size_t i = 0; i < max_operands; ++i) entry->tensors[i] = layout_of(operands[i]);
    entry->kernel = &kernel;
    entry->inputs = Inputs;
    entry->rows = args.rows;
    static_assert(sizeof(args) <= sizeof(entry->args), "room for every kernel's arguments");
    std::memcpy(entry->args, &args, sizeof(args));
    entry->next = first;
    bucket.store(entry.release(), std::memory_order_release);
  }

 private:
  // All of a tensor but its address.
  struct TensorLayout {
    bool is_present;
    DLDataType dtype;
    DLDevice device;
    std::vector<int64_t> shape, strides;
    Span reach;

    bool fits(const DLTensor* tensor) const {
      if (tensor == nullptr) return !is_present;
      return is_present && tensor->ndim == static_cast<int32_t>(shape.size()) &&
             same(tensor->dtype, dtype) && tensor->device.device_type == device.device_type &&
             tensor->device.device_id == device.device_id &&
             std::equal(shape.begin(), shape.end(), tensor->shape) &&
             std::equal(strides.begin(), strides.end(), tensor->strides);
    }
  };

  struct Entry {
    uint64_t hash;
    int64_t operation;
    SortOptions options;
    TensorLayout tensors[max_operands];
    const driver::GpuKernel* kernel;
    size_t inputs;
    int64_t rows;
    alignas(8) unsigned char args[sizeof(wbs_args<1, max_operands - 1>)];
    const Entry* next;

    bool fits(int64_t wanted, const Operands& operands, const SortOptions& order) const {
      if (wanted != operation || order.axis != options.axis ||
          order.descending != options.descending || order.nan_last != options.nan_last) {
        return false;
      }
      for (size_t i = 0; i < max_operands; ++i) {
        if (!tensors[i].fits(operands[i].tensor)) return false;
      }
      return true;
    }

    bool launch(const Operands& operands, void* stream) const {
      alignas(8) unsigned char own_args[sizeof(args)];
      std::memcpy(own_args, args, sizeof(args));
      const char* address[max_operands] = {};
      size_t count = 0;
      for (; count < max_operands && operands[count].name != nullptr; ++count) {
        const DLTensor* const tensor = operands[count].tensor;
        if (tensor == nullptr) continue;
        if (tensor->data == nullptr) return false;
        address[count] = first_byte(*tensor);
        if (!is_aligned(address[count], operands[count].width)) return false;
        for (size_t other = 0; other < count; ++other) {
          if (overlap(address, other, count)) return false;
        }
      }
      // Addresses are the first members of wbs_args.
      std::memcpy(own_args, address, count * sizeof(address[0]));
      kernel->launch(own_args, rows, stream);
      return true;
    }

    // An output of whole rows may be an input itself. Inputs may overlap each other.
    bool overlap(const char* const* address, size_t a, size_t b) const {
      if (address[a] == nullptr || b < inputs) return false;
      if (address[a] + tensors[a].reach.high <= address[b] + tensors[b].reach.low ||
          address[b] + tensors[b].reach.high <= address[a] + tensors[a].reach.low) {
        return false;
      }
      const bool keeps_all = operation >> 8 == 0;
      return !keeps_all || !may_be_same(inputs, a, b) || address[a] != address[b] ||
             tensors[a].strides != tensors[b].strides ||
             tensors[a].dtype.bits != tensors[b].dtype.bits;
    }
  };

  static constexpr int buckets = 1024, max_entries = 4096;

  static TensorLayout layout_of(const Operand& operand) {
    if (operand.tensor == nullptr) return TensorLayout{};
    const DLTensor& tensor = *operand.tensor;
    TensorLayout layout{true,
                        tensor.dtype,
                        tensor.device,
                        {tensor.shape, tensor.shape + tensor.ndim},
                        {tensor.strides, tensor.strides + tensor.ndim},
                        {0, operand.width}};
    for (int32_t i = 0; i < tensor.ndim; ++i) {
      const int64_t stride = tensor.strides[i] * operand.width;
      (stride < 0 ? layout.reach.low : layout.reach.high) += (tensor.shape[i] - 1) * stride;
    }
    return layout;
  }

  static bool has_strides(const Operands& operands) {
    for (const Operand& operand : operands) {
      if (operand.tensor != nullptr && operand.tensor->strides == nullptr) return false;
    }
    return true;
  }

  static uint64_t hash_of(int64_t operation, const Operands& operands, const SortOptions& options) {
    // One multiplication a word; the last shift moves the high bits, which are mixed best, down.
    constexpr uint64_t multiplier = 0x9E3779B97F4A7C15u;
    const DLTensor& x = *operands[0].tensor;
    uint64_t hash = static_cast<uint64_t>(x.dtype.code) << 8 | x.dtype.bits;
    const auto mix = [&hash](int64_t word) {
      hash = (hash ^ static_cast<uint64_t>(word)) * multiplier;
    };
    mix(operation << 32 | x.device.device_id);
    mix(options.axis * 4 + options.descending * 2 + options.nan_last);
    for (int32_t i = 0; i < x.ndim; ++i) mix(x.shape[i]);
    for (const Operand& operand : operands) {
      if (operand.tensor == nullptr) continue;
      for (int32_t i = 0; i < operand.tensor->ndim; ++i) mix(operand.tensor->strides[i]);
    }
    return hash ^ hash >> 32;
  }
  std::atomic<const Entry*>& bucket_of(uint64_t hash) { return table_[hash % buckets]; }
  const std::atomic<const Entry*>& bucket_of(uint64_t hash) const { return table_[hash % buckets]; }

  std::atomic<const Entry*> table_[buckets] = {};
  std::mutex guard_;
  int count_ = 0;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_RUNTIME_LAUNCH_CACHE_HPP_
