// What sorting with indices asks of SIMD words beyond the network: leading zeros, the lanes of a
// mask, and lookups by index in registers.
//
// Invariant: every operation has a form for any ISA; the builtins of one are only quicker.
#ifndef WARP_BITONIC_SORT_TARGET_SIMD_WORDS_HPP_
#define WARP_BITONIC_SORT_TARGET_SIMD_WORDS_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/target/simd/target.hpp>

namespace warp_bitonic_sort {

// A table of words in up to `Vectors` vectors of Lanes: 4, 8 or 16.
template <int Lanes, int Vectors>
class word_table {
 public:
  using vector = typename vector_of<unsigned, Lanes * 4>::type;

  // Looking up in registers is quicker than loading word by word.
#if defined(__AVX512VL__)
  static constexpr bool is_quick = Vectors <= 16;
#elif defined(__AVX2__)
  static constexpr bool is_quick = Vectors <= 4 && Lanes == 8;
#else
  static constexpr bool is_quick = false;
#endif

  // `count` words from an address on, at least Lanes. The last vector is loaded from the end, so
  // that no byte beyond it is read.
  WBS_INLINE word_table(const char* from, int count) {
    WBS_UNROLL
    for (int i = 0; i < Vectors; ++i) {
      const int first = i * Lanes < count - Lanes ? i * Lanes : count - Lanes;
      vector words;
      __builtin_memcpy(&words, from + first * 4, sizeof(words));
      words_[i] = words;
    }
    last_ = vector{} + static_cast<unsigned>((count - 1) / Lanes * Lanes);
    skip_ = vector{} + static_cast<unsigned>((count + Lanes - 1) / Lanes * Lanes - count);
  }

  // For a count of whole vectors.
  WBS_INLINE vector at(vector index) const { return pick<0, Vectors>(index); }
  // For any count: the last vector's words begin at a later place of it.
  WBS_INLINE vector operator[](vector index) const {
    if constexpr (Vectors > 1) index += (vector)(index >= last_) & skip_;
    return at(index);
  }

 private:
  // Among Count vectors from the First-th on.
  template <int First, int Count>
  WBS_INLINE vector pick(vector index) const {
    if constexpr (Count == 1) {
      return permute(words_[First], index);
    } else if constexpr (Count == 2) {
      return permute(words_[First], words_[First + 1], index);
    } else {
      constexpr int half = Count > 8 ? 8 : Count > 4 ? 4 : 2;
      const vector is_high = index & unsigned(half * Lanes);
      return is_high == vector{} ? pick<First, half>(index)
                                 : pick<First + half, Count - half>(index);
    }
  }

  static WBS_INLINE vector permute(vector a, vector index) {
#if defined(__clang__) && defined(__AVX2__)
    if constexpr (Lanes == 8) {
      return (vector)__builtin_ia32_permvarsi256((ints32)a, (ints32)index);
    }
#if defined(__AVX512VL__)
    if constexpr (Lanes == 16) return (vector)__builtin_ia32_permvarsi512((ints64)a, (ints64)index);
    if constexpr (Lanes == 4) return permute(a, a, index);
#endif
#elif !defined(__clang__)
    return __builtin_shuffle(a, index);
#endif
    return one_by_one(a, a, index);
  }
  static WBS_INLINE vector permute(vector a, vector b, vector index) {
#if defined(__clang__) && defined(__AVX512VL__)
    if constexpr (Lanes == 4) {
      return (vector)__builtin_ia32_vpermi2vard128((ints16)a, (ints16)index, (ints16)b);
    } else if constexpr (Lanes == 8) {
      return (vector)__builtin_ia32_vpermi2vard256((ints32)a, (ints32)index, (ints32)b);
    } else if constexpr (Lanes == 16) {
      return (vector)__builtin_ia32_vpermi2vard512((ints64)a, (ints64)index, (ints64)b);
    }
    return one_by_one(a, b, index);
#elif defined(__AVX512VL__)
    return __builtin_shuffle(a, b, index);
#else
    const vector is_high = index & unsigned(Lanes);
    return is_high == vector{} ? permute(a, index) : permute(b, index);
#endif
  }
  static WBS_INLINE vector one_by_one(vector a, vector b, vector index) {
    vector result;
    for (int i = 0; i < Lanes; ++i) {
      result[i] = index[i] & Lanes ? b[index[i] % Lanes] : a[index[i] % Lanes];
    }
    return result;
  }
  typedef int ints16 __attribute__((vector_size(16)));
  typedef int ints32 __attribute__((vector_size(32)));
  typedef int ints64 __attribute__((vector_size(64)));

