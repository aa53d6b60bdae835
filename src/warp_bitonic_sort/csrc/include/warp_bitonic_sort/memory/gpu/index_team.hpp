// Finds the order of rows in shared memory. What is in place of absent rows is sorted, too.
//
// The keys stay in shared memory. Registers hold entries (memory/gpu/index_entries.hpp), which the
// network sorts; then the stage holds them, so that keys are fetched by index.
//
// Where a prefix does not hold the whole code, neighbours are compared while rows are emitted. Rows
// whose neighbours are in the wrong order are repaired by a few rounds of odd-even transposition,
// which is stable; if that does not suffice, the team sorts its rows again by digits.
//
// Invariant: nothing here touches global memory. Rows are emitted in the right order at last.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_INDEX_TEAM_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_INDEX_TEAM_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/memory/gpu/index_entries.hpp>
#include <warp_bitonic_sort/network/first.hpp>
#include <warp_bitonic_sort/network/warp.hpp>

namespace warp_bitonic_sort {

template <class Arguments, template <class> class Target, codec_kind Codec, int KeyBits,
          int Registers, int LaneBits, int WarpBits, int Step = 1, int MaxVector = 4>
class index_team : public index_entries<Arguments, Target, Codec, KeyBits, Registers, LaneBits,
                                        WarpBits, Step, MaxVector> {
  using base = index_entries<Arguments, Target, Codec, KeyBits, Registers, LaneBits, WarpBits, Step,
                             MaxVector>;
  using base::args_;
  using base::by_values;
  using base::count_in_team;
  using base::digit_bits;
  using base::encode;
  using base::encode_digit;
  using base::prefix_bits;
  using base::stage_;
  // Rows are repaired so often, or sorted by digits; the first time in one round.
  WBS_CONSTANT(int, max_tries, 2);
  WBS_CONSTANT(int, max_rounds, 4);

 public:
  using base::capacity;
  using base::index_of;
  using base::is_exact;
  using base::lane_of_row;
  using base::make_codec;
  using base::place;
  using base::prefers_values;
  using base::row_of_lane;
  using base::sync;
  using base::team_thread;
  using base::team_threads;
  using typename base::codes;
  using typename base::element;
  using typename base::entry;
  using typename base::network_type;
  using typename base::rows;
  using typename base::target;

  // `stage` is aligned to 16 bytes.
  WBS_INLINE index_team(const Arguments& args, entry* stage, void* sums)
      : base(args, stage, sums) {}

  // -- sorting ------------------------------------------------------------------------------------

  // Sorts rows that are in shared memory. `emit(by_values)` writes them in the order of the stage,
  // and returns whether this lane saw neighbours in the wrong order; the last call's result stays.
  template <class Emit>
  WBS_INLINE void sort(const rows& in, Emit emit) const {
    entry entries[Registers];
    int first_bit = encode(in, entries);
    for (;;) {
      network_type::sort(target{{args_.opaque_one}}, entries, stage_);
      set_stage(entries);
      sync();
      const bool is_sorted = is_exact || first_bit >= 0;
      if (!is_exact && first_bit >= 0) first_bit += first_bit == 0 ? prefix_bits : digit_bits;
      if (is_exact || first_bit < 0 || first_bit >= KeyBits) {
        WBS_ROLLED
        for (int tries = 0; tries <= max_tries; ++tries) {
          const bool is_wrong = emit(first_bit == by_values);
          if (is_sorted) return;
          const int wrong_lanes = count_in_team(is_wrong);
          if (wrong_lanes == 0) return;
          // Rounds would not mend rows in which most neighbours share a prefix.
          if (wrong_lanes > team_threads / 2 || tries == max_tries) break;
          // One round suffices for most rows.
          repair(in, tries == 0 ? 1 : max_rounds);
        }
        first_bit = 0;
      }
      encode_digit(in, first_bit, entries);
    }
  }

  // -- the first entries --------------------------------------------------------------------------

  // The first entries of this lane's row, in order, and the first of the other ones.
  template <int Count>
  struct first_entries {
    entry kept[Count];
    entry dropped;
    bool are_by_values;

    // Whether a key that was dropped may belong before the last one kept, for all that the entries
    // tell.
    WBS_INLINE bool may_lack_one() const {
      return !is_exact &&
             ((static_cast<unsigned>(dropped) ^ static_cast<unsigned>(kept[Count - 1])) >>
              (32 - prefix_bits)) == 0;
    }
  };
  // Each lane sorts its entries in blocks, of which it keeps the first entries, and so do lanes.
  template <int Count>
  WBS_INLINE first_entries<Count> find_first(const rows& in) const {
    using pruning = first_network<target, floor_log2(Count)>;
    static_assert(WarpBits == 0 && Registers % Count == 0, "lanes have whole blocks");
    const target order{{args_.opaque_one}};
    entry entries[Registers];
    first_entries<Count> result;
    result.are_by_values = encode(in, entries) == by_values;
    result.dropped = 0x7FFFFFFF;
    const auto drop = [&](const entry* block) {
      WBS_UNROLL
      for (int j = 0; j < Count; ++j) {
        result.dropped = block[j] < result.dropped ? block[j] : result.dropped;
      }
    };
    pruning::begin(order, entries);
    WBS_UNROLL
    for (int block = Count; block < Registers; block += Count) {
      pruning::add(order, entries, entries + block);
      drop(entries + block);
    }
    merge_first<1, Count>(order, entries, drop);
    result.dropped = this->over_row(result.dropped, [](entry a, entry b) { return a < b ? a : b; });
    WBS_UNROLL
    for (int j = 0; j < Count; ++j) result.kept[j] = entries[j];
    return result;
  }

  // -- the order ----------------------------------------------------------------------------------

  // `emit` for rows that are not stored as the stage has them: only compares neighbours. Of an
  // absent row, the length of this lane's row is 0.
  WBS_INLINE bool check(const rows& in, bool is_by_values, int own_length) const {
    if constexpr (prefers_values) {
      if (is_by_values) return check_ordered<true>(in, own_length);
    }
    return check_ordered<false>(in, own_length);
  }
  // A row of the team and an index in it, in one word.
  static WBS_INLINE int located(int row, int index) { return row << 16 | index; }
  static WBS_INLINE int row_of(int location) { return location >> 16; }
  static WBS_INLINE int index_in_row(int location) { return location & 0xFFFF; }
  // Afterwards, the stage has the location of what belongs at each of the first `count` positions
  // `at` of this lane's row, at `number(at)`.
  template <class Number>
  WBS_INLINE void arrange(int count, Number number) const {
    int locations[Registers];
    each_own([&](int j, entry e) { locations[j] = located(row_of_lane(), index_of(e)); });
    sync();
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) {
      const int at = lane_of_row() * Registers + j;
      if (at < count) stage_[number(at)] = locations[j];
    }
  }

