// Proves that the sorting networks of network/bitonic.hpp, network/tile.hpp and network/lanes.hpp
// sort, and that that of network/first.hpp selects, by running the real code on zeros and ones.
//
// The 0-1 principle (Knuth 5.3.4, theorem Z): a network of comparators sorts every input if it
// sorts every input of zeros and ones; likewise it merges every pair of sorted runs if it merges
// every pair of sorted runs of zeros and ones. A key here is 512 bits, each bit a separate input,
// with and for min and or for max.
//
// 1. Registers: rows of 1..32 positions, with the leaves of network/leaves.hpp and the comparators
//    that each length drops, on all 2^n inputs; and rows of 17..32 by blocks of 16, on all pairs of
//    sorted blocks (blocks of up to 16 are sorted, as just proved).
// 2. Merges of the tile: a sorted run of h slots is one of h + 1 zero-one runs, so a merge of h and
//    c - h slots meets (h + 1)(c - h + 1) inputs; all are tried, for every c that is a multiple of
//    16 up to 1024 and for a sample up to 4096; and pairs of blocks, merged as they are placed.
//    Slots at or beyond c would hold pads, the largest keys, which no comparator moves; the code
//    has no access to them at all.
// 3. Composition: registers perform the leaves' comparators and then the textbook's flip form, less
//    those that touch absent positions; a tile performs the merges of 2, one for every block of
//    every phase whose upper half has any slot, phase by phase. Two sequences of comparators are
//    the same network if every wire sees the same comparators in the same order, which is compared.
//    A target that exchanges nothing must leave every key in place, so that keys move by
//    comparators alone. Tiles of up to 16384 slots.
// 4. The first entries of blocks of 1..32: of a sorted block and any other, all pairs of sorted
//    zero-one blocks, after 1. Blocks of several lanes, all of which are merged with those of
//    another lane, as memory/gpu/index_team.hpp does: all tuples of sorted zero-one blocks, for few
//    blocks. More blocks and lanes follow by induction.
// 5. The cleaners of bitonic sequences of odd lengths, on all bitonic zero-one sequences: all
//    rotations of zeros before ones. network/warp.hpp's other half-cleaners are the textbook's.
// 6. Merges of the lanes of a tile that has one row: all tuples of sorted zero-one lanes, for tiles
//    of few lanes or slots. Phases of more lanes are made of the same steps.
//
// Blocks are sorted, by 1. In each phase the halves of every block are sorted by the phases before,
// so its merge, by 2, sorts their union (a block without an upper half is sorted already); and by 3
// these are the merges that are done. So by induction tiles are sorted.
//
// A proof that cannot fail proves nothing: the checks also run once for each comparator without it,
// and must fail. They do so for networks that need every comparator: those of powers of two, and a
// few others. At some lengths a comparator is idle.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>
#include <warp_bitonic_sort/network/first.hpp>
#include <warp_bitonic_sort/network/lanes.hpp>
#include <warp_bitonic_sort/network/registers.hpp>
#include <warp_bitonic_sort/network/tile.hpp>

