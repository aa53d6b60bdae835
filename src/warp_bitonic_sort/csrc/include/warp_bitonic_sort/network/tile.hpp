// The sorting network over a tile: rows too long for registers, whose upper position bits are slot
// numbers of a tile in memory.
//
// A tile is `slots` entries (vectors: one row a lane, or one in all), a multiple of the block of
// 2^block_bits slots that registers sort at once. A phase that merges 2^k slots makes its k steps
// in passes over the tile; a pass takes the entries that its steps connect into registers, up to
// 2^block_bits of them:
// - the first pass is mirrored: registers j of the low half are the slots j * stride + l, those of
//   the high half the slots half + j * stride + (stride - 1 - l). That set is closed under the flip
//   and under the half-cleaners of the bits above the stride;
// - middle passes take slots j * stride + l;
// - the last pass takes blocks of consecutive slots.
//
// Invariant: above the sorted blocks, the comparators are exactly those of network/bitonic.hpp's
// flip form with a capacity of the next power of two, less those that touch a slot at or beyond
// `slots`; so the cost is that of `slots`. Nothing here knows where rows come from.
#ifndef WARP_BITONIC_SORT_NETWORK_TILE_HPP_
#define WARP_BITONIC_SORT_NETWORK_TILE_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/network/bitonic.hpp>

namespace warp_bitonic_sort {

template <class Target, int BlockBits>
class tile_network {
 public:
  using entry = typename Target::entry;
  static constexpr int block_slots = 1 << BlockBits;

  // Places a block that registers have sorted at `slot`; blocks come in order. The second block of
  // a pair is merged with the first on the way, which saves a pass over memory.
  static WBS_INLINE void place(const Target& target, entry* tile, int slot, entry* entries) {
    if ((slot & block_slots) != 0) {
      flip(target, tile + slot - block_slots, entries, make_indices<block_slots>{});
      registers_network<BlockBits, block_slots>::clean(target, entries);
      store(tile + slot, 1, entries, make_indices<block_slots>{});
      clean_block{target, tile}(slot - block_slots);
    } else {
      store(tile + slot, 1, entries, make_indices<block_slots>{});
    }
  }

  // Sorts the placed blocks up to the last pass of the last phase. That pass calls finish(slot) for
  // every block, in order; finish sorts the bitonic block with network::clean(). Returns false,
  // with nothing done, if a tile of at most a pair of blocks is sorted already.
  template <class Finish>
  static WBS_INLINE bool sort(const Target& target, entry* tile, int slots, const Finish& finish) {
    if (slots <= 2 * block_slots) return false;
    int bits = pair_bits + 1;
    while ((1 << bits) < slots) ++bits;
    sort_runs(target, tile, slots, bits - 1);
    merge(target, tile, slots, bits, finish, 0);
    return true;
  }

  // Sorts the placed blocks of any tile.
  static WBS_INLINE void sort(const Target& target, entry* tile, int slots) {
    sort(target, tile, slots, clean_block{target, tile});
  }

  // Sorts a tile whose lanes are bitonic, of a power of two of slots.
  static WBS_INLINE void clean(const Target& target, entry* tile, int slots) {
    clean(target, tile, slots, clean_block{target, tile});
  }
  // The same, but calls finish as sort() does.
  template <class Finish>
  static WBS_INLINE void clean(const Target& target, entry* tile, int slots, const Finish& finish) {
    const int bits = floor_log2(static_cast<unsigned>(slots)), first = (bits - BlockBits) % 3;
    const int size = 1 << (bits - first);
    if (first == 1) clean_first<1>(target, tile, size);
    if (first == 2) clean_first<2>(target, tile, size);
    for (int slot = 0; slot < slots; slot += size) {
      clean(target, tile + slot, size, bits - first, finish, slot);
    }
  }

  // Merges the sorted slots 0..half-1 and half..present-1 of a block of 2^bits.
  static WBS_INLINE void merge(const Target& target, entry* tile, int present, int bits) {
    merge(target, tile, present, bits, clean_block{target, tile}, 0);
  }

 private:
  static constexpr int pair_bits = BlockBits + 1;
  // The longest merge that is one pass before its last.
  static constexpr int one_pass_bits = BlockBits + 4;

