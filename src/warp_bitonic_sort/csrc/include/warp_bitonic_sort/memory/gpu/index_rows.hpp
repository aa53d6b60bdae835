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
#include <warp_bitonic_sort/memory/gpu/addresses.hpp>
#include <warp_bitonic_sort/memory/gpu/index_output.hpp>
#include <warp_bitonic_sort/memory/gpu/index_team.hpp>
#include <warp_bitonic_sort/memory/gpu/order_check.hpp>
#include <warp_bitonic_sort/memory/gpu/run.hpp>

namespace warp_bitonic_sort {

template <template <class> class Target, codec_kind Codec, int KeyBits, int Registers, int LaneBits,
          int WarpBits, int ValueBits = 0>
class gpu_index_rows {
  WBS_CONSTANT(bool, has_values, ValueBits != 0);

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
  WBS_CONSTANT(bool, is_exact, team_type::is_exact);

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
  WBS_CONSTANT(int, block_rows, threads / team_threads * team_rows);
  // Values take some registers more. Shared memory holds no more rows of many registers.
  WBS_CONSTANT(int, most_threads, target::index_threads_for(Registers, key_bytes));
  WBS_CONSTANT(int, resident_blocks,
               (has_values && Registers > 16 ? most_threads * 3 / 4 : most_threads) / threads);
  WBS_CONSTANT(int, shared_bytes, threads / team_threads * team_bytes);

  // Sorts the rows of one tile, block_rows of them.
  static WBS_INLINE void sort(const arguments& args, long long tile, void* shared) {
    char* const own = static_cast<char*>(shared) + team_of_block() * team_bytes;
    char* const keys = own + team_type::stage_bytes;
    char* const values = keys + keys_bytes;
    const team_type team(args, reinterpret_cast<entry*>(own), values + values_bytes);
    const gpu_index_rows all(args, tile, team);
    const auto keys_at =
        all.template load<0, team_type::row_pitch>(reinterpret_cast<element*>(keys));
    staged<value> values_at{};
    if constexpr (has_values) {
      values_at = all.template load<1, capacity>(reinterpret_cast<value*>(values));
    }
    if constexpr (target::has_copies) target::sync_copies();
    team_type::sync();
    const typename team_type::rows rows{keys_at.first, keys_at.pitch, keys_at.are_wide};
    team.sort(rows, [&](bool by_values) {
      // Opaque, or what depends on it would be kept in registers while the entries are sorted.
      return gpu_index_rows(args, target::opaque(tile), team).store(rows, values_at, by_values);
    });
    team_type::sync();
  }

 private:
  // Rows in shared memory: row r begins at first[r * pitch]. Wide rows fill the capacity, and
  // vectors of them are aligned.
  template <class Element>
  struct staged {
    Element* first;
    int pitch;
    bool are_wide;
  };

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
  // Whether the rows of a team are one contiguous run of memory.
  WBS_INLINE bool is_run(long long stride, const long long* batch_stride, int bytes) const {
    return stride == bytes &&
           (team_rows == 1 || (args_.batch_dims == 1 &&
                               batch_stride[0] == static_cast<long long>(args_.length) * bytes));
  }
  // Where such a run begins.
  WBS_INLINE char* run_of(const void* array, const long long* batch_stride) const {
    const auto at = reinterpret_cast<unsigned long long>(array);
    return reinterpret_cast<char*>(at + first_row() * batch_stride[0]);
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
  WBS_INLINE staged<Element> load(Element* to) const {
    constexpr int bytes = static_cast<int>(sizeof(Element));
    const void* const array = args_.input[Input];
    const long long stride = args_.input_stride[Input];
    const long long* const batch_stride = args_.input_batch_stride[Input];
    if (is_full() && is_plain(array, stride, batch_stride, bytes)) {
      load_vectors<Input, Pitch>(to);
      return {to, Pitch, true};
    }
    if (is_run(stride, batch_stride, bytes)) {
      using run = contiguous_run<target, Element, Registers, team_threads>;
      char* const from =
          team_rows == 1 ? const_cast<char*>(own_row().input[Input]) : run_of(array, batch_stride);
      to += run::lead_of(from);
      run::template move<true>(from, to, present_rows() * args_.length, team_type::team_thread());
      return {to, args_.length, false};
    }
    load_strided<Input, Pitch>(to);
    return {to, Pitch, args_.length == capacity};
  }
  // Vectors of a warp follow each other.
  template <int Input, int Pitch, class Element>
  WBS_INLINE void load_vectors(Element* to) const {
    constexpr int element_bytes = static_cast<int>(sizeof(Element));
    constexpr int size = team_type::vector_size_of(element_bytes);
    constexpr int bytes = size * element_bytes, vectors = Registers / size;
    constexpr int warp_step = warp_lanes * size;
    using vector = element_vector<Element, size>;
    const char* const from = plain_address<element_bytes, size>(args_.input[Input]);
    const int first = first_of_warp() + target::lane() * size;
    const auto place = [&](int c) {
      constexpr bool steps_over_rows = warp_step % capacity == 0;
      // Written so that all but the first are a constant behind it, if they can be.
      if constexpr (team_rows == 1 || Pitch == capacity) return to + first + c * warp_step;
      if constexpr (steps_over_rows) {
        return to + first / capacity * Pitch + first % capacity +
               c * (warp_step / capacity * Pitch);
      }
      const int at = first + c * warp_step;
      return to + at / capacity * Pitch + at % capacity;
    };
    if constexpr (target::has_copies && bytes >= 4) {
      WBS_UNROLL
      for (int c = 0; c < vectors; ++c) {
        target::template copy<bytes>(place(c), from + c * (warp_step * element_bytes));
      }
    } else {
      constexpr int burst = vectors % 4 == 0 ? 4 : vectors % 3 == 0 ? 3 : 1;
      WBS_UNROLL
      for (int c = 0; c < vectors; c += burst) {
        vector loaded[burst];
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) {
          loaded[i] =
              target::template load_global<vector>(from + (c + i) * (warp_step * element_bytes));
        }
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) *reinterpret_cast<vector*>(place(c + i)) = loaded[i];
      }
    }
  }
  template <int Input, int Pitch, class Element>
  WBS_INLINE void load_strided(Element* stage) const {
    const char* const from = own_row().input[Input];
    const int count = team_type::row_of_lane() < present_rows() ? args_.length : 0;
    copy_elements<target, Element, Registers>(
        [&](int c, int& to) {
          const int at = c * row_lanes + team_type::lane_of_row();
          to = team_type::row_of_lane() * Pitch + at;
          return at < count ? from + at * args_.input_stride[Input] : nullptr;
        },
        stage);
  }

