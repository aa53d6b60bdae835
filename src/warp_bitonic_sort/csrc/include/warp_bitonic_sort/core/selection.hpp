// The positions of the sorted row that a kernel's outputs need: all of them, or the first ones, as
// many as wbs_args::kept says.
//
// Invariant: part of a kernel's description.
#ifndef WARP_BITONIC_SORT_CORE_SELECTION_HPP_
#define WARP_BITONIC_SORT_CORE_SELECTION_HPP_

namespace warp_bitonic_sort {

enum class selection : int { all, first };

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_SELECTION_HPP_
