// The AMD target: defines what a register holds, how two registers compare, and how the lanes of a
// warp exchange them.
//
// Invariant: compiler builtins only, no ROCm header and no instruction in inline assembly, so that
// the compiler inserts the wait states that instructions need. Warps have 64 lanes on GCN and CDNA
// (gfx9), 32 on RDNA (gfx10 and later). A register holds one key of 32 or 64 bits, or the keys of
// two rows, 16 bits each. 8-bit keys are widened to 16. Keys compare as signed integers.
//
// Lanes exchange keys by data-parallel primitives (DPP) where the lanes are within 16 of each
// other: most vector instructions take one operand by DPP at no cost. See AMD's instruction set
// documents, "Data Parallel Processing", and LLVM's "Syntax of AMDGPU Instruction Modifiers".
#ifndef WARP_BITONIC_SORT_TARGET_AMDGCN_TARGET_HPP_
#define WARP_BITONIC_SORT_TARGET_AMDGCN_TARGET_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/register_codec.hpp>
#include <warp_bitonic_sort/target/amdgcn/ops.hpp>

namespace warp_bitonic_sort {

namespace amdgcn_detail {

#if defined(__GFX9__)
constexpr int lane_bits = 6;
#else
constexpr int lane_bits = 5;
#endif
#if defined(__GFX9__) || defined(__GFX10__)
constexpr bool before_gfx11 = true;
#else
constexpr bool before_gfx11 = false;
#endif

// DPP controls.
constexpr int row_ror = 0x120, row_mirror = 0x140, row_half_mirror = 0x141, row_xmask = 0x160;

// The control with which each lane reads the lane whose number differs by Mask; -1 if none does.
constexpr int control_of(int mask) {
  if (mask < 4) {
    // quad_perm: two bits for each lane of four name its source lane.
    return (0 ^ mask) | (1 ^ mask) << 2 | (2 ^ mask) << 4 | (3 ^ mask) << 6;
  }
  if (mask == 7) return row_half_mirror;
  if (mask == 15) return row_mirror;
  if (mask == 8) return row_ror + 8;
#if !defined(__GFX9__)
  if (mask < 16) return row_xmask + mask;
#endif
  return -1;
}

template <int Control>
WBS_INLINE int dpp(int value) {
  return __builtin_amdgcn_mov_dpp(value, Control, 0xF, 0xF, true);
}
WBS_INLINE int thread() {
  // A block has at most 1024 threads, which the compiler may use.
  return static_cast<int>(__builtin_amdgcn_workitem_id_x()) & 1023;
}
WBS_INLINE int lane() { return thread() & ((1 << lane_bits) - 1); }

// The word of the lane whose number differs by Mask.
template <int Mask>
WBS_INLINE int shuffle(int value) {
  if constexpr (control_of(Mask) >= 0) {
    return dpp<control_of(Mask)>(value);
#if defined(__GFX9__)
  } else if constexpr (Mask == 4) {
    return dpp<control_of(3)>(dpp<row_half_mirror>(value));
  } else if constexpr (Mask < 32) {
    constexpr int every_lane = 0x1F;
    return __builtin_amdgcn_ds_swizzle(value, every_lane | Mask << 10);
  } else {
    return __builtin_amdgcn_ds_bpermute((lane() ^ Mask) << 2, value);
#else
  } else {
    // Lane i of a row of sixteen gets lane (i ^ Mask) % 16 of the other row.
    constexpr unsigned low = Mask % 16 == 0 ? 0x76543210u : 0x89ABCDEFu;
    constexpr unsigned high = Mask % 16 == 0 ? 0xFEDCBA98u : 0x01234567u;
    static_assert(Mask == 16 || Mask == 31, "no other masks of 16 and more are needed");
    return static_cast<int>(__builtin_amdgcn_permlanex16(
        static_cast<unsigned>(value), static_cast<unsigned>(value), low, high, true, false));
#endif
  }
}

// Applies a function to each word of a value.
template <class Value, class Function>
WBS_INLINE Value each_word(Value value, Function function) {
  constexpr int count = static_cast<int>(sizeof(Value) / sizeof(int));
  int words[count];
  __builtin_memcpy(words, &value, sizeof(Value));
  WBS_UNROLL
  for (int i = 0; i < count; ++i) words[i] = function(words[i]);
  __builtin_memcpy(&value, words, sizeof(Value));
  return value;
}

#if defined(__gfx950__)
// Whether registers can exchange their lanes that differ by a mask.
constexpr bool swaps(int mask) { return mask == 16 || mask == 32; }
// Swaps the second of every two consecutive groups of Mask lanes of `a` with the first of `b`.
template <int Mask>
WBS_INLINE void swap(unsigned& a, unsigned& b) {
  if constexpr (Mask == 16) {
    const auto swapped = __builtin_amdgcn_permlane16_swap(a, b, false, false);
    a = swapped[0];
    b = swapped[1];
  } else {
    const auto swapped = __builtin_amdgcn_permlane32_swap(a, b, false, false);
    a = swapped[0];
    b = swapped[1];
  }
}
#else
constexpr bool swaps(int) { return false; }
template <int Mask>
WBS_INLINE void swap(unsigned&, unsigned&) {}
#endif
template <int Mask, class Key>
WBS_INLINE void swap_keys(Key& a, Key& b) {
  constexpr int words = static_cast<int>(sizeof(Key) / sizeof(unsigned));
  unsigned in_a[words], in_b[words];
  __builtin_memcpy(in_a, &a, sizeof(Key));
  __builtin_memcpy(in_b, &b, sizeof(Key));
  WBS_UNROLL
  for (int i = 0; i < words; ++i) swap<Mask>(in_a[i], in_b[i]);
  __builtin_memcpy(&a, in_a, sizeof(Key));
  __builtin_memcpy(&b, in_b, sizeof(Key));
}

// Fixes the order in which the compiler first arranges values; it may reorder them later. A shuffle
// is folded into the instruction that uses its result only if the two are close.
template <class Word>
WBS_INLINE Word in_order(Word value) {
  asm volatile("" : "+v"(value));
  return value;
}

WBS_INLINE int minimum(int a, int b) { return a < b ? a : b; }
WBS_INLINE int maximum(int a, int b) { return a < b ? b : a; }
// One instruction each with -fno-honor-nans. Keys are never NaN.
WBS_INLINE float minimum(float a, float b) { return __builtin_fminf(a, b); }
WBS_INLINE float maximum(float a, float b) { return __builtin_fmaxf(a, b); }
// The median of three; one instruction.
WBS_INLINE int median(int a, int b, int c) {
  return maximum(minimum(a, b), minimum(maximum(a, b), c));
}

// Fences of shared memory alone: warps share no rows in global memory, and its caches stay valid.
// Compilers before clang 19 can only fence all memory.
#if __clang_major__ >= 19
#define WBS_FENCE(order, scope) __builtin_amdgcn_fence(order, scope, "local")
#else
#define WBS_FENCE(order, scope) __builtin_amdgcn_fence(order, scope)
#endif
template <bool OfBlock>
WBS_INLINE void fence_release() {
  if constexpr (OfBlock) {
    WBS_FENCE(__ATOMIC_RELEASE, "workgroup");
  } else {
    WBS_FENCE(__ATOMIC_RELEASE, "wavefront");
  }
}
template <bool OfBlock>
WBS_INLINE void fence_acquire() {
  if constexpr (OfBlock) {
    WBS_FENCE(__ATOMIC_ACQUIRE, "workgroup");
  } else {
    WBS_FENCE(__ATOMIC_ACQUIRE, "wavefront");
  }
}
#undef WBS_FENCE

template <class Key>
constexpr bool is_float = false;
template <>
inline constexpr bool is_float<float> = true;

// The types that one access of so many bytes to global memory loads and stores.
template <int Bytes>
struct access {
  using loaded = typename unsigned_of<8 * Bytes>::type;
  using stored = loaded;
};
// clang 19 loads some elements of a vector twice, and assembles an integer before it stores it.
template <>
struct access<16> {
  using loaded = unsigned __int128;
  typedef unsigned stored __attribute__((ext_vector_type(4)));
};
template <class Word>
using global_memory = Word __attribute__((address_space(1), may_alias));

typedef float float_pair __attribute__((ext_vector_type(2)));
typedef short short_pair __attribute__((ext_vector_type(2)));
WBS_INLINE key16x2 minimum(key16x2 a, key16x2 b) {
  return {__builtin_bit_cast(unsigned,
                             __builtin_elementwise_min(__builtin_bit_cast(short_pair, a.both),
                                                       __builtin_bit_cast(short_pair, b.both)))};
}
WBS_INLINE key16x2 maximum(key16x2 a, key16x2 b) {
  return {__builtin_bit_cast(unsigned,
                             __builtin_elementwise_max(__builtin_bit_cast(short_pair, a.both),
                                                       __builtin_bit_cast(short_pair, b.both)))};
}

}  // namespace amdgcn_detail

template <class Key>
struct amdgcn_target {
  using entry = Key;
  using ops = amdgcn_ops;
  using row_ops = ops;
  template <int... Layout>
  struct columns_of {
    template <class Other>
    using target = amdgcn_target<Other>;
  };
  static constexpr int lane_bits = amdgcn_detail::lane_bits;
  // The limit of a block. gfx950 has more, but all targets share the layouts.
  static constexpr int max_block_threads = 1024;
  static constexpr int max_shared_bytes = 1 << 16;
  // Blocks of more warps were not measured.
  static constexpr int min_row_warps = 4;
  // No loop: not measured.
  static constexpr int min_loop_bytes = 1 << 30;
  // A step across lanes costs two or three instructions, less than a transposition through memory.
  template <bool IsLong>
  static constexpr int min_transposed_steps = lane_bits + 1;
  // A minimum of floats takes and negates a shuffled operand; before gfx11, an integer median takes
  // none. Lanes that keep the greater key therefore hold keys negated: the result in either lane is
  // the minimum of its key and the other's key negated.
  static constexpr bool negates = amdgcn_detail::is_float<Key>;
  static constexpr bool has_float_keys = amdgcn_detail::before_gfx11;
  static constexpr bool has_copies = false;
  static constexpr bool has_block_per_tile = !WBS_HIP_GRID_STRIDE;

