// Operates on two 16-bit keys in one 32-bit word, for codecs and loads.
//
// Invariant: this is plain C++ and defines the result of each operation. A target with faster
// instructions passes a class of its own to register_codec (target/*/ops.hpp).
#ifndef WARP_BITONIC_SORT_CORE_PACKED16_HPP_
#define WARP_BITONIC_SORT_CORE_PACKED16_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// The keys of two rows, the first row's in the low half.
struct key16x2 {
  unsigned both;
};

WBS_INLINE unsigned in_both_halves(unsigned half) { return (half & 0xFFFFu) * 0x10001u; }

struct packed16 {
  // Whether every operation is one instruction.
  WBS_CONSTANT(bool, is_fast, false);
  // All ones in the halves that are negative.
  static WBS_INLINE unsigned signs(unsigned both) { return (both >> 15 & 0x10001u) * 0xFFFFu; }
  // The magnitude bits of the halves that are all ones, or of the others if `inverse` is all ones.
  static WBS_INLINE unsigned magnitudes(unsigned signs, unsigned inverse = 0) {
    return (signs ^ inverse) & 0x7FFF7FFFu;
  }
  // The low halves of two words, and their high halves.
  static WBS_INLINE unsigned low_halves(unsigned low, unsigned high) {
    return (low & 0xFFFFu) | high << 16;
  }
  static WBS_INLINE unsigned high_halves(unsigned low, unsigned high) {
    return low >> 16 | (high & 0xFFFF0000u);
  }
  // The sums of halves, without carries between them.
  static WBS_INLINE unsigned add(unsigned a, unsigned b) {
    return ((a & 0x7FFF7FFFu) + (b & 0x7FFF7FFFu)) ^ ((a ^ b) & 0x80008000u);
  }
  // The lesser and the greater halves, as signed integers.
  static WBS_INLINE unsigned lesser(unsigned a, unsigned b) {
    const int low_a = static_cast<int>(a << 16), low_b = static_cast<int>(b << 16);
    const int high_a = static_cast<int>(a), high_b = static_cast<int>(b);
    return high_halves(low_a < low_b ? a << 16 : b << 16, high_a >> 16 < high_b >> 16 ? a : b);
  }
  static WBS_INLINE unsigned greater(unsigned a, unsigned b) { return ~lesser(~a, ~b); }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_PACKED16_HPP_
