// Sorts rows that lie side by side in memory, columns, with their indices.
//
// Consecutive threads load and store elements of contiguous rows. Rows of up to 32 elements are
// sorted by one thread each, which needs no other one. Longer rows are staged in a tile, which all
// threads of a block fill.
//
// Invariant: as for memory/gpu/index_rows.hpp. Any strides are right, only slower.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_INDEX_COLUMNS_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_INDEX_COLUMNS_HPP_

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
class gpu_index_columns {
  static_assert(WarpBits == 0, "a warp holds whole rows");
  WBS_CONSTANT(int, warp_lanes, 1 << Target<int>::lane_bits);
  WBS_CONSTANT(int, lanes, 1 << LaneBits);
  WBS_CONSTANT(int, warp_rows, warp_lanes / lanes);
  WBS_CONSTANT(int, key_bytes, KeyBits / 8);
  // Enough warps that the rows of a block make coalesced accesses of good_bytes.
  WBS_CONSTANT(int, good_bytes, 64);
  WBS_CONSTANT(int, max_warps, 8);
  WBS_CONSTANT(int, wanted_warps, good_bytes / key_bytes / warp_rows);
  WBS_CONSTANT(int, fitting_warps, wanted_warps < max_warps ? wanted_warps : max_warps);

 public:
  using arguments = index_args;
  WBS_CONSTANT(int, inputs, 1);
  WBS_CONSTANT(int, outputs, 2);
  WBS_CONSTANT(bool, tries_float_keys, false);
  WBS_CONSTANT(int, capacity, Registers << LaneBits);
  WBS_CONSTANT(int, row_lanes, lanes);
  WBS_CONSTANT(bool, prefers_loop, false);
  WBS_CONSTANT(int, threads, (fitting_warps > 4 ? fitting_warps : 4) * warp_lanes);
  WBS_CONSTANT(int, block_rows, threads / warp_lanes * warp_rows);

 private:
  // Rows of one thread lie side by side in the tile, others one behind the other. Their pitch is
  // odd in words, so that threads with a row each have no bank conflicts, and lanes that share rows
  // have few.
  WBS_CONSTANT(int, step, lanes == 1 ? threads : 1);
  WBS_CONSTANT(int, lane_words, lanes * key_bytes / 4);
  WBS_CONSTANT(int, padding, key_bytes < 4 ? (lane_words | 1) * 4 / key_bytes : lanes + 1);
  WBS_CONSTANT(int, pitch, lanes == 1 ? 1 : capacity + padding);
  using team_type = index_team<index_args, Target, Codec, KeyBits, Registers, LaneBits, 0, step, 1>;
  using entry = typename team_type::entry;
  using element = typename team_type::element;
  using target = typename team_type::target;
  WBS_CONSTANT(int, stage_bytes, threads / warp_lanes * team_type::stage_bytes);
  // Between the rows of a warp in its part of the stage, when it has the sorted locations.
  WBS_CONSTANT(int, location_pitch, capacity + lanes + 1);
  static_assert(lanes == 1 || warp_rows * location_pitch * sizeof(entry) <= team_type::stage_bytes,
                "the stage holds the locations");

 public:
  WBS_CONSTANT(int, resident_blocks, target::index_threads_for(Registers, key_bytes) / threads);
  WBS_CONSTANT(int, shared_bytes,
               stage_bytes + (lanes == 1 ? capacity : pitch) * block_rows * key_bytes);

