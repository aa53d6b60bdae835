// Entries of a group of rows, a row a SIMD lane: prefixes of the keys' codes, or of their values.
//
// A range is found while keys are loaded; prefixes are built from it. Both kinds of prefixes have
// the interface of core/composite.hpp.
//
// Invariant: keys of equal codes have equal prefixes, and the order of prefixes is never against
// that of codes.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_PREFIXES_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_PREFIXES_HPP_

#include <warp_bitonic_sort/core/composite.hpp>
#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// The codes of each row, with an encoder that sees them as they are loaded.
template <class Target, class Codec>
struct code_range {
  using entry = typename Target::key;
  using word = typename Target::element;

  Codec codec;
  entry least = Target::broadcast(static_cast<word>(~word(0))), greatest = entry{};

  WBS_INLINE explicit code_range(const Codec& given) : codec(given) {}
  // Returns what the tile holds for a key.
  WBS_INLINE entry add(entry key) {
    const entry code = codec.encode_unjoined(key);
    least = code < least ? code : least;
    greatest = code > greatest ? code : greatest;
    return code;
  }
  // Whether a row holds NaNs, whose codes must be joined. Most groups hold none.
  WBS_INLINE bool join_nans() {
    if constexpr (!Codec::has_nans) return false;
    const entry low = codec.join_nans(least), high = codec.join_nans(greatest);
    const entry changed = (least ^ low) | (greatest ^ high);
    least = low;
    greatest = high;
    return __builtin_expect(Target::lanes_greater(changed, entry{}) != 0, 0);
  }
  WBS_INLINE composite<word, entry> prefixes(int index_bits) const {
    return composite<word, entry>(index_bits, least, Target::leading_zeros(greatest - least));
  }
};

// The prefix of a float's value: `(x - least) * scale` as an integer. Codes of floats crowd at the
// ends of a range, values do not: fewer of them share a prefix.
template <class Target>
class value_composite {
  using bits = typename Target::key;
  using word = typename Target::element;
  using floats = typename Target::template vector<float, Target::lanes>;
  using ints = typename Target::template vector<int, Target::lanes>;
  static constexpr word sign = word(1) << 31;

 public:
  // `width` is the difference of the ends of the range, and at least 1.3e-29: the scale of a lesser
  // one is infinite.
  WBS_INLINE value_composite(int index_bits, floats first, floats width, bool descending)
      : mask_((word(1) << index_bits) - 1), first_(first) {
    // A little less than 2^32, because products are rounded.
    scale_ = (floats{} + (descending ? -4294960000.0f : 4294960000.0f)) / width;
  }
  WBS_INLINE bits entry(bits key, word index) const {
    const floats scaled = ((floats)key - first_) * scale_ - 2147483648.0f;
    const bits prefix = (bits) __builtin_convertvector(scaled, ints) & ~mask_;
    return prefix ^ (sign | index);
  }
  WBS_INLINE bits index(bits entry) const { return entry & mask_; }
  WBS_INLINE bits is_lossy() const { return ~bits{}; }
  WBS_INLINE word prefix_step() const { return mask_ + 1; }

 private:
  word mask_;
  floats first_, scale_;
};

// The values of the floats of each row.
template <class Target>
struct value_range {
  using entry = typename Target::key;
  using floats = typename Target::template vector<float, Target::lanes>;

  floats origin, least, greatest, spread = {};

  // From a key of each row.
  WBS_INLINE explicit value_range(entry key) { origin = least = greatest = (floats)key; }
  WBS_INLINE entry add(entry key) {
    const floats x = (floats)key;
    least = x < least ? x : least;
    greatest = x > greatest ? x : greatest;
    spread += (floats)((entry)(x - origin) & 0x7FFFFFFFu);
    return key;
  }
  // Whether values make good prefixes in every row: they are finite, not nearly equal, and most of
  // them are not close together beside an outlier.
  WBS_INLINE bool are_spread(int length) const {
    const floats width = greatest - least;
    const floats floor = width * (static_cast<float>(length) / 64 + 1.5f);
    const auto is_spread =
        (spread > floor) & (spread < floats{} + 3e38f) & (width > floats{} + 1.3e-29f);
    const auto is_not = (typename Target::signed_key)is_spread == 0;
    return Target::lanes_of((typename Target::signed_key)is_not) == 0;
  }
  WBS_INLINE value_composite<Target> prefixes(int index_bits, bool descending) const {
    return value_composite<Target>(index_bits, descending ? greatest : least, greatest - least,
                                   descending);
  }
};

// What neighbours in the sorted rows have in common.
template <class Target>
struct closeness {
  using entry = typename Target::key;

  entry least = ~entry{};

  WBS_INLINE void add(entry low, entry high) {
    const entry difference = low ^ high;
    least = difference < least ? difference : least;
  }
  // A bit for each lane in which neighbours may be in the wrong order.
  template <class Composite>
  WBS_INLINE unsigned unsure_lanes(const Composite& composite) const {
    using mask = typename Target::signed_key;
    const auto is_close = least < Target::broadcast(composite.prefix_step());
    return Target::lanes_of((mask)is_close & (mask)composite.is_lossy());
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_PREFIXES_HPP_
