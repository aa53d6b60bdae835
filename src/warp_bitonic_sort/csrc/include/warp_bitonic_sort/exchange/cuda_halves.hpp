// halves.hpp on CUDA.
//
// Invariant: one instruction each, but for sums before sm_90.
#ifndef WARP_BITONIC_SORT_EXCHANGE_CUDA_HALVES_HPP_
#define WARP_BITONIC_SORT_EXCHANGE_CUDA_HALVES_HPP_

#include <warp_bitonic_sort/base.hpp>

namespace warp_bitonic_sort {
namespace halves {

// All ones in the halves that are negative.
WBS_INLINE unsigned signs(unsigned both) {
  unsigned result;
  asm("prmt.b32 %0, %1, 0, 0xBB99;" : "=r"(result) : "r"(both));
  return result;
}
// Of two words, the low halves, and the high ones.
WBS_INLINE unsigned low_halves(unsigned low, unsigned high) {
  unsigned result;
  asm("prmt.b32 %0, %1, %2, 0x5410;" : "=r"(result) : "r"(low), "r"(high));
  return result;
}
WBS_INLINE unsigned high_halves(unsigned low, unsigned high) {
  unsigned result;
  asm("prmt.b32 %0, %1, %2, 0x7632;" : "=r"(result) : "r"(low), "r"(high));
  return result;
}
// Sums of halves, carries dropped.
WBS_INLINE unsigned add(unsigned a, unsigned b) {
#if __CUDA_ARCH__ >= 900
  unsigned result;
  asm("add.u16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
#else
  return ((a & 0x7FFF7FFFu) + (b & 0x7FFF7FFFu)) ^ ((a ^ b) & 0x80008000u);
#endif
}

}  // namespace halves
}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_EXCHANGE_CUDA_HALVES_HPP_
