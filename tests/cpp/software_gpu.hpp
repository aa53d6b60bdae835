// Runs GPU kernels' real templates on the host, for the tests that compare them with an oracle.
//
// A thread of a block is a fiber, which runs until its next barrier. The next fiber is drawn at
// random, so that a warp may run far ahead of another. Barriers are strict: all lanes of a warp,
// all threads of a block, or all blocks of a cluster must meet at the same one. Compiled with
// -fsanitize-coverage=trace-pc, a thread may also pause at any branch, so that what the lanes of a
// warp do overlaps.
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
#ifndef WARP_BITONIC_SORT_TESTS_SOFTWARE_GPU_HPP_
#define WARP_BITONIC_SORT_TESTS_SOFTWARE_GPU_HPP_

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>
#include <warp_bitonic_sort/core/config.hpp>

#include "oracle.hpp"

namespace {

// The place of a call in the kernels' source. A function of a kernel that hides a barrier gets the
// place of its caller: as a parameter this declares one without a use, in a call it makes a value.
struct place {
  const char* file;
  int line;
  const char* function;
};
place caller = {};
enum class anywhere { here };
constexpr anywhere here = anywhere::here;
struct call_site {
  call_site(anywhere, const char* file = __builtin_FILE(), int line = __builtin_LINE(),
            const char* function = __builtin_FUNCTION());
};

}  // namespace

// Unrolled code takes minutes to compile, and gains nothing here. A loop that runs once gets no
// annotation.
#undef WBS_INLINE
#define WBS_INLINE inline
#undef WBS_UNROLL
#define WBS_UNROLL
#undef WBS_ROLLED
#define WBS_ROLLED

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define sync() sync(call_site(here))
#include <warp_bitonic_sort/kernel/gpu.hpp>
#undef sync
#pragma GCC diagnostic pop

namespace {

// ---- barriers -----------------------------------------------------------------------------------

// A barrier in the kernels' source.
enum class barrier { of_warp, of_block, of_cluster, of_copies };
const char* const barrier_names[] = {"sync_warp", "sync_block", "sync_cluster", "sync_copies"};
struct site {
  const char* file;
  int line;
  barrier kind;

