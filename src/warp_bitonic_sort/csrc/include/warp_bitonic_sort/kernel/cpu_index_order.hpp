// Finds the order of the keys in a group of rows, a row a SIMD lane.
//
// The rows become a tile of entries of one word: a prefix of the key and its index. The network
// sorts them. Rows whose prefixes may hide their order are named; they are to be checked, or sorted
// once more, exactly, by halves of their codes.
//
// Invariant: reads the rows and writes scratch memory alone.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_INDEX_ORDER_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_INDEX_ORDER_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/composite.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/kernel/cpu_prefixes.hpp>
#include <warp_bitonic_sort/memory/cpu/index_output.hpp>
#include <warp_bitonic_sort/network/registers.hpp>
#include <warp_bitonic_sort/network/tile.hpp>
#include <warp_bitonic_sort/target/simd/words.hpp>

namespace warp_bitonic_sort {

// Rows of a Length are sorted in registers. Length 0 stands for any length, sorted in a tile.
template <codec_kind Codec, int KeyBits, int Length>
class index_order {
 public:
  using target = simd_words<KeyBits == 64 ? 64 : 32>;
  using entry = typename target::key;
  using word = typename target::element;
  using raw = typename unsigned_of<KeyBits>::type;
  template <int Count>
  using codec_of = canonical_codec<
      Codec, typename target::template vector<raw, Count>,
      typename target::template vector<typename unsigned_of<KeyBits>::signed_type, Count>, raw>;
  using codec_type = codec_of<target::lanes>;
  using rows = strided_rows<const char>;
  static constexpr int lanes = target::lanes, key_bytes = KeyBits / 8;
  static constexpr int word_bytes = static_cast<int>(sizeof(word));
  // Codes with an index in one word, without loss.
  static constexpr bool is_exact = 2 * KeyBits <= 8 * word_bytes;
  static constexpr int block_bits = 4, block = 1 << block_bits;

  // A tile is whole blocks.
  static constexpr long long slots_for(long long length) {
    return Length == 0 ? (length + block - 1) / block * block : register_slots;
  }
  // Words from row to row: an odd number of blocks, which keeps rows out of each other's cache
  // sets.
  static constexpr long long pitch_for(long long length) {
    return ((length + block - 1) / block | 1) * block;
  }
  static long long scratch_bytes(long long length) {
    return 3 * slots_for(length) * simd_bytes + lanes * pitch_for(length) * word_bytes;
  }

  template <class Args>
  index_order(const Args& args, void* scratch)
      : constants_{args.key_xor, args.key_add},
        codec_(constants_),
        length_(Length == 0 ? args.length : Length),
        slots_(static_cast<int>(slots_for(length_))),
        index_bits_(bits_for(length_)),
        pitch_(pitch_for(length_)),
        tile_(static_cast<entry*>(scratch)),
        codes_(tile_ + slots_),
        places_(codes_ + slots_),
        order_(reinterpret_cast<word*>(places_ + slots_)) {}

  const codec_type& codec() const { return codec_; }
  long long pitch() const { return Length == 0 ? pitch_ : pitch_for(Length); }
  // The indices of a row's keys, sorted.
  word* row(int lane) const { return order_ + lane * pitch(); }

  // Returns a bit for each row whose order must be checked. In a tile, the rows have room for a
  // block.
  unsigned find(rows input) {
    if constexpr (Length == 0) {
      return find_in_tile(input);
    } else {
      return find_in_registers(input);
    }
  }

  // Sorts the codes of Length keys of each row by prefixes that are cut without a look at their
  // range. Entries become indices. False, with nothing usable, where that does not tell the order:
  // a row has neighbours of one prefix, which NaNs and equal keys are, too.
  static WBS_INLINE bool sort_quickly(const codec_type& codec, entry* entries) {
    return sort_quickly(codec, entries, make_indices<Length>{});
  }

  // Sorts by the low half of each code, then by the high half; both sorts are stable.
  __attribute__((noinline)) void find_by_halves(rows input) {
    const composite_type composite(index_bits_);
    load_codes_to_sort(input);
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
      for (int lane = 0; lane < lanes; ++lane) row(lane)[slot] = order[lane];
    }
  }

 private:
  using composite_type = composite<word, entry>;
  using code_range_type = code_range<target, codec_type>;
  using tile_sort = tile_network<target, block_bits>;
  using block_network = network<target, block_bits>;
  static constexpr int register_slots =
      1 << bits_for(Length) < target::chunk_keys ? target::chunk_keys : 1 << bits_for(Length);
  // Groups that are not sorted quickly after one for which that failed: such rows go together.
  static constexpr int slow_groups = 15;
  // In a tile, where more index bits leave less of a prefix.
  static constexpr bool prefers_values = Length == 0 && Codec == codec_kind::ieee && KeyBits == 32;