  static WBS_INLINE int lane() { return amdgcn_detail::lane(); }
  static WBS_INLINE int warp() {
    // The number is uniform in a warp, which the compiler cannot know.
    const int warp = __builtin_amdgcn_readfirstlane(amdgcn_detail::thread() >> lane_bits);
    __builtin_assume(warp >= 0 && warp < 1024 >> lane_bits);
    return warp;
  }
  static WBS_INLINE long long block() { return __builtin_amdgcn_workgroup_id_x(); }
  static WBS_INLINE long long blocks() {
    // The first implicit argument of code object version 5 and later: hidden_block_count_x.
    return *(const unsigned __attribute__((address_space(4)))*)(__builtin_amdgcn_implicitarg_ptr());
  }
  // The arguments for one iteration of the loop over tiles, hidden from the compiler: it would
  // hoist what depends on them, and run out of scalar registers. They are read where the launch put
  // them, because the compiler would copy hidden ones.
  template <class Arguments>
  static WBS_INLINE const Arguments& reload_args(const Arguments&) {
    using constant = const __attribute__((address_space(4))) Arguments;
    auto address = (constant*)__builtin_amdgcn_kernarg_segment_ptr();
    asm volatile("" : "+s"(address));
    return *(const Arguments*)address;
  }
  // The pointer's type names global memory. Where the compiler cannot infer it, it emits flat
  // accesses: they are slower, and count as accesses to shared memory, too.
  template <class T>
  static WBS_INLINE T load_global(const char* address) {
    using word = typename amdgcn_detail::access<sizeof(T)>::loaded;
    const word loaded = *(const amdgcn_detail::global_memory<word>*)address;
    return __builtin_bit_cast(T, loaded);
  }
  template <class T>
  static WBS_INLINE void store_global(char* address, T value) {
    using word = typename amdgcn_detail::access<sizeof(T)>::stored;
    *(amdgcn_detail::global_memory<word>*)address = __builtin_bit_cast(word, value);
  }
  // A warp's accesses to shared memory happen in program order.
  static WBS_INLINE void sync_warp() {
    amdgcn_detail::fence_release<false>();
    __builtin_amdgcn_wave_barrier();
    amdgcn_detail::fence_acquire<false>();
  }
  static WBS_INLINE void sync_block() {
    amdgcn_detail::fence_release<true>();
    __builtin_amdgcn_s_barrier();
    amdgcn_detail::fence_acquire<true>();
  }

