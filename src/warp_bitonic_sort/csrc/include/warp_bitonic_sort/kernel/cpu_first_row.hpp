// The CPU kernel that finds the first elements of long rows, one row at a time.
//
// Every code belongs to a group; groups are interleaved, so that a sorted row fills all of them
// alike. Of the least codes of the groups, as many as are wanted bound the wanted codes from above.
// The least codes of blocks of the row are kept, too: only blocks that reach the bound are read
// again. The few codes within the bound are collected with their indices, and sorted. Where they
// are too many, all but the wanted ones are dropped, and the bound is lowered.
//
// Invariant: exact and stable for any row. All reads of a row precede its stores. No byte outside
// the rows is read or written.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_FIRST_ROW_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_FIRST_ROW_HPP_

#include <warp_bitonic_sort/abi.h>

#include <algorithm>
#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/memory/cpu/array_cursor.hpp>
#include <warp_bitonic_sort/memory/cpu/index_output.hpp>
#include <warp_bitonic_sort/target/simd/words.hpp>

namespace warp_bitonic_sort {

template <codec_kind Codec, int KeyBits>
class first_row_kernel {
  using args_type = wbs_args<1, 2>;
  using target = simd_words<KeyBits == 64 ? 64 : 32>;
  using entry = typename target::key;
  using word = typename target::element;
  using raw = typename unsigned_of<KeyBits>::type;
  // A code above its index: their order is that of the stable sort.
  using pair = typename choose<KeyBits == 64, unsigned __int128, unsigned long long>::type;
  static constexpr int lanes = target::lanes, key_bytes = KeyBits / 8;
  using raws = typename target::template vector<raw, lanes>;
  using signed_raws =
      typename target::template vector<typename unsigned_of<KeyBits>::signed_type, lanes>;
  using codec_type = canonical_codec<Codec, raws, signed_raws, raw>;
  using one_codec = canonical_codec<Codec, raw, typename unsigned_of<KeyBits>::signed_type>;
  using output = index_output<target, KeyBits, 0>;
  // Vectors that are compared at once, and their elements.
  static constexpr int vectors = 8, block = vectors * lanes;
  static constexpr int min_groups = 128, min_in_group = 4;
  static_assert(min_groups % block == 0, "groups are whole blocks");
  // So many pairs are collected before some are dropped.
  static constexpr int min_full = 4096;

 public:
  static long long scratch_bytes(long long length) {
    return 2 * bytes_for_keys(length) + bytes_for_groups(length) + bytes_for_blocks(length) +
           bytes_for_pairs(length) + length * static_cast<int>(sizeof(word));
  }

  static void run(const void* args, long long first, long long last, void* scratch) {
    const auto& rows = *static_cast<const args_type*>(args);
    first_row_kernel kernel(rows, static_cast<char*>(scratch));
    array_cursor<1, 2> cursor(rows, first);
    for (long long row = first; row < last; ++row, cursor.advance(1)) kernel.find(cursor);
  }

 private:
  static constexpr long long rounded(long long bytes) {
    return (bytes + simd_bytes - 1) / simd_bytes * simd_bytes;
  }
  static long long bytes_for_keys(long long length) { return rounded(length * key_bytes); }
  // Of twice as many groups as elements are wanted.
  static long long groups_for(long long kept) {
    long long groups = min_groups;
    while (groups < 2 * kept) groups *= 2;
    return groups;
  }
  static long long bytes_for_groups(long long length) {
    return rounded(length / min_in_group * static_cast<int>(sizeof(word)));
  }
  static long long bytes_for_blocks(long long length) {
    return rounded(length / block * static_cast<int>(sizeof(entry)));
  }
  static long long bytes_for_pairs(long long length) {
    return rounded((length + min_full + lanes) * static_cast<int>(sizeof(pair)));
  }

  first_row_kernel(const args_type& args, char* scratch)
      : args_(args),
        length_(args.length),
        kept_(args.kept),
        codec_({args.key_xor, args.key_add}),
        one_codec_({args.key_xor, args.key_add}),
        keys_(scratch),
        groups_(reinterpret_cast<word*>(keys_ + bytes_for_keys(length_))),
        blocks_(
            reinterpret_cast<word*>(reinterpret_cast<char*>(groups_) + bytes_for_groups(length_))),
        pairs_(
            reinterpret_cast<pair*>(reinterpret_cast<char*>(blocks_) + bytes_for_blocks(length_))),
        fetched_(reinterpret_cast<char*>(pairs_) + bytes_for_pairs(length_)),
        order_(reinterpret_cast<word*>(fetched_ + bytes_for_keys(length_))) {}

  void find(const array_cursor<1, 2>& cursor) {
    const char* const row = contiguous(cursor.input(0));
    collect(row, bound(row));
    const int found = static_cast<int>(end_ - pairs_);
    if (kept_ < found) std::nth_element(pairs_, pairs_ + kept_, end_);
    std::sort(pairs_, pairs_ + kept_);
    for (int i = 0; i < kept_; ++i) order_[i] = static_cast<word>(index_of(pairs_[i]));
    if (char* const to = cursor.output(0)) {
      output::fetch_few(row, order_, kept_, fetched_);
      output::write_values(fetched_, kept_, to, args_.output_stride[0]);
    }
    if (args_.index_bytes == 4) {
      output::template write_indices<unsigned>(order_, kept_, cursor.output(1),
                                               args_.output_stride[1]);
    } else {
      output::template write_indices<unsigned long long>(order_, kept_, cursor.output(1),
                                                         args_.output_stride[1]);
    }
  }

