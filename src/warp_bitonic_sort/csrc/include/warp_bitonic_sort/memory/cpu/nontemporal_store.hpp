// Stores a long result past the caches, in whole cache lines.
//
// Invariant: after finish(), memory holds exactly what ordinary stores would have left there,
// whatever the alignment. Nothing outside [first byte, last byte) is written.
#ifndef WARP_BITONIC_SORT_MEMORY_CPU_NONTEMPORAL_STORE_HPP_
#define WARP_BITONIC_SORT_MEMORY_CPU_NONTEMPORAL_STORE_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

constexpr int line_bytes = 64;

// An ordinary store first reads the cache line that it misses: a third of the traffic of an
// out-of-place sort. Non-temporal stores do not, but need whole aligned lines, hence the stage.
// Measured: they pay off where a vector is a line; with AVX2 they delay the work.
#if defined(__x86_64__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define WBS_STREAMS_STORES 1
constexpr bool streams_stores = true;
#else
constexpr bool streams_stores = false;
#endif

// Smaller results stay in the caches, where they fit and are likely read next. Tests lower this.
#ifndef WARP_BITONIC_SORT_MIN_STREAMED_BYTES
#define WARP_BITONIC_SORT_MIN_STREAMED_BYTES (8 << 20)
#endif
constexpr long long min_streamed_bytes = WARP_BITONIC_SORT_MIN_STREAMED_BYTES;

// Whether a batch of keys is larger than caches.
WBS_INLINE bool is_large(const wbs_args<1, 1>& args, int key_bytes) {
  long long bytes = static_cast<long long>(args.length) * key_bytes;
  for (int i = 0; i < args.batch_dims; ++i) bytes *= args.batch_shape[i];
  return bytes >= min_streamed_bytes;
}
// Whether to stream a batch; `contiguous` tells that its rows have no gaps.
WBS_INLINE bool is_streamed(const wbs_args<1, 1>& args, int key_bytes, bool contiguous) {
  return streams_stores && contiguous && args.input[0] != args.output[0] &&
         is_large(args, key_bytes);
}

class nontemporal_store {
 public:
  // Bytes of a stage for groups of `group_bytes`.
  static constexpr long long stage_bytes(long long group_bytes) { return group_bytes + line_bytes; }

  // Streams consecutive groups, each of whole lines in size, to `to` through `stage`, which is
  // aligned to a line.
  WBS_INLINE nontemporal_store(char* stage, char* to, long long group_bytes)
      : stage_(stage),
        to_(to),
        group_bytes_(group_bytes),
        skew_(static_cast<int>(reinterpret_cast<unsigned long>(to) % line_bytes)) {}

  // The place of the next group.
  WBS_INLINE char* group() const { return stage_ + skew_; }
  // Streams the whole lines of the group; the rest waits for the next group.
  WBS_INLINE void flush() {
    long long at = 0;
    if (fresh_) {
      __builtin_memcpy(to_, stage_ + skew_, static_cast<unsigned>(line_bytes - skew_));
      at = line_bytes;
      fresh_ = false;
    }
    for (; at < group_bytes_; at += line_bytes) stream(to_ - skew_ + at, stage_ + at);
    __builtin_memcpy(stage_, stage_ + group_bytes_, line_bytes);
    to_ += group_bytes_;
  }
  // Streams one run, until the next fence().
  static void copy(char* to, const char* from, int bytes) {
    const int skew = static_cast<int>(reinterpret_cast<unsigned long>(to) % line_bytes);
    int at = skew == 0 ? 0 : line_bytes - skew;
    if (at > bytes) at = bytes;
    __builtin_memcpy(to, from, static_cast<unsigned long>(at));
    for (; at + line_bytes <= bytes; at += line_bytes) stream(to + at, from + at);
    __builtin_memcpy(to + at, from + at, static_cast<unsigned long>(bytes - at));
  }
#if defined(WBS_STREAMS_STORES)
  static void fence() { __builtin_ia32_sfence(); }
#else
  static void fence() {}
#endif
  // Writes the remaining bytes, and makes all of them visible to other threads.
  void finish() {
    if (!fresh_) __builtin_memcpy(to_ - skew_, stage_, static_cast<unsigned>(skew_));
    fresh_ = true;
    fence();
  }

 private:
#if defined(WBS_STREAMS_STORES)
  typedef long long line __attribute__((vector_size(line_bytes), may_alias));
  static WBS_INLINE void stream(char* to, const char* from) {
    line value;
    __builtin_memcpy(&value, from, line_bytes);
#if defined(__clang__)
    __builtin_nontemporal_store(value, reinterpret_cast<line*>(to));
#else
    __builtin_ia32_movntdq512(reinterpret_cast<line*>(to), value);
#endif
  }
#else
  static void stream(char* to, const char* from) { __builtin_memcpy(to, from, line_bytes); }
#endif

  char* stage_;
  char* to_;
  long long group_bytes_;
  int skew_;
  bool fresh_ = true;  // nothing before to_ is in the stage
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_CPU_NONTEMPORAL_STORE_HPP_