  bool operator==(const site& other) const {
    return line == other.line && kind == other.kind && std::strcmp(file, other.file) == 0;
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
         barrier_names[static_cast<int>(s.kind)];
}

// ---- calls --------------------------------------------------------------------------------------

// How often the first thread of each team, so many threads, called something in a function of a
// kernel: a barrier that another function hides, or one of the target's functions that count.
int team_threads = 1;
std::map<std::string, long> calls;

void count_call(const char* function);

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
  // Whether it runs a kernel's code, and may pause at branches.
  bool yields;
  // Its pending copies.
  std::vector<copy_of> copies;
};
fiber fibers[max_threads];
char* stacks;
jmp_buf scheduler;
void (*body)();
// Volatile, because another fiber changes it.
volatile int current;
// The first block of those that run, of as many in the grid; each has so many threads.
long long first_block, current_blocks;
int block_threads = max_threads;
int block_of_cluster() { return current / block_threads; }
// The shared memory of the first block; those of the others are at equal distances.
unsigned char* shared_memory;
int shared_step;
bool ended_block_was_used = false;

void pause(int state) {
  fibers[current].yields = false;
  fibers[current].state = state;
  if (!_setjmp(fibers[current].resume)) _longjmp(scheduler, 1);
  fibers[current].yields = true;
}
void enter() {
  fibers[current].yields = true;
  body();
  fibers[current].yields = false;
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

void count_call(const char* function) {
  if (current % team_threads == 0) ++calls[function];
}

inline call_site::call_site(anywhere, const char* file, int line, const char* function) {
  fibers[current].yields = false;
  caller = {file, line, function};
}

// Whether all of some threads wait at the same place.
bool have_met(int first, int count) {
  for (int i = 1; i < count; ++i) {
    if (fibers[first + i].state != fibers[first].state) return false;
  }
  return true;
}

void release(int first, int count) {
  for (int i = 0; i < count; ++i) fibers[first + i].state = ready;
}
bool wait_for(int first, int count, barrier kind) {
  const int state = fibers[first].state;
  return state >= 0 && sites[state].kind == kind && have_met(first, count);
}

// Runs the blocks of a cluster, or one block; describes what is wrong with their barriers.
std::string run_cluster(int blocks, int threads_of_block) {
  const int threads = blocks * threads_of_block;
  block_threads = threads_of_block;
  for (int i = 0; i < threads; ++i) {
    fiber& f = fibers[i];
    f.state = ready;
    f.started = false;
    f.shuffles = 0;
    f.yields = false;
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
    for (int first = 0; first < threads; first += block_threads) {
      if (wait_for(first, block_threads, barrier::of_block)) release(first, block_threads);
    }
    std::vector<int> able;
    bool same_again = false;
    for (int w = 0; w < warps; ++w) {
      if (fibers[w * warp_lanes].state != ready) continue;
      able.push_back(w);
      same_again |= w == warp;
    }
    if (able.empty()) {
      if (!have_met(0, threads)) return "threads wait at different barriers";
      if (fibers[0].state == done) return "";
      release(0, threads);
      continue;
    }
    if (!stays || !same_again) warp = able[next_random() % able.size()];
    const int start = static_cast<int>(next_random() % warp_lanes);
    const int step = static_cast<int>(next_random() % warp_lanes) | 1;
    const int first = warp * warp_lanes;
    for (bool has_paused = true; has_paused;) {
      has_paused = false;
      for (int i = 0; i < warp_lanes; ++i) {
        const int thread = first + (start + i * step) % warp_lanes;
        if (fibers[thread].state == ready) resume(thread);
        has_paused |= fibers[thread].state == ready;
      }
    }
    if (!have_met(first, warp_lanes)) return "lanes of a warp wait at different barriers";
    const int state = fibers[first].state;
    if (state == shuffling || wait_for(first, warp_lanes, barrier::of_warp)) {
      release(first, warp_lanes);
    }
  }
}

}  // namespace

// The compiler adds a call of it to each basic block. Pauses are rare, so that other lanes run far
// while one waits.
#ifdef __clang__
#define UNTRACED __attribute__((no_sanitize("coverage")))
#else
#define UNTRACED __attribute__((no_sanitize_coverage))
#endif
extern "C" UNTRACED void __sanitizer_cov_trace_pc() {
  if (!fibers[current].yields) return;
  fibers[current].yields = false;
  if (next_random() % 32 == 0) pause(ready);
  fibers[current].yields = true;
}

namespace {

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

// The relative error of reciprocals, up to 2^-22 on a device.
float reciprocal_error = 0;

// Those of a target whose operations on two halves are one instruction each.
struct fast_packed_ops : portable_ops {
  struct packed16 : portable_ops::packed16 {
    static constexpr bool is_fast = true;
  };
};

// Like target/cuda/target.hpp's cuda_target.
template <class Key>
struct software_target {
  static constexpr int blocks_for(int, int, int, bool) { return 0; }
  static constexpr int index_threads_for(int, int) { return 128; }
  static constexpr int column_threads_for(int) { return 1024; }
  static constexpr int first_threads_for(int) { return 128; }
  using entry = Key;
  using ops = portable_ops;
  template <int... Layout>
  struct columns_of {
    template <class Other>
    using target = software_target<Other>;
  };
  static constexpr int lane_bits = 5;
  static constexpr int max_block_threads = max_threads;
  static constexpr int max_shared_bytes = 227 * 1024;
  static constexpr int min_row_warps = 8, min_loop_bytes = 384;
  template <bool IsLong>
  static constexpr int min_transposed_steps = IsLong && !std::is_same<Key, key16x2>::value ? 3 : 2;
  // Like target/amdgcn/target.hpp's amdgcn_target before gfx11.
  static constexpr bool negates = std::is_same<Key, float>::value, has_float_keys = true;
  template <int Mask>
  static constexpr bool has_lane_swap = false;
  static constexpr bool has_copies = !negates, has_block_per_tile = !negates;
  int opaque_one;

