// Selects the positions of a sorted row that a kernel's outputs need.
//
// Invariant: the network emits a comparator only if both of its inputs are present and one of its
// outputs is wanted.
#ifndef WARP_BITONIC_SORT_CORE_SELECTION_HPP_
#define WARP_BITONIC_SORT_CORE_SELECTION_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

enum class selection : int { all };

// Every position is wanted.
struct select_all {
  static constexpr WBS_HOST_DEVICE bool is_wanted(unsigned) { return true; }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_SELECTION_HPP_
