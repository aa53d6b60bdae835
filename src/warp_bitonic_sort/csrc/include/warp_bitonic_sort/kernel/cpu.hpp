// The CPU kernels behind abi.h: a whole translation unit is one of the macros at the end.
//
// - register kernel: the row length is a compile-time constant, and every position is a variable;
// - tile kernel: any length up to a limit, through a tile of scratch that stays in cache.
//
// Invariant: rows are sorted in groups of simd::lanes, one row a SIMD lane; every load of a group
// precedes every store of it (so sorting in place is right), and no byte outside a row is read or
// written.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/access.hpp>
#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/entry.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/kernel/cpu_index.hpp>
#include <warp_bitonic_sort/memory/cpu/nontemporal_store.hpp>
#include <warp_bitonic_sort/memory/cpu/row_cursor.hpp>
#include <warp_bitonic_sort/network/bitonic.hpp>
#include <warp_bitonic_sort/network/registers.hpp>
#include <warp_bitonic_sort/network/tile.hpp>
#include <warp_bitonic_sort/target/simd/target.hpp>

namespace warp_bitonic_sort {

template <codec_kind Codec, int KeyBits>
struct cpu_traits {
  using target = simd<KeyBits>;
  using key = typename target::key;
  using element = typename target::element;
  using codec_type = codec<Codec, key, typename target::signed_key, element>;

  static WBS_INLINE codec_type make_codec(const wbs_args<1, 1>& args) {
    return codec_type({args.key_xor, args.key_add}, target::bias);
  }
  template <int... I>
  static WBS_INLINE void encode(const codec_type& codec, key* keys, indices<I...>) {
    ((keys[I] = codec.encode(keys[I])), ...);
  }
  template <int... I>
  static WBS_INLINE void decode(const codec_type& codec, key* keys, indices<I...>) {
    ((keys[I] = codec.decode(keys[I])), ...);
  }

  // One key at a time: for rows that no vector access fits.
  static __attribute__((noinline)) void gather(const char* const* rows, long long offset,
                                               long long stride, int slots, key* keys) {
    char* const to = reinterpret_cast<char*>(keys);
    for (int lane = 0; lane < target::lanes; ++lane) {
      const char* from = rows[lane] + offset;
      for (int slot = 0; slot < slots; ++slot, from += stride) {
        __builtin_memcpy(to + slot * simd_bytes + lane * target::key_bytes, from,
                         target::key_bytes);
      }
    }
  }
  static __attribute__((noinline)) void scatter(char* const* rows, int count, long long offset,
                                                long long stride, int slots, const key* keys) {
    const char* const from = reinterpret_cast<const char*>(keys);
    for (int lane = 0; lane < count; ++lane) {
      char* to = rows[lane] + offset;
      for (int slot = 0; slot < slots; ++slot, to += stride) {
        __builtin_memcpy(to, from + slot * simd_bytes + lane * target::key_bytes,
                         target::key_bytes);
      }
    }
  }
};

template <codec_kind Codec, int KeyBits, int Length, access Access>
class register_kernel {
  using traits = cpu_traits<Codec, KeyBits>;
  using target = typename traits::target;
  using key = typename traits::key;
  using codec_type = typename traits::codec_type;
  static_assert(Access != access::strided, "strided rows go to the tile kernel");

 public:
  static constexpr int lanes = target::lanes;
  static constexpr int key_bytes = target::key_bytes;
  static constexpr codec_kind codec = Codec;
  static constexpr payload carried = payload::none;
  static constexpr int outputs = 1;
  static constexpr int min_length = Length, max_length = Length;
  static constexpr access needed_access = Access;

  static long long scratch_bytes(long long) { return 0; }

  static void run(const void* args, long long first, long long last, void*) {
    if constexpr (Access == access::rows) {
      run_rows(*static_cast<const wbs_args<1, 1>*>(args), first, last);
    } else {
      run_columns(*static_cast<const wbs_args<1, 1>*>(args), first, last);
    }
  }

 private:
  static constexpr int bits = bits_for(Length);
  // Blocks that registers hold at once are sorted as they come and cleaned as they go.
  static constexpr int block_bits = bits < simd_register_bits ? bits : simd_register_bits;
  static constexpr int block = 1 << block_bits;
  using network_type = network<target, register_layout<bits>, Length>;

