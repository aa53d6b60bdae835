// Names the payloads: what a kernel carries along with each key.
//
// Invariant: a payload makes another entry, never a second network. The network sorts entries of
// one word: codes, or prefixes of codes with an index (core/composite.hpp).
#ifndef WARP_BITONIC_SORT_CORE_ENTRY_HPP_
#define WARP_BITONIC_SORT_CORE_ENTRY_HPP_

namespace warp_bitonic_sort {

enum class payload : int {
  none,   // a key alone
  index,  // the key's position in its row, so that equal keys keep their order
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_ENTRY_HPP_
