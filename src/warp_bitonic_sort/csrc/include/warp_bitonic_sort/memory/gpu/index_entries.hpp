// Makes entries for a sort of rows in shared memory with their indices.
//
// A team sorts a tile of rows: a warp sorts whole rows, or the warps of a block one row. Each lane
// makes entries of 32 bits, for keys of any width: the first bits of a code, or of a float's value
// in its row's range, above the index (core/composite.hpp). Where most of a row's keys share them,
// entries are made digit by digit.
//
// Invariant: nothing here touches global memory. Entries of equal keys have the order of their
// indices.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ENTRIES_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ENTRIES_HPP_

#include <warp_bitonic_sort/core/composite.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/index_codec.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/memory/gpu/run.hpp>
#include <warp_bitonic_sort/network/warp.hpp>

namespace warp_bitonic_sort {

// Where rows are in shared memory: row r begins at element first + r * pitch. Wide rows are whole,
// aligned vectors. There is no pointer here, because compilers do not know that a pointer out of a
// structure is one to shared memory.
struct row_places {
  int first;
  int pitch;
  bool are_wide;
};
// Rows whose elements are Step apart.
template <class Element, int Step = 1>
struct staged_rows {
  const Element* base;
  row_places at;

  WBS_INLINE const Element* row(int r) const { return base + (at.first + r * at.pitch); }
  WBS_INLINE Element element(int r, int i) const { return row(r)[i * Step]; }
};

// Consecutive keys of a row are Step elements apart in shared memory, and lanes load vectors of up
// to MaxVector keys.
template <class Arguments, template <class> class Target, codec_kind Codec, int KeyBits,
          int Registers, int LaneBits, int WarpBits, int Step = 1, int MaxVector = 4>
class index_entries {
  static_assert(Step == 1 || MaxVector == 1, "vectors are contiguous");
  WBS_CONSTANT(int, word_bits, KeyBits == 64 ? 64 : 32);
  using word = typename unsigned_of<word_bits>::type;
  using signed_word = typename unsigned_of<word_bits>::signed_type;

 public:
  using entry = int;
  using element = typename unsigned_of<KeyBits>::type;
  using codes = index_codec<Codec, KeyBits, word, signed_word>;
  // Measured: with indices, shared memory has more to do, and shuffles pay off up to one step more.
  struct target : Target<entry> {
    template <bool IsLong>
    static constexpr int min_transposed_steps =
        Target<entry>::template min_transposed_steps<false> + 1;
  };
  using network_type = warp_network<target, Registers, LaneBits, WarpBits>;

  WBS_CONSTANT(int, key_bytes, KeyBits / 8);
  WBS_CONSTANT(int, warp_lanes, network_type::warp_lanes);
  WBS_CONSTANT(int, lanes, network_type::lanes);
  WBS_CONSTANT(int, warps, network_type::warps);
  WBS_CONSTANT(int, capacity, network_type::capacity);
  WBS_CONSTANT(int, row_lanes, lanes * warps);
  WBS_CONSTANT(int, team_threads, warp_lanes * warps);
  WBS_CONSTANT(int, team_rows, warps > 1 ? 1 : warp_lanes / lanes);

 protected:
  WBS_CONSTANT(int, entry_bits, 32);
  WBS_CONSTANT(int, index_bits,
               floor_log2(static_cast<unsigned>(Registers << LaneBits << WarpBits) - 1) + 1);
  WBS_CONSTANT(int, prefix_bits, entry_bits - index_bits);
  // Sorting by digits from low to high is exact for any codes. An entry is (digit, index) for the
  // first digit, and (digit, place so far, index) for every later one.
  WBS_CONSTANT(int, digit_bits, prefix_bits - index_bits);

 public:
  // Whether a prefix holds the whole code: then no neighbours are compared.
  WBS_CONSTANT(bool, is_exact, KeyBits <= prefix_bits);
  // Whether prefixes are those of values at first.
  WBS_CONSTANT(bool, prefers_values, Codec == codec_kind::ieee && KeyBits >= 32);

