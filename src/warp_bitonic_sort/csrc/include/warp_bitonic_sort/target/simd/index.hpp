// Entries with an index on the CPU, one row a SIMD lane.
//
// Invariant: entries of one row differ, because their indices do, so that the order is total and
// the sort is stable. No entry of a row sorts after pad().
#ifndef WARP_BITONIC_SORT_TARGET_SIMD_INDEX_HPP_
#define WARP_BITONIC_SORT_TARGET_SIMD_INDEX_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/entry.hpp>
#include <warp_bitonic_sort/target/simd/target.hpp>

namespace warp_bitonic_sort {

// Keys of up to 32 bits: the code in the high half of a 64-bit word, the index in the low half.
template <int KeyBits>
struct simd_index : simd<64> {
  using word = unsigned long long;

  static WBS_INLINE void set(entry& to, int lane, word code, word index) {
    to[lane] = (code << 32 | index) ^ bias;
  }
  static WBS_INLINE word index_of(const entry& from, int lane) { return from[lane] & 0xFFFFFFFFu; }
};

// Keys of 64 bits: a code and an index, compared one after the other.
template <>
struct simd_index<64> {
  using word = unsigned long long;
  using words = simd<64>;
  using entry = code_and_index<words::key>;
  static constexpr int lanes = words::lanes;

  WBS_INLINE void compare_exchange(entry& a, entry& b) const {
    using signed_key = words::signed_key;
    const entry x = a, y = b;
    signed_key is_less;
    if constexpr (words::compares_signed) {
      is_less = (signed_key)((signed_key)x.code < (signed_key)y.code);
    } else {
      is_less = (signed_key)(x.code < y.code);
    }
    const signed_key is_equal = (signed_key)(x.code == y.code);
    // Indices are positive as signed numbers, too.
    const signed_key is_before = (signed_key)((signed_key)x.index < (signed_key)y.index);
    const signed_key keeps = is_less | (is_equal & is_before);
    a.code = keeps ? x.code : y.code;
    a.index = keeps ? x.index : y.index;
    b.code = keeps ? y.code : x.code;
    b.index = keeps ? y.index : x.index;
  }

  static WBS_INLINE entry pad() { return {words::pad(), words::broadcast(0x7FFFFFFFFFFFFFFFull)}; }
  static WBS_INLINE void set(entry& to, int lane, word code, word index) {
    to.code[lane] = code ^ words::bias;
    to.index[lane] = index;
  }
  static WBS_INLINE word index_of(const entry& from, int lane) { return from.index[lane]; }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_TARGET_SIMD_INDEX_HPP_
