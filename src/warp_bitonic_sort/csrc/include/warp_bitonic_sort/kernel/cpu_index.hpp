// The CPU kernels that sort with indices.
//
// A group of rows, one a SIMD lane, becomes a tile of entries of one word: a prefix of the code and
// the index (core/composite.hpp). The network sorts them. Rows whose prefixes do not tell all of
// their codes apart are checked and repaired; rows that need too much repair are sorted once more,
// exactly, by halves of their codes. Then values are fetched from the input by index.
//
// Invariant: all fetches from a row precede its stores, and a row's stores touch no other row, so
// that an output may be the input itself. No byte outside the rows is read or written.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_INDEX_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_INDEX_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/access.hpp>
#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/composite.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/entry.hpp>
#include <warp_bitonic_sort/kernel/cpu_repair.hpp>
#include <warp_bitonic_sort/kernel/cpu_tile.hpp>
#include <warp_bitonic_sort/memory/cpu/array_cursor.hpp>
#include <warp_bitonic_sort/memory/cpu/index_output.hpp>
#include <warp_bitonic_sort/network/registers.hpp>
#include <warp_bitonic_sort/network/tile.hpp>
#include <warp_bitonic_sort/target/simd/words.hpp>

// Tests count the rows that take each way.
#ifndef WARP_BITONIC_SORT_COUNT_ROWS
#define WARP_BITONIC_SORT_COUNT_ROWS(way, rows) static_cast<void>(rows)
#endif

namespace warp_bitonic_sort {

// Rows of a Length are sorted in registers. Length 0 stands for any length up to a limit, sorted in
// a tile.
template <codec_kind Codec, int KeyBits, int Length, access Access>
class index_kernel {
  using args_type = wbs_args<1, 2>;
  using target = simd_words<KeyBits == 64 ? 64 : 32>;
  using entry = typename target::key;
  using word = typename target::element;
  using raw = typename unsigned_of<KeyBits>::type;
  using output = index_output<target, KeyBits, Length>;
  // Codes with an index in one word, without loss.
  static constexpr bool is_exact = 2 * KeyBits <= 8 * static_cast<int>(sizeof(word));
  static constexpr int block_bits = 4, block = 1 << block_bits;
  using tile_sort = tile_network<target, block_bits>;
  using block_network = network<target, block_bits>;
  static constexpr int register_slots =
      1 << bits_for(Length) < target::chunk_keys ? target::chunk_keys : 1 << bits_for(Length);
  static constexpr int row_bytes = Length * KeyBits / 8;

 public:
  static constexpr codec_kind codec = Codec;
  static constexpr int key_bytes = KeyBits / 8;
  static constexpr payload carried = payload::index;
  static constexpr access needed_access = Access;
  static constexpr int outputs = 2;
  static constexpr int lanes = target::lanes;
  static constexpr int min_length = Length == 0 ? 1 : Length;
  static constexpr int max_length = Length == 0 ? max_tile_length : Length;

  static long long scratch_bytes(long long length) {
    const long long slots = slots_for(length);
    return (4 * slots + pitch_padding) * simd_bytes +
           slots * (key_bytes + static_cast<int>(sizeof(word))) + 2 * simd_bytes +
           lanes * length * key_bytes;
  }

  static void run(const void* args, long long first, long long last, void* scratch) {
    const auto& rows = *static_cast<const args_type*>(args);
    index_kernel(rows, scratch).sort_rows(first, last);
  }

 private:
  template <int Count>
  using raw_vector = typename target::template vector<raw, Count>;
  template <int Count>
  using codec_of = canonical_codec<
      Codec, raw_vector<Count>,
      typename vector_of<typename unsigned_of<KeyBits>::signed_type, Count * key_bytes>::type, raw>;
  using codec_type = codec_of<lanes>;
  using composite_type = composite<word, entry>;

  // A tile is whole blocks.
  static long long slots_for(long long length) {
    return Length == 0 ? (length + block - 1) / block * block : register_slots;
  }
  // Keeps the rows of the stage out of each other's cache sets.
  static constexpr int pitch_padding = Length == 0 ? block : 0;

