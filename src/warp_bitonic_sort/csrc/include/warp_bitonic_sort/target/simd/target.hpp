// The CPU target: one SIMD lane holds one row, so every position bit is a register or a tile slot
// and a step is one min and one max. Where all lanes hold one row (network/lanes.hpp), a step
// across lanes takes shuffles, too.
//
// Invariant: one generic source for every ISA, from the target's predefined macros and the
// compiler's vector extensions alone; no intrinsics header. Memory is touched only through byte
// copies, so that any alignment and any dtype is right.
#ifndef WARP_BITONIC_SORT_TARGET_SIMD_TARGET_HPP_
#define WARP_BITONIC_SORT_TARGET_SIMD_TARGET_HPP_

#include <warp_bitonic_sort/core/config.hpp>

// Vectors are never passed across a boundary between translation units.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace warp_bitonic_sort {

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
constexpr int simd_bytes = 64;
#elif defined(__AVX2__)
constexpr int simd_bytes = 32;
#else
constexpr int simd_bytes = 16;
#endif

// Bytes of a vector of rows of keys without a payload. Units of 32 bytes take vectors of 64 in two
// halves, which gains nothing in rows. In columns it does: a vector is then a whole line.
#if defined(WARP_BITONIC_SORT_ROW_SIMD_BYTES)
constexpr int row_simd_bytes = WARP_BITONIC_SORT_ROW_SIMD_BYTES;
#else
constexpr int row_simd_bytes = simd_bytes;
#endif

// Vector registers, as a power of two.
#if defined(__x86_64__) && !defined(__AVX512VL__)
constexpr int simd_register_bits = 4;
#else
constexpr int simd_register_bits = 5;
#endif

// Rows are read and written in chunks of this size, and transposed within 128-bit lanes only: no
// ISA then needs a shuffle across them.
constexpr int chunk_bytes = 16;

template <class Element, int Bytes>
struct vector_of {
  typedef Element type __attribute__((vector_size(Bytes)));
};

namespace simd_detail {

typedef unsigned long long words16 __attribute__((vector_size(16)));
typedef unsigned long long words32 __attribute__((vector_size(32)));
typedef unsigned long long words64 __attribute__((vector_size(64)));

#if defined(__clang__)
WBS_INLINE words32 join(words16 a, words16 b) { return __builtin_shufflevector(a, b, 0, 1, 2, 3); }
WBS_INLINE words64 join(words32 a, words32 b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
}
WBS_INLINE words16 low(words32 a) { return __builtin_shufflevector(a, a, 0, 1); }
WBS_INLINE words16 high(words32 a) { return __builtin_shufflevector(a, a, 2, 3); }
WBS_INLINE words32 low(words64 a) { return __builtin_shufflevector(a, a, 0, 1, 2, 3); }
WBS_INLINE words32 high(words64 a) { return __builtin_shufflevector(a, a, 4, 5, 6, 7); }
#else
// g++ makes two instructions of a generic insert or extract (and g++ 11 has none).
#if defined(__AVX2__)
typedef int ints16 __attribute__((vector_size(16)));
typedef int ints32 __attribute__((vector_size(32)));
typedef int ints64 __attribute__((vector_size(64)));
typedef long long longs32 __attribute__((vector_size(32)));
typedef long long longs64 __attribute__((vector_size(64)));
WBS_INLINE words32 join(words16 a, words16 b) {
  return (words32)__builtin_ia32_vinsertf128_si256(__builtin_ia32_si256_si((ints16)a), (ints16)b,
                                                   1);
}
WBS_INLINE words16 low(words32 a) { return (words16)__builtin_ia32_si_si256((ints32)a); }
WBS_INLINE words16 high(words32 a) {
  return (words16)__builtin_ia32_vextractf128_si256((ints32)a, 1);
}
#endif
#if defined(__AVX512DQ__)
WBS_INLINE words64 join(words32 a, words32 b) {
  const longs64 wide = (longs64)__builtin_ia32_si512_256si((ints32)a);
  return (words64)__builtin_ia32_inserti64x4_mask(wide, (longs32)b, 1, wide, (unsigned char)-1);
}
WBS_INLINE words32 low(words64 a) {
  return (words32)__builtin_ia32_extracti64x4_mask((longs64)a, 0, longs32{}, (unsigned char)-1);
}
WBS_INLINE words32 high(words64 a) {
  return (words32)__builtin_ia32_extracti64x4_mask((longs64)a, 1, longs32{}, (unsigned char)-1);
}
#endif
#endif

// Declared for discarded branches on targets that have none of the above.
template <class Words>
Words join(Words, Words) = delete;
template <class Words>
Words low(Words) = delete;
template <class Words>
Words high(Words) = delete;

#if defined(__clang__)
#define WBS_SHUFFLE(Vector, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define WBS_SHUFFLE(Vector, a, b, ...) __builtin_shuffle(a, b, Vector{__VA_ARGS__})
#endif

// The Index-th piece of `Chunks` chunks.
template <int Index, int Chunks, class Words>
WBS_INLINE auto piece_of(Words value) {
  constexpr int halves = static_cast<int>(sizeof(Words)) / (2 * chunk_bytes);
  if constexpr (Chunks > halves) {
    return value;
  } else if constexpr (Index * Chunks < halves) {
    return piece_of<Index, Chunks>(low(value));
  } else {
    return piece_of<Index - halves / Chunks, Chunks>(high(value));
  }
}

}  // namespace simd_detail

