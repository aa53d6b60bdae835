// Runs the GPU kernels of keys alone on the host, against an oracle that shares nothing with them:
// software_gpu.hpp says how.
//
// Built with -DKEY_BITS=n as several programs, which compile in parallel.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "oracle.hpp"
#include "software_gpu.hpp"

namespace {

struct test_case {
  shape src, dst;
  std::vector<int> sizes;
  int offset;
  bool at_end, in_place;
};

template <class Float>
Float mean_of(long double a, long double b) {
  const Float sum = static_cast<Float>(a) + static_cast<Float>(b);
  return std::isinf(sum) ? static_cast<Float>(a) / 2 + static_cast<Float>(b) / 2 : sum / 2;
}
// The mean of two numbers, computed in the precision of a dtype but at least in float.
long double mean_of(dtype type, long double a, long double b) {
  if (type == dtype::float64) return mean_of<double>(a, b);
  const float mean = mean_of<float>(a, b);
  if (type == dtype::float32 || std::isnan(mean) || std::isinf(mean) || mean == 0) return mean;
  const int bits = type == dtype::float16 ? 10 : 7, lowest = type == dtype::float16 ? -14 : -126;
  const int exponent = std::max(std::ilogb(mean), lowest) - bits;
  const float rounded = std::ldexp(std::nearbyint(std::ldexp(mean, -exponent)), exponent);
  return type == dtype::float16 && std::fabs(rounded) > 65504 ? std::copysign(INFINITY, mean)
                                                              : rounded;
}

// Whether a row has the median of a sorted one; of integers, its middle elements.
bool is_median(dtype type, const std::vector<uint64_t>& got, std::vector<uint64_t> sorted,
               bool omits_nans) {
  const auto is_nan = [&](uint64_t raw) { return decode(type, raw).nan; };
  if (dtypes[static_cast<int>(type)].codec == codec_kind::integer) {
    return std::equal(got.begin(), got.end(), sorted.begin() + (sorted.size() - got.size()) / 2);
  }
  const auto first_nan = std::find_if(sorted.begin(), sorted.end(), is_nan);
  const size_t count = static_cast<size_t>(first_nan - sorted.begin());
  if (count == 0 || (!omits_nans && count < sorted.size())) return is_nan(got[0]);
  const uint64_t low = sorted[(count - 1) / 2], high = sorted[count / 2];
  if (count % 2 == 1) return got[0] == low;
  const long double mean = mean_of(type, decode(type, low).value, decode(type, high).value);
  const number found = decode(type, got[0]);
  if (std::isnan(mean)) return found.nan;
  return !found.nan && found.value == mean && found.minus_zero == (mean == 0 && std::signbit(mean));
}

template <class Rows, selection Selection>
std::string run_case(dtype type, const test_case& c) {
  constexpr int key_bytes = Rows::key_bytes;
  constexpr bool keeps_all = Selection == selection::all;
  const dtype_info& info = dtypes[static_cast<int>(type)];
  const int order = keeps_all ? static_cast<int>(next_random() % 3) : 0;
  const bool descending = order > 0, nan_last = order == 2;
  array src(memory->src, c.src, c.sizes, key_bytes, c.offset, c.at_end);
  std::vector<int> kept_sizes = c.sizes;
  if (!keeps_all) {
    kept_sizes.back() = info.codec == codec_kind::integer ? 2 - c.sizes.back() % 2 : 1;
  }
  array other(memory->dst, c.dst, kept_sizes, key_bytes, c.in_place ? 0 : c.offset * 5 % 16,
              !c.at_end);
  array& dst = c.in_place ? src : other;
  std::vector<std::vector<uint64_t>> expected;
  // Rows without NaN and -0.0 take another path; some cases have mostly such rows.
  const bool mostly_float_keys = type == dtype::float32 && next_random() % 2 == 0;
  for (int64_t r = 0; r < src.rows(); ++r) {
    const bool float_keys = mostly_float_keys && next_random() % 64 != 0;
    // For a median, rows without NaNs, with few, with some, and with nothing else.
    const uint64_t nans = keeps_all ? 2 : next_random() % 4;
    // The least key of such rows is odd: that shows where it takes the place of a parity.
    const bool is_odd = !keeps_all && next_random() % 2 == 0;
    for (int i = 0; i < src.length(); ++i) {
      uint64_t key = random_key(info);
      while (float_keys &&
             software_target<float>::is_special(static_cast<unsigned>(key), 0x80000000u)) {
        key = random_key(info);
      }
      const bool keeps_nans = nans > 1 || (nans == 1 && next_random() % 8 == 0);
      while (decode(type, key).nan && !keeps_nans) key = random_key(info);
      if (is_odd) key = (key | 1) & ((uint64_t{1} << (info.bits - 1)) - 1);
      if (nans == 3 && info.codec != codec_kind::integer) key = info.last + 1 + key % 2;
      std::memcpy(src.at(r, i), &key, key_bytes);
    }
  }
  for (int64_t r = 0; r < src.rows(); ++r) {
    expected.push_back(oracle(type, src.row(r), descending, nan_last));
  }

  wbs_args<1, 1> args{};
  args.input[0] = src.base();
  args.output[0] = dst.base();
  args.rows = src.rows() + rows_too_many;
  args.length = src.length() + elements_too_many;
  args.kept = dst.length() + elements_too_many;
  args.batch_dims = static_cast<int>(c.sizes.size()) - 1;
  args.opaque_one = 1;
  for (int i = 0; i < args.batch_dims; ++i) {
    args.batch_shape[i] = c.sizes[i];
    args.input_batch_stride[0][i] = src.stride(i);
    args.output_batch_stride[0][i] = dst.stride(i);
  }
  args.input_stride[0] = src.stride(args.batch_dims);
  args.output_stride[0] = dst.stride(args.batch_dims);
  const order_constants constants = order_constants_of(type, descending, nan_last);
  args.key_xor = constants.key_xor;
  args.key_add = constants.key_add;
  std::snprintf(now + std::strlen(now), sizeof(now) - std::strlen(now), " %s order %d", info.name,
                order);

  if (!c.in_place) memory->src.set_writable(false);
  const std::string wrong = run_blocks<Rows>(args);
  if (!c.in_place) memory->src.set_writable(true);
  if (!wrong.empty()) return wrong;
  for (int64_t r = 0; r < src.rows(); ++r) {
    auto got = dst.row(r);
    order_nans(type, got);
    const bool is_right =
        keeps_all ? got == expected[r]
                  : is_median(type, got, expected[r], Selection == selection::nanmedian);
    if (!is_right) return "row " + std::to_string(r) + " is not the oracle's";
  }
  if (!dst.gaps_are_untouched()) return "bytes outside the rows were written";
  return "";
}
// ---- all cases of a layout ----------------------------------------------------------------------

// Returns the first failure's text, or an empty one.
template <class Rows, selection Selection, bool OfColumns>
std::string run_layout(const char* name, dtype type) {
  constexpr int capacity = Rows::capacity, block = Rows::block_rows;
  constexpr int aligned = 16 / Rows::key_bytes;
  std::string wrong;
  const auto run = [&](const shape& src, const shape& dst, std::vector<int> sizes, int offset,
                       bool in_place) {
    const int length = sizes.back();
    if (length < 1 || length > capacity || (in_place && Selection != selection::all)) return;
    std::string rows;
    for (size_t i = 0; i + 1 < sizes.size(); ++i) {
      rows += (i ? "x" : "") + std::to_string(sizes[i]);
    }
    for (bool at_end : {false, true}) {
      if (!wrong.empty()) return;
      std::snprintf(now, sizeof(now), "%s: %s rows of %d, %s to %s, %s, offset %d, %s", name,
                    rows.c_str(), length, src.name, dst.name,
                    at_end ? "at the end" : "at the beginning", offset,
                    in_place ? "in place" : "elsewhere");
      const std::string what =
          run_case<Rows, Selection>(type, {src, dst, sizes, offset, at_end, in_place});
      if (!what.empty()) wrong = std::string(now) + ": " + what;
    }
  };
  // Rows of a part of a tile, of a tile and a part, of two tiles.
  const int few = 1 + static_cast<int>(next_random() % 3);
  const int some = block + 1 + static_cast<int>(next_random() % block), full = 2 * block;
  const int unaligned = 1 + static_cast<int>(next_random() % 7);
  const int any = 1 + static_cast<int>(next_random() % capacity);
  const int multiple = (capacity * 3 / 4 + aligned - 1) / aligned * aligned;

  run(contiguous, contiguous, {full, capacity}, 0, false);
  run(contiguous, contiguous, {some, capacity}, 0, true);
  run(contiguous, contiguous, {some, capacity - 1}, unaligned, false);
  run(contiguous, contiguous, {block - 1, any}, unaligned, true);
  run(gaps, gaps, {few, capacity / 2 + 1}, unaligned, false);
  run(columns, columns, {some, any}, unaligned, false);
  run(columns, columns, {full, capacity}, 0, true);
  run(columns, columns, {2 * few, capacity - 1}, 0, false);
  run(apart_columns, columns, {some, capacity}, unaligned, false);
  run(strided, contiguous, {some, any}, 0, false);
  run(repeated, contiguous, {some, any}, unaligned, false);
  if (OfColumns) {
    run(backward_columns, backward_columns, {block - 1, any}, 0, true);
    run(columns_two_dims, columns_two_dims, {2, block / 2 + 1, capacity}, 0, false);
    return wrong;
  }
  run(contiguous, contiguous, {some, multiple}, 0, false);
  run({"a row", {0}, 1, 0, 0}, {"a row", {0}, 1, 0, 0}, {multiple}, unaligned, false);
  run(contiguous, gaps, {some, capacity}, 0, false);
  run(wide_gaps, wide_gaps, {block + 1, multiple}, 0, true);
  run(contiguous, contiguous, {few, 1}, unaligned, false);
  run(contiguous, contiguous, {some, 2}, unaligned, false);
  run(contiguous, columns, {some, capacity}, 0, false);
  run(strided, strided, {some, capacity - 1}, unaligned, true);
  run(backwards, backwards, {some, any}, unaligned, true);
  run(two_dims, two_dims, {2, block / 2 + 1, any}, unaligned, false);
  run(transposed_two_dims, two_dims, {2, block / 2 + 1, capacity - 1}, unaligned, false);
  run(wide_two_dims, wide_two_dims, {3, block / 2, capacity}, 0, false);
  return wrong;
}

// A target whose longest rows have no padding in the stage.
template <class Key>
struct small_target : software_target<Key> {
  static constexpr int max_shared_bytes = 64 * 1024;
};

#define SAMPLE(text, Class, ...) SAMPLE_ON(text, software_target, Class, __VA_ARGS__)
#define SAMPLE_ON(text, Target, Class, of_columns, Selection, type, Codec, registers, lane_bits, \
                  warp_bits)                                                                     \
  sample {                                                                                       \
    #type text " (" #registers ", " #lane_bits ", " #warp_bits ")",                              \
        run_layout<Class<Target, register_codec<codec_kind::Codec, KEY_BITS>, codec_kind::Codec, \
                         selection::Selection, registers, lane_bits, warp_bits>,                 \
                   selection::Selection, of_columns>,                                            \
        dtype::type                                                                              \
  }
