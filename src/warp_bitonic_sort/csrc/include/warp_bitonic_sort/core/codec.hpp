// Encodes the raw bits of a key as an unsigned code whose unsigned order is the promised order.
//
// Invariant: for each codec and width, encode() is a bijection and decode() its inverse, so that a
// sorted row is a permutation of its input bit for bit, payloads of NaNs and signs of zeros
// included. All orders of all dtypes of one codec and width share one code, with other run-time
// constants. The all-ones code is the pad: no key sorts after it.
#ifndef WARP_BITONIC_SORT_CORE_CODEC_HPP_
#define WARP_BITONIC_SORT_CORE_CODEC_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/order.hpp>

namespace warp_bitonic_sort {

namespace key_detail {

// A comparison gives a lane mask on vectors and a bool on scalars; both become all-ones or zero.
template <class Bits>
WBS_INLINE constexpr Bits mask_of(bool condition) {
  return static_cast<Bits>(condition ? ~Bits(0) : Bits(0));
}
template <class Bits, class Mask>
WBS_INLINE constexpr Bits mask_of(Mask condition) {
  return (Bits)condition;
}

template <class Bits, class Mask>
WBS_INLINE constexpr Bits select(Mask condition, Bits a, Bits b) {
  return condition ? a : b;
}

}  // namespace key_detail

// Bits is an unsigned integer, or a vector of them; Signed is its signed counterpart; Element is
// the unsigned integer in either case. `bias` is added to every code: a target that compares signed
// passes the sign bit, which turns unsigned order into signed order at no cost.
template <codec_kind Codec, class Bits, class Signed, class Element>
class codec;

// Integers: one xor.
template <class Bits, class Signed, class Element>
class codec<codec_kind::integer, Bits, Signed, Element> {
 public:
  WBS_INLINE codec(order_constants order, Element bias)
      : xor_(Bits{} + static_cast<Element>(order.key_xor ^ bias)) {}
  WBS_INLINE Bits encode(Bits raw) const { return raw ^ xor_; }
  WBS_INLINE Bits decode(Bits code) const { return code ^ xor_; }

 private:
  Bits xor_;
};

// IEEE-like floats: flip all bits of a negative number and the sign bit of any other, then the
// order's xor and add. The flip and the xor are one mask, chosen by the sign.
template <class Bits, class Signed, class Element>
class codec<codec_kind::ieee, Bits, Signed, Element> {
 public:
  WBS_INLINE codec(order_constants order, Element bias) {
    constexpr Element sign = static_cast<Element>(Element(1) << (8 * sizeof(Element) - 1));
    const Element key_xor = static_cast<Element>(order.key_xor);
    const Element negative = static_cast<Element>(~key_xor);
    const Element positive = static_cast<Element>(key_xor ^ sign);
    const bool reversed = (key_xor & sign) != 0;
    negative_ = Bits{} + negative;
    positive_ = Bits{} + positive;
    high_ = reversed ? negative_ : positive_;
    low_ = reversed ? positive_ : negative_;
    add_ = Bits{} + static_cast<Element>(order.key_add + bias);
  }
  WBS_INLINE Bits encode(Bits raw) const {
    return (raw ^ key_detail::select((Signed)raw < Signed{}, negative_, positive_)) + add_;
  }
  WBS_INLINE Bits decode(Bits code) const {
    const Bits folded = code - add_;
    return folded ^ key_detail::select((Signed)folded < Signed{}, high_, low_);
  }

 private:
  Bits negative_, positive_, high_, low_, add_;
};

// float8 fnuz: the only NaN has the bits of -0 and would fold into the middle of the order. It is
// moved above all other keys.
template <class Bits, class Signed, class Element>
class codec<codec_kind::fnuz, Bits, Signed, Element> {
 public:
  WBS_INLINE codec(order_constants order, Element bias)
      : xor_(Bits{} + static_cast<Element>(order.key_xor)),
        add_(Bits{} + static_cast<Element>(order.key_add + bias)) {}
  WBS_INLINE Bits encode(Bits raw) const {
    const Bits sign = Bits{} + Element(0x80);
    const Bits folded = raw ^ (sign | key_detail::mask_of<Bits>((Signed)raw < Signed{}));
    const Bits nan = key_detail::mask_of<Bits>(folded == Bits{} + Element(0x7F));
    const Bits above = key_detail::mask_of<Bits>((Signed)folded < Signed{});
    return (((folded + above) | nan) ^ xor_) + add_;
  }
  WBS_INLINE Bits decode(Bits code) const {
    const Bits sign = Bits{} + Element(0x80);
    const Bits closed = (code - add_) ^ xor_;
    const Bits nan = key_detail::mask_of<Bits>(closed == Bits{} + Element(0xFF));
    // For the NaN this gives 0x00, and the folded NaN is 0x7F.
    const Bits above = key_detail::mask_of<Bits>(closed > Bits{} + Element(0x7E));
    const Bits folded = (closed - above) | (nan & (Bits{} + Element(0x7F)));
    return folded ^ (sign | key_detail::mask_of<Bits>((Signed)folded >= Signed{}));
  }

