// Encodes keys as words for sorting with indices.
//
// Invariant: keys that count as equal have equal codes, and the unsigned order of codes is the
// promised one. A key's code begins at the highest bit of the word; the bits below it are zeros.
#ifndef WARP_BITONIC_SORT_CORE_INDEX_CODEC_HPP_
#define WARP_BITONIC_SORT_CORE_INDEX_CODEC_HPP_

#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/packed16.hpp>

namespace warp_bitonic_sort {

// Short keys are encoded in the high bits of a word, because arithmetic of short integers takes
// more instructions.
template <int KeyBits, class Word>
struct high_keys {
  using element = typename unsigned_of<KeyBits>::type;
  WBS_CONSTANT(int, shift, 8 * static_cast<int>(sizeof(Word)) - KeyBits);

  static WBS_INLINE Word word_of(element raw) { return static_cast<Word>(raw) << shift; }
  // The same for key i of a word that holds several, from the low bits on.
  static WBS_INLINE Word word_of(Word raws, int i) {
    return raws << (shift - i * KeyBits) & ~Word(0) << shift;
  }
};

template <codec_kind Codec, int KeyBits, class Word, class Signed>
class index_codec : public high_keys<KeyBits, Word> {
  using keys = high_keys<KeyBits, Word>;
  using typename keys::element;

 public:
  WBS_INLINE explicit index_codec(order_constants order)
      : codec_({order.key_xor << keys::shift, order.key_add << keys::shift}) {}
  WBS_INLINE Word encode_word(Word key) const { return codec_.encode(key); }
  WBS_INLINE Word encode(element raw) const { return encode_word(keys::word_of(raw)); }
  // The same, but NaNs have different codes.
  WBS_INLINE Word encode_unjoined(element raw) const {
    return codec_.encode_unjoined(keys::word_of(raw));
  }

 private:
  canonical_codec<Codec, Word, Signed, Word, keys::shift> codec_;
};
template <class Word, class Signed>
class index_codec<codec_kind::fnuz, 8, Word, Signed> : public high_keys<8, Word> {
  using keys = high_keys<8, Word>;

 public:
  WBS_INLINE explicit index_codec(order_constants order) : codec_(order) {}
  WBS_INLINE Word encode_word(Word key) const {
    return encode(static_cast<unsigned char>(key >> keys::shift));
  }
  WBS_INLINE Word encode(unsigned char raw) const { return keys::word_of(codec_.encode(raw)); }

 private:
  canonical_codec<codec_kind::fnuz, unsigned char, signed char> codec_;
};

// Encodes the two 16-bit keys of a word. The codes are those of index_codec, made signed.
template <codec_kind Codec, class Packed16>
class packed_index_codec {
 public:
  WBS_INLINE explicit packed_index_codec(order_constants order)
      : xor_(in_both_halves(static_cast<unsigned>(order.key_xor) ^ 0x8000u)) {}
  WBS_INLINE unsigned encode(unsigned both) const { return both ^ xor_; }

 private:
  unsigned xor_;
};
// All bits of negative keys are flipped, and none of other keys: what is added has their sign.
template <class Packed16>
class packed_index_codec<codec_kind::ieee, Packed16> {
 public:
  WBS_INLINE explicit packed_index_codec(order_constants order) {
    // As in canonical_codec, where all conditions are masks.
    constexpr unsigned signs = 0x80008000u, ones = 0x00010001u;
    const unsigned add = in_both(order.key_add), nan_is_last = Packed16::signs(add);
    xor_ = in_both(order.key_xor);
    const unsigned add_negative = Packed16::add(add, xor_ & nan_is_last);
    add_negative_ = add_negative ^ signs;
    add_positive_ = Packed16::add(add_negative, ~xor_ | ones);
    const unsigned twice = Packed16::add(add, add);
    lowest_ = (twice & ~nan_is_last) ^ signs;
    highest_ = (Packed16::add(twice, ~0u) | ~nan_is_last) ^ signs;
  }
  WBS_INLINE unsigned encode(unsigned both) const {
    const unsigned negative = Packed16::signs(both);
    const unsigned add = (negative & add_negative_) | (~negative & add_positive_);
    const unsigned code = Packed16::add(both ^ negative ^ xor_, add);
    return Packed16::lesser(Packed16::greater(code, lowest_), highest_);
  }

 private:
  static WBS_INLINE unsigned in_both(unsigned long long half) {
    return Packed16::low_halves(static_cast<unsigned>(half), static_cast<unsigned>(half));
  }
  unsigned xor_, add_negative_, add_positive_, lowest_, highest_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_INDEX_CODEC_HPP_
