// Sorts rows whose elements are contiguous, or at any stride.
//
// A warp loads its rows in any order of keys, sorts them (network/warp.hpp), stages the result in
// shared memory and stores it. Rows shorter than the capacity are padded in registers. Aligned rows
// are accessed directly, with vectors of up to 16 bytes a lane. A run of contiguous unaligned rows
// is moved through the stage. All other rows are moved element by element.
//
// Invariant: every load of a row precedes every store of it, so that sorting in place is right. No
// byte outside the rows is read or written.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_ROWS_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_ROWS_HPP_

#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/memory/gpu/kernel_base.hpp>
#include <warp_bitonic_sort/memory/gpu/run.hpp>

namespace warp_bitonic_sort {

// Only the median of each row is stored if Selection says so.
template <template <class> class Target, class Keys, codec_kind Codec, selection Selection,
          int Registers, int LaneBits, int WarpBits>
class gpu_rows : kernel_base<Target, Keys, Registers, LaneBits, WarpBits> {
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
  WBS_CONSTANT(int, stage_bytes, network_type::stage_entries * static_cast<int>(sizeof(key)));
  // Shared memory up to which a block has the target's number of warps.
  WBS_CONSTANT(int, row_warps_bytes, 48 * 1024);
  WBS_CONSTANT(int, min_warps,
               LaneBits == target::lane_bits &&
                       target::min_row_warps * stage_bytes <= row_warps_bytes
                   ? target::min_row_warps
                   : 4);
  WBS_CONSTANT(int, threads, (warps < min_warps ? min_warps : warps) * warp_lanes);
  WBS_CONSTANT(int, tile_blocks, 1);
  WBS_CONSTANT(int, block_rows, threads / warp_lanes / warps * warp_rows);
  WBS_CONSTANT(int, resident_blocks, blocks_of(threads, is_median(Selection)));
  WBS_CONSTANT(int, shared_bytes, threads / warp_lanes * stage_bytes);

  // Some targets compare floats faster than their codes. Rows without NaN and -0.0 are then sorted
  // as floats. Short rows only: this doubles the kernel and its compile time.
  WBS_CONSTANT(int, max_float_capacity, 128);
  WBS_CONSTANT(bool, tries_float_keys,
               target::has_float_keys && allows_float_keys<Keys> && capacity <= max_float_capacity);
  using float_rows = gpu_rows<Target, float_keys, Codec, Selection, Registers, LaneBits, WarpBits>;

