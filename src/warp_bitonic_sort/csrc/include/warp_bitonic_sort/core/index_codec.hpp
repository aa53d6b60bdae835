// Encodes keys as words for sorting with indices.
//
// Invariant: keys that count as equal have equal codes, and the unsigned order of codes is the
// promised one. A key's code begins at the highest bit of the word; the bits below it are the same
// for all keys.
#ifndef WARP_BITONIC_SORT_CORE_INDEX_CODEC_HPP_
#define WARP_BITONIC_SORT_CORE_INDEX_CODEC_HPP_

#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/order.hpp>

namespace warp_bitonic_sort {

// Short keys are encoded in the high bits of a word, because arithmetic of short integers takes
// more instructions.
template <codec_kind Codec, int KeyBits, class Word, class Signed>
class index_codec {
  WBS_CONSTANT(int, shift, 8 * static_cast<int>(sizeof(Word)) - KeyBits);

 public:
  WBS_INLINE explicit index_codec(order_constants order)
      : codec_({widened(order.key_xor), order.key_add << shift}) {}
  WBS_INLINE Word encode(typename unsigned_of<KeyBits>::type raw) const {
    return codec_.encode(static_cast<Word>(raw) << shift);
  }
  // The same, but NaNs have different codes.
  WBS_INLINE Word encode_unjoined(typename unsigned_of<KeyBits>::type raw) const {
    return codec_.encode_unjoined(static_cast<Word>(raw) << shift);
  }

 private:
  // The bits below the key are inverted if the key's are.
  static WBS_INLINE unsigned long long widened(unsigned long long key_xor) {
    return key_xor << shift | ((1ull << shift) - 1) * (key_xor & 1);
  }

  canonical_codec<Codec, Word, Signed> codec_;
};
template <class Word, class Signed>
class index_codec<codec_kind::fnuz, 8, Word, Signed> {
 public:
  WBS_INLINE explicit index_codec(order_constants order) : codec_(order) {}
  WBS_INLINE Word encode(unsigned char raw) const {
    return static_cast<Word>(codec_.encode(raw)) << (8 * sizeof(Word) - 8);
  }

 private:
  canonical_codec<codec_kind::fnuz, unsigned char, signed char> codec_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_INDEX_CODEC_HPP_