  // Elements that a lane moves at once.
  WBS_CONSTANT(int, even_part, Registers % 3 == 0 ? Registers / 3 : Registers);
  static constexpr WBS_HOST_DEVICE int vector_size_of(int bytes) {
    const int widest = 16 / bytes < MaxVector ? 16 / bytes : MaxVector;
    return even_part < widest ? even_part : widest;
  }
  WBS_CONSTANT(int, vector_size, vector_size_of(key_bytes));

  // A row takes an odd multiple of what its lanes load at once: then a warp's loads have no bank
  // conflicts.
  WBS_CONSTANT(int, lane_units, (Registers * key_bytes + 15) / 16);
  WBS_CONSTANT(int, row_bytes, 16 * lanes * warps * (lanes < 8 ? lane_units | 1 : lane_units));
  WBS_CONSTANT(int, row_pitch, row_bytes / key_bytes);
  WBS_CONSTANT(int, stage_bytes,
               warps * network_type::stage_entries * static_cast<int>(sizeof(entry)));
  // A word of each warp, for sums over a block.
  WBS_CONSTANT(int, sums_bytes, warps > 1 ? warps * 8 : 0);

  using rows = staged_rows<element, Step>;

  // -- threads ------------------------------------------------------------------------------------

  // A team's warps, threads and rows are numbered from 0.
  static WBS_INLINE int team_warp() { return WarpBits == 0 ? 0 : target::warp(); }
  static WBS_INLINE int team_thread() { return team_warp() * warp_lanes + target::lane(); }
  static WBS_INLINE int row_of_lane() { return WarpBits == 0 ? target::lane() / lanes : 0; }
  static WBS_INLINE int lane_of_row() {
    return team_warp() * warp_lanes + (target::lane() & (lanes - 1));
  }
  static WBS_INLINE void sync() { WarpBits == 0 ? target::sync_warp() : target::sync_block(); }

  // -- the order ----------------------------------------------------------------------------------

  WBS_INLINE entry* stage() const { return stage_; }
  // A place in the stage of the entries of lanes, by the number of a position in the team's rows.
  WBS_INLINE entry* place(int number) const {
    const int thread = number / Registers;
    return stage_ + thread / warp_lanes * network_type::stage_entries +
           thread % warp_lanes * network_type::blocked_pitch + number % Registers;
  }
  static WBS_INLINE int index_of(entry e) {
    return static_cast<int>(composite<unsigned>(index_bits).index(static_cast<unsigned>(e)));
  }
  WBS_INLINE order_constants order() const {
    return {static_cast<unsigned long long>(target::opaque(args_.key_xor)),
            static_cast<unsigned long long>(target::opaque(args_.key_add))};
  }
  // Built where it is used: the compiler would keep its constants in registers all the time.
  WBS_INLINE codes make_codec() const { return codes(order()); }
  // What is compared to tell whether keys are in order: codes, or values of which none is a NaN.
  template <bool ByValues>
  using order_key = typename choose<ByValues && KeyBits == 32, float, word>::type;
  template <bool ByValues>
  WBS_INLINE order_key<ByValues> order_of(const codes& codec, element raw) const {
    if constexpr (ByValues && KeyBits == 32) {
      const float value = bits_as<float>(raw);
      return args_.key_xor != 0 ? -value : value;
    } else if constexpr (ByValues) {
      return codec.encode_unjoined(raw);
    } else {
      return codec.encode(raw);
    }
  }

 protected:
  // `stage` is aligned to 16 bytes.
  WBS_INLINE index_entries(const Arguments& args, entry* stage, void* sums)
      : args_(args), stage_(stage), sums_(sums) {}

  // Keys of 16 bits are loaded and encoded two at a time where this takes fewer instructions.
  using packed16 = typename target::ops::packed16;
  using packed_codes = packed_index_codec<Codec, packed16>;
  WBS_CONSTANT(bool, packs_keys, KeyBits == 16 && packed16::is_fast);
  WBS_CONSTANT(int, word_keys, packs_keys ? 2 : 1);

  // What entries are sorted by: the prefixes of codes or of values, or the digit that begins at a
  // bit of the codes.
  WBS_CONSTANT(int, by_codes, -1);
  WBS_CONSTANT(int, by_values, -2);

