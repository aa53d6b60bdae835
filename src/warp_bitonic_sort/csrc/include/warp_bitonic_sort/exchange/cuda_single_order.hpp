// single_order.hpp's two functions on CUDA.
//
// Invariant: the same numbers as there. One statement for a key, which is quicker compiled: there
// are two for every register of a kernel.
#ifndef WARP_BITONIC_SORT_EXCHANGE_CUDA_SINGLE_ORDER_HPP_
#define WARP_BITONIC_SORT_EXCHANGE_CUDA_SINGLE_ORDER_HPP_

#include <warp_bitonic_sort/base.hpp>

namespace warp_bitonic_sort {
namespace single_order_detail {

WBS_INLINE unsigned key_of(unsigned raw, unsigned factor, unsigned term) {
  unsigned key;
  asm("{\n"
      ".reg .b32 t;\n"
      "shr.s32 t, %1, 31;\n"
      "and.b32 t, t, 0x7FFFFFFF;\n"
      "xor.b32 t, t, %1;\n"
      "mad.lo.s32 %0, t, %2, %3;\n"
      "}"
      : "=r"(key)
      : "r"(raw), "r"(factor), "r"(term));
  return key;
}
WBS_INLINE unsigned raw_of(unsigned key, unsigned factor, unsigned back) {
  unsigned raw;
  asm("{\n"
      ".reg .b32 t, folded;\n"
      "mad.lo.s32 folded, %1, %2, %3;\n"
      "shr.s32 t, folded, 31;\n"
      "and.b32 t, t, 0x7FFFFFFF;\n"
      "xor.b32 %0, t, folded;\n"
      "}"
      : "=r"(raw)
      : "r"(key), "r"(factor), "r"(back));
  return raw;
}

}  // namespace single_order_detail
}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_EXCHANGE_CUDA_SINGLE_ORDER_HPP_
