// Encodes keys as a GPU's registers hold them: signed integers, or pairs of 16-bit keys of two
// rows.
//
// Invariant: the order is that of codec.hpp's codes. encode() and decode() are inverse to each
// other, and no key is larger than pad(). Both work on `raw`: an element of memory, or the elements
// of two rows in the halves of a word.
#ifndef WARP_BITONIC_SORT_CORE_REGISTER_CODEC_HPP_
#define WARP_BITONIC_SORT_CORE_REGISTER_CODEC_HPP_

#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/float32_codec.hpp>
#include <warp_bitonic_sort/core/packed16.hpp>

namespace warp_bitonic_sort {

// For a target without faster instructions.
struct portable_ops {
  using packed16 = warp_bitonic_sort::packed16;
  using float32_codec = warp_bitonic_sort::float32_codec<>;
};

// A register holds one key of KeyBits, or the keys of two rows (`rows`).
template <codec_kind Codec, int KeyBits, class Ops = portable_ops>
class register_codec {
 public:
  WBS_CONSTANT(int, rows, 1);
  using element = typename unsigned_of<KeyBits>::type;
  using key = typename unsigned_of<KeyBits>::signed_type;

  WBS_INLINE explicit register_codec(order_constants order)
      : codec_(order, static_cast<element>(element(1) << (KeyBits - 1))) {}
  WBS_INLINE key encode(element raw) const { return static_cast<key>(codec_.encode(raw)); }
  WBS_INLINE element decode(key k) const { return codec_.decode(static_cast<element>(k)); }
  static WBS_INLINE key pad() { return static_cast<key>(static_cast<element>(~element(0)) >> 1); }

 private:
  codec<Codec, element, key, element> codec_;
};

// Floats of 32 bits: a negative number's magnitude bits flipped are in signed order; then come the
// order's xor and add of core/codec.hpp, in the instructions that are cheapest on the target.
template <class Ops>
class register_codec<codec_kind::ieee, 32, Ops> {
 public:
  WBS_CONSTANT(int, rows, 1);
  using element = unsigned;
  using key = int;

  WBS_INLINE explicit register_codec(order_constants order) : order_(order) {}
  WBS_INLINE key encode(element raw) const { return static_cast<key>(order_.encode(raw)); }
  WBS_INLINE element decode(key k) const { return order_.decode(static_cast<unsigned>(k)); }
  static WBS_INLINE key pad() { return 0x7FFFFFFF; }

 private:
  typename Ops::float32_codec order_;
};

// Floats of 32 bits, compared as floats: encoding takes one instruction, and a target may compare
// floats faster than integers. Only for rows without NaN and -0.0, which a minimum of floats does
// not order.
class float_keys {
 public:
  WBS_CONSTANT(int, rows, 1);
  using element = unsigned;
  using key = float;

  WBS_INLINE explicit float_keys(order_constants order)
      : flip_(order.key_xor != 0 ? 0x80000000u : 0u) {}
  WBS_INLINE key encode(element raw) const { return bits_as<float>(raw ^ flip_); }
  WBS_INLINE element decode(key k) const { return bits_as<unsigned>(k) ^ flip_; }
  static WBS_INLINE key pad() { return bits_as<float>(0x7F800000u); }
  // The key of a -0.0.
  WBS_INLINE unsigned negative_zero() const { return 0x80000000u ^ flip_; }

 private:
  unsigned flip_;
};

template <class Keys>
constexpr bool is_float_keys = false;
template <>
inline constexpr bool is_float_keys<float_keys> = true;
template <class Keys>
constexpr bool allows_float_keys = false;
template <class Ops>
inline constexpr bool allows_float_keys<register_codec<codec_kind::ieee, 32, Ops> > = true;

// Floats of 64 bits: likewise, but with an xor, because a 64-bit product takes several
// instructions.
template <class Ops>
class register_codec<codec_kind::ieee, 64, Ops> {
 public:
  WBS_CONSTANT(int, rows, 1);
  using element = unsigned long long;
  using key = long long;

  WBS_INLINE explicit register_codec(order_constants order)
      : xor_(order.key_xor), add_(order.key_add) {}
  WBS_INLINE key encode(element raw) const { return static_cast<key>((folded(raw) ^ xor_) + add_); }
  WBS_INLINE element decode(key k) const { return folded((static_cast<element>(k) - add_) ^ xor_); }
  static WBS_INLINE key pad() { return 0x7FFFFFFFFFFFFFFF; }

 private:
  // Its own inverse.
  static WBS_INLINE element folded(element raw) {
    // One shift for both halves.
    const unsigned signs = static_cast<unsigned>(static_cast<int>(raw >> 32) >> 31);
    return raw ^ (static_cast<element>(signs & 0x7FFFFFFFu) << 32 | signs);
  }
  element xor_, add_;
};

// Sixteen bits, integers: one xor for both rows.
template <class Ops>
class register_codec<codec_kind::integer, 16, Ops> {
 public:
  WBS_CONSTANT(int, rows, 2);
  using packed16 = typename Ops::packed16;
  using element = unsigned short;
  using key = key16x2;