  index_kernel(const args_type& args, void* scratch)
      : args_(args),
        codec_({args.key_xor, args.key_add}),
        length_(Length == 0 ? args.length : Length),
        slots_(static_cast<int>(slots_for(args.length))),
        index_bits_(bits_for(length_)),
        tile_(static_cast<entry*>(scratch)),
        codes_(tile_ + slots_),
        places_(codes_ + slots_),
        stage_(reinterpret_cast<char*>(places_ + slots_)),
        row_codes_(reinterpret_cast<word*>(stage_ + (slots_ + pitch_padding) * simd_bytes)),
        values_(reinterpret_cast<char*>(row_codes_ + slots_) + simd_bytes),
        copies_(values_ + slots_ * key_bytes + simd_bytes) {}

  void sort_rows(long long first, long long last) {
    array_cursor<1, 2> cursor(args_, first);
    const bool by_rows = Length != 0 ? Access == access::rows
                                     : args_.input_stride[0] == key_bytes && length_ >= block;
    for (long long left = last - first; left > 0; left -= lanes) {
      rows_ = left < lanes ? static_cast<int>(left) : lanes;
      whole_ = left >= lanes && cursor.run() >= lanes;
      if (whole_) {
        input_ = {cursor.input(0), cursor.input_step(0)};
        output_[0] = {cursor.output(0), cursor.output_step(0)};
        output_[1] = {cursor.output(1), cursor.output_step(1)};
        cursor.advance(lanes);
      } else {
        for (int lane = 0; lane < rows_; ++lane) {
          inputs_[lane] = cursor.input(0);
          outputs_[0][lane] = cursor.output(0);
          outputs_[1][lane] = cursor.output(1);
          cursor.advance(1);
        }
      }
      if (by_rows) {
        sort_contiguous_rows();
      } else {
        sort_columns();
      }
    }
  }

  // ---- rows whose elements are contiguous -------------------------------------------------------

  void sort_contiguous_rows() {
    if (!whole_) copy_rows();
    unsigned unsure = order_group<true>();
    if (unsure == 0 && whole_ && args_.output_stride[1] == args_.index_bytes &&
        (args_.output[0] == nullptr || args_.output_stride[0] == key_bytes)) {
      return finish_contiguous_rows();
    }
    for (int lane = 0; lane < rows_; ++lane) {
      bool is_fetched = (unsure >> lane & 1) != 0;
      if (is_fetched && !check_row(lane)) {
        sort_by_halves<true>();
        unsure = 0;
        is_fetched = false;
      }
      finish_row(lane, is_fetched);
    }
  }

  // A group that lacks a row, or whose rows have no common step, is sorted as copies.
  __attribute__((noinline)) void copy_rows() {
    const long long bytes = length_ * key_bytes;
    for (int lane = 0; lane < lanes; ++lane) {
      const char* const from = inputs_[lane < rows_ ? lane : rows_ - 1];
      __builtin_memcpy(copies_ + lane * bytes, from, static_cast<unsigned long>(bytes));
    }
    input_ = {copies_, bytes};
  }

  word* order_of(int lane) const {
    return reinterpret_cast<word*>(stage_) + lane * (slots_ + pitch_padding);
  }
  char* output_of(int which, int lane) const {
    return whole_ ? output_[which][lane] : outputs_[which][lane];
  }

  void finish_contiguous_rows() {
    if (args_.index_bytes == 8) {
      if (args_.output[0] != nullptr) return finish_contiguous_rows<true, unsigned long long>();
      return finish_contiguous_rows<false, unsigned long long>();
    }
    if (args_.output[0] != nullptr) return finish_contiguous_rows<true, unsigned>();
    return finish_contiguous_rows<false, unsigned>();
  }
  template <bool Values, class Index>
  __attribute__((noinline)) void finish_contiguous_rows() {
    const int length = Length == 0 ? length_ : Length;
    const strided_rows<const char> input = input_;
    const strided_rows<char> values = output_[0], indices = output_[1];
    const word* order = order_of(0);
    const long pitch = slots_ + pitch_padding;
    char* const buffer = values_;
    for (int lane = 0; lane < lanes; ++lane, order += pitch) {
      if constexpr (Values) {
        output::write_contiguous_values(input[lane], order, length, values[lane], buffer);
      }
      output::template write_contiguous_indices<Index>(order, length, indices[lane]);
    }
  }

