// The GPU kernels behind gpu_abi.h: a whole translation unit is the macro at the end.
//
// A wave (a warp) loads its rows, each lane any keys of its row, for the input's order is free, in
// accesses of up to 16 bytes by neighbouring lanes; sorts them (lane_sort.hpp); lays the result out
// in shared memory and writes it in the same wide accesses. Rows shorter than the capacity are
// padded in registers.
//
// Invariant: every load of a row precedes every store of it (so sorting in place is right), no byte
// outside a row is read or written, and all addresses are 64 bits.
#ifndef WARP_BITONIC_SORT_GPU_KERNEL_HPP_
#define WARP_BITONIC_SORT_GPU_KERNEL_HPP_

#include <warp_bitonic_sort/gpu_abi.h>

#include <warp_bitonic_sort/base.hpp>
#include <warp_bitonic_sort/dtype.hpp>
#include <warp_bitonic_sort/gpu_key.hpp>
#include <warp_bitonic_sort/lane_sort.hpp>
#if defined(__CUDACC__)
#include <warp_bitonic_sort/exchange/cuda.hpp>
#endif

namespace warp_bitonic_sort {

// How a kernel's rows lie in memory, or how it is best at: `rows` takes any strides, and is quick
// where the elements of a row are neighbours; `columns` takes any too, and is quick where
// neighbouring rows are.
enum class gpu_access { rows, columns };

template <template <class> class Target, gpu_access Access, key_class Class, int KeyBits,
          int Registers, int LaneBits, int WaveBits>
class gpu_rows {
  using keys_type = gpu_key<Class, KeyBits>;
  using element = typename keys_type::element;
  using key = typename keys_type::key;
  using target = Target<key>;
  using network_type = lane_network<target, Registers, LaneBits, WaveBits>;

 public:
  static constexpr int key_bytes = KeyBits / 8;

 private:
  static constexpr int wave_lanes = network_type::wave_lanes;
  static constexpr int lanes = network_type::lanes;
  static constexpr int waves = network_type::waves;
  // Rows side by side in a wave, and those that share a register.
  static constexpr int wave_rows = wave_lanes / lanes * keys_type::rows;
  static constexpr bool by_columns = Access == gpu_access::columns;
  static_assert(!by_columns || WaveBits == 0, "columns are turned by a block of whole rows");
  // Waves of a block whose rows, side by side, are a good access to memory; more wait for each
  // other too long. Measured.
  static constexpr int good_bytes = 64, most_waves = 8;
  static constexpr int wanted_waves = good_bytes / key_bytes / wave_rows;
  static constexpr int column_waves = wanted_waves < most_waves ? wanted_waves : most_waves;
  static constexpr int least_waves = by_columns && column_waves > 4 ? column_waves : 4;

 public:
  static constexpr int capacity = network_type::capacity;
  static constexpr int threads = (waves < least_waves ? least_waves : waves) * wave_lanes;
  static constexpr int block_rows = threads / wave_lanes / waves * wave_rows;
  // Blocks that a multiprocessor must at least have registers for; 0 leaves it to the compiler,
  // whose own choice spills a register or two of some kernels. (Tuned on sm_90; elsewhere room is
  // left.)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
  static constexpr bool needs_room = Class == key_class::fnuz && Registers >= 24;
  static constexpr int room_for = 5;
#else
  static constexpr bool needs_room = Registers >= 24;
  static constexpr int room_for = 4;
#endif
  static constexpr int resident_blocks = threads > 128 ? 1 : needs_room ? room_for : 0;

 private:
  // Elements between the rows of a tile of columns: of a width that spreads them over the banks.
  static constexpr int tile_pitch = capacity + (key_bytes < 4 ? 4 / key_bytes : 1);
  static constexpr int stage_bytes =
      threads / wave_lanes * network_type::stage_keys * static_cast<int>(sizeof(key));
  static constexpr int tile_bytes = by_columns ? block_rows * tile_pitch * key_bytes : 0;
  static constexpr bool needs_none = by_columns && lanes == 1;

 public:
  static constexpr int shared_bytes = needs_none                 ? 0
                                      : stage_bytes > tile_bytes ? stage_bytes
                                                                 : tile_bytes;