  WBS_INLINE explicit register_codec(order_constants order)
      : xor_(in_both_halves(static_cast<unsigned>(order.key_xor) ^ 0x8000u)) {}
  WBS_INLINE key encode(unsigned both) const { return {both ^ xor_}; }
  WBS_INLINE unsigned decode(key k) const { return k.both ^ xor_; }
  static WBS_INLINE key pad() { return {0x7FFF7FFFu}; }

 private:
  unsigned xor_;
};

// Sixteen bits, floats: a negative number's magnitude bits flipped are in signed order; then the
// order's xor and add, as in core/codec.hpp.
template <class Ops>
class register_codec<codec_kind::ieee, 16, Ops> {
 public:
  WBS_CONSTANT(int, rows, 2);
  using packed16 = typename Ops::packed16;
  using element = unsigned short;
  using key = key16x2;

  WBS_INLINE explicit register_codec(order_constants order)
      : xor_(in_both_halves(static_cast<unsigned>(order.key_xor) ^ 0x8000u)),
        add_(in_both_halves(static_cast<unsigned>(order.key_add) + 0x8000u)),
        sub_(in_both_halves(0x8000u - static_cast<unsigned>(order.key_add))),
        inverse_(order.key_xor != 0 ? 0u : ~0u) {}
  WBS_INLINE key encode(unsigned both) const {
    return {packed16::add(both ^ packed16::magnitudes(packed16::signs(both)) ^ xor_, add_)};
  }
  WBS_INLINE unsigned decode(key k) const {
    const unsigned flipped = packed16::add(k.both, sub_);
    return flipped ^ xor_ ^ packed16::magnitudes(packed16::signs(flipped), inverse_);
  }
  static WBS_INLINE key pad() { return {0x7FFF7FFFu}; }

 private:
  // All ones if xor_ flips the signs.
  unsigned xor_, add_, sub_, inverse_;
};

// Eight bits, integers: codes from 0 to 255 are positive as 16-bit numbers.
template <class Ops>
class register_codec<codec_kind::integer, 8, Ops> {
 public:
  WBS_CONSTANT(int, rows, 2);
  using packed16 = typename Ops::packed16;
  using element = unsigned char;
  using key = key16x2;

  WBS_INLINE explicit register_codec(order_constants order)
      : xor_(in_both_halves(static_cast<unsigned>(order.key_xor) & 0xFFu)) {}
  WBS_INLINE key encode(unsigned both) const { return {both ^ xor_}; }
  WBS_INLINE unsigned decode(key k) const { return k.both ^ xor_; }
  static WBS_INLINE key pad() { return {0x7FFF7FFFu}; }

 private:
  unsigned xor_;
};

// Eight bits, floats: in the upper bytes of the halves, they are floats of sixteen bits.
template <class Ops>
class register_codec<codec_kind::ieee, 8, Ops> {
 public:
  WBS_CONSTANT(int, rows, 2);
  using packed16 = typename Ops::packed16;
  using element = unsigned char;
  using key = key16x2;

  WBS_INLINE explicit register_codec(order_constants order)
      : xor_(in_both_halves((static_cast<unsigned>(order.key_xor) ^ 0x80u) << 8)),
        add_(in_both_halves((static_cast<unsigned>(order.key_add) + 0x80u) << 8)),
        sub_(in_both_halves((0x80u - static_cast<unsigned>(order.key_add)) << 8)) {}
  WBS_INLINE key encode(unsigned both) const {
    const unsigned wide = both << 8;
    return {packed16::add(wide ^ (packed16::signs(wide) & 0x7F007F00u) ^ xor_, add_)};
  }
  WBS_INLINE unsigned decode(key k) const {
    const unsigned folded = packed16::add(k.both, sub_) ^ xor_;
    return (folded ^ (packed16::signs(folded) & 0x7F007F00u)) >> 8 & 0x00FF00FFu;
  }
  static WBS_INLINE key pad() { return {0x7FFF7FFFu}; }

 private:
  unsigned xor_, add_, sub_;
};

// Eight bits, any other codec: core/codec.hpp's codec, one row after the other.
template <codec_kind Codec, class Ops>
class register_codec<Codec, 8, Ops> {
 public:
  WBS_CONSTANT(int, rows, 2);
  using packed16 = typename Ops::packed16;
  using element = unsigned char;
  using key = key16x2;

  WBS_INLINE explicit register_codec(order_constants order) : codec_(order, 0) {}
  WBS_INLINE key encode(unsigned both) const {
    return {codec_.encode(static_cast<element>(both)) |
            static_cast<unsigned>(codec_.encode(static_cast<element>(both >> 16))) << 16};
  }
  WBS_INLINE unsigned decode(key k) const {
    return codec_.decode(static_cast<element>(k.both)) |
           static_cast<unsigned>(codec_.decode(static_cast<element>(k.both >> 16))) << 16;
  }
  static WBS_INLINE key pad() { return {0x7FFF7FFFu}; }

 private:
  codec<Codec, unsigned char, signed char, unsigned char> codec_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_REGISTER_CODEC_HPP_