  void finish_row(int lane, bool is_fetched) {
    const word* const order = order_of(lane);
    if (args_.output[0] != nullptr) {
      if (!is_fetched) output::fetch(input_[lane], order, length_, values_);
      output::write_values(values_, length_, output_of(0, lane), args_.output_stride[0]);
    }
    if (args_.index_bytes == 4) {
      output::template write_indices<unsigned>(order, length_, output_of(1, lane),
                                               args_.output_stride[1]);
    } else {
      output::template write_indices<unsigned long long>(order, length_, output_of(1, lane),
                                                         args_.output_stride[1]);
    }
  }

  // Fetches the keys of a row whose prefixes may hide its order, and repairs both; false if that
  // takes too long.
  __attribute__((noinline)) bool check_row(int lane) {
    word* const order = order_of(lane);
    output::fetch(input_[lane], order, length_, values_);
    for (int i = 0; i < length_; i += lanes) {
      raw_vector<lanes> keys;
      __builtin_memcpy(&keys, values_ + i * key_bytes, sizeof(keys));
      store_words(row_codes_ + i, codec_.encode(keys));
    }
    const repair_result result = repair_row<target>(
        row_in_repair<word, raw>{row_codes_, order, reinterpret_cast<raw*>(values_), 1}, length_);
    if (result == repair_result::abandoned) return false;
    if (result == repair_result::in_order) {
      WARP_BITONIC_SORT_COUNT_ROWS(in_order, 1);
    } else {
      WARP_BITONIC_SORT_COUNT_ROWS(repaired, 1);
    }
    return true;
  }

  // ---- rows side by side, and rows of any strides -----------------------------------------------

  void sort_columns() {
    load_columns();
    const unsigned unsure = order_group<false>();
    const bool is_fetched = unsure != 0 && check_columns(unsure);
    if (unsure != 0 && !is_fetched) sort_by_halves<false>();
    // Some slots at a time, which stay in the L1 cache.
    for (int slot = 0; slot < length_; slot += block) {
      const int end = length_ - slot < block ? length_ : slot + block;
      if (args_.output[0] != nullptr) {
        if (!is_fetched) fetch_columns(slot, end);
        store_columns<raw>(0, slot, end, reinterpret_cast<const raw_vector<lanes>*>(places_));
      }
      if (args_.index_bytes == 4) {
        store_columns<unsigned>(1, slot, end, tile_);
      } else {
        store_columns<unsigned long long>(1, slot, end, tile_);
      }
    }
  }
  // Writes a vector for each slot, its elements converted to those of an output.
  template <class Element, class Vector>
  void store_columns(int which, int begin, int end, const Vector* from) const {
    using converted = typename vector_of<Element, lanes* static_cast<int>(sizeof(Element))>::type;
    const long long stride = args_.output_stride[which];
    if (whole_ && output_[which].step == static_cast<int>(sizeof(Element))) {
      char* to = output_[which].base + begin * stride;
      for (int slot = begin; slot < end; ++slot, to += stride) {
        const converted elements = __builtin_convertvector(from[slot], converted);
        __builtin_memcpy(to, &elements, sizeof(elements));
      }
    } else {
      for (int slot = begin; slot < end; ++slot) {
        const converted elements = __builtin_convertvector(from[slot], converted);
        Element element[lanes];
        __builtin_memcpy(element, &elements, sizeof(elements));
        for (int lane = 0; lane < rows_; ++lane) {
          __builtin_memcpy(output_of(which, lane) + slot * stride, element + lane, sizeof(Element));
        }
      }
    }
  }

  raw* raw_column(int slot) const { return reinterpret_cast<raw*>(stage_) + slot * lanes; }
  // The sorted keys of a slot.
  raw* fetched_column(int slot) const { return reinterpret_cast<raw*>(places_) + slot * lanes; }

