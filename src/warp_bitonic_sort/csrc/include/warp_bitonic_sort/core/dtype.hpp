// Lists the sortable dtypes, and computes the constants that map an order of a dtype to unsigned
// order.
//
// Invariant: constexpr on host and device. Only this header knows dtypes by name; kernels know a
// codec and a width.
#ifndef WARP_BITONIC_SORT_CORE_DTYPE_HPP_
#define WARP_BITONIC_SORT_CORE_DTYPE_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/order.hpp>

namespace warp_bitonic_sort {

enum class dtype : int {
  bool_,
  uint8,
  int8,
  uint16,
  int16,
  uint32,
  int32,
  uint64,
  int64,
  float16,
  bfloat16,
  float32,
  float64,
  float8_e4m3fn,
  float8_e5m2,
  float8_e4m3fnuz,
  float8_e5m2fnuz,
};

struct dtype_info {
  dtype id;
  const char* name;
  int bits;
  codec_kind codec;
  // Of a float, the raw bits of the lowest and the highest value that is not NaN. Of a signed
  // integer, `first` is the sign bit.
  unsigned long long first;
  unsigned long long last;
};

// Indexed by dtype.
constexpr dtype_info dtypes[] = {
    {dtype::bool_, "bool", 8, codec_kind::integer, 0, 0},
    {dtype::uint8, "uint8", 8, codec_kind::integer, 0, 0},
    {dtype::int8, "int8", 8, codec_kind::integer, 0x80, 0},
    {dtype::uint16, "uint16", 16, codec_kind::integer, 0, 0},
    {dtype::int16, "int16", 16, codec_kind::integer, 0x8000, 0},
    {dtype::uint32, "uint32", 32, codec_kind::integer, 0, 0},
    {dtype::int32, "int32", 32, codec_kind::integer, 0x80000000u, 0},
    {dtype::uint64, "uint64", 64, codec_kind::integer, 0, 0},
    {dtype::int64, "int64", 64, codec_kind::integer, 0x8000000000000000u, 0},
    {dtype::float16, "float16", 16, codec_kind::ieee, 0xFC00, 0x7C00},
    {dtype::bfloat16, "bfloat16", 16, codec_kind::ieee, 0xFF80, 0x7F80},
    {dtype::float32, "float32", 32, codec_kind::ieee, 0xFF800000u, 0x7F800000u},
    {dtype::float64, "float64", 64, codec_kind::ieee, 0xFFF0000000000000u, 0x7FF0000000000000u},
    {dtype::float8_e4m3fn, "float8_e4m3fn", 8, codec_kind::ieee, 0xFE, 0x7E},
    {dtype::float8_e5m2, "float8_e5m2", 8, codec_kind::ieee, 0xFC, 0x7C},
    {dtype::float8_e4m3fnuz, "float8_e4m3fnuz", 8, codec_kind::fnuz, 0, 0},
    {dtype::float8_e5m2fnuz, "float8_e5m2fnuz", 8, codec_kind::fnuz, 0, 0},
};

// NaN is the largest value. With `nan_last`, NaN is at the end of a descending row, too.
constexpr WBS_HOST_DEVICE order_constants order_constants_of(dtype type, bool descending,
                                                             bool nan_last) {
  const dtype_info info = dtypes[static_cast<int>(type)];
  const unsigned long long all = ~0ull >> (64 - info.bits);
  const unsigned long long sign = 1ull << (info.bits - 1);
  switch (info.codec) {
    case codec_kind::integer:
      return {(descending ? info.first ^ all : info.first), 0};
    case codec_kind::ieee: {
      // Subtracting the code of the lowest value wraps NaNs of negative sign round to the top, to
      // the NaNs of positive sign, whatever their payload.
      const unsigned long long lowest = info.first ^ all;
      const unsigned long long largest = info.last ^ sign;
      if (!descending) return {0, (0 - lowest) & all};
      return {all, (nan_last ? largest + 1 : lowest) & all};
    }
    case codec_kind::fnuz:
      if (!descending) return {0, 0};
      return {all, nan_last ? all : 0};
  }
  return {0, 0};
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_DTYPE_HPP_
