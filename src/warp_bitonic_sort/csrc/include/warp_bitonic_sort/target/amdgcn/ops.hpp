// Codec operations on AMD GPUs.
//
// Invariant: the same results as core/packed16.hpp and core/float32_codec.hpp. The packed
// operations are one instruction each. Multiplication is slow here, so the float32 codec uses none:
// an xor and an addition are one instruction, and so is a selection by bits.
#ifndef WARP_BITONIC_SORT_TARGET_AMDGCN_OPS_HPP_
#define WARP_BITONIC_SORT_TARGET_AMDGCN_OPS_HPP_

#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

struct amdgcn_packed16 {
  typedef short signed_pair __attribute__((ext_vector_type(2)));
  typedef unsigned short unsigned_pair __attribute__((ext_vector_type(2)));
  static constexpr bool is_fast = true;

  static WBS_INLINE unsigned signs(unsigned both) {
    return __builtin_bit_cast(unsigned, __builtin_bit_cast(signed_pair, both) >> short(15));
  }
  static WBS_INLINE unsigned magnitudes(unsigned signs, unsigned inverse = 0) {
    return (signs ^ inverse) & 0x7FFF7FFFu;
  }
  static WBS_INLINE unsigned low_halves(unsigned low, unsigned high) {
    return __builtin_amdgcn_perm(high, low, 0x05040100u);
  }
  static WBS_INLINE unsigned high_halves(unsigned low, unsigned high) {
    return __builtin_amdgcn_perm(high, low, 0x07060302u);
  }
  static WBS_INLINE unsigned add(unsigned a, unsigned b) {
    return __builtin_bit_cast(
        unsigned, __builtin_bit_cast(unsigned_pair, a) + __builtin_bit_cast(unsigned_pair, b));
  }
  static WBS_INLINE unsigned lesser(unsigned a, unsigned b) {
    return __builtin_bit_cast(unsigned,
                              __builtin_elementwise_min(__builtin_bit_cast(signed_pair, a),
                                                        __builtin_bit_cast(signed_pair, b)));
  }
  static WBS_INLINE unsigned greater(unsigned a, unsigned b) {
    return __builtin_bit_cast(unsigned,
                              __builtin_elementwise_max(__builtin_bit_cast(signed_pair, a),
                                                        __builtin_bit_cast(signed_pair, b)));
  }
};

class amdgcn_float32_codec {
 public:
  WBS_INLINE explicit amdgcn_float32_codec(order_constants order)
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

struct amdgcn_ops {
  using packed16 = amdgcn_packed16;
  using float32_codec = amdgcn_float32_codec;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_TARGET_AMDGCN_OPS_HPP_