  // Calls `use(j, entry)` for the sorted entries that the stage has for this lane: positions from
  // lane_of_row() * Registers on.
  template <class Use>
  WBS_INLINE void each_own(Use use) const {
    constexpr int size = Registers % entry_vector<entry>::size == 0 ? entry_vector<entry>::size : 1;
    using vector = entry_vector<entry, size>;
    const entry* const own = place(team_thread() * Registers);
    WBS_UNROLL
    for (int j = 0; j < Registers; j += size) {
      const vector v = *reinterpret_cast<const vector*>(own + j);
      WBS_UNROLL
      for (int e = 0; e < size; ++e) use(j + e, v.entries[e]);
    }
  }

 private:
  template <bool ByValues>
  WBS_INLINE bool check_ordered(const rows& in, int length) const {
    using key = typename base::template order_key<ByValues>;
    bool is_wrong = false;
    if constexpr (!is_exact) {
      const codes codec = make_codec();
      const int row = row_of_lane(), first = lane_of_row() * Registers;
      const auto key_of = [&](entry e) {
        return base::template order_of<ByValues>(codec, in.element(row, index_of(e)));
      };
      key least = 0, last = 0;
      each_own([&](int j, entry e) {
        const key next = key_of(e);
        is_wrong |= j > 0 && first + j < length && last > next;
        least = j == 0 ? next : least;
        last = next;
      });
      // The last key of the lane before, which may be in another warp.
      key before = target::from_lane(last, target::lane() > 0 ? target::lane() - 1 : 0);
      if (WarpBits > 0 && target::lane() == 0 && first > 0) {
        before = key_of(*place(team_thread() * Registers - 1));
      }
      is_wrong |= first > 0 && first < length && before > least;
    }
    return is_wrong;
  }

  // Merges the first entries of pairs of lanes, of pairs of pairs, and so on; all of them get the
  // same.
  template <int Mask, int Count, class Drop>
  static WBS_INLINE void merge_first(const target& order, entry (&entries)[Registers], Drop drop) {
    if constexpr (Mask < base::lanes) {
      entry others[Count];
      WBS_UNROLL
      for (int j = 0; j < Count; ++j) others[j] = target::template from_lane_xor<Mask>(entries[j]);
      first_network<target, floor_log2(Count)>::merge(order, entries, others);
      drop(others);
      merge_first<2 * Mask, Count>(order, entries, drop);
    }
  }

  // -- sorting ------------------------------------------------------------------------------------

  WBS_INLINE void set_stage(const entry (&entries)[Registers]) const {
    using vector = entry_vector<entry>;
    entry* const to = place(team_thread() * Registers);
    constexpr int size = Registers % vector::size == 0 ? vector::size : 1;
    WBS_UNROLL
    for (int j = 0; j < Registers; j += size) {
      entry_vector<entry, size> v;
      WBS_UNROLL
      for (int e = 0; e < size; ++e) v.entries[e] = entries[j + e];
      *reinterpret_cast<entry_vector<entry, size>*>(to + j) = v;
    }
  }

  // Exchanges neighbours that are in the wrong order, in so many rounds at most. Equal keys never
  // pass each other.
  WBS_INLINE void repair(const rows& in, int rounds) const {
    const codes codec = make_codec();
    WBS_ROLLED
    for (int round = 0; round < rounds; ++round) {
      bool moved = false;
      WBS_ROLLED
      for (int parity = 0; parity < 2; ++parity) {
        sync();
        WBS_ROLLED
        for (int c = 0; c < Registers / 2; ++c) {
          const int at = 2 * (c * team_threads + team_thread()) + parity;
          if (at % capacity + 1 < args_.length) {
            entry* const low = place(at);
            entry* const high = place(at + 1);
            const entry below = *low, above = *high;
            const int r = at / capacity;
            if (codec.encode(in.element(r, index_of(below))) >
                codec.encode(in.element(r, index_of(above)))) {
              *low = above;
              *high = below;
              moved = true;
            }
          }
        }
      }
      if (count_in_team(moved) == 0) break;
    }
    sync();
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_TEAM_HPP_
