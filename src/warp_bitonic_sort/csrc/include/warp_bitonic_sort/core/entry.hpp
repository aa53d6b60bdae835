// What a kernel carries along with each key.
//
// A payload makes a wider entry, never a second network: the network sorts entries, and a target
// says what an entry is and how two are compared.
#ifndef WARP_BITONIC_SORT_CORE_ENTRY_HPP_
#define WARP_BITONIC_SORT_CORE_ENTRY_HPP_

namespace warp_bitonic_sort {

enum class payload : int {
  none,   // a key alone
  index,  // the key's position in its row, so that equal keys keep their order
};

// An entry of two words that are compared one after the other: a code, and the index that it has.
template <class Word>
struct code_and_index {
  Word code, index;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_ENTRY_HPP_
