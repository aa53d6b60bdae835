// Names the payloads: what a kernel carries along with each key.
//
// Invariant: a payload makes a wider entry, never a second network. The network sorts entries; a
// target defines an entry and how two entries compare.
#ifndef WARP_BITONIC_SORT_CORE_ENTRY_HPP_
#define WARP_BITONIC_SORT_CORE_ENTRY_HPP_

namespace warp_bitonic_sort {

enum class payload : int {
  none,   // a key alone
  index,  // the key's position in its row, so that equal keys keep their order
};

// An entry of two words, a code and its index, compared in this order.
template <class Word>
struct code_and_index {
  Word code, index;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_ENTRY_HPP_
