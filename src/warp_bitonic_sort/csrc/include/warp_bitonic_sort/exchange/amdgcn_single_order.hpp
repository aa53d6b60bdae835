// The order of float32 keys on AMD's GPUs: see single_order.hpp.
//
// Invariant: no multiplication, which is slow there; an xor and an addition are one instruction,
// and so is a selection by bits.
#ifndef WARP_BITONIC_SORT_EXCHANGE_AMDGCN_SINGLE_ORDER_HPP_
#define WARP_BITONIC_SORT_EXCHANGE_AMDGCN_SINGLE_ORDER_HPP_

#include <warp_bitonic_sort/base.hpp>
#include <warp_bitonic_sort/key.hpp>

namespace warp_bitonic_sort {

class single_order {
 public:
  WBS_INLINE explicit single_order(order_constants order)
      : xor_(static_cast<unsigned>(order.key_xor)),
        add_(static_cast<unsigned>(order.key_add)),
        back_(order.key_xor != 0 ? add_ : 0u - add_) {}
  WBS_INLINE unsigned encode(unsigned raw) const {
    const unsigned negative = sign_of(raw);
    const unsigned mask = (negative & (xor_ ^ 0x7FFFFFFFu)) | (~negative & xor_);
    return (raw ^ mask) + add_;
  }
  WBS_INLINE unsigned decode(unsigned key) const {
    // ~(key - add) is ~key + add.
    const unsigned folded = (key ^ xor_) + back_;
    return folded ^ (sign_of(folded) & 0x7FFFFFFFu);
  }

 private:
  static WBS_INLINE unsigned sign_of(unsigned raw) {
    return static_cast<unsigned>(static_cast<int>(raw) >> 31);
  }
  unsigned xor_, add_, back_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_EXCHANGE_AMDGCN_SINGLE_ORDER_HPP_