  // Sorts the rows of one tile, block_rows of them. Returns false, with nothing written, if Keys
  // are floats and a row holds a NaN or -0.0.
  static WBS_INLINE bool sort(const wbs_args<1, 1>& args, long long tile, void* shared) {
    const keys_type codec({args.key_xor, args.key_add});
    key* const stage =
        static_cast<key*>(shared) + target::warp() / warps * warps * network_type::stage_entries;
    key* const own = network_type::own(stage);
    const long long first_of_warp = tile * block_rows + target::warp() / warps * warp_rows;
    row rows[shared_rows];
    WBS_UNROLL
    for (int r = 0; r < shared_rows; ++r) {
      rows[r] = find_row(args, first_of_warp + target::lane() / lanes * shared_rows + r);
    }
    bool reads_wide, writes_wide;
    find_wide(args, reads_wide, writes_wide);
    pads_type pads(codec, args, capacity);
    raw raws[Registers];
    if (reads_wide) {
      if (args.length == capacity && (tile + 1) * block_rows <= args.rows) {
        load<true>(pads, args, rows, raws);
      } else {
        load<false>(pads, args, rows, raws);
      }
    } else {
      element* in_stage = reinterpret_cast<element*>(own);
      int pitch = strided_pitch;
      if (is_run(args, args.input_stride[0], args.input_batch_stride[0])) {
        char* const from = const_cast<char*>(first_row(args, first_of_warp, rows[0]).src);
        in_stage += run::lead_of(from);
        pitch = args.length;
        run::template move<true>(from, in_stage, run_length(args, first_of_warp), target::lane());
      } else {
        move_strided<true>(args, rows, in_stage);
      }
      if constexpr (target::has_copies) target::sync_copies();
      target::sync_warp();
      load_staged(args, pads, in_stage + row_in_warp() * pitch, pitch, rows[0].present, raws);
      target::sync_warp();
    }
    if constexpr (is_median(Selection)) pads.template replace_nans<network_type>(raws, stage);
    key keys[Registers];
    base::encode(codec, raws, keys);
    if constexpr (is_float_keys<Keys>) {
      if (target::any_in_warp(target::any_special(keys, codec.negative_zero()))) return false;
    }
    if constexpr (is_median(Selection)) {
      base::store_medians(codec, args, pads, rows, keys, stage);
      if constexpr (WarpBits > 0) target::sync_block();
      return true;
    }
    network_type::sort(target{args.opaque_one}, keys, stage);
    base::decode(codec, keys, raws);
    // A lane with one access has nothing to exchange with others.
    if constexpr (Registers == vector_size && WarpBits == 0 && shared_rows == 1) {
      if (writes_wide) {
        store_own(args, rows, raws);
        return true;
      }
    }
    raw* const sorted = reinterpret_cast<raw*>(own);
    stage_blocked(raws, sorted);
    target::sync_warp();
    if (writes_wide) {
      store(args, rows, sorted);
    } else {
      element* in_stage = reinterpret_cast<element*>(own);
      const bool leaves_as_run = is_run(args, args.output_stride[0], args.output_batch_stride[0]);
      char* const to = leaves_as_run ? first_row(args, first_of_warp, rows[0]).dst : nullptr;
      const int pitch = leaves_as_run ? args.length : strided_pitch;
      if (leaves_as_run) in_stage += run::lead_of(to);
      base::template store_staged<false>(args, sorted, in_stage + row_in_warp() * pitch, pitch);
      target::sync_warp();
      if (leaves_as_run) {
        run::template move<false>(to, in_stage, run_length(args, first_of_warp), target::lane());
      } else {
        move_strided<false>(args, rows, in_stage);
      }
    }
    target::sync_warp();
    return true;
  }

 private:
  // Elements that a lane moves at once.
  WBS_CONSTANT(int, even_part, Registers & -Registers);
  WBS_CONSTANT(int, vector_size, even_part < 16 / key_bytes ? even_part : 16 / key_bytes);
  template <int Size>
  using elements = typename base::template elements<Size>;
  using pads_type = typename base::template pads_of<Codec, Selection>;
  using run = contiguous_run<target, element, Registers * shared_rows, warp_lanes>;

  // Whether rows can be loaded, and stored, as aligned vectors of vector_size elements. One loop
  // for both, because a loop is slow to compile.
  static WBS_INLINE void find_wide(const wbs_args<1, 1>& args, bool& reads, bool& writes) {
    unsigned long long from = reinterpret_cast<unsigned long long>(args.input[0]);
    unsigned long long to = reinterpret_cast<unsigned long long>(args.output[0]);
    WBS_ROLLED
    for (int i = 0; i < args.batch_dims; ++i) {
      from |= static_cast<unsigned long long>(args.input_batch_stride[0][i]);
      to |= static_cast<unsigned long long>(args.output_batch_stride[0][i]);
    }
    constexpr unsigned bytes = vector_size * key_bytes;
    const bool are_whole = args.length % vector_size == 0;
    reads = are_whole && args.input_stride[0] == key_bytes && from % bytes == 0;
    writes = are_whole && args.output_stride[0] == key_bytes && to % bytes == 0;
  }