  // Combines a value of each lane of a row, for all of the row's lanes.
  template <int Mask = 1, class Value, class Combine>
  WBS_INLINE Value over_row(Value value, Combine combine) const {
    if constexpr (Mask < lanes) {
      return over_row<2 * Mask>(combine(value, target::template from_lane_xor<Mask>(value)),
                                combine);
    } else {
      return over_warps(value, combine);
    }
  }
  template <class Value, class Combine>
  WBS_INLINE Value over_warps(Value value, Combine combine) const {
    if constexpr (WarpBits > 0) {
      Value* const values = static_cast<Value*>(sums_);
      sync();
      if (target::lane() == 0) values[team_warp()] = value;
      sync();
      value = values[0];
      WBS_UNROLL
      for (int w = 1; w < warps; ++w) value = combine(value, values[w]);
    }
    return value;
  }
  WBS_INLINE int count_in_team(bool of_lane) const {
    return over_warps(target::count_in_warp(of_lane), [](int a, int b) { return a + b; });
  }

  // -- entries ------------------------------------------------------------------------------------

  // A prefix above an index, made signed.
  static WBS_INLINE entry entry_of(unsigned prefix, int index, int shift = 0) {
    const composite<unsigned> row(index_bits, 0, static_cast<unsigned>(shift));
    return static_cast<entry>(row.entry(prefix, static_cast<unsigned>(index)) ^ 0x80000000u);
  }
  // The first bits of a code, in a row whose codes begin with `least` and so many zeros.
  static WBS_INLINE entry entry_of_code(word code, int index, word least, int zeros) {
    return entry_of(static_cast<unsigned>((code - least) << zeros >> (word_bits - entry_bits)),
                    index);
  }
  // Behind the entries of all keys: its index is not below the row's length.
  static WBS_INLINE entry pad_of(int position) { return entry_of(~0u, position); }

  // The position of a lane's register in the row, before it is sorted: that of register 0, hidden
  // from the compiler, which would keep all of them in registers, plus the difference.
  static WBS_INLINE int first_position() { return target::opaque(lane_of_row() * vector_size); }
  static constexpr WBS_HOST_DEVICE int offset(int j) {
    return j / vector_size * row_lanes * vector_size + j % vector_size;
  }

