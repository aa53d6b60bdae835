// Sorts rows with their indices.
//
// A team sorts a tile of rows: a warp sorts whole rows, or the warps of a block one row. It copies
// its rows into shared memory, where they stay. Registers hold entries of one word
// (core/composite.hpp), which the network sorts. Then keys are fetched from shared memory by index.
//
// Where a prefix does not hold the whole code, neighbours are compared while they are stored. Rows
// whose neighbours are in the wrong order are repaired by a few rounds of odd-even transposition,
// which is stable; if that does not suffice, the team sorts its rows again by digits.
//
// Invariant: all loads of a row precede all stores of it, so that values may go where the keys come
// from. No byte outside the rows is read or written.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ROWS_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ROWS_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/composite.hpp>
#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/index_codec.hpp>
#include <warp_bitonic_sort/core/order.hpp>
#include <warp_bitonic_sort/memory/gpu/kernel_base.hpp>
#include <warp_bitonic_sort/network/warp.hpp>

namespace warp_bitonic_sort {

using index_args = wbs_args<1, 2>;

template <class Element, int Size>
struct alignas(Size * sizeof(Element)) element_vector {
  Element values[Size];
};

template <template <class> class Target, codec_kind Codec, int KeyBits, int Registers, int LaneBits,
          int WarpBits>
class gpu_index_rows {
  using word = typename unsigned_of<(KeyBits == 64 ? 64 : 32)>::type;
  using entry = typename unsigned_of<8 * sizeof(word)>::signed_type;
  using element = typename unsigned_of<KeyBits>::type;
  using codes = index_codec<Codec, KeyBits, word, entry>;
  // A sort of entries keeps shared memory busy otherwise, so that shuffles pay off for longer.
  struct target : Target<entry> {
    WBS_CONSTANT(int, min_transposed_steps, Target<entry>::min_transposed_steps + 1);
  };
  using network_type = warp_network<target, Registers, LaneBits, WarpBits>;

  WBS_CONSTANT(int, key_bytes, KeyBits / 8);
  WBS_CONSTANT(int, warp_lanes, network_type::warp_lanes);
  WBS_CONSTANT(int, lanes, network_type::lanes);
  WBS_CONSTANT(int, warps, network_type::warps);

  WBS_CONSTANT(int, word_bits, 8 * static_cast<int>(sizeof(word)));
  WBS_CONSTANT(int, index_bits,
               floor_log2(static_cast<unsigned>(Registers << LaneBits << WarpBits) - 1) + 1);
  WBS_CONSTANT(int, prefix_bits, word_bits - index_bits);
  // Whether a prefix holds the whole code.
  WBS_CONSTANT(bool, is_exact, KeyBits <= prefix_bits);
  // Sorting by digits from low to high is exact for any codes. An entry is (digit, index) for the
  // first digit, and (digit, place so far, index) for every later one.
  WBS_CONSTANT(int, digit_bits, prefix_bits - index_bits);

  // Elements that a lane moves at once.
  WBS_CONSTANT(int, even_part, Registers % 3 == 0 ? Registers / 3 : Registers);
  WBS_CONSTANT(int, widest, 16 / key_bytes < 4 ? 16 / key_bytes : 4);
  WBS_CONSTANT(int, vector_size, even_part < widest ? even_part : widest);

  WBS_CONSTANT(int, team_threads, warp_lanes * warps);
  WBS_CONSTANT(int, team_rows, warps > 1 ? 1 : warp_lanes / lanes);
  // A row takes an odd multiple of what its lanes load at once: then a warp's loads have no bank
  // conflicts.
  WBS_CONSTANT(int, lane_units, (Registers * key_bytes + 15) / 16);
  WBS_CONSTANT(int, row_bytes, 16 * lanes * warps * (lanes < 8 ? lane_units | 1 : lane_units));
  WBS_CONSTANT(int, row_pitch, row_bytes / key_bytes);
  // A word of each warp, for sums over a block.
  WBS_CONSTANT(int, word_bytes, warps > 1 ? warps * 8 : 0);
  WBS_CONSTANT(int, team_bytes, team_rows * row_bytes + word_bytes);

