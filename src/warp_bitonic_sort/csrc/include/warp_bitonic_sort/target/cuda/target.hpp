// The CUDA target: defines what a register holds, how two registers compare, and how the lanes of a
// warp exchange them.
//
// Invariant: compiler builtins and inline PTX only, no CUDA header. A register holds one key of 32
// or 64 bits, or the keys of two rows, 16 bits each. 8-bit keys are widened to 16. A warp therefore
// moves as many bytes with short keys as with long ones. Keys compare as signed integers.
#ifndef WARP_BITONIC_SORT_TARGET_CUDA_TARGET_HPP_
#define WARP_BITONIC_SORT_TARGET_CUDA_TARGET_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/register_codec.hpp>
#include <warp_bitonic_sort/target/cuda/blocks.hpp>
#include <warp_bitonic_sort/target/cuda/ops.hpp>

namespace warp_bitonic_sort {

namespace cuda_detail {

template <class Key>
constexpr bool is_pair = false;
template <>
inline constexpr bool is_pair<key16x2> = true;

template <class Key>
__device__ __forceinline__ Key minimum(Key a, Key b) {
  return a < b ? a : b;
}
template <class Key>
__device__ __forceinline__ Key maximum(Key a, Key b) {
  return a < b ? b : a;
}
__device__ __forceinline__ key16x2 minimum(key16x2 a, key16x2 b) {
  key16x2 c;
#if __CUDA_ARCH__ >= 900
  asm("min.s16x2 %0, %1, %2;" : "=r"(c.both) : "r"(a.both), "r"(b.both));
#else
  // The order of the low halves is that of the words shifted up; that of the high ones is that of
  // the words with equal low halves.
  const int x = static_cast<int>(a.both << 16), y = static_cast<int>(b.both << 16);
  const int u = static_cast<int>(a.both & 0xFFFF0000u), v = static_cast<int>(b.both & 0xFFFF0000u);
  c.both = static_cast<unsigned>(minimum(x, y)) >> 16 | static_cast<unsigned>(minimum(u, v));
#endif
  return c;
}
__device__ __forceinline__ key16x2 maximum(key16x2 a, key16x2 b) {
  key16x2 c;
#if __CUDA_ARCH__ >= 900
  asm("max.s16x2 %0, %1, %2;" : "=r"(c.both) : "r"(a.both), "r"(b.both));
#else
  // The sum minus the lesser of each half; no half carries.
  c.both = a.both + b.both - minimum(a, b).both;
#endif
  return c;
}

// x * factor + term, on the pipe of the multipliers, which a sort leaves idle.
__device__ __forceinline__ int multiply_add(int x, int factor, int term) {
  int result;
  asm("mad.lo.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(x), "r"(factor), "r"(term));
  return result;
}
__device__ __forceinline__ key16x2 multiply_add(key16x2 x, int factor, int term) {
  return {static_cast<unsigned>(multiply_add(static_cast<int>(x.both), factor, term))};
}
__device__ __forceinline__ key16x2 multiply_add(key16x2 x, int factor, key16x2 term) {
  return multiply_add(x, factor, static_cast<int>(term.both));
}

__device__ __forceinline__ int thread() {
  unsigned result;
  asm("mov.u32 %0, %%tid.x;" : "=r"(result));
  // A block has at most 1024 threads, which the compiler may use.
  return static_cast<int>(result & 1023);
}

__device__ __forceinline__ unsigned shuffle(unsigned value, int mask) {
  unsigned result;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, -1;" : "=r"(result) : "r"(value), "r"(mask));
  return result;
}

// Applies a function to each word of a value.
template <class Value, class Function>
__device__ __forceinline__ Value each_word(Value value, Function function) {
  constexpr int count = static_cast<int>(sizeof(Value) / sizeof(unsigned));
  unsigned words[count];
  __builtin_memcpy(words, &value, sizeof(Value));
#pragma unroll
  for (int i = 0; i < count; ++i) words[i] = function(words[i]);
  __builtin_memcpy(&value, words, sizeof(Value));
  return value;
}

}  // namespace cuda_detail

template <class Key, bool HasSums>
struct cuda_column_target;

template <class Key>
struct cuda_target {
  using entry = Key;
  using ops = cuda_ops;
  using row_ops = cuda_row_ops;
  // The target for columns of a layout. Sums were measured on sm_90: faster in columns of 24 and
  // more keys a thread, slower in columns of eight and more warps.
  template <int Registers, int LaneBits, int WarpBits>
  struct columns_of {
    template <class Other>
    using target = cuda_column_target<Other, (Registers > 16 && WarpBits < 3)>;
  };
  WBS_CONSTANT(int, lane_bits, 5);
  WBS_CONSTANT(int, max_block_threads, 1024);
  // The largest limit of any architecture; plans keep to each architecture's own.
  WBS_CONSTANT(int, max_shared_bytes, 227 * 1024);
  // Bytes of a lane's keys, times merges, from which the code of merges is a loop. Measured.
  WBS_CONSTANT(int, min_loop_bytes, 384);
  // Warps of a block whose rows have a whole warp or more. Measured on sm_90 only: such rows are
  // limited by the fetch of instructions, which neighbouring warps share.
  WBS_CONSTANT(int, min_row_warps, 8);
  // Measured: a transposition pays off from two steps on. In long code it pays from three on,
  // unless keys are pairs, whose shuffles take more instructions.
  template <bool IsLong>
  static constexpr int min_transposed_steps = IsLong && !cuda_detail::is_pair<Key> ? 3 : 2;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  WBS_CONSTANT(bool, compares_packed16, true);
#else
  WBS_CONSTANT(bool, compares_packed16, false);
#endif
  WBS_CONSTANT(bool, negates, false);
  WBS_CONSTANT(bool, has_float_keys, false);
  template <int Mask>
  static constexpr bool has_lane_swap = false;

