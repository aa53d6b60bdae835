// Counts the rows that take each way through the CPU kernels with an index, and checks every order.
//
// Prints a line for each kernel and kind of data: the number of rows sorted at once, found in
// order, repaired, and sorted exactly.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

namespace {

struct counts {
  long at_once, in_order, repaired, exactly;
} counted;

}  // namespace

#define WARP_BITONIC_SORT_COUNT_ROWS(way, rows) counted.way += (rows)
#include <warp_bitonic_sort/core/dtype.hpp>
#include <warp_bitonic_sort/kernel/cpu.hpp>

namespace {

using namespace warp_bitonic_sort;

uint64_t state = 1;
uint64_t next_random() {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

// About normal: the sum of three uniform numbers.
float next_normal() {
  float sum = 0;
  for (int i = 0; i < 3; ++i) sum += static_cast<float>(next_random() >> 40) - (1 << 23);
  return sum;
}

// Keys of one row. Prefixes of a cluster between two outliers tell none of its keys apart.
template <class Key>
std::vector<Key> row_of(const std::string& kind, int length) {
  std::vector<Key> row(length);
  for (int i = 0; i < length; ++i) {
    const Key low_bits = static_cast<Key>(next_random() % 16);
    if (kind == "narrow") {
      row[i] = low_bits;
    } else if (kind == "wide") {
      row[i] = static_cast<Key>(next_random());
    } else if (kind == "rising cluster") {
      row[i] = static_cast<Key>(1000 + i);
    } else if (kind == "one pair") {
      row[i] = static_cast<Key>(1000 + (i == 7 ? 8 : i == 8 ? 7 : i));
    } else {
      row[i] = static_cast<Key>(1000 + low_bits);
    }
  }
  if (kind != "narrow" && kind != "wide") {
    row.front() = 0;
    row.back() = static_cast<Key>(~Key(0));
  }
  return row;
}

// The first `kept` elements of rows; Row makes one.
template <class Kernel, class Key, class Row>
void count(const char* name, const char* kind, int length, int kept, dtype type,
           const Row& make_row) {
  constexpr bool by_columns = Kernel::needed_access == access::columns;
  const int rows = 4 * Kernel::lanes;
  std::vector<Key> keys(rows * length), values(rows * kept);
  std::vector<unsigned> order(rows * kept);
  const auto at = [&](int row, int i) { return by_columns ? i * rows + row : row * length + i; };
  const auto to = [&](int row, int i) { return by_columns ? i * rows + row : row * kept + i; };
  for (int row = 0; row < rows; ++row) {
    const std::vector<Key> made = make_row();
    for (int i = 0; i < length; ++i) keys[at(row, i)] = made[i];
  }
  const order_constants constants = order_constants_of(type, false, false);
  wbs_args<1, 2> args{};
  args.key_xor = constants.key_xor;
  args.key_add = constants.key_add;
  args.input[0] = keys.data();
  args.output[0] = values.data();
  args.output[1] = order.data();
  args.rows = args.batch_shape[0] = rows;
  args.batch_dims = 1;
  args.length = length;
  args.kept = kept;
  args.index_bytes = 4;
  const long long element = by_columns ? rows : 1;
  const long long row_step = by_columns ? 1 : length, kept_step = by_columns ? 1 : kept;
  args.input_stride[0] = args.output_stride[0] = element * sizeof(Key);
  args.output_stride[1] = element * sizeof(unsigned);
  args.input_batch_stride[0][0] = row_step * sizeof(Key);
  args.output_batch_stride[0][0] = kept_step * sizeof(Key);
  args.output_batch_stride[1][0] = kept_step * sizeof(unsigned);
  void* scratch = nullptr;
  if (posix_memalign(&scratch, 64, Kernel::scratch_bytes(length)) != 0) std::abort();
  counted = {};
  Kernel::run(&args, 0, rows, scratch);
  std::free(scratch);
  for (int row = 0; row < rows; ++row) {
    std::vector<unsigned> expected(length);
    std::iota(expected.begin(), expected.end(), 0u);
    std::stable_sort(expected.begin(), expected.end(),
                     [&](unsigned a, unsigned b) { return keys[at(row, a)] < keys[at(row, b)]; });
    for (int i = 0; i < kept; ++i) {
      if (order[to(row, i)] != expected[i] || values[to(row, i)] != keys[at(row, expected[i])]) {
        std::printf("FAILED: %s %s: row %d, position %d\n", name, kind, row, i);
        std::exit(1);
      }
    }
  }
  std::printf("%s|%s|%d|%ld|%ld|%ld|%ld\n", name, kind, rows, counted.at_once, counted.in_order,
              counted.repaired, counted.exactly);
}

template <class Key, int Length, access Access, selection Selection = selection::all>
void count_integers(const char* name, const char* kind, int length, int kept) {
  const dtype type = sizeof(Key) == 4 ? dtype::uint32 : dtype::uint64;
  count<index_kernel<Selection, codec_kind::integer, 8 * sizeof(Key), Length, Access>, Key>(
      name, kind, length, kept, type, [&] { return row_of<Key>(kind, length); });
}
template <class Key>
void count_all() {
  for (const char* kind : {"narrow", "wide", "rising cluster", "one pair", "cluster"}) {
    count_integers<Key, 0, access::strided>("tile", kind, 300, 300);
    if constexpr (sizeof(Key) == 4) {
      count_integers<Key, 0, access::strided, selection::first>("first", kind, 300, 9);
    }
    count_integers<Key, 24, access::rows>("rows", kind, 24, 24);
    count_integers<Key, 24, access::columns>("columns", kind, 24, 24);
  }
}
// Long rows of floats, whose codes crowd at the ends of a range.
void count_floats() {
  const int length = 1000;
  count<index_kernel<selection::all, codec_kind::ieee, 32, 0, access::strided>, float>(
      "tile", "normal floats", length, length, dtype::float32, [] {
        std::vector<float> row(length);
        for (float& x : row) x = next_normal();
        return row;
      });
}

// A repair of a falling row gives up after a number of moves that is proportional to its length.
void check_end() {
  for (const int length : {2, 3, 16, 17, 300, 5000}) {
    std::vector<unsigned> codes(length + 16), order(length), keys(length);
    for (int i = 0; i < length; ++i) codes[i] = length - i;
    const row_in_repair<unsigned, unsigned> row{codes.data(), order.data(), keys.data()};
    const bool ends = repair_row<simd_words<32>>(row, length) == repair_result::abandoned;
    if (ends != (length * (length - 1L) / 2 > max_moves(length))) {
      std::printf("FAILED: a falling row of %d\n", length);
      std::exit(1);
    }
  }
}

}  // namespace

int main() {
  check_end();
  std::printf("32\n");
  count_all<unsigned>();
  std::printf("64\n");
  count_all<unsigned long long>();
  count_floats();
}
