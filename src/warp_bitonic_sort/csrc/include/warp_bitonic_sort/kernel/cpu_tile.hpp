// The CPU kernels that sort rows of any length up to a limit, in a tile in memory.
//
// Rows are sorted in groups of simd::lanes, one row a SIMD lane. Contiguous rows are sorted one by
// one, each by all lanes, where they are too few for a group, and where a group would evict its own
// rows from the cache.
//
// Invariant: every load of a group, or of a single row, precedes every store of it, so that sorting
// in place is right. No byte outside a row is read or written.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_TILE_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_TILE_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/access.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/entry.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/kernel/cpu_traits.hpp>
#include <warp_bitonic_sort/memory/cpu/nontemporal_store.hpp>
#include <warp_bitonic_sort/memory/cpu/row_cursor.hpp>
#include <warp_bitonic_sort/network/bitonic.hpp>
#include <warp_bitonic_sort/network/lanes.hpp>
#include <warp_bitonic_sort/network/tile.hpp>

namespace warp_bitonic_sort {

// The longest row that a tile kernel accepts. MAX_LENGTH in targets/cpu/layouts.py is lower: longer
// rows are left to other sorts.
constexpr int max_tile_length = 1 << 16;
static_assert(max_tile_length <= 0x7FFFFFFF / row_simd_bytes, "offsets in a tile are of type int");

template <codec_kind Codec, int KeyBits>
class tile_kernel {
  using traits = cpu_traits<Codec, KeyBits, row_simd_bytes>;
  using target = typename traits::target;
  using key = typename traits::key;
  using codec_type = typename traits::codec_type;
  static constexpr int chunk = target::chunk_keys, vector_bytes = target::vector_bytes;
  // Blocks of 32 on targets with 32 registers were measured slower, and waste more on padding.
  static constexpr int block_bits = 4;
  static constexpr int block = 1 << block_bits;
  // Slots that one load of each row fills: a whole vector, but at most a block.
  static constexpr int piece = target::lanes < block ? target::lanes : block;
  using tile_sort = tile_network<target, block_bits>;
  using block_network = network<target, block_bits>;

 public:
  static constexpr int lanes = target::lanes;
  static constexpr int key_bytes = target::key_bytes;
  static constexpr codec_kind codec = Codec;
  static constexpr selection selected = selection::all;
  static constexpr payload carried = payload::none;
  static constexpr int outputs = 1;
  static constexpr int min_length = 1, max_length = max_tile_length;
  static constexpr access needed_access = access::strided;

  static long long scratch_bytes(long long length) {
    const long long group = has_stage(length) ? group_bytes(length) : 0;
    return tile_bytes(length) + nontemporal_store::stage_bytes(group);
  }

  static void run(const void* args, long long first, long long last, void* scratch) {
    const auto& rows = *static_cast<const wbs_args<1, 1>*>(args);
    tile_kernel(rows, scratch).sort_rows(rows, first, last);
  }

 private:
  // The shortest rows that all lanes sort: shorter ones would be pads for the most part, and have
  // no room for two lanes in the junk.
  static constexpr int min_single_length = block * (lanes > 4 ? lanes / 2 : 2);

  // Room before the block for a chunk that ends with the row but begins in the block before.
  static constexpr int stage_slots = block + chunk;

  // Measured: smaller groups gain nothing from a stage, and larger ones leave no room for it in a
  // second cache beside the tile.
  static constexpr long long min_streamed_bytes_of_group = 3 << 10,
                             max_streamed_bytes_of_group = 64 << 10;

  static long long slots_for(long long length) { return (length + block - 1) / block * block; }
  static long long group_bytes(long long length) { return length * vector_bytes; }
  static bool has_stage(long long length) {
    return streams_stores && group_bytes(length) >= min_streamed_bytes_of_group &&
           group_bytes(length) <= max_streamed_bytes_of_group;
  }
  // Bytes of the tile, the stage of a block and a row of junk.
  static long long tile_bytes(long long length) {
    const long long row = (length * key_bytes + line_bytes - 1) / line_bytes * line_bytes;
    return (slots_for(length) + stage_slots) * vector_bytes + row;
  }

  tile_kernel(const wbs_args<1, 1>& args, void* scratch)
      : codec_(traits::make_codec(args)),
        length_(static_cast<int>(args.length)),
        slots_(static_cast<int>(slots_for(args.length))),
        src_stride_(args.input_stride[0]),
        dst_stride_(args.output_stride[0]),
        tile_(static_cast<key*>(scratch)),
        stage_(tile_ + slots_ + chunk),
        junk_(reinterpret_cast<char*>(tile_ + slots_ + stage_slots)) {
    pad_ = codec_.decode(target::pad());
  }

