// Finds the first elements of sorted rows with their indices, and sorts only few elements for it.
//
// The lanes of a row read it once, in vectors of 16 bytes, and keep the least key of each of their
// units: a unit is one vector, or several of a longer row. Units are joined to groups. The least
// keys of the groups are sorted; of so many elements as are wanted, the last one bounds the wanted
// elements (A. Gaihre et al., "Dr. Top-k: delegate-centric top-k on GPUs", SC 2021). Units that
// reach the bound are read again, and what is within it is collected (memory/gpu/best_pairs.hpp).
// Vectors of a row lie apart in its groups, so that a sorted row fills all groups alike.
//
// A row of more threads than a block has is read by a cluster of blocks. Each block bounds its
// share of the wanted elements, and collects what it has within the greatest of these bounds.
//
// Invariant: exact and stable for any row; only speed depends on the bound. No byte outside the
// rows is read or written. Outputs do not overlap the input.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_FIRST_ROWS_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_FIRST_ROWS_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/index_codec.hpp>
#include <warp_bitonic_sort/core/indexed_code.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/register_codec.hpp>
#include <warp_bitonic_sort/memory/gpu/addresses.hpp>
#include <warp_bitonic_sort/memory/gpu/best_pairs.hpp>
#include <warp_bitonic_sort/memory/gpu/index_output.hpp>
#include <warp_bitonic_sort/memory/gpu/run.hpp>
#include <warp_bitonic_sort/network/warp.hpp>

namespace warp_bitonic_sort {

// Keys is a codec of core/register_codec.hpp.
template <template <class> class Target, class Keys, codec_kind Codec, int KeyBits, int MaxKept,
          int Units, int LaneBits, int WarpBits>
class gpu_first_rows {
  using key = typename Keys::key;
  using element = typename Keys::element;
  WBS_CONSTANT(int, key_bytes, KeyBits / 8);
  WBS_CONSTANT(int, word_bits, KeyBits == 64 ? 64 : 32);
  using word = typename unsigned_of<word_bits>::type;
  using order_key = typename unsigned_of<word_bits>::signed_type;
  using codes = index_codec<Codec, KeyBits, word, order_key>;
  using pair = indexed_code<word>;

  // Few entries are sorted: a transposition would need shared memory.
  template <class Entry>
  struct shuffling_target : Target<Entry> {
    template <bool IsLong>
    static constexpr int min_transposed_steps = Target<Entry>::lane_bits + 1;
  };
  using target = shuffling_target<order_key>;
  WBS_CONSTANT(int, warp_lanes, 1 << target::lane_bits);
  WBS_CONSTANT(int, lanes, 1 << LaneBits);
  // Warps of a row in each block. Those that one block has no room for are in others of a cluster.
  WBS_CONSTANT(int, max_warps, target::max_block_threads / warp_lanes);
  WBS_CONSTANT(int, warps, 1 << WarpBits < max_warps ? 1 << WarpBits : max_warps);
  WBS_CONSTANT(int, block_lanes, lanes * warps);
  WBS_CONSTANT(int, row_lanes, lanes << WarpBits);
  WBS_CONSTANT(int, line_lanes, 8);
  WBS_CONSTANT(int, team_rows, warps > 1 ? 1 : warp_lanes / lanes);
  static_assert(Units <= 32, "a word has a bit for each unit");

  // Groups of each lane: twice as many of a row as elements are wanted, if there are.
  WBS_CONSTANT(int, wanted_groups, (2 * MaxKept + block_lanes - 1) / block_lanes);
  WBS_CONSTANT(int, groups, wanted_groups < Units ? wanted_groups : Units);
  static_assert(groups * block_lanes >= MaxKept, "groups bound the wanted elements");
  using network_type = warp_network<target, groups, LaneBits>;

  WBS_CONSTANT(int, vector_size, 16 / key_bytes);
  // Elements, or words of several.
  using piece = typename choose<Keys::rows == 1, element, unsigned>::type;
  using vector = element_vector<piece, 16 / static_cast<int>(sizeof(piece))>;
  using kept_pairs = best_pairs<shuffling_target, pair, LaneBits, warps, MaxKept, vector_size>;

