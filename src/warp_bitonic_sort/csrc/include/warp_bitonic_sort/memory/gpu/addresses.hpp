// Finds the addresses of a row.
//
// Invariant: all addresses are 64 bits.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_ADDRESSES_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_ADDRESSES_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// The quotient of two non-negative numbers. A 64-bit division is a hundred instructions and slow to
// compile. Few batches need one, so it goes bit by bit.
WBS_INLINE long long quotient(long long dividend, long long divisor) {
  const unsigned long long whole = static_cast<unsigned long long>(dividend);
  const unsigned long long part = static_cast<unsigned long long>(divisor);
  if ((whole | part) >> 32 == 0) return static_cast<unsigned>(whole) / static_cast<unsigned>(part);
  unsigned long long result = 0, rest = 0;
  WBS_ROLLED
  for (int bit = 63; bit >= 0; --bit) {
    rest = rest << 1 | (whole >> bit & 1);
    result <<= 1;
    if (rest >= part) {
      rest -= part;
      result |= 1;
    }
  }
  return static_cast<long long>(result);
}

template <int Inputs, int Outputs>
struct row_addresses {
  const char* input[Inputs];
  char* output[Outputs];

  WBS_INLINE void move(const wbs_args<Inputs, Outputs>& args, int dim, long long steps) {
    WBS_UNROLL
    for (int i = 0; i < Inputs; ++i) input[i] += steps * args.input_batch_stride[i][dim];
    WBS_UNROLL
    for (int o = 0; o < Outputs; ++o) output[o] += steps * args.output_batch_stride[o][dim];
  }
};

template <int Inputs, int Outputs>
WBS_INLINE row_addresses<Inputs, Outputs> find_addresses(const wbs_args<Inputs, Outputs>& args,
                                                         long long index) {
  row_addresses<Inputs, Outputs> row;
  WBS_UNROLL
  for (int i = 0; i < Inputs; ++i) row.input[i] = static_cast<const char*>(args.input[i]);
  WBS_UNROLL
  for (int o = 0; o < Outputs; ++o) row.output[o] = static_cast<char*>(args.output[o]);
  WBS_ROLLED
  for (int i = args.batch_dims - 1; i > 0; --i) {
    const long long outer = quotient(index, args.batch_shape[i]);
    row.move(args, i, index - outer * args.batch_shape[i]);
    index = outer;
  }
  if (args.batch_dims > 0) row.move(args, 0, index);
  return row;
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_ADDRESSES_HPP_
