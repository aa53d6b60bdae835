// The sorting network over the lanes of a warp and the warps of a block: rows for GPUs.
//
// A row's positions are numbered warp by warp, lane by lane, register by register: lane i of the
// row's 2^LaneBits lanes holds positions i * Registers and on. Registers is a power of two times 1,
// 3, 5 or 7, so that capacities go up by small steps, not only by doubling. The lanes of a warp are
// those of one row, or of many; with one lane a row, several warps may share all of their rows.
//
// Each lane sorts its own registers; then every phase merges the runs of pairs of lanes, of pairs
// of pairs, of warps. A merge is the flip form of network/bitonic.hpp: position i of the low run
// against the mirrored one of the high run, then half-cleaners, each halving the lanes that still
// differ, and last those within a lane's registers. A half-cleaner is right for bitonic sequences
// of any even length; what is left of an odd number of registers has a network of its own.
//
// Steps across lanes are done in one of two ways: by a shuffle and a minimum for every entry, or by
// transposing registers and lanes through a stage in shared memory, so that each thread holds the
// entries of 2^k lanes at a few register numbers and makes k steps at once.
//
// A target with one statement for a block of registers (network/bitonic.hpp's sort_block()) has one
// for the half-cleaners of such a block, too: clean_block().
//
// Invariant: every comparator leaves the smaller entry at the smaller position; a lane touches only
// its own warp's part of the stage, except between two sync_block(). Nothing here names a vendor.
#ifndef WARP_BITONIC_SORT_NETWORK_WARP_HPP_
#define WARP_BITONIC_SORT_NETWORK_WARP_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/network/bitonic.hpp>
#include <warp_bitonic_sort/network/registers.hpp>

namespace warp_bitonic_sort {

// Up to 16 bytes, which a lane moves at once.
template <class Key, int Size = 16 / static_cast<int>(sizeof(Key))>
struct alignas(Size * sizeof(Key)) entry_vector {
  WBS_CONSTANT(int, size, Size);
  Key entries[Size];
};

template <class Target, int Registers, int LaneBits, int WarpBits = 0>
class warp_network {
 public:
  using entry = typename Target::entry;
  WBS_CONSTANT(int, warp_lanes, 1 << Target::lane_bits);
  WBS_CONSTANT(int, lanes, 1 << LaneBits);
  WBS_CONSTANT(int, warps, 1 << WarpBits);
  WBS_CONSTANT(int, capacity, Registers * lanes * warps);
  static_assert(WarpBits == 0 || LaneBits == Target::lane_bits || LaneBits == 0,
                "all lanes of warps that share rows have one row, or one each");

 private:
  // Lane bits that a transposition moves into registers.
  WBS_CONSTANT(int, even_bits, floor_log2(static_cast<unsigned>(Registers & -Registers)));
  WBS_CONSTANT(int, transposed_bits, LaneBits < even_bits ? LaneBits : even_bits);
  WBS_CONSTANT(int, transposed_lanes, 1 << transposed_bits);

 public:
  // Entries between the rows of a stage, if there is room: 16-byte accesses of consecutive lanes to
  // consecutive rows then have no bank conflicts. Lanes with a row each only use entries below each
  // other.
  WBS_CONSTANT(int, padding,
               !(LaneBits == 0 && WarpBits > 0) &&
                       (Registers + entry_vector<entry>::size) * warp_lanes * warps *
                           static_cast<int>(sizeof(entry)) <=
                       Target::max_shared_bytes
                   ? entry_vector<entry>::size
                   : 0);
  // Four transposed lanes need more: a thread then reads four lanes of every fourth register.
  WBS_CONSTANT(int, striped_pitch, warp_lanes + (transposed_bits == 2 ? 2 * padding : padding));
  // An odd number of 16-byte units needs none.
  WBS_CONSTANT(bool, has_odd_units,
               Registers % (2 * entry_vector<entry>::size) == entry_vector<entry>::size);
  WBS_CONSTANT(int, blocked_pitch, Registers + (has_odd_units ? 0 : padding));
  // Entries of each warp's part of a stage: striped, or blocked with room for other pitches: that
  // of strided rows is strided_pitch of memory/gpu/rows.hpp.
  WBS_CONSTANT(int, blocked_entries, warp_lanes * (Registers + padding));
  WBS_CONSTANT(int, stage_entries,
               Registers * striped_pitch > blocked_entries ? Registers * striped_pitch
                                                           : blocked_entries);

