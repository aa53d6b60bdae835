// Transposes rows that lie side by side in memory, a SIMD vector of them, to rows in scratch memory
// whose elements are contiguous, and back.
//
// Invariant: no byte outside the columns is read or written. Rows in scratch memory have room for a
// whole number of blocks.
#ifndef WARP_BITONIC_SORT_MEMORY_CPU_COLUMNS_HPP_
#define WARP_BITONIC_SORT_MEMORY_CPU_COLUMNS_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/memory/cpu/index_output.hpp>

namespace warp_bitonic_sort {

// Hardware prefetchers do not follow many columns at once. The line that is prefetched is the first
// that the next vector of the column does not touch, however it is aligned.
constexpr int column_bytes_ahead = 128;

// Rows of Elements, which are transposed as words.
template <class Target, class Element>
class columns {
  using word = typename Target::element;
  using words = typename Target::key;
  static constexpr int lanes = Target::lanes, block = 16;
  static constexpr int piece = lanes < block ? lanes : block;
  static constexpr int element_bytes = static_cast<int>(sizeof(Element));
  static constexpr bool are_words = sizeof(Element) == sizeof(word);
  template <class Type, int Count>
  using vector = typename Target::template vector<Type, Count>;

 public:
  static __attribute__((noinline)) void load(const char* from, long long stride, int length,
                                             char* rows, long long row_bytes) {
    for (int first = 0; first < length; first += block) {
      words column[block];
      const int count = length - first < block ? length - first : block;
      for (int i = 0; i < block; ++i) {
        // Beyond the end, the last one again.
        const int at = first + (i < count ? i : count - 1);
        __builtin_prefetch(from + at * stride + column_bytes_ahead);
        column[i] = widen(read<vector<Element, lanes>>(from + at * stride));
      }
      word buffer[lanes * block];
      char* const to = rows + first * element_bytes;
      store_rows(are_words ? strided_rows<char>{to, row_bytes} : rows_of(buffer), column,
                 make_indices<block / piece>{});
      if constexpr (!are_words) {
        for (int lane = 0; lane < lanes; ++lane) {
          const auto row =
              read<vector<word, block>>(reinterpret_cast<char*>(buffer + lane * block));
          write(to + lane * row_bytes, __builtin_convertvector(row, vector<Element, block>));
        }
      }
    }
  }

  // The elements of the columns are of type To.
  template <class To>
  static __attribute__((noinline)) void store(const char* rows, long long row_bytes, int length,
                                              char* to, long long stride) {
    for (int first = 0; first < length; first += block) {
      const char* const from = rows + first * element_bytes;
      word buffer[lanes * block];
      if constexpr (!are_words) {
        for (int lane = 0; lane < lanes; ++lane) {
          const auto row = read<vector<Element, block>>(from + lane * row_bytes);
          write(reinterpret_cast<char*>(buffer + lane * block),
                __builtin_convertvector(row, vector<word, block>));
        }
      }
      words column[block];
      const strided_rows<const char> packed{reinterpret_cast<const char*>(buffer),
                                            block * static_cast<int>(sizeof(word))};
      load_rows(are_words ? strided_rows<const char>{from, row_bytes} : packed, column,
                make_indices<block / piece>{});
      for (int i = 0; i < block && first + i < length; ++i) {
        __builtin_prefetch(to + (first + i) * stride + column_bytes_ahead, 1);
        write(to + (first + i) * stride, __builtin_convertvector(column[i], vector<To, lanes>));
      }
    }
  }

 private:
  template <class Vector>
  static WBS_INLINE Vector read(const char* from) {
    Vector value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
  }
  template <class Vector>
  static WBS_INLINE void write(char* to, const Vector& value) {
    __builtin_memcpy(to, &value, sizeof(value));
  }
  static WBS_INLINE words widen(const vector<Element, lanes>& elements) {
    return __builtin_convertvector(elements, words);
  }
  static WBS_INLINE strided_rows<char> rows_of(word* buffer) {
    return {reinterpret_cast<char*>(buffer), block * static_cast<int>(sizeof(word))};
  }
  template <int... I>
  static WBS_INLINE void store_rows(const strided_rows<char>& rows, const words* column,
                                    indices<I...>) {
    (Target::template store_rows<piece / Target::chunk_keys>(
         rows, I * piece * static_cast<int>(sizeof(word)), column + I * piece),
     ...);
  }
  template <int... I>
  static WBS_INLINE void load_rows(const strided_rows<const char>& rows, words* column,
                                   indices<I...>) {
    (Target::template load_rows<piece / Target::chunk_keys>(
         rows, I * piece * static_cast<int>(sizeof(word)), column + I * piece),
     ...);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_CPU_COLUMNS_HPP_