template <int KeyBits, int VectorBytes = simd_bytes>
struct simd {
  static constexpr int key_bytes = KeyBits / 8;
  static constexpr int vector_bytes = VectorBytes;
  static constexpr int lanes = vector_bytes / key_bytes;
  // Keys of one row in a chunk; also the registers of one transposition.
  static constexpr int chunk_keys = chunk_bytes / key_bytes;
  static constexpr int chunks = vector_bytes / chunk_bytes;

  using element = typename unsigned_of<KeyBits>::type;
  using signed_element = typename unsigned_of<KeyBits>::signed_type;
  using key = typename vector_of<element, vector_bytes>::type;
  using entry = key;
  using signed_key = typename vector_of<signed_element, vector_bytes>::type;
  using chunk = simd_detail::words16;

  // Where only signed compares are native, codes carry the sign bit as a bias.
#if defined(__SSE2__) && !defined(__AVX2__)
  static constexpr bool compares_signed = KeyBits != 8;
#elif defined(__AVX2__) && !defined(__AVX512VL__)
  static constexpr bool compares_signed = KeyBits == 64;
#else
  static constexpr bool compares_signed = false;
#endif
  static constexpr element bias =
      compares_signed ? static_cast<element>(element(1) << (KeyBits - 1)) : element(0);

  WBS_INLINE void compare_exchange(key& a, key& b) const {
    const key x = a, y = b;
    if constexpr (compares_signed) {
      a = (signed_key)x < (signed_key)y ? x : y;
      b = (signed_key)x < (signed_key)y ? y : x;
    } else {
      a = x < y ? x : y;
      b = x < y ? y : x;
    }
  }

  // The largest code.
  static WBS_INLINE key pad() { return broadcast(static_cast<element>(~element(0) + bias)); }
  static WBS_INLINE key broadcast(element value) { return key{} + value; }
  static WBS_INLINE key load(const void* from) {
    key value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
  }
  static WBS_INLINE void store(void* to, key value) { __builtin_memcpy(to, &value, sizeof(value)); }

  // Each lane gets the key of another one.
  template <int Mask>
  static WBS_INLINE key from_lane_xor(key value) {
    return lanes_xor<Mask>(value, make_indices<lanes>{});
  }
  // Lanes with a bit in their number take the second value, others the first.
  template <int Bit>
  static WBS_INLINE key by_lane_bit(key without, key with) {
    return lanes_by_bit<Bit>(without, with, make_indices<lanes>{});
  }

  // Loads a piece of `Chunks` chunks of every row, at a byte offset: keys[i] gets position i of
  // each row in the row's lane, for i < Chunks * chunk_keys. With Keys < chunk_keys, Chunks is 1:
  // only that many keys of a row are touched, and the rest of keys[] is undefined.
  template <int Chunks, int Keys = chunk_keys, class Rows>
  static WBS_INLINE void load_rows(const Rows& rows, long long offset, key* keys) {
    load_rows<Chunks, Keys * key_bytes * Chunks>(rows, offset, keys,
                                                 make_indices<Chunks * chunk_keys>{});
  }
  template <int Chunks, int Keys = chunk_keys, class Rows>
  static WBS_INLINE void store_rows(const Rows& rows, long long offset, const key* keys) {
    store_rows<Chunks, Keys * key_bytes * Chunks>(rows, offset, keys,
                                                  make_indices<Chunks * chunk_keys>{});
  }

 private:
  using words = typename vector_of<unsigned long long, vector_bytes>::type;

  template <int Mask, int... Lane>
  static WBS_INLINE key lanes_xor(key value, indices<Lane...>) {
    return WBS_SHUFFLE(key, value, value, (Lane ^ Mask)...);
  }
  template <int Bit, int... Lane>
  static WBS_INLINE key lanes_by_bit(key without, key with, indices<Lane...>) {
    return WBS_SHUFFLE(key, without, with, (Lane + (Lane >> Bit & 1) * lanes)...);
  }