  // -- storing ------------------------------------------------------------------------------------

  // Stores the rows as the stage has them. Returns whether this lane saw neighbours in the wrong
  // order.
  WBS_INLINE bool store(const typename team_type::rows& rows, const staged<value>& values,
                        bool by_values) const {
    const void* const keys = args_.output[0];
    const void* const payloads = args_.output[1];
    const int payload_bytes = find_payload_bytes();
    if (is_full() &&
        (!has_keys() ||
         is_plain(keys, args_.output_stride[0], args_.output_batch_stride[0], key_bytes)) &&
        is_plain(payloads, args_.output_stride[1], args_.output_batch_stride[1], payload_bytes)) {
      if (payload_bytes == 4) {
        return store_vectors<4>(rows, values, by_values, plain_address<key_bytes>(keys),
                                plain_address<4>(payloads));
      }
      return store_vectors<8>(rows, values, by_values, plain_address<key_bytes>(keys),
                              plain_address<8>(payloads));
    }
    const bool are_runs =
        (!has_keys() || is_run(args_.output_stride[0], args_.output_batch_stride[0], key_bytes)) &&
        is_run(args_.output_stride[1], args_.output_batch_stride[1], payload_bytes);
    if (!are_runs) {
      const addresses row = own_row();
      return store_elements_of<lanes>(rows, values, row.output[0], row.output[1]);
    }
    char* to_keys;
    char* to_payloads;
    if constexpr (team_rows == 1) {
      const addresses row = own_row();
      to_keys = row.output[0];
      to_payloads = row.output[1];
    } else {
      to_keys = run_of(keys, args_.output_batch_stride[0]);
      to_payloads = run_of(payloads, args_.output_batch_stride[1]);
    }
    if (args_.length < vector_size || present_rows() * args_.length % vector_size != 0 ||
        !is_aligned(to_payloads, vector_size * payload_bytes) ||
        (has_keys() && !is_aligned(to_keys, vector_size * key_bytes))) {
      return store_elements_of<warp_lanes>(rows, values, to_keys, to_payloads);
    }
    const int first = first_of_warp() + target::lane() * vector_size;
    to_keys += first * key_bytes;
    to_payloads += first * payload_bytes;
    return store_vectors<0>(rows, values, by_values, to_keys, to_payloads);
  }
  // Whether vectors of so many bytes, which are at most 16 bytes at once, are aligned.
  static WBS_INLINE bool is_aligned(const char* address, int bytes) {
    const unsigned once = bytes < 16 ? bytes : 16;
    return (reinterpret_cast<unsigned long long>(address) & (once - 1)) == 0;
  }
  // Sorted keys may be left out where the payloads are indices.
  WBS_INLINE bool has_keys() const { return has_values || args_.output[0] != nullptr; }
  WBS_INLINE int find_payload_bytes() const {
    return has_values ? static_cast<int>(sizeof(value)) : args_.index_bytes;
  }
  // The payload of a key, by its row in the team and its index there.
  static WBS_INLINE payload_type payload_of(const staged<value>& values, int row, int index) {
    if constexpr (has_values) {
      return values.first[row * values.pitch + index];
    } else {
      return index;
    }
  }

