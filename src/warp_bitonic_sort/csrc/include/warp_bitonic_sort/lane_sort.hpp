// The sorting network over the lanes of a wave and the waves of a block: rows for GPUs.
//
// A row's positions are numbered wave by wave, lane by lane, register by register: lane i of the
// row's 2^LaneBits lanes holds positions i * Registers and on. Registers is a power of two or three
// times one, so that capacities go up by steps of a half and a third, not only by doubling.
//
// Each lane sorts its own registers; then every phase merges the runs of pairs of lanes, of pairs
// of pairs, of waves. A merge is the flip form of network.hpp: position i of the low run against
// the mirrored one of the high run, then half-cleaners, each halving the lanes that still differ,
// and last those within a lane's registers. A half-cleaner is right for bitonic sequences of any
// even length; that is all that the odd factor three needs, and three registers are sorted whole.
//
// Steps across lanes are done in one of two ways: by a shuffle and a minimum for every key, or by
// turning registers and lanes through a stage in shared memory, so that each thread holds the keys
// of 2^k lanes at a few register numbers and makes k steps at once.
//
// A target with one statement for a block of registers (network.hpp's sort_block()) has one for the
// half-cleaners of such a block, too: clean_block().
//
// Invariant: every comparator leaves the smaller key at the smaller position; a lane touches only
// its own wave's part of the stage, but between two sync_block(). Nothing here names a vendor.
#ifndef WARP_BITONIC_SORT_LANE_SORT_HPP_
#define WARP_BITONIC_SORT_LANE_SORT_HPP_

#include <warp_bitonic_sort/base.hpp>
#include <warp_bitonic_sort/network.hpp>
#include <warp_bitonic_sort/row_sort.hpp>

namespace warp_bitonic_sort {

// Up to sixteen bytes, which a lane moves at once.
template <class Key, int Size = 16 / static_cast<int>(sizeof(Key))>
struct alignas(Size * sizeof(Key)) key_vector {
  WBS_CONSTANT(int, size, Size);
  Key keys[Size];
};

template <class Target, int Registers, int LaneBits, int WaveBits = 0>
class lane_network {
 public:
  using key = typename Target::key;
  WBS_CONSTANT(int, wave_lanes, 1 << Target::lane_bits);
  WBS_CONSTANT(int, lanes, 1 << LaneBits);
  WBS_CONSTANT(int, waves, 1 << WaveBits);
  WBS_CONSTANT(int, capacity, Registers * lanes * waves);
  static_assert(LaneBits == Target::lane_bits || WaveBits == 0, "waves are made of whole rows");

  // Keys between neighbouring rows of a stage, if there is room: 16-byte accesses by neighbouring
  // lanes to neighbouring rows then fall into different banks.
  WBS_CONSTANT(int, padding,
               (Registers + key_vector<key>::size) * wave_lanes * waves *
                           static_cast<int>(sizeof(key)) <=
                       Target::most_shared_bytes
                   ? key_vector<key>::size
                   : 0);
  WBS_CONSTANT(int, turned_pitch, wave_lanes + padding);
  WBS_CONSTANT(int, straight_pitch, Registers + padding);
  // Keys of the stage of each wave.
  WBS_CONSTANT(int, stage_keys,
               Registers * turned_pitch > wave_lanes * straight_pitch ? Registers * turned_pitch
                                                                      : wave_lanes * straight_pitch);

  // `stage` is that of the row's first wave, aligned to 16 bytes.
  static WBS_INLINE void sort(const Target& target, key (&keys)[Registers], key* stage) {
    sort_registers<Registers>(target, keys);
    merge_lanes<1>(target, keys, own(stage));
    merge_waves<1>(target, keys, stage);
  }

  // This wave's part of the stage of a row.
  static WBS_INLINE key* own(key* stage) {
    return WaveBits == 0 ? stage : stage + (Target::wave() & (waves - 1)) * stage_keys;
  }

 private:
  // Lane bits that a turn brings into registers.
  WBS_CONSTANT(int, odd_part, Registers % 3 == 0 ? 3 : 1);
  WBS_CONSTANT(int, even_bits, floor_log2(static_cast<unsigned>(Registers / odd_part)));
  WBS_CONSTANT(int, turned_bits, LaneBits < even_bits ? LaneBits : even_bits);
  WBS_CONSTANT(int, turned_lanes, 1 << turned_bits);
  // A turn moves every key four times, a shuffle once; but a shuffle may take several instructions
  // to compare.
  WBS_CONSTANT(int, least_turned_steps, Target::least_turned_steps);

  // Merges runs of 2^(K-1) lanes.
  template <int K>
  static WBS_INLINE void merge_lanes(const Target& target, key (&keys)[Registers], key* stage) {
    if constexpr (K <= LaneBits) {
      if constexpr (K <= turned_bits && K >= least_turned_steps) {
        turn<K, true>(target, keys, stage);
      } else {
        flip_lanes<K>(target, keys);
        clean_lanes<K - 1, K - 1>(target, keys, stage);
      }
      clean<Registers, 0>(target, keys);
      merge_lanes<K + 1>(target, keys, stage);
    }
  }

