// Stores sorted elements and their indices, which have 4 or 8 bytes.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_INDEX_OUTPUT_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_INDEX_OUTPUT_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/memory/gpu/run.hpp>

namespace warp_bitonic_sort {

using index_args = wbs_args<1, 2>;

template <class Target, class Index, int Size>
WBS_INLINE void store_indices(char* to, const element_vector<int, Size>& indices) {
  constexpr int bytes = static_cast<int>(sizeof(Index));
  constexpr int step = Size * bytes > 16 ? 16 / bytes : Size;
  WBS_UNROLL
  for (int e = 0; e < Size; e += step) {
    element_vector<Index, step> some;
    WBS_UNROLL
    for (int i = 0; i < step; ++i) some.values[i] = indices.values[e + i];
    Target::store_global(to + e * bytes, some);
  }
}

template <class Target, class Element, int Size>
WBS_INLINE void store_elements(bool has_values, int index_bytes, char* to_values, char* to_indices,
                               const element_vector<Element, Size>& values,
                               const element_vector<int, Size>& indices) {
  if (has_values) Target::store_global(to_values, values);
  if (index_bytes == 4) {
    store_indices<Target, int>(to_indices, indices);
  } else {
    store_indices<Target, long long>(to_indices, indices);
  }
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_OUTPUT_HPP_