  // The value of the lane whose number differs by Mask, or of any lane.
  template <int Mask, class Value>
  static WBS_INLINE Value from_lane_xor(Value value) {
    return amdgcn_detail::each_word(value,
                                    [](int word) { return amdgcn_detail::shuffle<Mask>(word); });
  }
  template <class Value>
  static WBS_INLINE Value from_lane(Value value, int lane) {
    return amdgcn_detail::each_word(
        value, [lane](int word) { return __builtin_amdgcn_ds_bpermute(lane << 2, word); });
  }

  // A value that the compiler must compute where it is used.
  template <class Word>
  static WBS_INLINE Word opaque(Word value) {
    asm volatile("" : "+v"(value));
    return value;
  }

  // Arithmetic of floats. The lesser and the greater of a NaN and a number are the number.
  static WBS_INLINE float lesser(float a, float b) { return __builtin_fminf(a, b); }
  static WBS_INLINE float greater(float a, float b) { return __builtin_fmaxf(a, b); }
  static WBS_INLINE float magnitude(float a) { return __builtin_fabsf(a); }
  static WBS_INLINE float multiply_add(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
  }
  static WBS_INLINE float reciprocal(float a) { return __builtin_amdgcn_rcpf(a); }
  // Conversions from and to the bits of a float of 16 bits.
  static WBS_INLINE float from_half(unsigned short raw) {
    return static_cast<float>(__builtin_bit_cast(_Float16, raw));
  }
  static WBS_INLINE unsigned short to_half(float value) {
    return __builtin_bit_cast(unsigned short, static_cast<_Float16>(value));
  }
  // The number of leading zeros, less than the bits of a word: of 0 one less.
  static WBS_INLINE int leading_zeros(unsigned word) { return __builtin_clz(word | 1); }
  static WBS_INLINE int leading_zeros(unsigned long long word) { return __builtin_clzll(word | 1); }

