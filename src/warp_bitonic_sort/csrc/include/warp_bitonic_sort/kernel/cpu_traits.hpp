// The types of a CPU kernel without a payload, and its slow accesses to rows.
//
// Invariant: memory is touched one key at a time, so that any strides and any alignment are right.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_TRAITS_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_TRAITS_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/target/simd/target.hpp>

namespace warp_bitonic_sort {

template <codec_kind Codec, int KeyBits, int VectorBytes = simd_bytes>
struct cpu_traits {
  using target = simd<KeyBits, VectorBytes>;
  using key = typename target::key;
  using element = typename target::element;
  using codec_type = codec<Codec, key, typename target::signed_key, element>;

  static WBS_INLINE codec_type make_codec(const wbs_args<1, 1>& args) {
    return codec_type({args.key_xor, args.key_add}, target::bias);
  }
  template <int... I>
  static WBS_INLINE void encode(const codec_type& codec, key* keys, indices<I...>) {
    ((keys[I] = codec.encode(keys[I])), ...);
  }
  template <int... I>
  static WBS_INLINE void decode(const codec_type& codec, key* keys, indices<I...>) {
    ((keys[I] = codec.decode(keys[I])), ...);
  }

  // One key at a time: for rows that no vector access fits.
  static __attribute__((noinline)) void gather(const char* const* rows, long long offset,
                                               long long stride, int slots, key* keys) {
    char* const to = reinterpret_cast<char*>(keys);
    for (int lane = 0; lane < target::lanes; ++lane) {
      const char* from = rows[lane] + offset;
      for (int slot = 0; slot < slots; ++slot, from += stride) {
        __builtin_memcpy(to + slot * VectorBytes + lane * target::key_bytes, from,
                         target::key_bytes);
      }
    }
  }
  static __attribute__((noinline)) void scatter(char* const* rows, int count, long long offset,
                                                long long stride, int slots, const key* keys) {
    const char* const from = reinterpret_cast<const char*>(keys);
    for (int lane = 0; lane < count; ++lane) {
      char* to = rows[lane] + offset;
      for (int slot = 0; slot < slots; ++slot, to += stride) {
        __builtin_memcpy(to, from + slot * VectorBytes + lane * target::key_bytes,
                         target::key_bytes);
      }
    }
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_TRAITS_HPP_