  static WBS_INLINE void run(const wbs_gpu_sort_args& args, void* shared) {
    const keys_type codec({args.key_xor, args.key_add});
    const long long tiles = (args.rows + block_rows - 1) / block_rows;
    for (long long tile = target::block(); tile < tiles; tile += target::blocks()) {
      if constexpr (by_columns && lanes == 1) {
        sort_own_columns(codec, args, tile);
      } else if constexpr (by_columns) {
        sort_columns(codec, args, tile, shared);
      } else {
        sort_rows(codec, args, tile, shared);
      }
    }
  }

 private:
  struct row {
    const char* src;
    char* dst;
    bool present;
  };

  static WBS_INLINE void sort_rows(const keys_type& codec, const wbs_gpu_sort_args& args,
                                   long long tile, void* shared) {
    key* const stage =
        static_cast<key*>(shared) + target::wave() / waves * waves * network_type::stage_keys;
    key* const own = network_type::own(stage);
    const long long first_of_wave = tile * block_rows + target::wave() / waves * wave_rows;
    row rows[keys_type::rows];
    WBS_UNROLL
    for (int r = 0; r < keys_type::rows; ++r) {
      rows[r] = find_row(args, first_of_wave + target::lane() / lanes * keys_type::rows + r);
    }
    key keys[Registers];
    if (is_wide(args, reinterpret_cast<unsigned long long>(args.src), args.src_stride,
                args.src_batch_stride)) {
      if (args.length == capacity && (tile + 1) * block_rows <= args.rows) {
        load<true>(codec, args, rows, keys);
      } else {
        load<false>(codec, args, rows, keys);
      }
    } else {
      element* raw = reinterpret_cast<element*>(own);
      int pitch = strided_pitch;
      if (is_run(args, args.src_stride, args.src_batch_stride)) {
        char* const from = const_cast<char*>(first_row(args, first_of_wave, rows[0]).src);
        raw += lead_of(from);
        pitch = args.length;
        move_run<true>(from, raw, run_length(args, first_of_wave));
      } else {
        move_strided<true>(args, rows, raw);
      }
      target::sync_wave();
      take(codec, args, raw + row_in_wave() * pitch, pitch, rows[0].present, keys);
      target::sync_wave();
    }
    network_type::sort(target{args.one}, keys, stage);
    lay_out(keys, own);
    target::sync_wave();
    if (is_wide(args, reinterpret_cast<unsigned long long>(args.dst), args.dst_stride,
                args.dst_batch_stride)) {
      store(codec, args, rows, own);
    } else {
      element* raw = reinterpret_cast<element*>(own);
      if (is_run(args, args.dst_stride, args.dst_batch_stride)) {
        char* const to = first_row(args, first_of_wave, rows[0]).dst;
        raw += lead_of(to);
        give<false>(codec, args, own, raw + row_in_wave() * args.length, args.length);
        target::sync_wave();
        move_run<false>(to, raw, run_length(args, first_of_wave));
      } else {
        give<false>(codec, args, own, raw + row_in_wave() * strided_pitch, strided_pitch);
        target::sync_wave();
        move_strided<false>(args, rows, raw);
      }
    }
    target::sync_wave();
  }

