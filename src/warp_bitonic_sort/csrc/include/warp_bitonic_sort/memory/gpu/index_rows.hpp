// Sorts rows with their indices, or with values: copies a team's rows into shared memory, has them
// sorted (memory/gpu/index_team.hpp), and stores keys and payloads. A payload is the index of a
// key, or the value that is fetched by it.
//
// Invariant: all loads of a row precede all stores of it, so that keys and values may go where they
// come from. No byte outside the rows is read or written.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ROWS_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ROWS_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/memory/gpu/addresses.hpp>
#include <warp_bitonic_sort/memory/gpu/index_output.hpp>
#include <warp_bitonic_sort/memory/gpu/index_team.hpp>
#include <warp_bitonic_sort/memory/gpu/order_check.hpp>
#include <warp_bitonic_sort/memory/gpu/run.hpp>

namespace warp_bitonic_sort {

// Of kernels for the first elements, the outputs have as many as wbs_args::kept says. Where these
// are MaxKept at most, few entries are sorted; rows that these do not tell apart are sorted as a
// whole.
template <template <class> class Target, codec_kind Codec, int KeyBits, selection Selection,
          int ValueBits, int Registers, int LaneBits, int WarpBits>
class gpu_index_rows {
  WBS_CONSTANT(bool, has_values, ValueBits != 0);
  WBS_CONSTANT(bool, keeps_all, Selection == selection::all);
  WBS_CONSTANT(int, max_kept, max_kept_of(Selection));

 public:
  WBS_CONSTANT(int, inputs, has_values ? 2 : 1);
  WBS_CONSTANT(int, outputs, 2);
  using arguments = wbs_args<inputs, outputs>;

 private:
  using team_type = index_team<arguments, Target, Codec, KeyBits, Registers, LaneBits, WarpBits>;
  using entry = typename team_type::entry;
  using element = typename team_type::element;
  using value = typename unsigned_of<(has_values ? ValueBits : 32)>::type;
  using payload_type = typename choose<has_values, value, int>::type;
  using target = typename team_type::target;
  using addresses = row_addresses<inputs, outputs>;

  WBS_CONSTANT(int, key_bytes, team_type::key_bytes);
  WBS_CONSTANT(int, warp_lanes, team_type::warp_lanes);
  WBS_CONSTANT(int, lanes, team_type::lanes);
  WBS_CONSTANT(int, vector_size, team_type::vector_size);
  WBS_CONSTANT(int, team_threads, team_type::team_threads);
  WBS_CONSTANT(int, team_rows, team_type::team_rows);

  // The keys, the values and the sums of a team lie behind its stage. A run keeps its alignment,
  // and begins up to 15 bytes behind a multiple of 16.
  WBS_CONSTANT(int, keys_bytes, team_rows * team_type::row_bytes + 16);
  WBS_CONSTANT(int, values_bytes,
               has_values ? team_rows * team_type::capacity * ValueBits / 8 + 16 : 0);
  WBS_CONSTANT(int, team_bytes,
               team_type::stage_bytes + keys_bytes + values_bytes + team_type::sums_bytes);

 public:
  WBS_CONSTANT(bool, tries_float_keys, false);
  WBS_CONSTANT(int, capacity, team_type::capacity);
  WBS_CONSTANT(int, row_lanes, team_type::row_lanes);
  WBS_CONSTANT(bool, prefers_loop, false);
  // Few warps of a block wait for the one that repairs its rows.
  WBS_CONSTANT(int, threads, team_type::warps > 1 ? team_threads : 2 * warp_lanes);
  WBS_CONSTANT(int, tile_blocks, 1);
  WBS_CONSTANT(int, block_rows, threads / team_threads * team_rows);
  // Values take registers, and shared memory besides, which then holds fewer long rows anyway.
  WBS_CONSTANT(int, max_threads, target::index_threads_for(Registers, key_bytes));
  WBS_CONSTANT(bool, takes_more, has_values && (Registers > 16 || key_bytes == 8));
  WBS_CONSTANT(int, resident_blocks, (takes_more ? max_threads * 3 / 4 : max_threads) / threads);
  WBS_CONSTANT(int, shared_bytes, threads / team_threads * team_bytes);

