// Runs the GPU kernels with an index or with values on the host, against an oracle that shares
// nothing with them: software_gpu.hpp says how.
//
// Then counts the teams that take each way: prefixes of values or of codes, a repair, digits.
// Prints a line for each layout and kind of data: its teams, those that encoded values, those that
// encoded codes, their rounds of repair and their further digits.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "oracle.hpp"
#include "software_gpu.hpp"

namespace {

// Without asynchronous copies, with blocks that share the tiles, and with 16-bit keys that are
// encoded two at a time.
template <class Key>
struct looped_target : software_target<Key> {
  using ops = fast_packed_ops;
  static constexpr bool has_copies = false, has_block_per_tile = false;
};
template <template <class> class Target, codec_kind Codec, int Bits, int Registers, int LaneBits,
          int WarpBits>
using rows_of_index =
    gpu_index_rows<Target, Codec, Bits, selection::all, 0, Registers, LaneBits, WarpBits>;
template <template <class> class Target, codec_kind Codec, int Bits, int Registers, int LaneBits,
          int WarpBits>
using rows_of_value32 =
    gpu_index_rows<Target, Codec, Bits, selection::all, 32, Registers, LaneBits, WarpBits>;
template <template <class> class Target, codec_kind Codec, int Bits, int Registers, int LaneBits,
          int WarpBits>
using rows_of_value64 =
    gpu_index_rows<Target, Codec, Bits, selection::all, 64, Registers, LaneBits, WarpBits>;

// ---- data ---------------------------------------------------------------------------------------

const char* const kinds[] = {"any",      "even",    "narrow",        "equal", "rising",
                             "one pair", "cluster", "crowd at zero", "groups"};
constexpr int kind_count = sizeof(kinds) / sizeof(kinds[0]);

// The keys of one row. Prefixes tell none of the keys of a cluster between two outliers apart, nor
// those of a crowd at zero, nor those of a group of six.
std::vector<uint64_t> row_of(const dtype_info& info, const std::string& kind, int length,
                             bool descending) {
  const uint64_t all = ~uint64_t{0} >> (64 - info.bits);
  const uint64_t base = uint64_t{1} << (info.bits - 2), sign = uint64_t{1} << (info.bits - 1);
  const bool is_float = info.codec != codec_kind::integer;
  const bool has_groups = length > 128 || next_random() % 4 == 0;
  std::vector<uint64_t> row(length);
  for (int i = 0; i < length; ++i) {
    const uint64_t some = next_random() % static_cast<unsigned>(length);
    uint64_t key = base + some;
    if (kind == "any") {
      key = random_key(info);
    } else if (kind == "even" && info.id == dtype::float32) {
      const float x = static_cast<float>(next_random() % (1 << 24)) * 0x1p-22f - 2;
      unsigned raw;
      std::memcpy(&raw, &x, sizeof(raw));
      key = raw;
    } else if (kind == "even") {
      key = next_random();
    } else if (kind == "narrow") {
      key = base + some % 16;
    } else if (kind == "equal") {
      key = base;
    } else if (kind == "rising") {
      key = base + static_cast<unsigned>(i);
    } else if (kind == "groups") {
      const uint64_t group = static_cast<uint64_t>(i / 128) << (info.bits - 8);
      key = has_groups && i % 128 < 6 ? base + group + some : next_random();
    } else if (kind == "one pair") {
      const int middle = length / 2, at = i == middle ? i - 1 : i == middle - 1 ? i + 1 : i;
      key = base + static_cast<unsigned>(descending ? length - at : at);
    } else if (kind == "crowd at zero" && is_float) {
      const uint64_t far = next_random();
      key = far & 1 ? base | (far & 2 ? sign : 0) : base / 2 + some;
    }
    row[i] = key & all;
  }
  if (kind == "one pair" || kind == "cluster") {
    const uint64_t last = is_float ? info.last : info.first ^ all;
    row.front() = descending ? last : info.first;
    row.back() = descending ? info.first : last;
  }
  return row;
}

// ---- one case -----------------------------------------------------------------------------------

// The payloads are indices or values.
struct test_case {
  shape src, dst, payloads;
  std::vector<int> sizes;
  int offset;
  bool at_end, in_place;
};

template <class Rows, class Target, int ValueBytes>
std::string run_case(dtype type, const test_case& c, const std::string& kind, int order) {
  const dtype_info& info = dtypes[static_cast<int>(type)];
  constexpr bool has_values = ValueBytes != 0;
  const int key_bytes = info.bits / 8, index_bytes = next_random() % 2 == 0 ? 4 : 8;
  const int payload_bytes = has_values ? ValueBytes : index_bytes;
  const bool descending = order > 0, nan_last = order == 2;
  const bool has_keys = has_values || c.in_place || next_random() % 8 != 0;
  reciprocal_error = (static_cast<float>(next_random() % 3) - 1) * 0x1p-23f;
  array src(memory->src, c.src, c.sizes, key_bytes, c.offset, c.at_end);
  array other(memory->dst, c.dst, c.sizes, key_bytes, c.in_place ? 0 : c.offset * 5 % 16,
              !c.at_end);
  array& dst = c.in_place ? src : other;
  const auto some_offset = [&] { return static_cast<int>(next_random() % (c.offset + 1u)); };
  array values(memory->values, c.in_place ? c.payloads : c.src, c.sizes, payload_bytes,
               some_offset(), next_random() % 2 == 0);
  array other_payloads(memory->payloads, c.payloads, c.sizes, payload_bytes, some_offset(),
                       !c.at_end);
  array& payloads = has_values && c.in_place ? values : other_payloads;
  std::vector<std::vector<uint64_t>> keys, carried, expected;
  for (int64_t r = 0; r < src.rows(); ++r) {
    const auto row = row_of(info, kind, src.length(), descending);
    for (int i = 0; i < src.length(); ++i) {
      std::memcpy(src.at(r, i), &row[i], key_bytes);
      const uint64_t value = next_random() * 0x9E3779B97F4A7C15u;
      std::memcpy(values.at(r, i), &value, payload_bytes);
    }
  }
  for (int64_t r = 0; r < src.rows(); ++r) {
    keys.push_back(src.row(r));
    carried.push_back(values.row(r));
    expected.push_back(index_oracle(type, keys.back(), descending, nan_last));
  }

  typename Rows::arguments args{};
  args.input[0] = src.base();
  args.output[0] = has_keys ? dst.base() : nullptr;
  args.output[1] = payloads.base();
  args.rows = src.rows() + rows_too_many;
  args.length = args.kept = src.length() + elements_too_many;
  args.index_bytes = has_values ? 0 : index_bytes;
  args.batch_dims = static_cast<int>(c.sizes.size()) - 1;
  args.opaque_one = 1;
  for (int i = 0; i < args.batch_dims; ++i) {
    args.batch_shape[i] = c.sizes[i];
    args.input_batch_stride[0][i] = src.stride(i);
    args.output_batch_stride[0][i] = dst.stride(i);
    args.output_batch_stride[1][i] = payloads.stride(i);
    if constexpr (has_values) args.input_batch_stride[1][i] = values.stride(i);
  }
  args.input_stride[0] = src.stride(args.batch_dims);
  args.output_stride[0] = dst.stride(args.batch_dims);
  args.output_stride[1] = payloads.stride(args.batch_dims);
  if constexpr (has_values) {
    args.input[1] = values.base();
    args.input_stride[1] = values.stride(args.batch_dims);
  }
  const order_constants constants = order_constants_of(type, descending, nan_last);
  args.key_xor = constants.key_xor;
  args.key_add = constants.key_add;
  std::snprintf(now + std::strlen(now), sizeof(now) - std::strlen(now), " %s order %d, %s, %s%d",
                info.name, order, kind.c_str(), has_values ? "value" : "int", 8 * payload_bytes);

  const long repairs = calls["repair"] + calls["encode_digit"];
  if (!c.in_place) memory->src.set_writable(false);
  if (!c.in_place) memory->values.set_writable(false);
  const std::string wrong = run_blocks<Rows, Target>(args);
  memory->src.set_writable(true);
  memory->values.set_writable(true);
  if (!wrong.empty()) return wrong;
  const bool is_narrow = kind == "narrow" || kind == "equal" || kind == "rising";
  if (is_narrow && calls["repair"] + calls["encode_digit"] != repairs) {
    return "prefixes do not tell all codes apart";
  }
  for (int64_t r = 0; r < src.rows(); ++r) {
    const std::string row = "row " + std::to_string(r);
    const auto sorted = dst.row(r), payload = payloads.row(r);
    for (int i = 0; i < src.length(); ++i) {
      const uint64_t index = expected[r][i];
      if (payload[i] != (has_values ? carried[r][index] : index)) {
        return row + " does not have the oracle's payloads";
      }
      if (has_keys && sorted[i] != keys[r][index]) {
        return row + " does not have the oracle's keys";
      }
    }
  }
  if (!dst.gaps_are_untouched()) return "bytes outside the keys' rows were written";
  if (!payloads.gaps_are_untouched()) return "bytes outside the payloads' rows were written";
  return "";
}

// ---- all cases of a layout ----------------------------------------------------------------------

// Returns the first failure's text, or an empty one.
template <class Rows, class Target, int ValueBytes>
std::string run_layout(const char* name, dtype type) {
  constexpr int capacity = Rows::capacity, block = Rows::block_rows;
  std::string wrong;
  const auto run = [&](const shape& src, const shape& dst, const shape& payloads,
                       std::vector<int> sizes, int offset, bool in_place, int kind = -1) {
    const int length = sizes.back();
    if (length < 1 || length > capacity || !wrong.empty()) return;
    const bool at_end = next_random() % 2 == 0;
    if (kind < 0) kind = static_cast<int>(next_random() % kind_count);
    std::snprintf(now, sizeof(now), "%s: %d rows of %d, %s to %s and %s, %s, offset %d, %s", name,
                  sizes[0], length, src.name, dst.name, payloads.name,
                  at_end ? "at the end" : "at the beginning", offset,
                  in_place ? "in place" : "elsewhere");
    const int order = static_cast<int>(next_random() % 3);
    const std::string what = run_case<Rows, Target, ValueBytes>(
        type, {src, dst, payloads, sizes, offset, at_end, in_place}, kinds[kind], order);
    if (!what.empty()) wrong = std::string(now) + ": " + what;
  };
  // Rows of a part of a tile, of a tile and a part, of two tiles.
  const int few = 1 + static_cast<int>(next_random() % 3);
  const int some = block + 1 + static_cast<int>(next_random() % block);
  const int unaligned = 1 + static_cast<int>(next_random() % 7);
  const int any = 1 + static_cast<int>(next_random() % capacity);

  for (int kind = 0; kind < kind_count; ++kind) {
    run(contiguous, contiguous, contiguous, {block, capacity}, 0, kind % 2 == 1, kind);
    run(contiguous, contiguous, contiguous, {some, capacity - kind % 2}, unaligned, kind % 4 < 2,
        kind);
  }
  run(contiguous, contiguous, contiguous, {few, any}, unaligned, true);
  run(gaps, gaps, gaps, {few, capacity / 2 + 1}, unaligned, false);
  run(wide_gaps, wide_gaps, contiguous, {block + 1, capacity}, 0, true);
  run(strided, contiguous, strided, {some, any}, 0, false);
  run(backwards, backwards, backwards, {some, any}, unaligned, true);
  run(columns, columns, columns, {some, any}, unaligned, false);
  run(apart_columns, contiguous, columns, {some, capacity}, unaligned, false);
  run(repeated, gaps, contiguous, {some, any}, unaligned, false);
  run(two_dims, two_dims, two_dims, {2, block / 2 + 1, any}, unaligned, false);
  run(transposed_two_dims, two_dims, wide_two_dims, {2, block / 2 + 1, capacity - 1}, 0, false);
  return wrong;
}

// ---- ways ---------------------------------------------------------------------------------------

// Counts the ways of one tile of full rows, in both directions.
template <class Rows, class Target, int ValueBytes>
std::string count_ways(const char* name, dtype type) {
  team_threads = Rows::row_lanes > warp_lanes ? Rows::threads : warp_lanes;
  const int teams = 2 * Rows::threads / team_threads;
  for (const char* kind : kinds) {
    calls.clear();
    for (int order : {0, 1}) {
      std::snprintf(now, sizeof(now), "%s:", name);
      const test_case c = {contiguous, contiguous, contiguous, {Rows::block_rows, Rows::capacity},
                           0,          false,      false};
      const std::string wrong = run_case<Rows, Target, ValueBytes>(type, c, kind, order);
      if (!wrong.empty()) return std::string(now) + ": " + wrong;
    }
    std::printf("%s|%s|%d|%ld|%ld|%ld|%ld\n", name, kind, teams, calls["encode_values"],
                calls["encode_codes"], calls["repair"], calls["encode_digit"]);
  }
  return "";
}

#define SAMPLE(function, Rows, value_bytes, Target, type, Codec, bits, registers, lane_bits, \
               warp_bits)                                                                    \
  sample {                                                                                   \
    #type " (" #registers ", " #lane_bits ", " #warp_bits ")",                               \
        function<Rows<Target, codec_kind::Codec, bits, registers, lane_bits, warp_bits>,     \
                 Target<int>, value_bytes>,                                                  \
        dtype::type                                                                          \
  }