  // Each thread has rows of its own, beside its neighbours'.
  static WBS_INLINE void sort_own_columns(const keys_type& codec, const wbs_gpu_sort_args& args,
                                          long long tile) {
    constexpr int last = keys_type::rows - 1;
    const int thread = target::wave() * wave_lanes + target::lane();
    row rows[keys_type::rows];
    WBS_UNROLL
    for (int r = 0; r <= last; ++r) {
      rows[r] = find_row(args, tile * block_rows + thread * keys_type::rows + r);
    }
    if (!rows[0].present) return;
    const bool both = rows[last].present;
    const bool pair_src = both && is_pair(rows[0].src, rows[last].src, args.src_stride);
    const bool pair_dst = both && is_pair(rows[0].dst, rows[last].dst, args.dst_stride);
    key keys[Registers];
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      keys[c] = keys_type::pad();
      if (c >= args.length) continue;
      const long long at = c * args.src_stride;
      if constexpr (keys_type::rows == 1) {
        keys[c] = codec.encode(element_at(rows[0].src + at));
      } else if (pair_src) {
        keys[c] = codec.encode(pair_at(rows[0].src + at));
      } else {
        const unsigned second = both ? element_at(rows[last].src + at) : 0;
        keys[c] = codec.encode(element_at(rows[0].src + at) | second << 16);
      }
    }
    network_type::sort(target{args.one}, keys, nullptr);
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      if (c >= args.length) continue;
      const long long at = c * args.dst_stride;
      const auto raw = codec.decode(keys[c]);
      if (keys_type::rows == 2 && pair_dst) {
        set_pair(rows[0].dst + at, static_cast<unsigned>(raw));
        continue;
      }
      *reinterpret_cast<element*>(rows[0].dst + at) = static_cast<element>(raw);
      if (keys_type::rows == 2 && both) {
        *reinterpret_cast<element*>(rows[last].dst + at) = static_cast<element>(raw >> 16);
      }
    }
  }
  // Whether the elements of two rows are side by side all along, where one access can have both.
  static WBS_INLINE bool is_pair(const char* first, const char* second, long long stride) {
    return second - first == key_bytes &&
           (reinterpret_cast<unsigned long long>(first) | static_cast<unsigned long long>(stride)) %
                   (2 * key_bytes) ==
               0;
  }
  static WBS_INLINE element element_at(const char* address) {
    return *reinterpret_cast<const element*>(address);
  }
  // Two elements side by side, each in its half of a word; and back.
  static WBS_INLINE unsigned pair_at(const char* address) {
    if constexpr (KeyBits == 16) return *reinterpret_cast<const unsigned*>(address);
    const unsigned both = *reinterpret_cast<const unsigned short*>(address);
    return (both & 0xFFu) | (both & 0xFF00u) << 8;
  }
  static WBS_INLINE void set_pair(char* address, unsigned both) {
    if constexpr (KeyBits == 16) {
      *reinterpret_cast<unsigned*>(address) = both;
    } else {
      *reinterpret_cast<unsigned short*>(address) =
          static_cast<unsigned short>((both & 0xFFu) | both >> 8);
    }
  }

  // As columns, neighbouring threads reach for neighbouring rows; the elements that each sorts come
  // to it through a tile of all the block's rows.
  static WBS_INLINE void sort_columns(const keys_type& codec, const wbs_gpu_sort_args& args,
                                      long long tile, void* shared) {
    key* const stage = static_cast<key*>(shared) + target::wave() * network_type::stage_keys;
    element* const elements_of_block = static_cast<element*>(shared);
    const int thread = target::wave() * wave_lanes + target::lane();
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
          raw[i] = *reinterpret_cast<const element*>(moved.src + at * args.src_stride);
        }
      }
      WBS_UNROLL
      for (int i = 0; i < burst; ++i) {
        const int at = first + (c + i) * step;
        if (at < args.length && moved.present) column[at] = raw[i];
      }
    }
    target::sync_block();
    const long long first_of_wave = tile * block_rows + target::wave() * wave_rows;
    element* const own_rows =
        elements_of_block + (target::wave() * wave_rows + row_in_wave()) * tile_pitch;
    key keys[Registers];
    take(codec, args, own_rows, tile_pitch, first_of_wave + row_in_wave() < args.rows, keys);
    target::sync_block();
    network_type::sort(target{args.one}, keys, stage);
    lay_out(keys, stage);
    target::sync_wave();
    give<true>(codec, args, stage, own_rows, tile_pitch);
    target::sync_block();
    WBS_ROLLED
    for (int c = 0; c < count; ++c) {
      const int at = first + c * step;
      if (at < args.length && moved.present) {
        *reinterpret_cast<element*>(moved.dst + at * args.dst_stride) = column[at];
      }
    }
    target::sync_block();
  }

  // Elements that a lane moves at once.
  static constexpr int even_part = Registers % 3 == 0 ? Registers / 3 : Registers;
  static constexpr int vector_size = even_part < 16 / key_bytes ? even_part : 16 / key_bytes;
  template <int Size>
  struct alignas(Size* key_bytes) elements {
    element values[Size];
  };

  static WBS_INLINE bool is_wide(const wbs_gpu_sort_args& args, unsigned long long address,
                                 long long stride, const long long* batch_stride) {
    if (stride != key_bytes || args.length % vector_size != 0) return false;
    for (int i = 0; i < args.batch_dims; ++i) {
      address |= static_cast<unsigned long long>(batch_stride[i]);
    }
    return address % (vector_size * key_bytes) == 0;
  }

  // Whether the rows that a wave sorts are one run of memory, without a gap.
  static WBS_INLINE bool is_run(const wbs_gpu_sort_args& args, long long stride,
                                const long long* batch_stride) {
    if constexpr (WaveBits > 0) return false;
    if (stride != key_bytes) return false;
    return wave_rows == 1 || (args.batch_dims == 1 &&
                              batch_stride[0] == static_cast<long long>(args.length) * key_bytes);
  }
  // The first of them; a lane's own may be another.
  static WBS_INLINE row first_row(const wbs_gpu_sort_args& args, long long first_of_wave,
                                  const row& own) {
    if constexpr (wave_rows == 1) return own;
    return {static_cast<const char*>(args.src) + first_of_wave * args.src_batch_stride[0],
            static_cast<char*>(args.dst) + first_of_wave * args.dst_batch_stride[0], true};
  }
  // The elements of a wave's rows.
  static WBS_INLINE int run_length(const wbs_gpu_sort_args& args, long long first_of_wave) {
    const long long left = args.rows - first_of_wave;
    return left <= 0 ? 0 : static_cast<int>(left < wave_rows ? left : wave_rows) * args.length;
  }
  // Elements that a run begins behind a multiple of 16 bytes; in the stage, too, it begins there.
  static WBS_INLINE int lead_of(const char* address) {
    return static_cast<int>(reinterpret_cast<unsigned long long>(address) % 16) / key_bytes;
  }

  // Moves a run between memory and the stage, 16 bytes at a time but for its ends.
  template <bool Load>
  static WBS_INLINE void move_run(char* memory, element* raw, int count) {
    constexpr int size = 16 / key_bytes;
    const int lead = lead_of(memory);
    // The last turn is for the elements that the lead pushes out of the others.
    constexpr int turns = Registers * keys_type::rows / size + 1;
    WBS_UNROLL
    for (int c = 0; c < turns; ++c) {
      const int at = (c * wave_lanes + target::lane()) * size - lead;
      if (at >= 0 && at + size <= count) move<Load, size>(memory, raw, at);
    }
    const int head = lead == 0 ? 0 : size - lead;
    const int tail = (lead + count) / size * size - lead;
    if (target::lane() < head && target::lane() < count) move<Load, 1>(memory, raw, target::lane());
    if (tail >= 0 && tail + target::lane() < count) {
      move<Load, 1>(memory, raw, tail + target::lane());
    }
  }
  template <bool Load, int Size>
  static WBS_INLINE void move(char* memory, element* raw, int at) {
    elements<Size>& in_memory = *reinterpret_cast<elements<Size>*>(memory + at * key_bytes);
    elements<Size>& in_stage = *reinterpret_cast<elements<Size>*>(raw + at);
    Load ? in_stage = in_memory : in_memory = in_stage;
  }

  // This lane's first row within its wave.
  static WBS_INLINE int row_in_wave() { return target::lane() / lanes * keys_type::rows; }

  // Moves the elements of a wave's rows one by one; in the stage each lane finds its own again.
  template <bool Load>
  static WBS_INLINE void move_strided(const wbs_gpu_sort_args& args,
                                      const row (&rows)[keys_type::rows], element* raw) {
    const int lane = target::lane() & (lanes - 1);
    constexpr int burst = Registers % 4 == 0 ? 4 : 3;
    const long long stride = Load ? args.src_stride : args.dst_stride;
    WBS_UNROLL
    for (int r = 0; r < keys_type::rows; ++r) {
      if (!rows[r].present) continue;
      element* const in_stage = raw + (row_in_wave() + r) * strided_pitch;
      char* const in_memory =
          (Load ? const_cast<char*>(rows[r].src) : rows[r].dst) + first_position() * stride;
      const int left = args.length - first_position();
      WBS_ROLLED
      for (int c = 0; c < Registers; c += burst) {
        element some[burst];
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) {
          const int at = (c + i) * lanes + lane;
          if (at < left) {
            some[i] =
                Load ? *reinterpret_cast<const element*>(in_memory + at * stride) : in_stage[at];
          }
        }
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) {
          const int at = (c + i) * lanes + lane;
          if (at < left) {
            *(Load ? in_stage + at : reinterpret_cast<element*>(in_memory + at * stride)) = some[i];
          }
        }
      }
    }
  }
  // Elements between rows in the stage: of a width that spreads them over the banks.
  static constexpr int strided_pitch = (Registers + 1) * lanes;
  // The first position of a row that this wave has.
  static WBS_INLINE int first_position() {
    return WaveBits == 0 ? 0 : (target::wave() & (waves - 1)) * (lanes * Registers);
  }

  // Keys of rows in shared memory, `pitch` elements apart. (Of two rows that share registers the
  // second may be absent; then what is there does no harm.)
  static WBS_INLINE void take(const keys_type& codec, const wbs_gpu_sort_args& args,
                              const element* from, int pitch, bool present,
                              key (&keys)[Registers]) {
    const int lane = target::lane() & (lanes - 1);
    const int left = present ? args.length - first_position() : 0;
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      const int at = c * lanes + lane;
      keys[c] = keys_type::pad();
      if (at < left) {
        if constexpr (keys_type::rows == 1) {
          keys[c] = codec.encode(from[at]);
        } else {
          keys[c] = codec.encode(from[at] | static_cast<unsigned>(from[pitch + at]) << 16);
        }
      }
    }
  }
  // Sorted rows out of the stage, in the order in which take() reads them.
  template <bool OfBlock>
  static WBS_INLINE void give(const keys_type& codec, const wbs_gpu_sort_args& args, const key* own,
                              element* to, int pitch) {
    const int lane = target::lane() & (lanes - 1);
    const key* const row_lanes = own + (target::lane() - lane) * network_type::straight_pitch;
    key sorted[Registers];
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      const int at = c * lanes + lane;
      sorted[c] = row_lanes[at / Registers * network_type::straight_pitch + at % Registers];
    }
    OfBlock ? target::sync_block() : target::sync_wave();
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      const int at = c * lanes + lane;
      if (at < args.length - first_position()) {
        const auto raw = codec.decode(sorted[c]);
        to[at] = static_cast<element>(raw);
        if constexpr (keys_type::rows == 2) to[pitch + at] = static_cast<element>(raw >> 16);
      }
    }
  }
  static WBS_INLINE row find_row(const wbs_gpu_sort_args& args, long long index) {
    row r{static_cast<const char*>(args.src), static_cast<char*>(args.dst), index < args.rows};
    for (int i = args.batch_dims - 1; i > 0; --i) {
      const long long outer = index / args.batch_shape[i];
      const long long at = index - outer * args.batch_shape[i];
      r.src += at * args.src_batch_stride[i];
      r.dst += at * args.dst_batch_stride[i];
      index = outer;
    }
    if (args.batch_dims > 0) {
      r.src += index * args.src_batch_stride[0];
      r.dst += index * args.dst_batch_stride[0];
    }
    return r;
  }

  // This lane's number within its row.
  static WBS_INLINE int lane_of_row() {
    const int lane = target::lane() & (lanes - 1);
    return WaveBits == 0 ? lane : lane + (target::wave() & (waves - 1)) * lanes;
  }

  // Wide loads; with Full, of rows that are all there and fill the capacity.
  template <bool Full>
  static WBS_INLINE void load(const keys_type& codec, const wbs_gpu_sort_args& args,
                              const row (&rows)[keys_type::rows], key (&keys)[Registers]) {
    constexpr int size = vector_size;
    const int lane = lane_of_row();
    WBS_UNROLL
    for (int c = 0; c < Registers / size; ++c) {
      const int at = (c * lanes * waves + lane) * size;
      const bool present = Full || at < args.length;
      elements<size> raw[keys_type::rows];
      WBS_UNROLL
      for (int r = 0; r < keys_type::rows; ++r) {
        if constexpr (!Full) raw[r] = {};
        if (Full || (present && rows[r].present)) {
          raw[r] = *reinterpret_cast<const elements<size>*>(rows[r].src + at * key_bytes);
        }
      }
      WBS_UNROLL
      for (int e = 0; e < size; ++e) {
        const key k = codec.encode(element_of(raw, e));
        keys[c * size + e] = present ? k : keys_type::pad();
      }
    }
  }

  // Element e of every row that shares a register.
  static WBS_INLINE auto element_of(const elements<vector_size> (&raw)[keys_type::rows], int e) {
    if constexpr (keys_type::rows == 1) {
      return raw[0].values[e];
    } else if constexpr (KeyBits == 16) {
      // Of two words, the low halves or the high ones: one instruction.
      unsigned first, second;
      __builtin_memcpy(&first, &raw[0].values[e & ~1], sizeof(first));
      __builtin_memcpy(&second, &raw[1].values[e & ~1], sizeof(second));
      return e % 2 == 0 ? gpu_key_detail::low_halves(first, second)
                        : gpu_key_detail::high_halves(first, second);
    } else {
      return raw[0].values[e] | static_cast<unsigned>(raw[1].values[e]) << 16;
    }
  }

  static WBS_INLINE void lay_out(const key (&keys)[Registers], key* own) {
    using vector = key_vector<key>;
    key* const to = own + target::lane() * network_type::straight_pitch;
    if constexpr (Registers % vector::size == 0) {
      WBS_UNROLL
      for (int j = 0; j < Registers; j += vector::size) {
        vector v;
        WBS_UNROLL
        for (int e = 0; e < vector::size; ++e) v.keys[e] = keys[j + e];
        *reinterpret_cast<vector*>(to + j) = v;
      }
    } else {
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) to[j] = keys[j];
    }
  }

  static WBS_INLINE void store(const keys_type& codec, const wbs_gpu_sort_args& args,
                               const row (&rows)[keys_type::rows], const key* own) {
    constexpr int size = vector_size;
    const int lane = target::lane() & (lanes - 1);
    const key* const row_lanes = own + (target::lane() - lane) * network_type::straight_pitch;
    const int first = first_position();
    WBS_UNROLL
    for (int c = 0; c < Registers / size; ++c) {
      const int at = (c * lanes + lane) * size;
      const key* const from =
          row_lanes + at / Registers * network_type::straight_pitch + at % Registers;
      elements<size> raw[keys_type::rows];
      if constexpr (keys_type::rows == 1) {
        WBS_UNROLL
        for (int e = 0; e < size; ++e) raw[0].values[e] = codec.decode(from[e]);
      } else if constexpr (KeyBits == 16) {
        WBS_UNROLL
        for (int e = 0; e < size; e += 2) {
          const unsigned one = codec.decode(from[e]), two = codec.decode(from[e + 1]);
          const unsigned first_row = gpu_key_detail::low_halves(one, two);
          const unsigned second_row = gpu_key_detail::high_halves(one, two);
          __builtin_memcpy(&raw[0].values[e], &first_row, sizeof(first_row));
          __builtin_memcpy(&raw[1].values[e], &second_row, sizeof(second_row));
        }
      } else {
        WBS_UNROLL
        for (int e = 0; e < size; ++e) {
          const unsigned both = codec.decode(from[e]);
          raw[0].values[e] = static_cast<element>(both);
          raw[1].values[e] = static_cast<element>(both >> 16);
        }
      }
      WBS_UNROLL
      for (int r = 0; r < keys_type::rows; ++r) {
        if (first + at < args.length && rows[r].present) {
          *reinterpret_cast<elements<size>*>(rows[r].dst + (first + at) * key_bytes) = raw[r];
        }
      }
    }
  }
};

}  // namespace warp_bitonic_sort

