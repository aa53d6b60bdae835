// The smallest known sorting networks for 4, 8, 16 and 32 keys, as lists of comparators: the leaves
// that the bitonic merges of network/bitonic.hpp begin with where all positions of a block are
// registers.
//
// Each is a macro that applies its arguments C and S to comparators in turn, because a target may
// have two forms. A key is named by a prefix and a position; the upper half of 32 keys has a prefix
// of its own. Names that are numbers make a table; names of operands make the one statement that a
// target may have for a whole leaf.
//
// Invariant: standard form, the smaller key goes to the smaller position; so pads at the end stay
// where they are, and comparators that touch them can be left out, as in network/bitonic.hpp.
// Proved on all 0-1 inputs for every number of present keys in tests/cpp/prove_network.cc.
//
// Sources: 5 and 19 comparators are optimal (Floyd and Knuth); 16 keys with 60 comparators are
// M. W. Green's network (1969), and 32 with 185 are two of it and K. E. Batcher's odd-even merge
// (1968). All in D. E. Knuth, The Art of Computer Programming, vol. 3, 5.3.4. The bitonic sorter
// takes 6, 24, 80 and 240.
#ifndef WARP_BITONIC_SORT_NETWORK_LEAVES_HPP_
#define WARP_BITONIC_SORT_NETWORK_LEAVES_HPP_

#include <warp_bitonic_sort/core/config.hpp>