namespace {

using namespace warp_bitonic_sort;

constexpr int block_bits = 4;
constexpr int block = 1 << block_bits;

int failures = 0;

void expect(bool good, const char* what, int a, int b = 0) {
  if (good) return;
  std::printf("FAILED: %s (%d, %d)\n", what, a, b);
  ++failures;
}

// ---- zeros and ones -----------------------------------------------------------------------------

constexpr int words = 8;
constexpr int inputs = 64 * words;
typedef uint64_t bits_key __attribute__((vector_size(8 * words)));

struct zero_one {
  using entry = bits_key;
  WBS_INLINE void compare_exchange(entry& a, entry& b) const {
    const entry low = a & b;
    b = a | b;
    a = low;
  }
};

// The same without one comparator, counted from 0.
struct zero_one_without {
  using entry = bits_key;
  mutable int left;
  __attribute__((noinline)) void compare_exchange(entry& a, entry& b) const {
    if (left-- != 0) zero_one{}.compare_exchange(a, b);
  }
};

bool any(bits_key k) {
  uint64_t all = 0;
  for (int i = 0; i < words; ++i) all |= k[i];
  return all != 0;
}

bool is_sorted(const bits_key* keys, int count) {
  bits_key wrong{};
  for (int i = 0; i + 1 < count; ++i) wrong |= keys[i] & ~keys[i + 1];
  return !any(wrong);
}

// Bit `input` of this key is bit `position` of input, for position < 9.
bits_key counting(int position) {
  static const uint64_t patterns[6] = {0xAAAAAAAAAAAAAAAAu, 0xCCCCCCCCCCCCCCCCu,
                                       0xF0F0F0F0F0F0F0F0u, 0xFF00FF00FF00FF00u,
                                       0xFFFF0000FFFF0000u, 0xFFFFFFFF00000000u};
  bits_key k{};
  for (int i = 0; i < words; ++i) {
    k[i] = position < 6 ? patterns[position] : (i >> (position - 6) & 1 ? ~uint64_t{0} : 0);
  }
  return k;
}

// Whether a row of Length is sorted for all its 2^Length inputs.
template <int Length, class Target>
bool sorts_all(const Target& target) {
  bits_key low[9];
  for (int i = 0; i < 9; ++i) low[i] = counting(i);
  const uint64_t batches = Length > 9 ? uint64_t{1} << (Length - 9) : 1;
  for (uint64_t batch = 0; batch < batches; ++batch) {
    bits_key keys[Length];
    for (int i = 0; i < Length; ++i) {
      keys[i] = i < 9 ? low[i] : bits_key{} - (batch >> (i - 9) & 1);
    }
    Target fresh = target;
    sort_registers<Length>(fresh, keys);
    if (!is_sorted(keys, Length)) return false;
  }
  return true;
}

// Whether a merge of 2^bits slots, `present` of them there, merges all pairs of sorted runs.
template <class Target>
bool merges_all(const Target& target, int bits, int present) {
  const int half = 1 << (bits - 1);
  std::vector<bits_key> tile(present);
  const long pairs = static_cast<long>(half + 1) * (present - half + 1);
  for (long first = 0; first < pairs; first += inputs) {
    std::memset(static_cast<void*>(tile.data()), 0, present * sizeof(bits_key));
    for (int input = 0; input < inputs; ++input) {
      const long pair = first + input < pairs ? first + input : 0;
      const int low_zeros = static_cast<int>(pair % (half + 1));
      const int high_zeros = static_cast<int>(pair / (half + 1));
      // Where a run's ones begin; they are spread upwards below.
      if (low_zeros < half) tile[low_zeros][input / 64] |= uint64_t{1} << input % 64;
      if (half + high_zeros < present) {
        tile[half + high_zeros][input / 64] |= uint64_t{1} << input % 64;
      }
    }
    for (int i = 1; i < present; ++i) {
      if (i != half) tile[i] |= tile[i - 1];
    }
    Target fresh = target;
    tile_network<Target, block_bits>::merge(fresh, tile.data(), present, bits);
    if (!is_sorted(tile.data(), present)) return false;
  }
  return true;
}

// Vectors of several lanes. Without is the comparator that is left out, or -1.
template <int Lanes>
struct vector_target {
  static constexpr int lanes = Lanes;
  struct entry {
    bits_key of[Lanes];
  };
  mutable int without = -1;