  // For a target whose steps across lanes want the keys of one of the two negated: moves the signs
  // from the lanes that have bit From set to those that have bit To; -1 stands for no lanes.
  template <int From, int To>
  static WBS_INLINE void move_signs(const Target& target, key (&keys)[Registers]) {
    if constexpr (Target::negates) target.template move_signs<From, To>(keys);
  }

  // Half-cleaners on blocks of 2^Steps lanes; Signed is the lane bit whose lanes are negated.
  template <int Steps, int Signed = -1>
  static WBS_INLINE void clean_lanes(const Target& target, key (&keys)[Registers], key* stage) {
    if constexpr (Steps > 0) {
      if constexpr (Steps <= turned_bits && Steps >= least_turned_steps) {
        move_signs<Signed, -1>(target, keys);
        turn<Steps, false>(target, keys, stage);
      } else if constexpr (Target::template keeps_two<1 << (Steps - 1)> && Registers % 2 == 0) {
        move_signs<Signed, -1>(target, keys);
        WBS_UNROLL
        for (int j = 0; j < Registers; j += 2) {
          target.template keep_two<1 << (Steps - 1)>(keys[j], keys[j + 1]);
        }
        clean_lanes<Steps - 1>(target, keys, stage);
      } else {
        move_signs<Signed, Steps - 1>(target, keys);
        keep_registers<1 << (Steps - 1)>(target, keys, make_indices<Registers>{});
        clean_lanes<Steps - 1, Steps - 1>(target, keys, stage);
      }
    } else {
      move_signs<Signed, -1>(target, keys);
    }
  }

  template <int Mask, int... J>
  static WBS_INLINE void keep_registers(const Target& target, key (&keys)[Registers],
                                        indices<J...>) {
    ((keys[J] = target.template keep<Mask>(keys[J], keys[J])), ...);
  }

  template <int K>
  static WBS_INLINE void flip_lanes(const Target& target, key (&keys)[Registers]) {
    constexpr int mask = (1 << K) - 1;
    move_signs<-1, K - 1>(target, keys);
    flip_registers<mask>(target, keys, make_indices<Registers / 2>{});
    if constexpr (Registers % 2 == 1) {
      key& middle = keys[Registers / 2];
      middle = target.template keep<mask>(middle, middle);
    }
  }
  // (A pack of indices where a loop would do: it is unrolled from the start, and quicker compiled.)
  template <int Mask, int... J>
  static WBS_INLINE void flip_registers(const Target& target, key (&keys)[Registers],
                                        indices<J...>) {
    (target.template keep_each<Mask>(keys[J], keys[Registers - 1 - J]), ...);
  }

  // All steps of a merge of 2^K lanes, or its half-cleaners alone, with lanes in registers.
  template <int K, bool Flip>
  static WBS_INLINE void turn(const Target& target, key (&keys)[Registers], key* stage) {
    put_straight(keys, stage);
    Target::sync_wave();
    steps_when_turned<K, Flip>(target, keys, stage);
    Target::sync_wave();
    get_straight(keys, stage);
    Target::sync_wave();
  }