// clang-format off
#define WBS_LEAF_4(C, S, k) \
  C(k##0, k##2) S(k##1, k##3) C(k##0, k##1) S(k##2, k##3) C(k##1, k##2)
#define WBS_LEAF_8(C, S, k)                                                           \
  C(k##0, k##2) S(k##1, k##3) C(k##4, k##6) S(k##5, k##7) C(k##0, k##4) S(k##1, k##5) \
  C(k##2, k##6) S(k##3, k##7) C(k##0, k##1) S(k##2, k##3) C(k##4, k##5) S(k##6, k##7) \
  C(k##2, k##4) S(k##3, k##5) C(k##1, k##4) S(k##3, k##6) C(k##1, k##2) S(k##3, k##4) \
  C(k##5, k##6)
#define WBS_LEAF_16(C, S, k)                                                                \
  C(k##0, k##1) S(k##2, k##3) C(k##4, k##5) S(k##6, k##7) C(k##8, k##9) S(k##10, k##11)     \
  C(k##12, k##13) S(k##14, k##15) C(k##0, k##2) S(k##1, k##3) C(k##4, k##6) S(k##5, k##7)   \
  C(k##8, k##10) S(k##9, k##11) C(k##12, k##14) S(k##13, k##15) C(k##0, k##4) S(k##1, k##5) \
  C(k##2, k##6) S(k##3, k##7) C(k##8, k##12) S(k##9, k##13) C(k##10, k##14) S(k##11, k##15) \
  C(k##0, k##8) S(k##1, k##9) C(k##2, k##10) S(k##3, k##11) C(k##4, k##12) S(k##5, k##13)   \
  C(k##6, k##14) S(k##7, k##15) C(k##5, k##10) S(k##6, k##9) C(k##3, k##12) S(k##13, k##14) \
  C(k##4, k##8) S(k##7, k##11) C(k##1, k##2) S(k##1, k##4) C(k##7, k##13) S(k##2, k##8)     \
  C(k##11, k##14) S(k##2, k##4) C(k##5, k##6) S(k##9, k##10) C(k##11, k##13) S(k##3, k##8)  \
  C(k##7, k##12) S(k##6, k##8) C(k##10, k##12) S(k##3, k##5) C(k##7, k##9) S(k##3, k##4)    \
  C(k##5, k##6) S(k##7, k##8) C(k##9, k##10) S(k##11, k##12) C(k##6, k##7) S(k##8, k##9)
#define WBS_LEAF_32(C, S, k, l)                                                             \
  WBS_LEAF_16(C, S, k) WBS_LEAF_16(C, S, l)                                                 \
  C(k##0, l##0) S(k##1, l##1) C(k##2, l##2) S(k##3, l##3)                                   \
  C(k##4, l##4) S(k##5, l##5) C(k##6, l##6) S(k##7, l##7) C(k##8, l##8) S(k##9, l##9)       \
  C(k##10, l##10) S(k##11, l##11) C(k##12, l##12) S(k##13, l##13) C(k##14, l##14)           \
  S(k##15, l##15) C(k##8, l##0) S(k##9, l##1) C(k##10, l##2) S(k##11, l##3) C(k##12, l##4)  \
  S(k##13, l##5) C(k##14, l##6) S(k##15, l##7) C(k##4, k##8) S(k##5, k##9) C(k##6, k##10)   \
  S(k##7, k##11) C(k##12, l##0) S(k##13, l##1) C(k##14, l##2) S(k##15, l##3) C(l##4, l##8)  \
  S(l##5, l##9) C(l##6, l##10) S(l##7, l##11) C(k##2, k##4) S(k##3, k##5) C(k##6, k##8)     \
  S(k##7, k##9) C(k##10, k##12) S(k##11, k##13) C(k##14, l##0) S(k##15, l##1) C(l##2, l##4) \
  S(l##3, l##5) C(l##6, l##8) S(l##7, l##9) C(l##10, l##12) S(l##11, l##13) C(k##1, k##2)   \
  S(k##3, k##4) C(k##5, k##6) S(k##7, k##8) C(k##9, k##10) S(k##11, k##12) C(k##13, k##14)  \
  S(k##15, l##0) C(l##1, l##2) S(l##3, l##4) C(l##5, l##6) S(l##7, l##8) C(l##9, l##10)     \
  S(l##11, l##12) C(l##13, l##14)

// The names of positions, which have one prefix up to 15 and another above.
#define WBS_NAMES(k) k##0, k##1, k##2, k##3, k##4, k##5, k##6, k##7, k##8, k##9, k##10, k##11, \
                     k##12, k##13, k##14, k##15
// clang-format on

namespace warp_bitonic_sort {

struct comparator {
  int low, high;
};

namespace leaf_detail {

enum position : int { WBS_NAMES(p), WBS_NAMES(q) };

}  // namespace leaf_detail

#define WBS_TABLE_ENTRY(low, high) {leaf_detail::low, leaf_detail::high},

// The leaf of 2^Bits keys. Only the sizes below have one.
template <int Bits>
struct no_leaf_network;
template <int Bits>
constexpr no_leaf_network<Bits> leaf_network = {};
template <>
inline constexpr comparator leaf_network<2>[5] = {WBS_LEAF_4(WBS_TABLE_ENTRY, WBS_TABLE_ENTRY, p)};
template <>
inline constexpr comparator leaf_network<3>[19] = {WBS_LEAF_8(WBS_TABLE_ENTRY, WBS_TABLE_ENTRY, p)};
template <>
inline constexpr comparator leaf_network<4>[60] = {
    WBS_LEAF_16(WBS_TABLE_ENTRY, WBS_TABLE_ENTRY, p)};
template <>
inline constexpr comparator leaf_network<5>[185] = {
    WBS_LEAF_32(WBS_TABLE_ENTRY, WBS_TABLE_ENTRY, p, q)};

// Its number of comparators.
template <int Bits>
constexpr int leaf_size = static_cast<int>(sizeof(leaf_network<Bits>) / sizeof(comparator));
static_assert(leaf_network<2>[4].high > 0 && leaf_network<3>[18].high > 0, "all are listed");
static_assert(leaf_network<4>[59].high > 0 && leaf_network<5>[184].high > 0, "all are listed");

// The smallest networks that sort bitonic sequences of odd lengths, for network/warp.hpp. Found by
// exhaustive search; proved in tests/cpp/prove_network.cc.
template <int Size>
struct no_odd_cleaner;
template <int Size>
constexpr no_odd_cleaner<Size> odd_cleaner = {};
template <>
inline constexpr comparator odd_cleaner<3>[3] = {{0, 2}, {0, 1}, {1, 2}};
template <>
inline constexpr comparator odd_cleaner<5>[8] = {{0, 2}, {1, 3}, {0, 1}, {2, 3},
                                                 {0, 4}, {1, 4}, {2, 4}, {3, 4}};
template <>
inline constexpr comparator odd_cleaner<7>[12] = {{0, 1}, {3, 5}, {2, 6}, {2, 3}, {0, 4}, {0, 2},
                                                  {1, 5}, {1, 3}, {1, 2}, {4, 6}, {3, 4}, {5, 6}};
template <int Size>
constexpr int odd_cleaner_size = static_cast<int>(sizeof(odd_cleaner<Size>) / sizeof(comparator));

#undef WBS_TABLE_ENTRY
#undef WBS_NAMES

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_NETWORK_LEAVES_HPP_
