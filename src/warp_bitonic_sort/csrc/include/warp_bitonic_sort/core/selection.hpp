// The positions of the sorted row that a kernel's outputs need.
//
// Invariant: part of a kernel's description. Every network sorts whole rows. A network for fewer
// positions must find backwards, from those positions, which comparators are needed.
#ifndef WARP_BITONIC_SORT_CORE_SELECTION_HPP_
#define WARP_BITONIC_SORT_CORE_SELECTION_HPP_

namespace warp_bitonic_sort {

enum class selection : int { all };

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_SELECTION_HPP_
