// Writing a long result past the caches.
//
// Invariant: what reaches memory is exactly what ordinary stores would have left there, whatever
// the alignment, once finish() has run; nothing outside [first byte, last byte) is written.
#ifndef WARP_BITONIC_SORT_MEMORY_CPU_NONTEMPORAL_STORE_HPP_
#define WARP_BITONIC_SORT_MEMORY_CPU_NONTEMPORAL_STORE_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

constexpr int line_bytes = 64;

// A line that a store misses is read before it is written: a third of the traffic of a sort that is
// not in place, for bytes that are all overwritten. Streaming stores spare it, but must cover
// aligned lines, and results seldom begin at one. So a group's bytes are laid out in a stage that
// is as far off a line as their destination is; its whole lines are streamed, and what begins a
// line waits for the group that ends it. Measured: worth it where a vector is a line, and not with
// AVX2, where the work on a group takes longer than its traffic and the waiting stores only stand
// in its way.
#if defined(__x86_64__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define WBS_STREAMS_STORES 1
constexpr bool streams_stores = true;
#else
constexpr bool streams_stores = false;
#endif

// Results below this are left in the caches, for they fit there and are likely wanted again. Tests
// lower it.
#ifndef WARP_BITONIC_SORT_MIN_STREAMED_BYTES
#define WARP_BITONIC_SORT_MIN_STREAMED_BYTES (8 << 20)
#endif
constexpr long long min_streamed_bytes = WARP_BITONIC_SORT_MIN_STREAMED_BYTES;

// Whether a batch of rows without gaps, `contiguous`, is worth streaming.
WBS_INLINE bool is_streamed(const wbs_args<1, 1>& args, bool contiguous) {
  if (!streams_stores || !contiguous || args.input[0] == args.output[0]) return false;
  long long bytes = args.length * args.output_stride[0];
  for (int i = 0; i < args.batch_dims; ++i) bytes *= args.batch_shape[i];
  return bytes >= min_streamed_bytes;
}

class nontemporal_store {
 public:
  // What a stage for groups of `group_bytes` takes, in bytes.
  static constexpr long long stage_bytes(long long group_bytes) { return group_bytes + line_bytes; }

  // Streams groups, of a multiple of a line's bytes each, to `to` and on, by way of `stage`, which
  // is aligned to a line.
  WBS_INLINE nontemporal_store(char* stage, char* to, long long group_bytes)
      : stage_(stage),
        to_(to),
        group_bytes_(group_bytes),
        skew_(static_cast<int>(reinterpret_cast<unsigned long>(to) % line_bytes)) {}

  // Where to put the next group.
  WBS_INLINE char* group() const { return stage_ + skew_; }
  // Sends it off.
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
  // Writes what is left, and lets other threads see all of it.
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
  static void fence() { __builtin_ia32_sfence(); }
#else
  static void stream(char* to, const char* from) { __builtin_memcpy(to, from, line_bytes); }
  static void fence() {}
#endif

  char* stage_;
  char* to_;
  long long group_bytes_;
  int skew_;
  bool fresh_ = true;  // nothing before to_ is in the stage
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_CPU_NONTEMPORAL_STORE_HPP_
