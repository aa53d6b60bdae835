// halves.hpp on AMD GPUs.
//
// Invariant: one instruction each.
#ifndef WARP_BITONIC_SORT_EXCHANGE_AMDGCN_HALVES_HPP_
#define WARP_BITONIC_SORT_EXCHANGE_AMDGCN_HALVES_HPP_

#include <warp_bitonic_sort/base.hpp>

namespace warp_bitonic_sort {
namespace halves {

typedef short signed_pair __attribute__((ext_vector_type(2)));
typedef unsigned short unsigned_pair __attribute__((ext_vector_type(2)));

// All ones in the halves that are negative.
WBS_INLINE unsigned signs(unsigned both) {
  return __builtin_bit_cast(unsigned, __builtin_bit_cast(signed_pair, both) >> short(15));
}
// Of two words, the low halves, and the high ones.
WBS_INLINE unsigned low_halves(unsigned low, unsigned high) {
  return __builtin_amdgcn_perm(high, low, 0x05040100u);
}
WBS_INLINE unsigned high_halves(unsigned low, unsigned high) {
  return __builtin_amdgcn_perm(high, low, 0x07060302u);
}
// Sums of halves, carries dropped.
WBS_INLINE unsigned add(unsigned a, unsigned b) {
  return __builtin_bit_cast(
      unsigned, __builtin_bit_cast(unsigned_pair, a) + __builtin_bit_cast(unsigned_pair, b));
}

}  // namespace halves
}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_EXCHANGE_AMDGCN_HALVES_HPP_
