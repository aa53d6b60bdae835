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
  WBS_CONSTANT(int, tile_blocks, 1);
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
    const typename team_type::rows rows{keys, {target::warp() * warp_rows * pitch, pitch, true}};
    if constexpr (lanes == 1) {
      team.sort(rows, [&](bool by_values) {
        if constexpr (team_type::prefers_values) {
          if (by_values) return self.template store_own<true>(rows);
        }
        return self.template store_own<false>(rows);
      });
    } else {
      target::sync_block();
      team.sort(rows,
                [&](bool by_values) { return team.check(rows, by_values, self.own_length()); });
      team.arrange(args.length,
                   [](int at) { return team_type::row_of_lane() * location_pitch + at; });
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
    const long long stride_bytes = args_.input_stride[0];
    copy_elements<target, count, stride * step>(
        find_moved().input[0] + first_moved() * stride_bytes, stride * stride_bytes,
        keys_ + moved_row() * pitch + first_moved() * step,
        steps_below<stride>(first_moved(), moved_length()));
    if constexpr (target::has_copies) target::sync_copies();
  }

  // Where this thread stores the elements of a row, from one position on and `steps` apart. The
  // numbers of positions below which there are keys, and indices of 4 and of 8 bytes, make each
  // store an instruction with a condition.
  class output_places {
   public:
    WBS_INLINE output_places(const gpu_index_columns& self, int first, int steps) {
      const index_args& args = self.args_;
      const auto row = self.find_moved();
      const int length = self.moved_length();
      keys_ = row.output[0] + first * args.output_stride[0];
      indices_ = row.output[1] + first * args.output_stride[1];
      key_step_ = steps * args.output_stride[0];
      index_step_ = steps * args.output_stride[1];
      keys_end_ = args.output[0] != nullptr ? length : 0;
      short_end_ = args.index_bytes == 4 ? length : 0;
      long_end_ = args.index_bytes == 4 ? 0 : length;
    }
    // Stores what belongs at a position, and goes on to the next one.
    WBS_INLINE void store(int at, element key, int index) {
      if (at < keys_end_) target::store_global(keys_, key);
      if (at < short_end_) target::store_global(indices_, index);
      if (at < long_end_) target::store_global(indices_, static_cast<long long>(index));
      // Opaque, or the compiler would multiply.
      keys_ += target::opaque(key_step_);
      indices_ += target::opaque(index_step_);
    }

   private:
    char *keys_, *indices_;
    long long key_step_, index_step_;
    int keys_end_, short_end_, long_end_;
  };

  // Stores this thread's row. Returns whether neighbours are in the wrong order.
  template <bool ByValues>
  WBS_INLINE bool store_own(const typename team_type::rows& rows) const {
    output_places to(*this, 0, 1);
    const int length = moved_length(), lane = target::lane();
    order_check<team_type, 1, 1, ByValues> check(team_, rows, length);
    team_.each_own([&](int at, entry e) {
      const int index = team_type::index_of(e);
      const element key = rows.element(lane, index);
      to.store(at, key, index);
      check.add({key}, [&](int) { return at > 0 && at < length; });
    });
    return check.is_wrong();
  }

  WBS_INLINE void store(const char* shared) const {
    output_places to(*this, first_moved(), stride);
    const int length = moved_length();
    const int warp = moved_row() / warp_rows, row = moved_row() % warp_rows;
    const entry* const locations =
        reinterpret_cast<const entry*>(shared + warp * team_type::stage_bytes) +
        row * location_pitch;
    const element* const keys = keys_ + moved_row() * pitch;
    WBS_ROLLED
    for (int at = first_moved(); at < length; at += stride) {
      const int index = team_type::index_in_row(locations[at]);
      to.store(at, keys[index], index);
    }
  }

  const index_args& args_;
  long long tile_;
  const team_type& team_;
  element* keys_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_COLUMNS_HPP_
