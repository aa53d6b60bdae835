// The order of float32 keys as signed integers: bits to key and back.
//
// Invariant: as key.hpp's codec for floats, less half the range. Plain C++ says what they are; a
// target that has a better way says so in a header of its own beside its exchange.
#ifndef WARP_BITONIC_SORT_SINGLE_ORDER_HPP_
#define WARP_BITONIC_SORT_SINGLE_ORDER_HPP_

#include <warp_bitonic_sort/base.hpp>
#include <warp_bitonic_sort/key.hpp>

#if defined(__CUDACC__)
#include <warp_bitonic_sort/exchange/cuda_single_order.hpp>
#elif defined(__AMDGCN__)
#include <warp_bitonic_sort/exchange/amdgcn_single_order.hpp>
#else

namespace warp_bitonic_sort {

class single_order {
 public:
  WBS_INLINE explicit single_order(order_constants order) {
    const unsigned add = static_cast<unsigned>(order.key_add);
    factor_ = order.key_xor != 0 ? ~0u : 1u;
    term_ = order.key_xor != 0 ? add - 1 : add;
    back_ = 0u - term_ * factor_;
  }
  WBS_INLINE unsigned encode(unsigned raw) const { return folded(raw) * factor_ + term_; }
  WBS_INLINE unsigned decode(unsigned key) const { return folded(key * factor_ + back_); }

 private:
  // Its own inverse.
  static WBS_INLINE unsigned folded(unsigned raw) {
    return raw ^ (static_cast<unsigned>(static_cast<int>(raw) >> 31) & 0x7FFFFFFFu);
  }
  unsigned factor_, term_, back_;
};

}  // namespace warp_bitonic_sort

#endif

#endif  // WARP_BITONIC_SORT_SINGLE_ORDER_HPP_