  template <int Bits, int Present>
  using registers_network = network<Target, Bits, Present>;

  struct clean_block {
    const Target& target;
    entry* tile;
    WBS_INLINE void operator()(int slot) const {
      entry entries[block_slots];
      load(tile + slot, 1, entries, make_indices<block_slots>{});
      registers_network<BlockBits, block_slots>::clean(target, entries);
      store(tile + slot, 1, entries, make_indices<block_slots>{});
    }
  };

  // The first step of a pair's merge, the low block in memory and the high one in registers.
  template <int... I>
  static WBS_INLINE void flip(const Target& target, entry* low, entry* high, indices<I...>) {
    (flip(target, low[block_slots - 1 - I], high[I]), ...);
  }
  static WBS_INLINE void flip(const Target& target, entry& low, entry& high) {
    entry entries[] = {low, high};
    target.compare_exchange(entries[0], entries[1]);
    low = entries[0];
    high = entries[1];
  }

  // Sorts every run of 2^bits slots. Short runs a phase at a time, in few and long loops; long ones
  // run by run, so that the parts of a run are merged while they are in the L1 cache.
  static void sort_runs(const Target& target, entry* tile, int slots, int bits) {
    if (bits > pair_bits && bits <= one_pass_bits) {
      sort_runs(target, tile, slots, bits - 1);
      merge_runs(target, tile, slots, bits);
    } else if (bits > one_pass_bits) {
      const int size = 1 << bits;
      for (int slot = 0; slot < slots; slot += size) {
        const int here = slots - slot < size ? slots - slot : size;
        sort_runs(target, tile + slot, here, bits - 1);
        if (here > size / 2) merge(target, tile + slot, here, bits);
      }
    }
  }

  // One phase whose upper bits one pass takes.
  static void merge_runs(const Target& target, entry* tile, int slots, int bits) {
    const int whole = slots >> bits << bits, rest = slots - whole;
    if (whole > 0) {
      const int upper = bits - BlockBits;
      if (upper == 2) {
        first_pass_of_runs<2>(target, tile, whole, bits);
      } else if (upper == 3) {
        first_pass_of_runs<3>(target, tile, whole, bits);
      } else {
        first_pass_of_runs<4>(target, tile, whole, bits);
      }
      clean_blocks(target, tile, whole);
    }
    if (rest > 1 << (bits - 1)) merge(target, tile + whole, rest, bits);
  }
  template <int Taken>
  static __attribute__((noinline)) void first_pass_of_runs(const Target& target, entry* tile,
                                                           int slots, int bits) {
    for (int slot = 0; slot < slots; slot += 1 << bits) {
      first_group_loop<Taken, 1 << (Taken - 1)>(target, tile + slot, 1 << (bits - 1),
                                                1 << (bits - Taken), 0, 1 << (bits - Taken));
    }
  }
  static __attribute__((noinline)) void clean_blocks(const Target& target, entry* tile, int slots) {
    const clean_block clean{target, tile};
    for (int slot = 0; slot < slots; slot += block_slots) clean(slot);
  }

  template <class Finish>
  static WBS_INLINE void merge(const Target& target, entry* tile, int present, int bits,
                               const Finish& finish, int base) {
    // Between the first pass and the last, middle passes take three bits each: eight registers and
    // no spills on any ISA.
    const int upper = bits - BlockBits;
    const int first = upper <= 4 ? upper : (upper - 2) % 3 + 2;
    first_pass(target, tile, present, bits, first);
    clean(target, tile, present, bits - first, finish, base);
  }

  // Half-cleaners below `bits` on every block of 2^bits.
  template <class Finish>
  static void clean(const Target& target, entry* tile, int present, int bits, const Finish& finish,
                    int base) {
    if (bits == BlockBits) {
      for (int slot = 0; slot < present; slot += block_slots) finish(base + slot);
      return;
    }
    const int size = 1 << bits;
    for (int slot = 0; slot < present; slot += size) {
      const int here = present - slot < size ? present - slot : size;
      middle_pass(target, tile + slot, here, bits);
      clean(target, tile + slot, here, bits - 3, finish, base + slot);
    }
  }