  // Whether the rows of a warp are one contiguous run of memory.
  static WBS_INLINE bool is_run(const wbs_args<1, 1>& args, long long stride,
                                const long long* batch_stride) {
    if constexpr (WarpBits > 0) return false;
    if (stride != key_bytes) return false;
    return warp_rows == 1 || (args.batch_dims == 1 &&
                              batch_stride[0] == static_cast<long long>(args.length) * key_bytes);
  }
  // The first row of a warp's run; `own` may be a later one.
  static WBS_INLINE row first_row(const wbs_args<1, 1>& args, long long first_of_warp,
                                  const row& own) {
    if constexpr (warp_rows == 1) return own;
    return {static_cast<const char*>(args.input[0]) + first_of_warp * args.input_batch_stride[0][0],
            static_cast<char*>(args.output[0]) + first_of_warp * args.output_batch_stride[0][0],
            true};
  }
  // The elements of a warp's rows.
  static WBS_INLINE int run_length(const wbs_args<1, 1>& args, long long first_of_warp) {
    const long long left = args.rows - first_of_warp;
    return left <= 0 ? 0 : static_cast<int>(left < warp_rows ? left : warp_rows) * args.length;
  }
  // Moves the elements of a warp's rows between memory and the stage, one by one.
  template <bool Load>
  static WBS_INLINE void move_strided(const wbs_args<1, 1>& args, const row (&rows)[shared_rows],
                                      element* in_stage) {
    const int lane = target::lane() & (lanes - 1);
    const long long stride = Load ? args.input_stride[0] : args.output_stride[0];
    WBS_UNROLL
    for (int r = 0; r < shared_rows; ++r) {
      if (!rows[r].present) continue;
      element* const own_row = in_stage + (row_in_warp() + r) * strided_pitch;
      char* const in_memory =
          (Load ? const_cast<char*>(rows[r].src) : rows[r].dst) + first_position() * stride;
      const int left = args.length - first_position();
      const int end = left < Registers * lanes ? left : Registers * lanes;
      if constexpr (!Load) {
        WBS_ROLLED
        for (int at = lane; at < end; at += lanes) {
          target::store_global(in_memory + at * stride, own_row[at]);
        }
      } else if constexpr (target::has_copies && key_bytes >= 4) {
        WBS_ROLLED
        for (int at = lane; at < end; at += lanes) {
          target::template copy<key_bytes>(own_row + at, in_memory + at * stride);
        }
      } else {
        constexpr int burst = Registers % 4 == 0 ? 4 : 3;
        WBS_ROLLED
        for (int c = 0; c < Registers; c += burst) {
          element some[burst];
          WBS_UNROLL
          for (int i = 0; i < burst; ++i) {
            const int at = (c + i) * lanes + lane;
            if (at < end) some[i] = target::template load_global<element>(in_memory + at * stride);
          }
          WBS_UNROLL
          for (int i = 0; i < burst; ++i) {
            const int at = (c + i) * lanes + lane;
            if (at < end) own_row[at] = some[i];
          }
        }
      }
    }
  }
  // Elements between rows in the stage, chosen to avoid bank conflicts if the stage has padding.
  WBS_CONSTANT(int, strided_pitch, (Registers + (network_type::padding > 0)) * lanes);
  static_assert(((warp_rows - 1) * strided_pitch + Registers * lanes) * key_bytes <= stage_bytes,
                "a warp's part of the stage holds its strided rows");
  // This lane's number within its row.
  static WBS_INLINE int lane_of_row() {
    const int lane = target::lane() & (lanes - 1);
    return WarpBits == 0 ? lane : lane + (target::warp() & (warps - 1)) * lanes;
  }

  // Vector loads. Full tells that all rows are present and fill the capacity.
  template <bool Full>
  static WBS_INLINE void load(const pads_type& pads, const wbs_args<1, 1>& args,
                              const row (&rows)[shared_rows], raw (&raws)[Registers]) {
    constexpr int size = vector_size;
    const int lane = lane_of_row();
    WBS_UNROLL
    for (int c = 0; c < Registers / size; ++c) {
      const int at = (c * lanes * warps + lane) * size;
      elements<size> loaded[shared_rows];
      WBS_UNROLL
      for (int r = 0; r < shared_rows; ++r) {
        if constexpr (!Full) {
          WBS_UNROLL
          for (int e = 0; e < size; ++e) {
            loaded[r].values[e] = static_cast<element>(pads.at(at + e));
          }
        }
        if (Full || (at < args.length && rows[r].present)) {
          loaded[r] = target::template load_global<elements<size> >(rows[r].src + at * key_bytes);
        }
      }
      WBS_UNROLL
      for (int e = 0; e < size; ++e) raws[c * size + e] = element_of(loaded, e);
    }
  }

