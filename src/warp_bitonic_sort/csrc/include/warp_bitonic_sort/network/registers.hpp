// Sorts rows that a target holds wholly in its registers.
//
// Invariant: pure register to register. Entries are codes (core/codec.hpp), and no memory is
// touched.
#ifndef WARP_BITONIC_SORT_NETWORK_REGISTERS_HPP_
#define WARP_BITONIC_SORT_NETWORK_REGISTERS_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/network/bitonic.hpp>

namespace warp_bitonic_sort {

constexpr WBS_HOST_DEVICE int bits_for(int length) {
  return length <= 1 ? 0 : floor_log2(static_cast<unsigned>(length - 1)) + 1;
}

// Sorts entries[0..Length) of one lane, one register a position; no entry beyond Length is touched.
template <int Length, class Target>
WBS_INLINE void sort_registers(const Target& target, typename Target::entry* entries) {
  network<Target, bits_for(Length), Length>::sort(target, entries);
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_NETWORK_REGISTERS_HPP_