  // `stage` is that of the row's first warp, aligned to 16 bytes.
  static WBS_INLINE void sort(const Target& target, entry (&entries)[Registers], entry* stage) {
    sort_registers<Registers>(target, entries);
    merge<LaneBits + WarpBits>(target, entries, stage);
  }

  // The entries of a sorted row that a median depends on: the last of the lower half, the first of
  // the upper half, and the last of all.
  struct middle_entries {
    entry low, high, last;
  };
  // Finds them for every lane of a row, and sorts no more than the halves.
  static WBS_INLINE middle_entries middle(const Target& target, entry (&entries)[Registers],
                                          entry* stage) {
    sort_registers<Registers>(target, entries);
    if constexpr (WarpBits > 0) {
      merge<LaneBits + WarpBits - 1>(target, entries, stage);
      return middle_of_warps(target, entries, stage);
    } else if constexpr (LaneBits > 0) {
      merge<LaneBits - 1>(target, entries, stage);
      return middle_of_halves(target, entries);
    } else {
      return {entries[Registers / 2 - 1], entries[Registers / 2], entries[Registers - 1]};
    }
  }

  // This warp's part of the stage of a row.
  static WBS_INLINE entry* own(entry* stage) {
    return WarpBits == 0 ? stage : stage + (Target::warp() & (warps - 1)) * stage_entries;
  }

 private:
  // The code of long rows exceeds the cache of instructions. Then merges share the half-cleaners
  // within a lane in a loop, at the price of some moves between registers. Measured (notebook.md):
  // a loop is slower for shorter code, and with 10 and 14 registers, which never transpose two
  // steps.
  template <int First, int Last>
  static constexpr bool has_loop =
      (LaneBits == 0 || transposed_bits > 1) &&
      (Last - First + 1) * Registers * static_cast<int>(sizeof(entry)) >= Target::min_loop_bytes;
  // A transposition moves every entry four times, a shuffle once. But a shuffle may take several
  // instructions to compare. If a loop transposes from three steps on, lanes of 12, 20 and 28
  // registers only shuffle in it. Such loops were measured, but not beside code without a loop.
  WBS_CONSTANT(int, min_transposed_steps,
               (Target::template min_transposed_steps<has_loop<1, LaneBits>>));