  // ---- keys -------------------------------------------------------------------------------------

  // Count keys of each row from a position on. Short keys are encoded and widened row by row.
  template <int Count>
  WBS_INLINE void load(rows input, int position, entry* keys) const {
    constexpr int most = lanes < Count ? lanes : Count;
    constexpr int piece = most < target::chunk_keys ? target::chunk_keys : most;
    constexpr int loaded = Count < target::chunk_keys ? Count : target::chunk_keys;
    if constexpr (sizeof(raw) == sizeof(word)) {
      load_pieces<piece, loaded>(input, position * key_bytes, keys,
                                 make_indices<(Count + piece - 1) / piece>{});
    } else {
      constexpr int size = Count < target::chunk_keys ? target::chunk_keys : Count;
      alignas(64) word words[lanes * size];
      const codec_of<size> codec(constants_);
      for (int lane = 0; lane < lanes; ++lane) {
        typename target::template vector<raw, size> raws{};
        __builtin_memcpy(&raws, input[lane] + position * key_bytes, Count * key_bytes);
        store_words(words + lane * size, codec.encode(raws));
      }
      const rows widened{reinterpret_cast<const char*>(words), size * word_bytes};
      load_pieces<piece, target::chunk_keys>(widened, 0, keys, make_indices<size / piece>{});
    }
  }
  template <int Piece, int Loaded, int... I>
  static WBS_INLINE void load_pieces(const rows& from, long long offset, entry* keys,
                                     indices<I...>) {
    (target::template load_rows<Piece / target::chunk_keys, Loaded>(
         from, offset + I * Piece * word_bytes, keys + I * Piece),
     ...);
  }

  // ---- in registers -----------------------------------------------------------------------------

  __attribute__((noinline)) unsigned find_in_registers(rows input) {
    entry entries[register_slots] = {};
    prefetch_ahead(input);
    if constexpr (is_exact) {
      load_all(input, entries);
      sort_prefixes(composite_type(index_bits_), entries, make_indices<Length>{});
      store_order<register_slots>(0, entries);
      return 0;
    } else {
      if (slow_groups_left_ > 0) {
        --slow_groups_left_;
      } else {
        load_all(input, entries);
        encode(entries, make_indices<Length>{});
        if (sort_quickly(codec_, entries)) {
          store_order<register_slots>(0, entries);
          return 0;
        }
        slow_groups_left_ = slow_groups;
      }
      load_all(input, entries);
      code_range_type codes(codec_);
      add_all(codes, entries, make_indices<Length>{});
      if (codec_type::has_nans && codes.join_nans()) join_nans(entries, make_indices<Length>{});
      const composite_type composite = codes.prefixes(bits_for(Length));
      const unsigned unsure = sort_prefixes(composite, entries, make_indices<Length>{});
      store_order<register_slots>(0, entries);
      return unsure;
    }
  }
  // Pieces of a power of two; the last one begins before the end of the one before it.
  WBS_INLINE void load_all(rows input, entry* keys) const {
    constexpr int size = 1 << floor_log2(Length);
    load<size>(input, 0, keys);
    if constexpr (size < Length) {
      entry last[register_slots];
      load<size>(input, Length - size, last);
      copy(keys + size, last + 2 * size - Length, make_indices<Length - size>{});
    }
  }
  // A group of short rows is sorted in less time than a cache miss takes.
  WBS_INLINE void prefetch_ahead(rows input) const {
    constexpr int bytes_ahead = 4096;
    for (int at = 0; at < lanes * Length * key_bytes; at += 64) {
      __builtin_prefetch(input.base + bytes_ahead + at);
    }
  }
  template <int... I>
  WBS_INLINE void encode(entry* keys, indices<I...>) const {
    ((keys[I] = codec_.encode_unjoined(keys[I])), ...);
  }
  template <int... I>
  WBS_INLINE void join_nans(entry* codes, indices<I...>) const {
    ((codes[I] = codec_.join_nans(codes[I])), ...);
  }
  template <class Range, int... I>
  static WBS_INLINE void add_all(Range& range, entry* keys, indices<I...>) {
    ((keys[I] = range.add(keys[I])), ...);
  }
  template <int... I>
  static WBS_INLINE bool sort_quickly(const codec_type& codec, entry* entries, indices<I...>) {
    constexpr word mask = (word(1) << bits_for(Length)) - 1;
    ((entries[I] = ((entries[I] & ~mask) | word(I)) ^ target::bias), ...);
    sort_registers<Length>(target{}, entries);
    closeness<target> close;
    ((I > 0 ? close.add(entries[I - (I > 0)], entries[I]) : void()), ...);
    const entry first = entries[0] ^ target::bias, last = entries[Length - 1] ^ target::bias;
    const unsigned unsure = target::lanes_greater(target::broadcast(mask + 1), close.least) |
                            target::lanes_greater(codec.lowest(), first | mask) |
                            target::lanes_greater(last & ~mask, codec.highest());
    ((entries[I] = entries[I] & mask), ...);
    return unsure == 0;
  }
  template <int... I>
  static WBS_INLINE unsigned sort_prefixes(const composite_type& composite, entry* codes,
                                           indices<I...>) {
    ((codes[I] = composite.entry(codes[I], I) ^ target::bias), ...);
    sort_registers<Length>(target{}, codes);
    closeness<target> close;
    if constexpr (!is_exact) ((I > 0 ? close.add(codes[I - (I > 0)], codes[I]) : void()), ...);
    ((codes[I] = composite.index(codes[I])), ...);
    return is_exact ? 0 : close.unsure_lanes(composite);
  }

