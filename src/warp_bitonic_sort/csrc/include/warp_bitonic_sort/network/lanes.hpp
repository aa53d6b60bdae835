// The sorting network over a tile that holds one row in all of its lanes.
//
// Lane l holds positions l * slots and on, one in each slot. The lanes are sorted first, as if each
// was a row (network/tile.hpp). Then every phase merges the runs of pairs of lanes, in the flip
// form of network/bitonic.hpp: slot j of a lane against slot slots - 1 - j of the mirrored lane,
// then half-cleaners across lanes, and last those of the slots.
//
// Invariant: the number of slots is a power of two, of 2^BlockBits at least. Every comparator
// leaves the smaller entry at the smaller position.
#ifndef WARP_BITONIC_SORT_NETWORK_LANES_HPP_
#define WARP_BITONIC_SORT_NETWORK_LANES_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/network/bitonic.hpp>
#include <warp_bitonic_sort/network/tile.hpp>

namespace warp_bitonic_sort {

template <class Target, int BlockBits>
class lane_network {
  using entry = typename Target::entry;
  using tile_sort = tile_network<Target, BlockBits>;
  static constexpr int lane_bits = floor_log2(Target::lanes);

 public:
  // Merges the sorted lanes. The last pass calls finish(slot) for every block of slots, in order;
  // finish sorts the bitonic block with network::clean().
  template <class Finish>
  static WBS_INLINE void merge(const Target& target, entry* tile, int slots, const Finish& finish) {
    merge_from<1>(target, tile, slots, finish);
  }

 private:
  template <int K, class Finish>
  static WBS_INLINE void merge_from(const Target& target, entry* tile, int slots,
                                    const Finish& finish) {
    flip<K>(target, tile, slots);
    if constexpr (K < lane_bits) {
      tile_sort::clean(target, tile, slots);
      merge_from<K + 1>(target, tile, slots, finish);
    } else {
      tile_sort::clean(target, tile, slots, finish);
    }
  }

  // The first step of a merge of 2^K lanes, and its half-cleaners across lanes.
  template <int K>
  static __attribute__((noinline)) void flip(const Target& target, entry* tile, int slots) {
    for (int j = 0; j < slots / 2; ++j) {
      entry& a = tile[j];
      entry& b = tile[slots - 1 - j];
      const entry of_a = Target::template from_lane_xor<(1 << K) - 1>(a);
      const entry of_b = Target::template from_lane_xor<(1 << K) - 1>(b);
      a = clean_lanes<K - 1>(target, exchange<K - 1>(target, a, of_b));
      b = clean_lanes<K - 1>(target, exchange<K - 1>(target, b, of_a));
    }
  }
  template <int Steps>
  static WBS_INLINE entry clean_lanes(const Target& target, entry mine) {
    if constexpr (Steps > 0) {
      const entry other = Target::template from_lane_xor<1 << (Steps - 1)>(mine);
      return clean_lanes<Steps - 1>(target, exchange<Steps - 1>(target, mine, other));
    } else {
      return mine;
    }
  }
  // The greater entry for lanes with a bit, the lesser one for others.
  template <int Bit>
  static WBS_INLINE entry exchange(const Target& target, entry a, entry b) {
    target.compare_exchange(a, b);
    return Target::template by_lane_bit<Bit>(a, b);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_NETWORK_LANES_HPP_