  static __device__ __forceinline__ int lane() { return cuda_detail::thread() & 31; }
  static __device__ __forceinline__ int warp() { return cuda_detail::thread() >> 5; }
  static __device__ __forceinline__ long long block() {
    unsigned result;
    asm("mov.u32 %0, %%ctaid.x;" : "=r"(result));
    return result;
  }
  static __device__ __forceinline__ long long blocks() {
    unsigned result;
    asm("mov.u32 %0, %%nctaid.x;" : "=r"(result));
    return result;
  }
  WBS_CONSTANT(bool, has_block_per_tile, !WBS_CUDA_GRID_STRIDE);
  // The arguments for one iteration of the loop over tiles.
  template <class Arguments>
  static __device__ __forceinline__ const Arguments& reload_args(const Arguments& args) {
    return args;
  }
  template <class T>
  static __device__ __forceinline__ T load_global(const char* address) {
    return *reinterpret_cast<const T*>(address);
  }
  template <class T>
  static __device__ __forceinline__ void store_global(char* address, T value) {
    *reinterpret_cast<T*>(address) = value;
  }
  // The value of the lane whose number differs by Mask, or of any lane.
  template <int Mask, class Value>
  static __device__ __forceinline__ Value from_lane_xor(Value value) {
    return cuda_detail::each_word(value,
                                  [](unsigned word) { return cuda_detail::shuffle(word, Mask); });
  }
  template <class Value>
  static __device__ __forceinline__ Value from_lane(Value value, int lane) {
    return cuda_detail::each_word(value, [lane](unsigned word) {
      unsigned result;
      asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, -1;" : "=r"(result) : "r"(word), "r"(lane));
      return result;
    });
  }
  static __device__ __forceinline__ bool any_in_warp(bool of_lane) {
    unsigned result;
    asm volatile(
        "{\n"
        ".reg .pred mine, some;\n"
        "setp.ne.u32 mine, %1, 0;\n"
        "vote.sync.any.pred some, mine, -1;\n"
        "selp.u32 %0, 1, 0, some;\n"
        "}"
        : "=r"(result)
        : "r"(static_cast<unsigned>(of_lane)));
    return result != 0;
  }