  // Sorts the rows of one tile, block_rows of them.
  static WBS_INLINE void sort(const arguments& args, long long tile, void* shared) {
    char* const own = static_cast<char*>(shared) + team_of_block() * team_bytes;
    char* const keys = own + team_type::stage_bytes;
    char* const values = keys + keys_bytes;
    const team_type team(args, reinterpret_cast<entry*>(own), values + values_bytes);
    const gpu_index_rows all(args, tile, team);
    element* const to_keys = reinterpret_cast<element*>(keys);
    value* const to_values = reinterpret_cast<value*>(values);
    const typename team_type::rows rows{to_keys,
                                        all.template load<0, team_type::row_pitch>(to_keys)};
    row_places of_values{};
    if constexpr (has_values) of_values = all.template load<1, capacity>(to_values);
    const staged_rows<value> values_at{to_values, of_values};
    if constexpr (target::has_copies) target::sync_copies();
    team_type::sync();
    bool is_done = false;
    if constexpr (max_kept > 0) is_done = all.store_first(rows);
    if (!is_done) sort_all(args, tile, team, rows, values_at);
    team_type::sync();
  }

 private:
  // Sorts rows that are in shared memory, and stores them.
  static WBS_INLINE void sort_all(const arguments& args, long long tile, const team_type& team,
                                  const typename team_type::rows& rows,
                                  const staged_rows<value>& values_at) {
    team.sort(rows, [&](bool by_values) {
      // Opaque, or what depends on them would be kept in registers while the entries are sorted.
      const gpu_index_rows self(target::reload_args(args), target::opaque(tile), team);
      if (self.stores_plain()) {
        return self.bytes_of_payload() == 4
                   ? self.template store_in_order<4>(rows, values_at, by_values)
                   : self.template store_in_order<8>(rows, values_at, by_values);
      }
      return self.stores_vectors() ? self.template store_in_order<0>(rows, values_at, by_values)
                                   : team.check(rows, by_values, self.own_length());
    });
    const gpu_index_rows self(target::reload_args(args), target::opaque(tile), team);
    if (!self.stores_plain() && !self.stores_vectors()) {
      const int first = team_type::row_of_lane() * self.kept();
      team.arrange(self.kept(), [&](int at) { return first + at; });
      team_type::sync();
      self.store_arranged(rows, values_at);
    }
  }

  WBS_INLINE gpu_index_rows(const arguments& args, long long tile, const team_type& team)
      : args_(args), tile_(tile), team_(team) {}

  // -- where rows are -----------------------------------------------------------------------------

  static WBS_INLINE int team_of_block() { return WarpBits == 0 ? target::warp() : 0; }
  WBS_INLINE long long first_row() const {
    return tile_ * block_rows + team_of_block() * team_rows;
  }
  WBS_INLINE addresses own_row() const {
    return find_addresses(args_, first_row() + team_type::row_of_lane());
  }
  WBS_INLINE int present_rows() const {
    const long long left = args_.rows - first_row();
    return left < 0 ? 0 : left < team_rows ? static_cast<int>(left) : team_rows;
  }
  WBS_INLINE int own_length() const {
    return team_type::row_of_lane() < present_rows() ? args_.length : 0;
  }
  // The elements of an output's row.
  WBS_INLINE int kept() const { return keeps_all ? args_.length : args_.kept; }
  WBS_INLINE int own_kept() const { return team_type::row_of_lane() < present_rows() ? kept() : 0; }
  // Whether the rows of a team, so many elements each, are one contiguous run of memory.
  WBS_INLINE bool is_run(int length, long long stride, const long long* batch_stride,
                         int bytes) const {
    return stride == bytes &&
           (team_rows == 1 ||
            (args_.batch_dims == 1 && batch_stride[0] == static_cast<long long>(length) * bytes));
  }
  // Where such a run begins, or one of its rows.
  WBS_INLINE char* run_of(const void* array, const long long* batch_stride) const {
    return row_of(array, batch_stride, 0);
  }
  WBS_INLINE char* row_of(const void* array, const long long* batch_stride, int row) const {
    return static_cast<char*>(const_cast<void*>(array)) + (first_row() + row) * batch_stride[0];
  }
  // Whether the tile's rows are all present and fill the capacity. If they are contiguous, too,
  // they are plain: the common case, which must begin to load soon.
  WBS_INLINE bool is_full() const {
    return args_.length == capacity && args_.batch_dims == 1 &&
           (tile_ + 1) * block_rows <= args_.rows;
  }
  static WBS_INLINE bool is_plain(const void* array, long long stride,
                                  const long long* batch_stride, int bytes) {
    return stride == bytes && batch_stride[0] == capacity * bytes &&
           reinterpret_cast<unsigned long long>(array) % 16 == 0;
  }
  // Where this lane's first vector of so many elements is in a plain array.
  template <int Bytes, int Size = vector_size>
  WBS_INLINE char* plain_address(const void* array) const {
    constexpr unsigned tile_bytes = block_rows * capacity * Bytes;
    constexpr int team_bytes_of = team_rows * capacity * Bytes;
    char* const at = static_cast<char*>(const_cast<void*>(array)) + tile_ * tile_bytes;
    return at + team_of_block() * team_bytes_of + (first_of_warp() + target::lane() * Size) * Bytes;
  }
  // Where the warp's positions begin among those of its team.
  static WBS_INLINE int first_of_warp() {
    return team_type::team_warp() * (warp_lanes * Registers);
  }