  // ---- in a tile --------------------------------------------------------------------------------

  unsigned find_in_tile(rows input) {
    if constexpr (is_exact) {
      no_range none;
      load_tile(input, tile_, none);
      return sort_tile_of(composite_type(index_bits_));
    } else {
      if constexpr (prefers_values) {
        value_range<target> values = first_values(input, make_indices<lanes>{});
        load_tile(input, tile_, values);
        if (values.are_even(length_)) {
          return sort_tile_of(values.prefixes(index_bits_, constants_.key_xor != 0));
        }
      }
      code_range_type codes(codec_);
      load_codes(input, tile_, codes);
      return sort_tile_of(codes.prefixes(index_bits_));
    }
  }
  // The range of codes that fit a word together with an index.
  struct no_range {
    WBS_INLINE entry add(entry code) const { return code; }
  };
  template <int... Lane>
  WBS_INLINE value_range<target> first_values(rows input, indices<Lane...>) const {
    return value_range<target>(entry{bits_at(input[Lane])...});
  }
  static WBS_INLINE word bits_at(const char* from) {
    word bits;
    __builtin_memcpy(&bits, from, sizeof(bits));
    return bits;
  }

  void load_codes(rows input, entry* to, code_range_type& codes) const {
    load_tile(input, to, codes);
    if (codec_type::has_nans && codes.join_nans()) {
      for (int slot = 0; slot < length_; ++slot) to[slot] = codec_.join_nans(to[slot]);
    }
  }
  template <class Range>
  __attribute__((noinline)) void load_tile(rows input, entry* to, Range& found) const {
    Range range = found;
    const int full = length_ / block * block;
    for (int slot = 0; slot < full; slot += block) {
      prefetch(input, slot);
      entry keys[block];
      load<block>(input, slot, keys);
      add_all(range, keys, make_indices<block>{});
      copy(to + slot, keys, make_indices<block>{});
    }
    if (full < length_) {
      const int first = length_ < block ? 0 : length_ - block;
      entry keys[block];
      load<block>(input, first, keys);
      for (int slot = full; slot < length_; ++slot) to[slot] = range.add(keys[slot - first]);
    }
    found = range;
  }
  // Prefetches a block's share of the next group: hardware prefetchers follow short pieces of many
  // rows badly. Prefetches of the outputs make it slower in the caches, and no faster in memory.
  WBS_INLINE void prefetch(rows input, int slot) const {
    constexpr int bytes = block * key_bytes;
    const bool is_contiguous = input.step == static_cast<long long>(length_) * key_bytes;
    const char* from =
        input[lanes] + static_cast<long long>(slot) * key_bytes * (is_contiguous ? lanes : 1);
    const long long step = is_contiguous ? bytes : input.step;
    for (int lane = 0; lane < lanes; ++lane, from += step) {
      for (int at = 0; at < bytes; at += 64) __builtin_prefetch(from + at);
    }
  }

