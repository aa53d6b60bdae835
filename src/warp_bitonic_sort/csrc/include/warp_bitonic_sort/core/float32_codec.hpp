// Encodes float32 keys as signed integers.
//
// Invariant: the order is that of codec.hpp's ieee codec, shifted by half the range. The codec
// multiplies, because a sort leaves the multipliers idle. A target with slow multiplication has a
// class of its own (target/amdgcn/ops.hpp).
#ifndef WARP_BITONIC_SORT_CORE_FLOAT32_CODEC_HPP_
#define WARP_BITONIC_SORT_CORE_FLOAT32_CODEC_HPP_

#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// The two steps of the codec in plain C++.
struct float32_steps {
  static WBS_INLINE unsigned key_of(unsigned raw, unsigned factor, unsigned term) {
    return folded(raw) * factor + term;
  }
  static WBS_INLINE unsigned raw_of(unsigned key, unsigned factor, unsigned back) {
    return folded(key * factor + back);
  }

 private:
  // Its own inverse.
  static WBS_INLINE unsigned folded(unsigned raw) {
    return raw ^ (static_cast<unsigned>(static_cast<int>(raw) >> 31) & 0x7FFFFFFFu);
  }
};

template <class Steps = float32_steps>
class float32_codec {
 public:
  WBS_INLINE explicit float32_codec(order_constants order) {
    const unsigned add = static_cast<unsigned>(order.key_add);
    factor_ = order.key_xor != 0 ? ~0u : 1u;
    term_ = order.key_xor != 0 ? add - 1 : add;
    back_ = 0u - term_ * factor_;
  }
  WBS_INLINE unsigned encode(unsigned raw) const { return Steps::key_of(raw, factor_, term_); }
  WBS_INLINE unsigned decode(unsigned key) const { return Steps::raw_of(key, factor_, back_); }

 private:
  unsigned factor_, term_, back_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_FLOAT32_CODEC_HPP_
