// Maps each bit of a position within a row to a bit of a register, lane or warp number.
//
// Invariant: a layout is three disjoint masks of position bits that together are 0..bits-1, and
// register, lane and warp numbers keep the order of their position bits. Hence a block of 2^p
// consecutive positions is a contiguous range of registers in each lane.
#ifndef WARP_BITONIC_SORT_NETWORK_LAYOUT_HPP_
#define WARP_BITONIC_SORT_NETWORK_LAYOUT_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// The bits of value under mask, packed to the right; and back.
constexpr WBS_HOST_DEVICE unsigned extract_bits(unsigned value, unsigned mask) {
  unsigned packed = 0;
  for (unsigned bit = 1, to = 1; mask >= bit && bit != 0; bit <<= 1) {
    if (!(mask & bit)) continue;
    if (value & bit) packed |= to;
    to <<= 1;
  }
  return packed;
}
constexpr WBS_HOST_DEVICE unsigned deposit_bits(unsigned packed, unsigned mask) {
  unsigned value = 0;
  for (unsigned bit = 1; mask >= bit && bit != 0; bit <<= 1) {
    if (!(mask & bit)) continue;
    if (packed & 1) value |= bit;
    packed >>= 1;
  }
  return value;
}

template <unsigned RegisterBits, unsigned LaneBits = 0, unsigned WarpBits = 0>
struct layout {
  WBS_CONSTANT(unsigned, register_mask, RegisterBits);
  WBS_CONSTANT(unsigned, lane_mask, LaneBits);
  WBS_CONSTANT(unsigned, warp_mask, WarpBits);
  WBS_CONSTANT(unsigned, all, RegisterBits | LaneBits | WarpBits);
  static_assert((RegisterBits & LaneBits) == 0 && ((RegisterBits | LaneBits) & WarpBits) == 0,
                "a position bit lives in one place");
  static_assert((all & (all + 1)) == 0, "every position bit below the capacity lives somewhere");

  WBS_CONSTANT(int, bits, all == 0 ? 0 : floor_log2(all) + 1);
  WBS_CONSTANT(int, registers, 1 << floor_log2(extract_bits(RegisterBits, RegisterBits) + 1));

  static constexpr WBS_HOST_DEVICE bool in_registers(unsigned mask) {
    return (mask & ~RegisterBits) == 0;
  }
  static constexpr WBS_HOST_DEVICE unsigned register_part(unsigned mask) {
    return extract_bits(mask, RegisterBits);
  }
  static constexpr WBS_HOST_DEVICE unsigned lane_part(unsigned mask) {
    return extract_bits(mask, LaneBits);
  }
  static constexpr WBS_HOST_DEVICE unsigned warp_part(unsigned mask) {
    return extract_bits(mask, WarpBits);
  }
  // The lowest position that a register holds in any lane.
  static constexpr WBS_HOST_DEVICE unsigned first_position(int index) {
    return deposit_bits(static_cast<unsigned>(index), RegisterBits);
  }
  // Registers that hold a block of 2^position_bits positions.
  static constexpr WBS_HOST_DEVICE int registers_of(int position_bits) {
    return 1 << floor_log2(register_part((1u << position_bits) - 1) + 1);
  }
};

// Everything in the registers of one lane: a SIMD lane on the CPU, a thread that sorts alone.
template <int Bits>
using register_layout = layout<(1u << Bits) - 1>;

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_NETWORK_LAYOUT_HPP_
