// Sorts rows that lie side by side in memory: columns.
//
// Consecutive threads load and store elements of contiguous rows. The layout says who holds a row:
// one thread; or one thread of each of several warps, each a part of it; or lanes of one warp,
// which get it through a tile of shared memory.
//
// Invariant: as for memory/gpu/rows.hpp. Any strides are right, only slower.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_COLUMNS_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_COLUMNS_HPP_

#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/memory/gpu/kernel_base.hpp>

namespace warp_bitonic_sort {

// Only the median of each row is stored if Selection says so.
template <template <class> class Target, class Keys, codec_kind Codec, selection Selection,
          int Registers, int LaneBits, int WarpBits>
class gpu_columns : kernel_base<Target, Keys, Registers, LaneBits, WarpBits> {
  static_assert(WarpBits == 0 || LaneBits == 0, "a warp holds whole rows, or parts of many");
  using base = kernel_base<Target, Keys, Registers, LaneBits, WarpBits>;
  using base::blocks_of;
  using base::find_row;
  using base::first_position;
  using base::lanes;
  using base::load_staged;
  using base::row_in_warp;
  using base::shared_rows;
  using base::stage_blocked;
  using base::warp_lanes;
  using base::warp_rows;
  using base::warps;
  using typename base::element;
  using typename base::key;
  using typename base::keys_type;
  using typename base::network_type;
  using typename base::raw;
  using typename base::row;
  using typename base::target;

  // Enough warps that the rows of a block make coalesced accesses of good_bytes. Measured: more
  // warps wait for each other too long.
  WBS_CONSTANT(int, good_bytes, 64);
  WBS_CONSTANT(int, max_warps, 8);
  WBS_CONSTANT(int, wanted_warps, good_bytes / base::key_bytes / warp_rows);
  WBS_CONSTANT(int, fitting_warps, wanted_warps < max_warps ? wanted_warps : max_warps);
  WBS_CONSTANT(int, min_warps, fitting_warps > 4 ? fitting_warps : 4);

 public:
  using arguments = wbs_args<1, 1>;
  WBS_CONSTANT(int, inputs, 1);
  WBS_CONSTANT(int, outputs, 1);
  using base::capacity;
  using base::key_bytes;
  WBS_CONSTANT(int, row_lanes, lanes * warps);
  // Rows of few lanes compile and run faster without a loop over tiles. For rows of more lanes,
  // compilers then compute what depends on the lane alone once, before the loop.
  WBS_CONSTANT(bool, prefers_loop, row_lanes > 4);
  WBS_CONSTANT(bool, tries_float_keys, false);
  WBS_CONSTANT(int, threads, (warps > min_warps ? warps : min_warps) * warp_lanes);
  WBS_CONSTANT(int, tile_blocks, 1);
  WBS_CONSTANT(int, block_rows, threads / warp_lanes / warps * warp_rows);
  // Blocks of warps that share rows have the target's bound. Other large blocks set none: with a
  // bound of one, compilers leave no registers for a second.
  WBS_CONSTANT(int, register_bytes, Registers * static_cast<int>(sizeof(key)));
  WBS_CONSTANT(int, resident_blocks,
               warps > 1       ? target::column_threads_for(register_bytes) / threads
               : threads > 128 ? 0
                               : blocks_of(threads, is_median(Selection)));

 private:
  using pads_type = typename base::template pads_of<Codec, Selection>;

  // Elements between the rows of a tile, chosen to avoid bank conflicts.
  WBS_CONSTANT(int, tile_pitch, capacity + (key_bytes < 4 ? 4 / key_bytes : 1));
  WBS_CONSTANT(int, stage_bytes,
               threads / warp_lanes * network_type::stage_entries * static_cast<int>(sizeof(key)));
  WBS_CONSTANT(int, tile_bytes, block_rows * tile_pitch * key_bytes);

 public:
  WBS_CONSTANT(int, shared_bytes,
               lanes == 1                 ? (warps == 1 ? 0 : stage_bytes)
               : stage_bytes > tile_bytes ? stage_bytes
                                          : tile_bytes);

  // Sorts the rows of one tile, block_rows of them.
  static WBS_INLINE void sort(const wbs_args<1, 1>& args, long long tile, void* shared) {
    const keys_type codec({args.key_xor, args.key_add});
    if constexpr (lanes == 1) {
      sort_by_threads(codec, args, tile, shared);
    } else {
      sort_by_lanes(codec, args, tile, shared);
    }
  }