  __attribute__((noinline)) void compare_exchange(entry& a, entry& b) const {
    if (without-- == 0) return;
    for (int lane = 0; lane < Lanes; ++lane) zero_one{}.compare_exchange(a.of[lane], b.of[lane]);
  }
  template <int Mask>
  static entry from_lane_xor(const entry& value) {
    entry result;
    for (int lane = 0; lane < Lanes; ++lane) result.of[lane] = value.of[lane ^ Mask];
    return result;
  }
  template <int Bit>
  static entry by_lane_bit(const entry& without_bit, const entry& with_bit) {
    entry result;
    for (int lane = 0; lane < Lanes; ++lane) {
      result.of[lane] = (lane >> Bit & 1 ? with_bit : without_bit).of[lane];
    }
    return result;
  }
};

// Whether all tuples of sorted lanes of so many slots are merged, by blocks of two slots, whose
// last pass is in order.
template <int Lanes>
bool merges_all_lanes(const vector_target<Lanes>& target, int slots) {
  long tuples = 1;
  for (int lane = 0; lane < Lanes; ++lane) tuples *= slots + 1;
  std::vector<typename vector_target<Lanes>::entry> tile(slots);
  std::vector<bits_key> expected(slots * Lanes);
  for (long first = 0; first < tuples; first += inputs) {
    std::memset(static_cast<void*>(tile.data()), 0, slots * sizeof(tile[0]));
    std::memset(static_cast<void*>(expected.data()), 0, expected.size() * sizeof(bits_key));
    for (int input = 0; input < inputs; ++input) {
      const uint64_t bit = uint64_t{1} << input % 64;
      long rest = first + input < tuples ? first + input : 0;
      int all_zeros = 0;
      for (int lane = 0; lane < Lanes; ++lane, rest /= slots + 1) {
        const int zeros = static_cast<int>(rest % (slots + 1));
        for (int i = zeros; i < slots; ++i) tile[i].of[lane][input / 64] |= bit;
        all_zeros += zeros;
      }
      for (int i = all_zeros; i < slots * Lanes; ++i) expected[i][input / 64] |= bit;
    }
    const vector_target<Lanes> fresh = target;
    int finished = 0;
    lane_network<vector_target<Lanes>, 1>::merge(fresh, tile.data(), slots, [&](int slot) {
      if (slot == finished) finished += 2;
      network<vector_target<Lanes>, 1>::clean(fresh, tile.data() + slot);
    });
    if (finished != slots) return false;
    bits_key wrong{};
    for (int i = 0; i < slots * Lanes; ++i) wrong |= tile[i % slots].of[i / slots] ^ expected[i];
    if (any(wrong)) return false;
  }
  return true;
}

template <int Lanes>
void prove_lanes(std::initializer_list<int> all_slots) {
  for (int slots : all_slots) {
    expect(merges_all_lanes(vector_target<Lanes>{}, slots), "lanes are merged", Lanes, slots);
  }
}
// Each comparator of vectors is needed, up to the last.
template <int Lanes>
void control_lanes(int slots) {
  int missing = 0;
  while (!merges_all_lanes(vector_target<Lanes>{missing}, slots)) ++missing;
  int comparators = 0;
  const int slot_bits = floor_log2(static_cast<unsigned>(slots));
  for (int k = 1; 1 << k <= Lanes; ++k) comparators += slots * k + slots / 2 * slot_bits;
  expect(missing == comparators, "a missing comparator is seen", Lanes, missing);
  expect(merges_all_lanes(vector_target<Lanes>{missing + 1}, slots), "no comparator is missing",
         Lanes, slots);
}

int bits_above(int slots) {
  int bits = 0;
  while ((1 << bits) < slots) ++bits;
  return bits;
}

// ---- the comparators performed ------------------------------------------------------------------

using trace = std::vector<std::pair<int, int>>;

// Keys are their own positions, and are never exchanged.
struct recorder {
  using entry = int;
  trace* comparators;
  __attribute__((noinline)) void compare_exchange(int& a, int& b) const {
    comparators->push_back({a, b});
  }
};

constexpr int leaf_bits = 5;

// The leaves of up to 2^largest_bits keys at the start of a network of `present` registers.
trace leaves(int present, int largest_bits) {
  const int largest = 1 << largest_bits;
  trace result;
  const auto add = [&](int first, const comparator& c) {
    if (first + c.high < present) result.push_back({first + c.low, first + c.high});
  };
  for (int first = 0; first < present; first += largest) {
    if (present == 2) add(first, {0, 1});
    if (present > 2 && present <= 4) {
      for (const comparator& c : leaf_network<2>) add(first, c);
    } else if (present > 4 && present <= 8) {
      for (const comparator& c : leaf_network<3>) add(first, c);
    } else if (present > 8 && (present <= 16 || largest == 16)) {
      for (const comparator& c : leaf_network<4>) add(first, c);
    } else if (present > 16) {
      for (int i = 0; i < leaf_size<5>; ++i) add(first, leaf_network<5>[i]);
    }
  }
  return result;
}

// The textbook's flip form from phase `first` on, on `present` positions.
trace textbook(int bits, int present, int first) {
  trace result;
  for (int p = first; p <= bits; ++p) {
    for (int step = p; step > 0; --step) {
      const int mask = step == p ? (1 << p) - 1 : 1 << (step - 1);
      for (int i = 0; i < present; ++i) {
        if ((i ^ mask) > i && (i ^ mask) < present) result.push_back({i, i ^ mask});
      }
    }
  }
  return result;
}

// Places every block of a tile as the registers that sorted it would.
template <class Target>
void place_blocks(const Target& target, typename Target::entry* tile, int slots) {
  for (int slot = 0; slot < slots; slot += block) {
    typename Target::entry keys[block];
    for (int i = 0; i < block; ++i) keys[i] = static_cast<typename Target::entry>(slot + i);
    tile_network<Target, block_bits>::place(target, tile, slot, keys);
  }
}

// The comparators of placing the blocks and of the merges of all phases of a tile.
trace merges(int slots) {
  trace result;
  std::vector<int> placed(slots);
  place_blocks(recorder{&result}, placed.data(), slots);
  for (int bits = block_bits + 2; bits <= bits_above(slots); ++bits) {
    for (int base = 0; base + (1 << (bits - 1)) < slots; base += 1 << bits) {
      const int present = slots - base < 1 << bits ? slots - base : 1 << bits;
      std::vector<int> tile(present);
      for (int i = 0; i < present; ++i) tile[i] = base + i;
      tile_network<recorder, block_bits>::merge(recorder{&result}, tile.data(), present, bits);
    }
  }
  return result;
}

std::vector<trace> by_wire(const trace& comparators, int present) {
  std::vector<trace> wires(present);
  for (const auto& c : comparators) {
    wires.at(c.first).push_back(c);
    wires.at(c.second).push_back(c);
  }
  return wires;
}

void check_in_place(const std::vector<int>& keys, const char* what) {
  for (size_t i = 0; i < keys.size(); ++i) {
    expect(keys[i] == static_cast<int>(i), what, static_cast<int>(keys.size()),
           static_cast<int>(i));
  }
}

void check_tile_trace(int slots) {
  trace comparators;
  const recorder target{&comparators};
  std::vector<int> tile(slots);
  place_blocks(target, tile.data(), slots);
  int expected_slot = 0;
  bool in_order = true;
  const bool sorted =
      tile_network<recorder, block_bits>::sort(target, tile.data(), slots, [&](int slot) {
        in_order = in_order && slot == expected_slot;
        expected_slot += block;
        network<recorder, block_bits>::clean(target, tile.data() + slot);
      });
  expect(sorted == (slots > 2 * block), "sort reports whether it had a last pass", slots);
  expect(!sorted || (in_order && expected_slot == slots), "blocks are finished in order", slots);
  const auto wires = by_wire(comparators, slots);
  expect(wires == by_wire(merges(slots), slots), "the tile performs its merges", slots);
  if ((slots & (slots - 1)) == 0) {
    expect(wires == by_wire(textbook(bits_above(slots), slots, block_bits + 1), slots),
           "the tile performs the textbook's comparators", slots);
  }
  check_in_place(tile, "keys move by comparators alone");
}

// The order of a target with fewer registers than positions: blocks are sorted after their loads,
// merged, and cleaned before their stores.
template <int Length, class Target, int... Block>
void sort_by_blocks(const Target& target, typename Target::entry* keys, indices<Block...>) {
  using rows = network<Target, bits_for(Length), Length>;
  (rows::template sort<block_bits, Block * block>(target, keys), ...);
  rows::template sort_blocks<block_bits, block_bits>(target, keys);
  (rows::template clean<block_bits, Block * block>(target, keys), ...);
}
template <int Length, class Target>
void sort_by_blocks(const Target& target, typename Target::entry* keys) {
  sort_by_blocks<Length>(target, keys, make_indices<(Length + block - 1) / block>{});
}

template <int Length, class Sort>
void check_register_trace(int largest_leaf_bits, const Sort& sort) {
  trace comparators;
  std::vector<int> keys(Length);
  for (int i = 0; i < Length; ++i) keys[i] = i;
  sort(recorder{&comparators}, keys.data());
  trace expected = leaves(Length, largest_leaf_bits);
  const trace merged = textbook(bits_above(Length), Length, largest_leaf_bits + 1);
  expected.insert(expected.end(), merged.begin(), merged.end());
  expect(by_wire(comparators, Length) == by_wire(expected, Length),
         "registers perform the leaves' and the textbook's comparators", Length);
  check_in_place(keys, "registers move by comparators alone");
}
template <int Length>
void check_register_trace() {
  check_register_trace<Length>(
      leaf_bits, [](const recorder& target, int* keys) { sort_registers<Length>(target, keys); });
  if constexpr (Length > block) {
    check_register_trace<Length>(block_bits, [](const recorder& target, int* keys) {
      sort_by_blocks<Length>(target, keys);
    });
  }
}

// ---- the proof ----------------------------------------------------------------------------------

// A row of two blocks that are sorted one by one, for all pairs of sorted blocks.
template <int Length>
bool merges_by_blocks() {
  static_assert((block + 1) * (Length - block + 1) <= inputs, "all pairs fit one key");
  bits_key keys[Length] = {};
  for (int pair = 0; pair < (block + 1) * (Length - block + 1); ++pair) {
    const uint64_t bit = uint64_t{1} << pair % 64;
    for (int i = pair % (block + 1); i < block; ++i) keys[i][pair / 64] |= bit;
    for (int i = block + pair / (block + 1); i < Length; ++i) keys[i][pair / 64] |= bit;
  }
  sort_by_blocks<Length>(zero_one{}, keys);
  return is_sorted(keys, Length);
}

template <int... Minus17>
void prove_by_blocks(indices<Minus17...>) {
  (expect(merges_by_blocks<Minus17 + 17>(), "a row of two blocks is merged", Minus17 + 17), ...);
}
template <int... Minus1>
void prove_registers(indices<Minus1...>) {
  (expect(sorts_all<Minus1 + 1>(zero_one{}), "a row of registers is sorted", Minus1 + 1), ...);
}
template <int... Minus1>
void check_register_traces(indices<Minus1...>) {
  (check_register_trace<Minus1 + 1>(), ...);
}

// A pair of blocks is merged as it is placed, for all pairs of sorted blocks.
void prove_placing() {
  static_assert((block + 1) * (block + 1) <= inputs, "all pairs fit one key");
  bits_key low[block] = {}, high[block] = {}, tile[2 * block];
  for (int pair = 0; pair < (block + 1) * (block + 1); ++pair) {
    const uint64_t bit = uint64_t{1} << pair % 64;
    for (int i = pair % (block + 1); i < block; ++i) low[i][pair / 64] |= bit;
    for (int i = pair / (block + 1); i < block; ++i) high[i][pair / 64] |= bit;
  }
  tile_network<zero_one, block_bits>::place(zero_one{}, tile, 0, low);
  tile_network<zero_one, block_bits>::place(zero_one{}, tile, block, high);
  expect(is_sorted(tile, 2 * block), "a pair of blocks is merged as it is placed", 2 * block);
}

// The first entries of rows that several lanes have, blocks of 2^Bits each, and the least of the
// other entries.
template <int Bits, int Blocks, int LaneBits, class Target>
struct selecting_lanes {
  static constexpr int size = 1 << Bits, lanes = 1 << LaneBits, row_blocks = Blocks << LaneBits;
  using pruning = first_network<Target, Bits>;

