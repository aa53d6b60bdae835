// A code with the index of its key: pairs of a row have the order of the stable sort.
//
// Invariant: pure arithmetic. Every pair of a row is different.
#ifndef WARP_BITONIC_SORT_CORE_INDEXED_CODE_HPP_
#define WARP_BITONIC_SORT_CORE_INDEXED_CODE_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// Codes of 64 bits.
template <class Word>
struct indexed_code {
  Word code, place;

  static WBS_INLINE indexed_code of(Word code, unsigned index) { return {code, index}; }
  WBS_INLINE unsigned index() const { return static_cast<unsigned>(place); }
  WBS_INLINE bool operator<(const indexed_code& other) const {
    return code < other.code || (code == other.code && place < other.place);
  }
};
// One word holds both.
template <>
struct indexed_code<unsigned> {
  unsigned long long both;

  static WBS_INLINE indexed_code of(unsigned code, unsigned index) {
    return {static_cast<unsigned long long>(code) << 32 | index};
  }
  WBS_INLINE unsigned index() const { return static_cast<unsigned>(both); }
  WBS_INLINE bool operator<(const indexed_code& other) const { return both < other.both; }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_INDEXED_CODE_HPP_