  // Registers suffice for every layout.
  static constexpr int blocks_for(int, int, int, bool) { return 0; }
  static constexpr int index_threads_for(int, int) { return 0; }
  static constexpr int column_threads_for(int) { return 0; }
  static constexpr int first_threads_for(int) { return 0; }

  // Unused; other targets hide a 1 from the compiler in it.
  int opaque_one;

  static WBS_INLINE unsigned add(unsigned a, unsigned b) { return a + b; }
  static WBS_INLINE unsigned shift_add(unsigned a, int bits, unsigned b) { return (a << bits) + b; }

  WBS_INLINE void compare_exchange(Key& a, Key& b) const {
    const Key x = a, y = b;
    if constexpr (sizeof(Key) == 8) {
      const bool swap = y < x;
      a = swap ? y : x;
      b = swap ? x : y;
    } else {
      a = amdgcn_detail::minimum(x, y);
      b = amdgcn_detail::maximum(x, y);
    }
  }
  WBS_INLINE void compare_exchange_imad(Key& a, Key& b) const { compare_exchange(a, b); }

  // Returns the lesser of `mine` and the key `from` of the lane whose number differs by Mask if
  // this lane is the lower one, else the greater.
  template <int Mask>
  WBS_INLINE Key exchange_select(Key mine, Key from) const {
    if constexpr (negates) {
      const int other = amdgcn_detail::shuffle<Mask>(__builtin_bit_cast(int, from));
      return amdgcn_detail::in_order(
          amdgcn_detail::minimum(-__builtin_bit_cast(float, other), mine));
    } else {
      return select_if<Mask>(mine, from, (lane() >> floor_log2(Mask) & 1) == 0);
    }
  }

  // exchange_select<Mask>() of each of two keys with the other.
  template <int Mask>
  WBS_INLINE void exchange_select_pair(Key& a, Key& b) const {
    const Key first = a, second = b;
    a = exchange_select<Mask>(first, second);
    b = exchange_select<Mask>(second, first);
  }

  // Whether two registers can swap lanes. exchange_select_swap() is exchange_select<Mask>() of each
  // register with itself.
  template <int Mask>
  static constexpr bool has_lane_swap = amdgcn_detail::swaps(Mask);
  template <int Mask>
  WBS_INLINE void exchange_select_swap(Key& a, Key& b) const {
    // Moves the keys to compare into the same lane.
    amdgcn_detail::swap_keys<Mask>(a, b);
    compare_exchange(a, b);
    amdgcn_detail::swap_keys<Mask>(a, b);
  }

