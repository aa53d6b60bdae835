// Runs the GPU kernels' real templates on the host, against an oracle that shares nothing with
// them.
//
// A thread of a block is a fiber, which runs until its next barrier. The next fiber is drawn at
// random, so that a warp may run far ahead of another. Barriers are strict: all lanes of a warp, or
// all threads of a block, must meet at the same one.
//
// Invariant: a byte outside the rows, or outside a block's shared memory, is either behind a page
// that faults or filled and checked. The source may not be written. An unaligned vector access
// traps. Every error therefore ends in a message that names the layout and the case.
//
// The simulation has two limits. Stores are visible at once, so that a missing barrier stays hidden
// if a shuffle happens to stand in for it. The inline PTX of target/cuda/target.hpp runs only on a
// device.
//
// A test that cannot fail proves nothing: the cases also run once for each barrier without it,
// until one fails, and test_gpu_kernels.py knows the few barriers that may pass. One row or one
// element too many must fail.
//
// Built with -DKEY_BITS=n as several programs, which compile in parallel.
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include <warp_bitonic_sort/core/config.hpp>

#include "oracle.hpp"

// Unrolled code takes minutes to compile, and gains nothing here.
#undef WBS_INLINE
#define WBS_INLINE inline
#undef WBS_UNROLL
#define WBS_UNROLL

#include <warp_bitonic_sort/kernel/gpu.hpp>

namespace {

// ---- barriers -----------------------------------------------------------------------------------

// A barrier in the kernels' source.
struct site {
  const char* file;
  int line;
  bool of_block;
  bool of_copies = false;

