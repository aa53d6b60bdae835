// The order of float32 keys as signed integers: bits to key and back.
//
// Invariant: as key.hpp's codec for floats, less half the range. They are multiplied, for
// multipliers are idle else; a target on which that is slow, or which has one statement for it,
// says how in a header of its own beside its exchange.
#ifndef WARP_BITONIC_SORT_SINGLE_ORDER_HPP_
#define WARP_BITONIC_SORT_SINGLE_ORDER_HPP_

#include <warp_bitonic_sort/base.hpp>
#include <warp_bitonic_sort/key.hpp>

#if defined(__AMDGCN__)
#include <warp_bitonic_sort/exchange/amdgcn_single_order.hpp>
#else
#if defined(__CUDACC__)
#include <warp_bitonic_sort/exchange/cuda_single_order.hpp>
#else

namespace warp_bitonic_sort {
namespace single_order_detail {

// Its own inverse.
WBS_INLINE unsigned folded(unsigned raw) {
  return raw ^ (static_cast<unsigned>(static_cast<int>(raw) >> 31) & 0x7FFFFFFFu);
}
WBS_INLINE unsigned key_of(unsigned raw, unsigned factor, unsigned term) {
  return folded(raw) * factor + term;
}
WBS_INLINE unsigned raw_of(unsigned key, unsigned factor, unsigned back) {
  return folded(key * factor + back);
}

}  // namespace single_order_detail
}  // namespace warp_bitonic_sort

#endif

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
    return single_order_detail::key_of(raw, factor_, term_);
  }
  WBS_INLINE unsigned decode(unsigned key) const {
    return single_order_detail::raw_of(key, factor_, back_);
  }

 private:
  unsigned factor_, term_, back_;
};

}  // namespace warp_bitonic_sort

#endif

#endif  // WARP_BITONIC_SORT_SINGLE_ORDER_HPP_
