// Describes a CPU kernel by abi.h: a whole translation unit is one WARP_BITONIC_SORT_KERNEL.
//
// Invariant: a description and the kernel that it describes are of one type, so that they agree.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/access.hpp>
#include <warp_bitonic_sort/core/entry.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/core/selection.hpp>
#include <warp_bitonic_sort/kernel/cpu_column_blocks.hpp>
#include <warp_bitonic_sort/kernel/cpu_first_row.hpp>
#include <warp_bitonic_sort/kernel/cpu_index.hpp>
#include <warp_bitonic_sort/kernel/cpu_registers.hpp>
#include <warp_bitonic_sort/kernel/cpu_tile.hpp>

namespace warp_bitonic_sort {

// The first elements of rows of any length: of many rows at once in a tile, or of long rows one by
// one. A tile is better for columns, and where many elements are wanted.
template <codec_kind Codec, int KeyBits>
class first_kernel : public index_kernel<selection::first, Codec, KeyBits, 0, access::strided> {
  using rows = index_kernel<selection::first, Codec, KeyBits, 0, access::strided>;
  using row = first_row_kernel<Codec, KeyBits>;
  // From the first length on, a bound is worth finding; beyond the second one, a tile is too large.
  static constexpr long long long_length = 4096, max_in_tile = 16384;

 public:
  static constexpr int max_length = 0x7FFFFFFF;

  static long long scratch_bytes(long long length) {
    const long long of_rows = length <= max_in_tile ? rows::scratch_bytes(length) : 0;
    const long long of_row = length < long_length ? 0 : row::scratch_bytes(length);
    return of_rows < of_row ? of_row : of_rows;
  }
  static void run(const void* args, long long first, long long last, void* scratch) {
    const auto& call = *static_cast<const wbs_args<1, 2>*>(args);
    const bool are_contiguous = call.input_stride[0] == KeyBits / 8;
    const bool are_few = call.kept <= call.length / 64;
    const bool one_by_one =
        call.length > max_in_tile || (call.length >= long_length && are_contiguous && are_few);
    (one_by_one ? row::run : rows::run)(args, first, last, scratch);
  }
};

// Without registers, a kernel sorts in a tile.
template <selection Selection, payload Payload, codec_kind Codec, int KeyBits, access Access,
          int Registers>
struct cpu_kernel_of;
template <codec_kind Codec, int KeyBits, access Access, int Registers>
struct cpu_kernel_of<selection::all, payload::none, Codec, KeyBits, Access, Registers> {
  using rows = register_kernel<Codec, KeyBits, Registers, Access>;
  // A vector of a whole line is used at once, so that it may be far from the next one.
  static constexpr bool in_blocks = Access == access::columns && (simd_bytes < line_bytes);
  using type = typename choose<in_blocks, column_blocks<rows>, rows>::type;
};
template <codec_kind Codec, int KeyBits>
struct cpu_kernel_of<selection::all, payload::none, Codec, KeyBits, access::strided, 0> {
  using type = column_blocks<tile_kernel<Codec, KeyBits>>;
};
template <selection Selection, codec_kind Codec, int KeyBits, access Access, int Registers>
struct cpu_kernel_of<Selection, payload::index, Codec, KeyBits, Access, Registers> {
  using type = index_kernel<Selection, Codec, KeyBits, Registers, Access>;
};
template <codec_kind Codec, int KeyBits>
struct cpu_kernel_of<selection::first, payload::index, Codec, KeyBits, access::strided, 0> {
  using type = first_kernel<Codec, KeyBits>;
};
template <selection Selection, payload Payload, codec_kind Codec, int KeyBits, access Access,
          int Registers>
using cpu_kernel =
    typename cpu_kernel_of<Selection, Payload, Codec, KeyBits, Access, Registers>::type;

template <class Kernel>
constexpr wbs_cpu_kernel describe_kernel(const char* name) {
  wbs_cpu_kernel kernel{};
  kernel.cell.abi_version = WBS_ABI_VERSION;
  kernel.cell.selection = static_cast<unsigned>(Kernel::selected);
  kernel.cell.payload = static_cast<unsigned>(Kernel::carried);
  kernel.cell.codec = static_cast<unsigned>(Kernel::codec);
  kernel.cell.bits = 8 * Kernel::key_bytes;
  kernel.cell.access = static_cast<unsigned>(Kernel::needed_access);
  kernel.cell.inputs = 1;
  kernel.cell.outputs = Kernel::outputs;
  kernel.cell.min_length = Kernel::min_length;
  kernel.cell.max_length = Kernel::max_length;
  for (int i = 0; name[i] != 0; ++i) kernel.cell.name[i] = name[i];
  kernel.lanes = Kernel::lanes;
  kernel.scratch_bytes = &Kernel::scratch_bytes;
  kernel.run = &Kernel::run;
  return kernel;
}

}  // namespace warp_bitonic_sort

#define WARP_BITONIC_SORT_KERNEL(name, Selection, Payload, Codec, key_bits, Access, registers,    \
                                 lane_bits, warp_bits)                                            \
  static_assert(lane_bits == 0 && warp_bits == 0, "a CPU holds a row in registers or in a tile"); \
  extern "C" __attribute__((visibility("default")))                                               \
  const wbs_cpu_kernel warp_bitonic_sort_kernel =                                                 \
      ::warp_bitonic_sort::describe_kernel<::warp_bitonic_sort::cpu_kernel<                       \
          ::warp_bitonic_sort::selection::Selection, ::warp_bitonic_sort::payload::Payload,       \
          ::warp_bitonic_sort::codec_kind::Codec, key_bits, ::warp_bitonic_sort::access::Access,  \
          registers>>(name);

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_HPP_
