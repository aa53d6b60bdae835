// Finds the first entries of any number of entries, sorted, block by block.
//
// Of two sorted blocks, the lesser of each pair of mirrored positions are the first entries of
// both, in bitonic order (K. E. Batcher, "Sorting networks and their applications", 1968). The
// greater ones are not wanted: each comparator leaves one result, which the compiler sees.
//
// Invariant: pure register to register; `first` is sorted after each call. What is not wanted is
// left in the other block.
#ifndef WARP_BITONIC_SORT_NETWORK_FIRST_HPP_
#define WARP_BITONIC_SORT_NETWORK_FIRST_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/network/bitonic.hpp>

namespace warp_bitonic_sort {

// The first 2^Bits entries.
template <class Target, int Bits>
class first_network {
  using block_network = network<Target, Bits>;
  using entry = typename Target::entry;
  static constexpr int size = 1 << Bits;

 public:
  // Sorts the first block.
  static WBS_INLINE void begin(const Target& target, entry* first) {
    block_network::sort(target, first);
  }
  // Sorts another block, and keeps the first entries of it and of `first`.
  static WBS_INLINE void add(const Target& target, entry* first, entry* block) {
    block_network::sort(target, block);
    merge(target, first, block);
  }
  // The same for a block that is sorted.
  static WBS_INLINE void merge(const Target& target, entry* first, entry* block) {
    keep(target, first, block, make_indices<size>{});
    block_network::clean(target, first);
  }

 private:
  template <int... I>
  static WBS_INLINE void keep(const Target& target, entry* first, entry* block, indices<I...>) {
    (target.compare_exchange(first[I], block[size - 1 - I]), ...);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_NETWORK_FIRST_HPP_