#define ROWS(...) SAMPLE(" rows", gpu_rows, false, all, __VA_ARGS__)
#define ROWS_IN_64_KIB(...) \
  SAMPLE_ON(" rows in 64 KiB", small_target, gpu_rows, false, all, __VA_ARGS__)
#define COLUMNS(...) SAMPLE(" columns", gpu_columns, true, all, __VA_ARGS__)
#define MEDIANS(...) SAMPLE(" medians of rows", gpu_rows, false, median, __VA_ARGS__)
#define NANMEDIANS(...) SAMPLE(" nanmedians of rows", gpu_rows, false, nanmedian, __VA_ARGS__)
#define MEDIANS_OF_COLUMNS(...) \
  SAMPLE(" medians of columns", gpu_columns, true, median, __VA_ARGS__)
#define NANMEDIANS_OF_COLUMNS(...) \
  SAMPLE(" nanmedians of columns", gpu_columns, true, nanmedian, __VA_ARGS__)

// For each codec: a thread a row, a few lanes, a warp, for most several warps, and columns by a
// thread, by lanes and by threads of several warps. The numbers of registers are powers of two
// times 1, 3, 5 and 7.
const std::vector<sample> layouts = {
#if KEY_BITS == 8
    ROWS(int8, integer, 8, 0, 0),
    ROWS(int8, integer, 28, 2, 0),
    ROWS(uint8, integer, 20, 5, 0),
    ROWS(uint8, integer, 32, 5, 1),
    COLUMNS(int8, integer, 8, 0, 0),
    COLUMNS(uint8, integer, 16, 3, 0),
    ROWS(float8_e4m3fn, ieee, 16, 0, 0),
    ROWS(float8_e5m2, ieee, 24, 3, 0),
    ROWS(float8_e4m3fn, ieee, 32, 5, 0),
    ROWS(float8_e5m2, ieee, 24, 5, 1),
    COLUMNS(float8_e4m3fn, ieee, 16, 0, 0),
    COLUMNS(float8_e5m2, ieee, 16, 4, 0),
    ROWS(float8_e4m3fnuz, fnuz, 4, 0, 0),
    ROWS(float8_e5m2fnuz, fnuz, 8, 1, 0),
    ROWS(float8_e4m3fnuz, fnuz, 24, 5, 0),
    COLUMNS(float8_e4m3fnuz, fnuz, 8, 0, 0),
    COLUMNS(float8_e5m2fnuz, fnuz, 8, 3, 0),
    MEDIANS(uint8, integer, 28, 0, 0),
    COLUMNS(int8, integer, 8, 0, 1),
#elif KEY_BITS == 16
    ROWS(int16, integer, 8, 0, 0),
    ROWS(uint16, integer, 24, 3, 0),
    ROWS(int16, integer, 24, 5, 0),
    ROWS(bfloat16, ieee, 28, 2, 0),
    ROWS(uint16, integer, 20, 5, 1),
    COLUMNS(int16, integer, 8, 0, 0),
    COLUMNS(uint16, integer, 8, 3, 0),
    ROWS(float16, ieee, 16, 0, 0),
    ROWS(bfloat16, ieee, 16, 2, 0),
    ROWS(float16, ieee, 32, 5, 0),
    ROWS(bfloat16, ieee, 32, 5, 1),
    ROWS_IN_64_KIB(uint16, integer, 32, 5, 4),
    COLUMNS(float16, ieee, 16, 0, 0),
    COLUMNS(bfloat16, ieee, 16, 4, 0),
    MEDIANS(float16, ieee, 28, 0, 0),
    NANMEDIANS(bfloat16, ieee, 24, 5, 1),
    NANMEDIANS_OF_COLUMNS(bfloat16, ieee, 16, 0, 0),
    COLUMNS(bfloat16, ieee, 16, 0, 1),
    COLUMNS(float16, ieee, 24, 0, 2),
    NANMEDIANS_OF_COLUMNS(float16, ieee, 8, 0, 2),
    MEDIANS_OF_COLUMNS(int16, integer, 8, 0, 1),
    MEDIANS_OF_COLUMNS(int16, integer, 8, 3, 0),
#elif KEY_BITS == 32
    ROWS(int32, integer, 8, 0, 0),
    ROWS(uint32, integer, 24, 3, 0),
    ROWS(int32, integer, 24, 5, 0),
    COLUMNS(int32, integer, 8, 0, 0),
    COLUMNS(uint32, integer, 16, 2, 0),
    ROWS(uint32, integer, 24, 5, 3),
    ROWS(int32, integer, 4, 1, 0),
    ROWS(uint32, integer, 20, 3, 0),
    ROWS(float32, ieee, 28, 4, 0),
    ROWS(float32, ieee, 20, 5, 2),
    ROWS(float32, ieee, 24, 0, 0),
    ROWS(float32, ieee, 8, 2, 0),
    ROWS(float32, ieee, 32, 5, 0),
    ROWS(float32, ieee, 32, 5, 1),
    COLUMNS(float32, ieee, 16, 0, 0),
    COLUMNS(float32, ieee, 16, 3, 0),
    MEDIANS(float32, ieee, 28, 0, 0),
    NANMEDIANS(float32, ieee, 8, 2, 0),
    MEDIANS(int32, integer, 24, 5, 0),
    MEDIANS(float32, ieee, 16, 2, 0),
    NANMEDIANS(float32, ieee, 24, 5, 1),
    MEDIANS_OF_COLUMNS(float32, ieee, 12, 0, 0),
    NANMEDIANS_OF_COLUMNS(float32, ieee, 16, 2, 0),
    COLUMNS(float32, ieee, 16, 0, 1),
    COLUMNS(int32, integer, 24, 0, 2),
    COLUMNS(float32, ieee, 32, 0, 3),
    MEDIANS_OF_COLUMNS(float32, ieee, 24, 0, 3),
    NANMEDIANS_OF_COLUMNS(float32, ieee, 16, 0, 1),
    MEDIANS(float32, ieee, 16, 5, 2),
#elif KEY_BITS == 64
    ROWS(int64, integer, 4, 0, 0),
    ROWS(uint64, integer, 12, 3, 0),
    ROWS(int64, integer, 12, 5, 0),
    ROWS(uint64, integer, 14, 3, 0),
    ROWS(float64, ieee, 14, 5, 1),
    ROWS(float64, ieee, 10, 4, 0),
    ROWS(int64, integer, 16, 5, 3),
    COLUMNS(int64, integer, 8, 0, 0),
    COLUMNS(uint64, integer, 8, 3, 0),
    ROWS(float64, ieee, 8, 0, 0),
    ROWS(float64, ieee, 8, 2, 0),
    ROWS(float64, ieee, 16, 5, 0),
    ROWS(float64, ieee, 12, 5, 2),
    COLUMNS(float64, ieee, 4, 0, 0),
    COLUMNS(float64, ieee, 16, 4, 0),
    MEDIANS(float64, ieee, 12, 5, 1),
    NANMEDIANS(float64, ieee, 8, 0, 0),
    COLUMNS(float64, ieee, 16, 0, 2),
    NANMEDIANS_OF_COLUMNS(float64, ieee, 8, 0, 2),
#endif
};

}  // namespace

int main(int argc, char** argv) {
  prepare();
  return simulate(layouts, argc, argv);
}
