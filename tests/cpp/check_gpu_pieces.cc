// Checks pieces of the GPU kernels that the simulation cannot reach.
//
// 1. The text of target/cuda/blocks.hpp, which only a device runs. It is parsed as ptxas would
//    parse it. Every instruction must belong to a comparator. The comparators must be those of
//    network/leaves.hpp, or of network/warp.hpp's clean() for a target without blocks, in the same
//    order. Each key must come from the operand that it returns to.
// 2. quotient(), at its limits and at random.
// 3. The codes of two 16-bit keys at a time, for every key in either half and every order. They
//    must be those of one key at a time.
//
// Ends with status 0 and prints what was checked, or names the difference.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/dtype.hpp>
#include <warp_bitonic_sort/core/index_codec.hpp>
#include <warp_bitonic_sort/core/packed16.hpp>
#include <warp_bitonic_sort/memory/gpu/kernel_base.hpp>
#include <warp_bitonic_sort/target/cuda/blocks.hpp>

namespace {

using namespace warp_bitonic_sort;

[[noreturn]] void fail(const std::string& what) {
  std::printf("FAILED: %s\n", what.c_str());
  std::exit(1);
}

struct step {
  int low, high;
  bool imad;
  bool operator==(const step& other) const {
    return low == other.low && high == other.high && imad == other.imad;
  }
};

// An instruction: its name and its operands.
using instruction = std::vector<std::string>;

std::vector<instruction> instructions_of(const std::string& text) {
  std::vector<instruction> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line == "{" || line == "}" || line[0] == '.') continue;
    if (line.back() != ';') fail("no instruction: " + line);
    line.pop_back();
    for (char& c : line) {
      if (c == ',') c = ' ';
    }
    std::istringstream words(line);
    instruction each;
    for (std::string word; words >> word;) each.push_back(word);
    found.push_back(each);
  }
  return found;
}

// The comparators of a block of `size` keys whose minima are named `type`.
std::vector<step> steps_of(const std::string& text, int size, const std::string& type) {
  const std::vector<instruction> list = instructions_of(text);
  std::map<std::string, int> number;
  size_t at = 0;
  for (; at < list.size() && list[at][0] == "mov.b32" && list[at][2][0] == '%'; ++at) {
    const int operand = std::atoi(list[at][2].c_str() + 1);
    const std::string& name = list[at][1];
    if (name == "one" || name == "minus") {
      if (operand != size + (name == "minus")) fail(name + " is operand " + list[at][2]);
      continue;
    }
    if (!number.emplace(name, operand).second) fail(name + " is taken twice");
  }
  const auto position = [&](const std::string& name) {
    const auto found = number.find(name);
    if (found == number.end()) fail("no key: " + name);
    return found->second;
  };
  std::vector<step> steps;
  while (at + 2 < list.size() && list[at][0] != "mov.b32") {
    const instruction &first = list[at], &second = list[at + 1], &third = list[at + 2];
    at += 3;
    const bool imad = first[0] == "mad.lo.s32";
    const std::string &low = first[2], &high = imad ? first[4] : first[3];
    const instruction with_imad[] = {{"mad.lo.s32", "u", low, "one", high},
                                     {"min." + type, low, low, high},
                                     {"mad.lo.s32", high, low, "minus", "u"}};
    const instruction plain[] = {
        {"min." + type, "t", low, high}, {"max." + type, high, low, high}, {"mov.b32", low, "t"}};
    const instruction* const expected = imad ? with_imad : plain;
    if (first != expected[0] || second != expected[1] || third != expected[2]) {
      fail("no comparator: " + first[0] + ", " + second[0] + ", " + third[0]);
    }
    steps.push_back({position(low), position(high), imad});
  }
  int given = 0;
  for (; at < list.size(); ++at, ++given) {
    if (list[at] != instruction{"mov.b32", "%" + std::to_string(given), list[at].back()}) {
      fail("no result: " + list[at][0] + " " + list[at][1]);
    }
    if (position(list[at].back()) != given) fail(list[at].back() + " goes elsewhere");
  }
  if (given != size || static_cast<int>(number.size()) != size) fail("not all keys go back");
  return steps;
}

void expect(const char* what, const std::vector<step>& found, const std::vector<step>& expected) {
  if (found.size() != expected.size()) {
    fail(std::string(what) + ": " + std::to_string(found.size()) + " comparators, expected " +
         std::to_string(expected.size()));
  }
  for (size_t i = 0; i < found.size(); ++i) {
    if (!(found[i] == expected[i])) fail(std::string(what) + ": comparator " + std::to_string(i));
  }
  std::printf("%s: %zu comparators\n", what, found.size());
}

// Records what warp_network does with the registers of one lane of two. Its keys are their own
// numbers, and never change.
std::vector<step> record;
struct recorder {
  using entry = int;
  static constexpr int lane_bits = 5, max_shared_bytes = 1 << 16, min_loop_bytes = 384;
  template <bool IsLong>
  static constexpr int min_transposed_steps = 2;
  static constexpr bool negates = false;
  template <int Mask>
  static constexpr bool has_lane_swap = false;
  static int lane() { return 0; }
  static int warp() { return 0; }
  static int opaque(int value) { return value; }
  static void sync_warp() {}
  static void sync_block() {}
  void compare_exchange(int& a, int& b) const { record.push_back({a, b, false}); }
  void compare_exchange_imad(int& a, int& b) const { record.push_back({a, b, true}); }
  template <int Mask>
  int exchange_select(int mine, int) const {
    return mine;
  }
  // The last step across lanes.
  template <int Mask>
  void exchange_select_pair(int&, int&) const {
    record.clear();
  }
};

