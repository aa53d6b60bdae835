// The CPU kernels that sort with indices.
//
// A group of rows is sorted at once (kernel/cpu_index_order.hpp). Rows whose order is not sure are
// checked and repaired; where that takes too long, or where it is not sure which elements are the
// first ones, the group is sorted once more, exactly. Then
// values are fetched from the input by index. Rows side by side, and rows of any strides, are
// copied first, so that their elements are contiguous.
//
// Invariant: all fetches from a row precede its stores, and a row's stores touch no other row, so
// that an output may be the input itself. No byte outside the rows is read or written.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_INDEX_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_INDEX_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/access.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/entry.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/kernel/cpu_index_order.hpp>
#include <warp_bitonic_sort/kernel/cpu_index_registers.hpp>
#include <warp_bitonic_sort/kernel/cpu_index_tile.hpp>
#include <warp_bitonic_sort/kernel/cpu_repair.hpp>
#include <warp_bitonic_sort/kernel/cpu_tile.hpp>
#include <warp_bitonic_sort/memory/cpu/array_cursor.hpp>
#include <warp_bitonic_sort/memory/cpu/columns.hpp>
#include <warp_bitonic_sort/memory/cpu/index_output.hpp>

// Tests count the rows that take each way.
#ifndef WARP_BITONIC_SORT_COUNT_ROWS
#define WARP_BITONIC_SORT_COUNT_ROWS(way, rows) static_cast<void>(rows)
#endif

namespace warp_bitonic_sort {

template <selection Selection, codec_kind Codec, int KeyBits, int Length>
struct index_order_of {
  using type = index_order_in_registers<Codec, KeyBits, Length>;
};
template <selection Selection, codec_kind Codec, int KeyBits>
struct index_order_of<Selection, Codec, KeyBits, 0> {
  using type = index_order_in_tile<Codec, KeyBits, Selection>;
};

// Rows of a Length are sorted in registers. Length 0 stands for any length up to a limit, sorted in
// a tile.
template <selection Selection, codec_kind Codec, int KeyBits, int Length, access Access>
class index_kernel {
  using args_type = wbs_args<1, 2>;
  using order_type = typename index_order_of<Selection, Codec, KeyBits, Length>::type;
  using target = typename order_type::target;
  using entry = typename order_type::entry;
  using word = typename order_type::word;
  using raw = typename order_type::raw;
  using output = index_output<target, KeyBits, Length>;
  static constexpr int block = order_type::block, word_bytes = order_type::word_bytes;

 public:
  static constexpr codec_kind codec = Codec;
  static constexpr int key_bytes = KeyBits / 8;
  static constexpr selection selected = Selection;
  static constexpr payload carried = payload::index;
  static constexpr access needed_access = Access;
  static constexpr int outputs = 2;
  static constexpr int lanes = target::lanes;
  static constexpr int min_length = Length == 0 ? 1 : Length;
  static constexpr int max_length = Length == 0 ? max_tile_length : Length;
  static constexpr bool keeps_all = Selection == selection::all;

  static long long scratch_bytes(long long length) {
    const long long words = order_type::pitch_for(length);
    return order_type::scratch_bytes(length) + words * word_bytes + simd_bytes +
           2 * lanes * words * key_bytes;
  }

  static void run(const void* args, long long first, long long last, void* scratch) {
    const auto& rows = *static_cast<const args_type*>(args);
    index_kernel(rows, static_cast<char*>(scratch)).sort_rows(first, last);
  }

 private:
  index_kernel(const args_type& args, char* scratch)
      : args_(args),
        length_(Length == 0 ? args.length : Length),
        kept_(Selection == selection::all ? length_ : args.kept),
        order_(args, scratch),
        row_bytes_(order_.pitch() * key_bytes),
        codes_(reinterpret_cast<word*>(scratch + order_type::scratch_bytes(length_))),
        copies_(reinterpret_cast<char*>(codes_ + order_.pitch()) + simd_bytes),
        values_(copies_ + lanes * row_bytes_),
        has_contiguous_input_(args.input_stride[0] == key_bytes &&
                              (Length != 0 || length_ >= block)),
        has_contiguous_outputs_(args.output_stride[1] == args.index_bytes &&
                                (!has_values() || args.output_stride[0] == key_bytes)) {}

