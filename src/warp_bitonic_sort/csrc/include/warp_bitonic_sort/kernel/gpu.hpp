// The GPU kernels behind the ABI: a whole translation unit is one WARP_BITONIC_SORT_KERNEL.
//
// Invariant: a kernel describes all that a launch needs. It is correct for any strides, any
// alignment of whole elements, any number of rows and any grid that the ABI allows.
#ifndef WARP_BITONIC_SORT_KERNEL_GPU_HPP_
#define WARP_BITONIC_SORT_KERNEL_GPU_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/access.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/entry.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/memory/gpu/columns.hpp>
#include <warp_bitonic_sort/memory/gpu/first_rows.hpp>
#include <warp_bitonic_sort/memory/gpu/index_columns.hpp>
#include <warp_bitonic_sort/memory/gpu/index_rows.hpp>
#include <warp_bitonic_sort/memory/gpu/rows.hpp>
#if defined(__CUDACC__)
#include <warp_bitonic_sort/target/cuda/ops.hpp>
#include <warp_bitonic_sort/target/cuda/target.hpp>
#elif defined(__AMDGCN__)
#include <warp_bitonic_sort/target/amdgcn/ops.hpp>
#include <warp_bitonic_sort/target/amdgcn/target.hpp>
#endif

namespace warp_bitonic_sort {

template <template <class> class Target, codec_kind Codec, int KeyBits>
using keys_of = register_codec<Codec, KeyBits, typename Target<int>::ops>;
template <template <class> class Target, codec_kind Codec, int KeyBits>
using row_keys_of = register_codec<Codec, KeyBits, typename Target<int>::row_ops>;

// The class that sorts a tile of rows, or finds their first elements. A layout is registers (units
// of a lane, where few elements are sorted), lane bits and warp bits.
template <selection Selection, payload Payload, access Access>
struct gpu_rows_of;
template <selection Selection>
struct gpu_rows_of<Selection, payload::none, access::rows> {
  template <template <class> class Target, codec_kind Codec, int KeyBits, int... Layout>
  using type = gpu_rows<Target, row_keys_of<Target, Codec, KeyBits>, Codec, Selection, Layout...>;
};
template <selection Selection>
struct gpu_rows_of<Selection, payload::none, access::columns> {
  template <template <class> class Target, codec_kind Codec, int KeyBits, int... Layout>
  using columns = gpu_columns<Target, keys_of<Target, Codec, KeyBits>, Codec, Selection, Layout...>;
  template <template <class> class Target, codec_kind Codec, int KeyBits, int... Layout>
  using type = columns<Target<int>::template columns_of<Layout...>::template target, Codec, KeyBits,
                       Layout...>;
};
template <>
struct gpu_rows_of<selection::all, payload::index, access::columns> {
  template <template <class> class Target, codec_kind Codec, int KeyBits, int... Layout>
  using type = gpu_index_columns<Target, Codec, KeyBits, Layout...>;
};
// Rows with an index, or with values that are fetched by it. A bound for the first elements pays
// off where a row has many lanes.
template <selection Selection, payload Payload>
struct gpu_rows_of<Selection, Payload, access::rows> {
  template <int LaneBits>
  static constexpr bool has_bound = max_kept_of(Selection) > 0 && LaneBits >= 4;
  template <template <class> class Target, codec_kind Codec, int KeyBits, int Registers,
            int LaneBits, int WarpBits>
  using type =
      typename choose<has_bound<LaneBits>,
                      gpu_first_rows<Target, keys_of<Target, Codec, KeyBits>, Codec, KeyBits,
                                     max_kept_of(Selection), Registers, LaneBits, WarpBits>,
                      gpu_index_rows<Target, Codec, KeyBits, Selection, value_bits_of(Payload),
                                     Registers, LaneBits, WarpBits>>::type;
};

template <class Rows, class Target>
WBS_INLINE void sort_tile(const typename Rows::arguments& args, long long tile, void* shared) {
  const typename Rows::arguments& reloaded = Target::reload_args(args);
  if constexpr (Rows::tries_float_keys) {
    if (Rows::float_rows::sort(reloaded, tile, shared)) return;
  }
  Rows::sort(reloaded, tile, shared);
}

// Sorts all tiles with a grid-stride loop. A grid with a block for every tile needs no loop.
template <class Rows, class Target>
WBS_INLINE void sort_tiles(const typename Rows::arguments& args, void* shared) {
  if constexpr (Target::has_block_per_tile && !Rows::prefers_loop) {
    sort_tile<Rows, Target>(args, Target::block() / Rows::tile_blocks, shared);
  } else {
    const long long tiles = (args.rows + Rows::block_rows - 1) / Rows::block_rows;
    const long long step = Target::blocks() / Rows::tile_blocks;
    for (long long tile = Target::block() / Rows::tile_blocks; tile < tiles; tile += step) {
      sort_tile<Rows, Target>(args, tile, shared);
    }
  }
}

}  // namespace warp_bitonic_sort