template <int Size>
std::vector<step> half_cleaners() {
  using network_type = warp_network<recorder, Size, 1>;
  int keys[Size];
  for (int i = 0; i < Size; ++i) keys[i] = i;
  alignas(16) static int stage[network_type::stage_entries];
  record.clear();
  network_type::sort(recorder{}, keys, stage);
  return record;
}

template <int Bits>
std::vector<step> leaf() {
  std::vector<step> steps;
  for (const comparator& c : leaf_network<Bits>) {
    steps.push_back({c.low, c.high, steps.size() % 2 != 0});
  }
  return steps;
}

void check_blocks() {
  expect("leaf of 16 words",
         steps_of(WBS_PTX_LEAF_16(WBS_PTX_WORDS, WBS_PTX_WORDS_IMAD), 16, "s32"), leaf<4>());
  expect("leaf of 32 words",
         steps_of(WBS_PTX_LEAF_32(WBS_PTX_WORDS, WBS_PTX_WORDS_IMAD), 32, "s32"), leaf<5>());
  expect("leaf of 16 halves",
         steps_of(WBS_PTX_LEAF_16(WBS_PTX_PACKED16, WBS_PTX_PACKED16_IMAD), 16, "s16x2"),
         leaf<4>());
  expect("leaf of 32 halves",
         steps_of(WBS_PTX_LEAF_32(WBS_PTX_PACKED16, WBS_PTX_PACKED16_IMAD), 32, "s16x2"),
         leaf<5>());
  expect("half-cleaners of 16 words",
         steps_of(WBS_PTX_CLEAN_16(WBS_PTX_WORDS, WBS_PTX_WORDS_IMAD), 16, "s32"),
         half_cleaners<16>());
  expect("half-cleaners of 32 words",
         steps_of(WBS_PTX_CLEAN_32(WBS_PTX_WORDS, WBS_PTX_WORDS_IMAD), 32, "s32"),
         half_cleaners<32>());
  expect("half-cleaners of 16 halves",
         steps_of(WBS_PTX_CLEAN_16(WBS_PTX_PACKED16, WBS_PTX_PACKED16_IMAD), 16, "s16x2"),
         half_cleaners<16>());
  expect("half-cleaners of 32 halves",
         steps_of(WBS_PTX_CLEAN_32(WBS_PTX_PACKED16, WBS_PTX_PACKED16_IMAD), 32, "s16x2"),
         half_cleaners<32>());
}

void check_quotient() {
  uint64_t state = 88172645463325252;
  const auto next = [&state] {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  };
  std::vector<long long> numbers = {1,
                                    2,
                                    3,
                                    10,
                                    (1ll << 31) - 1,
                                    1ll << 31,
                                    (1ll << 32) - 1,
                                    1ll << 32,
                                    (1ll << 32) + 1,
                                    (1ll << 62) + 7,
                                    INT64_MAX};
  for (int i = 0; i < 300; ++i) {
    numbers.push_back(static_cast<long long>(next() >> (1 + next() % 63)) + 1);
  }
  for (const long long divisor : numbers) {
    if (quotient(0, divisor) != 0) fail("0 / " + std::to_string(divisor));
    for (const long long dividend : numbers) {
      if (quotient(dividend, divisor) != dividend / divisor) {
        fail(std::to_string(dividend) + " / " + std::to_string(divisor));
      }
    }
  }
  std::printf("quotients of %zu numbers\n", numbers.size());
}

template <codec_kind Codec>
void check_packed_codes(const char* name, dtype type) {
  constexpr unsigned keys = 1 << 16, other_sign = 0x80008000u;
  for (const bool descending : {false, true}) {
    for (const bool nan_last : {false, true}) {
      const order_constants order = order_constants_of(type, descending, nan_last);
      const index_codec<Codec, 16, unsigned, int> one(order);
      const packed_index_codec<Codec, packed16> two(order);
      for (unsigned high = 0; high < keys; ++high) {
        // An odd factor: the low halves are all keys, too, of other signs and magnitudes.
        const unsigned low = (high * 40503 + 77) % keys;
        const unsigned expected = one.encode(static_cast<unsigned short>(high)) |
                                  one.encode(static_cast<unsigned short>(low)) >> 16;
        if ((two.encode(high << 16 | low) ^ other_sign) != expected) {
          fail(std::string(name) + " " + std::to_string(high) + " and " + std::to_string(low));
        }
      }
    }
  }
  std::printf("%s: codes of two keys\n", name);
}

}  // namespace

int main() {
  check_blocks();
  check_quotient();
  check_packed_codes<codec_kind::ieee>("float16", dtype::float16);
  check_packed_codes<codec_kind::ieee>("bfloat16", dtype::bfloat16);
  check_packed_codes<codec_kind::integer>("int16", dtype::int16);
  check_packed_codes<codec_kind::integer>("uint16", dtype::uint16);
  return 0;
}