  bool has_values() const { return args_.output[0] != nullptr; }

  void sort_rows(long long first, long long last) {
    array_cursor<1, 2> cursor(args_, first);
    for (long long left = last - first; left > 0;) {
      const long long run = left < cursor.run() ? left : cursor.run();
      const int unaligned = unaligned_columns(cursor, run);
      if (unaligned == 0 && run >= lanes) {
        const long long groups = run / lanes;
        sort_groups(cursor, groups);
        cursor.advance(groups * lanes);
        left -= groups * lanes;
      } else {
        const int most = unaligned != 0 ? unaligned : lanes;
        sort_few(cursor, left < most ? static_cast<int>(left) : most);
        left -= rows_;
      }
    }
  }
  // The columns before the first one whose indices are aligned. A store that crosses cache lines
  // makes the next group touch a line again; where elements of a column are a power of two apart,
  // it has left the cache by then. A run needs many groups to make up for one that is not full.
  int unaligned_columns(const array_cursor<1, 2>& cursor, long long run) const {
    const bool are_columns =
        cursor.input_step(0) == key_bytes && cursor.output_step(1) == args_.index_bytes;
    const int bytes = lanes * args_.index_bytes;
    if (!are_columns || args_.output_stride[1] % bytes != 0 || run < 128 * lanes) return 0;
    const auto address = reinterpret_cast<__UINTPTR_TYPE__>(cursor.output(1));
    return static_cast<int>(-address % static_cast<unsigned>(bytes)) / args_.index_bytes;
  }
  void sort_few(array_cursor<1, 2>& cursor, int rows) {
    whole_ = false;
    rows_ = rows;
    for (int lane = 0; lane < rows_; ++lane) {
      inputs_[lane] = cursor.input(0);
      outputs_[0][lane] = cursor.output(0);
      outputs_[1][lane] = cursor.output(1);
      cursor.advance(1);
    }
    sort_group();
  }
  void sort_groups(const array_cursor<1, 2>& cursor, long long groups) {
    whole_ = true;
    rows_ = lanes;
    strided_rows<const char> input = {cursor.input(0), cursor.input_step(0)};
    output_[0] = {cursor.output(0), cursor.output_step(0)};
    output_[1] = {cursor.output(1), cursor.output_step(1)};
    for (; groups > 0; --groups) {
      input_ = input;
      sort_group();
      input.base += lanes * input.step;
      for (strided_rows<char>& output : output_) output.base += lanes * output.step;
    }
  }

  void sort_group() {
    const bool are_columns = whole_ && input_.step == key_bytes && has_column_outputs();
    if (are_columns && kept_ == length_ && sort_columns_quickly()) return;
    if (are_columns) {
      columns_to_rows();
    } else if (!(whole_ && has_contiguous_input_)) {
      copy_rows();
    }
    const unsigned fetched = find_order();
    if (are_columns) {
      store_columns(fetched);
    } else if (whole_ && has_contiguous_outputs_) {
      store_contiguous_rows(fetched);
    } else {
      for (int lane = 0; lane < rows_; ++lane) store_row(lane, (fetched >> lane & 1) != 0);
    }
  }

