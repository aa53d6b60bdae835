// What a kernel carries along with each key.
#ifndef WARP_BITONIC_SORT_CORE_ENTRY_HPP_
#define WARP_BITONIC_SORT_CORE_ENTRY_HPP_

namespace warp_bitonic_sort {

enum class payload : int { none, index };

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_ENTRY_HPP_