  // Sorts the rows of one tile, block_rows of them.
  static WBS_INLINE void sort(const index_args& args, long long tile, void* shared) {
    char* const stage = static_cast<char*>(shared) + target::warp() * team_type::stage_bytes;
    element* const keys = reinterpret_cast<element*>(static_cast<char*>(shared) + stage_bytes);
    const team_type team(args, reinterpret_cast<entry*>(stage), nullptr);
    const gpu_index_columns self(args, tile, team, keys);
    self.load();
    const typename team_type::rows rows{keys, {target::warp() * warp_rows * pitch, pitch, false}};
    if constexpr (lanes == 1) {
      team.sort(rows, [&](bool) { return self.store_own(rows); });
    } else {
      target::sync_block();
      team.sort(rows,
                [&](bool by_values) { return team.check(rows, by_values, self.own_length()); });
      team.arrange([](int at) { return team_type::row_of_lane() * location_pitch + at; });
      target::sync_block();
      self.store(static_cast<const char*>(shared));
      target::sync_block();
    }
  }

 private:
  WBS_INLINE gpu_index_columns(const index_args& args, long long tile, const team_type& team,
                               element* keys)
      : args_(args), tile_(tile), team_(team), keys_(keys) {}

  // A thread loads and stores every threads / block_rows-th element of a row.
  WBS_CONSTANT(int, stride, threads / block_rows);
  WBS_CONSTANT(int, count, capacity / stride);
  static WBS_INLINE int thread() { return target::warp() * warp_lanes + target::lane(); }
  static WBS_INLINE int moved_row() { return thread() % block_rows; }
  static WBS_INLINE int first_moved() { return thread() / block_rows; }
  // Of this lane's row, for the sort.
  WBS_INLINE int own_length() const {
    const long long row =
        tile_ * block_rows + target::warp() * warp_rows + team_type::row_of_lane();
    return row < args_.rows ? args_.length : 0;
  }
  // Of the row that this thread moves.
  WBS_INLINE int moved_length() const {
    return tile_ * block_rows + moved_row() < args_.rows ? args_.length : 0;
  }
  WBS_INLINE row_addresses<1, 2> find_moved() const {
    return find_addresses(args_, tile_ * block_rows + moved_row());
  }

  WBS_INLINE void load() const {
    const char* const from = find_moved().input[0];
    const int length = moved_length();
    copy_elements<target, element, count>(
        [&](int c, int& to) {
          const int at = first_moved() + c * stride;
          to = moved_row() * pitch + at * step;
          return at < length ? from + at * args_.input_stride[0] : nullptr;
        },
        keys_);
    if constexpr (target::has_copies) target::sync_copies();
  }

  // Stores this thread's row. Returns whether neighbours are in the wrong order.
  WBS_INLINE bool store_own(const typename team_type::rows& rows) const {
    const auto to = find_moved();
    const int length = moved_length(), lane = target::lane();
    order_check<team_type, 1, 1> check(team_, rows, length);
    team_.each_own([&](int at, entry e) {
      if (at >= length) return;
      const int index = team_type::index_of(e);
      const element value = rows.element(lane, index);
      store_elements<target, element, 1>(
          args_.output[0] != nullptr, args_.index_bytes, to.output[0] + at * args_.output_stride[0],
          to.output[1] + at * args_.output_stride[1], {value}, {index});
      check.add({value}, [&](int) { return at > 0; });
    });
    return check.is_wrong();
  }

  WBS_INLINE void store(const char* shared) const {
    const auto to = find_moved();
    const int length = moved_length();
    const int warp = moved_row() / warp_rows, row = moved_row() % warp_rows;
    const entry* const locations =
        reinterpret_cast<const entry*>(shared + warp * team_type::stage_bytes) +
        row * location_pitch;
    const element* const keys = keys_ + moved_row() * pitch;
    WBS_ROLLED
    for (int c = 0; c < count; ++c) {
      const int at = first_moved() + c * stride;
      if (at >= length) break;
      const int index = team_type::index_in_row(locations[at]);
      store_elements<target, element, 1>(
          args_.output[0] != nullptr, args_.index_bytes, to.output[0] + at * args_.output_stride[0],
          to.output[1] + at * args_.output_stride[1], {keys[index]}, {index});
    }
  }

  const index_args& args_;
  long long tile_;
  const team_type& team_;
  element* keys_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_COLUMNS_HPP_
