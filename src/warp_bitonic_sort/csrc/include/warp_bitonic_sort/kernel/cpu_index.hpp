// The CPU kernels that sort with indices.
//
// A group of rows, one a SIMD lane, is loaded into a tile of entries: codes with indices. The
// network sorts the tile, in registers or in memory. Then indices are stored, and values are
// gathered from the input by index.
//
// Invariant: all loads of a row precede its stores, and a row's stores touch no other row, so that
// an output may be the input itself. No byte outside the rows is read or written.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_INDEX_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_INDEX_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/access.hpp>
#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/entry.hpp>
#include <warp_bitonic_sort/memory/cpu/array_cursor.hpp>
#include <warp_bitonic_sort/network/registers.hpp>
#include <warp_bitonic_sort/network/tile.hpp>
#include <warp_bitonic_sort/target/simd/index.hpp>

namespace warp_bitonic_sort {

// Rows of a Length are sorted in registers. Length 0 stands for any length up to a limit, sorted in
// a tile.
template <codec_kind Codec, int KeyBits, int Length, access Access>
class index_kernel {
  using target = simd_index<KeyBits>;
  using entry = typename target::entry;
  using element = typename unsigned_of<KeyBits>::type;
  using codec_type = canonical_codec<Codec, element, typename unsigned_of<KeyBits>::signed_type>;
  using args_type = wbs_args<1, 2>;
  static constexpr int block_bits = 4;
  static constexpr int block = 1 << block_bits;
  using tile_sort = tile_network<target, block_bits>;
  using block_network = network<target, register_layout<block_bits>>;

 public:
  static constexpr codec_kind codec = Codec;
  static constexpr int key_bytes = KeyBits / 8;
  static constexpr payload carried = payload::index;
  static constexpr access needed_access = Access;
  static constexpr int outputs = 2;
  static constexpr int lanes = target::lanes;
  static constexpr int min_length = Length == 0 ? 1 : Length;
  static constexpr int max_length = Length == 0 ? 1 << 16 : Length;

  // The tile, and a row of values.
  static long long scratch_bytes(long long length) {
    return slots_for(length) * static_cast<long long>(sizeof(entry)) + length * key_bytes;
  }

  static void run(const void* given, long long first, long long last, void* scratch) {
    const auto& args = *static_cast<const args_type*>(given);
    entry* const tile = static_cast<entry*>(scratch);
    char* const values = reinterpret_cast<char*>(tile + slots_for(args.length));
    const codec_type codec({args.key_xor, args.key_add});
    array_cursor<1, 2> cursor(args, first);
    for (long long left = last - first; left > 0; left -= lanes) {
      const int rows = left < lanes ? static_cast<int>(left) : lanes;
      const char* from[lanes];
      char *to_values[lanes], *to_indices[lanes];
      for (int lane = 0; lane < rows; ++lane) {
        from[lane] = cursor.input(0);
        to_values[lane] = cursor.output(0);
        to_indices[lane] = cursor.output(1);
        cursor.advance();
      }
      // Lanes without a row repeat the last one.
      for (int lane = rows; lane < lanes; ++lane) from[lane] = from[rows - 1];
      load(codec, args, from, tile);
      sort(tile, args.length);
      for (int lane = 0; lane < rows; ++lane) {
        if (to_values[lane] != nullptr) {
          gather_values(args, tile, lane, from[lane], values);
        }
        if (args.index_bytes == 4) {
          store_indices<unsigned>(args, tile, lane, to_indices[lane]);
        } else {
          store_indices<unsigned long long>(args, tile, lane, to_indices[lane]);
        }
        if (to_values[lane] != nullptr) store_values(args, values, to_values[lane]);
      }
    }
  }

 private:
  // A tile is whole blocks.
  static long long slots_for(long long length) {
    return Length == 0 ? (length + block - 1) / block * block : Length;
  }

  static __attribute__((noinline)) void load(const codec_type& codec, const args_type& args,
                                             const char* const* from, entry* tile) {
    const long long stride = Access == access::rows ? key_bytes : args.input_stride[0];
    const int length = Length == 0 ? args.length : Length;
    const auto load_one = [&](int slot, int lane) {
      element raw;
      __builtin_memcpy(&raw, from[lane] + slot * stride, sizeof(raw));
      target::set(tile[slot], lane, codec.encode(raw), static_cast<unsigned>(slot));
    };
    if constexpr (Access == access::columns) {
      for (int slot = 0; slot < length; ++slot) {
        for (int lane = 0; lane < lanes; ++lane) load_one(slot, lane);
      }
    } else {
      for (int lane = 0; lane < lanes; ++lane) {
        for (int slot = 0; slot < length; ++slot) load_one(slot, lane);
      }
    }
    for (int slot = length; slot < slots_for(length); ++slot) tile[slot] = target::pad();
  }

  static void sort(entry* tile, int length) {
    if constexpr (Length != 0) {
      sort_in_registers(tile);
    } else {
      const int slots = static_cast<int>(slots_for(length));
      for (int slot = 0; slot < slots; slot += block) place_block(tile, slot);
      tile_sort::sort(target{}, tile, slots, finish_block{tile});
    }
  }
  static __attribute__((noinline)) void sort_in_registers(entry* tile) {
    entry entries[max_length];
    copy(entries, tile, make_indices<max_length>{});
    sort_registers<max_length>(target{}, entries);
    copy(tile, entries, make_indices<max_length>{});
  }
  static __attribute__((noinline)) void place_block(entry* tile, int slot) {
    entry entries[block];
    copy(entries, tile + slot, make_indices<block>{});
    block_network::sort(target{}, entries);
    tile_sort::place(target{}, tile, slot, entries);
  }
  struct finish_block {
    entry* tile;
    WBS_INLINE void operator()(int slot) const {
      entry entries[block];
      copy(entries, tile + slot, make_indices<block>{});
      block_network::clean(target{}, entries);
      copy(tile + slot, entries, make_indices<block>{});
    }
  };
  template <int... I>
  static WBS_INLINE void copy(entry* to, const entry* from, indices<I...>) {
    ((to[I] = from[I]), ...);
  }

  static void gather_values(const args_type& args, const entry* tile, int lane, const char* from,
                            char* values) {
    for (int i = 0; i < args.length; ++i) {
      const auto index = static_cast<long long>(target::index_of(tile[i], lane));
      __builtin_memcpy(values + i * key_bytes, from + index * args.input_stride[0], key_bytes);
    }
  }
  static void store_values(const args_type& args, const char* values, char* to) {
    for (int i = 0; i < args.length; ++i) {
      __builtin_memcpy(to + i * args.output_stride[0], values + i * key_bytes, key_bytes);
    }
  }
  template <class Index>
  static void store_indices(const args_type& args, const entry* tile, int lane, char* to) {
    for (int i = 0; i < args.length; ++i) {
      const Index index = static_cast<Index>(target::index_of(tile[i], lane));
      __builtin_memcpy(to + i * args.output_stride[1], &index, sizeof(index));
    }
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_INDEX_HPP_