  // Rows are repaired so often, or sorted by digits; the first time in one round.
  WBS_CONSTANT(int, max_tries, 3);
  WBS_CONSTANT(int, max_rounds, 4);

 public:
  using arguments = index_args;
  WBS_CONSTANT(int, inputs, 1);
  WBS_CONSTANT(int, outputs, 2);
  WBS_CONSTANT(bool, tries_float_keys, false);
  WBS_CONSTANT(int, capacity, network_type::capacity);
  WBS_CONSTANT(int, row_lanes, lanes * warps);
  WBS_CONSTANT(int, threads, warps > 1 ? team_threads : 4 * warp_lanes);
  WBS_CONSTANT(int, block_rows, threads / team_threads * team_rows);
  WBS_CONSTANT(int, resident_blocks,
               target::index_threads_for(Registers, static_cast<int>(sizeof(entry))) / threads);

 private:
  WBS_CONSTANT(
      int, stage_bytes,
      threads / warp_lanes * network_type::stage_entries * static_cast<int>(sizeof(entry)));

 public:
  WBS_CONSTANT(int, shared_bytes, stage_bytes + threads / team_threads * team_bytes);

  // Sorts the rows of one tile, block_rows of them.
  static WBS_INLINE void sort(const index_args& args, long long tile, void* shared) {
    const gpu_index_rows team(args, tile, shared);
    team.load();
    team.sort_loaded();
    sync();
  }

 private:
  struct row {
    const char* keys;
    char* values;
    char* indices;
  };

  WBS_INLINE gpu_index_rows(const index_args& args, long long tile, void* shared) : args_(args) {
    const int team = WarpBits == 0 ? target::warp() : 0;
    stage_ = static_cast<entry*>(shared) + team * network_type::stage_entries;
    rows_ =
        reinterpret_cast<element*>(static_cast<char*>(shared) + stage_bytes + team * team_bytes);
    first_row_ = tile * block_rows + team * team_rows;
  }

  // -- threads ------------------------------------------------------------------------------------

