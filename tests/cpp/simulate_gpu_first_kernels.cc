// Runs the GPU kernels that find the first elements of rows on the host, against an oracle that
// shares nothing with them: software_gpu.hpp says how.
//
// The data are those that a bound from groups does not serve well: rising, falling and equal rows,
// few values, rows of which nearly all elements count last, and wanted elements that crowd in few
// groups. Prefixes tell none of the keys of a cluster between two outliers apart.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "oracle.hpp"
#include "software_gpu.hpp"

namespace {

// Blocks share the tiles, and 16-bit keys are encoded two at a time.
template <class Key>
struct looped_target : software_target<Key> {
  using ops = fast_packed_ops;
  static constexpr bool has_block_per_tile = false;
};

// Four warps fill a block.
template <class Key>
struct clustered_target : software_target<Key> {
  static constexpr int max_block_threads = 128;
};
template <class Key>
struct looped_clusters : looped_target<Key> {
  static constexpr int max_block_threads = 128;
};

// ---- data ---------------------------------------------------------------------------------------

const char* const kinds[] = {"any",     "even",        "few",     "equal",  "rising",
                             "falling", "mostly last", "crowded", "cluster"};
constexpr int kind_count = sizeof(kinds) / sizeof(kinds[0]);

std::vector<uint64_t> row_of(const dtype_info& info, const std::string& kind, int length,
                             bool descending) {
  const uint64_t all = ~uint64_t{0} >> (64 - info.bits);
  const uint64_t base = uint64_t{1} << (info.bits - 2);
  const uint64_t positive = all >> 2;
  const uint64_t greatest = info.codec == codec_kind::integer ? info.first ^ all : info.last;
  const uint64_t first = descending ? greatest : info.first;
  const uint64_t last = descending ? info.first : greatest;
  std::vector<uint64_t> row(length);
  for (int i = 0; i < length; ++i) {
    uint64_t key = random_key(info);
    if (kind == "even") {
      key = next_random() & positive;
    } else if (kind == "few") {
      key = base + next_random() % 3;
    } else if (kind == "equal") {
      key = base;
    } else if (kind == "rising") {
      key = static_cast<unsigned>(i) & positive;
    } else if (kind == "falling") {
      key = static_cast<unsigned>(length - i) & positive;
    } else if (kind == "mostly last" && next_random() % 64 != 0) {
      key = last;
    } else if (kind == "crowded") {
      const uint64_t some = next_random() & (positive >> 1);
      key = (i / 32 % 8 == 0) != descending ? some : some | base;
    } else if (kind == "cluster") {
      key = base + next_random() % static_cast<unsigned>(length);
    }
    row[i] = key & all;
  }
  if (kind == "cluster") {
    row.front() = first;
    row.back() = last;
  }
  return row;
}

// ---- one case -----------------------------------------------------------------------------------

struct test_case {
  shape src, dst, indices;
  std::vector<int> sizes;
  int kept, offset;
  bool at_end;
};

template <class Rows, class Target>
std::string run_case(dtype type, const test_case& c, const std::string& kind, int order) {
  const dtype_info& info = dtypes[static_cast<int>(type)];
  const int key_bytes = info.bits / 8, index_bytes = next_random() % 2 == 0 ? 4 : 8;
  const bool descending = order > 0, nan_last = order == 2, has_keys = next_random() % 8 != 0;
  std::vector<int> kept_sizes = c.sizes;
  kept_sizes.back() = c.kept;
  array src(memory->src, c.src, c.sizes, key_bytes, c.offset, c.at_end);
  array dst(memory->dst, c.dst, kept_sizes, key_bytes, c.offset * 5 % 16, !c.at_end);
  array indices(memory->payloads, c.indices, kept_sizes, index_bytes,
                static_cast<int>(next_random() % (c.offset + 1u)), !c.at_end);
  std::vector<std::vector<uint64_t>> keys, expected;
  for (int64_t r = 0; r < src.rows(); ++r) {
    const auto row = row_of(info, kind, src.length(), descending);
    for (int i = 0; i < src.length(); ++i) std::memcpy(src.at(r, i), &row[i], key_bytes);
  }
  for (int64_t r = 0; r < src.rows(); ++r) {
    keys.push_back(src.row(r));
    expected.push_back(index_oracle(type, keys.back(), descending, nan_last));
  }

  typename Rows::arguments args{};
  args.input[0] = src.base();
  args.output[0] = has_keys ? dst.base() : nullptr;
  args.output[1] = indices.base();
  args.rows = src.rows() + rows_too_many;
  args.length = src.length();
  args.kept = c.kept + elements_too_many;
  args.index_bytes = index_bytes;
  args.batch_dims = static_cast<int>(c.sizes.size()) - 1;
  args.opaque_one = 1;
  for (int i = 0; i < args.batch_dims; ++i) {
    args.batch_shape[i] = c.sizes[i];
    args.input_batch_stride[0][i] = src.stride(i);
    args.output_batch_stride[0][i] = dst.stride(i);
    args.output_batch_stride[1][i] = indices.stride(i);
  }
  args.input_stride[0] = src.stride(args.batch_dims);
  args.output_stride[0] = dst.stride(args.batch_dims);
  args.output_stride[1] = indices.stride(args.batch_dims);
  const order_constants constants = order_constants_of(type, descending, nan_last);
  args.key_xor = constants.key_xor;
  args.key_add = constants.key_add;
  std::snprintf(now + std::strlen(now), sizeof(now) - std::strlen(now), " %s order %d, %s, int%d",
                info.name, order, kind.c_str(), 8 * index_bytes);

  memory->src.set_writable(false);
  const std::string wrong = run_blocks<Rows, Target>(args);
  memory->src.set_writable(true);
  if (!wrong.empty()) return wrong;
  for (int64_t r = 0; r < src.rows(); ++r) {
    const std::string row = "row " + std::to_string(r);
    const auto values = dst.row(r), found = indices.row(r);
    for (int i = 0; i < c.kept; ++i) {
      const uint64_t index = expected[r][i];
      if (found[i] != index) return row + " does not have the oracle's indices";
      if (has_keys && values[i] != keys[r][index]) return row + " does not have the oracle's keys";
    }
  }
  if (!dst.gaps_are_untouched()) return "bytes outside the keys' rows were written";
  if (!indices.gaps_are_untouched()) return "bytes outside the indices' rows were written";
  return "";
}

// ---- all cases of a layout ----------------------------------------------------------------------

// Rows of Typical elements have one vector in each unit.
template <class Rows, class Target, int MaxKept, int Typical>
std::string run_layout(const char* name, dtype type) {
  constexpr int block = Rows::block_rows;
  std::string wrong;
  const auto run = [&](const shape& src, const shape& dst, const shape& indices,
                       std::vector<int> sizes, int offset, int kind = -1) {
    const int length = sizes.back();
    if (length < 1 || length > Rows::capacity || !wrong.empty()) return;
    const bool at_end = next_random() % 2 == 0;
    if (kind < 0) kind = static_cast<int>(next_random() % kind_count);
    const int most = length < MaxKept ? length : MaxKept;
    const int kept = next_random() % 3 == 0 ? most : 1 + static_cast<int>(next_random() % most);
    std::snprintf(now, sizeof(now), "%s: %d of %d rows of %d, %s to %s and %s, %s, offset %d", name,
                  kept, sizes[0], length, src.name, dst.name, indices.name,
                  at_end ? "at the end" : "at the beginning", offset);
    const int order = static_cast<int>(next_random() % 3);
    const std::string what = run_case<Rows, Target>(
        type, {src, dst, indices, sizes, kept, offset, at_end}, kinds[kind], order);
    if (!what.empty()) wrong = std::string(now) + ": " + what;
  };
  // Rows of a part of a tile, and of a tile and a part.
  const int few = 1 + static_cast<int>(next_random() % 3);
  const int some = block + 1 + static_cast<int>(next_random() % block);
  const int unaligned = 1 + static_cast<int>(next_random() % 7);
  const int any = 1 + static_cast<int>(next_random() % Typical);

  for (int kind = 0; kind < kind_count; ++kind) {
    run(contiguous, contiguous, contiguous, {kind % 2 == 0 ? block : some, Typical}, 0, kind);
    run(contiguous, contiguous, contiguous, {few, kind % 2 == 0 ? Typical - 1 : 2 * Typical + any},
        unaligned, kind);
  }
  run(contiguous, contiguous, contiguous, {few, any}, unaligned);
  run(gaps, gaps, gaps, {few, Typical / 2 + 1}, unaligned);
  run(wide_gaps, wide_gaps, contiguous, {block + 1, Typical}, 0);
  run(strided, contiguous, strided, {some, any}, 0);
  run(backwards, backwards, backwards, {some, any}, unaligned);
  run(columns, columns, columns, {some, any}, unaligned);
  run(repeated, gaps, contiguous, {some, any}, unaligned);
  run(two_dims, two_dims, two_dims, {2, block / 2 + 1, any}, unaligned);
  run(transposed_two_dims, two_dims, wide_two_dims, {2, block / 2 + 1, Typical - 1}, 0);
  return wrong;
}

#define FIRST(Target, type, Codec, bits, max_kept, units, lane_bits, warp_bits)                    \
  sample {                                                                                         \
    #type " first" #max_kept " (" #units ", " #lane_bits ", " #warp_bits ")",                      \
        run_layout<gpu_first_rows<Target, register_codec<codec_kind::Codec, bits>,                 \
                                  codec_kind::Codec, bits, max_kept, units, lane_bits, warp_bits>, \
                   Target<int>, max_kept, (units << lane_bits << warp_bits) * 128 / bits>,         \
        dtype::type                                                                                \
  }

// Rows of few lanes, whose entries are pruned.
#define PRUNED(Target, type, Codec, bits, max_kept, registers, lane_bits)                         \
  sample {                                                                                        \
    #type " first" #max_kept " (" #registers ", " #lane_bits ", 0)",                              \
        run_layout<gpu_index_rows<Target, codec_kind::Codec, bits, selection::first##max_kept, 0, \
                                  registers, lane_bits, 0>,                                       \
                   Target<int>, max_kept, (registers << lane_bits)>,                              \
        dtype::type                                                                               \
  }
// Rows that are sorted as a whole.
#define WHOLE(Target, type, Codec, bits, registers, lane_bits, warp_bits)                          \
  sample {                                                                                         \
    #type " first (" #registers ", " #lane_bits ", " #warp_bits ")",                               \
        run_layout<gpu_index_rows<Target, codec_kind::Codec, bits, selection::first, 0, registers, \
                                  lane_bits, warp_bits>,                                           \
                   Target<int>, (registers << lane_bits << warp_bits),                             \
                   (registers << lane_bits << warp_bits)>,                                         \
        dtype::type                                                                                \
  }

// For each codec and width of a key: a few lanes a row, a warp, warps, and blocks.
const std::vector<sample> layouts = {
    FIRST(looped_target, float8_e4m3fnuz, fnuz, 8, 16, 4, 4, 0),
    FIRST(software_target, uint8, integer, 8, 16, 2, 5, 0),
    FIRST(software_target, bfloat16, ieee, 16, 64, 4, 5, 1),
    FIRST(looped_target, float16, ieee, 16, 16, 8, 4, 0),
    FIRST(software_target, float32, ieee, 32, 16, 8, 5, 0),
    FIRST(looped_target, float32, ieee, 32, 64, 8, 4, 0),
    FIRST(software_target, float32, ieee, 32, 256, 8, 5, 1),
    FIRST(software_target, float32, ieee, 32, 16, 2, 5, 2),
    FIRST(looped_target, uint32, integer, 32, 128, 8, 5, 0),
    FIRST(software_target, int64, integer, 64, 64, 2, 5, 1),
    FIRST(looped_target, float64, ieee, 64, 16, 4, 5, 0),
    FIRST(clustered_target, float32, ieee, 32, 64, 2, 5, 4),
    FIRST(clustered_target, bfloat16, ieee, 16, 256, 2, 5, 3),
    FIRST(looped_clusters, int64, integer, 64, 16, 1, 5, 3),
    PRUNED(software_target, uint8, integer, 8, 8, 8, 1),
    PRUNED(looped_target, float16, ieee, 16, 4, 16, 2),
    PRUNED(software_target, float32, ieee, 32, 1, 8, 1),
    PRUNED(looped_target, float32, ieee, 32, 8, 16, 2),
    PRUNED(software_target, float32, ieee, 32, 32, 32, 3),
    PRUNED(looped_target, int32, integer, 32, 16, 16, 2),
    PRUNED(software_target, float64, ieee, 64, 2, 16, 1),
    WHOLE(looped_target, float16, ieee, 16, 16, 2, 0),
    WHOLE(software_target, float32, ieee, 32, 12, 3, 0),
    WHOLE(software_target, int64, integer, 64, 8, 5, 1),
};

}  // namespace

int main(int argc, char** argv) {
  prepare();
  return simulate(layouts, argc, argv);
}
