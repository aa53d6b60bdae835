// Writes a row's indices, and its values in their order.
//
// Invariant: values are read before any of the row's values is written, so that they may replace
// the keys. No byte outside the rows is read or written.
#ifndef WARP_BITONIC_SORT_MEMORY_CPU_INDEX_OUTPUT_HPP_
#define WARP_BITONIC_SORT_MEMORY_CPU_INDEX_OUTPUT_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// Rows at a common step.
template <class Byte>
struct strided_rows {
  Byte* base;
  long long step;
  WBS_INLINE Byte* operator[](int row) const { return base + row * step; }
};

// The rows of a kernel have Length keys, or any length where it is 0.
template <class Target, int KeyBits, int Length>
class index_output {
  using word = typename Target::element;
  using raw = typename unsigned_of<KeyBits>::type;
  static constexpr int key_bytes = KeyBits / 8;
  // Words that are written at once. The last of a row begin before the end of those before them.
  static constexpr int block = Length == 0 || Length >= Target::lanes
                                   ? Target::lanes
                                   : 1 << floor_log2(static_cast<unsigned>(Length));
  static constexpr int max_vectors = Length == 0 ? 4 : (Length + block - 1) / block;
  using words = typename Target::template vector<word, block>;
  static constexpr bool has_pairs = sizeof(word) == 4 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

 public:
  // The keys of a row at its indices. `to` may not overlap the row.
  static void fetch(const char* from, const word* order, int length, char* to) {
    if (!look_up(from, order, length, to)) fetch_one_by_one(from, order, length, to);
  }

  // The same for a few of its indices.
  static void fetch_few(const char* from, const word* order, int count, char* to) {
    fetch_one_by_one(from, order, count, to);
  }

  // Writes the row's keys by index, through `buffer` if there is one: `to` may then be the row.
  static WBS_INLINE void write_contiguous_values(const char* from, const word* order, int length,
                                                 char* to, char* buffer) {
    if (look_up(from, order, length, to)) return;
    fetch_one_by_one(from, order, length, buffer == nullptr ? to : buffer);
    if (buffer != nullptr) copy(buffer, length, to);
  }
  // Writes keys that have been fetched.
  static void write_values(const char* fetched, int length, char* to, long long stride) {
    if (stride == key_bytes) return copy(fetched, length, to);
    for (int i = 0; i < length; ++i) {
      __builtin_memcpy(to + i * stride, fetched + i * key_bytes, key_bytes);
    }
  }

  template <class Index, int Piece = block>
  static WBS_INLINE void write_contiguous_indices(const word* order, int length, char* to) {
    if (length >= Piece) {
      int i = 0;
      for (; i < length - Piece; i += Piece) convert<Index, Piece>(order, i, to);
      convert<Index, Piece>(order, length - Piece, to);
    } else if constexpr (Piece > 1) {
      write_contiguous_indices<Index, Piece / 2>(order, length, to);
    }
  }
  template <class Index>
  static void write_indices(const word* order, int length, char* to, long long stride) {
    if (stride == static_cast<int>(sizeof(Index))) {
      return write_contiguous_indices<Index>(order, length, to);
    }
    for (int i = 0; i < length; ++i) {
      const Index index = static_cast<Index>(order[i]);
      __builtin_memcpy(to + i * stride, &index, sizeof(index));
    }
  }

 private:
  static void fetch_one_by_one(const char* from, const word* order, int length, char* to) {
    int i = 0;
    for (; i <= length - 8; i += 8) {
      if constexpr (has_pairs) {
        fetch_pairs(from, order + i, to + i * key_bytes, make_indices<4>{});
      } else {
        fetch(from, order + i, to + i * key_bytes, make_indices<8>{});
      }
    }
    for (; i < length; ++i) fetch(from, order + i, to + i * key_bytes, make_indices<1>{});
  }
  template <int... I>
  static WBS_INLINE void fetch(const char* from, const word* order, char* to, indices<I...>) {
    (__builtin_memcpy(to + I * key_bytes, from + static_cast<long long>(order[I]) * key_bytes,
                      key_bytes),
     ...);
  }
  // Two indices come in one load: loads are what takes the time.
  static WBS_INLINE void fetch_two(const char* from, const word* order, char* to) {
    unsigned long long both;
    __builtin_memcpy(&both, order, sizeof(both));
    const unsigned long long first = both & 0xFFFFFFFFu, second = both >> 32;
    __builtin_memcpy(to, from + first * key_bytes, key_bytes);
    __builtin_memcpy(to + key_bytes, from + second * key_bytes, key_bytes);
  }
  template <int... I>
  static WBS_INLINE void fetch_pairs(const char* from, const word* order, char* to, indices<I...>) {
    (fetch_two(from, order + 2 * I, to + 2 * I * key_bytes), ...);
  }
  static WBS_INLINE words load(const word* order, int i) {
    words value;
    __builtin_memcpy(&value, order + i, sizeof(value));
    return value;
  }
  template <class Index, int Piece>
  static WBS_INLINE void convert(const word* order, int i, char* to) {
    typename Target::template vector<word, Piece> some;
    __builtin_memcpy(&some, order + i, sizeof(some));
    using converted = typename Target::template vector<Index, Piece>;
    const converted value = __builtin_convertvector(some, converted);
    __builtin_memcpy(to + i * static_cast<int>(sizeof(Index)), &value, sizeof(value));
  }

  static WBS_INLINE void copy(const char* from, int length, char* to) {
    if (length >= block) {
      int i = 0;
      for (; i < length - block; i += block) {
        __builtin_memcpy(to + i * key_bytes, from + i * key_bytes, block * key_bytes);
      }
      i = length - block;
      __builtin_memcpy(to + i * key_bytes, from + i * key_bytes, block * key_bytes);
    } else {
      for (int i = 0; i < length; ++i) {
        __builtin_memcpy(to + i * key_bytes, from + i * key_bytes, key_bytes);
      }
    }
  }

  // Looks keys up in registers; false if there are too many. All are read before any is written.
  static WBS_INLINE bool look_up(const char* from, const word* order, int length, char* to) {
    if constexpr (KeyBits != 32 || block < 4) {
      return false;
    } else if constexpr (Length != 0) {
      return look_up_in<max_vectors>(from, order, Length, to);
    } else {
      if (length < block) return false;
      if (length <= 4 * block) return look_up_in<4>(from, order, length, to);
      if (length <= 8 * block) return look_up_in<8>(from, order, length, to);
      return length <= 16 * block && look_up_in<16>(from, order, length, to);
    }
  }
  template <int Vectors>
  static WBS_INLINE bool look_up_in(const char* from, const word* order, int length, char* to) {
    using table = typename Target::template table<block, Vectors>;
    if constexpr (table::is_quick) {
      const table keys(from, length);
      if (length % block == 0) {
        for (int i = 0; i < length; i += block) store(to, i, keys.at(load(order, i)));
      } else {
        int i = 0;
        for (; i < length - block; i += block) store(to, i, keys[load(order, i)]);
        store(to, length - block, keys[load(order, length - block)]);
      }
      return true;
    } else {
      return false;
    }
  }
  static WBS_INLINE void store(char* to, int i, words value) {
    __builtin_memcpy(to + i * key_bytes, &value, sizeof(value));
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_CPU_INDEX_OUTPUT_HPP_