  // Stores runs of rows by vectors; the addresses are those of this lane's first one. With the
  // bytes of a payload, all rows are full; without them (0), their elements are whole vectors.
  template <int PayloadBytes>
  WBS_INLINE bool store_vectors(const typename team_type::rows& rows, const staged<value>& values,
                                bool by_values, char* to_keys, char* to_payloads) const {
    if constexpr (team_type::prefers_values) {
      if (by_values) return store_ordered<PayloadBytes, true>(rows, values, to_keys, to_payloads);
    }
    return store_ordered<PayloadBytes, false>(rows, values, to_keys, to_payloads);
  }
  template <int PayloadBytes, bool ByValues>
  WBS_INLINE bool store_ordered(const typename team_type::rows& rows, const staged<value>& values,
                                char* to_keys, char* to_payloads) const {
    constexpr int size = vector_size, vectors = Registers / size, warp_step = warp_lanes * size;
    constexpr bool are_full = PayloadBytes != 0;
    const int payload_bytes = are_full ? PayloadBytes : find_payload_bytes();
    const int length = are_full ? capacity : args_.length;
    const int end = are_full ? team_rows * capacity : present_rows() * length;
    const row_finder find_row(length);
    order_check<team_type, warp_lanes, size, ByValues> check(team_, rows, length);
    const auto step = [&](int c) {
      const int number = first_of_warp() + c * warp_step + target::lane() * size;
      const int row = are_full && team_rows > 1 ? number / capacity : find_row(number);
      const int at = number - row * length;
      element_vector<element, size> keys{};
      element_vector<payload_type, size> payloads{};
      // A vector may have the end of one row and the beginning of the next.
      const auto is_next = [&](int e) { return !are_full && team_rows > 1 && at + e >= length; };
      WBS_UNROLL
      for (int e = 0; e < size; ++e) {
        if (!are_full && number >= end) continue;
        const int skipped = is_next(e) ? capacity - length : 0;
        const int index = team_type::index_of(*team_.place(row * capacity + at + skipped + e));
        payloads.values[e] = payload_of(values, row + is_next(e), index);
        keys.values[e] = rows.key(row + is_next(e), index);
      }
      char* const keys_at = to_keys + c * (warp_step * key_bytes);
      char* const payloads_at = to_payloads + c * (warp_step * payload_bytes);
      if (are_full || number < end) {
        store_elements<target>(has_keys(), payload_bytes, keys_at, payloads_at, keys, payloads);
      }
      check.add(keys.values, [&](int e) {
        return (are_full || number < end) && (e > 0 ? at + e != length : at != 0);
      });
    };
    if constexpr (are_full) {
      // More at once would take too many registers.
      constexpr int burst = vectors % 4 == 0 ? 4 : vectors % 3 == 0 ? 3 : 1;
      WBS_ROLLED
      for (int first = 0; first < vectors; first += burst) {
        WBS_UNROLL
        for (int c = 0; c < burst; ++c) step(first + c);
      }
    } else {
      WBS_ROLLED
      for (int c = 0; c < vectors; ++c) step(c);
    }
    return check.is_wrong();
  }

  // Stores rows element by element: a team's run, or each row by its Group of lanes.
  template <int Group>
  WBS_INLINE bool store_elements_of(const typename team_type::rows& rows,
                                    const staged<value>& values, char* to_keys,
                                    char* to_payloads) const {
    constexpr bool is_run = Group == warp_lanes;
    const int length = args_.length, present = present_rows();
    const int end = is_run ? present * length : team_type::row_of_lane() < present ? length : 0;
    const row_finder find_row(length);
    order_check<team_type, Group, 1> check(team_, rows, length);
    WBS_ROLLED
    for (int c = 0; c < Registers; ++c) {
      const int number =
          (team_type::team_warp() * Registers + c) * Group + (target::lane() & (Group - 1));
      const int row = is_run ? find_row(number) : team_type::row_of_lane();
      const int at = is_run ? number - row * length : number;
      element key{};
      if (number < end) {
        const int index = team_type::index_of(*team_.place(row * capacity + at));
        key = rows.key(row, index);
        store_elements<target, element, 1, payload_type>(
            has_keys(), find_payload_bytes(), to_keys + number * args_.output_stride[0],
            to_payloads + number * args_.output_stride[1], {key}, {payload_of(values, row, index)});
      }
      check.add({key}, [&](int) { return number < end && at > 0; });
    }
    return check.is_wrong();
  }

  // Finds the row of an element of a run by a product: exact for numbers below 2^22.
  class row_finder {
   public:
    WBS_INLINE explicit row_finder(int length)
        : reciprocal_(team_rows == 1 ? 0.0f : target::reciprocal(static_cast<float>(length))) {}
    WBS_INLINE int operator()(int number) const {
      return static_cast<int>((static_cast<float>(number) + 0.5f) * reciprocal_);
    }

   private:
    float reciprocal_;
  };

  const arguments& args_;
  long long tile_;
  team_type team_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ROWS_HPP_
