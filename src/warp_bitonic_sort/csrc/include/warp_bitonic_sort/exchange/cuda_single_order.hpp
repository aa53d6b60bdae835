// The order of float32 keys on CUDA: see single_order.hpp.
//
// Invariant: multiplies, for multipliers are idle else. One statement for a key, which is quicker
// compiled: there are two for every register of a kernel.
#ifndef WARP_BITONIC_SORT_EXCHANGE_CUDA_SINGLE_ORDER_HPP_
#define WARP_BITONIC_SORT_EXCHANGE_CUDA_SINGLE_ORDER_HPP_

#include <warp_bitonic_sort/base.hpp>
#include <warp_bitonic_sort/key.hpp>

namespace warp_bitonic_sort {

class single_order {
 public:
  WBS_INLINE explicit single_order(order_constants order) {
    const unsigned add = static_cast<unsigned>(order.key_add);
    factor_ = order.key_xor != 0 ? ~0u : 1u;
    term_ = order.key_xor != 0 ? add - 1 : add;
    back_ = 0u - term_ * factor_;
  }
  WBS_INLINE unsigned encode(unsigned raw) const {
    unsigned key;
    asm("{\n"
        ".reg .b32 t;\n"
        "shr.s32 t, %1, 31;\n"
        "and.b32 t, t, 0x7FFFFFFF;\n"
        "xor.b32 t, t, %1;\n"
        "mad.lo.s32 %0, t, %2, %3;\n"
        "}"
        : "=r"(key)
        : "r"(raw), "r"(factor_), "r"(term_));
    return key;
  }
  WBS_INLINE unsigned decode(unsigned key) const {
    unsigned raw;
    asm("{\n"
        ".reg .b32 t, folded;\n"
        "mad.lo.s32 folded, %1, %2, %3;\n"
        "shr.s32 t, folded, 31;\n"
        "and.b32 t, t, 0x7FFFFFFF;\n"
        "xor.b32 %0, t, folded;\n"
        "}"
        : "=r"(raw)
        : "r"(key), "r"(factor_), "r"(back_));
    return raw;
  }

 private:
  unsigned factor_, term_, back_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_EXCHANGE_CUDA_SINGLE_ORDER_HPP_
