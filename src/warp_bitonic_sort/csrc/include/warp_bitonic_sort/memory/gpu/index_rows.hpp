// Sorts rows with their indices: copies a team's rows into shared memory, has them sorted
// (memory/gpu/index_team.hpp), and stores keys and indices.
//
// Invariant: all loads of a row precede all stores of it, so that values may go where the keys come
// from. No byte outside the rows is read or written.
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
          int WarpBits>
class gpu_index_rows {
  using team_type = index_team<index_args, Target, Codec, KeyBits, Registers, LaneBits, WarpBits>;
  using entry = typename team_type::entry;
  using element = typename team_type::element;
  using target = typename team_type::target;
  using addresses = row_addresses<1, 2>;

  WBS_CONSTANT(int, key_bytes, team_type::key_bytes);
  WBS_CONSTANT(int, warp_lanes, team_type::warp_lanes);
  WBS_CONSTANT(int, lanes, team_type::lanes);
  WBS_CONSTANT(int, vector_size, team_type::vector_size);
  WBS_CONSTANT(int, team_threads, team_type::team_threads);
  WBS_CONSTANT(int, team_rows, team_type::team_rows);
  WBS_CONSTANT(bool, is_exact, team_type::is_exact);
  using run = contiguous_run<target, element, Registers, team_threads>;

  // A run keeps its alignment, and begins up to 15 bytes behind a multiple of 16.
  WBS_CONSTANT(int, rows_bytes, team_rows * team_type::row_bytes + 16);
  WBS_CONSTANT(int, team_bytes, team_type::stage_bytes + rows_bytes + team_type::sums_bytes);

 public:
  using arguments = index_args;
  WBS_CONSTANT(int, inputs, 1);
  WBS_CONSTANT(int, outputs, 2);
  WBS_CONSTANT(bool, tries_float_keys, false);
  WBS_CONSTANT(int, capacity, team_type::capacity);
  WBS_CONSTANT(int, row_lanes, team_type::row_lanes);
  WBS_CONSTANT(bool, prefers_loop, false);
  // Few warps of a block wait for the one that repairs its rows.
  WBS_CONSTANT(int, threads, team_type::warps > 1 ? team_threads : 2 * warp_lanes);
  WBS_CONSTANT(int, block_rows, threads / team_threads * team_rows);
  WBS_CONSTANT(int, resident_blocks, target::index_threads_for(Registers, key_bytes) / threads);
  WBS_CONSTANT(int, shared_bytes, threads / team_threads * team_bytes);

  // Sorts the rows of one tile, block_rows of them.
  static WBS_INLINE void sort(const index_args& args, long long tile, void* shared) {
    char* const own = static_cast<char*>(shared) + team_of_block() * team_bytes;
    char* const keys = own + team_type::stage_bytes;
    const team_type team(args, reinterpret_cast<entry*>(own), keys + rows_bytes);
    const auto rows = gpu_index_rows(args, tile, team).load(reinterpret_cast<element*>(keys));
    team.sort(rows, [&](bool by_values) {
      // Opaque, or what depends on it would be kept in registers while the entries are sorted.
      return gpu_index_rows(args, target::opaque(tile), team).store(rows, by_values);
    });
    team_type::sync();
  }

 private:
  WBS_INLINE gpu_index_rows(const index_args& args, long long tile, const team_type& team)
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
  // Where this lane's first vector is in a plain array.
  template <int Bytes>
  WBS_INLINE char* plain_address(const void* array) const {
    constexpr unsigned tile_bytes = block_rows * capacity * Bytes;
    constexpr int team_bytes_of = team_rows * capacity * Bytes;
    char* const at = static_cast<char*>(const_cast<void*>(array)) + tile_ * tile_bytes;
    return at + team_of_block() * team_bytes_of +
           (team_type::team_warp() * warp_lanes * Registers + target::lane() * vector_size) * Bytes;
  }

  // -- loading ------------------------------------------------------------------------------------