  // Finds the order of each row. Returns a bit for each row whose values are fetched.
  unsigned find_order() {
    const unsigned present = static_cast<unsigned>((1ull << rows_) - 1);
    const unsigned unsure = order_.find(input_) & present;
    WARP_BITONIC_SORT_COUNT_ROWS(at_once, rows_ - __builtin_popcount(unsure));
    if constexpr (!order_type::is_exact) {
      if ((order_.undecided() & present) != 0) return find_exactly();
      for (unsigned left = unsure; left != 0; left &= left - 1) {
        if (!check_row(__builtin_ctz(left))) return find_exactly();
      }
    }
    return unsure;
  }
  unsigned find_exactly() {
    WARP_BITONIC_SORT_COUNT_ROWS(exactly, rows_);
    order_.find_exactly(input_);
    return 0;
  }
  // Fetches the keys of a row whose prefixes may hide its order, and repairs both; false if that
  // takes too long.
  __attribute__((noinline)) bool check_row(int lane) {
    word* const order = order_.row(lane);
    char* const values = values_of(lane);
    const int found = order_.found();
    fetch(lane, found);
    for (int i = 0; i < found; i += lanes) {
      typename target::template vector<raw, lanes> keys;
      __builtin_memcpy(&keys, values + i * key_bytes, sizeof(keys));
      const auto codes = __builtin_convertvector(order_.codec().encode(keys), entry);
      __builtin_memcpy(codes_ + i, &codes, sizeof(codes));
    }
    const repair_result result = repair_row<target>(
        row_in_repair<word, raw>{codes_, order, reinterpret_cast<raw*>(values)}, found);
    if (result == repair_result::abandoned) return false;
    if (result == repair_result::in_order) {
      WARP_BITONIC_SORT_COUNT_ROWS(in_order, 1);
    } else {
      WARP_BITONIC_SORT_COUNT_ROWS(repaired, 1);
    }
    return true;
  }

  // ---- rows -------------------------------------------------------------------------------------

  char* values_of(int lane) const { return values_ + lane * row_bytes_; }
  // Fetches the first keys of a row, so many of them. A table of the row pays off for all of it.
  void fetch(int lane, int count) const {
    if (count == length_) {
      output::fetch(input_[lane], order_.row(lane), count, values_of(lane));
    } else {
      output::fetch_few(input_[lane], order_.row(lane), count, values_of(lane));
    }
  }
  char* output_of(int which, int lane) const {
    return whole_ ? output_[which][lane] : outputs_[which][lane];
  }

  // Copies rows of any strides; lanes without a row get the last one. A tile loads whole blocks:
  // a row that is shorter is filled up with its last key.
  __attribute__((noinline)) void copy_rows() {
    const int length = Length == 0 ? length_ : Length;
    const int count = Length == 0 && length < block ? block : length;
    const long long stride = args_.input_stride[0];
    for (int lane = 0; lane < lanes; ++lane) {
      const char* const from = whole_ ? input_[lane] : inputs_[lane < rows_ ? lane : rows_ - 1];
      char* const to = copies_ + lane * row_bytes_;
      if (stride == key_bytes) {
        __builtin_memcpy(to, from, length * key_bytes);
      } else {
        for (int i = 0; i < length; ++i) {
          __builtin_memcpy(to + i * key_bytes, from + i * stride, key_bytes);
        }
      }
      for (int i = length; i < count; ++i) {
        __builtin_memcpy(to + i * key_bytes, to + (length - 1) * key_bytes, key_bytes);
      }
    }
    input_ = {copies_, row_bytes_};
  }

  void store_contiguous_rows(unsigned fetched) {
    if (args_.index_bytes == 8) {
      store_contiguous_rows<unsigned long long>(fetched);
    } else {
      store_contiguous_rows<unsigned>(fetched);
    }
  }
  template <class Index>
  __attribute__((noinline)) void store_contiguous_rows(unsigned fetched) {
    const int count = Length == 0 || Selection != selection::all ? kept_ : Length;
    const strided_rows<const char> input = input_;
    const strided_rows<char> values = output_[0], indices = output_[1];
    const bool has_values = this->has_values();
    char* const buffer = args_.output[0] == args_.input[0] ? values_ : nullptr;
    const word* order = order_.row(0);
    const long long pitch = order_.pitch();
    for (int lane = 0; lane < lanes; ++lane, order += pitch) {
      if (has_values) {
        if (fetched >> lane & 1) {
          output::write_values(values_of(lane), count, values[lane], key_bytes);
        } else if (Selection != selection::all && count < length_) {
          output::fetch_few(input[lane], order, count, values[lane]);
        } else {
          output::write_contiguous_values(input[lane], order, count, values[lane], buffer);
        }
      }
      output::template write_contiguous_indices<Index>(order, count, indices[lane]);
    }
  }
  void store_row(int lane, bool is_fetched) {
    const word* const order = order_.row(lane);
    if (has_values()) {
      if (!is_fetched) fetch(lane, kept_);
      output::write_values(values_of(lane), kept_, output_of(0, lane), args_.output_stride[0]);
    }
    if (args_.index_bytes == 4) {
      output::template write_indices<unsigned>(order, kept_, output_of(1, lane),
                                               args_.output_stride[1]);
    } else {
      output::template write_indices<unsigned long long>(order, kept_, output_of(1, lane),
                                                         args_.output_stride[1]);
    }
  }