#define ROWS(...) SAMPLE(run_layout, rows_of_index, 0, __VA_ARGS__)
#define VALUES32(...) SAMPLE(run_layout, rows_of_value32, 4, __VA_ARGS__)
#define VALUES64(...) SAMPLE(run_layout, rows_of_value64, 8, __VA_ARGS__)
#define COLUMNS(...) SAMPLE(run_layout, gpu_index_columns, 0, __VA_ARGS__)
#define WAYS(...) SAMPLE(count_ways, rows_of_index, 0, software_target, __VA_ARGS__)

// For each codec and entry: a thread a row, a few lanes, a warp, and warps.
const std::vector<sample> layouts = {
    ROWS(software_target, float8_e4m3fnuz, fnuz, 8, 8, 0, 0),
    ROWS(looped_target, bool_, integer, 8, 12, 3, 0),
    ROWS(looped_target, float16, ieee, 16, 16, 1, 0),
    ROWS(looped_target, int16, integer, 16, 12, 5, 1),
    ROWS(software_target, bfloat16, ieee, 16, 8, 2, 0),
    ROWS(software_target, float32, ieee, 32, 4, 0, 0),
    ROWS(looped_target, float32, ieee, 32, 12, 3, 0),
    ROWS(software_target, float32, ieee, 32, 16, 5, 0),
    ROWS(software_target, float32, ieee, 32, 12, 5, 2),
    ROWS(software_target, int32, integer, 32, 16, 4, 0),
    ROWS(looped_target, uint32, integer, 32, 8, 5, 1),
    ROWS(looped_target, float64, ieee, 64, 8, 1, 0),
    ROWS(software_target, int64, integer, 64, 12, 5, 0),
    ROWS(software_target, uint64, integer, 64, 8, 5, 1),
    VALUES32(software_target, uint8, integer, 8, 8, 0, 0),
    VALUES32(looped_target, float32, ieee, 32, 16, 2, 0),
    VALUES32(software_target, float32, ieee, 32, 12, 5, 2),
    VALUES32(software_target, float64, ieee, 64, 8, 1, 0),
    VALUES64(looped_target, float16, ieee, 16, 16, 4, 0),
    VALUES64(software_target, float32, ieee, 32, 12, 3, 0),
    VALUES64(looped_target, int64, integer, 64, 8, 5, 1),
    COLUMNS(software_target, uint8, integer, 8, 16, 3, 0),
    COLUMNS(looped_target, float16, ieee, 16, 8, 0, 0),
    COLUMNS(software_target, float32, ieee, 32, 8, 0, 0),
    COLUMNS(looped_target, float32, ieee, 32, 16, 4, 0),
    COLUMNS(software_target, float64, ieee, 64, 8, 2, 0),
};
const std::vector<sample> ways = {
    WAYS(float16, ieee, 16, 16, 1, 0),  WAYS(float32, ieee, 32, 12, 3, 0),
    WAYS(float32, ieee, 32, 16, 5, 0),  WAYS(float32, ieee, 32, 12, 5, 2),
    WAYS(int32, integer, 32, 16, 4, 0), WAYS(int64, integer, 64, 12, 5, 0),
    WAYS(uint64, integer, 64, 8, 5, 1),
};

}  // namespace

int main(int argc, char** argv) {
  prepare();
  const int status = simulate(layouts, argc, argv);
  for (const sample& s : ways) {
    const std::string wrong = run(s);
    if (wrong.empty()) continue;
    std::printf("FAILED: %s\n", wrong.c_str());
    return 1;
  }
  return status;
}
