// The GPU kernels behind gpu_abi.h: a whole translation unit is the macro at the end.
//
// Invariant: a kernel says of itself all that its launcher needs, and is right for any strides, any
// alignment of whole elements, any number of rows and any grid that gpu_abi.h allows.
#ifndef WARP_BITONIC_SORT_GPU_KERNEL_HPP_
#define WARP_BITONIC_SORT_GPU_KERNEL_HPP_

#include <warp_bitonic_sort/gpu_abi.h>

#include <warp_bitonic_sort/base.hpp>
#include <warp_bitonic_sort/gpu_columns.hpp>
#include <warp_bitonic_sort/gpu_rows.hpp>
#include <warp_bitonic_sort/order.hpp>
#if defined(__CUDACC__)
#include <warp_bitonic_sort/exchange/cuda.hpp>
#elif defined(__AMDGCN__)
#include <warp_bitonic_sort/exchange/amdgcn.hpp>
#endif

namespace warp_bitonic_sort {

template <class Rows, class Target>
WBS_INLINE void sort_tile(const wbs_gpu_sort_args& args, long long tile, void* shared) {
  const wbs_gpu_sort_args& now = Target::in_turn(args);
  if constexpr (Rows::may_be_plain) {
    if (Rows::plain::sort(now, tile, shared)) return;
  }
  Rows::sort(now, tile, shared);
}

// More tiles than a grid holds are gone through by turns. (Rows of a few lanes need no loop where a
// grid always has a block for every tile, and are quicker compiled, and sorted, without one. In
// those of more lanes much depends on the lane alone, and compilers do that once, before the loop.)
template <class Rows, class Target>
WBS_INLINE void sort_tiles(const wbs_gpu_sort_args& args, void* shared) {
  if constexpr (Target::has_block_for_each_tile && Rows::row_lanes <= 4) {
    sort_tile<Rows, Target>(args, Target::block(), shared);
  } else {
    const long long tiles = (args.rows + Rows::block_rows - 1) / Rows::block_rows;
    for (long long tile = Target::block(); tile < tiles; tile += Target::blocks()) {
      sort_tile<Rows, Target>(args, tile, shared);
    }
  }
}

}  // namespace warp_bitonic_sort

// A kernel for rows of up to registers * 2^lane_bits * 2^wave_bits keys: access is rows or columns,
// Class is bits, floating or fnuz.
#if defined(__CUDACC__)
#define WBS_GPU_TARGET ::warp_bitonic_sort::cuda_target
#define WBS_GPU_KERNEL_ATTRIBUTES __launch_bounds__(wbs_rows::threads, wbs_rows::resident_blocks)
#define WBS_GPU_PARAMETER __grid_constant__
#elif defined(__AMDGCN__)
#define WBS_GPU_TARGET ::warp_bitonic_sort::amdgcn_target
#define WBS_GPU_KERNEL_ATTRIBUTES \
  __attribute__((amdgpu_flat_work_group_size(wbs_rows::threads, wbs_rows::threads)))
#define WBS_GPU_PARAMETER
#endif
#if defined(WBS_GPU_TARGET)
#define WARP_BITONIC_SORT_GPU_KERNEL(name, access, Class, key_bits, registers, lane_bits,        \
                                     wave_bits)                                                  \
  using wbs_rows = ::warp_bitonic_sort::gpu_##access<                                            \
      WBS_GPU_TARGET,                                                                            \
      ::warp_bitonic_sort::gpu_key< ::warp_bitonic_sort::key_class::Class, key_bits>, registers, \
      lane_bits, wave_bits>;                                                                     \
  extern "C" __constant__ const wbs_gpu_kernel warp_bitonic_sort_gpu_kernel = {                  \
      WBS_GPU_ABI_VERSION,                                                                       \
      wbs_rows::key_bytes,                                                                       \
      static_cast<unsigned>(::warp_bitonic_sort::key_class::Class),                              \
      wbs_rows::threads,                                                                         \
      wbs_rows::block_rows,                                                                      \
      wbs_rows::shared_bytes,                                                                    \
      1,                                                                                         \
      wbs_rows::capacity,                                                                        \
      name};                                                                                     \
  extern "C" __global__ void WBS_GPU_KERNEL_ATTRIBUTES warp_bitonic_sort_rows(                   \
      const WBS_GPU_PARAMETER wbs_gpu_sort_args args) {                                          \
    extern __shared__ __align__(16) unsigned char shared[];                                      \
    ::warp_bitonic_sort::sort_tiles<wbs_rows, WBS_GPU_TARGET<int> >(args, shared);               \
  }
#endif

#endif  // WARP_BITONIC_SORT_GPU_KERNEL_HPP_