// A kernel for rows of up to registers * 2^lane_bits * 2^wave_bits keys: Class is bits, floating or
// fnuz.
#if defined(__CUDACC__)
#define WARP_BITONIC_SORT_GPU_KERNEL(name, access, Class, key_bits, registers, lane_bits,    \
                                     wave_bits)                                              \
  using wbs_rows = ::warp_bitonic_sort::gpu_rows<                                            \
      ::warp_bitonic_sort::cuda_target, ::warp_bitonic_sort::gpu_access::access,             \
      ::warp_bitonic_sort::key_class::Class, key_bits, registers, lane_bits, wave_bits>;     \
  extern "C" __constant__ const wbs_gpu_kernel warp_bitonic_sort_gpu_kernel = {              \
      WBS_GPU_ABI_VERSION,                                                                   \
      wbs_rows::key_bytes,                                                                   \
      static_cast<unsigned>(::warp_bitonic_sort::key_class::Class),                          \
      wbs_rows::threads,                                                                     \
      wbs_rows::block_rows,                                                                  \
      wbs_rows::shared_bytes,                                                                \
      1,                                                                                     \
      wbs_rows::capacity,                                                                    \
      name};                                                                                 \
  extern "C" __global__ void __launch_bounds__(wbs_rows::threads, wbs_rows::resident_blocks) \
      warp_bitonic_sort_rows(const __grid_constant__ wbs_gpu_sort_args args) {               \
    extern __shared__ __align__(16) unsigned char shared[];                                  \
    wbs_rows::run(args, shared);                                                             \
  }
#endif

#endif  // WARP_BITONIC_SORT_GPU_KERNEL_HPP_