 public:
  WBS_CONSTANT(int, inputs, 1);
  WBS_CONSTANT(int, outputs, 2);
  using arguments = index_args;
  WBS_CONSTANT(bool, tries_float_keys, false);
  WBS_CONSTANT(bool, prefers_loop, false);
  WBS_CONSTANT(int, capacity, 0x7FFFFFFF);
  WBS_CONSTANT(int, threads, warps > 1 ? warp_lanes * warps : 4 * warp_lanes);
  WBS_CONSTANT(int, tile_blocks, row_lanes / block_lanes);
  WBS_CONSTANT(int, block_rows, warps > 1 ? 1 : 4 * team_rows);
  WBS_CONSTANT(int, max_threads,
               target::first_threads_for(Units * static_cast<int>(sizeof(order_key))));
  WBS_CONSTANT(int, resident_blocks, max_threads / threads);
  // The lanes of a cluster look in the lists of all warps at once; one more pair for each spreads
  // these over the banks.
  WBS_CONSTANT(int, row_bytes,
               (kept_pairs::size + (tile_blocks > 1)) * static_cast<int>(sizeof(pair)));
  // A bound and a number of pairs for every warp of a row lie behind the pairs, and in a cluster
  // the bound of the block.
  WBS_CONSTANT(int, pairs_bytes, threads / lanes * row_bytes);
  WBS_CONSTANT(int, shared_bytes, pairs_bytes + (warps > 1 ? 16 * warps : 0));

  static WBS_INLINE void sort(const arguments& args, long long tile, void* shared) {
    const gpu_first_rows self(args, tile, static_cast<char*>(shared));
    order_key least[Units];
    self.find_least(least);
    const order_key bound = self.find_bound(least);
    kept_pairs found = self.collect(least, bound);
    found.sort();
    if constexpr (tile_blocks > 1) {
      self.merge(found);
    } else {
      self.emit(found);
    }
    sync();
  }

 private:
  // A row: `head` elements, then whole vectors, then the rest. It begins `src` bytes behind the
  // input; a compiler would not know that a pointer in a structure is one to global memory.
  struct place {
    long long src;
    int length, head, vectors;
  };

  WBS_INLINE gpu_first_rows(const arguments& args, long long tile, char* shared)
      : args_(args),
        shared_(shared),
        at_(find_addresses(args, tile * block_rows + row_of_block())),
        row_{at_.input[0] - static_cast<const char*>(args.input[0]), 0, 0, 0} {
    if (tile * block_rows + row_of_block() >= args.rows) return;
    row_.length = row_.head = args.length;
    if (args.input_stride[0] != key_bytes) return;
    const int lead = static_cast<int>(reinterpret_cast<unsigned long long>(at_.input[0]) % 16);
    const int head = (16 - lead) % 16 / key_bytes;
    if (head >= args.length) return;
    row_.head = head;
    row_.vectors = (args.length - head) / vector_size;
  }

  // -- threads ------------------------------------------------------------------------------------

  static WBS_INLINE int row_of_block() {
    return warps > 1 ? 0 : target::warp() * team_rows + target::lane() / lanes;
  }
  static WBS_INLINE int row_block() {
    return tile_blocks > 1 ? static_cast<int>(target::block() % tile_blocks) : 0;
  }
  static WBS_INLINE int row_warp() { return warps > 1 ? target::warp() : 0; }
  static WBS_INLINE int lane() { return target::lane() & (lanes - 1); }
  static WBS_INLINE int lane_of_block() { return row_warp() * lanes + lane(); }
  // Neighbouring lines of 128 bytes are in different blocks, and then in different warps. Else a
  // sorted row would have all wanted elements in one block, and the others' bounds would be poor.
  static WBS_INLINE int lane_of_row() {
    if constexpr (tile_blocks == 1) return lane_of_block();
    const int line = (lane() / line_lanes * warps + row_warp()) * tile_blocks + row_block();
    return line * line_lanes + lane() % line_lanes;
  }
  static WBS_INLINE void sync() { warps > 1 ? target::sync_block() : target::sync_warp(); }