  // Copies the raw keys to the stage, a vector a slot.
  void load_columns() {
    if (whole_ && input_.step == key_bytes) {
      const char* from = input_.base;
      raw* to = raw_column(0);
      for (int slot = 0; slot < length_; ++slot, from += args_.input_stride[0], to += lanes) {
        __builtin_memcpy(to, from, lanes * key_bytes);
      }
    } else {
      for (int lane = 0; lane < lanes; ++lane) {
        const char* from = whole_ ? input_[lane] : inputs_[lane < rows_ ? lane : rows_ - 1];
        for (int slot = 0; slot < length_; ++slot, from += args_.input_stride[0]) {
          __builtin_memcpy(raw_column(slot) + lane, from, key_bytes);
        }
      }
    }
  }
  // Fetches the keys of slots by index.
  __attribute__((noinline)) void fetch_columns(int begin, int end) const {
    for (int slot = begin; slot < end; ++slot) fetch_column(slot, make_indices<lanes>{});
  }
  template <int... Lane>
  WBS_INLINE void fetch_column(int slot, indices<Lane...>) const {
    raw* const to = fetched_column(slot);
    if constexpr (Length != 0 && Length <= max_selected && sizeof(raw) == sizeof(word)) {
      target::store(to, select_column<0, Length>(tile_[slot]));
    } else {
      // From memory: taking indices out of a vector is slower.
      const word* const order = reinterpret_cast<const word*>(tile_ + slot);
      const raw* const from = raw_column(0);
      ((to[Lane] = from[order[Lane] * lanes + Lane]), ...);
    }
  }
  // Selecting among few keys is quicker than loading them one by one.
  static constexpr int max_selected = simd_bytes / 4;
  template <int First, int Count>
  WBS_INLINE entry select_column(entry order) const {
    if constexpr (Count == 1) {
      return target::load(raw_column(First));
    } else {
      constexpr int half = 1 << (bits_for(Count) - 1);
      const entry is_high = order & word(half);
      return is_high == entry{} ? select_column<First, half>(order)
                                : select_column<First + half, Count - half>(order);
    }
  }
  // Fetches the keys, and repairs the lanes whose prefixes may hide their order; false if that
  // takes too long.
  __attribute__((noinline)) bool check_columns(unsigned unsure) {
    long left = max_moves(length_, lanes);
    unsigned repaired = 0;
    for (int slot = 0; slot < length_; ++slot) {
      fetch_column(slot, make_indices<lanes>{});
      raw_vector<lanes> keys;
      __builtin_memcpy(&keys, fetched_column(slot), sizeof(keys));
      codes_[slot] = __builtin_convertvector(codec_.encode(keys), entry);
      if (slot == 0) continue;
      unsigned wrong = unsure & target::lanes_greater(codes_[slot - 1], codes_[slot]);
      repaired |= wrong;
      for (; wrong != 0; wrong &= wrong - 1) {
        const int lane = __builtin_ctz(wrong);
        const row_in_repair<word, raw> row{reinterpret_cast<word*>(codes_) + lane,
                                           reinterpret_cast<word*>(tile_) + lane,
                                           fetched_column(0) + lane, lanes};
        left -= row.move_down(slot);
      }
      if (left < 0) return false;
    }
    WARP_BITONIC_SORT_COUNT_ROWS(in_order, __builtin_popcount(unsure & ~repaired));
    WARP_BITONIC_SORT_COUNT_ROWS(repaired, __builtin_popcount(repaired));
    return true;
  }

  // ---- codes ------------------------------------------------------------------------------------

  // A vector of lanes words of any ISA, or of a block of words.
  template <class Vector>
  static WBS_INLINE void store_words(word* to, const Vector& codes) {
    constexpr int count = static_cast<int>(sizeof(codes)) / key_bytes;
    typename vector_of<word, count* static_cast<int>(sizeof(word))>::type words;
    words = __builtin_convertvector(codes, decltype(words));
    __builtin_memcpy(to, &words, sizeof(words));
  }

  struct range {
    entry least = target::broadcast(static_cast<word>(~word(0))), greatest = entry{};
    WBS_INLINE void add(entry code) {
      least = code < least ? code : least;
      greatest = code > greatest ? code : greatest;
    }
  };