  // Of each pair of mirrored positions, the lesser entries are the lower half of a row.
  static WBS_INLINE middle_entries middle_of_halves(const Target& target,
                                                    entry (&entries)[Registers]) {
    constexpr int half = lanes / 2;
    const bool is_low = (Target::lane() & half) == 0;
    const int before = Target::lane() - (Target::lane() & (lanes - 1));
    entry lesser = Target::from_lane(entries[Registers - 1], before + half - 1);
    entry last = Target::from_lane(entries[Registers - 1], before + lanes - 1);
    target.compare_exchange(lesser, last);
    flip_lanes<LaneBits>(target, entries);
    move_signs<LaneBits - 1, -1>(target, entries);
    entry least = entries[0], greatest = entries[0];
    WBS_UNROLL
    for (int j = 1; j < Registers; ++j) {
      keep_lesser(target, least, entries[j]);
      keep_greater(target, greatest, entries[j]);
    }
    over_lanes<1, half>(target, least, greatest);
    const entry mine = is_low ? greatest : least;
    // A compiler would move the shuffle into the branch of a lane that stores.
    using word = typename unsigned_of<8 * sizeof(entry)>::type;
    const entry other =
        bits_as<entry>(Target::opaque(bits_as<word>(Target::template from_lane_xor<half>(mine))));
    return {is_low ? mine : other, is_low ? other : mine, last};
  }
  static WBS_INLINE void keep_lesser(const Target& target, entry& least, entry other) {
    target.compare_exchange(least, other);
  }
  static WBS_INLINE void keep_greater(const Target& target, entry& greatest, entry other) {
    target.compare_exchange(other, greatest);
  }
  template <int Mask, int Lanes>
  static WBS_INLINE void over_lanes(const Target& target, entry& least, entry& greatest) {
    if constexpr (Mask < Lanes) {
      keep_lesser(target, least, Target::template from_lane_xor<Mask>(least));
      keep_greater(target, greatest, Target::template from_lane_xor<Mask>(greatest));
      over_lanes<2 * Mask, Lanes>(target, least, greatest);
    }
  }
  // The middle entries of a row whose halves are in different warps, each sorted.
  static WBS_INLINE middle_entries middle_of_warps(const Target& target,
                                                   entry (&entries)[Registers], entry* stage) {
    constexpr int half = warps / 2, end = (Registers - 1) * striped_pitch;
    const int warp = Target::warp() & (warps - 1), lane = Target::lane();
    store_striped(entries, own(stage));
    Target::sync_block();
    const entry* const mirrored =
        stage + (warps - 1 - warp) * stage_entries + end + (lane ^ (lanes - 1));
    entry mine = entries[0];
    if (warp < half) {
      keep_lesser(target, mine, mirrored[0]);
      WBS_UNROLL
      for (int j = 1; j < Registers; ++j) {
        keep_lesser(target, entries[j], mirrored[-j * striped_pitch]);
        keep_greater(target, mine, entries[j]);
      }
    } else {
      keep_greater(target, mine, mirrored[0]);
      WBS_UNROLL
      for (int j = 1; j < Registers; ++j) {
        keep_greater(target, entries[j], mirrored[-j * striped_pitch]);
        keep_lesser(target, mine, entries[j]);
      }
    }
    entry least = mine, greatest = mine;
    over_lanes<1, lanes>(target, least, greatest);
    const entry* const last_lane = stage + end + (lane | (lanes - 1));
    entry last = last_lane[(half - 1) * stage_entries];
    keep_greater(target, last, last_lane[(warps - 1) * stage_entries]);
    Target::sync_block();
    // Of classes, a conditional expression would take the address.
    if (warp < half) {
      stage[warp * warp_lanes + lane] = greatest;
    } else {
      stage[warp * warp_lanes + lane] = least;
    }
    Target::sync_block();
    entry low = stage[lane], high = stage[half * warp_lanes + lane];
    WBS_ROLLED
    for (int w = 1; w < half; ++w) {
      keep_greater(target, low, stage[w * warp_lanes + lane]);
      keep_lesser(target, high, stage[(half + w) * warp_lanes + lane]);
    }
    return {low, high, last};
  }

