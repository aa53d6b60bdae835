// Finds the order of rows of any length up to a limit in a tile in memory.
//
// Invariant: that of kernel/cpu_index_order.hpp. Rows in a tile have room for a block.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_INDEX_TILE_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_INDEX_TILE_HPP_

#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/kernel/cpu_index_order.hpp>
#include <warp_bitonic_sort/kernel/cpu_prefixes.hpp>
#include <warp_bitonic_sort/network/first.hpp>
#include <warp_bitonic_sort/network/tile.hpp>

namespace warp_bitonic_sort {

template <codec_kind Codec, int KeyBits, selection Selection = selection::all>
class index_order_in_tile
    : public index_order<index_order_in_tile<Codec, KeyBits, Selection>, Codec, KeyBits> {
  using base = index_order<index_order_in_tile, Codec, KeyBits>;
  using base::block_bits;
  using base::codec_;
  using base::codes_;
  using base::constants_;
  using base::index_bits_;
  using base::key_bytes;
  using base::lanes;
  using base::length_;
  using base::tile_;
  using typename base::code_range_type;
  using typename base::codec_type;
  using typename base::composite_type;

 public:
  using base::block;
  using base::is_exact;
  using typename base::entry;
  using typename base::rows;
  using typename base::target;
  using typename base::word;

  static long long scratch_bytes(long long length) {
    return base::scratch_bytes_for(slots_for(length), length);
  }
  long long pitch() const { return pitch_; }

  // A network for the first positions finds so many and one more, which tells whether the prefix of
  // the last wanted one goes on beyond it. To find more, all are sorted.
  static constexpr int max_first = block - 1;

  template <class Args>
  index_order_in_tile(const Args& args, void* scratch)
      : base(args, args.length, slots_for(args.length), scratch),
        slots_(slots_for(args.length)),
        kept_(args.kept),
        pitch_(base::pitch_for(args.length)) {}

  // Positions of each row whose indices find() finds.
  int found() const { return finds_first() && length_ > block ? block : length_; }
  // Finds the order of every row whatever prefixes tell.
  void find_exactly(rows input) {
    if constexpr (finds_pairs) {
      if (finds_first()) return find_first_of_pairs(input, make_indices<block>{});
    }
    this->find_by_halves(input);
  }
  // A bit for each row of the last find() whose first positions prefixes do not tell.
  unsigned undecided() const { return undecided_; }

  // Returns a bit for each row whose order must be checked.
  unsigned find(rows input) {
    if constexpr (is_exact) {
      no_range none;
      load_tile(input, tile_, none);
      return sort_tile_of(composite_type(index_bits_));
    } else {
      if constexpr (prefers_values) {
        value_range<target> values = first_values(input, make_indices<lanes>{});
        load_tile(input, tile_, values);
        if (values.are_spread(length_)) {
          return sort_tile_of(values.prefixes(index_bits_, constants_.key_xor != 0));
        }
      }
      code_range_type codes(codec_);
      load_codes(input, tile_, codes);
      return sort_tile_of(codes.prefixes(index_bits_));
    }
  }

  // Sorts the entries of the tile; without `length_` of them, it adds pads.
  void sort_tile() {
    const int full = length_ / block * block;
    for (int slot = 0; slot < full; slot += block) place_block(slot);
    if (full < length_) place_last_block(full);
    tile_sort::sort(target{}, tile_, slots_, store_block{*this});
  }
  void load_codes(rows input, entry* to) const {
    code_range_type codes(codec_);
    load_codes(input, to, codes);
  }

 private:
  using tile_sort = tile_network<target, block_bits>;
  using block_network = network<target, block_bits>;
  using block_first = first_network<target, block_bits>;
  // Many index bits leave little of a prefix.
  static constexpr bool prefers_values = Codec == codec_kind::ieee && KeyBits == 32;

  // A tile is whole blocks.
  static constexpr int slots_for(long long length) {
    return static_cast<int>((length + block - 1) / block * block);
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
      this->template load<block>(input, slot, keys);
      base::add_all(range, keys, make_indices<block>{});
      base::copy(to + slot, keys, make_indices<block>{});
    }
    if (full < length_) {
      const int first = length_ < block ? 0 : length_ - block;
      entry keys[block];
      this->template load<block>(input, first, keys);
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
    if constexpr (Selection == selection::first) {
      if (finds_first()) return find_first(composite);
    }
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
    base::copy(entries, tile_ + slot, make_indices<block>{});
    block_network::sort(target{}, entries);
    tile_sort::place(target{}, tile_, slot, entries);
  }

  bool finds_first() const { return Selection == selection::first && kept_ <= max_first; }
  // Finds the first entries; the tile stays as it is.
  template <class Composite>
  __attribute__((noinline)) unsigned find_first(const Composite& given) {
    const Composite composite = given;
    entry first[block] = {};
    for (int slot = 0; slot < slots_; slot += block) {
      entry entries[block];
      compose_block(composite, slot, entries, make_indices<block>{});
      for (int i = length_ - slot; i < block; ++i) entries[i] = target::pad();
      if (slot == 0) {
        base::copy(first, entries, make_indices<block>{});
        block_first::begin(target{}, first);
      } else {
        block_first::add(target{}, first, entries);
      }
    }
    unsigned unsure = 0;
    undecided_ = 0;
    if constexpr (!is_exact) {
      closeness<target> close, at_end;
      for (int i = 1; i < found() && i <= kept_; ++i) close.add(first[i - 1], first[i]);
      unsure = close.unsure_lanes(composite);
      if (found() < length_) {
        at_end.add(first[kept_ - 1], first[block - 1]);
        undecided_ = at_end.unsure_lanes(composite);
      }
    }
    for (int i = 0; i < block; ++i) first[i] = composite.index(first[i]);
    this->template store_order<block>(0, first);
    return unsure;
  }

  // The same with entries of twice the width, a whole code above its index, of half of the rows at
  // a time.
  static constexpr bool finds_pairs = Selection == selection::first && sizeof(word) == 4;
  using wide = simd_words<64>;
  template <int... I>
  __attribute__((noinline)) void find_first_of_pairs(rows input, indices<I...> all) {
    using pairs_first = first_network<wide, block_bits>;
    load_codes(input, codes_);
    for (int half = 0; half < lanes; half += wide::lanes) {
      typename wide::key first[block] = {};
      for (int slot = 0; slot < slots_; slot += block) {
        typename wide::key pairs[block] = {pair_at(half, slot + I)...};
        if (slot == 0) {
          base::copy(first, pairs, all);
          pairs_first::begin(wide{}, first);
        } else {
          pairs_first::add(wide{}, first, pairs);
        }
      }
      for (int lane = 0; lane < wide::lanes; ++lane) {
        for (int i = 0; i < block; ++i) {
          base::row(half + lane)[i] = static_cast<word>(first[i][lane]);
        }
      }
    }
  }
  WBS_INLINE typename wide::key pair_at(int half, int slot) const {
    if (slot >= length_) return wide::pad();
    typename target::template vector<word, wide::lanes> codes;
    __builtin_memcpy(&codes, reinterpret_cast<const word*>(codes_ + slot) + half, sizeof(codes));
    const auto wider = __builtin_convertvector(codes, typename wide::key);
    return (wider << 32 | static_cast<typename wide::element>(slot)) ^ wide::bias;
  }

  // Compares neighbours, takes the indices out of the entries and writes them.
  template <class Composite>
  struct finish_block {
    index_order_in_tile& order;
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
      base::copy(entries, finish.order.tile_ + slot, make_indices<block>{});
      block_network::clean(target{}, entries);
      finish(slot, entries);
    }
  };
  template <class Composite>
  __attribute__((noinline)) void finish_sorted(finish_block<Composite>& finish) {
    for (int slot = 0; slot < slots_; slot += block) {
      entry entries[block];
      base::copy(entries, tile_ + slot, make_indices<block>{});
      finish(slot, entries);
    }
  }

  struct store_block {
    index_order_in_tile& order;
    WBS_INLINE void operator()(int slot) const {
      entry entries[block];
      base::copy(entries, order.tile_ + slot, make_indices<block>{});
      block_network::clean(target{}, entries);
      base::copy(order.tile_ + slot, entries, make_indices<block>{});
    }
  };

  int slots_, kept_;
  unsigned undecided_ = 0;
  long long pitch_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_INDEX_TILE_HPP_