  // The codes of Count positions of each row, of which the rows have as many.
  template <int Count>
  WBS_INLINE void load_codes(int position, entry* codes) const {
    constexpr int most = target::lanes < Count ? target::lanes : Count;
    constexpr int piece = most < target::chunk_keys ? target::chunk_keys : most;
    constexpr int loaded = Count < target::chunk_keys ? Count : target::chunk_keys;
    if constexpr (sizeof(raw) == sizeof(word)) {
      load_pieces<piece, loaded>(input_, position * key_bytes, codes,
                                 make_indices<(Count + piece - 1) / piece>{});
      encode(codes, make_indices<Count>{});
    } else {
      // Keys are widened row by row.
      constexpr int size = Count < target::chunk_keys ? target::chunk_keys : Count;
      alignas(64) word words[lanes * size];
      const codec_of<size> codec({args_.key_xor, args_.key_add});
      for (int lane = 0; lane < lanes; ++lane) {
        raw_vector<size> keys{};
        __builtin_memcpy(&keys, input_[lane] + position * key_bytes, Count * key_bytes);
        store_words(words + lane * size, codec.encode(keys));
      }
      const strided_rows<const char> rows{reinterpret_cast<const char*>(words),
                                          size * static_cast<int>(sizeof(word))};
      load_pieces<piece, target::chunk_keys>(rows, 0, codes, make_indices<size / piece>{});
    }
  }
  template <int Piece, int Loaded, int... I>
  static WBS_INLINE void load_pieces(const strided_rows<const char>& rows, long long offset,
                                     entry* codes, indices<I...>) {
    (target::template load_rows<Piece / target::chunk_keys, Loaded>(
         rows, offset + I * Piece * static_cast<int>(sizeof(word)), codes + I * Piece),
     ...);
  }
  template <int... I>
  WBS_INLINE void encode(entry* codes, indices<I...>) const {
    ((codes[I] = codec_.encode_unjoined(codes[I])), ...);
  }

  // The codes of a slot of all rows, from the stage.
  WBS_INLINE entry column_codes(int slot) const {
    raw_vector<lanes> keys;
    __builtin_memcpy(&keys, raw_column(slot), sizeof(keys));
    if constexpr (is_exact) {
      return __builtin_convertvector(codec_.encode(keys), entry);
    } else {
      return codec_.encode_unjoined(keys);
    }
  }

  // Whether a group holds NaNs, whose codes must be joined. Most groups hold none.
  WBS_INLINE bool holds_nans(range& codes) const {
    const range joined{join_nans(codes.least), join_nans(codes.greatest)};
    const entry changed = (codes.least ^ joined.least) | (codes.greatest ^ joined.greatest);
    codes = joined;
    return __builtin_expect(target::lanes_greater(changed, entry{}) != 0, 0);
  }
  WBS_INLINE entry join_nans(entry code) const {
    if constexpr (is_exact) {
      return code;
    } else {
      return codec_.join_nans(code);
    }
  }

  // ---- the sort ---------------------------------------------------------------------------------

  // Leaves the order of each row: in the stage for rows, in the tile for columns. Returns a bit for
  // each lane whose order must be checked.
  template <bool ByRows>
  WBS_INLINE unsigned order_group() {
    unsigned unsure;
    if constexpr (Length == 0) {
      unsure = order_in_tile<ByRows>();
    } else {
      unsure = order_in_registers<ByRows>(make_indices<Length>{});
    }
    WARP_BITONIC_SORT_COUNT_ROWS(at_once, rows_ - __builtin_popcount(unsure & ((1u << rows_) - 1)));
    return rows_ == lanes ? unsure : unsure & ((1u << rows_) - 1);
  }

  static WBS_INLINE composite_type composite_of(int index_bits, const range& codes) {
    if constexpr (is_exact) {
      return composite_type(index_bits);
    } else {
      return composite_type(index_bits, codes.least,
                            target::leading_zeros(codes.greatest - codes.least));
    }
  }

  // What neighbours in the sorted rows have in common.
  struct closeness {
    entry least = target::broadcast(static_cast<word>(~word(0)));
    WBS_INLINE void add(entry low, entry high) {
      const entry difference = low ^ high;
      least = difference < least ? difference : least;
    }
    WBS_INLINE unsigned unsure_lanes(const composite_type& composite) const {
      const auto is_close = least < target::broadcast(composite.prefix_step());
      using mask = typename target::signed_key;
      return target::lanes_of((mask)is_close & (mask)composite.is_lossy());
    }
  };