  // Rows that follow each other without a gap are read and written at offsets that the compiler
  // knows, others at multiples of their stride; groups that lack a row or cross from one dimension
  // of the batch into the next, by way of a stage where they follow each other.
  static void run_rows(const wbs_args<1, 1>& args, long long first, long long last) {
    const codec_type codec = traits::make_codec(args);
    row_cursor<lanes> cursor(args, first);
    const long long src_stride = cursor.src_stride(), dst_stride = cursor.dst_stride();
    const bool contiguous = src_stride == row_bytes && dst_stride == row_bytes;
    alignas(64) char stage[nontemporal_store::stage_bytes(group_bytes)];
    nontemporal_store stream(stage, cursor.dst(), group_bytes);
    bool streaming = is_streamed(args, contiguous && cursor.run() >= last - first);
    for (long long left = last - first; left > 0; left -= lanes) {
      const bool whole = left >= lanes && cursor.run() >= lanes;
      if (streaming && !whole) {
        stream.finish();
        streaming = false;
      }
      if (whole && !contiguous) {
        sort_group(codec, row_source<strided_rows<const char>>{{cursor.src(), src_stride}},
                   row_sink<strided_rows<char>>{{cursor.dst(), dst_stride}});
        cursor.advance(lanes);
        continue;
      }
      const char* from = cursor.src();
      char* to = streaming ? stream.group() : cursor.dst();
      const char* src[lanes];
      char* dst[lanes];
      if (whole) {
        cursor.advance(lanes);
      } else {
        cursor.next(left, src, dst, stage);
        const long long ahead = cursor.src() - src[0];
        for (int i = 0; i < lanes; ++i) {
          __builtin_prefetch(src[i] + ahead);
          __builtin_memcpy(stage + i * row_bytes, src[i], row_bytes);
        }
        from = to = stage;
      }
      sort_group(codec, row_source<contiguous_rows<const char>>{{from}},
                 row_sink<contiguous_rows<char>>{{to}});
      if (streaming) {
        stream.flush();
      } else if (!whole) {
        const int rows = left < lanes ? static_cast<int>(left) : lanes;
        for (int i = 0; i < rows; ++i) __builtin_memcpy(dst[i], stage + i * row_bytes, row_bytes);
      }
    }
    if (streaming) stream.finish();
  }

  template <class Source, class Sink>
  static WBS_INLINE void sort_group(const codec_type& codec, const Source& source,
                                    const Sink& sink) {
    key keys[Length];
    load<0>(codec, source, keys);
    network_type::template sort_blocks<block_bits, block_bits>(target{}, keys);
    store<0>(codec, sink, keys);
  }

  static void run_columns(const wbs_args<1, 1>& args, long long first, long long last) {
    const codec_type codec = traits::make_codec(args);
    row_cursor<lanes> cursor(args, first);
    const char* src[lanes];
    char* dst[lanes];
    char junk[row_bytes];
    const bool are_columns = cursor.src_stride() == key_bytes && cursor.dst_stride() == key_bytes;
    for (long long left = last - first; left > 0; left -= lanes) {
      // Groups that do not fill the lanes from one line of columns go by way of a stage.
      const bool whole = are_columns && left >= lanes && cursor.run() >= lanes;
      key stage[Length];
      column_source from{reinterpret_cast<const char*>(stage), simd_bytes};
      column_sink to{reinterpret_cast<char*>(stage), simd_bytes};
      if (whole) {
        from = {cursor.src(), args.input_stride[0]};
        to = {cursor.dst(), args.output_stride[0]};
        cursor.advance(lanes);
      } else {
        cursor.next(left, src, dst, junk);
        traits::gather(src, 0, args.input_stride[0], Length, stage);
      }
      sort_group(codec, from, to);
      if (!whole) {
        traits::scatter(dst, left < lanes ? static_cast<int>(left) : lanes, 0,
                        args.output_stride[0], Length, stage);
      }
    }
  }

