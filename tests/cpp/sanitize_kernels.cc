// Runs the CPU kernels under the sanitizers against an oracle that shares nothing with them.
//
// Invariant: every array is a heap block of exactly its size. The gaps inside it are poisoned for
// AddressSanitizer in a source, filled and checked in a destination, so that every access outside a
// row is seen.
//
// Built with -DCASES=..., calls of REGISTERS, TILE and INDEX: the kernels that a program runs.
#include <sanitizer/asan_interface.h>

// Makes some of the cases large enough for stores past the caches.
#define WARP_BITONIC_SORT_MIN_STREAMED_BYTES 256

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include <warp_bitonic_sort/core/config.hpp>

#include "oracle.hpp"

// Unrolled code takes twice as long to compile, and accesses the same bytes.
#undef WBS_INLINE
#define WBS_INLINE inline
#undef WBS_UNROLL
#define WBS_UNROLL

#include <warp_bitonic_sort/kernel/cpu.hpp>

namespace {

using namespace warp_bitonic_sort;

int failures = 0;
long runs = 0;

// ---- arrays -------------------------------------------------------------------------------------

// The axes of an array: those of the batch, then the sorted one. `order` names them from the
// innermost in memory outwards. Padding follows each row of an axis; axes in `reversed` run
// backwards.
struct shape {
  std::vector<int> sizes;
  std::vector<int> order;
  int padding;
  unsigned reversed;
};

class array {
 public:
  array(const shape& s, int key_bytes, int offset) : key_bytes_(key_bytes), sizes_(s.sizes) {
    strides_.resize(s.sizes.size());
    int64_t extent = key_bytes, begin = offset;
    int64_t last = 0;
    for (int axis : s.order) {
      const int64_t stride = extent;
      extent = stride * s.sizes[axis] + s.padding;
      last += stride * (s.sizes[axis] - 1);
      const bool reversed = s.reversed >> axis & 1;
      if (reversed) begin += stride * (s.sizes[axis] - 1);
      strides_[axis] = reversed ? -stride : stride;
    }
    bytes_ = offset + last + key_bytes;
    memory_ = static_cast<unsigned char*>(std::malloc(bytes_));
    std::memset(memory_, 0xA5, bytes_);
    base_ = memory_ + begin;
    used_.assign(bytes_, 0);
    for (int64_t row = 0; row < rows(); ++row) {
      for (int i = 0; i < length(); ++i) {
        for (int b = 0; b < key_bytes; ++b) used_[at(row, i) - memory_ + b] = 1;
      }
    }
  }
  ~array() {
    ASAN_UNPOISON_MEMORY_REGION(memory_, bytes_);
    std::free(memory_);
  }
  array(const array&) = delete;

  int64_t rows() const {
    int64_t product = 1;
    for (size_t i = 0; i + 1 < sizes_.size(); ++i) product *= sizes_[i];
    return product;
  }
  int length() const { return sizes_.back(); }
  unsigned char* base() const { return base_; }
  int64_t stride(size_t axis) const { return strides_[axis]; }

  unsigned char* at(int64_t row, int i) const {
    unsigned char* p = base_ + i * strides_.back();
    for (int axis = static_cast<int>(sizes_.size()) - 2; axis >= 0; --axis) {
      p += row % sizes_[axis] * strides_[axis];
      row /= sizes_[axis];
    }
    return p;
  }
  std::vector<uint64_t> row(int64_t index) const {
    std::vector<uint64_t> keys(length());
    for (int i = 0; i < length(); ++i) std::memcpy(&keys[i], at(index, i), key_bytes_);
    return keys;
  }
  void fill(const dtype_info& info) {
    for (int64_t r = 0; r < rows(); ++r) {
      for (int i = 0; i < length(); ++i) {
        const uint64_t key = random_key(info);
        std::memcpy(at(r, i), &key, key_bytes_);
      }
    }
  }
  void poison_gaps() {
    for (int64_t i = 0; i + 8 <= bytes_; i += 8) {
      uint64_t used = 0;
      std::memcpy(&used, &used_[i], 8);
      if (used == 0) {
        ASAN_POISON_MEMORY_REGION(memory_ + i, 8);
      }
    }
  }
  bool gaps_are_untouched() const {
    for (int64_t i = 0; i < bytes_; ++i) {
      if (!used_[i] && memory_[i] != 0xA5) return false;
    }
    return true;
  }
  std::vector<unsigned char> contents() const {
    std::vector<unsigned char> bytes;
    for (int64_t i = 0; i < bytes_; ++i) {
      if (used_[i]) bytes.push_back(memory_[i]);
    }
    return bytes;
  }