  template <bool ByRows, int... I>
  __attribute__((noinline)) unsigned order_in_registers(indices<I...>) {
    entry entries[register_slots] = {};
    range codes;
    load_in_registers<ByRows>(entries);
    if constexpr (!is_exact) (codes.add(entries[I]), ...);
    if (!is_exact && codec_type::has_nans && holds_nans(codes))
      ((entries[I] = join_nans(entries[I])), ...);
    const composite_type composite = composite_of(bits_for(Length), codes);
    ((entries[I] = composite.entry(entries[I], I) ^ target::bias), ...);
    sort_registers<Length>(target{}, entries);
    closeness close;
    if constexpr (!is_exact) ((I > 0 ? close.add(entries[I - (I > 0)], entries[I]) : void()), ...);
    ((entries[I] = composite.index(entries[I])), ...);
    if constexpr (ByRows) {
      store_order<register_slots>(0, entries);
    } else {
      copy(tile_, entries, make_indices<Length>{});
    }
    return is_exact ? 0 : close.unsure_lanes(composite);
  }
  // A group of short rows is sorted in less time than a cache miss takes.
  WBS_INLINE void prefetch_ahead() const {
    constexpr int bytes_ahead = 4096;
    for (int at = 0; at < lanes * row_bytes; at += 64) {
      __builtin_prefetch(input_.base + bytes_ahead + at);
    }
  }
  // Pieces of a power of two; the last one begins before the end of the one before it.
  template <bool ByRows>
  WBS_INLINE void load_in_registers(entry* codes) const {
    if constexpr (ByRows) {
      prefetch_ahead();
      constexpr int size = 1 << floor_log2(Length);
      load_codes<size>(0, codes);
      if constexpr (size < Length) {
        entry last[register_slots];
        load_codes<size>(Length - size, last);
        copy(codes + size, last + 2 * size - Length, make_indices<Length - size>{});
      }
    } else {
      load_columns_in_registers(codes, make_indices<Length>{});
    }
  }
  template <int... I>
  WBS_INLINE void load_columns_in_registers(entry* codes, indices<I...>) const {
    ((codes[I] = column_codes(I)), ...);
  }

  template <bool ByRows>
  unsigned order_in_tile() {
    range codes;
    load_tile<ByRows>(tile_, codes);
    const composite_type composite = composite_of(index_bits_, codes);
    compose_tile(composite);
    finish_block<ByRows> finish{*this, composite};
    if (!tile_sort::sort(target{}, tile_, slots_, clean_block<ByRows>{finish})) {
      finish_sorted<ByRows>(finish);
    }
    return is_exact ? 0 : finish.close.unsure_lanes(composite);
  }

  // Prefetches a block's share of the next group, and of the rows that this group is written to:
  // hardware prefetchers follow short pieces of many rows badly.
  WBS_INLINE void prefetch(int slot) const {
    prefetch_share<0>(input_[lanes], input_.step, key_bytes, slot);
    if (!whole_) return;
    if (args_.output[0] != nullptr) {
      prefetch_share<1>(output_[0].base, output_[0].step, key_bytes, slot);
    }
    prefetch_share<1>(output_[1].base, output_[1].step, args_.index_bytes, slot);
  }
  template <int Write>
  WBS_INLINE void prefetch_share(const char* base, long long step, int element_bytes,
                                 int slot) const {
    const int bytes = block * element_bytes;
    const bool contiguous = step == static_cast<long long>(length_) * element_bytes;
    const char* from =
        base + static_cast<long long>(slot) * element_bytes * (contiguous ? lanes : 1);
    const long long step_between = contiguous ? bytes : step;
    for (int lane = 0; lane < lanes; ++lane, from += step_between) {
      for (int at = 0; at < bytes; at += 64) __builtin_prefetch(from + at, Write);
    }
  }