  // ---- columns ----------------------------------------------------------------------------------

  bool has_column_outputs() const {
    return output_[1].step == args_.index_bytes && (!has_values() || output_[0].step == key_bytes);
  }
  void columns_to_rows() {
    columns<target, raw>::load(input_.base, args_.input_stride[0], length_, copies_, row_bytes_);
    input_ = {copies_, row_bytes_};
  }
  __attribute__((noinline)) void store_columns(unsigned fetched) {
    const char* const order = reinterpret_cast<const char*>(order_.row(0));
    const long long pitch = order_.pitch() * word_bytes;
    if (args_.index_bytes == 4) {
      columns<target, word>::template store<unsigned>(order, pitch, kept_, output_[1].base,
                                                      args_.output_stride[1]);
    } else {
      columns<target, word>::template store<unsigned long long>(
          order, pitch, kept_, output_[1].base, args_.output_stride[1]);
    }
    if (has_values()) {
      for (int lane = 0; lane < lanes; ++lane) {
        if ((fetched >> lane & 1) != 0) continue;
        fetch(lane, kept_);
      }
      columns<target, raw>::template store<raw>(values_, row_bytes_, kept_, output_[0].base,
                                                args_.output_stride[0]);
    }
  }

  // Sorts keys and prefixes in registers, where their instructions overlap. Without neighbours of
  // one prefix in any row, no keys are equal, and both come into the same order. False, with
  // nothing written, if there are such neighbours.
  bool sort_columns_quickly() {
    if constexpr (Length == 0 || order_type::is_exact || Access != access::columns) {
      return false;
    } else if (!order_.sorts_quickly()) {
      return false;
    } else if (args_.index_bytes == 4) {
      return sort_columns_quickly<unsigned>(make_indices<Length>{});
    } else {
      return sort_columns_quickly<unsigned long long>(make_indices<Length>{});
    }
  }
  template <class Index, int... I>
  __attribute__((noinline)) bool sort_columns_quickly(indices<I...>) {
    using indices_type = typename target::template vector<Index, lanes>;
    const char* const from = input_.base;
    const long long stride = args_.input_stride[0];
    const auto codec = order_.key_codec();
    entry keys[Length], entries[Length];
    (__builtin_prefetch(from + I * stride + column_bytes_ahead), ...);
    ((entries[I] = keys[I] = codec.encode(target::load(from + I * stride))), ...);
    if (has_values()) sort_registers<Length>(target{}, keys);
    if (!order_.sort_quickly(entries)) return false;
    char* const to = output_[1].base;
    const long long to_stride = args_.output_stride[1];
    (__builtin_prefetch(to + I * to_stride + column_bytes_ahead, 1), ...);
    (store_indices(to + I * to_stride, __builtin_convertvector(entries[I], indices_type)), ...);
    if (has_values()) {
      char* const values = output_[0].base;
      const long long value_stride = args_.output_stride[0];
      (__builtin_prefetch(values + I * value_stride + column_bytes_ahead, 1), ...);
      (target::store(values + I * value_stride, codec.decode(keys[I])), ...);
    }
    WARP_BITONIC_SORT_COUNT_ROWS(at_once, lanes);
    return true;
  }
  template <class Indices>
  static WBS_INLINE void store_indices(char* to, const Indices& indices) {
    __builtin_memcpy(to, &indices, sizeof(indices));
  }

  const args_type& args_;
  int length_, kept_;
  order_type order_;
  long long row_bytes_;  // of a copy
  word* codes_;
  char* copies_;
  char* values_;
  bool has_contiguous_input_, has_contiguous_outputs_;
  // The group: its rows, and whether there are as many as lanes, at a common step.
  int rows_ = 0;
  bool whole_ = false;
  strided_rows<const char> input_ = {};
  strided_rows<char> output_[2] = {};
  const char* inputs_[lanes];
  char* outputs_[2][lanes];
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_INDEX_HPP_