  // The lanes for which it holds, a bit for each.
  using lane_set = unsigned;
  static __device__ __forceinline__ lane_set lanes_where(bool of_lane) {
    unsigned result;
    asm volatile(
        "{\n"
        ".reg .pred mine;\n"
        "setp.ne.u32 mine, %1, 0;\n"
        "vote.sync.ballot.b32 %0, mine, -1;\n"
        "}"
        : "=r"(result)
        : "r"(static_cast<unsigned>(of_lane)));
    return result;
  }
  static __device__ __forceinline__ int population(unsigned bits) {
    int result;
    asm("popc.b32 %0, %1;" : "=r"(result) : "r"(bits));
    return result;
  }
  static __device__ __forceinline__ int count_in_warp(bool of_lane) {
    return population(lanes_where(of_lane));
  }
  // The number of the lowest bit that is set; for 0, -1.
  static __device__ __forceinline__ int lowest_bit(unsigned bits) {
    int result;
    asm("bfind.u32 %0, %1;" : "=r"(result) : "r"(bits & (0u - bits)));
    return result;
  }

  // A value that the compiler must compute where it is used.
  static __device__ __forceinline__ int opaque(int value) {
    asm volatile("" : "+r"(value));
    return value;
  }
  static __device__ __forceinline__ unsigned opaque(unsigned value) {
    asm volatile("" : "+r"(value));
    return value;
  }
  static __device__ __forceinline__ unsigned long long opaque(unsigned long long value) {
    asm volatile("" : "+l"(value));
    return value;
  }
  static __device__ __forceinline__ long long opaque(long long value) {
    asm volatile("" : "+l"(value));
    return value;
  }

  // Arithmetic of floats. The lesser and the greater of a NaN and a number are the number.
  static __device__ __forceinline__ float lesser(float a, float b) {
    float result;
    asm("min.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
  }
  static __device__ __forceinline__ float greater(float a, float b) {
    float result;
    asm("max.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
  }
  static __device__ __forceinline__ float magnitude(float a) {
    float result;
    asm("abs.f32 %0, %1;" : "=f"(result) : "f"(a));
    return result;
  }
  static __device__ __forceinline__ float multiply_add(float a, float b, float c) {
    float result;
    asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(result) : "f"(a), "f"(b), "f"(c));
    return result;
  }
  // Of relative error below 2^-22; infinite for subnormal numbers.
  static __device__ __forceinline__ float reciprocal(float a) {
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(a));
    return result;
  }
  // Conversions from and to the bits of a float of 16 bits.
  static __device__ __forceinline__ float from_half(unsigned short raw) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(raw));
    return result;
  }
  static __device__ __forceinline__ unsigned short to_half(float value) {
    unsigned short result;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result) : "f"(value));
    return result;
  }
  // The number of leading zeros, less than the bits of a word: of 0 one less.
  static __device__ __forceinline__ int leading_zeros(unsigned word) {
    int result;
    asm("clz.b32 %0, %1;" : "=r"(result) : "r"(word | 1));
    return result;
  }
  static __device__ __forceinline__ int leading_zeros(unsigned long long word) {
    int result;
    asm("clz.b64 %0, %1;" : "=r"(result) : "l"(word | 1));
    return result;
  }

  static __device__ __forceinline__ void sync_warp() {
    asm volatile("bar.warp.sync -1;" ::: "memory");
  }
  static __device__ __forceinline__ void sync_block() {
    asm volatile("barrier.sync.aligned 0;" ::: "memory");
  }

  // Of the blocks of a cluster, from sm_90 on. A block may write into the shared memory of another
  // one between two of these barriers.
  static __device__ __forceinline__ void sync_cluster() {
    asm volatile(
        "barrier.cluster.arrive.aligned;\n"
        "barrier.cluster.wait.aligned;" ::
            : "memory");
  }
  // The same place in the shared memory of a block of the cluster.
  template <class T>
  static __device__ __forceinline__ T* in_block(T* shared, int block) {
    T* result;
    asm("mapa.u64 %0, %1, %2;" : "=l"(result) : "l"(shared), "r"(block));
    return result;
  }

  // Asynchronous copies of 4, 8 or 16 bytes to shared memory, complete after sync_copies(). They
  // take one instruction in a loop, and no register.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  WBS_CONSTANT(bool, has_copies, true);