  // Sets key j: a word, or half of one.
  static WBS_INLINE void set_key(word (&keys)[Registers / word_keys], int j, element raw) {
    if constexpr (!packs_keys) {
      keys[j] = codes::word_of(raw);
    } else if (j % 2 == 0) {
      keys[j / 2] = raw;
    } else {
      keys[j / 2] = packed16::low_halves(keys[j / 2], raw);
    }
  }
  // Loads this lane's keys as words. Behind a row's end its last keys are loaded, which leave the
  // range as it is.
  WBS_INLINE void load_own(const rows& in, word (&keys)[Registers / word_keys]) const {
    const element* const row = in.row(row_of_lane());
    const int first = first_position(), length = args_.length;
    // Opaque, or the compiler would work with short integers, and join the ways below where single
    // keys have their addresses.
    constexpr bool are_opaque = KeyBits < 32 || MaxVector == 1;
    const auto load = [&](int j, int at) {
      constexpr int in_word = word_bits / KeyBits;
      constexpr bool has_words = vector_size % in_word == 0;
      using piece = typename choose<has_words, word, element>::type;
      using vector = element_vector<piece, has_words ? vector_size / in_word : vector_size>;
      const vector v = *reinterpret_cast<const vector*>(row + at * Step);
      WBS_UNROLL
      for (int e = 0; e < vector_size; ++e) {
        if constexpr (!has_words) {
          set_key(keys, j + e, v.values[e]);
        } else if constexpr (packs_keys) {
          keys[(j + e) / 2] = v.values[e / 2];
        } else {
          keys[j + e] = codes::word_of(v.values[e / in_word], e % in_word);
        }
        if (are_opaque) {
          word& key = keys[(j + e) / word_keys];
          key = target::opaque(key);
        }
      }
    };
    if (in.at.are_wide && length == capacity) {
      WBS_UNROLL
      for (int j = 0; j < Registers; j += vector_size) load(j, first + offset(j));
    } else if (in.at.are_wide) {
      const int last = length - vector_size;
      WBS_UNROLL
      for (int j = 0; j < Registers; j += vector_size) {
        const int at = first + offset(j);
        load(j, at < last ? at : last);
      }
    } else {
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) {
        const int at = first + offset(j);
        set_key(keys, j, row[(at < length ? at : length - 1) * Step]);
      }
    }
  }
  // Returns by_codes or by_values.
  WBS_INLINE int encode(const rows& in, entry (&entries)[Registers]) const {
    int result = by_codes;
    if constexpr (prefers_values) {
      float values[Registers];
      load_values(in, values);
      const value_range range(*this, values);
      if (count_in_team(!range.is_spread()) == 0) {
        encode_values(range, values, entries);
        result = by_values;
      } else {
        encode_codes(in, entries);
      }
    } else if constexpr (packs_keys) {
      encode_packed(in, entries);
    } else {
      encode_codes(in, entries);
    }
    if (args_.length < capacity) {
      const int first = first_position();
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) set_pad(entries[j], first + offset(j));
    }
    return result;
  }
  WBS_INLINE void set_pad(entry& e, int position) const {
    if (position >= args_.length) e = pad_of(position);
  }

  // Codes of 16 bits above indices of 16 bits.
  WBS_INLINE void encode_packed(const rows& in, entry (&entries)[Registers]) const {
    static_assert(is_exact && index_bits <= 16 && Registers % 2 == 0,
                  "entries are pairs of halves");
    const packed_codes codec(order());
    const unsigned first = in_both_halves(static_cast<unsigned>(first_position()));
    word keys[Registers / word_keys];
    load_own(in, keys);
    WBS_UNROLL
    for (int j = 0; j < Registers; j += 2) {
      const unsigned both = codec.encode(keys[j / 2]);
      const unsigned positions = first + static_cast<unsigned>(offset(j) | offset(j + 1) << 16);
      entries[j] = static_cast<entry>(packed16::low_halves(positions, both));
      entries[j + 1] = static_cast<entry>(packed16::high_halves(positions, both));
    }
  }
  // Prefixes of codes.
  WBS_INLINE void encode_codes(const rows& in, entry (&entries)[Registers]) const {
    const codes codec = make_codec();
    const int first = first_position();
    word keys[Registers];
    load_own(in, keys);
    if constexpr (is_exact) {
      // A code ends above the index.
      const unsigned sign = target::opaque(static_cast<unsigned>(first) ^ 0x80000000u);
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) {
        entries[j] = static_cast<entry>(static_cast<unsigned>(codec.encode_word(keys[j])) +
                                        (sign + static_cast<unsigned>(offset(j))));
      }
    } else {
      word least = ~word(0), greatest = 0;
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) {
        const word code = codec.encode_word(keys[j]);
        least = code < least ? code : least;
        greatest = code > greatest ? code : greatest;
      }
      least = over_row(least, [](word a, word b) { return a < b ? a : b; });
      greatest = over_row(greatest, [](word a, word b) { return a > b ? a : b; });
      const int zeros = target::leading_zeros(greatest - least);
      // Longer codes would take too many registers meanwhile.
      if constexpr (KeyBits == 64) load_own(in, keys);
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) {
        entries[j] = entry_of_code(codec.encode_word(keys[j]), first + offset(j), least, zeros);
      }
    }
  }

  // Float64 becomes float32, rounded towards zero, which keeps the order. What is beyond its range
  // becomes an infinity, a NaN or next to zero.
  static WBS_INLINE float value_of(word raw) {
    if constexpr (KeyBits == 64) {
      const int high = static_cast<int>(raw >> 32);
      // The difference of the exponents' biases; one of their widths is three bits.
      const int below = (high & 0x7FFFFFFF) - ((1023 - 127) << 20);
      const int positive = below < 0 ? 0 : below, infinity = 0x7F800000 >> 3;
      const int magnitude = positive < infinity ? positive : infinity;
      return bits_as<float>((static_cast<unsigned>(high) & 0x80000000u) |
                            static_cast<unsigned>(magnitude) << 3 |
                            static_cast<unsigned>(raw) >> 29);
    } else {
      return bits_as<float>(static_cast<unsigned>(raw));
    }
  }
  WBS_INLINE void load_values(const rows& in, float (&values)[Registers]) const {
    word keys[Registers];
    load_own(in, keys);
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) values[j] = value_of(keys[j]);
  }

  // The range of a row's values, and the sum of their distances from the first one of each lane.
  struct value_range {
    float least, greatest, spread;

    WBS_INLINE value_range(const index_entries& team, const float (&values)[Registers]) {
      const float origin = values[0];
      least = greatest = origin;
      spread = 0;
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) {
        least = target::lesser(values[j], least);
        greatest = target::greater(values[j], greatest);
        spread += target::magnitude(values[j] - origin);
      }
      least = team.over_row(least, [](float a, float b) { return target::lesser(a, b); });
      greatest = team.over_row(greatest, [](float a, float b) { return target::greater(a, b); });
      spread = team.over_row(spread, [](float a, float b) { return a + b; });
    }
    // Not if the row has a NaN or an infinity, or if most of its values are close together.
    WBS_INLINE bool is_spread() const {
      constexpr float huge = 3e38f;
      constexpr float share = capacity < 64 ? 1 + 1.5f * static_cast<float>(capacity) / 64
                                            : 1.5f + static_cast<float>(capacity) / 64;
      const float width = greatest - least;
      // As integers: a compiler may assume that no float is a NaN.
      const unsigned bits = target::opaque(bits_as<unsigned>(spread));
      bool result = bits >= bits_as<unsigned>(width * share) && bits < bits_as<unsigned>(huge);
      // The scale of a lesser width is beyond a float; all are equal where it is zero.
      constexpr float min_width = 1e-31f;
      result = result && bits_as<unsigned>(width) - 1 >= bits_as<unsigned>(min_width) - 1;
      if constexpr (KeyBits == 64) {
        // In a narrow range, a float32 lacks bits, and codes are even.
        const float farthest = target::greater(greatest, -least);
        result = result && bits_as<unsigned>(2 * width) >= bits_as<unsigned>(farthest);
      }
      return result;
    }
  };

  // Prefixes of floats: `(x - least) * scale` as an integer. Codes of floats crowd at the ends of
  // a range, values do not, and the multipliers are idle.
  WBS_INLINE void encode_values(const value_range& of_row, const float (&values)[Registers],
                                entry (&entries)[Registers]) const {
    constexpr int mantissa_bits = 23;
    constexpr int bits = prefix_bits < mantissa_bits ? prefix_bits : mantissa_bits;
    constexpr float one_up = 1 << mantissa_bits;
    // Leaves room for the rounding of the scale.
    constexpr float range = (1 << bits) - 16;
    const float sign = args_.key_xor != 0 ? -1.0f : 1.0f;
    const float from = -sign * (sign < 0 ? of_row.greatest : of_row.least);
    const float scale =
        target::lesser(range * target::reciprocal(of_row.greatest - of_row.least), 1e38f);
    const unsigned first = static_cast<unsigned>(first_position());
    const target multiplier{{args_.opaque_one}};
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) {
      const float distance = target::multiply_add(values[j], sign, from);
      const unsigned prefix = bits_as<unsigned>(target::multiply_add(distance, scale, one_up));
      // The prefix above the position, made signed; 0x4B000000 are the bits of one_up.
      constexpr unsigned bias = (0x4B000000u << index_bits) ^ 0x80000000u;
      entries[j] = static_cast<entry>(multiplier.shift_add(
          prefix, index_bits, multiplier.add(static_cast<unsigned>(offset(j)) - bias, first)));
    }
  }

  // The entries of the digit that begins at a bit of the codes. After the first digit, the stage
  // has the order so far.
  WBS_INLINE void encode_digit(const rows& in, int first_bit, entry (&entries)[Registers]) const {
    const codes codec = make_codec();
    const bool is_first = first_bit == 0;
    const entry* const from = place(target::opaque(team_thread()) * Registers);
    const int first = lane_of_row() * Registers;
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) {
      const int at = is_first ? first + j : index_of(from[j]);
      const word code =
          at < args_.length ? word(codec.encode(in.element(row_of_lane(), at))) : ~word(0);
      entries[j] = is_first
                       ? entry_of(static_cast<unsigned>(code), at, index_bits)
                       : entry_of(static_cast<unsigned>(code >> first_bit), at, 2 * index_bits) +
                             ((first + j) << index_bits);
      if (is_first) set_pad(entries[j], at);
    }
    sync();
  }

  const Arguments& args_;
  entry* stage_;
  void* sums_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ENTRIES_HPP_
