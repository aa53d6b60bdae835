// Stores sorted keys with their indices, or with the values that are carried along: payloads of 4
// or 8 bytes.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_INDEX_OUTPUT_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_INDEX_OUTPUT_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/memory/gpu/run.hpp>

namespace warp_bitonic_sort {

using index_args = wbs_args<1, 2>;

template <class Target, class Stored, class Payload, int Size>
WBS_INLINE void store_payloads(char* to, const element_vector<Payload, Size>& payloads) {
  constexpr int bytes = static_cast<int>(sizeof(Stored));
  constexpr int step = Size * bytes > 16 ? 16 / bytes : Size;
  WBS_UNROLL
  for (int e = 0; e < Size; e += step) {
    element_vector<Stored, step> some;
    WBS_UNROLL
    for (int i = 0; i < step; ++i) some.values[i] = static_cast<Stored>(payloads.values[e + i]);
    Target::store_global(to + e * bytes, some);
  }
}

template <class Target, class Element, int Size, class Payload = int>
WBS_INLINE void store_elements(bool has_keys, int payload_bytes, char* to_keys, char* to_payloads,
                               const element_vector<Element, Size>& keys,
                               const element_vector<Payload, Size>& payloads) {
  if (has_keys) Target::store_global(to_keys, keys);
  if (payload_bytes == 4) {
    store_payloads<Target, int>(to_payloads, payloads);
  } else {
    store_payloads<Target, long long>(to_payloads, payloads);
  }
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_OUTPUT_HPP_