  static WBS_INLINE void put_straight(const key (&keys)[Registers], key* stage) {
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) stage[j * turned_pitch + Target::lane()] = keys[j];
  }
  static WBS_INLINE void get_straight(key (&keys)[Registers], const key* stage) {
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) keys[j] = stage[j * turned_pitch + Target::lane()];
  }

  // A thread takes 2^turned_bits neighbouring lanes at every turned_lanes-th register number; with
  // Flip, from lanes of the high run at the mirrored number.
  template <int K, bool Flip>
  static WBS_INLINE void steps_when_turned(const Target& target, key (&keys)[Registers],
                                           key* stage) {
    // Lanes of the low and of the high run come from different places.
    constexpr int same = Flip ? 1 << (K - 1) : turned_lanes;
    using vector = key_vector < key, same<key_vector<key>::size ? same : key_vector<key>::size>;
    const int first = Target::lane() & (turned_lanes - 1);
    key* const low = stage + first * turned_pitch + (Target::lane() - first);
    key* const high =
        Flip ? stage + (Registers - 1 - first) * turned_pitch + (Target::lane() - first) : low;
    constexpr int step = turned_lanes * turned_pitch;
    constexpr int high_step = Flip ? -step : step;
    WBS_UNROLL
    for (int m = 0; m < Registers / turned_lanes; ++m) {
      WBS_UNROLL
      for (int i = 0; i < turned_lanes; i += vector::size) {
        const bool is_high = (i >> (K - 1) & 1) != 0;
        const vector v = *reinterpret_cast<const vector*>(is_high ? high + m * high_step + i
                                                                  : low + m * step + i);
        WBS_UNROLL
        for (int e = 0; e < vector::size; ++e) keys[m * turned_lanes + i + e] = v.keys[e];
      }
    }
    if constexpr (Flip) {
      WBS_UNROLL
      for (int r = 0; r < Registers; ++r) {
        if ((r >> (K - 1) & 1) == 0) target.compare_exchange(keys[r], keys[r ^ ((1 << K) - 1)]);
      }
    }
    WBS_UNROLL
    for (int b = Flip ? K - 2 : K - 1; b >= 0; --b) {
      WBS_UNROLL
      for (int r = 0; r < Registers; ++r) {
        if ((r >> b & 1) != 0) continue;
        balanced(target, keys[r], keys[r | 1 << b], (r & ((1 << b) - 1)) | r >> (b + 1) << b);
      }
    }
    WBS_UNROLL
    for (int m = 0; m < Registers / turned_lanes; ++m) {
      WBS_UNROLL
      for (int i = 0; i < turned_lanes; i += vector::size) {
        const bool is_high = (i >> (K - 1) & 1) != 0;
        vector v;
        WBS_UNROLL
        for (int e = 0; e < vector::size; ++e) v.keys[e] = keys[m * turned_lanes + i + e];
        *reinterpret_cast<vector*>(is_high ? high + m * high_step + i : low + m * step + i) = v;
      }
    }
  }

  // Merges runs of 2^(Q-1) waves: through the stages of all of them, each thread taking its lane
  // of every wave at its share of the register numbers.
  template <int Q>
  static WBS_INLINE void merge_waves(const Target& target, key (&keys)[Registers], key* stage) {
    if constexpr (Q <= WaveBits) {
      constexpr int group = 1 << Q, share = Registers / group;
      static_assert(Registers % group == 0, "waves share the register numbers evenly");
      const int wave = Target::wave() & (waves - 1), place = wave & (group - 1);
      put_straight(keys, own(stage));
      Target::sync_block();
      key* const first = stage + (wave - place) * stage_keys;
      key* const low = first + place * share * turned_pitch + Target::lane();
      key* const high = first + (Registers - 1 - place * share) * turned_pitch +
                        (wave_lanes - 1 - Target::lane());
      WBS_UNROLL
      for (int v = 0; v < group; ++v) {
        WBS_UNROLL
        for (int x = 0; x < share; ++x) {
          keys[v * share + x] = v < group / 2 ? low[v * stage_keys + x * turned_pitch]
                                              : high[v * stage_keys - x * turned_pitch];
        }
      }
      WBS_UNROLL
      for (int r = 0; r < Registers / 2; ++r) {
        const int v = r / share, x = r % share;
        target.compare_exchange(keys[r], keys[(group - 1 - v) * share + x]);
      }
      WBS_UNROLL
      for (int b = Q - 2; b >= 0; --b) {
        WBS_UNROLL
        for (int r = 0; r < Registers; ++r) {
          if ((r / share >> b & 1) == 0) target.compare_exchange(keys[r], keys[r + (share << b)]);
        }
      }
      WBS_UNROLL
      for (int v = 0; v < group; ++v) {
        WBS_UNROLL
        for (int x = 0; x < share; ++x) {
          (v < group / 2 ? low[v * stage_keys + x * turned_pitch]
                         : high[v * stage_keys - x * turned_pitch]) = keys[v * share + x];
        }
      }
      Target::sync_block();
      if constexpr (turned_bits == LaneBits) {
        steps_when_turned<LaneBits, false>(target, keys, own(stage));
        Target::sync_wave();
        get_straight(keys, own(stage));
        Target::sync_wave();
      } else {
        get_straight(keys, own(stage));
        Target::sync_wave();
        clean_lanes<LaneBits>(target, keys, own(stage));
      }
      clean<Registers, 0>(target, keys);
      merge_waves<Q + 1>(target, keys, stage);
    }
  }

  // Every other comparator of a step in the other way, which keeps two pipes busy. Measured: better
  // than none or all.
  static WBS_INLINE void balanced(const Target& target, key& low, key& high, int number) {
    if (number % 2 == 0) {
      target.compare_exchange(low, high);
    } else {
      target.compare_exchange_by_sum(low, high);
    }
  }

  // Half-cleaners within a lane's registers.
  template <int Size, int First>
  static WBS_INLINE void clean(const Target& target, key (&keys)[Registers]) {
    if constexpr (Size == 3) {
      target.compare_exchange(keys[First], keys[First + 2]);
      target.compare_exchange(keys[First], keys[First + 1]);
      target.compare_exchange(keys[First + 1], keys[First + 2]);
    } else if constexpr (has_block<Target, floor_log2(Size)> && (Size & (Size - 1)) == 0) {
      target.template clean_block<floor_log2(Size)>(keys + First);
    } else if constexpr (Size > 1) {
      clean_once<First, Size / 2>(target, keys, make_indices<Size / 2>{});
      clean<Size / 2, First>(target, keys);
      clean<Size / 2, First + Size / 2>(target, keys);
    }
  }
  template <int First, int Half, int... J>
  static WBS_INLINE void clean_once(const Target& target, key (&keys)[Registers], indices<J...>) {
    (balanced(target, keys[First + J], keys[First + J + Half], First + J), ...);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_LANE_SORT_HPP_