  WBS_INLINE pair* pairs_of(int part) const {
    return reinterpret_cast<pair*>(shared_ + (warps > 1 ? part : row_of_block()) * row_bytes);
  }
  WBS_INLINE order_key* bounds() const {
    return reinterpret_cast<order_key*>(shared_ + pairs_bytes);
  }
  WBS_INLINE int* counts() const {
    return reinterpret_cast<int*>(shared_ + pairs_bytes + 8 * warps);
  }
  WBS_INLINE order_key* bound_of_block() const {
    return reinterpret_cast<order_key*>(shared_ + pairs_bytes + 12 * warps);
  }

  // -- keys ---------------------------------------------------------------------------------------

  template <class Entry>
  WBS_INLINE Entry lesser(Entry a, Entry b) const {
    Target<Entry>{args_.opaque_one}.compare_exchange(a, b);
    return a;
  }
  static WBS_INLINE order_key pad() { return static_cast<order_key>(~word(0) >> 1); }
  // Built where they are used: their constants would take registers all the time.
  WBS_INLINE Keys make_keys() const { return Keys(order()); }
  WBS_INLINE order_constants order() const {
    return {static_cast<unsigned long long>(target::opaque(args_.key_xor)),
            static_cast<unsigned long long>(target::opaque(args_.key_add))};
  }

  // Of a register with two elements, the lesser key.
  static WBS_INLINE order_key low_key(key16x2 k) { return static_cast<int>(k.both << 16) >> 16; }
  static WBS_INLINE order_key high_key(key16x2 k) { return static_cast<int>(k.both) >> 16; }

  WBS_INLINE order_key least_of(const Keys& keys, const vector& v) const {
    if constexpr (Keys::rows == 1) {
      key least = keys.encode(v.values[0]);
      WBS_UNROLL
      for (int e = 1; e < vector_size; ++e) least = lesser(least, keys.encode(v.values[e]));
      return least;
    } else {
      key least{0x7FFF7FFFu};
      WBS_UNROLL
      for (int e = 0; e < 4; ++e) {
        if constexpr (KeyBits == 16) {
          least = lesser(least, keys.encode(v.values[e]));
        } else {
          least = lesser(least, keys.encode(v.values[e] & 0x00FF00FFu));
          least = lesser(least, keys.encode(v.values[e] >> 8 & 0x00FF00FFu));
        }
      }
      return lesser(low_key(least), high_key(least));
    }
  }
  // The elements of a vector whose keys are not above a limit, a bit for each.
  WBS_INLINE unsigned hits_of(const Keys& keys, const vector& v, order_key most) const {
    unsigned hits = 0;
    if constexpr (Keys::rows == 1) {
      WBS_UNROLL
      for (int e = 0; e < vector_size; ++e) {
        if (keys.encode(v.values[e]) <= most) hits |= 1u << e;
      }
    } else {
      WBS_UNROLL
      for (int w = 0; w < 4; ++w) {
        constexpr int in_word = vector_size / 4;
        WBS_UNROLL
        for (int i = 0; i < in_word; i += 2) {
          const unsigned both = KeyBits == 16 ? v.values[w] : v.values[w] >> 4 * i & 0x00FF00FFu;
          const key k = keys.encode(both);
          if (low_key(k) <= most) hits |= 1u << (w * in_word + i / 2);
          if (high_key(k) <= most) hits |= 1u << (w * in_word + i / 2 + in_word / 2);
        }
      }
    }
    return hits;
  }
  WBS_INLINE order_key key_of(const Keys& keys, element raw) const {
    if constexpr (Keys::rows == 1) {
      return keys.encode(raw);
    } else {
      return low_key(keys.encode(raw));
    }
  }
  WBS_INLINE element raw_of(const Keys& keys, order_key k) const {
    if constexpr (Keys::rows == 1) {
      return keys.decode(k);
    } else {
      return static_cast<element>(keys.decode({static_cast<unsigned>(k) & 0xFFFFu}));
    }
  }

  // -- the bound ----------------------------------------------------------------------------------