  void sort_rows(const wbs_args<1, 1>& args, long long first, long long last) {
    row_cursor<lanes> cursor(args, first);
    src_contiguous_ = cursor.src_stride() == length_ * key_bytes;
    dst_contiguous_ = cursor.dst_stride() == length_ * key_bytes;
    const access src_access = access_of(args, args.input_stride[0], args.input_batch_stride[0]);
    const access dst_access = access_of(args, args.output_stride[0], args.output_batch_stride[0]);
    const long long singles = max_single_rows(args, cursor);
    nontemporal_store stream(reinterpret_cast<char*>(tile_) + tile_bytes(length_), cursor.dst());
    // A group's elements are stored to the stage at the strides of the result.
    const bool has_no_gaps = dst_access == access::rows && src_contiguous_ && dst_contiguous_ &&
                             cursor.run() >= last - first;
    const bool streaming = has_stage(length_) && is_streamed(args, key_bytes, has_no_gaps);
    long long left = last - first;
    for (; left > singles; left -= lanes) {
      const bool whole = left >= lanes && cursor.run() >= lanes;
      rows_ = left < lanes ? static_cast<int>(left) : lanes;
      cursor.next(left, src_, dst_, junk_);
      ahead_ = cursor.src() - src_[0];
      stored_in_cache_ = !(streaming && whole);
      if (!stored_in_cache_) {
        for (int i = 0; i < lanes; ++i) dst_[i] = stream.group() + i * length_ * key_bytes;
      }
      load(src_access == access::columns && !whole ? access::strided : src_access);
      sort_and_store(dst_access == access::columns && !whole ? access::strided : dst_access);
      if (!stored_in_cache_) stream.flush(length_ * vector_bytes);
    }
    for (; left > 0; --left) {
      sort_single(cursor.src(), cursor.dst());
      cursor.advance(1);
    }
    if (streaming) stream.finish();
  }

  // How many rows take less time one by one than as groups.
  long long max_single_rows(const wbs_args<1, 1>& args, const row_cursor<lanes>& cursor) const {
    const bool is_contiguous =
        args.input_stride[0] == key_bytes && args.output_stride[0] == key_bytes;
    if (!is_contiguous || length_ < min_single_length) return 0;
    const int slots = slots_of_single();
    const bool is_mostly_full = 4 * length_ >= 3 * lanes * slots;
    if (is_mostly_full &&
        (evicts_itself(cursor.src_stride()) || evicts_itself(cursor.dst_stride()))) {
      return args.rows;
    }
    return length_ / (2 * slots);
  }
  // Whether a group has twice as many rows in the same sets of an L1 cache as these have ways.
  static bool evicts_itself(long long stride) {
    constexpr long long way_bytes = 4096, max_ways = 16;
    const long long period = stride & -stride;
    return lanes * (period < way_bytes ? period : way_bytes) >= 2 * max_ways * way_bytes;
  }
  // A power of two that is a multiple of the block.
  int slots_of_single() const {
    int slots = block;
    while (slots * lanes < length_) slots *= 2;
    return slots;
  }
  // Sorts a row whose elements are contiguous.
  void sort_single(const char* from, char* to) {
    const int slots = slots_of_single(), present = load_single(from);
    for (int slot = present; slot < slots; ++slot) tile_[slot] = target::pad();
    tile_sort::sort(target{}, tile_, present);
    // A lane that the row ends in, and lanes behind it, are stored elsewhere.
    const int lane_bytes = slots * key_bytes, row_bytes = length_ * key_bytes;
    const int whole = row_bytes / lane_bytes, rest = row_bytes % lane_bytes;
    for (int lane = 0; lane < lanes; ++lane) {
      dst_[lane] = lane < whole ? to + lane * lane_bytes : junk_ + (lane > whole) * lane_bytes;
    }
    lane_network<target, block_bits>::merge(target{}, tile_, slots,
                                            finish_block<access::rows>{*this, slots});
    const auto rest_bytes = static_cast<unsigned long>(rest);
    if (rest > 0) __builtin_memcpy(to + whole * lane_bytes, junk_, rest_bytes);
  }
  // Loads a row, a vector for each slot, for the order of its keys does not matter yet. Returns the
  // slots that it takes.
  int load_single(const char* from) {
    const int vectors = length_ / lanes, rest = length_ % lanes;
    int slot = 0;
    for (; slot + block <= vectors; slot += block) {
      load_columns_and_sort(from + slot * vector_bytes, vector_bytes, slot);
    }
    if (slot < vectors || rest > 0) {
      for (int i = 0; i < block; ++i) stage_[i] = pad_;
      __builtin_memcpy(stage_, from + slot * vector_bytes,
                       static_cast<unsigned long>(length_ * key_bytes - slot * vector_bytes));
      load_columns_and_sort(reinterpret_cast<const char*>(stage_), vector_bytes, slot);
      slot += block;
    }
    return slot;
  }

