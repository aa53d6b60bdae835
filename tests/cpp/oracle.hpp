// Gives the C++ tests sorted rows to compare with, and keys to sort.
//
// Invariant: it shares nothing with the kernels. It knows dtypes by value: std::stable_sort over
// decoded numbers.
#ifndef WARP_BITONIC_SORT_TESTS_ORACLE_HPP_
#define WARP_BITONIC_SORT_TESTS_ORACLE_HPP_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>
#include <warp_bitonic_sort/core/dtype.hpp>

namespace {

using namespace warp_bitonic_sort;

uint64_t random_state = 88172645463325252u;
uint64_t next_random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

struct number {
  bool nan;
  long double value;
  bool minus_zero;
};

number small_float(uint64_t raw, int exponent_bits, int mantissa_bits, int bias, bool ieee,
                   bool fnuz) {
  const int width = 1 + exponent_bits + mantissa_bits;
  const bool negative = raw >> (width - 1) & 1;
  const int exponent = static_cast<int>(raw >> mantissa_bits & ((1u << exponent_bits) - 1));
  const uint64_t mantissa = raw & ((uint64_t{1} << mantissa_bits) - 1);
  const bool top = exponent == (1 << exponent_bits) - 1;
  const bool full = mantissa == (uint64_t{1} << mantissa_bits) - 1;
  if (fnuz   ? negative && exponent == 0 && mantissa == 0
      : ieee ? top && mantissa != 0
             : top && full) {
    return {true, 0, false};
  }
  long double value;
  if (ieee && top) {
    value = INFINITY;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<long double>(mantissa), 1 - bias - mantissa_bits);
  } else {
    value = std::ldexp(static_cast<long double>(mantissa + (uint64_t{1} << mantissa_bits)),
                       exponent - bias - mantissa_bits);
  }
  return {false, negative ? -value : value, negative && value == 0};
}

number decode(dtype type, uint64_t raw) {
  switch (type) {
    case dtype::bool_:
    case dtype::uint8:
    case dtype::uint16:
    case dtype::uint32:
    case dtype::uint64:
      return {false, static_cast<long double>(raw), false};
    case dtype::int8:
      return {false, static_cast<long double>(static_cast<int8_t>(raw)), false};
    case dtype::int16:
      return {false, static_cast<long double>(static_cast<int16_t>(raw)), false};
    case dtype::int32:
      return {false, static_cast<long double>(static_cast<int32_t>(raw)), false};
    case dtype::int64:
      return {false, static_cast<long double>(static_cast<int64_t>(raw)), false};
    case dtype::float16:
      return small_float(raw, 5, 10, 15, true, false);
    case dtype::bfloat16:
      return small_float(raw, 8, 7, 127, true, false);
    case dtype::float32:
      return small_float(raw, 8, 23, 127, true, false);
    case dtype::float64:
      return small_float(raw, 11, 52, 1023, true, false);
    case dtype::float8_e4m3fn:
      return small_float(raw, 4, 3, 7, false, false);
    case dtype::float8_e5m2:
      return small_float(raw, 5, 2, 15, true, false);
    case dtype::float8_e4m3fnuz:
      return small_float(raw, 4, 3, 8, false, true);
    case dtype::float8_e5m2fnuz:
      return small_float(raw, 5, 2, 16, false, true);
  }
  std::abort();
}

// The order of NaNs among themselves is not promised: they are ordered by their bits, here and in a
// kernel's result.
[[maybe_unused]] std::vector<uint64_t> oracle(dtype type, std::vector<uint64_t> row,
                                              bool descending, bool nan_last) {
  const bool nan_first = descending && !nan_last;
  std::stable_sort(row.begin(), row.end(), [&](uint64_t a, uint64_t b) {
    const number x = decode(type, a), y = decode(type, b);
    if (x.nan || y.nan) return x.nan && y.nan ? a < b : nan_first ? x.nan : y.nan;
    if (x.value != y.value) return descending ? x.value > y.value : x.value < y.value;
    return descending ? !x.minus_zero && y.minus_zero : x.minus_zero && !y.minus_zero;
  });
  return row;
}
[[maybe_unused]] void order_nans(dtype type, std::vector<uint64_t>& row) {
  const auto is_nan = [&](uint64_t raw) { return decode(type, raw).nan; };
  const auto first = std::find_if(row.begin(), row.end(), is_nan);
  std::sort(first, std::find_if_not(first, row.end(), is_nan));
}

// The indices of a sorted row. Zeros are equal, NaNs are equal, and equal keys keep their order.
[[maybe_unused]] std::vector<uint64_t> index_oracle(dtype type, const std::vector<uint64_t>& row,
                                                    bool descending, bool nan_last) {
  const bool nan_first = descending && !nan_last;
  std::vector<number> numbers;
  std::vector<uint64_t> result;
  for (const uint64_t raw : row) {
    result.push_back(numbers.size());
    numbers.push_back(decode(type, raw));
  }
  std::stable_sort(result.begin(), result.end(), [&](uint64_t a, uint64_t b) {
    const number &x = numbers[a], &y = numbers[b];
    if (x.nan || y.nan) return x.nan != y.nan && (nan_first ? x.nan : y.nan);
    return descending ? x.value > y.value : x.value < y.value;
  });
  return result;
}

uint64_t random_key(const dtype_info& info) {
  const uint64_t all = ~uint64_t{0} >> (64 - info.bits);
  if (info.id == dtype::bool_) return next_random() & 1;
  const uint64_t raw = next_random() & all;
  // Few values, the limits of the range and, of floats, infinities, zeros and NaNs of both signs.
  switch (next_random() % 8) {
    case 0:
      return raw & 3;
    case 1:
      return all - (raw & 3);
    case 2:
      return (uint64_t{1} << (info.bits - 1)) - 2 + (raw & 3);
    case 3:
      return info.last ? (raw & 1 ? info.first : info.last) + (raw >> 1 & 1) : raw;
    default:
      return raw;
  }
}

}  // namespace

#endif  // WARP_BITONIC_SORT_TESTS_ORACLE_HPP_