  WBS_INLINE const char* address_of(long long offset) const {
    return static_cast<const char*>(args_.input[0]) + (row_.src + offset);
  }
  WBS_INLINE vector load_vector(int number) const {
    return target::template load_global<vector>(
        address_of(row_.head * key_bytes + static_cast<long long>(number) * 16));
  }
  // How often a lane loads one vector for each of its units, so that the row's lanes load it all.
  WBS_INLINE int steps() const {
    constexpr int at_once = Units * row_lanes * vector_size;
    return (args_.length - 1) / at_once + 1;
  }
  WBS_INLINE void find_least(order_key (&least)[Units]) const {
    WBS_UNROLL
    for (int j = 0; j < Units; ++j) least[j] = pad();
    if (row_.vectors == 0) return;
    const Keys keys = make_keys();
    const int count = steps() * Units, last = row_.vectors - 1;
    const auto number = [&](int n) { return n * row_lanes + lane_of_row(); };
    // Behind the end, the last vector is read again.
    const auto load = [&](int n) { return load_vector(number(n) < last ? number(n) : last); };
    // Vectors that a lane has asked for and not used yet; more would leave fewer warps.
    constexpr int ahead = Units == 32 ? 16 : Units < 8 ? Units : 8;
    vector loaded[ahead];
    WBS_UNROLL
    for (int n = 0; n < ahead; ++n) loaded[n] = load(n);
    WBS_ROLLED
    for (int first = 0; first < count; first += Units) {
      WBS_UNROLL
      for (int j = 0; j < Units; ++j) {
        const order_key k = least_of(keys, loaded[j % ahead]);
        if (j + ahead < Units || first + Units < count) {
          loaded[j % ahead] = load(first + j + ahead);
        }
        least[j] = lesser(least[j], number(first + j) <= last ? k : pad());
      }
    }
  }
  // At least as many elements as are wanted are not above it, unless it is a pad.
  WBS_INLINE order_key find_bound(const order_key (&least)[Units]) const {
    order_key tops[groups];
    WBS_UNROLL
    for (int j = 0; j < Units; ++j) {
      tops[j % groups] = j < groups ? least[j] : lesser(tops[j % groups], least[j]);
    }
    network_type::sort(target{{args_.opaque_one}}, tops, nullptr);
    // Each warp has `share` elements within its own bound, or a pad as the bound.
    const int of_block = (args_.kept + tile_blocks - 1) / tile_blocks;
    const int share = (of_block + warps - 1) / warps, at = share - 1;
    const int source = target::lane() - lane() + at / groups;
    order_key bound = pad();
    WBS_UNROLL
    for (int g = 0; g < groups; ++g) {
      const order_key k = target::from_lane(tops[g], source);
      bound = at % groups == g ? k : bound;
    }
    if constexpr (warps > 1) {
      if (target::lane() == 0) bounds()[row_warp()] = bound;
      sync();
      // The warps with the least bounds, `share` elements each, have all that are wanted.
      const int needed = (of_block + share - 1) / share;
      const int mine = target::lane() & (warps - 1);
      bound = bounds()[mine];
      int before = 0;
      WBS_ROLLED
      for (int w = 0; w < warps; ++w) {
        const order_key other = bounds()[w];
        before += other < bound || (other == bound && w < mine);
      }
      bound = least_in_warp(before >= needed - 1 ? bound : pad());
    }
    if constexpr (tile_blocks > 1) {
      if (lane_of_block() == 0) *bound_of_block() = bound;
      target::sync_cluster();
      const order_key other = *target::in_block(bound_of_block(), lane() % tile_blocks);
      // The greatest: each block has its share of the wanted elements within its own bound.
      bound = ~least_in_warp(~other);
    }
    return bound;
  }
  template <int Mask = 1>
  WBS_INLINE order_key least_in_warp(order_key k) const {
    if constexpr (Mask < warp_lanes) {
      return least_in_warp<2 * Mask>(lesser(k, target::template from_lane_xor<Mask>(k)));
    } else {
      return k;
    }
  }

  // -- collecting ---------------------------------------------------------------------------------

