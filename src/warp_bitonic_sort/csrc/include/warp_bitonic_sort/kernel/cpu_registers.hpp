// The CPU kernels that sort rows of one length in registers.
//
// The length is a compile-time constant, and every position is a variable.
//
// Invariant: rows are sorted in groups of simd::lanes, one row a SIMD lane. Every load of a group
// precedes every store of it, so that sorting in place is right. Groups of columns may overlap: a
// sorted column is sorted again without a change. No byte outside a row is read or written.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_REGISTERS_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_REGISTERS_HPP_

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
#include <warp_bitonic_sort/network/registers.hpp>

namespace warp_bitonic_sort {

template <codec_kind Codec, int KeyBits, int Length, access Access>
class register_kernel {
  // Vectors of columns are as long as registers: where those have 64 bytes, they are whole lines.
  static constexpr int vector_bytes = Access == access::rows ? row_simd_bytes : simd_bytes;
  using traits = cpu_traits<Codec, KeyBits, vector_bytes>;
  using target = typename traits::target;
  using key = typename traits::key;
  using codec_type = typename traits::codec_type;
  static_assert(Access != access::strided, "strided rows go to the tile kernel");

 public:
  static constexpr int lanes = target::lanes;
  static constexpr int key_bytes = target::key_bytes;
  static constexpr codec_kind codec = Codec;
  static constexpr selection selected = selection::all;
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
  // Registers hold a block at once: it is sorted after its loads, and cleaned before its stores.
  static constexpr int block_bits = bits < simd_register_bits ? bits : simd_register_bits;
  static constexpr int block = 1 << block_bits;
  using network_type = network<target, bits, Length>;

  // Contiguous rows are accessed at offsets that the compiler knows, others at multiples of their
  // stride. Groups that lack a row or cross a dimension of the batch are staged.
  static void run_rows(const wbs_args<1, 1>& args, long long first, long long last) {
    const codec_type codec = traits::make_codec(args);
    row_cursor<lanes> cursor(args, first);
    const long long src_stride = cursor.src_stride(), dst_stride = cursor.dst_stride();
    const bool contiguous = src_stride == row_bytes && dst_stride == row_bytes;
    // A store that crosses a page takes as long as tens of others.
    alignas(page_bytes) char stage[nontemporal_store::stage_bytes(group_bytes)];
    nontemporal_store stream(stage, cursor.dst());
    bool streaming =
        streams_groups && is_streamed(args, key_bytes, contiguous && cursor.run() >= last - first);
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
        stream.flush(group_bytes);
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
    long long sorted = 0;  // columns of this run that come before the cursor
    for (long long left = last - first; left > 0;) {
      const long long run = cursor.run(), in_run = left < run ? left : run;
      // A group that lacks columns begins with sorted ones. Without enough of these, it is staged.
      const bool whole = are_columns && sorted + in_run >= lanes;
      key stage[Length];
      column_source from{reinterpret_cast<const char*>(stage), vector_bytes};
      column_sink to{reinterpret_cast<char*>(stage), vector_bytes};
      long long step = lanes;
      if (whole) {
        const long long overlap = in_run < lanes ? (lanes - in_run) * key_bytes : 0;
        from = {cursor.src() - overlap, args.input_stride[0]};
        to = {cursor.dst() - overlap, args.output_stride[0]};
        step = in_run < lanes ? in_run : step_to_aligned(args, cursor.dst(), in_run);
        cursor.advance(step);
        sorted = step < run ? sorted + step : 0;
      } else {
        cursor.next(left, src, dst, junk);
        traits::gather(src, 0, args.input_stride[0], Length, stage);
        sorted = 0;
      }
      sort_group(codec, from, to);
      if (!whole) {
        traits::scatter(dst, left < lanes ? static_cast<int>(left) : lanes, 0,
                        args.output_stride[0], Length, stage);
      }
      left -= step;
    }
  }
  // Columns from this group to the next one. If there are many groups, the next one is aligned, so
  // that its vectors do not cross lines.
  static long long step_to_aligned(const wbs_args<1, 1>& args, const char* columns,
                                   long long in_run) {
    constexpr int min_groups = 8;
    if (in_run < min_groups * lanes || args.output_stride[0] % vector_bytes != 0) return lanes;
    const auto skew = reinterpret_cast<unsigned long>(columns) % vector_bytes;
    return lanes - static_cast<int>(skew) / key_bytes;
  }

  // The keys that one load of each row brings, from `position` on. Near the row's end the load
  // begins earlier; it skips `skip` keys that are loaded already, and these are stored twice alike.
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
  // Measured: the stage delays small groups of vectors that are shorter than a line.
  static constexpr bool streams_groups =
      streams_stores && (vector_bytes == line_bytes || group_bytes >= 512);
  static_assert(!streams_groups || group_bytes >= line_bytes, "a stage takes whole lines");
  // Prefetch distance: a group of short rows is sorted in less time than a cache miss takes.
  // Prefetches in one burst would wait for each other, so each vector access prefetches one line.
  static constexpr int bytes_ahead = streams_groups ? 8192 : 4096;
  template <class Byte>
  struct contiguous_rows {
    Byte* base;
    WBS_INLINE Byte* operator[](int row) const { return base + row * row_bytes; }
    template <int Write, int First, int... I>
    WBS_INLINE void prefetch(indices<I...>) const {
      (((First + I) * vector_bytes % line_bytes == 0
            ? __builtin_prefetch(base + bytes_ahead + (First + I) * vector_bytes, Write)
            : void()),
       ...);
    }
  };
  template <class Byte>
  struct strided_rows {
    Byte* base;
    long long stride;
    WBS_INLINE Byte* operator[](int row) const { return base + row * stride; }
    // Measured: prefetches do not speed up strided rows.
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
      if constexpr (!streams_groups) rows.template prefetch<1, First>(all);
      key stored[chunks_of(Size) * target::chunk_keys] = {keys[First + I]...};
      target::template store_rows<chunks_of(Size), keys_of_chunk(Size)>(rows, First * key_bytes,
                                                                        stored);
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

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_REGISTERS_HPP_