  bool operator==(const site& other) const {
    return line == other.line && of_block == other.of_block && std::strcmp(file, other.file) == 0;
  }
};
std::vector<site> sites;
// Numbers in `sites`: the barriers that were reached, and the one that is left out.
std::vector<bool> reached;
int dropped = -1;

int number_of(const site& s) {
  for (size_t i = 0; i < sites.size(); ++i) {
    if (sites[i] == s) return static_cast<int>(i);
  }
  sites.push_back(s);
  reached.push_back(false);
  return static_cast<int>(sites.size()) - 1;
}

std::string name_of(const site& s) {
  const char* slash = std::strrchr(s.file, '/');
  return std::string(slash ? slash + 1 : s.file) + " " + std::to_string(s.line) + " " +
         (s.of_copies  ? "sync_copies"
          : s.of_block ? "sync_block"
                       : "sync_warp");
}

// ---- fibers -------------------------------------------------------------------------------------

constexpr int warp_lanes = 32, max_threads = 1024;
constexpr size_t stack_bytes = 1 << 18;
enum : int { ready = -1, done = -2, shuffling = -3 };

struct copy_of {
  void* to;
  const void* from;
  int bytes;
};
struct fiber {
  // The place where it waits: the number of a barrier, or one of the above.
  int state;
  bool started;
  jmp_buf resume;
  ucontext_t start;
  // Its values for shuffles, in two alternating slots, so that one barrier is enough for each.
  uint64_t given[2];
  int shuffles;
  // Its pending copies.
  std::vector<copy_of> copies;
};
fiber fibers[max_threads];
char* stacks;
jmp_buf scheduler;
void (*body)();
// Volatile, because another fiber changes it.
volatile int current;
long long current_block, current_blocks;

void pause(int state) {
  fibers[current].state = state;
  if (!_setjmp(fibers[current].resume)) _longjmp(scheduler, 1);
}
void enter() {
  body();
  fibers[current].state = done;
  _longjmp(scheduler, 1);
}
void resume(int thread) {
  current = thread;
  if (_setjmp(scheduler)) return;
  // A context starts a fiber; jumps resume it, because they make no system call.
  if (fibers[thread].started) _longjmp(fibers[thread].resume, 1);
  fibers[thread].started = true;
  setcontext(&fibers[thread].start);
}

// Whether all of some threads wait at the same place.
bool have_met(int first, int count) {
  for (int i = 1; i < count; ++i) {
    if (fibers[first + i].state != fibers[first].state) return false;
  }
  return true;
}

// Runs the threads of a block; describes what is wrong with their barriers.
std::string run_block(int threads) {
  for (int i = 0; i < threads; ++i) {
    fiber& f = fibers[i];
    f.state = ready;
    f.started = false;
    f.shuffles = 0;
    f.copies.clear();
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = stacks + i * stack_bytes;
    f.start.uc_stack.ss_size = stack_bytes;
    f.start.uc_link = nullptr;
    makecontext(&f.start, enter, 0);
  }
  const int warps = threads / warp_lanes;
  const bool stays = next_random() % 4 != 0;
  int warp = -1;
  for (;;) {
    std::vector<int> able;
    bool same_again = false;
    for (int w = 0; w < warps; ++w) {
      if (fibers[w * warp_lanes].state != ready) continue;
      able.push_back(w);
      same_again |= w == warp;
    }
    if (able.empty()) {
      if (!have_met(0, threads)) return "threads of a block wait at different barriers";
      if (fibers[0].state == done) return "";
      for (int i = 0; i < threads; ++i) fibers[i].state = ready;
      continue;
    }
    if (!stays || !same_again) warp = able[next_random() % able.size()];
    const int start = static_cast<int>(next_random() % warp_lanes);
    const int step = static_cast<int>(next_random() % warp_lanes) | 1;
    const int first = warp * warp_lanes;
    for (int i = 0; i < warp_lanes; ++i) resume(first + (start + i * step) % warp_lanes);
    if (!have_met(first, warp_lanes)) return "lanes of a warp wait at different barriers";
    const int state = fibers[first].state;
    if (state == shuffling || (state >= 0 && !sites[state].of_block)) {
      for (int i = 0; i < warp_lanes; ++i) fibers[first + i].state = ready;
    }
  }
}

// ---- the target ---------------------------------------------------------------------------------

int16_t half_of(key16x2 k, int shift) { return static_cast<int16_t>(k.both >> shift); }
key16x2 halves_of(int16_t low, int16_t high) {
  return {static_cast<uint16_t>(low) | static_cast<unsigned>(static_cast<uint16_t>(high)) << 16};
}
template <class Key>
Key minimum(Key a, Key b) {
  return a < b ? a : b;
}
template <class Key>
Key maximum(Key a, Key b) {
  return a < b ? b : a;
}
[[maybe_unused]] key16x2 minimum(key16x2 a, key16x2 b) {
  return halves_of(std::min(half_of(a, 0), half_of(b, 0)),
                   std::min(half_of(a, 16), half_of(b, 16)));
}
[[maybe_unused]] key16x2 maximum(key16x2 a, key16x2 b) {
  return halves_of(std::max(half_of(a, 0), half_of(b, 0)),
                   std::max(half_of(a, 16), half_of(b, 16)));
}

float float_of(uint64_t raw) {
  const unsigned low = static_cast<unsigned>(raw);
  float k;
  std::memcpy(&k, &low, sizeof(k));
  return k;
}

// Like target/cuda/target.hpp's cuda_target.
template <class Key>
struct software_target {
  static constexpr int blocks_for(int, int) { return 0; }
  using entry = Key;
  static constexpr int lane_bits = 5;
  static constexpr int max_shared_bytes = 227 * 1024;
  static constexpr int min_transposed_steps = 2;
  // Like target/amdgcn/target.hpp's amdgcn_target before gfx11.
  static constexpr bool negates = std::is_same<Key, float>::value, has_float_keys = true;
  template <int Mask>
  static constexpr bool has_lane_swap = false;
  static constexpr bool has_copies = !negates, has_block_per_tile = !negates;
  int opaque_one;