  // The greatest key of elements that count as equal to a bound, the greatest key below them, and
  // their code. For some bounds, elements are looked at that need not be.
  struct limit {
    order_key key, below;
    word code;
  };
  WBS_INLINE limit limit_of(const Keys& keys, const codes& codec, order_key bound) const {
    if (bound == pad()) return {bound, bound, ~word(0)};
    const element raw = raw_of(keys, bound);
    const word code = codec.encode(raw);
    if constexpr (Codec == codec_kind::ieee) {
      constexpr element sign = static_cast<element>(element(1) << (KeyBits - 1));
      if (code == codec.encode(static_cast<element>(~sign))) return {pad(), pad(), code};  // NaN
      if (code == codec.encode(0)) {
        const order_key positive = key_of(keys, 0), negative = key_of(keys, sign);
        return positive > negative ? limit{positive, negative - 1, code}
                                   : limit{negative, positive - 1, code};
      }
    }
    return {bound, bound == ~pad() ? bound : bound - 1, code};
  }

  WBS_INLINE kept_pairs collect(const order_key (&least)[Units], order_key bound) const {
    const codes codec({target::opaque(args_.key_xor), target::opaque(args_.key_add)});
    const Keys keys = make_keys();
    const limit within = limit_of(keys, codec, bound);
    kept_pairs result(pairs_of(row_warp()), pair::of(within.code, ~0u), args_.kept,
                      args_.opaque_one);
    add_edges(codec, result);
    unsigned marks = 0;
    WBS_UNROLL
    for (int j = 0; j < Units; ++j) {
      if (least[j] <= within.key) marks |= 1u << j;
    }
    const int count = steps();
    WBS_ROLLED
    while (target::any_in_warp(marks != 0)) {
      const int unit = target::lowest_bit(marks);
      const bool has_unit = marks != 0;
      marks &= marks - 1;
      WBS_ROLLED
      for (int s = 0; s < count; ++s) {
        const int number = (s * Units + unit) * row_lanes + lane_of_row();
        const unsigned first =
            static_cast<unsigned>(row_.head) + static_cast<unsigned>(number) * vector_size;
        unsigned hits = 0;
        if (has_unit && number < row_.vectors) {
          // Where pairs were dropped, further ties come too late.
          const bool wants_ties = result.wants(pair::of(within.code, first));
          hits = hits_of(keys, load_vector(number), wants_ties ? within.key : within.below);
        }
        result.reserve();
        WBS_ROLLED
        while (target::any_in_warp(hits != 0)) {
          const bool is_hit = hits != 0;
          const int index = static_cast<int>(first) + target::lowest_bit(hits);
          hits &= hits - 1;
          element raw{};
          if (is_hit) raw = load(index);
          result.add(is_hit, pair::of(codec.encode(raw), static_cast<unsigned>(index)));
        }
      }
    }
    return result;
  }
  // Adds the elements outside whole vectors.
  WBS_INLINE void add_edges(const codes& codec, kept_pairs& result) const {
    const int inside = row_.vectors * vector_size;
    const unsigned count = static_cast<unsigned>(row_.length - inside);
    WBS_ROLLED
    for (unsigned i = lane_of_row(); target::any_in_warp(i < count); i += row_lanes) {
      const int at = static_cast<int>(i), index = at < row_.head ? at : at + inside;
      element raw{};
      if (i < count) raw = load(index);
      result.reserve();
      result.add(i < count, pair::of(codec.encode(raw), static_cast<unsigned>(index)));
    }
  }
  WBS_INLINE element load(int index) const {
    return target::template load_global<element>(address_of(index * args_.input_stride[0]));
  }

  // -- merging ------------------------------------------------------------------------------------

  // The first pairs that a block of the cluster has found, sorted, and pads behind them. Each block
  // has a copy of all lists, in room that its warps need only to drop pairs.
  WBS_INLINE pair* first_of(int block) const { return pairs_of(block) + kept_pairs::max_size; }