#else
  WBS_CONSTANT(bool, has_copies, false);
#endif
  // An address in shared memory, of 32 bits: computed once for several copies.
  static __device__ __forceinline__ unsigned shared_address(const void* shared) {
    unsigned long long address;
    asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(shared));
    return opaque(static_cast<unsigned>(address));
  }
  template <int Bytes>
  static __device__ __forceinline__ void copy(unsigned to, const void* memory) {
    if constexpr (Bytes == 16) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(memory) : "memory");
    } else {
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(memory), "n"(Bytes)
                   : "memory");
    }
  }
  template <int Bytes>
  static __device__ __forceinline__ void copy(void* shared, const void* memory) {
    copy<Bytes>(shared_address(shared), memory);
  }
  static __device__ __forceinline__ void sync_copies() {
    asm volatile("cp.async.wait_all;" ::: "memory");
  }

  // Blocks of 128 threads that must fit a multiprocessor's registers; 0 leaves occupancy to the
  // compiler. Measured for sorts on sm_90, but not on other architectures. With the same bounds,
  // medians would need local memory.
  static constexpr WBS_HOST_DEVICE int blocks_for(int registers, int entry_bytes, int key_bytes,
                                                  bool finds_median) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
    if (finds_median || registers > 32 || entry_bytes == 8 || key_bytes == 1) return 0;
    if (key_bytes == 2) return registers > 16 ? 8 : registers == 16 ? 12 : 0;
    return registers == 32 ? 9 : 0;
#else
    static_cast<void>(key_bytes), static_cast<void>(finds_median);
    return registers < 16 ? 0 : registers * entry_bytes < 256 ? 4 : 3;