  // Merges runs of one lane, of two, and so on, up to 2^Last: of lanes, then of warps. One loop has
  // the merges of warps, too, if these are many.
  template <int Last>
  static WBS_INLINE void merge(const Target& target, entry (&entries)[Registers], entry* stage) {
    if constexpr (has_loop<LaneBits + 1, Last>) {
      merge_range<1, Last>(target, entries, stage);
    } else {
      merge_range<1, (Last < LaneBits ? Last : LaneBits)>(target, entries, stage);
      merge_range<LaneBits + 1, Last>(target, entries, stage);
    }
  }
  template <int First, int Last>
  static WBS_INLINE void merge_range(const Target& target, entry (&entries)[Registers],
                                     entry* stage) {
    if constexpr (has_loop<First, Last>) {
      WBS_ROLLED
      for (int k = First; k <= Last; ++k) {
        merge_one_of<First, Last>(Target::opaque(k), target, entries, stage);
        clean<Registers, 0>(target, entries);
      }
    } else if constexpr (First <= Last) {
      merge_between<First>(target, entries, stage);
      clean<Registers, 0>(target, entries);
      merge_range<First + 1, Last>(target, entries, stage);
    }
  }
  template <int K, int Last>
  static WBS_INLINE void merge_one_of(int k, const Target& target, entry (&entries)[Registers],
                                      entry* stage) {
    if constexpr (K < Last) {
      if (k != K) return merge_one_of<K + 1, Last>(k, target, entries, stage);
    }
    merge_between<K>(target, entries, stage);
  }
  // What merge K does between lanes and warps.
  template <int K>
  static WBS_INLINE void merge_between(const Target& target, entry (&entries)[Registers],
                                       entry* stage) {
    if constexpr (K > LaneBits) {
      merge_warps<K - LaneBits>(target, entries, stage);
    } else if constexpr (K <= transposed_bits && K >= min_transposed_steps) {
      transpose<K, true>(target, entries, own(stage));
    } else {
      flip_lanes<K>(target, entries);
      clean_lanes<K - 1, K - 1>(target, entries, own(stage));
    }
  }

  // For a target that negates the entries of one lane of every pair: moves the signs from the lanes
  // that have bit From set to those that have bit To set; -1 stands for no lanes.
  template <int From, int To>
  static WBS_INLINE void move_signs(const Target& target, entry (&entries)[Registers]) {
    if constexpr (Target::negates) target.template move_signs<From, To>(entries);
  }

  // Half-cleaners on blocks of 2^Steps lanes; Signed is the lane bit whose lanes are negated.
  template <int Steps, int Signed = -1>
  static WBS_INLINE void clean_lanes(const Target& target, entry (&entries)[Registers],
                                     entry* stage) {
    if constexpr (Steps > 0) {
      if constexpr (Steps <= transposed_bits && Steps >= min_transposed_steps) {
        move_signs<Signed, -1>(target, entries);
        transpose<Steps, false>(target, entries, stage);
      } else if constexpr (Target::template has_lane_swap<1 << (Steps - 1)> && Registers % 2 == 0) {
        move_signs<Signed, -1>(target, entries);
        WBS_UNROLL
        for (int j = 0; j < Registers; j += 2) {
          target.template exchange_select_swap<1 << (Steps - 1)>(entries[j], entries[j + 1]);
        }
        clean_lanes<Steps - 1>(target, entries, stage);
      } else {
        move_signs<Signed, Steps - 1>(target, entries);
        exchange_select_registers<1 << (Steps - 1)>(target, entries, make_indices<Registers>{});
        clean_lanes<Steps - 1, Steps - 1>(target, entries, stage);
      }
    } else {
      move_signs<Signed, -1>(target, entries);
    }
  }

  template <int Mask, int... J>
  static WBS_INLINE void exchange_select_registers(const Target& target,
                                                   entry (&entries)[Registers], indices<J...>) {
    ((entries[J] = target.template exchange_select<Mask>(entries[J], entries[J])), ...);
  }

  template <int K>
  static WBS_INLINE void flip_lanes(const Target& target, entry (&entries)[Registers]) {
    constexpr int mask = (1 << K) - 1;
    move_signs<-1, K - 1>(target, entries);
    flip_registers<mask>(target, entries, make_indices<Registers / 2>{});
    if constexpr (Registers % 2 == 1) {
      entry& middle = entries[Registers / 2];
      middle = target.template exchange_select<mask>(middle, middle);
    }
  }
  // A pack of indices compiles faster than a loop, because it is unrolled from the start.
  template <int Mask, int... J>
  static WBS_INLINE void flip_registers(const Target& target, entry (&entries)[Registers],
                                        indices<J...>) {
    (target.template exchange_select_pair<Mask>(entries[J], entries[Registers - 1 - J]), ...);
  }