#if defined(__CUDACC__)
#define WBS_GPU_TARGET cuda_target
#define WBS_GPU_KERNEL_ATTRIBUTES __launch_bounds__(wbs_rows::threads, wbs_rows::resident_blocks)
#define WBS_GPU_PARAMETER __grid_constant__
#elif defined(__AMDGCN__)
#define WBS_GPU_TARGET amdgcn_target
#define WBS_GPU_KERNEL_ATTRIBUTES \
  __attribute__((amdgpu_flat_work_group_size(wbs_rows::threads, wbs_rows::threads)))
#define WBS_GPU_PARAMETER
#endif
// Rows of more warps than a block has are for clusters. Other kernels have no such attribute, not
// even for a cluster of one block: their launch would change.
#define WBS_GPU_CLUSTER(warp_bits) WBS_GPU_CLUSTER_##warp_bits
#define WBS_GPU_CLUSTER_0
#define WBS_GPU_CLUSTER_1
#define WBS_GPU_CLUSTER_2
#define WBS_GPU_CLUSTER_3
#define WBS_GPU_CLUSTER_4
#define WBS_GPU_CLUSTER_5
#define WBS_GPU_CLUSTER_6 __cluster_dims__(wbs_rows::tile_blocks)
#define WBS_GPU_CLUSTER_7 __cluster_dims__(wbs_rows::tile_blocks)
#define WBS_GPU_CLUSTER_8 __cluster_dims__(wbs_rows::tile_blocks)
// A compiler's host pass defines no kernel.
#if defined(WBS_GPU_TARGET)
#define WARP_BITONIC_SORT_KERNEL(name, Selection, Payload, Codec, key_bits, Access, registers,     \
                                 lane_bits, warp_bits)                                             \
  using wbs_rows = ::warp_bitonic_sort::gpu_rows_of<                                               \
      ::warp_bitonic_sort::selection::Selection, ::warp_bitonic_sort::payload::Payload,            \
      ::warp_bitonic_sort::access::Access>::type<::warp_bitonic_sort::WBS_GPU_TARGET,              \
                                                 ::warp_bitonic_sort::codec_kind::Codec, key_bits, \
                                                 registers, lane_bits, warp_bits>;                 \
  extern "C" __constant__ const wbs_gpu_kernel warp_bitonic_sort_gpu_kernel = {                    \
      {WBS_ABI_VERSION, static_cast<unsigned>(::warp_bitonic_sort::selection::Selection),          \
       static_cast<unsigned>(::warp_bitonic_sort::payload::Payload),                               \
       static_cast<unsigned>(::warp_bitonic_sort::codec_kind::Codec), key_bits,                    \
       static_cast<unsigned>(::warp_bitonic_sort::access::Access), wbs_rows::inputs,               \
       wbs_rows::outputs, 1, wbs_rows::capacity, name},                                            \
      wbs_rows::tile_blocks,                                                                       \
      wbs_rows::threads,                                                                           \
      wbs_rows::block_rows,                                                                        \
      wbs_rows::shared_bytes};                                                                     \
  static_assert((wbs_rows::tile_blocks > 1) == (warp_bits > 5), "a cluster has the attribute");    \
  extern "C" __global__ void WBS_GPU_KERNEL_ATTRIBUTES WBS_GPU_CLUSTER(warp_bits)                  \
      warp_bitonic_sort_rows(const WBS_GPU_PARAMETER wbs_rows::arguments args) {                   \
    extern __shared__ __align__(16) unsigned char shared[];                                        \
    ::warp_bitonic_sort::sort_tiles<wbs_rows, ::warp_bitonic_sort::WBS_GPU_TARGET<int>>(args,      \
                                                                                        shared);   \
  }
#endif

#endif  // WARP_BITONIC_SORT_KERNEL_GPU_HPP_