  template <class Composite>
  unsigned sort_tile_of(const Composite& composite) {
    compose_tile(composite);
    finish_block<Composite> finish{*this, composite};
    if (!tile_sort::sort(target{}, tile_, slots_, clean_block<Composite>{finish})) {
      finish_sorted(finish);
    }
    return is_exact ? 0 : finish.close.unsure_lanes(composite);
  }
  template <class Composite>
  __attribute__((noinline)) void compose_tile(const Composite& given) {
    const Composite composite = given;
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
  template <class Composite, int... I>
  WBS_INLINE void compose_block(const Composite& composite, int slot, entry* entries,
                                indices<I...>) const {
    ((entries[I] = composite.entry(tile_[slot + I], static_cast<word>(slot + I)) ^ target::bias),
     ...);
  }
  __attribute__((noinline)) void place_last_block(int slot) {
    for (int i = length_; i < slots_; ++i) tile_[i] = target::pad();
    place_block(slot);
  }
  __attribute__((noinline)) void place_block(int slot) {
    entry entries[block];
    copy(entries, tile_ + slot, make_indices<block>{});
    block_network::sort(target{}, entries);
    tile_sort::place(target{}, tile_, slot, entries);
  }

  // Compares neighbours, takes the indices out of the entries and writes them.
  template <class Composite>
  struct finish_block {
    index_order& order;
    Composite composite;
    closeness<target> close = {};
    entry before = {};

    WBS_INLINE void operator()(int slot, entry* entries) {
      if constexpr (!is_exact) {
        if (slot == 0) before = ~entries[0];
        if (slot + block <= order.length_) {
          close.add(before, entries[0]);
          compare(entries, make_indices<block - 1>{});
        } else {
          compare_last(slot, entries);
        }
        before = entries[block - 1];
      }
      take_indices(entries, make_indices<block>{});
      order.template store_order<block>(slot, entries);
    }
    template <int... I>
    WBS_INLINE void compare(const entry* entries, indices<I...>) {
      (close.add(entries[I], entries[I + 1]), ...);
    }
    __attribute__((noinline)) void compare_last(int slot, const entry* entries) {
      for (int i = 0; slot + i < order.length_; ++i) {
        close.add(i == 0 ? before : entries[i - 1], entries[i]);
      }
    }
    template <int... I>
    WBS_INLINE void take_indices(entry* entries, indices<I...>) const {
      ((entries[I] = composite.index(entries[I])), ...);
    }
  };
  template <class Composite>
  struct clean_block {
    finish_block<Composite>& finish;
    WBS_INLINE void operator()(int slot) const {
      entry entries[block];
      copy(entries, finish.order.tile_ + slot, make_indices<block>{});
      block_network::clean(target{}, entries);
      finish(slot, entries);
    }
  };
  template <class Composite>
  __attribute__((noinline)) void finish_sorted(finish_block<Composite>& finish) {
    for (int slot = 0; slot < slots_; slot += block) {
      entry entries[block];
      copy(entries, tile_ + slot, make_indices<block>{});
      finish(slot, entries);
    }
  }

  // Writes a part of the order of each row.
  template <int Count>
  WBS_INLINE void store_order(int slot, const entry* order) const {
    constexpr int piece = lanes < Count ? lanes : Count;
    const strided_rows<char> to{reinterpret_cast<char*>(order_ + slot), pitch() * word_bytes};
    store_pieces<piece>(to, order, make_indices<Count / piece>{});
  }
  template <int Piece, int... I>
  static WBS_INLINE void store_pieces(const strided_rows<char>& to, const entry* order,
                                      indices<I...>) {
    (target::template store_rows<Piece / target::chunk_keys>(to, I * Piece * word_bytes,
                                                             order + I * Piece),
     ...);
  }
  template <int... I>
  static WBS_INLINE void copy(entry* to, const entry* from, indices<I...>) {
    ((to[I] = from[I]), ...);
  }
  // A vector of words from one of other integers.
  template <class Vector>
  static WBS_INLINE void store_words(word* to, const Vector& codes) {
    constexpr int count = static_cast<int>(sizeof(codes)) / key_bytes;
    typename target::template vector<word, count> words;
    words = __builtin_convertvector(codes, decltype(words));
    __builtin_memcpy(to, &words, sizeof(words));
  }

  // ---- the second way ---------------------------------------------------------------------------

  void load_codes_to_sort(rows input) {
    code_range_type codes(codec_);
    if constexpr (Length == 0) {
      load_codes(input, codes_, codes);
    } else {
      entry keys[register_slots];
      load_all(input, keys);
      for (int slot = 0; slot < Length; ++slot) codes_[slot] = codec_.encode(keys[slot]);
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
  struct store_block {
    index_order& order;
    WBS_INLINE void operator()(int slot) const {
      entry entries[block];
      copy(entries, order.tile_ + slot, make_indices<block>{});
      block_network::clean(target{}, entries);
      copy(order.tile_ + slot, entries, make_indices<block>{});
    }
  };

  order_constants constants_;
  codec_type codec_;
  int length_, slots_, index_bits_;
  int slow_groups_left_ = 0;
  long long pitch_;
  entry* tile_;
  entry* codes_;
  entry* places_;
  word* order_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_INDEX_ORDER_HPP_