  // A team's warps, threads and rows are numbered from 0.
  static WBS_INLINE int team_warp() { return WarpBits == 0 ? 0 : target::warp(); }
  static WBS_INLINE int team_thread() { return team_warp() * warp_lanes + target::lane(); }
  static WBS_INLINE int row_of_lane() { return WarpBits == 0 ? target::lane() / lanes : 0; }
  static WBS_INLINE int lane_of_row() {
    return team_warp() * warp_lanes + (target::lane() & (lanes - 1));
  }
  static WBS_INLINE void sync() { WarpBits == 0 ? target::sync_warp() : target::sync_block(); }

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
      Value* const values = reinterpret_cast<Value*>(rows_ + row_pitch);
      sync();
      if (target::lane() == 0) values[team_warp()] = value;
      sync();
      value = values[0];
      WBS_UNROLL
      for (int w = 1; w < warps; ++w) value = combine(value, values[w]);
    }
    return value;
  }
  WBS_INLINE bool any_in_team(bool of_lane) const {
    const int of_warp = target::any_in_warp(of_lane);
    return over_warps(of_warp, [](int a, int b) { return a | b; }) != 0;
  }

  // -- memory -------------------------------------------------------------------------------------

  static WBS_INLINE row find_row(const index_args& args, long long index) {
    row r{static_cast<const char*>(args.input[0]), static_cast<char*>(args.output[0]),
          static_cast<char*>(args.output[1])};
    WBS_ROLLED
    for (int i = args.batch_dims - 1; i >= 0; --i) {
      const long long outer = i > 0 ? quotient(index, args.batch_shape[i]) : 0;
      const long long at = index - outer * args.batch_shape[i];
      r.keys += at * args.input_batch_stride[0][i];
      r.values += at * args.output_batch_stride[0][i];
      r.indices += at * args.output_batch_stride[1][i];
      index = outer;
    }
    return r;
  }
  // Whether the rows of a team are one contiguous run of memory.
  WBS_INLINE bool is_run(long long stride, const long long* batch_stride, int bytes) const {
    return stride == bytes &&
           (team_rows == 1 || (args_.batch_dims == 1 &&
                               batch_stride[0] == static_cast<long long>(args_.length) * bytes));
  }
  // Where a team's rows begin, if they are runs.
  WBS_INLINE row first_row() const {
    if constexpr (team_rows == 1) return find_row(args_, first_row_);
    return {static_cast<const char*>(args_.input[0]) + first_row_ * args_.input_batch_stride[0][0],
            static_cast<char*>(args_.output[0]) + first_row_ * args_.output_batch_stride[0][0],
            static_cast<char*>(args_.output[1]) + first_row_ * args_.output_batch_stride[1][0]};
  }
  WBS_INLINE row own_row() const { return find_row(args_, first_row_ + row_of_lane()); }
  WBS_INLINE int present_rows() const {
    const long long left = args_.rows - first_row_;
    return left < 0 ? 0 : left < team_rows ? static_cast<int>(left) : team_rows;
  }
  WBS_INLINE bool is_full() const {
    return args_.length == capacity && args_.rows - first_row_ >= team_rows;
  }
  static WBS_INLINE bool is_aligned(const char* address, int bytes) {
    return reinterpret_cast<unsigned long long>(address) % static_cast<unsigned>(bytes) == 0;
  }
  // The row of an element of a run, by a product: exact for numbers below 2^22.
  WBS_INLINE int row_of(int at, float reciprocal_length) const {
    return team_rows == 1 ? 0
                          : static_cast<int>((static_cast<float>(at) + 0.5f) * reciprocal_length);
  }
  WBS_INLINE float reciprocal_length() const {
    return team_rows == 1 ? 0.0f : target::reciprocal(static_cast<float>(args_.length));
  }

  // Copies the team's rows into shared memory.
  WBS_INLINE void load() const {
    const char* const run = first_row().keys;
    if (!is_run(args_.input_stride[0], args_.input_batch_stride[0], key_bytes)) {
      load_strided();
    } else if (is_full() && is_aligned(run, vector_size * key_bytes)) {
      copy_in<vector_size, Registers / vector_size>([&](int c, int& to) {
        const int at = ((c * team_threads) + team_thread()) * vector_size;
        to = at / capacity * row_pitch + at % capacity;
        return run + at * key_bytes;
      });
    } else {
      const float reciprocal = reciprocal_length();
      const int count = present_rows() * args_.length;
      copy_in<1, Registers>([&](int c, int& to) -> const char* {
        const int at = c * team_threads + team_thread();
        const int r = row_of(at, reciprocal);
        to = r * row_pitch + at - r * args_.length;
        return at < count ? run + at * key_bytes : nullptr;
      });
    }
    sync();
    if (args_.length < capacity) fill();
  }
  // Fills what is behind short rows with their first elements, which leave the range as it is.
  WBS_INLINE void fill() const {
    element* const own = rows_ + row_of_lane() * row_pitch;
    const element first = own[0];
    WBS_ROLLED
    for (int at = args_.length + lane_of_row(); at < capacity; at += row_lanes) own[at] = first;
    sync();
  }
  WBS_INLINE void load_strided() const {
    const int count = own_length();
    const char* const keys = own_row().keys;
    copy_in<1, Registers>([&](int c, int& to) -> const char* {
      const int at = c * row_lanes + lane_of_row();
      to = row_of_lane() * row_pitch + at;
      return at < count ? keys + at * args_.input_stride[0] : nullptr;
    });
  }
  // Copies vectors of Size elements; `find(c, to)` returns the address of the lane's vector c, or
  // null for none, and where it goes.
  template <int Size, int Count, class Find>
  WBS_INLINE void copy_in(Find find) const {
    constexpr int bytes = Size * key_bytes;
    using vector = element_vector<element, Size>;
    if constexpr (target::has_copies && bytes >= 4) {
      WBS_UNROLL
      for (int c = 0; c < Count; ++c) {
        int to;
        const char* const from = find(c, to);
        if (from != nullptr) target::template copy<bytes>(rows_ + to, from);
      }
      target::sync_copies();
    } else {
      constexpr int burst = Count % 4 == 0 ? 4 : Count % 3 == 0 ? 3 : 1;
      WBS_UNROLL
      for (int c = 0; c < Count; c += burst) {
        vector loaded[burst];
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) {
          int to;
          const char* const from = find(c + i, to);
          if (from != nullptr) loaded[i] = target::template load_global<vector>(from);
        }
        WBS_UNROLL
        for (int i = 0; i < burst; ++i) {
          int to;
          const char* const from = find(c + i, to);
          if (from != nullptr) *reinterpret_cast<vector*>(rows_ + to) = loaded[i];
        }
      }
    }
  }

  // -- entries ------------------------------------------------------------------------------------

  static WBS_INLINE entry signed_of(word w) {
    return static_cast<entry>(w ^ word(1) << (word_bits - 1));
  }
  // An entry of a code whose first bits are the prefix.
  static WBS_INLINE entry entry_of(word code, int index, word least = 0, int shift = 0) {
    const composite<word> row(index_bits, least, static_cast<word>(shift));
    return signed_of(row.entry(code, static_cast<word>(index)));
  }
  // Behind the entries of all keys: its index is not below the row's length.
  static WBS_INLINE entry pad_of(int position) { return entry_of(~word(0), position); }
  static WBS_INLINE int index_of(entry e) {
    return static_cast<int>(composite<word>(index_bits).index(static_cast<word>(e)));
  }
  // Built where it is used: the compiler would keep its constants in registers all the time.
  WBS_INLINE codes find_codes() const {
    return codes({static_cast<unsigned long long>(target::opaque(args_.key_xor)),
                  static_cast<unsigned long long>(target::opaque(args_.key_add))});
  }

  // The position of a lane's register in the row, before it is sorted: that of register 0, hidden
  // from the compiler, which would keep all of them in registers, plus the difference.
  static WBS_INLINE int first_position() { return target::opaque(lane_of_row() * vector_size); }
  static constexpr WBS_HOST_DEVICE int offset(int j) {
    return j / vector_size * row_lanes * vector_size + j % vector_size;
  }
  WBS_INLINE int own_length() const { return row_of_lane() < present_rows() ? args_.length : 0; }

  WBS_INLINE void load_own(element (&raws)[Registers]) const {
    using vector = element_vector<element, vector_size>;
    const element* const own = rows_ + row_of_lane() * row_pitch + lane_of_row() * vector_size;
    WBS_UNROLL
    for (int j = 0; j < Registers; j += vector_size) {
      const vector v = *reinterpret_cast<const vector*>(own + offset(j));
      WBS_UNROLL
      for (int e = 0; e < vector_size; ++e) raws[j + e] = v.values[e];
    }
  }
  // Returns whether the prefixes are those of values.
  WBS_INLINE bool encode(entry (&entries)[Registers]) const {
    bool by_values = false;
    if constexpr (is_exact) {
      element raws[Registers];
      load_own(raws);
      const codes codec = find_codes();
      const int first = first_position();
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) {
        entries[j] = entry_of(codec.encode(raws[j]), first + offset(j));
      }
    } else {
      if constexpr (prefers_values) by_values = encode_values(entries);
      if (!by_values) encode_codes(entries);
    }
    if (args_.length < capacity) {
      const int first = first_position();
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) set_pad(entries[j], first + offset(j));
    }
    return by_values;
  }
  WBS_INLINE void set_pad(entry& e, int position) const {
    if (position >= args_.length) e = pad_of(position);
  }

  // Prefixes of codes.
  WBS_INLINE void encode_codes(entry (&entries)[Registers]) const {
    element raws[Registers];
    load_own(raws);
    const auto codec = find_codes();
    word codes[Registers], least = ~word(0), greatest = 0;
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) {
      codes[j] = codec.encode(raws[j]);
      least = codes[j] < least ? codes[j] : least;
      greatest = codes[j] > greatest ? codes[j] : greatest;
    }
    least = over_row(least, [](word a, word b) { return a < b ? a : b; });
    greatest = over_row(greatest, [](word a, word b) { return a > b ? a : b; });
    const int shift = target::leading_zeros(greatest - least);
    const int first = first_position();
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) {
      entries[j] = entry_of(codes[j], first + offset(j), least, shift);
    }
  }

  // Prefixes of floats: `(x - least) * scale` as an integer. Codes of floats crowd at the ends of
  // a range, values do not, and the multipliers are idle. Returns false if a row has a NaN or an
  // infinity, or if most of its values are close together.
  WBS_CONSTANT(bool, prefers_values, Codec == codec_kind::ieee && KeyBits == 32 && capacity >= 64);
  WBS_INLINE bool encode_values(entry (&entries)[Registers]) const {
    constexpr int mantissa_bits = 23;
    constexpr int bits = prefix_bits < mantissa_bits ? prefix_bits : mantissa_bits;
    constexpr float one_up = 1 << mantissa_bits, huge = 3e38f;
    // Leaves room for the rounding of the scale.
    constexpr float range = (1 << bits) - 16;
    element raws[Registers];
    load_own(raws);
    const float origin = bits_as<float>(rows_[row_of_lane() * row_pitch]);
    float least = origin, greatest = origin, spread = 0;
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) {
      const float x = bits_as<float>(raws[j]);
      least = target::lesser(x, least);
      greatest = target::greater(x, greatest);
      spread += target::magnitude(x - origin);
    }
    least = over_row(least, [](float a, float b) { return target::lesser(a, b); });
    greatest = over_row(greatest, [](float a, float b) { return target::greater(a, b); });
    spread = over_row(spread, [](float a, float b) { return a + b; });
    const float width = greatest - least;
    constexpr float share = static_cast<float>(capacity) / 64 + 1.5f;
    // As integers: a compiler may assume that no float is a NaN.
    const unsigned bits_of_spread = target::opaque(bits_as<unsigned>(spread));
    const bool is_even = bits_of_spread >= bits_as<unsigned>(width * share) &&
                         bits_of_spread < bits_as<unsigned>(huge);
    if (any_in_team(!is_even)) return false;
    const float sign = args_.key_xor != 0 ? -1.0f : 1.0f;
    const float from = -sign * (sign < 0 ? greatest : least);
    const float scale = target::lesser(range * target::reciprocal(width), 1e38f);
    const word first = static_cast<word>(first_position());
    const target multiplier{args_.opaque_one};
    WBS_UNROLL
    for (int j = 0; j < Registers; ++j) {
      const float distance = target::multiply_add(bits_as<float>(raws[j]), sign, from);
      const word prefix = bits_as<word>(target::multiply_add(distance, scale, one_up));
      // The prefix above the position, made signed; 0x4B000000 are the bits of one_up.
      constexpr word bias = (0x4B000000u << index_bits) ^ 0x80000000u;
      entries[j] = static_cast<entry>(multiplier.shift_add(
          prefix, index_bits, multiplier.add(static_cast<word>(offset(j)) - bias, first)));
    }
    return true;
  }

  // The entries of the digit that begins at a bit of the codes. After the first digit, the stage
  // has the order so far.
  WBS_INLINE void encode_digit(int first_bit, entry (&entries)[Registers]) const {
    const element* const own = rows_ + row_of_lane() * row_pitch;
    const codes codec = find_codes();
    if (first_bit == 0) {
      const int first = first_position();
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) {
        entries[j] =
            entry_of(codec.encode(own[first + offset(j)]), first + offset(j), 0, index_bits);
        set_pad(entries[j], first + offset(j));
      }
    } else {
      const int thread = target::opaque(team_thread());
      const entry* const from = place(thread * Registers);
      const int first = lane_of_row() * Registers;
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) {
        const int at = index_of(from[j]);
        const word code = at < args_.length ? word(codec.encode(own[at])) : ~word(0);
        entries[j] = entry_of(code >> first_bit, at, 0, 2 * index_bits) +
                     (static_cast<entry>(first + j) << index_bits);
      }
      sync();
    }
  }

  // -- sorting ------------------------------------------------------------------------------------

  WBS_INLINE void sort_loaded() const {
    bool by_values = false;
    int first_bit = -1;  // of the digit that entries are sorted by; -1: by prefixes
    for (;;) {
      entry entries[Registers];
      if (is_exact || first_bit < 0) {
        by_values = encode(entries);
      } else {
        encode_digit(first_bit, entries);
      }
      network_type::sort(target{{args_.opaque_one}}, entries, stage_);
      set_stage(entries);
      sync();
      if (!is_exact && first_bit >= 0) {
        first_bit += first_bit == 0 ? prefix_bits : digit_bits;
        if (first_bit < KeyBits) continue;
      }
      const bool is_sorted = is_exact || first_bit >= 0;
      WBS_ROLLED
      for (int tries = 0; tries < max_tries; ++tries) {
        const bool is_wrong = store(by_values);
        if (is_sorted || !any_in_team(is_wrong)) return;
        // One round suffices for most rows.
        repair(tries == 0 ? 1 : max_rounds);
      }
      first_bit = 0;
    }
  }

  // A place in the stage of the entries of lanes, by the number of a position in the team's rows.
  WBS_INLINE entry* place(int number) const {
    const int thread = number / Registers;
    return stage_ + thread / warp_lanes * network_type::stage_entries +
           thread % warp_lanes * network_type::blocked_pitch + number % Registers;
  }
  WBS_INLINE void set_stage(const entry (&entries)[Registers]) const {
    using vector = entry_vector<entry>;
    entry* const to = place(team_thread() * Registers);
    constexpr int size = Registers % vector::size == 0 ? vector::size : 1;
    WBS_UNROLL
    for (int j = 0; j < Registers; j += size) {
      entry_vector<entry, size> v;
      WBS_UNROLL
      for (int e = 0; e < size; ++e) v.entries[e] = entries[j + e];
      *reinterpret_cast<entry_vector<entry, size>*>(to + j) = v;
    }
  }

  // Exchanges neighbours that are in the wrong order, in so many rounds at most. Equal keys never
  // pass each other.
  WBS_INLINE void repair(int rounds) const {
    const codes codec = find_codes();
    constexpr int pairs = Registers / 2, burst = pairs % 4 == 0 ? 4 : pairs % 2 == 0 ? 2 : 1;
    WBS_ROLLED
    for (int round = 0; round < rounds; ++round) {
      bool moved = false;
      WBS_ROLLED
      for (int parity = 0; parity < 2; ++parity) {
        sync();
        WBS_ROLLED
        for (int c = 0; c < pairs; c += burst) {
          const int first = 2 * (c * team_threads + target::opaque(team_thread())) + parity;
          entry low[burst], high[burst];
          bool is_wrong[burst];
          WBS_UNROLL
          for (int i = 0; i < burst; ++i) {
            const int at = first + 2 * i * team_threads;
            is_wrong[i] = at % capacity + 1 < args_.length && at / capacity < present_rows();
            if (is_wrong[i]) {
              low[i] = *place(at);
              high[i] = *place(at + 1);
              const element* const row = rows_ + at / capacity * row_pitch;
              is_wrong[i] =
                  codec.encode(row[index_of(low[i])]) > codec.encode(row[index_of(high[i])]);
            }
          }
          WBS_UNROLL
          for (int i = 0; i < burst; ++i) {
            if (is_wrong[i]) {
              const int at = first + 2 * i * team_threads;
              *place(at) = high[i];
              *place(at + 1) = low[i];
              moved = true;
            }
          }
        }
      }
      if (!any_in_team(moved)) break;
    }
    sync();
  }

  // -- results ------------------------------------------------------------------------------------

  enum class way { vectors, run, strided };

  // Stores the rows as the stage has them. Returns whether this lane saw neighbours in the wrong
  // order.
  WBS_INLINE bool store(bool by_values) const {
    const bool has_values = args_.output[0] != nullptr;
    const int index_bytes = args_.index_bytes;
    const bool is_in_run =
        (!has_values || is_run(args_.output_stride[0], args_.output_batch_stride[0], key_bytes)) &&
        is_run(args_.output_stride[1], args_.output_batch_stride[1], index_bytes);
    if (!is_in_run) return store_by<way::strided>(own_row());
    const row run = first_row();
    if (is_full() && (!has_values || is_aligned(run.values, vector_size * key_bytes)) &&
        is_aligned(run.indices, vector_size * 4)) {
      if constexpr (prefers_values) {
        if (by_values) return store_by<way::vectors, true>(run);
      }
      return store_by<way::vectors>(run);
    }
    return store_by<way::run>(run);
  }
  // What is compared to tell whether keys are in order: codes, or values of which none is a NaN.
  template <bool ByValues>
  static WBS_INLINE auto order_of(const codes& codec, float sign, element raw) {
    if constexpr (ByValues) {
      return bits_as<float>(raw) * sign;
    } else {
      return codec.encode(raw);
    }
  }
  template <way Way, bool ByValues = false>
  WBS_INLINE bool store_by(const row& to) const {
    constexpr int size = Way == way::vectors ? vector_size : 1, count = Registers / size;
    // Lanes whose positions follow each other; the last one's are followed by the first one's next.
    constexpr int group = Way == way::strided ? lanes : warp_lanes;
    const int warp_lane = target::opaque(target::lane()), lane = warp_lane & (group - 1);
    const int source = (warp_lane & ~(group - 1)) | ((lane - 1) & (group - 1));
    const int length = Way == way::vectors ? capacity : args_.length;
    const int end = Way == way::strided ? own_length() : present_rows() * length;
    const float reciprocal = Way == way::run ? reciprocal_length() : 0.0f;
    const codes codec = find_codes();
    const float sign = args_.key_xor != 0 ? -1.0f : 1.0f;
    decltype(order_of<ByValues>(codec, sign, element())) last = 0;
    bool is_wrong = false;
    if constexpr (WarpBits > 0 && !is_exact) {
      // The last lane has the code before the warp's first one.
      const int before = team_warp() * warp_lanes * Registers - 1;
      if (lane == group - 1 && before >= 0 && before < length) {
        last = order_of<ByValues>(codec, sign, rows_[index_of(*place(before))]);
      }
    }
    WBS_UNROLL
    for (int c = 0; c < count; ++c) {
      const int number = ((team_warp() * count + c) * group + lane) * size;
      const int r = Way == way::vectors ? number / capacity
                    : Way == way::run   ? row_of(number, reciprocal)
                                        : row_of_lane();
      const int p = Way == way::strided ? number : number - r * length;
      const bool present = Way == way::vectors || number < end;
      element_vector<element, size> values{};
      if (present) {
        const entry_vector<entry, size> v =
            *reinterpret_cast<const entry_vector<entry, size>*>(place(r * capacity + p));
        int indices[size];
        WBS_UNROLL
        for (int e = 0; e < size; ++e) {
          indices[e] = index_of(v.entries[e]);
          values.values[e] = rows_[r * row_pitch + indices[e]];
        }
        if constexpr (Way == way::strided) {
          store_elements(to.values + p * args_.output_stride[0],
                         to.indices + p * args_.output_stride[1], values, indices);
        } else {
          store_elements(to.values + number * key_bytes, to.indices + number * args_.index_bytes,
                         values, indices);
        }
      }
      if constexpr (!is_exact) {
        auto code = order_of<ByValues>(codec, sign, values.values[size - 1]);
        const auto before = target::from_lane(lane == group - 1 ? last : code, source);
        last = code;
        WBS_UNROLL
        for (int e = size - 2; e >= 0; --e) {
          const auto lower = order_of<ByValues>(codec, sign, values.values[e]);
          is_wrong |= present && lower > code;
          code = lower;
        }
        is_wrong |= present && p > 0 && before > code;
      }
    }
    return is_wrong;
  }
  template <int Size>
  WBS_INLINE void store_elements(char* values, char* indices,
                                 const element_vector<element, Size>& elements,
                                 const int (&numbers)[Size]) const {
    if (args_.output[0] != nullptr) target::store_global(values, elements);
    if (args_.index_bytes == 4) {
      element_vector<int, Size> narrow;
      WBS_UNROLL
      for (int e = 0; e < Size; ++e) narrow.values[e] = numbers[e];
      target::store_global(indices, narrow);
    } else {
      constexpr int step = Size < 2 ? Size : 2;
      WBS_UNROLL
      for (int e = 0; e < Size; e += step) {
        element_vector<long long, step> wide;
        WBS_UNROLL
        for (int i = 0; i < step; ++i) wide.values[i] = numbers[e + i];
        target::store_global(indices + e * 8, wide);
      }
    }
  }

  const index_args& args_;
  entry* stage_;
  element* rows_;
  long long first_row_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_INDEX_ROWS_HPP_
