// What a kernel's outputs have of each sorted row: all positions, the first ones, as many as
// wbs_args::kept says, or the median.
//
// Invariant: part of a kernel's description.
#ifndef WARP_BITONIC_SORT_CORE_SELECTION_HPP_
#define WARP_BITONIC_SORT_CORE_SELECTION_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

enum class selection : int {
  all,
  first,   // any number of them
  first1,  // at most so many
  first2,
  first4,
  first8,
  first16,
  first32,
  first64,
  first128,
  first256,
  // Of floats, the mean of the middle two, or the one in the middle; of integers, these themselves.
  median,     // a NaN if a row has any
  nanmedian,  // NaNs are left out
};

// The most elements of a row that a kernel keeps; 0 for all.
constexpr WBS_HOST_DEVICE int max_kept_of(selection wanted) {
  return wanted == selection::first1     ? 1
         : wanted == selection::first2   ? 2
         : wanted == selection::first4   ? 4
         : wanted == selection::first8   ? 8
         : wanted == selection::first16  ? 16
         : wanted == selection::first32  ? 32
         : wanted == selection::first64  ? 64
         : wanted == selection::first128 ? 128
         : wanted == selection::first256 ? 256
                                         : 0;
}

constexpr WBS_HOST_DEVICE bool is_median(selection wanted) {
  return wanted == selection::median || wanted == selection::nanmedian;
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_SELECTION_HPP_
