// Collects the first pairs of rows in shared memory, a buffer for each warp's part of a row.
//
// A pair that comes behind the limit is not wanted. Where a buffer is full, it is sorted, all but
// the first pairs are dropped, and the last one that stays is the new limit. Few pairs are sorted
// by counting those before each of them, more by a network: in registers, or in the buffer. The one
// in the buffer takes any number of pairs (Batcher's merge exchange; D. E. Knuth, "The Art of
// Computer Programming", volume 3, algorithm 5.2.2 M).
//
// Invariant: all functions are called by whole warps. The pairs that are wanted in the end are
// never dropped.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_BEST_PAIRS_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_BEST_PAIRS_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/indexed_code.hpp>
#include <warp_bitonic_sort/network/warp.hpp>

namespace warp_bitonic_sort {

// 2^LaneBits lanes of each of Warps warps have a row, of which at most MaxKept pairs are wanted.
// Each lane adds at most AtOnce pairs after reserve().
template <template <class> class Target, class Pair, int LaneBits, int Warps, int MaxKept,
          int AtOnce>
class best_pairs {
  using target = Target<int>;
  WBS_CONSTANT(int, lanes, 1 << LaneBits);
  // More than MaxKept may stay, so that few are dropped one after the other. Each of many warps has
  // few, unless a row has many ties; then it is sooner done with fewer.
  WBS_CONSTANT(int, max_before, Warps > 2 ? MaxKept : 2 * MaxKept);

 public:
  // The pairs of a buffer; those behind are the ones that stay, while others are dropped.
  WBS_CONSTANT(int, max_size, max_before + AtOnce * lanes);
  WBS_CONSTANT(int, size, max_size + MaxKept);

  WBS_INLINE best_pairs(Pair* pairs, Pair limit, int kept, int opaque_one)
      : pairs_(pairs), limit_(limit), kept_(kept), opaque_one_(opaque_one) {}

  WBS_INLINE int count() const { return count_; }
  WBS_INLINE bool wants(Pair pair) const { return pair < limit_; }

  // Makes room.
  WBS_INLINE void reserve() {
    if (target::any_in_warp(count_ > max_before)) drop();
  }
  // Adds each lane's pair if it is there and wanted.
  WBS_INLINE void add(bool is_there, Pair pair) {
    const bool is_wanted = is_there && wants(pair);
    const auto wanting = target::lanes_where(is_wanted);
    if (wanting == 0) return;
    const auto mine = own(wanting);
    if (is_wanted) pairs_[count_ + target::population(mine & before())] = pair;
    count_ += target::population(mine);
  }

  // Sorts the pairs of every row; the first ones are those that are wanted.
  WBS_INLINE void sort() {
    if (!target::any_in_warp(count_ > in_order_)) return;
    if constexpr (has_network) {
      if (!target::any_in_warp(count_ > in_network)) {
        target::sync_warp();
        sort_by_network();
        target::sync_warp();
        return;
      }
    }
    drop();
  }

  // The number of sorted pairs that come before another one.
  static WBS_INLINE int place_in(const Pair* pairs, int count, Pair pair) {
    int low = 0;
    WBS_ROLLED
    while (low < count) {
      const int middle = (low + count) / 2;
      if (pairs[middle] < pair) {
        low = middle + 1;
      } else {
        count = middle;
      }
    }
    return low;
  }

 private:
  using lane_set = typename target::lane_set;
  WBS_CONSTANT(int, warp_lanes, 1 << target::lane_bits);
  // A network's comparators take less than counting, if there are more pairs than lanes. Most rows
  // have at most twice as many as are wanted, a part of them in each warp.
  WBS_CONSTANT(int, in_network, 2 * MaxKept / Warps);
  WBS_CONSTANT(bool, has_network, sizeof(Pair) == 8 && in_network > 2 * lanes);

  static WBS_INLINE int lane() { return target::lane() & (lanes - 1); }
  // The lanes of this lane's row, from bit 0 on.
  static WBS_INLINE lane_set own(lane_set all) {
    if constexpr (lanes == warp_lanes) return all;
    return all >> (target::lane() - lane()) & ((lane_set(1) << lanes % warp_lanes) - 1);
  }
  static WBS_INLINE lane_set before() { return (lane_set(1) << lane()) - 1; }

  // Sorts the pairs of every row, and drops all but the first ones.
  WBS_INLINE void drop() {
    target::sync_warp();
    if (target::any_in_warp(count_ > 2 * lanes)) {
      sort_in_place();
    } else {
      sort_by_counting();
    }
    if (count_ >= kept_) {
      count_ = kept_;
      limit_ = pairs_[kept_ - 1];
    }
    in_order_ = count_;
  }

  // Leaves as many pairs sorted as are wanted; those behind are undefined.
  WBS_INLINE void sort_by_counting() {
    Pair* const sorted = pairs_ + max_size;
    WBS_ROLLED
    for (int i = lane(); i < count_; i += lanes) {
      const Pair pair = pairs_[i];
      int at = 0;
      for (int j = 0; j < count_; ++j) at += pairs_[j] < pair;
      if (at < kept_) sorted[at] = pair;
    }
    target::sync_warp();
    WBS_ROLLED
    for (int i = lane(); i < count_ && i < kept_; i += lanes) pairs_[i] = sorted[i];
    target::sync_warp();
  }

  WBS_INLINE void sort_in_place() {
    int half = 1;
    while (target::any_in_warp(2 * half < count_)) half *= 2;
    WBS_ROLLED
    for (int bit = half; bit > 0; bit /= 2) {
      int distance = bit, with_bit = 0;
      WBS_ROLLED
      for (int step = half; step >= bit; step /= 2) {
        // All numbers with the bit, or without it.
        WBS_ROLLED
        for (int n = lane();; n += lanes) {
          const int i = n + (n & -bit) + with_bit;
          if (i + distance >= count_) break;
          const Pair low = pairs_[i], high = pairs_[i + distance];
          if (high < low) {
            pairs_[i] = high;
            pairs_[i + distance] = low;
          }
        }
        target::sync_warp();
        distance = step - bit;
        with_bit = bit;
      }
    }
  }

  WBS_INLINE void sort_by_network() {
    constexpr int share = in_network / lanes;
    constexpr unsigned long long sign = 1ull << 63;
    using network_type = warp_network<Target<long long>, share, LaneBits>;
    long long entries[share];
    WBS_UNROLL
    for (int t = 0; t < share; ++t) {
      const int at = t * lanes + lane();
      entries[t] = static_cast<long long>((at < count_ ? pairs_[at].both : ~0ull) ^ sign);
    }
    network_type::sort(Target<long long>{{opaque_one_}}, entries, nullptr);
    target::sync_warp();
    WBS_UNROLL
    for (int t = 0; t < share; ++t) {
      const int at = lane() * share + t;
      if (at < count_) pairs_[at] = {static_cast<unsigned long long>(entries[t]) ^ sign};
    }
  }

  Pair* pairs_;
  Pair limit_;
  int kept_, opaque_one_, count_ = 0;
  int in_order_ = 0;  // the first pairs, which are sorted already
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_BEST_PAIRS_HPP_
