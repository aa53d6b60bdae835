// Pads rows in registers for their medians, and computes these.
//
// Half of a row's pads go below its elements and half above. Its middle then lies in the middle of
// a kernel's positions, whatever its length, and the compiler leaves out what the middle does not
// depend on. NaNs that are left out become pads, too.
//
// Invariant: the mean of two elements is that of operations/order_statistics.py: of 16 bits, it is
// computed in float32. Of integers, none is computed: both elements are stored.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_MEDIAN_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_MEDIAN_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/packed16.hpp>
#include <warp_bitonic_sort/core/selection.hpp>

namespace warp_bitonic_sort {

// The median of a row. Of rows that share registers, a word of conditions has a bit for each: bit 0
// and bit 16.
template <class Target, class Keys, codec_kind Codec, class Raw, selection Selection>
class row_median {
  using element = typename Keys::element;
  WBS_CONSTANT(int, rows, Keys::rows);
  WBS_CONSTANT(bool, has_floats, Codec != codec_kind::integer);
  WBS_CONSTANT(bool, omits_nans, has_floats && Selection == selection::nanmedian);
  WBS_CONSTANT(int, top_bit, rows == 2 ? 15 : 8 * static_cast<int>(sizeof(element)) - 1);
  static_assert(!has_floats || sizeof(element) > 1, "floats of 8 bits have no mean");

 public:
  WBS_INLINE row_median(const Keys& codec, const wbs_args<1, 1>& args, int capacity)
      : first_high_(args.length + (capacity - args.length) / 2),
        is_odd_(static_cast<unsigned>(args.length) % 2 * every_row) {
    if constexpr (has_floats) {
      // order_constants_of() subtracts the bits of a mantissa.
      const Raw mantissa = static_cast<element>(0 - args.key_add);
      mantissas_ = mantissa * every_row;
      high_ = mantissas_ ^ ~signs;  // infinity
      low_ = high_ ^ signs;
    } else {
      high_ = codec.decode(Keys::pad());
      low_ = ~high_;
    }
  }

  WBS_INLINE Raw at(int position) const { return position < first_high_ ? low_ : high_; }