  static int lane() { return current % warp_lanes; }
  static int warp() { return current % block_threads / warp_lanes; }
  static long long block() { return first_block + block_of_cluster(); }
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
    sync(file, line, barrier::of_warp);
  }
  static void sync_block(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    sync(file, line, barrier::of_block);
  }
  static void sync_cluster(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    sync(file, line, barrier::of_cluster);
  }
  template <class T>
  static T* in_block(T* shared, int block) {
    bool has_begun = false, has_ended = true;
    for (int i = block * block_threads; i < (block + 1) * block_threads; ++i) {
      has_begun |= fibers[i].started;
      has_ended &= fibers[i].state == done;
    }
    ended_block_was_used |= !has_begun || has_ended;
    const auto address = reinterpret_cast<uintptr_t>(shared);
    return reinterpret_cast<T*>(address + (block - block_of_cluster()) * shared_step);
  }
  static char* shared_address(void* shared) { return static_cast<char*>(shared); }
  // A copy is made as late as possible.
  template <int Bytes>
  static void copy(void* shared, const void* memory) {
    fibers[current].copies.push_back({shared, memory, Bytes});
  }
  static void sync_copies(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    fibers[current].yields = false;
    const int number = number_of({file, line, barrier::of_copies});
    reached[number] = true;
    fibers[current].yields = true;
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
  using lane_set = unsigned;
  static lane_set lanes_where(bool of_lane) {
    unsigned lanes = static_cast<unsigned>(of_lane) << lane();
    for (int mask = 1; mask < warp_lanes; mask *= 2) {
      lanes |= software_target<unsigned>::shuffle_xor(lanes, mask);
    }
    return lanes;
  }
  static int population(unsigned bits) { return __builtin_popcount(bits); }
  static bool any_in_warp(bool of_lane) { return lanes_where(of_lane) != 0; }
  static int count_in_warp(bool of_lane) { return population(lanes_where(of_lane)); }
  static int lowest_bit(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)) - 1; }
  template <int Mask, class Value>
  static Value from_lane_xor(Value value) {
    return software_target<Value>::shuffle_xor(value, Mask);
  }
  template <class Value>
  static Value from_lane(Value value, int source) {
    return software_target<Value>::shuffle(value, current / warp_lanes * warp_lanes + source);
  }
  template <class Value>
  static Value opaque(Value value) {
    return value;
  }
  static float lesser(float a, float b) { return std::fmin(a, b); }
  static float greater(float a, float b) { return std::fmax(a, b); }
  static float magnitude(float a) { return std::fabs(a); }
  static float multiply_add(float a, float b, float c) { return std::fma(a, b, c); }
  static float from_half(unsigned short raw) {
    _Float16 half;
    std::memcpy(&half, &raw, sizeof(half));
    return static_cast<float>(half);
  }
  static unsigned short to_half(float value) {
    const _Float16 half = static_cast<_Float16>(value);
    unsigned short raw;
    std::memcpy(&raw, &half, sizeof(raw));
    return raw;
  }
  static float reciprocal(float a, const char* function = __builtin_FUNCTION()) {
    count_call(function);
    if (std::fpclassify(a) == FP_SUBNORMAL) a = std::copysign(0.0f, a);
    const float result = 1 / a * (1 + reciprocal_error);
    return std::fpclassify(result) == FP_SUBNORMAL ? std::copysign(0.0f, result) : result;
  }
  static int leading_zeros(unsigned word, const char* function = __builtin_FUNCTION()) {
    count_call(function);
    return __builtin_clz(word | 1);
  }
  static int leading_zeros(unsigned long long word, const char* function = __builtin_FUNCTION()) {
    count_call(function);
    return __builtin_clzll(word | 1);
  }
  static unsigned add(unsigned a, unsigned b) { return a + b; }
  static unsigned shift_add(unsigned a, int bits, unsigned b) { return (a << bits) + b; }
  template <class Arguments>
  static const Arguments& reload_args(const Arguments& args) {
    return args;
  }
  static Key shuffle_xor(Key value, int mask) { return shuffle(value, current ^ mask); }
  // The value of another thread of the warp.
  static Key shuffle(Key value, int source) {
    const int slot = fibers[current].shuffles++ % 2;
    std::memcpy(&fibers[current].given[slot], &value, sizeof(Key));
    pause(shuffling);
    Key result;
    std::memcpy(&result, &fibers[source].given[slot], sizeof(Key));
    return result;
  }

