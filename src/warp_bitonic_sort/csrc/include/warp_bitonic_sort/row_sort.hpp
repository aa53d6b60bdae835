// Sorting rows that a target holds wholly in its registers: the device-library entry point.
//
// Invariant: pure register to register; keys are codes (see key.hpp), and no memory is touched.
#ifndef WARP_BITONIC_SORT_ROW_SORT_HPP_
#define WARP_BITONIC_SORT_ROW_SORT_HPP_

#include <warp_bitonic_sort/base.hpp>
#include <warp_bitonic_sort/layout.hpp>
#include <warp_bitonic_sort/network.hpp>

namespace warp_bitonic_sort {

constexpr WBS_HOST_DEVICE int bits_for(int length) {
  return length <= 1 ? 0 : floor_log2(static_cast<unsigned>(length - 1)) + 1;
}

// Sorts keys[0..Length) of one lane, one register a position; no key beyond Length is touched.
template <int Length, class Target>
WBS_INLINE void sort_registers(const Target& target, typename Target::key* keys) {
  network<Target, register_layout<bits_for(Length)>, Length>::sort(target, keys);
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_ROW_SORT_HPP_