  // Element e of every row that shares a register.
  static WBS_INLINE raw element_of(const elements<vector_size> (&loaded)[shared_rows], int e) {
    if constexpr (shared_rows == 1) {
      return loaded[0].values[e];
    } else if constexpr (key_bytes == 2) {
      // One instruction extracts the low halves of two words, or their high halves.
      using packed16 = typename keys_type::packed16;
      unsigned first, second;
      __builtin_memcpy(&first, &loaded[0].values[e & ~1], sizeof(first));
      __builtin_memcpy(&second, &loaded[1].values[e & ~1], sizeof(second));
      return e % 2 == 0 ? packed16::low_halves(first, second)
                        : packed16::high_halves(first, second);
    } else {
      return loaded[0].values[e] | static_cast<unsigned>(loaded[1].values[e]) << 16;
    }
  }

  static WBS_INLINE void store_own(const wbs_args<1, 1>& args, const row (&rows)[shared_rows],
                                   const raw (&raws)[Registers]) {
    const int at = (target::lane() & (lanes - 1)) * Registers;
    if (at < args.length && rows[0].present) {
      elements<vector_size> stored;
      WBS_UNROLL
      for (int e = 0; e < vector_size; ++e) stored.values[e] = raws[e];
      target::store_global(rows[0].dst + at * key_bytes, stored);
    }
  }
  static WBS_INLINE void store(const wbs_args<1, 1>& args, const row (&rows)[shared_rows],
                               const raw* own) {
    constexpr int size = vector_size;
    const int lane = target::lane() & (lanes - 1);
    const raw* const row_lanes = own + (target::lane() - lane) * network_type::blocked_pitch;
    const int first = first_position();
    WBS_UNROLL
    for (int c = 0; c < Registers / size; ++c) {
      const int at = (c * lanes + lane) * size;
      const raw* const from =
          row_lanes + at / Registers * network_type::blocked_pitch + at % Registers;
      // Compilers do not see that this is aligned, if Registers is no power of two.
      raw sorted[size];
      using vector = entry_vector<raw, (size * sizeof(raw) < 16 ? size : 16 / sizeof(raw))>;
      WBS_UNROLL
      for (int e = 0; e < size; e += vector::size) {
        const vector v = *reinterpret_cast<const vector*>(from + e);
        WBS_UNROLL
        for (int i = 0; i < vector::size; ++i) sorted[e + i] = v.entries[i];
      }
      elements<size> stored[shared_rows];
      if constexpr (shared_rows == 1) {
        WBS_UNROLL
        for (int e = 0; e < size; ++e) stored[0].values[e] = sorted[e];
      } else if constexpr (key_bytes == 2) {
        using packed16 = typename keys_type::packed16;
        WBS_UNROLL
        for (int e = 0; e < size; e += 2) {
          const unsigned first_row = packed16::low_halves(sorted[e], sorted[e + 1]);
          const unsigned second_row = packed16::high_halves(sorted[e], sorted[e + 1]);
          __builtin_memcpy(&stored[0].values[e], &first_row, sizeof(first_row));
          __builtin_memcpy(&stored[1].values[e], &second_row, sizeof(second_row));
        }
      } else {
        WBS_UNROLL
        for (int e = 0; e < size; ++e) {
          stored[0].values[e] = static_cast<element>(sorted[e]);
          stored[1].values[e] = static_cast<element>(sorted[e] >> 16);
        }
      }
      WBS_UNROLL
      for (int r = 0; r < shared_rows; ++r) {
        if (first + at < args.length && rows[r].present) {
          target::store_global(rows[r].dst + (first + at) * key_bytes, stored[r]);
        }
      }
    }
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_ROWS_HPP_