 private:
  Bits xor_, add_;
};

// Codes for sorting with indices: keys that count as equal have the same code. -0.0 equals 0.0, and
// all NaNs are equal. There is no decode(): values are gathered by index. The low bits of keys and
// codes, Low of them, are zeros.
template <codec_kind Codec, class Bits, class Signed, class Element = Bits, int Low = 0>
class canonical_codec {
 public:
  // Whether there are several NaNs, whose codes must be joined.
  WBS_CONSTANT(bool, has_nans, false);
  WBS_INLINE explicit canonical_codec(order_constants order) : codec_(order, 0) {}
  WBS_INLINE Bits encode(Bits raw) const { return codec_.encode(raw); }
  WBS_INLINE Bits encode_unjoined(Bits raw) const { return codec_.encode(raw); }
  WBS_INLINE Bits join_nans(Bits code) const { return code; }

 private:
  codec<Codec, Bits, Signed, Element> codec_;
};

template <class Bits, class Signed, class Element, int Low>
class canonical_codec<codec_kind::ieee, Bits, Signed, Element, Low> {
 public:
  WBS_CONSTANT(bool, has_nans, true);
  WBS_INLINE explicit canonical_codec(order_constants order) {
    constexpr Element sign = static_cast<Element>(Element(1) << (8 * sizeof(Element) - 1));
    const Element key_xor = static_cast<Element>(order.key_xor);
    const Element add = static_cast<Element>(order.key_add);
    const Element all = static_cast<Element>(~0ull << Low), one = Element(1) << Low;
    const Element negative = static_cast<Element>(key_xor ^ all);
    const Element positive = static_cast<Element>(key_xor ^ sign);
    // order_constants_of() adds the code of the lowest value, or subtracts it where NaNs come last.
    // NaNs begin, or end, at about twice that code. The codes of -0.0 and 0.0 would follow each
    // other: the numbers of one sign are moved by one, away from the NaNs.
    const bool nan_is_last = (add & sign) != 0, reversed = (key_xor & sign) != 0;
    const Element less = static_cast<Element>(add - one), more = static_cast<Element>(add + one);
    const Element add_negative = reversed && nan_is_last ? less : add;
    const Element add_positive = !reversed ? less : nan_is_last ? add : more;
    const Element twice = static_cast<Element>(2 * add), before = static_cast<Element>(twice - one);
    const Element lowest = nan_is_last ? Element(0) : twice;
    const Element highest = nan_is_last ? before : all;
    negative_ = Bits{} + negative;
    positive_ = Bits{} + positive;
    add_negative_ = Bits{} + add_negative;
    add_positive_ = Bits{} + add_positive;
    lowest_ = Bits{} + lowest;
    highest_ = Bits{} + highest;
  }
  WBS_INLINE Bits encode(Bits raw) const { return join_nans(encode_unjoined(raw)); }

  // The same, but NaNs have different codes, beyond those of all numbers.
  WBS_INLINE Bits encode_unjoined(Bits raw) const {
    const auto is_negative = (Signed)raw < Signed{};
    return (raw ^ key_detail::select(is_negative, negative_, positive_)) +
           key_detail::select(is_negative, add_negative_, add_positive_);
  }
  WBS_INLINE Bits join_nans(Bits code) const {
    const Bits raised = key_detail::select(code < lowest_, lowest_, code);
    return key_detail::select(raised > highest_, highest_, raised);
  }
  // The ends of the joined codes, of which one is that of NaNs.
  WBS_INLINE Bits lowest() const { return lowest_; }
  WBS_INLINE Bits highest() const { return highest_; }

 private:
  Bits negative_, positive_, add_negative_, add_positive_, lowest_, highest_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_CODEC_HPP_