  // The keys from `position` on that one load of each row brings (and one store takes back). It may
  // begin before, where the row's end would else cut it short; those keys are there already, and
  // are stored twice alike.
  struct piece {
    int first, size, skip;
  };
  static constexpr piece piece_at(int position) {
    const int left = Length - position;
    const int largest = lanes < (1 << simd_register_bits) ? lanes : 1 << simd_register_bits;
    if (Access == access::columns) return {position, 1, 0};
    if (left >= largest) return {position, largest, 0};
    int size = Length < target::chunk_keys ? 1 : target::chunk_keys;
    while (size < left) size *= 2;
    if (size <= Length) return {Length - size, size, size - left};
    return {position, size / 2, 0};
  }

  template <int Position, class Source>
  static WBS_INLINE void load(const codec_type& codec, const Source& source, key* keys) {
    if constexpr (Position < Length) {
      constexpr piece p = piece_at(Position);
      constexpr int fresh = p.size - p.skip, next = Position + fresh;
      source.template load<p.first, p.size, p.skip>(keys);
      traits::encode(codec, keys + Position, make_indices<fresh>{});
      if constexpr (next % block == 0 || next == Length) {
        network_type::template sort<block_bits, (next - 1) / block * block>(target{}, keys);
      }
      load<next>(codec, source, keys);
    }
  }
  template <int Position, class Sink>
  static WBS_INLINE void store(const codec_type& codec, const Sink& sink, key* keys) {
    if constexpr (Position < Length) {
      constexpr piece p = piece_at(Position);
      constexpr int fresh = p.size - p.skip;
      if constexpr (Position % block == 0 && bits > block_bits) {
        network_type::template clean<block_bits, Position>(target{}, keys);
      }
      traits::decode(codec, keys + Position, make_indices<fresh>{});
      sink.template store<p.first, p.size>(keys, make_indices<p.size>{});
      store<Position + fresh>(codec, sink, keys);
    }
  }

  static constexpr int row_bytes = Length * key_bytes;
  static constexpr int group_bytes = lanes * row_bytes;
  static_assert(!streams_stores || group_bytes % line_bytes == 0, "groups end where they began");
  // A group of short rows is sorted in less time than a line takes to come: some 4 KiB do, and
  // twice that where vectors are so wide that long results are streamed. Prefetches in one burst
  // would wait for each other, so each vector that is moved prefetches its like.
  static constexpr int bytes_ahead = streams_stores ? 8192 : 4096;
  template <class Byte>
  struct contiguous_rows {
    Byte* base;
    WBS_INLINE Byte* operator[](int row) const { return base + row * row_bytes; }
    template <int Write, int First, int... I>
    WBS_INLINE void prefetch(indices<I...>) const {
      (((First + I) * simd_bytes % line_bytes == 0
            ? __builtin_prefetch(base + bytes_ahead + (First + I) * simd_bytes, Write)
            : void()),
       ...);
    }
  };
  template <class Byte>
  struct strided_rows {
    Byte* base;
    long long stride;
    WBS_INLINE Byte* operator[](int row) const { return base + row * stride; }
    // Measured: these do as well without.
    template <int Write, int First, int... I>
    WBS_INLINE void prefetch(indices<I...>) const {}
  };

  static constexpr int chunks_of(int size) {
    return size < target::chunk_keys ? 1 : size / target::chunk_keys;
  }
  static constexpr int keys_of_chunk(int size) {
    return size < target::chunk_keys ? size : target::chunk_keys;
  }

