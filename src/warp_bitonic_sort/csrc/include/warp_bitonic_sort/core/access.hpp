// Names the ways in which a kernel reaches the elements of its rows.
//
// Invariant: the numbers are part of the ABI (abi.h).
#ifndef WARP_BITONIC_SORT_CORE_ACCESS_HPP_
#define WARP_BITONIC_SORT_CORE_ACCESS_HPP_

namespace warp_bitonic_sort {

enum class access : int {
  rows,     // the elements of a row are contiguous
  columns,  // the rows of the last batch dimension are contiguous
  strided,  // any strides
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_ACCESS_HPP_