  static access access_of(const wbs_args<1, 1>& args, long long stride,
                          const long long* batch_stride) {
    if (stride == target::key_bytes && args.length >= chunk) return access::rows;
    if (args.batch_dims > 0 && batch_stride[args.batch_dims - 1] == target::key_bytes &&
        args.batch_shape[args.batch_dims - 1] >= lanes) {
      return access::columns;
    }
    return access::strided;
  }

  // Loads the rows into the tile, encoded, padded and in sorted blocks.
  void load(access from) {
    const int full = length_ / block * block;
    if (from == access::rows) {
      for (int slot = 0; slot < full; slot += block) {
        prefetch_next<0>(slot);
        key keys[block];
        load_chunks(slot, keys, make_indices<block / piece>{});
        sort_block(slot, keys);
        if (stored_in_cache_) prefetch_stored(slot);
      }
    } else if (from == access::columns) {
      for (int slot = 0; slot < full; slot += block) {
        load_columns_and_sort(src_[0] + slot * src_stride_, src_stride_, slot);
      }
    } else {
      for (int slot = 0; slot < full; slot += block) {
        traits::gather(src_, slot * src_stride_, src_stride_, block, stage_);
        load_columns_and_sort(reinterpret_cast<const char*>(stage_), vector_bytes, slot);
      }
    }
    if (full < length_) load_last_block(from, full);
  }

  // Prefetches a block's share of half of the next group, while this one is loaded or stored, and
  // of the rows that this one is stored to: hardware prefetchers follow short pieces of many rows
  // badly. Spread over the blocks, because prefetches in one burst wait for each other.
  template <int Half>
  WBS_INLINE void prefetch_next(int slot) const {
    prefetch<0, Half>(src_, src_contiguous_, ahead_, slot);
  }
  WBS_INLINE void prefetch_stored(int slot) const {
    prefetch<1, 0>(dst_, dst_contiguous_, 0, slot);
    prefetch<1, 1>(dst_, dst_contiguous_, 0, slot);
  }
  template <int Write, int Half, class Rows>
  WBS_INLINE void prefetch(const Rows& rows, bool contiguous, long long ahead, int slot) const {
    constexpr int half = lanes / 2;
    if (contiguous) {
      const char* const lines = rows[Half * half] + ahead + slot * vector_bytes / 2;
      for (int at = 0; at < block * vector_bytes / 2; at += line_bytes) {
        __builtin_prefetch(lines + at, Write);
      }
    } else {
      for (int at = 0; at < block * key_bytes; at += line_bytes) {
        for (int row = Half * half; row < (Half + 1) * half; ++row) {
          __builtin_prefetch(rows[row] + ahead + slot * key_bytes + at, Write);
        }
      }
    }
  }

  void load_last_block(access from, int full) {
    const int rest = length_ - full;
    if (from == access::rows) {
      for (int slot = 0; slot + chunk <= rest; slot += chunk) stage_chunk(full + slot, slot);
      if (rest % chunk != 0) stage_chunk(length_ - chunk, rest - chunk);
    } else if (from == access::columns) {
      for (int slot = 0; slot < rest; ++slot) {
        stage_[slot] = target::load(src_[0] + (full + slot) * src_stride_);
      }
    } else {
      traits::gather(src_, full * src_stride_, src_stride_, rest, stage_);
    }
    for (int slot = rest; slot < block; ++slot) stage_[slot] = pad_;
    load_columns_and_sort(reinterpret_cast<const char*>(stage_), vector_bytes, full);
  }
  void stage_chunk(int position, int slot) {
    key keys[chunk];
    target::template load_rows<1>(src_, position * target::key_bytes, keys);
    copy(stage_ + slot, keys, make_indices<chunk>{});
  }

  template <int... Chunk>
  WBS_INLINE void load_chunks(int slot, key* keys, indices<Chunk...>) const {
    (target::template load_rows<piece / chunk>(src_, (slot + Chunk * piece) * target::key_bytes,
                                               keys + Chunk * piece),
     ...);
  }
  __attribute__((noinline)) void load_columns_and_sort(const char* src, long long stride,
                                                       int slot) {
    key keys[block];
    load_columns(src, stride, keys, make_indices<block>{});
    sort_block(slot, keys);
  }
  WBS_INLINE void sort_block(int slot, key* keys) {
    traits::encode(codec_, keys, make_indices<block>{});
    block_network::sort(target{}, keys);
    tile_sort::place(target{}, tile_, slot, keys);
  }

