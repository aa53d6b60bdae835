// Stores a long result past the caches, in whole cache lines.
//
// Invariant: after finish(), memory holds exactly what ordinary stores would have left there,
// whatever the alignment. Nothing outside [first byte, last byte) is written.
#ifndef WARP_BITONIC_SORT_MEMORY_CPU_NONTEMPORAL_STORE_HPP_
#define WARP_BITONIC_SORT_MEMORY_CPU_NONTEMPORAL_STORE_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

constexpr int line_bytes = 64, page_bytes = 4096;

// An ordinary store first reads the cache line that it misses: a third of the traffic of an
// out-of-place sort. Non-temporal stores do not, but need whole aligned lines, hence the stage.
#if defined(__x86_64__) && defined(__AVX2__)
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
  // Bytes of a stage for groups of at most `group_bytes`.
  static constexpr long long stage_bytes(long long group_bytes) {
    return group_bytes + 2 * line_bytes;
  }

  // Streams consecutive groups, each of at least a line, to `to` through `stage`, which is aligned
  // to a line.
  WBS_INLINE nontemporal_store(char* stage, char* to)
      : stage_(stage),
        first_(static_cast<int>(reinterpret_cast<unsigned long>(to) % line_bytes)),
        filled_(first_),
        to_(to - first_) {}

  // The place of the next group.
  WBS_INLINE char* group() const { return stage_ + filled_; }
  // Streams the whole lines of the group; the rest waits for the next group.
  WBS_INLINE void flush(int group_bytes) {
    filled_ += group_bytes;
    int at = 0;
    if (first_ > 0) {
      __builtin_memcpy(to_ + first_, stage_ + first_, static_cast<unsigned>(line_bytes - first_));
      at = line_bytes;
      first_ = 0;
    }
    for (; at + line_bytes <= filled_; at += line_bytes) stream(to_ + at, stage_ + at);
    __builtin_memcpy(stage_, stage_ + at, line_bytes);
    to_ += at;
    filled_ -= at;
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
    __builtin_memcpy(to_ + first_, stage_ + first_, static_cast<unsigned long>(filled_ - first_));
    fence();
  }

 private:
#if defined(WBS_STREAMS_STORES)
#if defined(__AVX512F__)
  static constexpr int piece_bytes = line_bytes;
#else
  static constexpr int piece_bytes = line_bytes / 2;
#endif
  typedef long long piece __attribute__((vector_size(piece_bytes), may_alias));
  static WBS_INLINE void stream(char* to, const char* from) {
    for (int at = 0; at < line_bytes; at += piece_bytes) {
      piece value;
      __builtin_memcpy(&value, from + at, sizeof(value));
#if defined(__clang__)
      __builtin_nontemporal_store(value, reinterpret_cast<piece*>(to + at));
#elif defined(__AVX512F__)
      __builtin_ia32_movntdq512(reinterpret_cast<piece*>(to + at), value);
#else
      __builtin_ia32_movntdq256(reinterpret_cast<piece*>(to + at), value);
#endif
    }
  }
#else
  static void stream(char* to, const char* from) { __builtin_memcpy(to, from, line_bytes); }
#endif

  char* stage_;
  int first_;   // bytes of the first line that precede the result
  int filled_;  // bytes in the stage
  char* to_;    // the line that the stage begins with
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_CPU_NONTEMPORAL_STORE_HPP_