 private:
  static WBS_INLINE void sort_by_threads(const keys_type& codec, const wbs_args<1, 1>& args,
                                         long long tile, void* shared) {
    constexpr int last = shared_rows - 1;
    const int team = target::warp() / warps, column = team * warp_lanes + target::lane();
    key* const stage = static_cast<key*>(shared) + team * warps * network_type::stage_entries;
    row rows[shared_rows];
    WBS_UNROLL
    for (int r = 0; r <= last; ++r) {
      rows[r] = find_row(args, tile * block_rows + column * shared_rows + r);
    }
    if (warps == 1 && !rows[0].present) return;
    const int first = first_position(), length = rows[0].present ? args.length : 0;
    const bool both = rows[last].present;
    const bool pair_src = both && is_pair(rows[0].src, rows[last].src, args.input_stride[0]);
    const bool pair_dst = both && is_pair(rows[0].dst, rows[last].dst, args.output_stride[0]);
    pads_type pads(codec, args, capacity);
    raw raws[Registers];
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      raws[c] = pads.at(first + c);
      if (first + c >= length) continue;
      const long long at = (first + c) * args.input_stride[0];
      if constexpr (shared_rows == 1) {
        raws[c] = element_at(rows[0].src + at);
      } else if (pair_src) {
        raws[c] = pair_at(rows[0].src + at);
      } else {
        const unsigned second = both ? element_at(rows[last].src + at) : 0;
        raws[c] = element_at(rows[0].src + at) | second << 16;
      }
    }
    if constexpr (is_median(Selection)) pads.template replace_nans<network_type>(raws, stage);
    key keys[Registers];
    base::encode(codec, raws, keys);
    if constexpr (is_median(Selection)) {
      base::store_medians(codec, args, pads, rows, keys, stage);
      if constexpr (warps > 1) target::sync_block();  // for warps that store nothing
      return;
    }
    network_type::sort(target{args.opaque_one}, keys, stage);
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      if (first + c >= length) continue;
      const long long at = (first + c) * args.output_stride[0];
      const auto raw = codec.decode(keys[c]);
      if (shared_rows == 2 && pair_dst) {
        set_pair(rows[0].dst + at, static_cast<unsigned>(raw));
        continue;
      }
      target::store_global(rows[0].dst + at, static_cast<element>(raw));
      if (shared_rows == 2 && both) {
        target::store_global(rows[last].dst + at, static_cast<element>(raw >> 16));
      }
    }
  }
  // Whether one aligned access can hold the elements of both rows at every position.
  static WBS_INLINE bool is_pair(const char* first, const char* second, long long stride) {
    return second - first == key_bytes &&
           (reinterpret_cast<unsigned long long>(first) | static_cast<unsigned long long>(stride)) %
                   (2 * key_bytes) ==
               0;
  }
  static WBS_INLINE element element_at(const char* address) {
    return target::template load_global<element>(address);
  }
  // Two contiguous elements, one in each half of a word.
  static WBS_INLINE unsigned pair_at(const char* address) {
    if constexpr (key_bytes == 2) return target::template load_global<unsigned>(address);
    const unsigned both = target::template load_global<unsigned short>(address);
    return (both & 0xFFu) | (both & 0xFF00u) << 8;
  }
  static WBS_INLINE void set_pair(char* address, unsigned both) {
    if constexpr (key_bytes == 2) {
      target::store_global(address, both);
    } else {
      target::store_global(address, static_cast<unsigned short>((both & 0xFFu) | both >> 8));
    }
  }

  static WBS_INLINE void sort_by_lanes(const keys_type& codec, const wbs_args<1, 1>& args,
                                       long long tile, void* shared) {
    key* const stage = static_cast<key*>(shared) + target::warp() * network_type::stage_entries;
    element* const elements_of_block = static_cast<element*>(shared);
    const int thread = target::warp() * warp_lanes + target::lane();
    const row moved = find_row(args, tile * block_rows + thread % block_rows);
    element* const column = elements_of_block + thread % block_rows * tile_pitch;
    constexpr int step = threads / block_rows, count = capacity / step;
    const int first = thread / block_rows;
    constexpr int burst = count < 8 ? count : 8;
    WBS_ROLLED
    for (int c = 0; c < count; c += burst) {
      element raw[burst];
      WBS_UNROLL
      for (int i = 0; i < burst; ++i) {
        const int at = first + (c + i) * step;
        if (at < args.length && moved.present) {
          raw[i] = target::template load_global<element>(moved.src + at * args.input_stride[0]);
        }
      }
      WBS_UNROLL
      for (int i = 0; i < burst; ++i) {
        const int at = first + (c + i) * step;
        if (at < args.length && moved.present) column[at] = raw[i];
      }
    }
    target::sync_block();
    const long long first_of_warp = tile * block_rows + target::warp() * warp_rows;
    element* const own_rows =
        elements_of_block + (target::warp() * warp_rows + row_in_warp()) * tile_pitch;
    pads_type pads(codec, args, capacity);
    raw raws[Registers];
    load_staged(args, pads, own_rows, tile_pitch, first_of_warp + row_in_warp() < args.rows, raws);
    target::sync_block();
    if constexpr (is_median(Selection)) pads.template replace_nans<network_type>(raws, stage);
    key keys[Registers];
    base::encode(codec, raws, keys);
    if constexpr (is_median(Selection)) {
      row rows[shared_rows];
      WBS_UNROLL
      for (int r = 0; r < shared_rows; ++r) {
        rows[r] = find_row(args, first_of_warp + row_in_warp() + r);
      }
      base::store_medians(codec, args, pads, rows, keys, stage);
      target::sync_block();
      return;
    }
    network_type::sort(target{args.opaque_one}, keys, stage);
    base::decode(codec, keys, raws);
    raw* const sorted = reinterpret_cast<raw*>(stage);
    stage_blocked(raws, sorted);
    target::sync_warp();
    base::template store_staged<true>(args, sorted, own_rows, tile_pitch);
    target::sync_block();
    WBS_ROLLED
    for (int c = 0; c < count; ++c) {
      const int at = first + c * step;
      if (at < args.length && moved.present) {
        target::store_global(moved.dst + at * args.output_stride[0], column[at]);
      }
    }
    target::sync_block();
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_COLUMNS_HPP_
