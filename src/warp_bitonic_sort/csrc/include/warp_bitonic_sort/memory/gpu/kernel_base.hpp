// The base of all GPU kernels: finds rows, and moves keys between registers and shared memory.
//
// Invariant: all addresses are 64 bits; an element's number within a row is an int. Every function
// here is called by whole warps.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_KERNEL_BASE_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_KERNEL_BASE_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/register_codec.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/memory/gpu/addresses.hpp>
#include <warp_bitonic_sort/memory/gpu/median.hpp>
#include <warp_bitonic_sort/memory/gpu/run.hpp>
#include <warp_bitonic_sort/network/warp.hpp>

namespace warp_bitonic_sort {

// The memory format of one register: an element, or the elements of two rows.
template <class Element, int Rows>
struct register_of {
  using type = unsigned;
};
template <class Element>
struct register_of<Element, 1> {
  using type = Element;
};

// Pads rows that are sorted as a whole. Raw is an element of memory, or those of two rows.
template <class Keys, class Raw>
class sorted_pads {
 public:
  WBS_INLINE sorted_pads(const Keys& codec, const wbs_args<1, 1>&, int)
      : pad_(codec.decode(Keys::pad())) {}
  WBS_INLINE Raw at(int) const { return pad_; }

 private:
  Raw pad_;
};

// Keys is a codec of core/register_codec.hpp.
template <template <class> class Target, class Keys, int Registers, int LaneBits, int WarpBits>
class kernel_base {
 public:
  WBS_CONSTANT(int, key_bytes, sizeof(typename Keys::element));
  WBS_CONSTANT(int, capacity, Registers << LaneBits << WarpBits);

 protected:
  using keys_type = Keys;
  using element = typename keys_type::element;
  using key = typename keys_type::key;
  using target = Target<key>;
  using network_type = warp_network<target, Registers, LaneBits, WarpBits>;
  WBS_CONSTANT(int, warp_lanes, network_type::warp_lanes);
  WBS_CONSTANT(int, lanes, network_type::lanes);
  WBS_CONSTANT(int, warps, network_type::warps);
  using raw = typename register_of<element, keys_type::rows>::type;
  static_assert(sizeof(raw) == sizeof(key), "a stage holds either");
  // Rows that share a register, and rows that a warp sorts at once.
  WBS_CONSTANT(int, shared_rows, keys_type::rows);
  WBS_CONSTANT(int, warp_rows, warp_lanes / lanes * shared_rows);

  // Blocks that must fit a multiprocessor's registers at once; 0 leaves occupancy to the compiler.
  static constexpr WBS_HOST_DEVICE int blocks_of(int threads, bool finds_median) {
    const int blocks =
        target::blocks_for(Registers, sizeof(key), key_bytes, finds_median) * 128 / threads;
    return threads > 256 && blocks == 0 ? 1 : blocks;
  }

  template <int Size>
  using elements = element_vector<element, Size>;

  struct row {
    const char* src;
    char* dst;
    bool present;
  };

  static WBS_INLINE row find_row(const wbs_args<1, 1>& args, long long index) {
    const auto at = find_addresses(args, index);
    return {at.input[0], at.output[0], index < args.rows};
  }

  // This lane's first row within its warp.
  static WBS_INLINE int row_in_warp() { return target::lane() / lanes * shared_rows; }

  // The first position of a row that this warp has.
  static WBS_INLINE int first_position() {
    return WarpBits == 0 ? 0 : (target::warp() & (warps - 1)) * (lanes * Registers);
  }

  // All keys are encoded here, however they were loaded: the codec is a large part of a kernel.
  static WBS_INLINE void encode(const keys_type& codec, const raw (&raws)[Registers],
                                key (&keys)[Registers]) {
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) keys[j] = codec.encode(raws[j]);
  }
  static WBS_INLINE void decode(const keys_type& codec, const key (&keys)[Registers],
                                raw (&raws)[Registers]) {
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) raws[j] = codec.decode(keys[j]);
  }
  template <codec_kind Codec, selection Selection>
  using pads_of =
      typename choose<is_median(Selection), row_median<target, keys_type, Codec, raw, Selection>,
                      sorted_pads<keys_type, raw> >::type;

  // Loads striped rows from shared memory, `pitch` elements apart. Of two rows that share registers
  // the second may be absent; what is loaded for it is never stored.
  template <class Pads>
  static WBS_INLINE void load_staged(const wbs_args<1, 1>& args, const Pads& pads,
                                     const element* from, int pitch, bool present,
                                     raw (&raws)[Registers]) {
    const int lane = target::lane() & (lanes - 1);
    const int left = present ? args.length - first_position() : 0;
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      const int at = c * lanes + lane;
      raws[c] = pads.at(first_position() + at);
      if (at < left) {
        raws[c] = from[at];
        if constexpr (shared_rows == 2) raws[c] |= static_cast<unsigned>(from[pitch + at]) << 16;
      }
    }
  }
  // Rearranges sorted rows from blocked to striped, the order of load_staged().
  template <bool OfBlock>
  static WBS_INLINE void store_staged(const wbs_args<1, 1>& args, const raw* own, element* to,
                                      int pitch) {
    const int lane = target::lane() & (lanes - 1);
    const raw* const row_lanes = own + (target::lane() - lane) * network_type::blocked_pitch;
    raw sorted[Registers];
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      const int at = c * lanes + lane;
      sorted[c] = row_lanes[at / Registers * network_type::blocked_pitch + at % Registers];
    }
    OfBlock ? target::sync_block() : target::sync_warp();
    WBS_UNROLL
    for (int c = 0; c < Registers; ++c) {
      const int at = c * lanes + lane;
      if (at < args.length - first_position()) {
        to[at] = static_cast<element>(sorted[c]);
        if constexpr (shared_rows == 2) to[pitch + at] = static_cast<element>(sorted[c] >> 16);
      }
    }
  }

  // Stores each lane's sorted elements, or keys, into the stage, blocked.
  template <class Value>
  static WBS_INLINE void stage_blocked(const Value (&raws)[Registers], Value* own) {
    using vector = entry_vector<Value>;
    Value* const to = own + target::lane() * network_type::blocked_pitch;
    if constexpr (Registers % vector::size == 0) {
      WBS_UNROLL
      for (int j = 0; j < Registers; j += vector::size) {
        vector v;
        WBS_UNROLL
        for (int e = 0; e < vector::size; ++e) v.entries[e] = raws[j + e];
        *reinterpret_cast<vector*>(to + j) = v;
      }
    } else {
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) to[j] = raws[j];
    }
  }

  // Stores the medians of rows, whose keys are not sorted yet. Every lane has the rows' addresses.
  template <class Median>
  static WBS_INLINE void store_medians(const keys_type& codec, const wbs_args<1, 1>& args,
                                       const Median& median, const row (&rows)[shared_rows],
                                       key (&keys)[Registers], key* stage) {
    const auto found = network_type::middle(target{args.opaque_one}, keys, stage);
    if ((target::lane() & (lanes - 1)) > 0 || first_position() > 0) return;
    const raw low = codec.decode(found.low), high = codec.decode(found.high);
    const raw last = codec.decode(found.last);
    WBS_UNROLL
    for (int r = 0; r < shared_rows; ++r) median.store(args, rows[r], r, low, high, last);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_KERNEL_BASE_HPP_