  // The upper one or two half-cleaners of a tile, down to blocks of `size` slots.
  template <int Taken>
  static __attribute__((noinline)) void clean_first(const Target& target, entry* tile, int size) {
    for (int l = 0; l < size; ++l) {
      entry entries[1 << Taken];
      load(tile + l, size, entries, make_indices<1 << Taken>{});
      registers_network<Taken, 1 << Taken>::clean(target, entries);
      store(tile + l, size, entries, make_indices<1 << Taken>{});
    }
  }

  static __attribute__((noinline)) void first_pass(const Target& target, entry* tile, int present,
                                                   int bits, int taken) {
    switch (taken) {
      case 2:
        return first_pass<2>(target, tile, present, bits);
      case 3:
        return first_pass<3>(target, tile, present, bits);
      default:
        return first_pass<4>(target, tile, present, bits);
    }
  }

  // With l counted from the far end of the high half, register j of the high half is present where
  // j * stride + l' < present - half.
  template <int Taken>
  static WBS_INLINE void first_pass(const Target& target, entry* tile, int present, int bits) {
    const int half = 1 << (bits - 1), stride = 1 << (bits - Taken);
    const int high = (present - half) / stride, rest = (present - half) % stride;
    if (rest > 0) {
      first_groups<Taken>(target, tile, half, stride, 0, rest, high + 1,
                          make_indices<1 << (Taken - 1)>{});
    }
    first_groups<Taken>(target, tile, half, stride, rest, stride, high,
                        make_indices<1 << (Taken - 1)>{});
  }
  template <int Taken, int... High>
  static WBS_INLINE void first_groups(const Target& target, entry* tile, int half, int stride,
                                      int from, int to, int high, indices<High...>) {
    // The high half has no register: the low half is sorted already.
    ((high == High + 1 ? first_groups<Taken, High + 1>(target, tile, half, stride, from, to)
                       : void()),
     ...);
  }
  template <int Taken, int High>
  static __attribute__((noinline)) void first_groups(const Target& target, entry* tile, int half,
                                                     int stride, int from, int to) {
    first_group_loop<Taken, High>(target, tile, half, stride, from, to);
  }
  template <int Taken, int High>
  static WBS_INLINE void first_group_loop(const Target& target, entry* tile, int half, int stride,
                                          int from, int to) {
    constexpr int low = 1 << (Taken - 1);
    for (int l = from; l < to; ++l) {
      entry entries[2 * low];
      entry* const low_half = tile + (stride - 1 - l);
      entry* const high_half = tile + half + l;
      load(low_half, stride, entries, make_indices<low>{});
      load(high_half, stride, entries + low, make_indices<High>{});
      registers_network<Taken, low + High>::merge(target, entries);
      store(low_half, stride, entries, make_indices<low>{});
      store(high_half, stride, entries + low, make_indices<High>{});
    }
  }

  static __attribute__((noinline)) void middle_pass(const Target& target, entry* tile, int present,
                                                    int bits) {
    const int stride = 1 << (bits - 3);
    const int count = present / stride, rest = present % stride;
    middle_groups(target, tile, stride, 0, rest, count + 1, make_indices<7>{});
    middle_groups(target, tile, stride, rest, stride, count, make_indices<7>{});
  }
  template <int... Count>
  static WBS_INLINE void middle_groups(const Target& target, entry* tile, int stride, int from,
                                       int to, int count, indices<Count...>) {
    ((count == Count + 2 ? middle_groups<Count + 2>(target, tile, stride, from, to) : void()), ...);
  }
  template <int Count>
  static __attribute__((noinline)) void middle_groups(const Target& target, entry* tile, int stride,
                                                      int from, int to) {
    for (int l = from; l < to; ++l) {
      entry entries[8];
      load(tile + l, stride, entries, make_indices<Count>{});
      registers_network<3, Count>::clean(target, entries);
      store(tile + l, stride, entries, make_indices<Count>{});
    }
  }

  template <int... I>
  static WBS_INLINE void load(const entry* from, int stride, entry* entries, indices<I...>) {
    ((entries[I] = from[static_cast<long>(I) * stride]), ...);
  }
  template <int... I>
  static WBS_INLINE void store(entry* to, int stride, const entry* entries, indices<I...>) {
    ((to[static_cast<long>(I) * stride] = entries[I]), ...);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_NETWORK_TILE_HPP_