  // -- loading ------------------------------------------------------------------------------------

  // Begins to copy the team's rows of an input into shared memory, Pitch elements apart if they are
  // no run.
  template <int Input, int Pitch, class Element>
  WBS_INLINE row_places load(Element* to) const {
    constexpr int bytes = static_cast<int>(sizeof(Element));
    const void* const array = args_.input[Input];
    const long long stride = args_.input_stride[Input];
    const long long* const batch_stride = args_.input_batch_stride[Input];
    if (is_full() && is_plain(array, stride, batch_stride, bytes)) {
      load_vectors<Input, Pitch>(to);
      return {0, Pitch, true};
    }
    if (is_run(args_.length, stride, batch_stride, bytes)) {
      using run = contiguous_run<target, Element, Registers, team_threads>;
      char* const from =
          team_rows == 1 ? const_cast<char*>(own_row().input[Input]) : run_of(array, batch_stride);
      const int lead = run::lead_of(from);
      run::template move<true>(from, to + lead, present_rows() * args_.length,
                               team_type::team_thread());
      return {lead, args_.length, lead == 0 && are_whole_vectors()};
    }
    load_strided<Input, Pitch>(to);
    return {0, Pitch, are_whole_vectors()};
  }
  template <int Input, int Pitch, class Element>
  WBS_INLINE void load_vectors(Element* to) const {
    constexpr int element_bytes = static_cast<int>(sizeof(Element));
    constexpr int size = team_type::vector_size_of(element_bytes);
    constexpr int bytes = size * element_bytes, count = Registers / size;
    constexpr int step = warp_lanes * size;
    using vector = element_vector<Element, size>;
    const char* const from = plain_address<element_bytes, size>(args_.input[Input]);
    const int first = first_of_warp() + target::lane() * size;
    // Where vector c goes, in elements.
    const auto place = [&](int c) {
      constexpr bool steps_over_rows = step % capacity == 0;
      // Written so that all but the first are a constant behind it, if they can be.
      if constexpr (team_rows == 1 || Pitch == capacity) return first + c * step;
      if constexpr (steps_over_rows) {
        return first / capacity * Pitch + first % capacity + c * (step / capacity * Pitch);
      }
      const int at = first + c * step;
      return at / capacity * Pitch + at % capacity;
    };
    if constexpr (target::has_copies && bytes >= 4) {
      const auto staged = target::shared_address(to);
      WBS_UNROLL
      for (int c = 0; c < count; ++c) {
        target::template copy<bytes>(staged + place(c) * element_bytes,
                                     from + c * (step * element_bytes));
      }
    } else {
      constexpr int burst = count % 4 == 0 ? 4 : count % 3 == 0 ? 3 : 1;
      WBS_UNROLL
      for (int c = 0; c < count; c += burst) {
        vector loaded[burst];
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) {
          loaded[i] = target::template load_global<vector>(from + (c + i) * (step * element_bytes));
        }
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) *reinterpret_cast<vector*>(to + place(c + i)) = loaded[i];
      }
    }
  }
  template <int Input, int Pitch, class Element>
  WBS_INLINE void load_strided(Element* stage) const {
    const long long stride = args_.input_stride[Input];
    const int first = team_type::lane_of_row();
    copy_elements<target, Registers, row_lanes>(own_row().input[Input] + first * stride,
                                                row_lanes * stride,
                                                stage + team_type::row_of_lane() * Pitch + first,
                                                steps_below<row_lanes>(first, own_length()));
  }

  // -- storing ------------------------------------------------------------------------------------

  // Whether both outputs are plain, or the keys are left out.
  WBS_INLINE bool stores_plain() const {
    return keeps_all && is_full() &&
           (!has_keys() || is_plain(args_.output[0], args_.output_stride[0],
                                    args_.output_batch_stride[0], key_bytes)) &&
           is_plain(args_.output[1], args_.output_stride[1], args_.output_batch_stride[1],
                    bytes_of_payload());
  }
  // Whether every row of both outputs is made of aligned vectors, and its lanes cover enough memory
  // at once. The same for all rows, so that warps stay together.
  WBS_INLINE bool stores_vectors() const {
    return lanes >= 4 && are_whole_vectors() && kept() % vector_size == 0 &&
           args_.batch_dims == 1 && (!has_keys() || has_vectors<0>(key_bytes)) &&
           has_vectors<1>(bytes_of_payload());
  }
  template <int Output>
  WBS_INLINE bool has_vectors(int bytes) const {
    return args_.output_stride[Output] == bytes &&
           is_aligned(args_.output[Output], vector_size * bytes,
                      args_.output_batch_stride[Output][0]);
  }
  // Whether the team's rows are runs of both outputs.
  WBS_INLINE bool are_runs() const {
    return (!has_keys() ||
            is_run(kept(), args_.output_stride[0], args_.output_batch_stride[0], key_bytes)) &&
           is_run(kept(), args_.output_stride[1], args_.output_batch_stride[1], bytes_of_payload());
  }
  // Where the runs of the team begin.
  WBS_INLINE addresses own_runs() const {
    if constexpr (team_rows == 1) return own_row();
    addresses result{};
    WBS_UNROLL
    for (int o = 0; o < outputs; ++o) {
      result.output[o] = run_of(args_.output[o], args_.output_batch_stride[o]);
    }
    return result;
  }
  // A lane stores at most 16 bytes of each output at once: more would take two accesses, each of
  // which covers half of many sectors.
  static constexpr WBS_HOST_DEVICE int stored_size(int payload_bytes) {
    return team_type::vector_size_of(payload_bytes < key_bytes ? key_bytes : payload_bytes);
  }
  // Whether vectors of so many bytes, of which 16 go at once, are aligned, also `step` bytes on.
  static WBS_INLINE bool is_aligned(const void* address, int bytes, long long step = 0) {
    const unsigned once = bytes < 16 ? bytes : 16;
    const auto both =
        reinterpret_cast<unsigned long long>(address) | static_cast<unsigned long long>(step);
    return (both & (once - 1)) == 0;
  }
  WBS_INLINE bool are_whole_vectors() const { return args_.length % vector_size == 0; }
  // Sorted keys may be left out where the payloads are indices.
  WBS_INLINE bool has_keys() const { return has_values || args_.output[0] != nullptr; }
  WBS_INLINE int bytes_of_payload() const {
    return has_values ? static_cast<int>(sizeof(value)) : args_.index_bytes;
  }
  // The payload of a key, by its row in the team and its index there.
  static WBS_INLINE payload_type payload_of(const staged_rows<value>& values, int row, int index) {
    if constexpr (has_values) {
      return values.element(row, index);
    } else {
      return index;
    }
  }

  // Stores rows as the stage has them: plain rows, with PayloadBytes, or rows of vectors, with 0.
  // Returns whether this lane saw neighbours in the wrong order.
  template <int PayloadBytes>
  WBS_INLINE bool store_in_order(const typename team_type::rows& rows,
                                 const staged_rows<value>& values, bool by_values) const {
    if constexpr (team_type::prefers_values) {
      if (by_values) return store_ordered<PayloadBytes, true>(rows, values);
    }
    return store_ordered<PayloadBytes, false>(rows, values);
  }
  template <int PayloadBytes, bool ByValues>
  WBS_INLINE bool store_ordered(const typename team_type::rows& rows,
                                const staged_rows<value>& values) const {
    constexpr bool are_plain = PayloadBytes != 0;
    constexpr int size = are_plain ? stored_size(PayloadBytes) : vector_size;
    // Lanes that store a run of vectors together: a warp, or those of a row.
    constexpr int group = are_plain ? warp_lanes : lanes, step = group * size;
    constexpr int pitch = team_type::network_type::blocked_pitch;
    const int own = (target::lane() & (group - 1)) * size;
    const int row_of_lane = are_plain ? 0 : team_type::row_of_lane();
    const int length = are_plain ? capacity : own_length();
    const int payload_bytes = are_plain ? PayloadBytes : bytes_of_payload();
    char *to_keys, *to_payloads;
    if constexpr (are_plain) {
      to_keys = plain_address<key_bytes, size>(args_.output[0]);
      to_payloads = plain_address<PayloadBytes, size>(args_.output[1]);
    } else {
      to_keys = row_of(args_.output[0], args_.output_batch_stride[0], row_of_lane) +
                (first_of_warp() + own) * key_bytes;
      to_payloads = row_of(args_.output[1], args_.output_batch_stride[1], row_of_lane) +
                    (first_of_warp() + own) * payload_bytes;
    }
    const entry* const from = team_.place(row_of_lane * capacity + first_of_warp());
    order_check<team_type, group, size, ByValues> check(team_, rows, length);
    each_vector<Registers / size>([&](int c) {
      const int lane_part = quotient_of<Registers, step>(own, c);
      const int later_row = are_plain && team_rows > 1 ? quotient_of<capacity, step>(own, c) : 0;
      const int at = first_of_warp() + own + c * step - later_row * capacity;
      const auto entries = *reinterpret_cast<const entry_vector<entry, size>*>(
          from + lane_part * (pitch - Registers) + (own + c * step));
      element_vector<element, size> keys;
      element_vector<payload_type, size> payloads;
      WBS_UNROLL
      for (int e = 0; e < size; ++e) {
        const int index = team_type::index_of(entries.entries[e]);
        keys.values[e] = rows.element(row_of_lane + later_row, index);
        payloads.values[e] = payload_of(values, row_of_lane + later_row, index);
      }
      const bool is_there = are_plain || at < length;
      if (keeps_all ? is_there : at < own_kept()) {
        store_elements<target>(has_keys(), payload_bytes, to_keys + c * (step * key_bytes),
                               to_payloads + c * (step * payload_bytes), keys, payloads);
      }
      check.add(keys.values, [&](int e) { return is_there && (e > 0 || at != 0); });
    });
    return check.is_wrong();
  }
  // (own + c * Step) / Divisor, where own is less than Step. It is simple if one divides the other.
  template <int Divisor, int Step>
  static WBS_INLINE int quotient_of(int own, int c) {
    if constexpr (Step % Divisor == 0 || Divisor % Step == 0) {
      return own / Divisor + c * Step / Divisor;
    } else {
      return (own + c * Step) / Divisor;
    }
  }
  // Calls `step(c)` for the vectors of a lane: a few at a time, since more would take too many
  // registers.
  template <int Count, class Step>
  static WBS_INLINE void each_vector(Step step) {
    constexpr int burst = Count % 4 == 0 ? 4 : Count % 3 == 0 ? 3 : 1;
    WBS_ROLLED
    for (int first = 0; first < Count; first += burst) {
      WBS_UNROLL
      for (int i = 0; i < burst; ++i) step(first + i);
    }
  }

  // Stores rows of any length, of which the stage has the locations, one behind the other.
  WBS_INLINE void store_arranged(const typename team_type::rows& rows,
                                 const staged_rows<value>& values) const {
    if (!are_runs()) {
      const addresses own = own_row();
      const int count = own_kept();
      const entry* const locations = team_.stage() + team_type::row_of_lane() * kept();
      WBS_ROLLED
      for (int at = team_type::lane_of_row(); at < count; at += row_lanes) {
        store_located<1>(rows, values, locations + at, own.output[0] + at * args_.output_stride[0],
                         own.output[1] + at * args_.output_stride[1]);
      }
      return;
    }
    const addresses own = own_runs();
    char* const to_keys = own.output[0];
    char* const to_payloads = own.output[1];
    const int payload_bytes = bytes_of_payload(), end = present_rows() * kept();
    if (end % vector_size == 0 && is_aligned(to_payloads, vector_size * payload_bytes) &&
        (!has_keys() || is_aligned(to_keys, vector_size * key_bytes))) {
      each_vector<Registers / vector_size>([&](int c) {
        const int number = (c * team_threads + team_type::team_thread()) * vector_size;
        if (number < end) {
          store_located<vector_size>(rows, values, team_.stage() + number,
                                     to_keys + number * key_bytes,
                                     to_payloads + number * payload_bytes);
        }
      });
    } else {
      WBS_ROLLED
      for (int number = team_type::team_thread(); number < end; number += team_threads) {
        store_located<1>(rows, values, team_.stage() + number, to_keys + number * key_bytes,
                         to_payloads + number * payload_bytes);
      }
    }
  }
  // Stores the first elements of all rows of the team; returns whether they are right.
  WBS_INLINE bool store_first(const typename team_type::rows& rows) const {
    const auto first = team_.template find_first<max_kept>(rows);
    if constexpr (team_type::prefers_values) {
      if (first.are_by_values) return store_first_ordered<true>(rows, first);
    }
    return store_first_ordered<false>(rows, first);
  }
  template <bool ByValues, class First>
  WBS_INLINE bool store_first_ordered(const typename team_type::rows& rows,
                                      const First& first) const {
    constexpr int share = (max_kept + lanes - 1) / lanes;
    const int row = team_type::row_of_lane(), own = team_type::lane_of_row();
    const int length = own_length(), count = own_kept();
    entry mine[share]{};
    WBS_UNROLL
    for (int j = 0; j < max_kept; ++j) {
      if (j % lanes == own) mine[j / lanes] = first.kept[j];
    }
    const addresses to = own_row();
    order_check<team_type, lanes, 1, ByValues> check(team_, rows, length);
    WBS_UNROLL
    for (int t = 0; t < share; ++t) {
      const int at = t * lanes + own, index = team_type::index_of(mine[t]);
      const bool is_there = at < max_kept && at < length;
      const element_vector<element, 1> key{{rows.element(row, is_there ? index : 0)}};
      if (is_there && at < count) {
        store_elements<target>(
            has_keys(), bytes_of_payload(), to.output[0] + at * args_.output_stride[0],
            to.output[1] + at * args_.output_stride[1], key, element_vector<int, 1>{{index}});
      }
      check.add(key.values, [&](int) { return is_there && at > 0; });
    }
    const bool is_wrong = check.is_wrong() || (length > max_kept && first.may_lack_one());
    return !target::any_in_warp(is_wrong);
  }
  template <int Size>
  WBS_INLINE void store_located(const typename team_type::rows& rows,
                                const staged_rows<value>& values, const entry* locations,
                                char* to_keys, char* to_payloads) const {
    const auto some = *reinterpret_cast<const entry_vector<entry, Size>*>(locations);
    element_vector<element, Size> keys;
    element_vector<payload_type, Size> payloads;
    WBS_UNROLL
    for (int e = 0; e < Size; ++e) {
      const int row = team_type::row_of(some.entries[e]);
      const int index = team_type::index_in_row(some.entries[e]);
      keys.values[e] = rows.element(row, index);
      payloads.values[e] = payload_of(values, row, index);
    }
    store_elements<target>(has_keys(), bytes_of_payload(), to_keys, to_payloads, keys, payloads);
  }

  const arguments& args_;
  long long tile_;
  team_type team_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ROWS_HPP_
