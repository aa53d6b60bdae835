// Words as two halves of 16 bits: what keys of two rows in one register are made with.
//
// Invariant: plain C++ says what each function is; a target that has an instruction for it says so
// in a header of its own beside its exchange.
#ifndef WARP_BITONIC_SORT_HALVES_HPP_
#define WARP_BITONIC_SORT_HALVES_HPP_

#include <warp_bitonic_sort/base.hpp>

namespace warp_bitonic_sort {
namespace halves {

WBS_INLINE unsigned twice(unsigned half) { return (half & 0xFFFFu) * 0x10001u; }

}  // namespace halves
}  // namespace warp_bitonic_sort

#if defined(__CUDACC__)
#include <warp_bitonic_sort/exchange/cuda_halves.hpp>
#elif defined(__AMDGCN__)
#include <warp_bitonic_sort/exchange/amdgcn_halves.hpp>
#else

namespace warp_bitonic_sort {
namespace halves {

// All ones in the halves that are negative.
WBS_INLINE unsigned signs(unsigned both) { return (both >> 15 & 0x10001u) * 0xFFFFu; }
// Of two words, the low halves, and the high ones.
WBS_INLINE unsigned low_halves(unsigned low, unsigned high) { return (low & 0xFFFFu) | high << 16; }
WBS_INLINE unsigned high_halves(unsigned low, unsigned high) {
  return low >> 16 | (high & 0xFFFF0000u);
}
// Sums of halves, carries dropped.
WBS_INLINE unsigned add(unsigned a, unsigned b) {
  return ((a & 0x7FFF7FFFu) + (b & 0x7FFF7FFFu)) ^ ((a ^ b) & 0x80008000u);
}

}  // namespace halves
}  // namespace warp_bitonic_sort

#endif

#endif  // WARP_BITONIC_SORT_HALVES_HPP_