#endif
  }

  // The same for kernels with indices, in threads: as many as need no local memory.
  static constexpr WBS_HOST_DEVICE int index_threads_for(int registers, int key_bytes) {
    const bool is_long = key_bytes == 8;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    return registers <= 16 && !is_long ? 768 : 640;
#else
    if (registers <= 16) return is_long ? 1024 : 1152;
    return registers <= 24 && !is_long ? 1024 : 768;
#endif
  }

  // Threads for columns that warps share, by the bytes of a lane's keys: 1024 leave 64 registers to
  // each, which measured best on sm_90. Other architectures were not measured.
  static constexpr WBS_HOST_DEVICE int column_threads_for(int bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
    return bytes <= 128 ? 1024 : 0;
#else
    return static_cast<void>(bytes), 0;
#endif
  }

  // Threads for kernels that find the first elements of rows, by the bytes of a lane's keys: as
  // many as measured best on sm_90. Elsewhere the largest kernels need some local memory, of 24
  // bytes at most for most keys (tests/support/gpu_code.py).
  static constexpr WBS_HOST_DEVICE int first_threads_for(int bytes) {
    return bytes <= 32 ? 1024 : bytes <= 64 ? 640 : 384;
  }

  // 1, hidden from the compiler.
  int opaque_one;

  // Sums on the pipe of the multipliers.
  __device__ __forceinline__ unsigned add(unsigned a, unsigned b) const {
    return shift_add(a, 0, b);
  }
  __device__ __forceinline__ unsigned shift_add(unsigned a, int bits, unsigned b) const {
    return static_cast<unsigned>(cuda_detail::multiply_add(
        static_cast<int>(a), bits == 0 ? opaque_one : 1 << bits, static_cast<int>(b)));
  }

  __device__ __forceinline__ void compare_exchange(Key& a, Key& b) const { exchange(a, b); }
  // As compare_exchange, but the greater key is the sum minus the lesser: one instruction more, and
  // one less for the pipe that minima, comparisons and selections share.
  __device__ __forceinline__ void compare_exchange_imad(Key& a, Key& b) const {
    if constexpr (sizeof(Key) == 8) {
      exchange_by_moves(a, b);
    } else {
      const Key x = a, y = b;
      a = cuda_detail::minimum(x, y);
      b = cuda_detail::multiply_add(a, -opaque_one, cuda_detail::multiply_add(x, opaque_one, y));
    }
  }
  // Blocks of words: before sm_90, no instruction compares the halves of words.
  template <int Bits>
  static constexpr bool has_block = (Bits == 4 || Bits == 5) && sizeof(Key) == 4 &&
                                    (compares_packed16 || !cuda_detail::is_pair<Key>);
  template <int Bits>
  __device__ __forceinline__ void sort_block(Key* keys) const {
    cuda_detail::block<Bits>::sort(keys, opaque_one);
  }
  template <int Bits>
  __device__ __forceinline__ void clean_block(Key* keys) const {
    cuda_detail::block<Bits>::clean(keys, opaque_one);
  }
  // Returns the lesser of `mine` and the key `from` of the lane whose number differs by Mask if
  // this lane is the lower one, else the greater.
  template <int Mask>
  __device__ __forceinline__ Key exchange_select(Key mine, Key from) const {
    return select_if(mine, shuffle_xor(from, Mask), (lane() >> floor_log2(Mask) & 1) == 0);
  }
  // exchange_select<Mask>() of each of two keys with the other.
  template <int Mask>
  __device__ __forceinline__ void exchange_select_pair(Key& a, Key& b) const {
    const bool low = (lane() >> floor_log2(Mask) & 1) == 0;
    const Key from_b = shuffle_xor(b, Mask), from_a = shuffle_xor(a, Mask);
    a = select_if(a, from_b, low);
    b = select_if(b, from_a, low);
  }

 private:
  // One comparison, and a move by multipliers under a condition. Predicates act on whole words,
  // so pairs select.
  __device__ __forceinline__ Key select_if(Key mine, Key other, bool low) const {
    if constexpr (cuda_detail::is_pair<Key>) {
      const Key lesser = cuda_detail::minimum(mine, other);
      const Key greater = cuda_detail::maximum(mine, other);
      return low ? lesser : greater;
    } else if constexpr (sizeof(Key) == 8) {
      asm("{\n"
          ".reg .pred low, take;\n"
          ".reg .b32 ml, mh, ol, oh;\n"
          "setp.ne.u32 low, %2, 0;\n"
          "setp.lt.xor.s64 take, %0, %1, low;\n"
          "mov.b64 {ml, mh}, %0;\n"
          "mov.b64 {ol, oh}, %1;\n"
          "@take mad.lo.s32 ml, ol, %3, 0;\n"
          "@take mad.lo.s32 mh, oh, %3, 0;\n"
          "mov.b64 %0, {ml, mh};\n"
          "}"
          : "+l"(mine)
          : "l"(other), "r"(static_cast<unsigned>(low)), "r"(opaque_one));
      return mine;
    } else {
      asm("{\n"
          ".reg .pred low, take;\n"
          "setp.ne.u32 low, %2, 0;\n"
          "setp.lt.xor.s32 take, %0, %1, low;\n"
          "@take mad.lo.s32 %0, %1, %3, 0;\n"
          "}"
          : "+r"(mine)
          : "r"(other), "r"(static_cast<unsigned>(low)), "r"(opaque_one));
      return mine;
    }
  }

  // The key of the lane whose number differs by `mask`.
  static __device__ __forceinline__ Key shuffle_xor(Key value, int mask) {
    Key result;
    constexpr int words = static_cast<int>(sizeof(Key) / sizeof(unsigned));
    unsigned parts[words];
    __builtin_memcpy(parts, &value, sizeof(Key));
#pragma unroll
    for (int i = 0; i < words; ++i) parts[i] = cuda_detail::shuffle(parts[i], mask);
    __builtin_memcpy(&result, parts, sizeof(Key));
    return result;
  }
  __device__ __forceinline__ void exchange(int& a, int& b) const { exchange_words(a, b); }
  __device__ __forceinline__ void exchange(key16x2& a, key16x2& b) const { exchange_words(a, b); }
  template <class Word>
  static __device__ __forceinline__ void exchange_words(Word& a, Word& b) {
    const Word x = a, y = b;
    a = cuda_detail::minimum(x, y);
    b = cuda_detail::maximum(x, y);
  }
  // 64-bit minima have no instruction. The lesser takes a comparison of two instructions, and a
  // selection of each word. The greater is moved by multipliers, which are otherwise idle.
  __device__ __forceinline__ void exchange(long long& a, long long& b) const {
    asm("{\n"
        ".reg .pred swap;\n"
        ".reg .b32 al, ah, bl, bh, ll, lh;\n"
        "mov.b64 {al, ah}, %0;\n"
        "mov.b64 {bl, bh}, %1;\n"
        "setp.lt.s64 swap, %1, %0;\n"
        "selp.b32 ll, bl, al, swap;\n"
        "selp.b32 lh, bh, ah, swap;\n"
        "@swap mad.lo.s32 bl, al, %2, 0;\n"
        "@swap mad.lo.s32 bh, ah, %2, 0;\n"
        "mov.b64 %0, {ll, lh};\n"
        "mov.b64 %1, {bl, bh};\n"
        "}"
        : "+l"(a), "+l"(b)
        : "r"(opaque_one));
  }
  // The same with moves alone for one word: another selection less, and two moves more.
  __device__ __forceinline__ void exchange_by_moves(long long& a, long long& b) const {
    asm("{\n"
        ".reg .pred swap;\n"
        ".reg .b32 al, ah, bl, bh, ll, t;\n"
        "mov.b64 {al, ah}, %0;\n"
        "mov.b64 {bl, bh}, %1;\n"
        "setp.lt.s64 swap, %1, %0;\n"
        "selp.b32 ll, bl, al, swap;\n"
        "@swap mad.lo.s32 bl, al, %2, 0;\n"
        "mad.lo.s32 t, ah, %2, 0;\n"
        "@swap mad.lo.s32 ah, bh, %2, 0;\n"
        "@swap mad.lo.s32 bh, t, %2, 0;\n"
        "mov.b64 %0, {ll, ah};\n"
        "mov.b64 %1, {bl, bh};\n"
        "}"
        : "+l"(a), "+l"(b)
        : "r"(opaque_one));
  }
};