  vector words_[Vectors];
  vector last_, skip_;
};

template <int WordBits>
struct simd_words : simd<WordBits> {
  using base = simd<WordBits>;
  using base::lanes;
  template <class Element, int Count>
  using vector = typename vector_of<Element, Count* static_cast<int>(sizeof(Element))>::type;
  template <int Lanes, int Vectors>
  using table = word_table<Lanes, Vectors>;
  using typename base::element;
  using typename base::key;
  using typename base::signed_key;

  // The number of leading zeros, but one less for 0: the exponent of the word as a float tells it.
  // Half of the word is not negative, and without the bit below its first one it is not rounded up
  // to the next power of two.
  static WBS_INLINE key leading_zeros(key word) {
    using real = typename vector_of<real_element, simd_bytes>::type;
    const key half = word >> 1 | element(1);
    const real approximate = __builtin_convertvector((signed_key)(half & ~(half >> 1)), real);
    return base::broadcast(exponent_bias + WordBits - 2) - ((key)approximate >> mantissa_bits);
  }

  // A bit for each lane that is all ones in a mask of all ones and zeros.
  static WBS_INLINE unsigned lanes_of(signed_key mask) { return lanes_of_part(mask); }
  static WBS_INLINE unsigned lanes_greater(key a, key b) {
#if defined(__AVX512F__)
    // Of a generic comparison, compilers make a vector first.
    constexpr int not_less_or_equal = 6;
    if constexpr (sizeof(key) == 64 && WordBits == 32) {
      typedef int ints __attribute__((vector_size(64)));
      return static_cast<unsigned short>(
          __builtin_ia32_ucmpd512_mask((ints)a, (ints)b, not_less_or_equal, 0xFFFF));
    } else if constexpr (sizeof(key) == 64) {
      typedef long long longs __attribute__((vector_size(64)));
      return static_cast<unsigned char>(
          __builtin_ia32_ucmpq512_mask((longs)a, (longs)b, not_less_or_equal, 0xFF));
    }
#endif
    return lanes_of((signed_key)(a > b));
  }

 private:
  template <int Bits, class = void>
  struct real_of {
    using type = float;
    static constexpr int mantissa_bits = 23, exponent_bias = 127;
  };
  template <class Void>
  struct real_of<64, Void> {
    using type = double;
    static constexpr int mantissa_bits = 52, exponent_bias = 1023;
  };
  using real_element = typename real_of<WordBits>::type;
  static constexpr int mantissa_bits = real_of<WordBits>::mantissa_bits;
  static constexpr element exponent_bias = real_of<WordBits>::exponent_bias;

  template <class Mask>
  static WBS_INLINE unsigned lanes_of_part(Mask mask) {
#if defined(__AVX__)
    if constexpr (sizeof(mask) == 64) {
      using words = typename vector_of<unsigned long long, sizeof(Mask)>::type;
      return lanes_of_part(simd_detail::low((words)mask)) |
             lanes_of_part(simd_detail::high((words)mask)) << lanes / 2;
    } else if constexpr (WordBits == 32) {
      typedef float floats __attribute__((vector_size(32)));
      return static_cast<unsigned>(__builtin_ia32_movmskps256((floats)mask));
    } else {
      typedef double doubles __attribute__((vector_size(32)));
      return static_cast<unsigned>(__builtin_ia32_movmskpd256((doubles)mask));
    }
#elif defined(__SSE2__)
    if constexpr (WordBits == 32) {
      typedef float floats __attribute__((vector_size(16)));
      return static_cast<unsigned>(__builtin_ia32_movmskps((floats)mask));
    } else {
      typedef double doubles __attribute__((vector_size(16)));
      return static_cast<unsigned>(__builtin_ia32_movmskpd((doubles)mask));
    }
#else
    unsigned result = 0;
    for (int lane = 0; lane < lanes; ++lane) result |= (mask[lane] & 1u) << lane;
    return result;
#endif
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_TARGET_SIMD_WORDS_HPP_