 private:
  int key_bytes_;
  std::vector<int> sizes_;
  std::vector<int64_t> strides_;
  int64_t bytes_;
  unsigned char* memory_;
  unsigned char* base_;
  std::vector<unsigned char> used_;  // of each byte, whether it is an element's
};

// ---- one case -----------------------------------------------------------------------------------

void run_case(const wbs_cpu_kernel& kernel, dtype type, const shape& src_shape,
              const shape& dst_shape, int offset, bool in_place) {
  const dtype_info& info = dtypes[static_cast<int>(type)];
  const int order = static_cast<int>(next_random() % 3);
  const bool descending = order > 0, nan_last = order == 2;
  array src(src_shape, static_cast<int>(kernel.cell.bits / 8), offset);
  array other(dst_shape, static_cast<int>(kernel.cell.bits / 8), in_place ? 0 : (offset * 5) % 8);
  array& dst = in_place ? src : other;
  src.fill(info);
  std::vector<std::vector<uint64_t>> expected;
  for (int64_t r = 0; r < src.rows(); ++r) {
    expected.push_back(oracle(type, src.row(r), descending, nan_last));
  }
  const auto before = src.contents();

  wbs_args<1, 1> args{};
  args.input[0] = src.base();
  args.output[0] = dst.base();
  args.length = src.length();
  args.kept = args.length;
  args.rows = src.rows();
  args.batch_dims = static_cast<int>(src_shape.sizes.size()) - 1;
  for (int i = 0; i < args.batch_dims; ++i) {
    args.batch_shape[i] = src_shape.sizes[i];
    args.input_batch_stride[0][i] = src.stride(i);
    args.output_batch_stride[0][i] = dst.stride(i);
  }
  args.input_stride[0] = src.stride(args.batch_dims);
  args.output_stride[0] = dst.stride(args.batch_dims);
  const order_constants constants = order_constants_of(type, descending, nan_last);
  args.key_xor = constants.key_xor;
  args.key_add = constants.key_add;
  const int64_t bytes = kernel.scratch_bytes(args.length);
  void* scratch = nullptr;
  if (posix_memalign(&scratch, 64, bytes) != 0) std::abort();
  if (!in_place) src.poison_gaps();
  // In two calls, as threads would divide the rows.
  const int64_t cut = static_cast<int64_t>(next_random() % (src.rows() + 1));
  kernel.run(&args, 0, cut, scratch);
  kernel.run(&args, cut, src.rows(), scratch);
  std::free(scratch);
  ++runs;

  std::string wrong;
  for (int64_t r = 0; r < src.rows(); ++r) {
    auto got = dst.row(r);
    order_nans(type, got);
    if (got != expected[r]) wrong = "row " + std::to_string(r) + " is not the oracle's";
  }
  if (!in_place && src.contents() != before) wrong = "the source was written";
  if (!dst.gaps_are_untouched()) wrong = "bytes outside the rows were written";
  if (!wrong.empty()) {
    std::printf("FAILED: %s %s length %d rows %ld offset %d in_place %d order %d: %s\n",
                kernel.cell.name, info.name, src.length(), static_cast<long>(src.rows()), offset,
                in_place, order, wrong.c_str());
    ++failures;
  }
}

// Contiguous elements: full and partial groups, padding between rows, batches whose dimensions do
// not join, backwards, at any offset, in place.
void run_rows(const wbs_cpu_kernel& kernel, dtype type, int n) {
  const int lanes = kernel.lanes;
  for (int rows : {1, lanes - 1, 2 * lanes + 3}) {
    run_case(kernel, type, {{rows, n}, {1, 0}, 0, 0}, {{rows, n}, {1, 0}, 0, 0}, 0, false);
    run_case(kernel, type, {{rows, n}, {1, 0}, 24, 0}, {{rows, n}, {1, 0}, 5, 0}, 3, false);
  }
  // The stride of a dimension of size 1 is arbitrary; here it is a row's.
  if (n == 1) {
    const shape one = {{2 * lanes + 1, 1, n}, {1, 2, 0}, 16, 0};
    run_case(kernel, type, one, one, 0, false);
  }
  // Without gaps, beginning within a vector and within a cache line.
  const shape contiguous = {{4 * lanes + 3, n}, {1, 0}, 0, 0};
  run_case(kernel, type, contiguous, contiguous, 3, false);
  run_case(kernel, type, contiguous, contiguous, 5, true);
  run_case(kernel, type, contiguous, {contiguous.sizes, {1, 0}, 8, 0}, 0, false);
  // Without gaps for some groups of rows only.
  const shape lines = {{3, 2 * lanes, n}, {2, 1, 0}, 0, 1};
  run_case(kernel, type, lines, lines, 3, false);
  run_case(kernel, type, lines, lines, 1, true);
  run_case(kernel, type, {contiguous.sizes, {1, 0}, 8, 0}, contiguous, 0, false);
  run_case(kernel, type, {{n}, {0}, 0, 0}, {{n}, {0}, 0, 0}, 1, false);
  run_case(kernel, type, {{lanes + 1, n}, {1, 0}, 0, 0}, {{lanes + 1, n}, {1, 0}, 0, 0}, 1, true);
  run_case(kernel, type, {{3, 5, n}, {2, 0, 1}, 16, 1}, {{3, 5, n}, {2, 1, 0}, 8, 2}, 7, false);
  run_case(kernel, type, {{2, 1, 3, 7, n}, {4, 2, 0, 3, 1}, 16, 4},
           {{2, 1, 3, 7, n}, {4, 3, 2, 1, 0}, 0, 0}, 0, false);
}

// Contiguous rows side by side, in lines of any length.
void run_columns(const wbs_cpu_kernel& kernel, dtype type, int n) {
  const int lanes = kernel.lanes;
  for (int rows : {1, lanes, 2 * lanes + 3}) {
    run_case(kernel, type, {{rows, n}, {0, 1}, 0, 0}, {{rows, n}, {0, 1}, 0, 0}, 1, false);
    run_case(kernel, type, {{2, rows, n}, {1, 2, 0}, 16, 0}, {{2, rows, n}, {1, 0, 2}, 8, 0}, 0,
             false);
  }
  // The stride of a dimension of size 1 is arbitrary; here it is a key's.
  const shape one = {{2 * lanes + 1, 1, n}, {1, 2, 0}, 16, 0};
  run_case(kernel, type, one, one, 0, false);
  run_case(kernel, type, {{3, lanes + 2, n}, {1, 2, 0}, 0, 4}, {{3, lanes + 2, n}, {1, 2, 0}, 0, 1},
           3, false);
  run_case(kernel, type, {{3, lanes + 1, n}, {1, 2, 0}, 0, 0}, {{3, lanes + 1, n}, {1, 2, 0}, 0, 0},
           0, true);
  // Lines a whole number of pages apart, of more columns than a stage has.
  if (n > 100) return;
  const int key_bytes = static_cast<int>(kernel.cell.bits / 8), wide = 1024 / key_bytes * 5 / 4 + 3;
  const shape pages = {{wide, n}, {0, 1}, 4096 - wide * key_bytes, 0};
  run_case(kernel, type, pages, pages, 0, true);
  run_case(kernel, type, pages, {{wide, n}, {0, 1}, 8, 2}, 3, false);
  const shape batches = {{2, wide, n}, {1, 2, 0}, 4096 - wide * key_bytes, 5};
  run_case(kernel, type, batches, batches, 1, false);
}

// Source and destination with different strides, of neither kind.
void run_mixed(const wbs_cpu_kernel& kernel, dtype type, int n) {
  const int rows = kernel.lanes + 2, groups = 4 * kernel.lanes;
  // Rows without a gap whose elements run backwards.
  run_case(kernel, type, {{groups, n}, {1, 0}, 0, 0}, {{groups, n}, {1, 0}, 0, 2}, 0, false);
  run_case(kernel, type, {{rows, n}, {1, 0}, 0, 0}, {{rows, n}, {0, 1}, 0, 0}, 0, false);
  run_case(kernel, type, {{rows, n}, {0, 1}, 0, 0}, {{rows, n}, {1, 0}, 0, 0}, 1, false);
  run_case(kernel, type, {{2, rows, n}, {0, 2, 1}, 0, 4}, {{2, rows, n}, {0, 1, 2}, 0, 3}, 0,
           false);
  run_case(kernel, type, {{2, rows, n}, {0, 2, 1}, 8, 4}, {{2, rows, n}, {2, 1, 0}, 0, 4}, 5,
           false);
  run_case(kernel, type, {{2, rows, n}, {0, 2, 1}, 0, 4}, {{2, rows, n}, {0, 2, 1}, 0, 4}, 0, true);
}

// ---- with indices -------------------------------------------------------------------------------

// Few different keys, so that many are equal; zeros and NaNs of both signs are among them.
void fill_with_few(array& x, const dtype_info& info) {
  const uint64_t sign = uint64_t{1} << (info.bits - 1);
  const uint64_t few[] = {0, info.codec == codec_kind::integer ? 1 : sign, random_key(info),
                          random_key(info)};
  for (int64_t r = 0; r < x.rows(); ++r) {
    for (int i = 0; i < x.length(); ++i) {
      uint64_t key = few[next_random() % 4];
      if (info.codec == codec_kind::ieee && next_random() % 4 == 0) {
        key = info.last + 1 + next_random() % 2;  // a NaN, where the mantissa has two bits
        if (next_random() % 2 != 0) key |= sign;
      }
      if (info.id == dtype::bool_) key &= 1;
      std::memcpy(x.at(r, i), &key, info.bits / 8);
    }
  }
}

// The same rows with another number of elements.
shape with_length(shape s, int length) {
  s.sizes.back() = length;
  return s;
}

void run_index_case(const wbs_cpu_kernel& kernel, dtype type, const shape& x_shape,
                    const shape& of_values, const shape& of_indices, int offset) {
  // A kernel for the first elements has any number of them, in arrays of their own.
  const int length = static_cast<int>(x_shape.sizes.back());
  const bool keeps_all = kernel.cell.selection == static_cast<unsigned>(selection::all);
  const int most = next_random() % 2 != 0 && length > 15 ? 15 : length;
  const int kept = keeps_all ? length : 1 + static_cast<int>(next_random() % most);
  const shape values_shape = with_length(of_values, kept);
  const shape indices_shape = with_length(of_indices, kept);
  const dtype_info& info = dtypes[static_cast<int>(type)];
  const int order = static_cast<int>(next_random() % 3), key_bytes = info.bits / 8;
  const bool descending = order > 0, nan_last = order == 2;
  const int index_bytes = next_random() % 2 != 0 ? 4 : 8;
  // The place of the values: none, the input, or an array of their own.
  const int values_case = static_cast<int>(next_random() % 3) & (keeps_all ? 3 : 2);
  array x(x_shape, key_bytes, offset);
  array own_values(values_shape, key_bytes, (offset * 5) % 8);
  array indices(indices_shape, index_bytes, (offset * 3) % 8);
  array& values = values_case == 1 ? x : own_values;
  if (next_random() % 2 != 0) {
    x.fill(info);
  } else {
    fill_with_few(x, info);
  }
  std::vector<std::vector<uint64_t>> rows, expected;
  for (int64_t r = 0; r < x.rows(); ++r) {
    rows.push_back(x.row(r));
    expected.push_back(index_oracle(type, rows.back(), descending, nan_last));
    expected.back().resize(kept);
  }
  const auto before = x.contents();

  wbs_args<1, 2> args{};
  args.input[0] = x.base();
  // The runtime passes strides of 0 for an absent output.
  const bool has_values = values_case != 0;
  args.output[0] = has_values ? values.base() : nullptr;
  args.output[1] = indices.base();
  args.length = length;
  args.kept = kept;
  args.index_bytes = index_bytes;
  args.rows = x.rows();
  args.batch_dims = static_cast<int>(x_shape.sizes.size()) - 1;
  for (int i = 0; i < args.batch_dims; ++i) {
    args.batch_shape[i] = x_shape.sizes[i];
    args.input_batch_stride[0][i] = x.stride(i);
    args.output_batch_stride[0][i] = has_values ? values.stride(i) : 0;
    args.output_batch_stride[1][i] = indices.stride(i);
  }
  args.input_stride[0] = x.stride(args.batch_dims);
  args.output_stride[0] = has_values ? values.stride(args.batch_dims) : 0;
  args.output_stride[1] = indices.stride(args.batch_dims);
  const order_constants constants = order_constants_of(type, descending, nan_last);
  args.key_xor = constants.key_xor;
  args.key_add = constants.key_add;
  void* scratch = nullptr;
  if (posix_memalign(&scratch, 64, kernel.scratch_bytes(args.length)) != 0) std::abort();
  if (values_case != 1) x.poison_gaps();
  const int64_t cut = static_cast<int64_t>(next_random() % (x.rows() + 1));
  kernel.run(&args, 0, cut, scratch);
  kernel.run(&args, cut, x.rows(), scratch);
  std::free(scratch);
  ++runs;

  std::string wrong;
  for (int64_t r = 0; r < x.rows(); ++r) {
    if (indices.row(r) != expected[r]) wrong = "the indices of row " + std::to_string(r);
    if (!has_values) continue;
    std::vector<uint64_t> sorted;
    for (const uint64_t index : expected[r]) sorted.push_back(rows[r][index]);
    if (values.row(r) != sorted) wrong = "the values of row " + std::to_string(r);
  }
  if (values_case != 1 && x.contents() != before) wrong = "the input was written";
  if (!values.gaps_are_untouched() || !indices.gaps_are_untouched()) {
    wrong = "bytes outside the rows were written";
  }
  if (!wrong.empty()) {
    std::printf("FAILED: %s %s length %d rows %ld offset %d values %d order %d: %s\n",
                kernel.cell.name, info.name, x.length(), static_cast<long>(x.rows()), offset,
                values_case, order, wrong.c_str());
    ++failures;
  }
}

// The input as a kernel's access needs it, the outputs at any strides.
void run_indices(const wbs_cpu_kernel& kernel, dtype type, access of_input, int n) {
  const int lanes = kernel.lanes;
  for (int rows : {1, lanes, 2 * lanes + 3}) {
    const shape dense = {{rows, n}, {1, 0}, 0, 0}, gaps = {{rows, n}, {1, 0}, 24, 0};
    const shape columns = {{rows, n}, {0, 1}, 0, 0}, backwards = {{rows, n}, {1, 0}, 0, 3};
    const shape& input = of_input == access::columns ? columns : dense;
    run_index_case(kernel, type, input, input, dense, 0);
    run_index_case(kernel, type, input, gaps, columns, 3);
    run_index_case(kernel, type, input, columns, backwards, 1);
    if (of_input == access::rows) run_index_case(kernel, type, gaps, dense, gaps, 5);
    if (of_input == access::strided) run_index_case(kernel, type, backwards, dense, gaps, 5);
  }
  // Batches without one common stride.
  const shape nested = {{3, 5, n}, {2, 0, 1}, 16, 1};
  if (of_input != access::columns) run_index_case(kernel, type, nested, nested, nested, 7);
}

template <selection Selection, codec_kind Codec, int KeyBits, int Length, access Access>
void run_index(dtype type) {
  if (dtypes[static_cast<int>(type)].codec != Codec) std::abort();
  using type_of = cpu_kernel<Selection, payload::index, Codec, KeyBits, Access, Length>;
  static const wbs_cpu_kernel kernel = describe_kernel<type_of>("index");
  if (Length != 0) return run_indices(kernel, type, Access, Length);
  for (int n : {1, 2, 3, 15, 16, 17, 31, 33, 48, 64, 65, 100, 300}) {
    run_indices(kernel, type, Access, n);
  }
  // Long rows, whose first elements are found one row at a time.
  if (Selection == selection::first) {
    const shape dense = {{3, 5001}, {1, 0}, 0, 0}, gaps = {{2, 5001}, {1, 0}, 24, 3};
    run_index_case(kernel, type, dense, dense, dense, 3);
    run_index_case(kernel, type, gaps, gaps, gaps, 5);
  }
}

template <codec_kind Codec, int KeyBits, int Length, access Access>
void run_registers(dtype type) {
  if (dtypes[static_cast<int>(type)].codec != Codec) std::abort();
  static const wbs_cpu_kernel kernel =
      describe_kernel<cpu_kernel<selection::all, payload::none, Codec, KeyBits, Access, Length>>(
          "registers");
  if (Access == access::rows) {
    run_rows(kernel, type, Length);
  } else {
    run_columns(kernel, type, Length);
  }
}

template <codec_kind Codec, int KeyBits>
void run_tile(dtype type) {
  if (dtypes[static_cast<int>(type)].codec != Codec) std::abort();
  using type_of = cpu_kernel<selection::all, payload::none, Codec, KeyBits, access::strided, 0>;
  static const wbs_cpu_kernel tile = describe_kernel<type_of>("tile");
  for (int n : {1, 3, 15, 16, 17, 32, 33, 47, 64, 65, 100, 300}) {
    run_rows(tile, type, n);
    run_columns(tile, type, n);
    run_mixed(tile, type, n);
  }
  // Rows that all lanes sort, whatever the width of a vector: with lanes and slots behind the end,
  // and a whole number of pages apart.
  for (int n : {1100, 2100, 4096}) {
    const int more = tile.lanes + 1, rows = n % 4096 == 0 ? more : 3;
    const shape contiguous = {{rows, n}, {1, 0}, 0, 0}, gaps = {{more, n}, {1, 0}, 24, 0};
    run_case(tile, type, contiguous, contiguous, 3, true);
    run_case(tile, type, contiguous, contiguous, 5, false);
    run_case(tile, type, gaps, gaps, 0, false);
  }
}

}  // namespace

#define REGISTERS(type, Codec, bits, length, Access) \
  run_registers<codec_kind::Codec, bits, length, access::Access>(dtype::type);
#define TILE(type, Codec, bits) run_tile<codec_kind::Codec, bits>(dtype::type);

#define INDEX(type, Selection, Codec, bits, length, Access) \
  run_index<selection::Selection, codec_kind::Codec, bits, length, access::Access>(dtype::type);

int main() {
  CASES
  std::printf("%ld runs, %d failures\n", runs, failures);
  return failures ? 1 : 0;
}