  static int lane() { return current % warp_lanes; }
  static int warp() { return current / warp_lanes; }
  static long long block() { return current_block; }
  static long long blocks() { return current_blocks; }
  template <class T>
  static T load_global(const char* address) {
    return *reinterpret_cast<const T*>(address);
  }
  template <class T>
  static void store_global(char* address, T value) {
    *reinterpret_cast<T*>(address) = value;
  }
  static void sync_warp(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    sync({file, line, false});
  }
  static void sync_block(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    sync({file, line, true});
  }
  // A copy is made as late as possible.
  template <int Bytes>
  static void copy(void* shared, const void* memory) {
    fibers[current].copies.push_back({shared, memory, Bytes});
  }
  static void sync_copies(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    const int number = number_of({file, line, false, true});
    reached[number] = true;
    if (number == dropped) return;
    for (const copy_of& c : fibers[current].copies) {
      // Like the device, it takes only addresses that are aligned to the access.
      if ((reinterpret_cast<uintptr_t>(c.to) | reinterpret_cast<uintptr_t>(c.from)) % c.bytes !=
          0) {
        __builtin_trap();
      }
      std::memcpy(c.to, c.from, static_cast<size_t>(c.bytes));
    }
    fibers[current].copies.clear();
  }

  void compare_exchange(Key& a, Key& b) const {
    const Key x = a, y = b;
    a = minimum(x, y);
    b = maximum(x, y);
  }
  void compare_exchange_imad(Key& a, Key& b) const { compare_exchange(a, b); }
  template <int Mask>
  Key exchange_select(Key mine, Key from) const {
    const Key other = shuffle_xor(from, Mask);
    if constexpr (negates) return minimum(mine, -other);
    return (lane() >> floor_log2(Mask) & 1) == 0 ? minimum(mine, other) : maximum(mine, other);
  }
  template <int Mask>
  void exchange_select_pair(Key& a, Key& b) const {
    const Key first = a, second = b;
    a = exchange_select<Mask>(first, second);
    b = exchange_select<Mask>(second, first);
  }
  template <int From, int To, int Registers>
  void move_signs(Key (&keys)[Registers]) const {
    const int bits = (From < 0 ? 0 : lane() >> From) ^ (To < 0 ? 0 : lane() >> To);
    for (Key& k : keys) k = bits & 1 ? -k : k;
  }
  static bool is_special(unsigned bits, unsigned negative_zero) {
    const float k = float_of(bits);
    return k != k || bits == negative_zero;
  }
  template <int Registers>
  static bool any_special(const Key (&keys)[Registers], unsigned negative_zero) {
    bool any = false;
    for (const Key& k : keys) {
      unsigned bits;
      std::memcpy(&bits, &k, sizeof(bits));
      any |= is_special(bits, negative_zero);
    }
    return any;
  }
  static bool any_in_warp(bool of_lane) {
    unsigned any = of_lane;
    for (int mask = 1; mask < warp_lanes; mask *= 2) {
      any |= software_target<unsigned>::shuffle_xor(any, mask);
    }
    return any != 0;
  }
  template <class Arguments>
  static const Arguments& reload_args(const Arguments& args) {
    return args;
  }
  static Key shuffle_xor(Key value, int mask) {
    const int me = current, slot = fibers[me].shuffles++ % 2;
    std::memcpy(&fibers[me].given[slot], &value, sizeof(Key));
    pause(shuffling);
    Key result;
    std::memcpy(&result, &fibers[me ^ mask].given[slot], sizeof(Key));
    return result;
  }