  // Lane (q, c, e) of a vector is key e of chunk c of piece q. Register (h, l) is loaded with the
  // pieces of the rows (q, h, l); exchanging h with c and l with e transposes them. Each stage
  // rotates (h, c) or (l, e) by one bit, so that no stage depends on its own number.
  template <int Chunks, int... I>
  static WBS_INLINE void transpose(key* keys, indices<I...> all) {
    exchange_chunks<Chunks, Chunks>(keys, all);
    exchange_keys<chunk_keys>(keys, all);
  }
  template <int Chunks, int Left, int... I>
  static WBS_INLINE void exchange_chunks(key* keys, indices<I...> all) {
    if constexpr (Left > 1) {
      constexpr int half = Chunks / 2;
      const key stage[] = {pick_chunks<Chunks, I / chunk_keys / half>(
          keys[I / chunk_keys % half * 2 * chunk_keys + I % chunk_keys],
          keys[(I / chunk_keys % half * 2 + 1) * chunk_keys + I % chunk_keys],
          make_indices<vector_bytes / 8>{})...};
      ((keys[I] = stage[I]), ...);
      exchange_chunks<Chunks, Left / 2>(keys, all);
    }
  }
  template <int Left, int... I>
  static WBS_INLINE void exchange_keys(key* keys, indices<I...> all) {
    if constexpr (Left > 1) {
      constexpr int half = chunk_keys / 2;
      const key stage[] = {interleave<I % 2 * half>(
          keys[I / chunk_keys * chunk_keys + I % chunk_keys / 2],
          keys[I / chunk_keys * chunk_keys + I % chunk_keys / 2 + half], make_indices<lanes>{})...};
      ((keys[I] = stage[I]), ...);
      exchange_keys<Left / 2>(keys, all);
    }
  }

  // The even (Odd = 0) or odd chunks of each piece of a, then of b.
  template <int Chunks, int Odd, int... Word>
  static WBS_INLINE key pick_chunks(key a, key b, indices<Word...>) {
    return (key)WBS_SHUFFLE(
        words, (words)a, (words)b,
        (Word / 2 / Chunks * Chunks * 2 + (Word / 2 % Chunks % (Chunks / 2) * 2 + Odd) * 2 +
         Word % 2 + Word / 2 % Chunks / (Chunks / 2) * (vector_bytes / 8))...);
  }
  // unpack-low (First = 0) or unpack-high (First = chunk_keys / 2) within each chunk.
  template <int First, int... Lane>
  static WBS_INLINE key interleave(key a, key b, indices<Lane...>) {
    return WBS_SHUFFLE(
        key, a, b,
        (Lane / chunk_keys * chunk_keys + First + Lane % chunk_keys / 2 + Lane % 2 * lanes)...);
  }

  template <class Piece, int Bytes>
  static WBS_INLINE Piece load_piece(const char* from) {
    Piece value{};
    __builtin_memcpy(&value, from, Bytes);
    return value;
  }
  template <int Chunks, int Bytes, class Rows>
  static WBS_INLINE words load_register(const Rows& rows, int first, long long offset) {
    using piece = typename vector_of<unsigned long long, Chunks * chunk_bytes>::type;
    constexpr int stride = Chunks * chunk_keys;
    if constexpr (Chunks == chunks) {
      return load_piece<piece, Bytes>(rows[first] + offset);
    } else if constexpr (2 * Chunks == chunks) {
      return simd_detail::join(load_piece<piece, Bytes>(rows[first] + offset),
                               load_piece<piece, Bytes>(rows[first + stride] + offset));
    } else {
      return simd_detail::join(
          simd_detail::join(load_piece<piece, Bytes>(rows[first] + offset),
                            load_piece<piece, Bytes>(rows[first + stride] + offset)),
          simd_detail::join(load_piece<piece, Bytes>(rows[first + 2 * stride] + offset),
                            load_piece<piece, Bytes>(rows[first + 3 * stride] + offset)));
    }
  }
  template <int Chunks, int Bytes, class Rows, int... I>
  static WBS_INLINE void load_rows(const Rows& rows, long long offset, key* keys,
                                   indices<I...> all) {
    ((keys[I] = (key)load_register<Chunks, Bytes>(rows, I, offset)), ...);
    transpose<Chunks>(keys, all);
  }

  template <int Bytes, class Piece>
  static WBS_INLINE void store_piece(char* to, Piece value) {
    __builtin_memcpy(to, &value, Bytes);
  }
  template <int Chunks, int Bytes, class Rows, int... Piece>
  static WBS_INLINE void store_register(const Rows& rows, int first, long long offset, words value,
                                        indices<Piece...>) {
    (store_piece<Bytes>(rows[first + Piece * Chunks * chunk_keys] + offset,
                        simd_detail::piece_of<Piece, Chunks>(value)),
     ...);
  }
  template <int Chunks, int Bytes, class Rows, int... I>
  static WBS_INLINE void store_rows(const Rows& rows, long long offset, const key* keys,
                                    indices<I...> all) {
    key transposed[] = {keys[I]...};
    transpose<Chunks>(transposed, all);
    (store_register<Chunks, Bytes>(rows, I, offset, (words)transposed[I],
                                   make_indices<chunks / Chunks>{}),
     ...);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_TARGET_SIMD_TARGET_HPP_