  bits_key entries[lanes][size * Blocks];
  bits_key dropped;

  void drop(const bits_key* block) {
    for (int i = 0; i < size; ++i) dropped &= block[i];
  }
  void select(const Target& target) {
    dropped = ~bits_key{};
    for (auto& own : entries) {
      pruning::begin(target, own);
      for (int block = size; block < size * Blocks; block += size) {
        pruning::add(target, own, own + block);
        drop(own + block);
      }
    }
    for (int mask = 1; mask < lanes; mask *= 2) {
      bits_key others[lanes][size];
      for (int lane = 0; lane < lanes; ++lane) {
        std::memcpy(others[lane], entries[lane ^ mask], sizeof(others[lane]));
      }
      for (int lane = 0; lane < lanes; ++lane) {
        pruning::merge(target, entries[lane], others[lane]);
        drop(others[lane]);
      }
    }
  }
};

// Whether they are found in every lane, for all tuples of blocks that begin with zeros and end with
// ones. Sorted blocks come out of the sort as they are.
template <int Bits, int Blocks, int LaneBits, class Target>
bool selects_all(const Target& target) {
  using row = selecting_lanes<Bits, Blocks, LaneBits, Target>;
  long tuples = 1;
  for (int block = 0; block < row::row_blocks; ++block) tuples *= row::size + 1;
  for (long first = 0; first < tuples; first += inputs) {
    row own{};
    bits_key expected[row::size + 1] = {};
    for (int input = 0; input < inputs; ++input) {
      const uint64_t bit = uint64_t{1} << input % 64;
      const int word = input / 64;
      long rest = first + input < tuples ? first + input : 0;
      int all_zeros = 0;
      for (int block = 0; block < row::row_blocks; ++block, rest /= row::size + 1) {
        const int zeros = static_cast<int>(rest % (row::size + 1));
        bits_key* const entries = own.entries[block / Blocks] + block % Blocks * row::size;
        for (int i = zeros; i < row::size; ++i) entries[i][word] |= bit;
        all_zeros += zeros;
      }
      for (int i = all_zeros; i <= row::size; ++i) expected[i][word] |= bit;
    }
    Target fresh = target;
    own.select(fresh);
    bits_key wrong{};
    for (const auto& entries : own.entries) {
      for (int i = 0; i < row::size; ++i) wrong |= entries[i] ^ expected[i];
    }
    if constexpr (row::row_blocks > 1) wrong |= own.dropped ^ expected[row::size];
    if (any(wrong)) return false;
  }
  return true;
}

template <int Bits, int Blocks, int LaneBits>
void prove_first() {
  expect(selects_all<Bits, Blocks, LaneBits>(zero_one{}), "the first entries are found", 1 << Bits,
         Blocks << LaneBits);
}
template <int Bits>
void prove_first_of_two() {
  prove_first<Bits, 2, 0>();
  prove_first<Bits, 1, 1>();
  // The sort of sorted blocks needs no comparator, and of the mirrored pairs and the cleaning each.
  trace sorting, all;
  int keys[2 << Bits];
  network<recorder, Bits>::sort(recorder{&sorting}, keys);
  first_network<recorder, Bits>::begin(recorder{&all}, keys);
  first_network<recorder, Bits>::add(recorder{&all}, keys, keys + (1 << Bits));
  expect(all.size() > 2 * sorting.size(), "blocks are merged", 1 << Bits);
  for (size_t i = 2 * sorting.size(); i < all.size(); ++i) {
    expect(!selects_all<Bits, 2, 0>(zero_one_without{static_cast<int>(i)}),
           "a missing comparator is seen", 1 << Bits, static_cast<int>(i));
  }
}
template <int... Bits>
void prove_first(indices<Bits...>) {
  (prove_first_of_two<Bits>(), ...);
  (prove_first<Bits, 2, 1>(), ...);
  prove_first<0, 4, 2>();
  prove_first<1, 2, 2>();
  prove_first<1, 1, 3>();
  prove_first<2, 3, 1>();
  prove_first<2, 1, 2>();
  prove_first<3, 1, 2>();
}

void prove_merges() {
  prove_placing();
  for (int present = 3 * block; present <= 1024; present += block) {
    expect(merges_all(zero_one{}, bits_above(present), present), "a merge merges", present);
  }
  for (int present : {1040, 1536, 2032, 2048, 2064, 3008, 4080, 4096}) {
    expect(merges_all(zero_one{}, bits_above(present), present), "a merge merges", present);
  }
}

void check_tile_traces() {
  for (int slots = block; slots <= 1536; slots += block) check_tile_trace(slots);
  for (int slots : {2032, 2048, 2064, 3008, 4080, 4096, 4112, 6000, 8192, 8208, 12304, 16384}) {
    check_tile_trace(slots);
  }
}

// Whether the comparators of an odd cleaner, less one of them, sort.
template <int Size>
bool cleans_all(int missing) {
  for (int ones = 0; ones <= Size; ++ones) {
    for (int shift = 0; shift < Size; ++shift) {
      int keys[Size];
      for (int i = 0; i < Size; ++i) keys[(i + shift) % Size] = i < Size - ones ? 0 : 1;
      int number = 0;
      for (const comparator& c : odd_cleaner<Size>) {
        if (number++ != missing && keys[c.low] > keys[c.high]) std::swap(keys[c.low], keys[c.high]);
      }
      for (int i = 1; i < Size; ++i) {
        if (keys[i - 1] > keys[i]) return false;
      }
    }
  }
  return true;
}
template <int Size>
void prove_odd_cleaner() {
  expect(cleans_all<Size>(-1), "bitonic sequences are sorted", Size);
  for (int i = 0; i < odd_cleaner_size<Size>; ++i) {
    const comparator c = odd_cleaner<Size>[i];
    expect(c.low < c.high, "the smaller key goes to the smaller position", Size, i);
    expect(!cleans_all<Size>(i), "a missing comparator is seen", Size, i);
  }
}

template <int Length>
void control_registers() {
  trace comparators;
  int keys[Length];
  sort_registers<Length>(recorder{&comparators}, keys);
  for (int i = 0; i < static_cast<int>(comparators.size()); ++i) {
    expect(!sorts_all<Length>(zero_one_without{i}), "a missing comparator is seen", Length, i);
  }
  expect(sorts_all<Length>(zero_one_without{-1}), "no comparator is missing", Length);
}

void control_merges() {
  for (int present : {48, 64, 112, 128, 512}) {
    const int bits = bits_above(present);
    trace comparators;
    std::vector<int> tile(present);
    tile_network<recorder, block_bits>::merge(recorder{&comparators}, tile.data(), present, bits);
    const int count = static_cast<int>(comparators.size());
    for (int i = 0; i < count; i += 1 + count / 64) {
      expect(!merges_all(zero_one_without{i}, bits, present), "a missing comparator is seen",
             present, i);
    }
    expect(merges_all(zero_one_without{-1}, bits, present), "no comparator is missing", present);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* part = argc > 1 ? argv[1] : "";
  if (!std::strcmp(part, "registers")) {
    prove_registers(make_indices<32>{});
    prove_by_blocks(make_indices<16>{});
  } else if (!std::strcmp(part, "merges")) {
    prove_merges();
    prove_odd_cleaner<3>();
    prove_odd_cleaner<5>();
    prove_odd_cleaner<7>();
    prove_first(make_indices<6>{});
    prove_lanes<2>({2, 4, 8, 16, 32, 64, 128});
    prove_lanes<4>({2, 4, 8, 16, 32});
    prove_lanes<8>({2, 4});
  } else if (!std::strcmp(part, "composition")) {
    check_register_traces(make_indices<32>{});
    check_register_trace<49>();
    check_register_trace<64>();
    check_tile_traces();
  } else if (!std::strcmp(part, "controls")) {
    control_registers<8>();
    control_registers<16>();
    control_registers<32>();
    control_merges();
    control_lanes<2>(16);
    control_lanes<4>(8);
    control_lanes<8>(2);
  } else {
    std::printf("usage: prove_network registers|merges|composition|controls\n");
    return 2;
  }
  std::printf("%s: %s\n", part, failures ? "FAILED" : "proved");
  return failures ? 1 : 0;
}
