// Finds the order of rows of one length in registers.
//
// Invariant: that of kernel/cpu_index_order.hpp.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_INDEX_REGISTERS_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_INDEX_REGISTERS_HPP_

#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/kernel/cpu_index_order.hpp>
#include <warp_bitonic_sort/kernel/cpu_prefixes.hpp>
#include <warp_bitonic_sort/network/registers.hpp>

namespace warp_bitonic_sort {

template <codec_kind Codec, int KeyBits, int Length>
class index_order_in_registers
    : public index_order<index_order_in_registers<Codec, KeyBits, Length>, Codec, KeyBits> {
  using base = index_order<index_order_in_registers, Codec, KeyBits>;
  using base::codec_;
  using base::lanes;
  using typename base::code_range_type;
  using typename base::codec_type;
  using typename base::composite_type;

 public:
  using base::is_exact;
  using typename base::entry;
  using typename base::rows;
  using typename base::target;
  using typename base::word;
  using key_codec_type = warp_bitonic_sort::codec<Codec, entry, typename target::signed_key, word>;

  static long long scratch_bytes(long long) { return base::scratch_bytes_for(slots, Length); }
  void find_exactly(rows input) { this->find_by_halves(input); }
  static constexpr int found() { return Length; }
  static constexpr unsigned undecided() { return 0; }
  static constexpr long long pitch() { return base::pitch_for(Length); }

  template <class Args>
  index_order_in_registers(const Args& args, void* scratch) : base(args, Length, slots, scratch) {}

  // Returns a bit for each row whose order must be checked.
  __attribute__((noinline)) unsigned find(rows input) {
    entry entries[slots] = {};
    prefetch_ahead(input);
    if constexpr (is_exact) {
      load_all(input, entries);
      sort_prefixes(composite_type(bits_for(Length)), entries, make_indices<Length>{});
      this->template store_order<slots>(0, entries);
      return 0;
    } else {
      if (sorts_quickly()) {
        load_all(input, entries);
        encode(key_codec(), entries, make_indices<Length>{});
        if (sort_quickly(entries)) {
          this->template store_order<slots>(0, entries);
          return 0;
        }
      }
      if (slow_groups_left_ > 0) --slow_groups_left_;
      load_all(input, entries);
      code_range_type codes(codec_);
      base::add_all(codes, entries, make_indices<Length>{});
      if (codec_type::has_nans && codes.join_nans()) join_nans(entries, make_indices<Length>{});
      entry kept[Length];
      base::copy(kept, entries, make_indices<Length>{});
      const composite_type composite = codes.prefixes(bits_for(Length));
      const unsigned unsure = sort_prefixes(composite, entries, make_indices<Length>{});
      this->template store_order<slots>(0, entries);
      if (unsure == 0) return 0;
      entry order[Length];
      base::copy(order, entries, make_indices<Length>{});
      return unsure & wrong_lanes(kept, order);
    }
  }

  // Whether rows are likely to be sorted quickly.
  bool sorts_quickly() const { return slow_groups_left_ == 0; }
  // The codec of `sort_quickly`, which is that of kernels without an index.
  WBS_INLINE key_codec_type key_codec() const {
    return key_codec_type(base::constants_, target::bias);
  }
  // Sorts the codes of each row by prefixes that are cut without a look at their range. Codes
  // become indices. False, with nothing usable, where that does not tell the order: a row has
  // neighbours of almost one prefix, such as equal keys, or several NaNs.
  WBS_INLINE bool sort_quickly(entry* codes) {
    const bool done = sort_quickly(codec_, codes, make_indices<Length>{});
    slow_groups_ = done ? 0 : (2 * slow_groups_ + 1) & max_slow_groups;
    slow_groups_left_ = slow_groups_;
    return done;
  }

  void load_codes(rows input, entry* codes) const {
    entry keys[slots];
    load_all(input, keys);
    for (int slot = 0; slot < Length; ++slot) codes[slot] = codec_.encode(keys[slot]);
  }
  __attribute__((noinline)) void sort_tile() {
    entry entries[slots];
    base::copy(entries, this->tile_, make_indices<Length>{});
    sort_registers<Length>(target{}, entries);
    base::copy(this->tile_, entries, make_indices<Length>{});
  }

 private:
  static constexpr int slots =
      1 << bits_for(Length) < target::chunk_keys ? target::chunk_keys : 1 << bits_for(Length);
  // Groups that are not sorted quickly after one for which that failed: 1, then 3, then always 7,
  // because rows for which it fails go together.
  static constexpr int max_slow_groups = 7;

  // Pieces of a power of two; the last one begins before the end of the one before it.
  WBS_INLINE void load_all(rows input, entry* keys) const {
    constexpr int size = 1 << floor_log2(Length);
    this->template load<size>(input, 0, keys);
    if constexpr (size < Length) {
      entry last[slots];
      this->template load<size>(input, Length - size, last);
      base::copy(keys + size, last + 2 * size - Length, make_indices<Length - size>{});
    }
  }
  // A group of short rows is sorted in less time than a cache miss takes.
  WBS_INLINE void prefetch_ahead(rows input) const {
    constexpr int bytes_ahead = 4096;
    for (int at = 0; at < lanes * Length * base::key_bytes; at += 64) {
      __builtin_prefetch(input.base + bytes_ahead + at);
    }
  }
  template <int... I>
  static WBS_INLINE void encode(const key_codec_type& codec, entry* keys, indices<I...>) {
    ((keys[I] = codec.encode(keys[I])), ...);
  }
  template <int... I>
  WBS_INLINE void join_nans(entry* codes, indices<I...>) const {
    ((codes[I] = codec_.join_nans(codes[I])), ...);
  }
  template <int... I>
  static WBS_INLINE bool sort_quickly(const codec_type& codec, entry* entries, indices<I...>) {
    constexpr word mask = (word(1) << bits_for(Length)) - 1;
    // -0.0 and 0.0 are equal, but their codes are neighbours and may have two prefixes.
    constexpr word sure = codec_type::has_nans ? 2 * (mask + 1) : mask + 1;
    ((entries[I] = (entries[I] & ~mask) | word(I)), ...);
    sort_registers<Length>(target{}, entries);
    entry least = ~entry{};
    ((I > 0 ? lower(least, entries[I] - entries[I - (I > 0)]) : void()), ...);
    unsigned unsure = target::lanes_greater(target::broadcast(sure), least);
    if constexpr (codec_type::has_nans) {
      // Two NaNs of different bits are in the order of these. Codes of numbers are at most one off
      // those of codec_.
      const entry second = entries[1] ^ target::bias,
                  last_but_one = entries[Length - 2] ^ target::bias;
      unsure |= target::lanes_greater(codec.lowest() + word(1), second & ~mask) |
                target::lanes_greater(last_but_one | mask, codec.highest() - word(1));
    }
    ((entries[I] = entries[I] & mask), ...);
    return unsure == 0;
  }
  static WBS_INLINE void lower(entry& least, entry value) { least = value < least ? value : least; }
  // A bit for each lane whose codes are not in order: most neighbours of one prefix are equal.
  static __attribute__((noinline)) unsigned wrong_lanes(const entry* codes, const entry* order) {
    unsigned wrong = 0;
    entry before = select<0, Length>(codes, order[0]);
    for (int slot = 1; slot < Length; ++slot) {
      const entry code = select<0, Length>(codes, order[slot]);
      wrong |= target::lanes_greater(before, code);
      before = code;
    }
    return wrong;
  }
  // Of Count codes from the First-th on, the one at each lane's index.
  template <int First, int Count>
  static WBS_INLINE entry select(const entry* codes, entry index) {
    if constexpr (Count == 1) {
      return codes[First];
    } else {
      constexpr int half = 1 << (bits_for(Count) - 1);
      const entry is_high = index & word(half);
      return is_high == entry{} ? select<First, half>(codes, index)
                                : select<First + half, Count - half>(codes, index);
    }
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

  int slow_groups_ = 0, slow_groups_left_ = 0;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_INDEX_REGISTERS_HPP_