 private:
  static void sync(const site& s) {
    const int number = number_of(s);
    reached[number] = true;
    if (number != dropped) pause(number);
  }
};

// ---- memory -------------------------------------------------------------------------------------

// Pages between two pages that fault.
class pages {
 public:
  static constexpr size_t bytes = 1 << 20, guard = 1 << 16;
  pages() {
    base_ = static_cast<unsigned char*>(
        mmap(nullptr, bytes + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) std::abort();
    base_ += guard;
    set_writable(true);
  }
  void set_writable(bool writable) {
    if (mprotect(base_, bytes, PROT_READ | (writable ? PROT_WRITE : 0)) != 0) std::abort();
  }
  unsigned char* begin() const { return base_; }
  unsigned char* end() const { return base_ + bytes; }

 private:
  unsigned char* base_;
};

// The axes of an array, those of the batch and then the sorted one, as in sanitize_kernels.cc, all
// in elements. `order` names them from the innermost in memory outwards; padding follows each row
// of an axis; `reversed` axes run backwards. `step` is the stride of the innermost axis.
struct shape {
  const char* name;
  std::vector<int> order;
  int step, padding;
  unsigned reversed;
  // All rows are the same memory.
  bool repeated = false;
};

class array {
 public:
  // Ends at the last page, or begins `offset` elements behind the first.
  array(pages& memory, const shape& s, const std::vector<int>& sizes, int key_bytes, int offset,
        bool at_end)
      : key_bytes_(key_bytes), sizes_(sizes), strides_(sizes.size()) {
    int64_t extent = s.step, last = 0, first = 0;
    for (int axis : s.order) {
      const int64_t stride = extent;
      extent = stride * sizes[axis] + s.padding;
      last += stride * (sizes[axis] - 1);
      const bool reversed = s.reversed >> axis & 1;
      if (reversed) first += stride * (sizes[axis] - 1);
      strides_[axis] = (reversed ? -stride : stride) * key_bytes;
    }
    if (s.repeated) {
      last = sizes.back() - 1;
      std::fill(strides_.begin(), strides_.end() - 1, 0);
    }
    if (at_end) offset = 0;
    const int64_t bytes = (last + 1 + offset) * key_bytes;
    if (bytes + edge > static_cast<int64_t>(pages::bytes)) std::abort();
    // The bytes beyond the side without a guard page are filled.
    memory_ = at_end ? memory.end() - bytes - edge : memory.begin();
    bytes_ = bytes + edge;
    std::memset(memory_, fill, bytes_);
    base_ = memory_ + (at_end ? edge : offset * key_bytes) + first * key_bytes;
    used_.assign(bytes_, false);
    for (int64_t r = 0; r < rows(); ++r) {
      for (int i = 0; i < length(); ++i) {
        for (int b = 0; b < key_bytes; ++b) used_[at(r, i) - memory_ + b] = true;
      }
    }
  }

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
  bool gaps_are_untouched() const {
    for (int64_t i = 0; i < bytes_; ++i) {
      if (!used_[i] && memory_[i] != fill) return false;
    }
    return true;
  }