  // Merges the pairs of each block's warps, and then the first ones of all blocks. A pair's place
  // is the sum of those in all lists. Neighbouring lanes look for it in one list each.
  WBS_INLINE void merge(const kept_pairs& found) const {
    static_assert(tile_blocks <= warps && warps <= lanes, "a buffer and a lane for each list");
    const pair behind = pair::of(~word(0), ~0u);
    if (row_warp() < tile_blocks) {
      for (int i = lane(); i < args_.kept; i += lanes) first_of(row_warp())[i] = behind;
    }
    if (lane() == 0) counts()[row_warp()] = found.count();
    target::sync_cluster();
    const pair* const own = pairs_of(row_warp());
    const int warp = lane() % warps, count = wanted_of(found.count());
    WBS_ROLLED
    for (int i = lane() / warps; target::any_in_warp(i < count); i += lanes / warps) {
      const bool is_there = i < count;
      const pair p = is_there ? own[i] : behind;
      const int at = sum<warps>(kept_pairs::place_in(pairs_of(warp), counts()[warp], p));
      if (is_there && at < args_.kept && warp < tile_blocks) {
        target::in_block(first_of(row_block()), warp)[at] = p;
      }
    }
    target::sync_cluster();
    const pair* const first = first_of(row_block());
    const int block = lane() % tile_blocks;
    WBS_ROLLED
    for (int i = lane_of_block() / tile_blocks; target::any_in_warp(i < args_.kept);
         i += block_lanes / tile_blocks) {
      const pair p = i < args_.kept ? first[i] : behind;
      const int at = sum<tile_blocks>(kept_pairs::place_in(first_of(block), args_.kept, p));
      // All wanted pairs come before a pad.
      if (at < args_.kept && block == 0) store(at, static_cast<int>(p.index()));
    }
  }
  // Over so many neighbouring lanes.
  template <int Lanes, int Mask = 1>
  static WBS_INLINE int sum(int of_lane) {
    if constexpr (Mask < Lanes) {
      return sum<Lanes, 2 * Mask>(of_lane + target::template from_lane_xor<Mask>(of_lane));
    } else {
      return of_lane;
    }
  }

  // -- storing ------------------------------------------------------------------------------------

  // How many of a warp's sorted pairs may be among the first ones of the block: of many, those up
  // to a bound, as in find_bound(). Each warp with `share` pairs offers the last of them.
  WBS_INLINE int wanted_of(int count) const {
    const int share = (args_.kept + warps - 1) / warps, at = share - 1;
    if (warps <= 4 || count <= 4 * share) return count;
    const int needed = (args_.kept + share - 1) / share, mine = lane() % warps;
    int before = 0;
    WBS_ROLLED
    for (int w = 0; w < warps; ++w) {
      before += counts()[w] > at && pairs_of(w)[at] < pairs_of(mine)[at];
    }
    const bool is_bound = counts()[mine] > at && before == needed - 1;
    const unsigned lanes_with_bound = static_cast<unsigned>(target::lanes_where(is_bound));
    if (lanes_with_bound == 0) return count;
    const pair bound = pairs_of(target::lowest_bit(lanes_with_bound) % warps)[at];
    const int place = kept_pairs::place_in(pairs_of(row_warp()), count, bound);
    return place < count ? place + 1 : count;
  }

  // A pair's place in the row is the sum of those in the sorted pairs of all warps.
  WBS_INLINE void emit(const kept_pairs& found) const {
    if constexpr (warps > 1) {
      if (target::lane() == 0) counts()[row_warp()] = found.count();
      sync();
    }
    const pair* const own = pairs_of(row_warp());
    const int count = warps > 1 ? wanted_of(found.count()) : found.count();
    for (int i = lane(); i < count; i += lanes) {
      const pair p = own[i];
      int at = i;
      if constexpr (warps > 1) {
        WBS_ROLLED
        for (int w = 0; w < warps; ++w) {
          if (w != row_warp()) at += kept_pairs::place_in(pairs_of(w), counts()[w], p);
        }
      }
      if (at < args_.kept) store(at, static_cast<int>(p.index()));
    }
  }
  WBS_INLINE void store(int at, int index) const {
    element_vector<element, 1> value{};
    if (args_.output[0] != nullptr) value.values[0] = load(index);
    store_elements<target>(
        args_.output[0] != nullptr, args_.index_bytes, at_.output[0] + at * args_.output_stride[0],
        at_.output[1] + at * args_.output_stride[1], value, element_vector<int, 1>{{index}});
  }

  const arguments& args_;
  char* shared_;
  row_addresses<1, 2> at_;
  place row_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_FIRST_ROWS_HPP_
