// Entries of one word that sort keys with their indices: a prefix of the key's code, then the
// index.
//
// The code of a row's least key is subtracted, and the difference shifted so that the row's range
// fills the word: `(code - least) << shift`, whose low bits the index replaces. Keys of different
// codes may share a prefix; their order must be checked after the sort. Keys of equal codes share
// it always, so that they are in the order of their indices.
//
// Invariant: pure arithmetic on unsigned words; every entry of a row is different.
#ifndef WARP_BITONIC_SORT_CORE_COMPOSITE_HPP_
#define WARP_BITONIC_SORT_CORE_COMPOSITE_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// Bits is a word, or a vector of words of which each belongs to another row. The number of index
// bits is at most half of a word's.
template <class Word, class Bits = Word>
class composite {
 public:
  // Codes that fit a word together with an index: prefixes are whole codes.
  WBS_INLINE explicit composite(int index_bits)
      : composite(index_bits, Bits{}, Bits{} + static_cast<Word>(index_bits)) {}
  // Codes from `least` on; `shift` is the number of leading zeros of the row's range.
  WBS_INLINE composite(int index_bits, Bits least, Bits shift)
      : index_bits_(index_bits),
        mask_(static_cast<Word>((Word(1) << index_bits) - 1)),
        least_(least),
        shift_(shift) {}

  WBS_INLINE Bits entry(Bits code, Word index) const {
    return ((code - least_) << shift_ & ~mask_) | index;
  }
  WBS_INLINE Bits index(Bits entry) const { return entry & mask_; }
  // Where the prefixes of a row lack bits of its codes.
  WBS_INLINE auto is_lossy() const { return shift_ < Bits{} + static_cast<Word>(index_bits_); }
  // Entries that differ by less, as bits, share a prefix.
  WBS_INLINE Word prefix_step() const { return static_cast<Word>(mask_ + 1); }

  // Codes are sorted exactly by halves, the low one first: entries of a half and a position.
  WBS_INLINE Bits low_half(Bits code, Word position) const {
    return ((code & half_mask) << index_bits_) | position;
  }
  WBS_INLINE Bits high_half(Bits code, Word position) const {
    return (code >> half_bits << index_bits_) | position;
  }

 private:
  WBS_CONSTANT(int, half_bits, 4 * static_cast<int>(sizeof(Word)));
  WBS_CONSTANT(Word, half_mask, static_cast<Word>((Word(1) << half_bits) - 1));

  int index_bits_;
  Word mask_;
  Bits least_, shift_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_COMPOSITE_HPP_