 private:
  static constexpr int edge = 256;
  static constexpr unsigned char fill = 0xA5;
  int key_bytes_;
  std::vector<int> sizes_;
  std::vector<int64_t> strides_;
  int64_t bytes_;
  unsigned char* memory_;
  unsigned char* base_;
  std::vector<bool> used_;
};

// ---- one case -----------------------------------------------------------------------------------

long runs = 0;
// The running case, for the handler of faults.
char now[512];

void report_fault(int signal) {
  char text[640];
  const int size =
      std::snprintf(text, sizeof(text), "FAILED: %s: %s\n", now,
                    signal == SIGSEGV || signal == SIGBUS ? "memory outside the rows was touched"
                                                          : "a vector is not aligned");
  if (write(STDOUT_FILENO, text, size) != size) _exit(3);
  _exit(2);
}

wbs_args<1, 1> sort_args;
void* shared_memory;

struct memories {
  pages src, dst, shared;
};
memories* memory;

// Wrong descriptions, which the control runs must detect.
int rows_too_many = 0, elements_too_many = 0;

struct test_case {
  shape src, dst;
  std::vector<int> sizes;
  int offset;
  bool at_end, in_place;
};

template <class Rows>
std::string run_case(dtype type, const test_case& c) {
  constexpr int key_bytes = Rows::key_bytes;
  const dtype_info& info = dtypes[static_cast<int>(type)];
  const int order = static_cast<int>(next_random() % 3);
  const bool descending = order > 0, nan_last = order == 2;
  array src(memory->src, c.src, c.sizes, key_bytes, c.offset, c.at_end);
  array other(memory->dst, c.dst, c.sizes, key_bytes, c.in_place ? 0 : c.offset * 5 % 16,
              !c.at_end);
  array& dst = c.in_place ? src : other;
  std::vector<std::vector<uint64_t>> expected;
  // Rows without NaN and -0.0 take another path; some cases have mostly such rows.
  const bool mostly_float_keys = type == dtype::float32 && next_random() % 2 == 0;
  for (int64_t r = 0; r < src.rows(); ++r) {
    const bool float_keys = mostly_float_keys && next_random() % 64 != 0;
    for (int i = 0; i < src.length(); ++i) {
      uint64_t key = random_key(info);
      while (float_keys &&
             software_target<float>::is_special(static_cast<unsigned>(key), 0x80000000u)) {
        key = random_key(info);
      }
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
  sort_args = args;
  std::snprintf(now + std::strlen(now), sizeof(now) - std::strlen(now), " %s order %d", info.name,
                order);

  // Up to three blocks share the tiles, or each tile has its own. Shared memory belongs to one
  // block, and holds rubbish at first.
  constexpr int padded_shared = (Rows::shared_bytes + 15) / 16 * 16;
  shared_memory = memory->shared.end() - padded_shared;
  body = [] { sort_tiles<Rows, software_target<int>>(sort_args, shared_memory); };
  if (!c.in_place) memory->src.set_writable(false);
  const bool takes_turns = !software_target<int>::has_block_per_tile || Rows::row_lanes > 4;
  current_blocks = takes_turns ? static_cast<long long>(1 + next_random() % 3)
                               : (args.rows + Rows::block_rows - 1) / Rows::block_rows;
  std::string wrong;
  for (current_block = 0; current_block < current_blocks && wrong.empty(); ++current_block) {
    const unsigned char rubbish = static_cast<unsigned char>(next_random());
    unsigned char* const from = memory->shared.end() - padded_shared;
    std::memset(from - 256, rubbish, padded_shared + 256);
    wrong = run_block(Rows::threads);
    for (int i = -256; i < padded_shared; ++i) {
      if (i == 0) i = Rows::shared_bytes;
      if (i < padded_shared && from[i] != rubbish) wrong = "not its own shared memory was written";
    }
  }
  if (!c.in_place) memory->src.set_writable(true);
  ++runs;
  if (!wrong.empty()) return wrong;
  for (int64_t r = 0; r < src.rows(); ++r) {
    auto got = dst.row(r);
    order_nans(type, got);
    if (got != expected[r]) return "row " + std::to_string(r) + " is not the oracle's";
  }
  if (!dst.gaps_are_untouched()) return "bytes outside the rows were written";
  return "";
}

// ---- all cases of a layout ----------------------------------------------------------------------

const shape contiguous = {"contiguous", {1, 0}, 1, 0, 0};
const shape gaps = {"with gaps", {1, 0}, 1, 3, 0};
// Gaps that leave rows aligned.
const shape wide_gaps = {"with wide gaps", {1, 0}, 1, 16, 0};
const shape strided = {"strided", {1, 0}, 2, 1, 0};
const shape backwards = {"backwards", {1, 0}, 1, 0, 3};
const shape columns = {"columns", {0, 1}, 1, 0, 0};
const shape apart_columns = {"columns apart", {0, 1}, 1, 3, 0};
const shape backward_columns = {"columns backwards", {0, 1}, 1, 0, 1};
const shape repeated = {"a repeated row", {1, 0}, 1, 0, 0, true};
// Batches without one common stride.
const shape two_dims = {"of two dimensions", {2, 1, 0}, 1, 5, 0};
const shape wide_two_dims = {"of two dimensions, aligned", {2, 1, 0}, 1, 16, 0};
// Rows that are contiguous in memory have distant numbers.
const shape transposed_two_dims = {"of two dimensions, transposed", {2, 0, 1}, 1, 0, 0};
const shape columns_two_dims = {"columns of two dimensions", {1, 2, 0}, 1, 0, 0};

// Returns the first failure's text, or an empty one.
template <class Rows>
std::string run_layout(const char* name, dtype type, bool of_columns) {
  constexpr int capacity = Rows::capacity, block = Rows::block_rows;
  constexpr int aligned = 16 / Rows::key_bytes;
  std::string wrong;
  const auto run = [&](const shape& src, const shape& dst, std::vector<int> sizes, int offset,
                       bool in_place) {
    const int length = sizes.back();
    if (length < 1 || length > capacity) return;
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
      const std::string what = run_case<Rows>(type, {src, dst, sizes, offset, at_end, in_place});
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
  if (of_columns) {
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

struct sample {
  const char* name;
  std::string (*run)(const char*, dtype, bool);
  dtype type;
  bool of_columns;
};
#define ROWS(type, Codec, registers, lane_bits, warp_bits)                                \
  sample {                                                                                \
    #type " rows (" #registers ", " #lane_bits ", " #warp_bits ")",                       \
        run_layout<gpu_rows<software_target, register_codec<codec_kind::Codec, KEY_BITS>, \
                            registers, lane_bits, warp_bits>>,                            \
        dtype::type, false                                                                \
  }
#define COLUMNS(type, Codec, registers, lane_bits)                                           \
  sample {                                                                                   \
    #type " columns (" #registers ", " #lane_bits ")",                                       \
        run_layout<gpu_columns<software_target, register_codec<codec_kind::Codec, KEY_BITS>, \
                               registers, lane_bits, 0>>,                                    \
        dtype::type, true                                                                    \
  }

// For each codec: a thread a row, a few lanes, a warp, two warps, and columns by threads and by
// lanes. The numbers of registers are powers of two and three times one.
const sample layouts[] = {
#if KEY_BITS == 8
    ROWS(int8, integer, 8, 0, 0),          ROWS(uint8, integer, 16, 2, 0),
    ROWS(int8, integer, 24, 5, 0),         ROWS(uint8, integer, 32, 5, 1),
    COLUMNS(int8, integer, 8, 0),          COLUMNS(uint8, integer, 16, 3),
    ROWS(float8_e4m3fn, ieee, 16, 0, 0),   ROWS(float8_e5m2, ieee, 24, 3, 0),
    ROWS(float8_e4m3fn, ieee, 32, 5, 0),   ROWS(float8_e5m2, ieee, 24, 5, 1),
    COLUMNS(float8_e4m3fn, ieee, 16, 0),   COLUMNS(float8_e5m2, ieee, 16, 4),
    ROWS(float8_e4m3fnuz, fnuz, 4, 0, 0),  ROWS(float8_e5m2fnuz, fnuz, 8, 1, 0),
    ROWS(float8_e4m3fnuz, fnuz, 24, 5, 0), ROWS(float8_e5m2fnuz, fnuz, 24, 5, 1),
    COLUMNS(float8_e4m3fnuz, fnuz, 8, 0),  COLUMNS(float8_e5m2fnuz, fnuz, 8, 3),
#elif KEY_BITS == 16
    ROWS(int16, integer, 8, 0, 0),  ROWS(uint16, integer, 24, 3, 0),
    ROWS(int16, integer, 24, 5, 0), ROWS(uint16, integer, 24, 5, 1),
    COLUMNS(int16, integer, 8, 0),  COLUMNS(uint16, integer, 8, 3),
    ROWS(float16, ieee, 16, 0, 0),  ROWS(bfloat16, ieee, 16, 2, 0),
    ROWS(float16, ieee, 32, 5, 0),  ROWS(bfloat16, ieee, 32, 5, 1),
    COLUMNS(float16, ieee, 16, 0),  COLUMNS(bfloat16, ieee, 16, 4),
#elif KEY_BITS == 32
    ROWS(int32, integer, 8, 0, 0),   ROWS(uint32, integer, 24, 3, 0),
    ROWS(int32, integer, 24, 5, 0),  ROWS(uint32, integer, 24, 5, 1),
    COLUMNS(int32, integer, 8, 0),   COLUMNS(uint32, integer, 16, 2),
    ROWS(uint32, integer, 24, 5, 3), ROWS(float32, ieee, 24, 0, 0),
    ROWS(float32, ieee, 8, 2, 0),    ROWS(float32, ieee, 32, 5, 0),
    ROWS(float32, ieee, 32, 5, 1),   COLUMNS(float32, ieee, 16, 0),
    COLUMNS(float32, ieee, 16, 3),
#elif KEY_BITS == 64
    ROWS(int64, integer, 4, 0, 0),  ROWS(uint64, integer, 12, 3, 0),
    ROWS(int64, integer, 12, 5, 0), ROWS(uint64, integer, 12, 5, 1),
    COLUMNS(int64, integer, 8, 0),  COLUMNS(uint64, integer, 8, 3),
    ROWS(float64, ieee, 8, 0, 0),   ROWS(float64, ieee, 8, 2, 0),
    ROWS(float64, ieee, 16, 5, 0),  ROWS(float64, ieee, 12, 5, 2),
    COLUMNS(float64, ieee, 4, 0),   COLUMNS(float64, ieee, 16, 4),
#endif
};

std::string run(const sample& l) { return l.run(l.name, l.type, l.of_columns); }

// ---- controls -----------------------------------------------------------------------------------

// Whether any layout fails, by a message or by a fault. Layouts to which the fault does not apply
// are left out.
template <class Fault, class Choice>
bool fails(Fault set, Choice is_for) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    if (freopen("/dev/null", "w", stdout) == nullptr) _exit(3);
    set();
    for (const sample& l : layouts) {
      if (is_for(&l - layouts) && !run(l).empty()) _exit(2);
    }
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) std::abort();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return false;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) return true;
  std::printf("FAILED: a control ended with status %d\n", status);
  std::exit(1);
}

}  // namespace

int main() {
  struct sigaction action = {};
  action.sa_handler = report_fault;
  action.sa_flags = SA_ONSTACK;
  static char stack_of_handler[1 << 16];
  stack_t stack = {};
  stack.ss_sp = stack_of_handler;
  stack.ss_size = sizeof(stack_of_handler);
  sigaltstack(&stack, nullptr);
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGTRAP}) sigaction(signal, &action, nullptr);
  stacks = static_cast<char*>(mmap(nullptr, max_threads * stack_bytes, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (stacks == MAP_FAILED) std::abort();
  memory = new memories;

  int failures = 0;
  std::vector<std::vector<bool>> reached_by;
  for (const sample& l : layouts) {
    reached.assign(sites.size(), false);
    const std::string wrong = run(l);
    reached_by.push_back(reached);
    if (wrong.empty()) continue;
    std::printf("FAILED: %s\n", wrong.c_str());
    ++failures;
  }
  std::printf("%ld runs, %d failures\n", runs, failures);
  if (failures != 0) return 1;

  const auto all = [](size_t) { return true; };
  if (!fails([] { rows_too_many = 1; }, all)) {
    std::printf("FAILED: a row too many goes unseen\n");
    ++failures;
  }
  if (!fails([] { elements_too_many = 1; }, all)) {
    std::printf("FAILED: an element too many goes unseen\n");
    ++failures;
  }
  for (size_t i = 0; i < sites.size(); ++i) {
    const bool needed =
        fails([i] { dropped = static_cast<int>(i); },
              [&](size_t l) { return i < reached_by[l].size() && reached_by[l][i]; });
    std::printf("%s: %s\n", needed ? "needed" : "spare", name_of(sites[i]).c_str());
  }
  return failures ? 1 : 0;
}
