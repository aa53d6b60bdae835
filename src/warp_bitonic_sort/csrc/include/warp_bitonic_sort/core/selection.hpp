// Which positions of a sorted row a kernel's outputs need.
//
// Invariant: a comparator neither of whose outputs is wanted need not be emitted, as one whose
// inputs are not present need not be (network/bitonic.hpp).
#ifndef WARP_BITONIC_SORT_CORE_SELECTION_HPP_
#define WARP_BITONIC_SORT_CORE_SELECTION_HPP_

namespace warp_bitonic_sort {

enum class selection : int { all };

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_SELECTION_HPP_
