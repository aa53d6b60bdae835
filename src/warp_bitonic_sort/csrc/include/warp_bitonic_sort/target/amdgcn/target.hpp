// The AMD target: what a register holds, how two are compared, how lanes of a warp exchange them.
//
// Invariant: compiler builtins only, no ROCm header and no instruction in inline assembly, so that
// the compiler sees all of them and puts in the wait states that they need. Warps have 64 lanes on
// GCN and CDNA (gfx9), 32 on RDNA (gfx10 and later). A register holds one key of 32 or 64 bits, or
// the keys of two rows, 16 bits each (8-bit keys are widened to 16). Keys compare as signed
// integers.
//
// Lanes exchange keys by data-parallel primitives (DPP), which most vector instructions take for
// one operand at no cost, wherever the lanes are within 16 of each other; see AMD's instruction set
// documents, "Data Parallel Processing", and LLVM's "Syntax of AMDGPU Instruction Modifiers".
#ifndef WARP_BITONIC_SORT_TARGET_AMDGCN_TARGET_HPP_
#define WARP_BITONIC_SORT_TARGET_AMDGCN_TARGET_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/register_codec.hpp>

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

// The control that brings each lane the one whose number differs by Mask; -1 where there is none.
constexpr int control_of(int mask) {
  if (mask < 4) {
    // quad_perm: two bits for each lane of four, the lane that it gets.
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
  // At most 1024 threads make a block; the compiler may know.
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

#if defined(__gfx950__)
// Whether registers can exchange their lanes that differ by a mask.
constexpr bool swaps(int mask) { return mask == 16 || mask == 32; }
// Of every two groups of Mask lanes side by side, the second one of `a` and the first of `b` change
// places.
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

// Has the compiler compute values in the order in which this is called for them. A shuffle becomes
// part of the instruction that takes its result only where the two are near each other at first;
// what the compiler has finished, it may still reorder.
template <class Word>
WBS_INLINE Word in_order(Word value) {
  asm volatile("" : "+v"(value));
  return value;
}

WBS_INLINE int minimum(int a, int b) { return a < b ? a : b; }
WBS_INLINE int maximum(int a, int b) { return a < b ? b : a; }
// One instruction each where the compiler is told that there are no NaNs (-fno-honor-nans), which
// there are not; else more.
WBS_INLINE float minimum(float a, float b) { return __builtin_fminf(a, b); }
WBS_INLINE float maximum(float a, float b) { return __builtin_fmaxf(a, b); }
// The second in order of three; one instruction.
WBS_INLINE int median(int a, int b, int c) {
  return maximum(minimum(a, b), minimum(maximum(a, b), c));
}

// Fences of shared memory alone: rows in global memory are no other warp's, and caches that nobody
// asked to empty stay full. (Compilers before clang 19 know fences of all memory only.)
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

// What one access to global memory loads and stores: so many bytes of whatever type.
template <int Bytes>
struct access {
  using loaded = typename unsigned_of<8 * Bytes>::type;
  using stored = loaded;
};
// Of a vector, clang 19 loads some elements twice. An integer would be put together to be stored.
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
  static constexpr int lane_bits = amdgcn_detail::lane_bits;
  // What a block can have. (gfx950 has more; layouts are for all.)
  static constexpr int max_shared_bytes = 1 << 16;
  // Steps across lanes cost two or three instructions each, less than a trip through memory.
  static constexpr int min_transposed_steps = lane_bits + 1;
  // Before gfx11 an integer step across lanes takes two instructions, as a median takes no shuffled
  // operand; of floats a minimum takes one and negates it, too. So floats are kept negated in the
  // lanes that keep the greater of two: the lesser of mine and the negative of what is there, which
  // is negated there, is what either lane wants.
  static constexpr bool negates = amdgcn_detail::is_float<Key>;
  static constexpr bool has_float_keys = amdgcn_detail::before_gfx11;
  static constexpr bool has_copies = false;
  static constexpr bool has_block_per_tile = !WBS_HIP_GRID_STRIDE;

  static WBS_INLINE int lane() { return amdgcn_detail::lane(); }
  static WBS_INLINE int warp() {
    // Lanes of a warp agree, which the compiler cannot know.
    const int warp = __builtin_amdgcn_readfirstlane(amdgcn_detail::thread() >> lane_bits);
    __builtin_assume(warp >= 0 && warp < 1024 >> lane_bits);
    return warp;
  }
  static WBS_INLINE long long block() { return __builtin_amdgcn_workgroup_id_x(); }
  static WBS_INLINE long long blocks() {
    // The first of the implicit arguments of code object version 5 and later: hidden_block_count_x.
    return *(const unsigned __attribute__((address_space(4)))*)(__builtin_amdgcn_implicitarg_ptr());
  }
  // The arguments for one turn of the loop over tiles. As if they might have changed since the
  // last: else all that depends on them alone is computed before the loop, which most blocks go
  // through once, and kept in more scalar registers than there are. (They are read where the launch
  // put them, for the compiler would make a copy of what it is kept from knowing.)
  template <class Arguments>
  static WBS_INLINE const Arguments& reload_args(const Arguments&) {
    using constant = const __attribute__((address_space(4))) Arguments;
    auto address = (constant*)__builtin_amdgcn_kernarg_segment_ptr();
    asm volatile("" : "+s"(address));
    return *(const Arguments*)address;
  }
  // The type of a pointer says that it points to global memory. Where the compiler has to infer it
  // and cannot, it emits flat accesses: they are slower, and count as accesses to shared memory
  // too.
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
  // A warp's accesses to shared memory happen in the order that they are written in.
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

  // There are registers enough for any layout.
  static constexpr int blocks_for(int, int) { return 0; }

  // What other targets need, to keep the compiler from undoing their multiplications.
  int opaque_one;

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

  // Of `mine` and the key `from` of the lane whose number differs by Mask, the lesser if this lane
  // is the lower one, else the greater.
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

  // exchange_select<Mask>() of each of two with the other.
  template <int Mask>
  WBS_INLINE void exchange_select_pair(Key& a, Key& b) const {
    const Key first = a, second = b;
    a = exchange_select<Mask>(first, second);
    b = exchange_select<Mask>(second, first);
  }

  // Where lanes of two registers can change places: as exchange_select<Mask>() of each with itself,
  // for both.
  template <int Mask>
  static constexpr bool has_lane_swap = amdgcn_detail::swaps(Mask);
  template <int Mask>
  WBS_INLINE void exchange_select_swap(Key& a, Key& b) const {
    // The keys to compare come to stand in the same lane.
    amdgcn_detail::swap_keys<Mask>(a, b);
    compare_exchange(a, b);
    amdgcn_detail::swap_keys<Mask>(a, b);
  }

  // Negates the keys of the lanes that have either bit From or bit To of their number set.
  template <int From, int To, int Registers>
  WBS_INLINE void move_signs(Key (&keys)[Registers]) const {
    if constexpr (From != To) {
      const int bits = (From < 0 ? 0 : lane() >> From) ^ (To < 0 ? 0 : lane() >> To);
      float sign = bits & 1 ? -1 : 1;
      // Else it becomes a selection, and two products are one instruction where targets have that.
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

  // Whether one of a lane's plain floats' keys is a NaN or that of -0.0. By their bits, of which
  // the compiler may not know what they are, for it is told that floats are no NaNs: NaNs are
  // beyond the infinities, as signed numbers or as unsigned ones, and the -0.0 is the least of
  // either, too. (Least and greatest of three are one instruction, so that this is two a key.)
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
  static WBS_INLINE bool any_in_warp(bool of_lane) {
#if !__has_builtin(__builtin_amdgcn_ballot_w64)
    // clang 15 and older; 33 is what LLVM calls "not equal".
    return __builtin_amdgcn_uicmp(of_lane, 0u, 33) != 0;
#elif defined(__GFX9__)
    return __builtin_amdgcn_ballot_w64(of_lane) != 0;
#else
    return __builtin_amdgcn_ballot_w32(of_lane) != 0;
#endif
  }

 private:
  template <int Mask>
  static WBS_INLINE int select_if(int mine, int from, bool low) {
    constexpr int lowest = static_cast<int>(0x80000000u), highest = 0x7FFFFFFF;
    int limit = low ? lowest : highest;
    // Else the compiler may take a minimum, a maximum and a selection for it.
    asm("" : "+v"(limit));
    // The shuffled one comes first: only there can it be part of the instruction.
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