  const char* contiguous(const char* from) {
    const long long stride = args_.input_stride[0];
    if (stride == key_bytes) return from;
    for (long long i = 0; i < length_; ++i) {
      __builtin_memcpy(keys_ + i * key_bytes, from + i * stride, key_bytes);
    }
    return keys_;
  }

  // NaNs have different codes here, beyond those of all numbers.
  WBS_INLINE entry codes_at(const char* row, int i) const {
    raws keys;
    __builtin_memcpy(&keys, row + static_cast<long long>(i) * key_bytes, sizeof(keys));
    return __builtin_convertvector(codec_.encode_unjoined(keys), entry);
  }
  static WBS_INLINE entry lesser(const entry& a, const entry& b) { return a < b ? a : b; }

  // At least kept_ codes are not above it. Sets the least codes of all blocks.
  word bound(const char* row) {
    const long long groups = groups_for(kept_);
    // With few elements in a group, too many of all are within the bound.
    if (length_ < min_in_group * groups) {
      __builtin_memset(blocks_, 0, static_cast<size_t>(bytes_for_blocks(length_)));
      return static_cast<word>(~word(0));
    }
    const int count = static_cast<int>(groups);
    for (int group = 0; group < count; group += block) {
      find_least(row, group, count, make_indices<vectors>{});
    }
    std::nth_element(groups_, groups_ + (kept_ - 1), groups_ + count);
    return beyond_nans(groups_[kept_ - 1]);
  }
  // The least codes of a block of groups; every count-th element belongs to one.
  template <int... I>
  void find_least(const char* row, int group, int count, indices<I...>) {
    const entry all = target::broadcast(static_cast<word>(~word(0)));
    entry least[vectors] = {((void)I, all)...};
    for (long long first = group; first + block <= length_; first += count) {
      const int at = static_cast<int>(first);
      const entry codes[vectors] = {codes_at(row, at + I * lanes)...};
      entry of_block = all;
      ((least[I] = lesser(least[I], codes[I]), of_block = lesser(of_block, codes[I])), ...);
      __builtin_memcpy(blocks_ + at / block * lanes, &of_block, sizeof(entry));
    }
    (__builtin_memcpy(groups_ + group + I * lanes, &least[I], sizeof(entry)), ...);
  }
  // No code is less, of those that all NaNs share.
  word least_code() const {
    if constexpr (codec_type::has_nans) return codec_.lowest()[0];
    return 0;
  }
  // A bound that is the code of a NaN becomes one that all NaNs are within.
  word beyond_nans(word bound) const {
    if constexpr (codec_type::has_nans) {
      const word lowest = codec_.lowest()[0], highest = codec_.highest()[0];
      return bound < lowest ? lowest : bound >= highest ? static_cast<word>(~word(0)) : bound;
    }
    return bound;
  }

  // Collects the codes that are not above the bound.
  void collect(const char* row, word bound) {
    end_ = pairs_;
    int i = 0;
    for (; i <= length_ - block; i += block) {
      if (!reaches(i, bound)) continue;
      for (int at = i; at < i + block; at += lanes) add_vector(row, at, bound);
      if (end_ - pairs_ < full()) continue;
      // Later codes that equal the last one left come behind it.
      const word last = drop();
      if (last == least_code()) return;
      bound = static_cast<word>(last - 1);
    }
    for (; i < length_; ++i) add(row, i, bound);
  }
  // Whether a code of the block of element i is within the bound.
  WBS_INLINE bool reaches(int i, word bound) const {
    entry least;
    __builtin_memcpy(&least, blocks_ + i / block * lanes, sizeof(entry));
    const unsigned above = target::lanes_greater(least, target::broadcast(bound));
    return above != static_cast<unsigned>((1ull << lanes) - 1);
  }
  WBS_INLINE void add_vector(const char* row, int i, word bound) {
    const unsigned above = target::lanes_greater(codes_at(row, i), target::broadcast(bound));
    unsigned within = ~above & static_cast<unsigned>((1ull << lanes) - 1);
    for (; within != 0; within &= within - 1) add(row, i + __builtin_ctz(within), bound);
  }
  // Adds an element if its code, which all NaNs share, is within the bound.
  void add(const char* row, int i, word bound) {
    raw key;
    __builtin_memcpy(&key, row + static_cast<long long>(i) * key_bytes, sizeof(key));
    const word code = one_codec_.encode(key);
    if (code <= bound) *end_++ = pair_of(code, i);
  }
  long long full() const { return std::max<long long>(min_full, 2ll * kept_); }
  // Drops all but the wanted pairs so far, and returns the last one's code.
  __attribute__((noinline)) word drop() {
    pair* const last = pairs_ + (kept_ - 1);
    std::nth_element(pairs_, last, end_);
    end_ = pairs_ + kept_;
    return static_cast<word>(*last >> (8 * sizeof(word)));
  }
  static WBS_INLINE pair pair_of(word code, int index) {
    return static_cast<pair>(code) << (8 * sizeof(word)) | static_cast<unsigned>(index);
  }
  static WBS_INLINE unsigned index_of(pair p) { return static_cast<unsigned>(p); }

  const args_type& args_;
  int length_, kept_;
  codec_type codec_;
  one_codec one_codec_;
  char* keys_;
  word *groups_, *blocks_;
  pair* pairs_;
  char* fetched_;
  word* order_;
  pair* end_ = nullptr;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_FIRST_ROW_HPP_
