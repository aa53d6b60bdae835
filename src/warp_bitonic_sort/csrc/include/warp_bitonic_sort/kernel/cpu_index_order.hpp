// The order of the keys in a group of rows, a row a SIMD lane: what its finding has in common for
// rows in registers and rows in a tile.
//
// The rows become entries of one word: a prefix of the key and its index. The network sorts them.
// Rows whose prefixes may hide their order are named; they are to be checked, or sorted once more,
// exactly, by halves of their codes.
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
#include <warp_bitonic_sort/target/simd/words.hpp>

namespace warp_bitonic_sort {

// Derived has load_codes(rows, entry*), and sort_tile(), which sorts the tile's first entries.
template <class Derived, codec_kind Codec, int KeyBits>
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
  // Scratch rows have room for whole blocks.
  static constexpr int block_bits = 4, block = 1 << block_bits;

  // Words from row to row: an odd number of blocks, which keeps rows out of each other's cache
  // sets.
  static constexpr long long pitch_for(long long length) {
    return ((length + block - 1) / block | 1) * block;
  }

  const codec_type& codec() const { return codec_; }
  // The indices of a row's keys, sorted.
  word* row(int lane) const { return order_ + lane * derived().pitch(); }

  // Sorts by the low half of each code, then by the high half; both sorts are stable.
  __attribute__((noinline)) void find_by_halves(rows input) {
    const composite_type composite(index_bits_);
    derived().load_codes(input, codes_);
    for (int slot = 0; slot < length_; ++slot) {
      tile_[slot] = composite.low_half(codes_[slot], static_cast<word>(slot)) ^ target::bias;
    }
    derived().sort_tile();
    for (int slot = 0; slot < length_; ++slot) {
      places_[slot] = composite.index(tile_[slot]);
      entry code;
      fetch_words(codes_, places_[slot], code, make_indices<lanes>{});
      tile_[slot] = composite.high_half(code, static_cast<word>(slot)) ^ target::bias;
    }
    derived().sort_tile();
    for (int slot = 0; slot < length_; ++slot) {
      entry order;
      fetch_words(places_, composite.index(tile_[slot]), order, make_indices<lanes>{});
      for (int lane = 0; lane < lanes; ++lane) row(lane)[slot] = order[lane];
    }
  }

 protected:
  using composite_type = composite<word, entry>;
  using code_range_type = code_range<target, codec_type>;

  static long long scratch_bytes_for(long long slots, long long length) {
    return 3 * slots * simd_bytes + lanes * pitch_for(length) * word_bytes;
  }
  template <class Args>
  index_order(const Args& args, int length, long long slots, void* scratch)
      : constants_{args.key_xor, args.key_add},
        codec_(constants_),
        length_(length),
        index_bits_(bits_for(length)),
        tile_(static_cast<entry*>(scratch)),
        codes_(tile_ + slots),
        places_(codes_ + slots),
        order_(reinterpret_cast<word*>(places_ + slots)) {}

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

  template <class Range, int... I>
  static WBS_INLINE void add_all(Range& range, entry* keys, indices<I...>) {
    ((keys[I] = range.add(keys[I])), ...);
  }

  // Writes a part of the order of each row.
  template <int Count>
  WBS_INLINE void store_order(int slot, const entry* order) const {
    constexpr int piece = lanes < Count ? lanes : Count;
    const strided_rows<char> to{reinterpret_cast<char*>(order_ + slot),
                                derived().pitch() * word_bytes};
    store_pieces<piece>(to, order, make_indices<Count / piece>{});
  }
  template <int Piece, int... I>
  static WBS_INLINE void store_pieces(const strided_rows<char>& to, const entry* order,
                                      indices<I...>) {
    (target::template store_rows<Piece / target::chunk_keys>(to, I * Piece * word_bytes,
                                                             order + I * Piece),
     ...);
  }
  template <class Entry, int... I>
  static WBS_INLINE void copy(Entry* to, const Entry* from, indices<I...>) {
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

  order_constants constants_;
  codec_type codec_;
  int length_, index_bits_;
  entry* tile_;
  entry* codes_;
  entry* places_;
  word* order_;

 private:
  Derived& derived() { return static_cast<Derived&>(*this); }
  const Derived& derived() const { return static_cast<const Derived&>(*this); }
  template <int... Lane>
  static WBS_INLINE void fetch_words(const entry* tile, entry slots, entry& words,
                                     indices<Lane...>) {
    const word* const from = reinterpret_cast<const word*>(tile);
    words = entry{from[slots[Lane] * lanes + Lane]...};
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_INDEX_ORDER_HPP_