 private:
  static void sync(const char* file, int line, barrier kind) {
    fibers[current].yields = false;
    if (caller.file != nullptr) {
      count_call(caller.function);
      file = caller.file;
      line = caller.line;
      caller = {};
    }
    const int number = number_of({file, line, kind});
    reached[number] = true;
    if (number != dropped) pause(number);
    fibers[current].yields = true;
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
// ---- cases --------------------------------------------------------------------------------------

long runs = 0;
// The running case, for the handler of faults.
char now[512];

void report_fault(int signal) {
  fibers[current].yields = false;
  char text[640];
  const int size =
      std::snprintf(text, sizeof(text), "FAILED: %s: %s\n", now,
                    signal == SIGSEGV || signal == SIGBUS ? "memory outside the rows was touched"
                                                          : "a vector is not aligned");
  if (write(STDOUT_FILENO, text, size) != size) _exit(3);
  _exit(2);
}

template <class Rows>
typename Rows::arguments sort_args;

struct memories {
  pages src, dst, values, payloads, shared;
};
memories* memory;

// Wrong descriptions, which the control runs must detect.
int rows_too_many = 0, elements_too_many = 0;

// Sorts with the arguments; describes what is wrong with barriers and shared memory. Up to two
// blocks, or clusters of them, share the tiles, or each tile has its own. Shared memory belongs to
// one block, and holds rubbish at first.
template <class Rows, class Target = software_target<int>>
std::string run_blocks(const typename Rows::arguments& args) {
  sort_args<Rows> = args;
  constexpr int gap = 256, tile_blocks = Rows::tile_blocks;
  shared_step = gap + (Rows::shared_bytes + 15) / 16 * 16;
  const int size = tile_blocks * shared_step;
  unsigned char* const gaps = memory->shared.end() - size;
  shared_memory = gaps + gap;
  body = [] {
    sort_tiles<Rows, Target>(sort_args<Rows>, shared_memory + block_of_cluster() * shared_step);
  };
  const bool takes_turns = !Target::has_block_per_tile || Rows::prefers_loop;
  const long long tiles = (args.rows + Rows::block_rows - 1) / Rows::block_rows;
  current_blocks =
      tile_blocks * (takes_turns ? static_cast<long long>(1 + next_random() % 2) : tiles);
  std::string wrong;
  for (first_block = 0; first_block < current_blocks && wrong.empty(); first_block += tile_blocks) {
    const unsigned char rubbish = static_cast<unsigned char>(next_random());
    std::memset(gaps, rubbish, size);
    wrong = run_cluster(tile_blocks, Rows::threads);
    if (ended_block_was_used) wrong = "the shared memory of a block that does not run was used";
    for (int i = 0; i < size; ++i) {
      const int at = i % shared_step - gap;
      const bool is_its_own = at >= 0 && at < Rows::shared_bytes;
      if (!is_its_own && gaps[i] != rubbish) wrong = "not its own shared memory was written";
    }
  }
  ++runs;
  return wrong;
}

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

// ---- controls -----------------------------------------------------------------------------------

struct sample {
  const char* name;
  // Returns the first failure's text, or an empty one.
  std::string (*run)(const char*, dtype);
  dtype type;
};
std::string run(const sample& l) { return l.run(l.name, l.type); }

// Whether any layout fails, by a message or by a fault. Layouts to which the fault does not apply
// are left out.
template <class Fault, class Choice>
bool fails(const std::vector<sample>& layouts, Fault set, Choice is_for) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    if (freopen("/dev/null", "w", stdout) == nullptr) _exit(3);
    set();
    for (size_t i = 0; i < layouts.size(); ++i) {
      if (is_for(i) && !run(layouts[i]).empty()) _exit(2);
    }
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) std::abort();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return false;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) return true;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) return true;
  std::printf("FAILED: a control ended with status %d\n", status);
  std::exit(1);
}

void prepare() {
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
}

// Runs all layouts, then the controls, and returns the exit status. The arguments of the program
// name barriers that are known to be spare: to try them takes most of the time, for no layout
// fails.
int simulate(const std::vector<sample>& layouts, int argc, char** argv) {
  const std::vector<std::string> known(argv + 1, argv + argc);
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
  if (!fails(layouts, [] { rows_too_many = 1; }, all)) {
    std::printf("FAILED: a row too many goes unseen\n");
    ++failures;
  }
  if (!fails(layouts, [] { elements_too_many = 1; }, all)) {
    std::printf("FAILED: an element too many goes unseen\n");
    ++failures;
  }
  for (size_t i = 0; i < sites.size(); ++i) {
    const std::string name = name_of(sites[i]);
    const bool is_known = std::find(known.begin(), known.end(), name) != known.end();
    bool needed = false;
    // Few random orders of threads need some of the barriers.
    for (int attempt = 0; attempt < 4 && !is_known && !needed; ++attempt) {
      const auto drop = [i, attempt] {
        dropped = static_cast<int>(i);
        for (int a = 0; a < attempt; ++a) next_random();
      };
      needed = fails(layouts, drop,
                     [&](size_t l) { return i < reached_by[l].size() && reached_by[l][i]; });
    }
    std::printf("%s: %s\n", needed ? "needed" : "spare", name.c_str());
  }
  return failures ? 1 : 0;
}

}  // namespace

#endif  // WARP_BITONIC_SORT_TESTS_SOFTWARE_GPU_HPP_