  template <class Rows>
  struct row_source {
    Rows rows;
    template <int First, int Size, int Skip>
    WBS_INLINE void load(key* keys) const {
      rows.template prefetch<0, First + Skip>(make_indices<Size - Skip>{});
      key transposed[chunks_of(Size) * target::chunk_keys];
      target::template load_rows<chunks_of(Size), keys_of_chunk(Size)>(rows, First * key_bytes,
                                                                       transposed);
      copy<First + Skip, Skip>(keys, transposed, make_indices<Size - Skip>{});
    }
    template <int To, int From, int... I>
    static WBS_INLINE void copy(key* to, const key* from, indices<I...>) {
      ((to[To + I] = from[From + I]), ...);
    }
  };
  template <class Rows>
  struct row_sink {
    Rows rows;
    template <int First, int Size, int... I>
    WBS_INLINE void store(const key* keys, indices<I...> all) const {
      if constexpr (!streams_stores) rows.template prefetch<1, First>(all);
      key straight[chunks_of(Size) * target::chunk_keys] = {keys[First + I]...};
      target::template store_rows<chunks_of(Size), keys_of_chunk(Size)>(rows, First * key_bytes,
                                                                        straight);
    }
  };
  struct column_source {
    const char* base;
    long long stride;
    template <int First, int Size, int Skip>
    WBS_INLINE void load(key* keys) const {
      keys[First] = target::load(base + First * stride);
    }
  };
  struct column_sink {
    char* base;
    long long stride;
    template <int First, int Size, int... I>
    WBS_INLINE void store(const key* keys, indices<I...>) const {
      target::store(base + First * stride, keys[First]);
    }
  };
};

template <codec_kind Codec, int KeyBits>
class tile_kernel {
  using traits = cpu_traits<Codec, KeyBits>;
  using target = typename traits::target;
  using key = typename traits::key;
  using codec_type = typename traits::codec_type;
  static constexpr int chunk = target::chunk_keys;
  // Blocks of 32 on targets with 32 registers were measured slower, and waste more on padding.
  static constexpr int block_bits = 4;
  static constexpr int block = 1 << block_bits;
  // Slots that one load of each row brings: a whole vector if that is no more than a block.
  static constexpr int piece = target::lanes < block ? target::lanes : block;
  using tile_sort = tile_network<target, block_bits>;
  using block_network = network<target, register_layout<block_bits>>;

 public:
  static constexpr int lanes = target::lanes;
  static constexpr int key_bytes = target::key_bytes;
  static constexpr codec_kind codec = Codec;
  static constexpr payload carried = payload::none;
  static constexpr int outputs = 1;
  static constexpr int min_length = 1, max_length = 1 << 16;
  static constexpr access needed_access = access::strided;

  static long long scratch_bytes(long long length) {
    const long long row = (length * target::key_bytes + 63) / 64 * 64;
    return (slots_for(length) + stage_slots) * simd_bytes + row;
  }

  static void run(const void* args, long long first, long long last, void* scratch) {
    const auto& rows = *static_cast<const wbs_args<1, 1>*>(args);
    tile_kernel(rows, scratch).sort_rows(rows, first, last);
  }

 private:
  // Room before the block for a chunk that ends with the row but begins in the block before.
  static constexpr int stage_slots = block + chunk;

  static long long slots_for(long long length) { return (length + block - 1) / block * block; }

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
    for (long long left = last - first; left > 0; left -= lanes) {
      const bool whole = left >= lanes && cursor.run() >= lanes;
      rows_ = left < lanes ? static_cast<int>(left) : lanes;
      cursor.next(left, src_, dst_, junk_);
      ahead_ = cursor.src() - src_[0];
      load(src_access == access::columns && !whole ? access::strided : src_access);
      sort_and_store(dst_access == access::columns && !whole ? access::strided : dst_access);
    }
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

  // Brings the rows into the tile, encoded, padded and in sorted blocks.
  void load(access from) {
    const int full = length_ / block * block;
    if (from == access::rows) {
      for (int slot = 0; slot < full; slot += block) {
        prefetch<0>(src_, src_contiguous_, ahead_, slot);
        key keys[block];
        load_chunks(slot, keys, make_indices<block / piece>{});
        sort_block(slot, keys);
        prefetch<1>(dst_, dst_contiguous_, 0, slot);
      }
    } else if (from == access::columns) {
      for (int slot = 0; slot < full; slot += block) {
        load_columns_and_sort(src_[0] + slot * src_stride_, src_stride_, slot);
      }
    } else {
      for (int slot = 0; slot < full; slot += block) {
        traits::gather(src_, slot * src_stride_, src_stride_, block, stage_);
        load_columns_and_sort(reinterpret_cast<const char*>(stage_), simd_bytes, slot);
      }
    }
    if (full < length_) load_last_block(from, full);
  }