  // Negates the keys of the lanes that have exactly one of the bits From and To set.
  template <int From, int To, int Registers>
  WBS_INLINE void move_signs(Key (&keys)[Registers]) const {
    if constexpr (From != To) {
      const int bits = (From < 0 ? 0 : lane() >> From) ^ (To < 0 ? 0 : lane() >> To);
      float sign = bits & 1 ? -1 : 1;
      // Opaque, or it becomes a selection. Some targets multiply two floats in one instruction.
      asm("" : "+v"(sign));
      WBS_UNROLL
      for (int j = 0; j + 1 < Registers; j += 2) {
        amdgcn_detail::float_pair two = {keys[j], keys[j + 1]};
        two *= sign;
        keys[j] = two.x;
        keys[j + 1] = two.y;
      }
      if constexpr (Registers % 2 != 0) keys[Registers - 1] *= sign;
    }
  }

  // Whether a lane's float keys include a NaN or the key of -0.0. Bits are compared, hidden from
  // the compiler, which assumes that no float is NaN. NaNs lie beyond the infinities as signed or
  // as unsigned numbers; the key of -0.0 is the least of either.
  template <int Registers>
  static WBS_INLINE bool any_special(const Key (&keys)[Registers], unsigned negative_zero) {
    int low = 0, high = 0;
    unsigned low_bits = ~0u, high_bits = 0;
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) {
      unsigned bits = __builtin_bit_cast(unsigned, keys[j]);
      asm("" : "+v"(bits));
      const int number = static_cast<int>(bits);
      low = number < low ? number : low;
      high = number > high ? number : high;
      low_bits = bits < low_bits ? bits : low_bits;
      high_bits = bits > high_bits ? bits : high_bits;
    }
    return high > 0x7F800000 || high_bits > 0xFF800000u ||
           (negative_zero == 0 ? low_bits == 0 : low == static_cast<int>(0x80000000u));
  }
  // The lanes for which it holds, a bit for each.
  using lane_set = unsigned long long;
  static WBS_INLINE lane_set lanes_where(bool of_lane) {
#if !__has_builtin(__builtin_amdgcn_ballot_w64)
    // clang 15 and older; 33 is LLVM's predicate "not equal".
    return __builtin_amdgcn_uicmp(of_lane, 0u, 33);
#elif defined(__GFX9__)
    return __builtin_amdgcn_ballot_w64(of_lane);
#else
    return __builtin_amdgcn_ballot_w32(of_lane);
#endif
  }
  static WBS_INLINE int population(unsigned long long bits) { return __builtin_popcountll(bits); }
  static WBS_INLINE bool any_in_warp(bool of_lane) { return lanes_where(of_lane) != 0; }
  static WBS_INLINE int count_in_warp(bool of_lane) { return population(lanes_where(of_lane)); }
  // The number of the lowest bit that is set; for 0, -1.
  static WBS_INLINE int lowest_bit(unsigned bits) {
    return __builtin_ffs(static_cast<int>(bits)) - 1;
  }

 private:
  template <int Mask>
  static WBS_INLINE int select_if(int mine, int from, bool low) {
    constexpr int lowest = static_cast<int>(0x80000000u), highest = 0x7FFFFFFF;
    int limit = low ? lowest : highest;
    // Opaque, or the compiler may replace the median by a minimum, a maximum and a selection.
    asm("" : "+v"(limit));
    // The shuffled operand comes first: only the first can be folded into the instruction.
    return amdgcn_detail::in_order(
        amdgcn_detail::median(amdgcn_detail::shuffle<Mask>(from), mine, limit));
  }
  template <int Mask>
  static WBS_INLINE key16x2 select_if(key16x2 mine, key16x2 from, bool low) {
    // max(a, b) = ~min(~a, ~b).
    const unsigned flip = low ? 0u : ~0u;
    const unsigned other =
        static_cast<unsigned>(amdgcn_detail::shuffle<Mask>(static_cast<int>(from.both)));
    return {amdgcn_detail::minimum(key16x2{mine.both ^ flip}, key16x2{other ^ flip}).both ^ flip};
  }
  template <int Mask>
  static WBS_INLINE long long select_if(long long mine, long long from, bool low) {
    const unsigned long long bits = static_cast<unsigned long long>(from);
    const unsigned lower =
        static_cast<unsigned>(amdgcn_detail::shuffle<Mask>(static_cast<int>(bits)));
    const unsigned upper =
        static_cast<unsigned>(amdgcn_detail::shuffle<Mask>(static_cast<int>(bits >> 32)));
    const long long other =
        static_cast<long long>(static_cast<unsigned long long>(upper) << 32 | lower);
    return (mine < other) == low ? mine : other;
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_TARGET_AMDGCN_TARGET_HPP_