// Columns, of which a thread loads each key under a condition of its own. There are few predicates:
// where comparators of many keys of 64 bits need more of them, compilers wait for keys before they
// load others. These then have sums.
template <class Key, bool HasSums>
struct cuda_column_target : cuda_target<Key> {
  // Pairs were slower with a loop.
  WBS_CONSTANT(int, min_loop_bytes,
               cuda_detail::is_pair<Key> ? 1 << 30 : cuda_target<Key>::min_loop_bytes);

  // The greater key of 64 bits is each word's sum minus the lesser.
  __device__ __forceinline__ void compare_exchange(Key& a, Key& b) const {
    if constexpr (sizeof(Key) == 8 && HasSums) {
      asm("{\n"
          ".reg .pred swap;\n"
          ".reg .b32 al, ah, bl, bh, ll, lh;\n"
          "mov.b64 {al, ah}, %0;\n"
          "mov.b64 {bl, bh}, %1;\n"
          "setp.lt.s64 swap, %1, %0;\n"
          "selp.b32 ll, bl, al, swap;\n"
          "selp.b32 lh, bh, ah, swap;\n"
          "mad.lo.s32 bl, al, %2, bl;\n"
          "mad.lo.s32 bh, ah, %2, bh;\n"
          "mad.lo.s32 bl, ll, %3, bl;\n"
          "mad.lo.s32 bh, lh, %3, bh;\n"
          "mov.b64 %0, {ll, lh};\n"
          "mov.b64 %1, {bl, bh};\n"
          "}"
          : "+l"(a), "+l"(b)
          : "r"(this->opaque_one), "r"(-this->opaque_one));
    } else {
      cuda_target<Key>::compare_exchange(a, b);
    }
  }
  __device__ __forceinline__ void compare_exchange_imad(Key& a, Key& b) const {
    if constexpr (sizeof(Key) == 8 && HasSums) {
      compare_exchange(a, b);
    } else {
      cuda_target<Key>::compare_exchange_imad(a, b);
    }
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_TARGET_CUDA_TARGET_HPP_