  // Prefetches a block's share of a group of rows, so many bytes on, to read or to write: the next
  // group, while this one is loaded, and where this one will be stored. A group reads and writes
  // many rows by short pieces, which the hardware's prefetchers follow badly (and not at all into
  // the next group). Bursts of prefetches wait for each other, so they are spread over the blocks.
  template <int Write, class Rows>
  WBS_INLINE void prefetch(const Rows& rows, bool contiguous, long long ahead, int slot) const {
    if (contiguous) {
      const char* const lines = rows[0] + ahead + slot * simd_bytes;
      for (int at = 0; at < block * simd_bytes; at += line_bytes) {
        __builtin_prefetch(lines + at, Write);
      }
    } else {
      for (int at = 0; at < block * key_bytes; at += line_bytes) {
        for (int row = 0; row < lanes; ++row) {
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
    load_columns_and_sort(reinterpret_cast<const char*>(stage_), simd_bytes, full);
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
  // Blocks are stored as the last pass makes them, but for a last partial block, and the one before
  // it where the row's last chunk begins there: these go by way of the tile.
  template <access To>
  WBS_INLINE void sort_and_store_fused() {
    const int rest = length_ % block;
    int direct = rest == 0 ? slots_ : rest >= chunk ? slots_ - block : slots_ - 2 * block;
    if (!tile_sort::sort(target{}, tile_, slots_, finish_block<To>{*this, direct})) direct = 0;
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
  bool src_contiguous_ = false,
       dst_contiguous_ = false;  // each row begins where the one before ends
  long long ahead_ = 0;          // bytes from a row to the row of its lane in the next group
  key* tile_;
  key* stage_;
  char* junk_;
  alignas(64) const char* src_[lanes];
  alignas(64) char* dst_[lanes];
};

// Without registers, a kernel sorts in a tile.
template <payload Payload, codec_kind Codec, int KeyBits, access Access, int Registers>
struct cpu_kernel_of;
template <codec_kind Codec, int KeyBits, access Access, int Registers>
struct cpu_kernel_of<payload::none, Codec, KeyBits, Access, Registers> {
  using type = register_kernel<Codec, KeyBits, Registers, Access>;
};
template <codec_kind Codec, int KeyBits>
struct cpu_kernel_of<payload::none, Codec, KeyBits, access::strided, 0> {
  using type = tile_kernel<Codec, KeyBits>;
};
template <codec_kind Codec, int KeyBits, access Access, int Registers>
struct cpu_kernel_of<payload::index, Codec, KeyBits, Access, Registers> {
  using type = index_kernel<Codec, KeyBits, Registers, Access>;
};
template <payload Payload, codec_kind Codec, int KeyBits, access Access, int Registers>
using cpu_kernel = typename cpu_kernel_of<Payload, Codec, KeyBits, Access, Registers>::type;

template <class Kernel>
constexpr wbs_cpu_kernel describe_kernel(const char* name) {
  wbs_cpu_kernel kernel{};
  kernel.cell.abi_version = WBS_ABI_VERSION;
  kernel.cell.selection = static_cast<unsigned>(selection::all);
  kernel.cell.payload = static_cast<unsigned>(Kernel::carried);
  kernel.cell.codec = static_cast<unsigned>(Kernel::codec);
  kernel.cell.bits = 8 * Kernel::key_bytes;
  kernel.cell.access = static_cast<unsigned>(Kernel::needed_access);
  kernel.cell.inputs = 1;
  kernel.cell.outputs = Kernel::outputs;
  kernel.cell.min_length = Kernel::min_length;
  kernel.cell.max_length = Kernel::max_length;
  for (int i = 0; name[i] != 0; ++i) kernel.cell.name[i] = name[i];
  kernel.lanes = Kernel::lanes;
  kernel.scratch_bytes = &Kernel::scratch_bytes;
  kernel.run = &Kernel::run;
  return kernel;
}

}  // namespace warp_bitonic_sort

#define WARP_BITONIC_SORT_KERNEL(name, Selection, Payload, Codec, key_bits, Access, registers,     \
                                 lane_bits, warp_bits)                                             \
  static_assert(lane_bits == 0 && warp_bits == 0, "a CPU holds a row in registers or in a tile");  \
  static_assert(::warp_bitonic_sort::selection::Selection == ::warp_bitonic_sort::selection::all,  \
                "there is no other");                                                              \
  extern "C" __attribute__((visibility("default")))                                                \
  const wbs_cpu_kernel warp_bitonic_sort_kernel =                                                  \
      ::warp_bitonic_sort::describe_kernel<::warp_bitonic_sort::cpu_kernel<                        \
          ::warp_bitonic_sort::payload::Payload, ::warp_bitonic_sort::codec_kind::Codec, key_bits, \
          ::warp_bitonic_sort::access::Access, registers>>(name);

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_HPP_
