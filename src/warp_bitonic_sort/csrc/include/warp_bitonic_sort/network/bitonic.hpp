// The sorting network: the flip form of the bitonic sorter, for every target and every layout.
//
// Phase p merges sorted blocks of 2^(p-1) into blocks of 2^p: its first step compares position i
// with i ^ (2^p - 1), its further steps are half-cleaners, i with i ^ 2^(p-2), ..., i ^ 1. Where up
// to 32 consecutive positions are registers, the phases up to there are one leaf of
// network/leaves.hpp, which takes fewer comparators.
//
// Invariant: every comparator leaves the smaller entry at the smaller position. So entries that are
// the largest possible never move down, and a comparator that touches a position at or beyond
// `Present` (whose entries would all be pads) is the identity and is not emitted: a row costs its
// length, not its capacity.
//
// A Target gives
//   using entry;
//   void compare_exchange(entry& a, entry& b) const;    a = min, b = max
// and, for layouts with position bits outside registers,
//   template <class Layout, unsigned Mask, int First, int Count>
//   void exchange(entry* entries) const;
// which performs the step i <-> i ^ Mask on registers First..First+Count-1 of every lane. Where it
// has one statement for a whole leaf of 2^Bits registers, which compiles faster, it defines
//   template <int Bits> static constexpr bool has_block;
//   template <int Bits> void sort_block(entry* entries) const;
// Nothing here names a vendor, a dtype or a row length.
#ifndef WARP_BITONIC_SORT_NETWORK_BITONIC_HPP_
#define WARP_BITONIC_SORT_NETWORK_BITONIC_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/network/layout.hpp>
#include <warp_bitonic_sort/network/leaves.hpp>

namespace warp_bitonic_sort {

// Target::has_block<Bits>; false for a target without it.
template <class Target, int Bits, class = void>
constexpr bool has_block = false;
template <class Target, int Bits>
constexpr bool has_block<Target, Bits, decltype(void(Target::template has_block<Bits>))> =
    Target::template has_block<Bits>;

template <class Target, class Layout, int Present = (1 << Layout::bits),
          class Selection = select_all>
class network {
 public:
  using entry = typename Target::entry;

  // Sorts the 2^Bits positions that begin at register First, whose blocks of 2^Sorted are sorted
  // already. Depth first, so that the live set of a sub-block stays small and the compiler spills
  // whole halves, not single registers.
  template <int Bits = Layout::bits, int First = 0, int Sorted = 0>
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
    if constexpr (Layout::bits > Sorted) {
      sort_halves<Layout::bits, 0, Sorted>(target, entries);
      merge<Layout::bits, 0, Bitonic>(target, entries);
    }
  }

  // Merges two sorted halves of a block, up to blocks of 2^Bitonic that are bitonic.
  template <int Bits = Layout::bits, int First = 0, int Bitonic = 0>
  static WBS_INLINE void merge(const Target& target, entry* entries) {
    if constexpr (Bits > 0 && is_present(First)) {
      step<(1u << Bits) - 1, First, Layout::registers_of(Bits)>(target, entries);
      clean_halves<Bits, First, Bitonic>(target, entries);
    }
  }

  // Half-cleaners only: sorts a block that is bitonic, again up to blocks of 2^Bitonic.
  template <int Bits = Layout::bits, int First = 0, int Bitonic = 0>
  static WBS_INLINE void clean(const Target& target, entry* entries) {
    if constexpr (Bits > Bitonic && is_present(First)) {
      step<1u << (Bits - 1), First, Layout::registers_of(Bits)>(target, entries);
      clean_halves<Bits, First, Bitonic>(target, entries);
    }
  }

 private:
  static constexpr WBS_HOST_DEVICE bool is_present(int index) {
    return Layout::first_position(index) < static_cast<unsigned>(Present);
  }
  // Whether to compare two registers, the second the higher one.
  static constexpr WBS_HOST_DEVICE bool is_compared(int low, int high) {
    return is_present(high) && (Selection::is_wanted(Layout::first_position(low)) ||
                                Selection::is_wanted(Layout::first_position(high)));
  }
  static constexpr WBS_HOST_DEVICE bool splits_registers(int bits) {
    return Layout::in_registers(1u << (bits - 1));
  }

  static constexpr WBS_HOST_DEVICE bool is_leaf(int bits) {
    return bits >= 2 && bits <= 5 && Layout::in_registers((1u << bits) - 1);
  }

  // Tests is_compared() in an expression: a function for each pair is slow to compile.
  template <int Bits, int First, int... I>
  static WBS_INLINE void leaf(const Target& target, entry* entries, indices<I...>) {
    ((is_compared(First + leaf_network<Bits>[I].low, First + leaf_network<Bits>[I].high)
          ? target.compare_exchange(entries[First + leaf_network<Bits>[I].low],
                                    entries[First + leaf_network<Bits>[I].high])
          : void()),
     ...);
  }

  template <int Bits, int First, int Sorted>
  static WBS_INLINE void sort_halves(const Target& target, entry* entries) {
    sort<Bits - 1, First, Sorted>(target, entries);
    if constexpr (splits_registers(Bits)) {
      sort<Bits - 1, First + Layout::registers_of(Bits) / 2, Sorted>(target, entries);
    }
  }
  template <int Bits, int First, int Bitonic>
  static WBS_INLINE void clean_halves(const Target& target, entry* entries) {
    clean<Bits - 1, First, Bitonic>(target, entries);
    if constexpr (splits_registers(Bits)) {
      clean<Bits - 1, First + Layout::registers_of(Bits) / 2, Bitonic>(target, entries);
    }
  }

  template <unsigned Mask, int First, int Count>
  static WBS_INLINE void step(const Target& target, entry* entries) {
    if constexpr (Layout::in_registers(Mask)) {
      step_in_registers<static_cast<int>(Layout::register_part(Mask)), First>(
          target, entries, make_indices<Count / 2>{});
    } else {
      target.template exchange<Layout, Mask, First, Count>(entries);
    }
  }

  template <int Mask, int First, int... Pair>
  static WBS_INLINE void step_in_registers(const Target& target, entry* entries, indices<Pair...>) {
    ((is_compared(First + lower_of(Pair, Mask), (First + lower_of(Pair, Mask)) ^ Mask)
          ? target.compare_exchange(entries[First + lower_of(Pair, Mask)],
                                    entries[(First + lower_of(Pair, Mask)) ^ Mask])
          : void()),
     ...);
  }

  // The Pair-th register number whose top bit under Mask is clear.
  static constexpr WBS_HOST_DEVICE int lower_of(int pair, int mask) {
    const int top = 1 << floor_log2(static_cast<unsigned>(mask));
    return (pair & (top - 1)) | ((pair & ~(top - 1)) << 1);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_NETWORK_BITONIC_HPP_