  // Replaces NaNs by pads, if they are left out; `stage` is that of the row's first warp, with
  // a word for each of its lanes. Every second NaN goes below all numbers.
  template <class Network, int Registers>
  WBS_INLINE void replace_nans(Raw (&raws)[Registers], void* stage) {
    if constexpr (omits_nans) {
      Raw some = 0;
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) some |= sums_of(raws[j]);
      const bool has_nans = (some & signs) != 0;
      if constexpr (Network::warps == 1) {
        if (!(Network::lanes == 1 ? has_nans : Target::any_in_warp(has_nans))) return;
      }
      unsigned own = 0;
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) own ^= nans_of(raws[j]);
      unsigned before = 0, all = own;
      over_lanes<1, Network::lanes>(before, all);
      if constexpr (Network::warps > 1) {
        unsigned* const of_warps = static_cast<unsigned*>(stage) + Target::lane();
        const int mine = Target::warp() % Network::warps;
        Target::sync_block();
        of_warps[mine * Network::warp_lanes] = all;
        Target::sync_block();
        all = 0;
        WBS_ROLLED
        for (int w = 0; w < Network::warps; ++w) {
          const unsigned other = of_warps[w * Network::warp_lanes];
          if (w < mine) before ^= other;
          all ^= other;
        }
        Target::sync_block();
      }
      // A capacity is even: a row of odd length has one more pad above it.
      unsigned goes_low = before ^ is_odd_;
      is_odd_ ^= all;
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) {
        const unsigned is_nan = nans_of(raws[j]);
        const Raw mask = static_cast<Raw>(is_nan) * (rows == 2 ? Raw(0xFFFF) : ~Raw(0));
        const Raw pad = high_ | static_cast<Raw>(goes_low) << top_bit;
        raws[j] = (raws[j] & ~mask) | (pad & mask);
        goes_low ^= is_nan;
      }
    }
  }

  // Stores the median of row `r` of those that share registers. Of the sorted row, `low` and `high`
  // are in the middle and `last` is at the end.
  template <class Row>
  WBS_INLINE void store(const wbs_args<1, 1>& args, const Row& row, int r, Raw low, Raw high,
                        Raw last) const {
    if (!row.present) return;
    const element a = static_cast<element>(low >> 16 * r), b = static_cast<element>(high >> 16 * r);
    element value = a;
    if constexpr (has_floats) {
      if (!(is_odd_ >> 16 * r & 1)) value = mean_of(a, b);
      if (!omits_nans && nans_of(last) >> 16 * r & 1) value = static_cast<element>(last >> 16 * r);
    } else if (args.kept == 2) {
      Target::store_global(row.dst + args.output_stride[0], b);
    }
    Target::store_global(row.dst, value);
  }

 private:
  WBS_CONSTANT(Raw, every_row, rows == 2 ? Raw(0x10001) : Raw(1));
  WBS_CONSTANT(Raw, signs, static_cast<Raw>(every_row << top_bit));

  // Sums with the sign bit where a magnitude is more than infinity.
  WBS_INLINE Raw sums_of(Raw raw) const { return (raw & ~signs) + mantissas_; }
  WBS_INLINE unsigned nans_of(Raw raw) const {
    return static_cast<unsigned>(sums_of(raw) >> top_bit & every_row);
  }
  // Parities of the lanes before, and of all lanes of a row.
  template <int Mask, int Lanes>
  static WBS_INLINE void over_lanes(unsigned& before, unsigned& all) {
    if constexpr (Mask < Lanes) {
      const unsigned other = Target::template from_lane_xor<Mask>(all);
      if (Target::lane() & Mask) before ^= other;
      all ^= other;
      over_lanes<2 * Mask, Lanes>(before, all);
    }
  }

  // Bits are compared, because compilers may be told that there are no NaNs.
  template <class Float>
  static WBS_INLINE bool is_finite(Float value) {
    using word = typename unsigned_of<8 * sizeof(Float)>::type;
    constexpr word exponent = sizeof(Float) == 8 ? word(0x7FF0000000000000u) : word(0x7F800000u);
    return (bits_as<word>(value) & exponent) != exponent;
  }
  template <class Float>
  static WBS_INLINE Float mean_of_floats(Float a, Float b) {
    const Float mean = (a + b) * Float(0.5);
    // Halves of numbers whose sum overflows are exact.
    return is_finite(mean) ? mean : a * Float(0.5) + b * Float(0.5);
  }
  WBS_INLINE element mean_of(element a, element b) const {
    if constexpr (sizeof(element) == 8) {
      return bits_as<element>(mean_of_floats(bits_as<double>(a), bits_as<double>(b)));
    } else if constexpr (sizeof(element) == 4) {
      return bits_as<element>(mean_of_floats(bits_as<float>(a), bits_as<float>(b)));
    } else {
      const bool is_bfloat16 = static_cast<element>(mantissas_) == 0x7F;
      const float mean = is_bfloat16 ? mean_of_floats(from_bfloat16(a), from_bfloat16(b))
                                     : mean_of_floats(Target::from_half(a), Target::from_half(b));
      return is_bfloat16 ? to_bfloat16(mean) : Target::to_half(mean);
    }
  }
  static WBS_INLINE float from_bfloat16(element raw) {
    return bits_as<float>(static_cast<unsigned>(raw) << 16);
  }
  static WBS_INLINE element to_bfloat16(float value) {
    const unsigned bits = bits_as<unsigned>(value);
    if (!is_finite(value)) return static_cast<element>(bits >> 16);
    return static_cast<element>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
  }

  int first_high_;
  unsigned is_odd_;  // the number of elements, without NaNs that are left out
  Raw low_, high_, mantissas_ = 0;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_MEDIAN_HPP_