  template <bool ByRows>
  __attribute__((noinline)) void load_tile(entry* to, range& found) const {
    range codes;
    if constexpr (ByRows) {
      const int full = length_ / block * block;
      for (int slot = 0; slot < full; slot += block) {
        prefetch(slot);
        load_codes<block>(slot, to + slot);
        if constexpr (!is_exact) add_block(codes, to + slot, make_indices<block>{});
      }
      if (full < length_) {
        entry last[block];
        load_codes<block>(length_ - block, last);
        if constexpr (!is_exact) add_block(codes, last, make_indices<block>{});
        for (int slot = full; slot < length_; ++slot) to[slot] = last[slot - (length_ - block)];
      }
    } else {
      for (int slot = 0; slot < length_; ++slot) {
        to[slot] = column_codes(slot);
        if constexpr (!is_exact) codes.add(to[slot]);
      }
    }
    if (!is_exact && codec_type::has_nans && holds_nans(codes)) {
      for (int slot = 0; slot < length_; ++slot) to[slot] = join_nans(to[slot]);
    }
    found = codes;
  }
  template <int... I>
  static WBS_INLINE void add_block(range& codes, const entry* block, indices<I...>) {
    (codes.add(block[I]), ...);
  }

  __attribute__((noinline)) void compose_tile(const composite_type& given) {
    const composite_type composite = given;
    const int full = length_ / block * block;
    for (int slot = 0; slot < full; slot += block) {
      entry entries[block];
      compose_block(composite, slot, entries, make_indices<block>{});
      block_network::sort(target{}, entries);
      tile_sort::place(target{}, tile_, slot, entries);
    }
    if (full < length_) {
      for (int slot = full; slot < length_; ++slot) {
        tile_[slot] = composite.entry(tile_[slot], static_cast<word>(slot)) ^ target::bias;
      }
      place_last_block(full);
    }
  }
  template <int... I>
  WBS_INLINE void compose_block(const composite_type& composite, int slot, entry* entries,
                                indices<I...>) const {
    ((entries[I] = composite.entry(tile_[slot + I], static_cast<word>(slot + I)) ^ target::bias),
     ...);
  }
  __attribute__((noinline)) void place_last_block(int slot) {
    for (int i = length_; i < slots_; ++i) tile_[i] = target::pad();
    entry entries[block];
    copy(entries, tile_ + slot, make_indices<block>{});
    block_network::sort(target{}, entries);
    tile_sort::place(target{}, tile_, slot, entries);
  }

  // Compares neighbours, takes the indices out of the entries and writes them.
  template <bool ByRows>
  struct finish_block {
    index_kernel& kernel;
    composite_type composite;
    closeness close = {};
    entry before = {};

    WBS_INLINE void operator()(int slot, entry* entries) {
      if constexpr (!is_exact) {
        if (slot == 0) before = ~entries[0];
        if (slot + block <= kernel.length_) {
          close.add(before, entries[0]);
          compare(entries, make_indices<block - 1>{});
        } else {
          compare_last(slot, entries);
        }
        before = entries[block - 1];
      }
      take_indices(entries, make_indices<block>{});
      if constexpr (ByRows) {
        kernel.template store_order<block>(slot, entries);
      } else {
        kernel.copy(kernel.tile_ + slot, entries, make_indices<block>{});
      }
    }
    template <int... I>
    WBS_INLINE void compare(const entry* entries, indices<I...>) {
      (close.add(entries[I], entries[I + 1]), ...);
    }
    __attribute__((noinline)) void compare_last(int slot, const entry* entries) {
      for (int i = 0; slot + i < kernel.length_; ++i) {
        close.add(i == 0 ? before : entries[i - 1], entries[i]);
      }
    }
    template <int... I>
    WBS_INLINE void take_indices(entry* entries, indices<I...>) const {
      ((entries[I] = composite.index(entries[I])), ...);
    }
  };
  template <bool ByRows>
  struct clean_block {
    finish_block<ByRows>& finish;
    WBS_INLINE void operator()(int slot) const {
      entry entries[block];
      finish.kernel.copy(entries, finish.kernel.tile_ + slot, make_indices<block>{});
      block_network::clean(target{}, entries);
      finish(slot, entries);
    }
  };
  template <bool ByRows>
  __attribute__((noinline)) void finish_sorted(finish_block<ByRows>& finish) {
    for (int slot = 0; slot < slots_; slot += block) {
      entry entries[block];
      copy(entries, tile_ + slot, make_indices<block>{});
      finish(slot, entries);
    }
  }

