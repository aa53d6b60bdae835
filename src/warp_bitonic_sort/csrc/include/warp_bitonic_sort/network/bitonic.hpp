// The sorting network over the registers of one lane: the flip form of the bitonic sorter, for
// every target.
//
// Phase p merges sorted blocks of 2^(p-1) into blocks of 2^p: its first step compares position i
// with i ^ (2^p - 1), its further steps are half-cleaners, i with i ^ 2^(p-2), ..., i ^ 1. The
// phases up to blocks of 32 are one leaf of network/leaves.hpp, which takes fewer comparators.
//
// Invariant: register i is position i, and every comparator leaves the smaller entry at the smaller
// position. So entries that are the largest possible never move down, and a comparator that touches
// a position at or beyond `Present` (whose entries would all be pads) is the identity and is not
// emitted: a row costs its length, not its capacity.
//
// A Target gives
//   using entry;
//   void compare_exchange(entry& a, entry& b) const;    a = min, b = max
// Where it has one statement for a whole leaf of 2^Bits registers, which compiles faster, it
// defines
//   template <int Bits> static constexpr bool has_block;
//   template <int Bits> void sort_block(entry* entries) const;
// Where it has a second form of the comparator, which keeps another pipe busy, every second
// comparator of a leaf has that form:
//   void compare_exchange_imad(entry& a, entry& b) const;
// Nothing here names a vendor, a dtype or a row length.
#ifndef WARP_BITONIC_SORT_NETWORK_BITONIC_HPP_
#define WARP_BITONIC_SORT_NETWORK_BITONIC_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/network/leaves.hpp>

namespace warp_bitonic_sort {

// Target::has_block<Bits>; false for a target without it.
template <class Target, int Bits, class = void>
constexpr bool has_block = false;
template <class Target, int Bits>
constexpr bool has_block<Target, Bits, decltype(void(Target::template has_block<Bits>))> =
    Target::template has_block<Bits>;
// Whether it has compare_exchange_imad().
template <class Target, class = void>
constexpr bool has_second_form = false;
template <class Target>
constexpr bool has_second_form<Target, decltype(void(&Target::compare_exchange_imad))> = true;

// Sorts the first Present of 2^RowBits registers.
template <class Target, int RowBits, int Present = (1 << RowBits)>
class network {
 public:
  using entry = typename Target::entry;

  // Sorts the 2^Bits positions that begin at register First, whose blocks of 2^Sorted are sorted
  // already. Depth first, so that the live set of a sub-block stays small and the compiler spills
  // whole halves, not single registers.
  template <int Bits = RowBits, int First = 0, int Sorted = 0>
  static WBS_INLINE void sort(const Target& target, entry* entries) {
    if constexpr (Bits <= Sorted || !is_present(First)) {
      return;
    } else if constexpr (Sorted == 0 && is_leaf(Bits)) {
      if constexpr (has_block<Target, Bits> && is_present(First + (1 << Bits) - 1)) {
        target.template sort_block<Bits>(entries + First);
      } else {
        leaf<Bits, First>(target, entries, make_indices<leaf_size<Bits> >{});
      }
    } else {
      sort_halves<Bits, First, Sorted>(target, entries);
      merge<Bits, First>(target, entries);
    }
  }

  // The same, but leaves blocks of 2^Bitonic for the caller to clean().
  template <int Sorted, int Bitonic>
  static WBS_INLINE void sort_blocks(const Target& target, entry* entries) {
    if constexpr (RowBits > Sorted) {
      sort_halves<RowBits, 0, Sorted>(target, entries);
      merge<RowBits, 0, Bitonic>(target, entries);
    }
  }

  // Merges two sorted halves of a block, up to blocks of 2^Bitonic that are bitonic.
  template <int Bits = RowBits, int First = 0, int Bitonic = 0>
  static WBS_INLINE void merge(const Target& target, entry* entries) {
    if constexpr (Bits > 0 && is_present(First)) {
      step<(1 << Bits) - 1, First>(target, entries, make_indices<1 << (Bits - 1)>{});
      clean_halves<Bits, First, Bitonic>(target, entries);
    }
  }

  // Half-cleaners only: sorts a block that is bitonic, again up to blocks of 2^Bitonic.
  template <int Bits = RowBits, int First = 0, int Bitonic = 0>
  static WBS_INLINE void clean(const Target& target, entry* entries) {
    if constexpr (Bits > Bitonic && is_present(First)) {
      step<1 << (Bits - 1), First>(target, entries, make_indices<1 << (Bits - 1)>{});
      clean_halves<Bits, First, Bitonic>(target, entries);
    }
  }

 private:
  static constexpr WBS_HOST_DEVICE bool is_present(int position) { return position < Present; }
  static constexpr WBS_HOST_DEVICE bool is_leaf(int bits) { return bits >= 2 && bits <= 5; }

  // Tests is_present() in an expression: a function for each pair is slow to compile.
  template <int Bits, int First, int... I>
  static WBS_INLINE void leaf(const Target& target, entry* entries, indices<I...>) {
    ((is_present(First + leaf_network<Bits>[I].high)
          ? exchange<I % 2 != 0>(target, entries[First + leaf_network<Bits>[I].low],
                                 entries[First + leaf_network<Bits>[I].high])
          : void()),
     ...);
  }
  template <bool IsOdd>
  static WBS_INLINE void exchange(const Target& target, entry& low, entry& high) {
    if constexpr (IsOdd && has_second_form<Target>) {
      target.compare_exchange_imad(low, high);
    } else {
      target.compare_exchange(low, high);
    }
  }

  template <int Bits, int First, int Sorted>
  static WBS_INLINE void sort_halves(const Target& target, entry* entries) {
    sort<Bits - 1, First, Sorted>(target, entries);
    sort<Bits - 1, First + (1 << (Bits - 1)), Sorted>(target, entries);
  }
  template <int Bits, int First, int Bitonic>
  static WBS_INLINE void clean_halves(const Target& target, entry* entries) {
    clean<Bits - 1, First, Bitonic>(target, entries);
    clean<Bits - 1, First + (1 << (Bits - 1)), Bitonic>(target, entries);
  }

  // One step of a block that begins at First: compares each position I of its lower half with
  // I ^ Mask, which is in the upper half.
  template <int Mask, int First, int... I>
  static WBS_INLINE void step(const Target& target, entry* entries, indices<I...>) {
    ((is_present(First + (I ^ Mask))
          ? target.compare_exchange(entries[First + I], entries[First + (I ^ Mask)])
          : void()),
     ...);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_NETWORK_BITONIC_HPP_
