// The smallest known sorting networks for 4, 8, 16 and 32 keys, as lists of comparators: the leaves
// that the bitonic merges of network.hpp begin with where all positions of a block are registers.
//
// Invariant: standard form, the smaller key goes to the smaller position; so pads at the end stay
// where they are, and comparators that touch them can be left out, as in network.hpp. Proved on all
// 0-1 inputs for every number of present keys in tests/cpp/prove_network.cc.
//
// Sources: 5 and 19 comparators are optimal (Floyd and Knuth); 16 keys with 60 comparators are
// M. W. Green's network (1969), and 32 with 185 are two of it and K. E. Batcher's odd-even merge
// (1968). All in D. E. Knuth, The Art of Computer Programming, vol. 3, 5.3.4. The bitonic sorter
// takes 6, 24, 80 and 240.
#ifndef WARP_BITONIC_SORT_LEAF_NETWORKS_HPP_
#define WARP_BITONIC_SORT_LEAF_NETWORKS_HPP_

#include <warp_bitonic_sort/base.hpp>

namespace warp_bitonic_sort {

struct comparator {
  int low, high;
};

template <int Bits>
struct leaf_network {
  static constexpr int size = 0;  // there is none
};

template <>
struct leaf_network<2> {
  static constexpr int size = 5;
  static constexpr comparator at[] = {{0, 2}, {1, 3}, {0, 1}, {2, 3}, {1, 2}};
};

template <>
struct leaf_network<3> {
  static constexpr int size = 19;
  static constexpr comparator at[] = {{0, 2}, {1, 3}, {4, 6}, {5, 7}, {0, 4}, {1, 5}, {2, 6},
                                      {3, 7}, {0, 1}, {2, 3}, {4, 5}, {6, 7}, {2, 4}, {3, 5},
                                      {1, 4}, {3, 6}, {1, 2}, {3, 4}, {5, 6}};
};

template <>
struct leaf_network<4> {
  static constexpr int size = 60;
  static constexpr comparator at[] = {
      {0, 1},  {2, 3},   {4, 5},  {6, 7},   {8, 9},   {10, 11}, {12, 13}, {14, 15}, {0, 2},
      {1, 3},  {4, 6},   {5, 7},  {8, 10},  {9, 11},  {12, 14}, {13, 15}, {0, 4},   {1, 5},
      {2, 6},  {3, 7},   {8, 12}, {9, 13},  {10, 14}, {11, 15}, {0, 8},   {1, 9},   {2, 10},
      {3, 11}, {4, 12},  {5, 13}, {6, 14},  {7, 15},  {5, 10},  {6, 9},   {3, 12},  {13, 14},
      {4, 8},  {7, 11},  {1, 2},  {1, 4},   {7, 13},  {2, 8},   {11, 14}, {2, 4},   {5, 6},
      {9, 10}, {11, 13}, {3, 8},  {7, 12},  {6, 8},   {10, 12}, {3, 5},   {7, 9},   {3, 4},
      {5, 6},  {7, 8},   {9, 10}, {11, 12}, {6, 7},   {8, 9}};
};

namespace leaf_detail {

struct leaf_of_32 {
  comparator list[185] = {};
  constexpr WBS_HOST_DEVICE leaf_of_32() {
    int size = 0;
    for (int half = 0; half < 32; half += 16) {
      for (const comparator& c : leaf_network<4>::at) list[size++] = {half + c.low, half + c.high};
    }
    for (int low = 0; low < 16; ++low) list[size++] = {low, low + 16};
    for (int distance = 8; distance > 0; distance /= 2) {
      for (int low = distance; low < 32 - distance; ++low) {
        if (low / distance % 2 == 1) list[size++] = {low, low + distance};
      }
    }
  }
  constexpr WBS_HOST_DEVICE comparator operator[](int i) const { return list[i]; }
};

}  // namespace leaf_detail

template <>
struct leaf_network<5> {
  static constexpr int size = 185;
  static constexpr leaf_detail::leaf_of_32 at{};
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_LEAF_NETWORKS_HPP_