  void sort_and_store(access to) {
    if (to == access::rows) {
      sort_and_store_fused<access::rows>();
    } else if (to == access::columns) {
      sort_and_store_fused<access::columns>();
    } else {
      tile_sort::sort(target{}, tile_, slots_, finish_block<access::strided>{*this, 0});
      for (int slot = 0; slot < length_; slot += block) {
        decode_to_stage(slot);
        traits::scatter(dst_, rows_, slot * dst_stride_, dst_stride_,
                        length_ - slot < block ? length_ - slot : block, stage_);
      }
    }
  }
  // The last pass stores blocks directly. A partial last block, and the block in which the row's
  // last chunk begins, are stored from the tile.
  template <access To>
  WBS_INLINE void sort_and_store_fused() {
    const int rest = length_ % block;
    int direct = rest == 0 ? slots_ : rest >= chunk ? slots_ - block : slots_ - 2 * block;
    const finish_and_prefetch<To> finish{{*this, direct}};
    if (!tile_sort::sort(target{}, tile_, slots_, finish)) direct = 0;
    if (direct < length_) store_from_tile<To>(direct > 0 ? direct : 0);
  }

  template <access To>
  struct finish_block {
    tile_kernel& kernel;
    int direct;
    WBS_INLINE void operator()(int slot) const {
      key keys[block];
      kernel.copy(keys, kernel.tile_ + slot, make_indices<block>{});
      block_network::clean(target{}, keys);
      if (slot < direct) {
        traits::decode(kernel.codec_, keys, make_indices<block>{});
        if constexpr (To == access::rows) {
          kernel.store_chunks(slot, keys, make_indices<block / piece>{});
        } else {
          kernel.store_columns(slot, keys, make_indices<block>{});
        }
      } else {
        kernel.copy(kernel.tile_ + slot, keys, make_indices<block>{});
      }
    }
  };

  template <access To>
  struct finish_and_prefetch {
    finish_block<To> finish;
    WBS_INLINE void operator()(int slot) const {
      finish.kernel.template prefetch_next<1>(slot);
      finish(slot);
    }
  };

  template <access To>
  __attribute__((noinline)) void store_from_tile(int slot) {
    if constexpr (To == access::rows) {
      for (; slot + chunk <= length_; slot += chunk) store_tile_chunk(slot);
      if (slot < length_) store_tile_chunk(length_ - chunk);
    } else {
      for (; slot < length_; ++slot) {
        target::store(dst_[0] + slot * dst_stride_, codec_.decode(tile_[slot]));
      }
    }
  }
  void store_tile_chunk(int slot) {
    key keys[chunk];
    copy(keys, tile_ + slot, make_indices<chunk>{});
    traits::decode(codec_, keys, make_indices<chunk>{});
    target::template store_rows<1>(dst_, slot * target::key_bytes, keys);
  }
  void decode_to_stage(int slot) {
    for (int i = 0; i < block; ++i) stage_[i] = codec_.decode(tile_[slot + i]);
  }

  template <int... Chunk>
  WBS_INLINE void store_chunks(int slot, const key* keys, indices<Chunk...>) const {
    (target::template store_rows<piece / chunk>(dst_, (slot + Chunk * piece) * target::key_bytes,
                                                keys + Chunk * piece),
     ...);
  }
  template <int... I>
  WBS_INLINE void store_columns(int slot, const key* keys, indices<I...>) const {
    (target::store(dst_[0] + (slot + I) * dst_stride_, keys[I]), ...);
  }
  template <int... I>
  static WBS_INLINE void load_columns(const char* src, long long stride, key* keys, indices<I...>) {
    ((keys[I] = target::load(src + I * stride)), ...);
  }
  template <int... I>
  static WBS_INLINE void copy(key* to, const key* from, indices<I...>) {
    ((to[I] = from[I]), ...);
  }

  codec_type codec_;
  key pad_;
  int length_, slots_, rows_ = 0;
  long long src_stride_, dst_stride_;
  bool stored_in_cache_ = true;
  bool src_contiguous_ = false,
       dst_contiguous_ = false;  // each row begins where the one before ends
  long long ahead_ = 0;          // bytes from a row to the row of its lane in the next group
  key* tile_;
  key* stage_;
  char* junk_;
  alignas(64) const char* src_[lanes];
  alignas(64) char* dst_[lanes];
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_TILE_HPP_