  // All steps of a merge of 2^K lanes, or its half-cleaners alone, on transposed lanes.
  template <int K, bool Flip>
  static WBS_INLINE void transpose(const Target& target, entry (&entries)[Registers],
                                   entry* stage) {
    store_striped(entries, stage);
    Target::sync_warp();
    transposed_steps<K, Flip>(target, entries, stage);
    Target::sync_warp();
    load_striped(entries, stage);
    Target::sync_warp();
  }

  static WBS_INLINE void store_striped(const entry (&entries)[Registers], entry* stage) {
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) stage[j * striped_pitch + Target::lane()] = entries[j];
  }
  static WBS_INLINE void load_striped(entry (&entries)[Registers], const entry* stage) {
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) entries[j] = stage[j * striped_pitch + Target::lane()];
  }

  // A thread takes 2^transposed_bits consecutive lanes at every transposed_lanes-th register
  // number; with Flip, lanes of the high run at the mirrored number.
  template <int K, bool Flip>
  static WBS_INLINE void transposed_steps(const Target& target, entry (&entries)[Registers],
                                          entry* stage) {
    // The lanes of the low and of the high run lie in different places.
    constexpr int same = Flip ? 1 << (K - 1) : transposed_lanes;
    using vector = entry_vector < entry,
          same<entry_vector<entry>::size ? same : entry_vector<entry>::size>;
    const int first = Target::lane() & (transposed_lanes - 1);
    entry* const low = stage + first * striped_pitch + (Target::lane() - first);
    entry* const high =
        Flip ? stage + (Registers - 1 - first) * striped_pitch + (Target::lane() - first) : low;
    constexpr int step = transposed_lanes * striped_pitch;
    constexpr int high_step = Flip ? -step : step;
    WBS_UNROLL
    for (int m = 0; m < Registers / transposed_lanes; ++m) {
      WBS_UNROLL
      for (int i = 0; i < transposed_lanes; i += vector::size) {
        const bool is_high = (i >> (K - 1) & 1) != 0;
        const vector v = *reinterpret_cast<const vector*>(is_high ? high + m * high_step + i
                                                                  : low + m * step + i);
        WBS_UNROLL
        for (int e = 0; e < vector::size; ++e) entries[m * transposed_lanes + i + e] = v.entries[e];
      }
    }
    if constexpr (Flip) {
      WBS_UNROLL
      for (int r = 0; r < Registers; ++r) {
        if ((r >> (K - 1) & 1) == 0)
          alternate_pipes(target, entries[r], entries[r ^ ((1 << K) - 1)], r);
      }
    }
    WBS_UNROLL
    for (int b = Flip ? K - 2 : K - 1; b >= 0; --b) {
      WBS_UNROLL
      for (int r = 0; r < Registers; ++r) {
        if ((r >> b & 1) != 0) continue;
        alternate_pipes(target, entries[r], entries[r | 1 << b],
                        (r & ((1 << b) - 1)) | r >> (b + 1) << b);
      }
    }
    WBS_UNROLL
    for (int m = 0; m < Registers / transposed_lanes; ++m) {
      WBS_UNROLL
      for (int i = 0; i < transposed_lanes; i += vector::size) {
        const bool is_high = (i >> (K - 1) & 1) != 0;
        vector v;
        WBS_UNROLL
        for (int e = 0; e < vector::size; ++e) v.entries[e] = entries[m * transposed_lanes + i + e];
        *reinterpret_cast<vector*>(is_high ? high + m * high_step + i : low + m * step + i) = v;
      }
    }
  }

  // Merges runs of 2^(Q-1) warps, but for the half-cleaners within a lane, through the stages of
  // all of them: each thread takes its lane of every warp at its share of the register numbers.
  template <int Q>
  static WBS_INLINE void merge_warps(const Target& target, entry (&entries)[Registers],
                                     entry* stage) {
    constexpr int group = 1 << Q, share = Registers / group;
    static_assert(Registers % group == 0, "warps share the register numbers evenly");
    const int warp = Target::warp() & (warps - 1), place = warp & (group - 1);
    store_striped(entries, own(stage));
    Target::sync_block();
    entry* const first = stage + (warp - place) * stage_entries;
    entry* const low = first + place * share * striped_pitch + Target::lane();
    entry* const high =
        first + (Registers - 1 - place * share) * striped_pitch + (Target::lane() ^ (lanes - 1));
    WBS_UNROLL
    for (int v = 0; v < group; ++v) {
      WBS_UNROLL
      for (int x = 0; x < share; ++x) {
        entries[v * share + x] = v < group / 2 ? low[v * stage_entries + x * striped_pitch]
                                               : high[v * stage_entries - x * striped_pitch];
      }
    }
    WBS_UNROLL
    for (int r = 0; r < Registers / 2; ++r) {
      const int v = r / share, x = r % share;
      alternate_pipes(target, entries[r], entries[(group - 1 - v) * share + x], r);
    }
    WBS_UNROLL
    for (int b = Q - 2; b >= 0; --b) {
      WBS_UNROLL
      for (int r = 0; r < Registers; ++r) {
        if ((r / share >> b & 1) == 0)
          alternate_pipes(target, entries[r], entries[r + (share << b)], r);
      }
    }
    WBS_UNROLL
    for (int v = 0; v < group; ++v) {
      WBS_UNROLL
      for (int x = 0; x < share; ++x) {
        (v < group / 2 ? low[v * stage_entries + x * striped_pitch]
                       : high[v * stage_entries - x * striped_pitch]) = entries[v * share + x];
      }
    }
    Target::sync_block();
    if constexpr (LaneBits > 0 && transposed_bits == LaneBits) {
      transposed_steps<LaneBits, false>(target, entries, own(stage));
      Target::sync_warp();
      load_striped(entries, own(stage));
      Target::sync_warp();
    } else {
      load_striped(entries, own(stage));
      Target::sync_warp();
      clean_lanes<LaneBits>(target, entries, own(stage));
    }
  }

  // Alternates two forms of a comparator, which keeps two pipes busy. Measured: faster than either
  // form alone.
  static WBS_INLINE void alternate_pipes(const Target& target, entry& low, entry& high,
                                         int number) {
    if (number % 2 == 0) {
      target.compare_exchange(low, high);
    } else {
      target.compare_exchange_imad(low, high);
    }
  }

  // Half-cleaners within a lane's registers.
  template <int Size, int First>
  static WBS_INLINE void clean(const Target& target, entry (&entries)[Registers]) {
    if constexpr (Size > 1 && Size % 2 == 1) {
      clean_odd<Size, First>(target, entries, make_indices<odd_cleaner_size<Size>>{});
    } else if constexpr (has_block<Target, floor_log2(Size)> && (Size & (Size - 1)) == 0) {
      target.template clean_block<floor_log2(Size)>(entries + First);
    } else if constexpr (Size > 1) {
      clean_once<First, Size / 2>(target, entries, make_indices<Size / 2>{});
      clean<Size / 2, First>(target, entries);
      clean<Size / 2, First + Size / 2>(target, entries);
    }
  }
  template <int Size, int First, int... J>
  static WBS_INLINE void clean_odd(const Target& target, entry (&entries)[Registers],
                                   indices<J...>) {
    (alternate_pipes(target, entries[First + odd_cleaner<Size>[J].low],
                     entries[First + odd_cleaner<Size>[J].high], J),
     ...);
  }
  template <int First, int Half, int... J>
  static WBS_INLINE void clean_once(const Target& target, entry (&entries)[Registers],
                                    indices<J...>) {
    (alternate_pipes(target, entries[First + J], entries[First + J + Half], First + J), ...);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_NETWORK_WARP_HPP_