  // Writes a part of the order of each row to the stage.
  template <int Count>
  WBS_INLINE void store_order(int slot, const entry* order) const {
    constexpr int piece = target::lanes < Count ? target::lanes : Count;
    const strided_rows<char> rows{reinterpret_cast<char*>(order_of(0) + slot),
                                  (slots_ + pitch_padding) * static_cast<int>(sizeof(word))};
    store_pieces<piece>(rows, order, make_indices<Count / piece>{});
  }
  template <int Piece, int... I>
  static WBS_INLINE void store_pieces(const strided_rows<char>& rows, const entry* order,
                                      indices<I...>) {
    (target::template store_rows<Piece / target::chunk_keys>(
         rows, I * Piece * static_cast<int>(sizeof(word)), order + I * Piece),
     ...);
  }
  template <int... I>
  static WBS_INLINE void copy(entry* to, const entry* from, indices<I...>) {
    ((to[I] = from[I]), ...);
  }

  // ---- the second way ---------------------------------------------------------------------------

  // Sorts the group by the low half of each code, then by the high half; both sorts are stable.
  template <bool ByRows>
  __attribute__((noinline)) void sort_by_halves() {
    WARP_BITONIC_SORT_COUNT_ROWS(by_halves, rows_);
    const composite_type composite(index_bits_);
    if constexpr (Length == 0) {
      range unused;
      load_tile<ByRows>(codes_, unused);
    } else {
      entry codes[register_slots];
      load_in_registers<ByRows>(codes);
      copy(codes_, codes, make_indices<Length>{});
      for (int slot = 0; slot < Length; ++slot) codes_[slot] = join_nans(codes_[slot]);
    }
    for (int slot = 0; slot < length_; ++slot) {
      tile_[slot] = composite.low_half(codes_[slot], static_cast<word>(slot)) ^ target::bias;
    }
    sort_tile();
    for (int slot = 0; slot < length_; ++slot) {
      places_[slot] = composite.index(tile_[slot]);
      entry code;
      fetch_words(codes_, places_[slot], code, make_indices<lanes>{});
      tile_[slot] = composite.high_half(code, static_cast<word>(slot)) ^ target::bias;
    }
    sort_tile();
    for (int slot = 0; slot < length_; ++slot) {
      entry order;
      fetch_words(places_, composite.index(tile_[slot]), order, make_indices<lanes>{});
      tile_[slot] = order;
    }
    if constexpr (ByRows) {
      for (int slot = 0; slot < length_; ++slot) {
        for (int lane = 0; lane < lanes; ++lane) order_of(lane)[slot] = tile_[slot][lane];
      }
    }
  }
  template <int... Lane>
  static WBS_INLINE void fetch_words(const entry* tile, entry slots, entry& words,
                                     indices<Lane...>) {
    const word* const from = reinterpret_cast<const word*>(tile);
    words = entry{from[slots[Lane] * lanes + Lane]...};
  }

  // Sorts the entries of the tile; without `length_` of them, it adds pads.
  void sort_tile() {
    if constexpr (Length != 0) {
      sort_tile_in_registers();
    } else {
      const int full = length_ / block * block;
      for (int slot = 0; slot < full; slot += block) place_block(slot);
      if (full < length_) place_last_block(full);
      tile_sort::sort(target{}, tile_, slots_, store_block{*this});
    }
  }
  __attribute__((noinline)) void sort_tile_in_registers() {
    entry entries[register_slots];
    copy(entries, tile_, make_indices<Length>{});
    sort_registers<Length>(target{}, entries);
    copy(tile_, entries, make_indices<Length>{});
  }
  __attribute__((noinline)) void place_block(int slot) {
    entry entries[block];
    copy(entries, tile_ + slot, make_indices<block>{});
    block_network::sort(target{}, entries);
    tile_sort::place(target{}, tile_, slot, entries);
  }
  struct store_block {
    index_kernel& kernel;
    WBS_INLINE void operator()(int slot) const {
      entry entries[block];
      kernel.copy(entries, kernel.tile_ + slot, make_indices<block>{});
      block_network::clean(target{}, entries);
      kernel.copy(kernel.tile_ + slot, entries, make_indices<block>{});
    }
  };

  const args_type& args_;
  codec_type codec_;
  int length_, slots_, index_bits_;
  entry* tile_;
  entry* codes_;
  entry* places_;
  char* stage_;  // for rows, the order of each; for columns, their raw keys, a vector a slot
  word* row_codes_;
  char* values_;
  char* copies_;
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