  // Copies the team's rows into shared memory.
  WBS_INLINE typename team_type::rows load(element* keys) const {
    typename team_type::rows rows{keys, team_type::row_pitch, true};
    if (is_full() &&
        is_plain(args_.input[0], args_.input_stride[0], args_.input_batch_stride[0], key_bytes)) {
      load_vectors(keys);
    } else if (is_run(args_.input_stride[0], args_.input_batch_stride[0], key_bytes)) {
      char* const from = team_rows == 1 ? const_cast<char*>(own_row().input[0])
                                        : run_of(args_.input[0], args_.input_batch_stride[0]);
      rows = {keys + run::lead_of(from), args_.length, false};
      run::template move<true>(from, rows.keys, present_rows() * args_.length,
                               team_type::team_thread());
    } else {
      load_strided(keys);
      rows.are_wide = args_.length == capacity;
    }
    team_type::sync();
    return rows;
  }
  // Vectors of a warp follow each other.
  WBS_CONSTANT(int, vectors, Registers / vector_size);
  WBS_CONSTANT(int, warp_step, warp_lanes * vector_size);
  WBS_INLINE void load_vectors(element* keys) const {
    using vector = element_vector<element, vector_size>;
    constexpr int bytes = vector_size * key_bytes;
    const char* const from = plain_address<key_bytes>(args_.input[0]);
    const int first =
        team_type::team_warp() * warp_lanes * Registers + target::lane() * vector_size;
    const auto place = [&](int c) {
      constexpr bool steps_over_rows = warp_step % capacity == 0;
      // Written so that all but the first are a constant behind it, if they can be.
      if constexpr (team_rows == 1) return keys + first + c * warp_step;
      if constexpr (steps_over_rows) {
        return keys + first / capacity * team_type::row_pitch + first % capacity +
               c * (warp_step / capacity * team_type::row_pitch);
      }
      const int at = first + c * warp_step;
      return keys + at / capacity * team_type::row_pitch + at % capacity;
    };
    if constexpr (target::has_copies && bytes >= 4) {
      WBS_UNROLL
      for (int c = 0; c < vectors; ++c) {
        target::template copy<bytes>(place(c), from + c * (warp_step * key_bytes));
      }
      target::sync_copies();
    } else {
      constexpr int burst = vectors % 4 == 0 ? 4 : vectors % 3 == 0 ? 3 : 1;
      WBS_UNROLL
      for (int c = 0; c < vectors; c += burst) {
        vector loaded[burst];
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) {
          loaded[i] =
              target::template load_global<vector>(from + (c + i) * (warp_step * key_bytes));
        }
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) *reinterpret_cast<vector*>(place(c + i)) = loaded[i];
      }
    }
  }
  WBS_INLINE void load_strided(element* keys) const {
    const char* const from = own_row().input[0];
    const int count = team_type::row_of_lane() < present_rows() ? args_.length : 0;
    copy_elements<target, element, Registers>(
        [&](int c, int& to) {
          const int at = c * row_lanes + team_type::lane_of_row();
          to = team_type::row_of_lane() * team_type::row_pitch + at;
          return at < count ? from + at * args_.input_stride[0] : nullptr;
        },
        keys);
  }

  // -- storing ------------------------------------------------------------------------------------

  // Stores the rows as the stage has them. Returns whether this lane saw neighbours in the wrong
  // order.
  WBS_INLINE bool store(const typename team_type::rows& rows, bool by_values) const {
    const void* const values = args_.output[0];
    const void* const indices = args_.output[1];
    const int index_bytes = args_.index_bytes;
    if (is_full() &&
        (values == nullptr ||
         is_plain(values, args_.output_stride[0], args_.output_batch_stride[0], key_bytes)) &&
        is_plain(indices, args_.output_stride[1], args_.output_batch_stride[1], index_bytes)) {
      if (index_bytes == 4) {
        return store_vectors<4>(rows, by_values, plain_address<key_bytes>(values),
                                plain_address<4>(indices));
      }
      return store_vectors<8>(rows, by_values, plain_address<key_bytes>(values),
                              plain_address<8>(indices));
    }
    const bool are_runs = (values == nullptr || is_run(args_.output_stride[0],
                                                       args_.output_batch_stride[0], key_bytes)) &&
                          is_run(args_.output_stride[1], args_.output_batch_stride[1], index_bytes);
    if (!are_runs) {
      const addresses row = own_row();
      return store_elements_of<lanes>(rows, row.output[0], row.output[1]);
    }
    char* to_values;
    char* to_indices;
    if constexpr (team_rows == 1) {
      const addresses row = own_row();
      to_values = row.output[0];
      to_indices = row.output[1];
    } else {
      to_values = run_of(values, args_.output_batch_stride[0]);
      to_indices = run_of(indices, args_.output_batch_stride[1]);
    }
    if (args_.length < vector_size || present_rows() * args_.length % vector_size != 0 ||
        !is_aligned(to_indices, vector_size * index_bytes < 16 ? vector_size * index_bytes : 16) ||
        (values != nullptr && !is_aligned(to_values, vector_size * key_bytes))) {
      return store_elements_of<warp_lanes>(rows, to_values, to_indices);
    }
    const int first = first_of_warp() + target::lane() * vector_size;
    to_values += first * key_bytes;
    to_indices += first * index_bytes;
    return store_vectors<0>(rows, by_values, to_values, to_indices);
  }
  static WBS_INLINE bool is_aligned(const char* address, int bytes) {
    return reinterpret_cast<unsigned long long>(address) % static_cast<unsigned>(bytes) == 0;
  }
  // Where the warp's positions begin among those of its team.
  static WBS_INLINE int first_of_warp() {
    return team_type::team_warp() * (warp_lanes * Registers);
  }

  // Stores runs of rows by vectors; the addresses are those of this lane's first one. With the
  // bytes of an index, all rows are full; without them (0), their elements are whole
  // vectors.
  template <int IndexBytes>
  WBS_INLINE bool store_vectors(const typename team_type::rows& rows, bool by_values,
                                char* to_values, char* to_indices) const {
    if constexpr (team_type::prefers_values) {
      if (by_values) return store_ordered<IndexBytes, true>(rows, to_values, to_indices);
    }
    return store_ordered<IndexBytes, false>(rows, to_values, to_indices);
  }
  template <int IndexBytes, bool ByValues>
  WBS_INLINE bool store_ordered(const typename team_type::rows& rows, char* to_values,
                                char* to_indices) const {
    constexpr int size = vector_size;
    constexpr bool are_full = IndexBytes != 0;
    const int index_bytes = are_full ? IndexBytes : args_.index_bytes;
    const int length = are_full ? capacity : args_.length;
    const int end = are_full ? team_rows * capacity : present_rows() * length;
    const row_finder find_row(length);
    order_check<team_type, warp_lanes, size, ByValues> check(team_, rows, length);
    const auto step = [&](int c) {
      const int number = first_of_warp() + c * warp_step + target::lane() * size;
      const int row = are_full && team_rows > 1 ? number / capacity : find_row(number);
      const int at = number - row * length;
      element_vector<element, size> values{};
      element_vector<int, size> indices{};
      // A vector may have the end of one row and the beginning of the next.
      const auto is_next = [&](int e) { return !are_full && team_rows > 1 && at + e >= length; };
      WBS_UNROLL
      for (int e = 0; e < size; ++e) {
        if (!are_full && number >= end) continue;
        const int skipped = is_next(e) ? capacity - length : 0;
        indices.values[e] = team_type::index_of(*team_.place(row * capacity + at + skipped + e));
        values.values[e] = rows.key(row + is_next(e), indices.values[e]);
      }
      char* const values_at = to_values + c * (warp_step * key_bytes);
      char* const indices_at = to_indices + c * (warp_step * index_bytes);
      if (are_full || number < end) {
        store_elements<target>(args_.output[0] != nullptr, index_bytes, values_at, indices_at,
                               values, indices);
      }
      check.add(values.values, [&](int e) {
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
  WBS_INLINE bool store_elements_of(const typename team_type::rows& rows, char* to_values,
                                    char* to_indices) const {
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
      element value{};
      if (number < end) {
        const int index = team_type::index_of(*team_.place(row * capacity + at));
        value = rows.key(row, index);
        store_elements<target, element, 1>(args_.output[0] != nullptr, args_.index_bytes,
                                           to_values + number * args_.output_stride[0],
                                           to_indices + number * args_.output_stride[1], {value},
                                           {index});
      }
      check.add({value}, [&](int) { return number < end && at > 0; });
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

  const index_args& args_;
  long long tile_;
  team_type team_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ROWS_HPP_
