// Names the payloads: what a kernel carries along with each key.
//
// Invariant: a payload makes another entry, never a second network. The network sorts entries of
// one word: codes, or prefixes of codes with an index (core/composite.hpp).
#ifndef WARP_BITONIC_SORT_CORE_ENTRY_HPP_
#define WARP_BITONIC_SORT_CORE_ENTRY_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

enum class payload : int {
  none,     // a key alone
  index,    // the key's position in its row, so that equal keys keep their order
  value32,  // a value of 4 bytes, which is fetched by the index
  value64,  // a value of 8 bytes
};

// The bits of the values that a payload fetches; 0 for the others.
constexpr WBS_HOST_DEVICE int value_bits_of(payload carried) {
  return carried == payload::value32 ? 32 : carried == payload::value64 ? 64 : 0;
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_ENTRY_HPP_
