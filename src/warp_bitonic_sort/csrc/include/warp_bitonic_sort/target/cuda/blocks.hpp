// Blocks of 16 or 32 registers on CUDA: a leaf, or the half-cleaners of a merge, as one assembler
// statement.
//
// The optimiser before ptxas treats such a statement as a unit. Comparator by comparator, a leaf
// takes as long to compile as a third of a kernel. ptxas gets the same instructions, and makes the
// same machine code.
//
// Invariant: the comparators and their order are those of network/leaves.hpp and of
// network/warp.hpp's half-cleaners (tests/cpp/check_gpu_pieces.cc reads them out of the text). The
// text needs no CUDA compiler.
#ifndef WARP_BITONIC_SORT_TARGET_CUDA_BLOCKS_HPP_
#define WARP_BITONIC_SORT_TARGET_CUDA_BLOCKS_HPP_

#include <warp_bitonic_sort/core/register_codec.hpp>
#include <warp_bitonic_sort/network/leaves.hpp>

// clang-format off
// What network/warp.hpp's clean() does: C at even positions, S at odd ones.
#define WBS_CLEAN_4(C, S, a, b, c, d) C(a, c) S(b, d) C(a, b) C(c, d)
#define WBS_CLEAN_8(C, S, a, b, c, d, e, f, g, h) \
  C(a, e) S(b, f) C(c, g) S(d, h)                 \
  WBS_CLEAN_4(C, S, a, b, c, d)                   \
  WBS_CLEAN_4(C, S, e, f, g, h)
#define WBS_CLEAN_16(C, S, k)                                                       \
  C(k##0, k##8) S(k##1, k##9) C(k##2, k##10) S(k##3, k##11)                         \
  C(k##4, k##12) S(k##5, k##13) C(k##6, k##14) S(k##7, k##15)                       \
  WBS_CLEAN_8(C, S, k##0, k##1, k##2, k##3, k##4, k##5, k##6, k##7)                 \
  WBS_CLEAN_8(C, S, k##8, k##9, k##10, k##11, k##12, k##13, k##14, k##15)
#define WBS_CLEAN_32(C, S, k, l)                                                    \
  C(k##0, l##0) S(k##1, l##1) C(k##2, l##2) S(k##3, l##3) C(k##4, l##4)             \
  S(k##5, l##5) C(k##6, l##6) S(k##7, l##7) C(k##8, l##8) S(k##9, l##9)             \
  C(k##10, l##10) S(k##11, l##11) C(k##12, l##12) S(k##13, l##13)                   \
  C(k##14, l##14) S(k##15, l##15)                                                   \
  WBS_CLEAN_16(C, S, k) WBS_CLEAN_16(C, S, l)

// Comparators of words, and of halves of words: t is the lesser.
#define WBS_PTX_EXCHANGE(type, a, b) \
  "min." type " t, " #a ", " #b ";\nmax." type " " #b ", " #a ", " #b ";\nmov.b32 " #a ", t;\n"
#define WBS_PTX_WORDS(a, b) WBS_PTX_EXCHANGE("s32", a, b)
#define WBS_PTX_PACKED16(a, b) WBS_PTX_EXCHANGE("s16x2", a, b)
// The same by sums, as in cuda_target::compare_exchange_imad.
#define WBS_PTX_EXCHANGE_IMAD(type, a, b)                               \
  "mad.lo.s32 u, " #a ", one, " #b ";\nmin." type " " #a ", " #a ", " #b \
  ";\nmad.lo.s32 " #b ", " #a ", minus, u;\n"
#define WBS_PTX_WORDS_IMAD(a, b) WBS_PTX_EXCHANGE_IMAD("s32", a, b)
#define WBS_PTX_PACKED16_IMAD(a, b) WBS_PTX_EXCHANGE_IMAD("s16x2", a, b)

// M for the name of every register and the number of its operand.
#define WBS_PTX_EACH_16(M)                                                       \
  M(p0, 0) M(p1, 1) M(p2, 2) M(p3, 3) M(p4, 4) M(p5, 5) M(p6, 6) M(p7, 7)        \
  M(p8, 8) M(p9, 9) M(p10, 10) M(p11, 11) M(p12, 12) M(p13, 13) M(p14, 14) M(p15, 15)
#define WBS_PTX_EACH_32(M)                                                       \
  WBS_PTX_EACH_16(M)                                                             \
  M(q0, 16) M(q1, 17) M(q2, 18) M(q3, 19) M(q4, 20) M(q5, 21) M(q6, 22) M(q7, 23) \
  M(q8, 24) M(q9, 25) M(q10, 26) M(q11, 27) M(q12, 28) M(q13, 29) M(q14, 30) M(q15, 31)
#define WBS_PTX_ENTER(name, number) "mov.b32 " #name ", %" #number ";\n"
#define WBS_PTX_LEAVE(name, number) "mov.b32 %" #number ", " #name ";\n"
// Two operands behind the keys are one and minus one.
#define WBS_PTX_BLOCK(each, one_number, minus_number, text)            \
  "{\n.reg .b32 t, u, one, minus, p<16>, q<16>;\nmov.b32 one, %" #one_number \
  ";\nmov.b32 minus, %" #minus_number ";\n" each(WBS_PTX_ENTER) text     \
  each(WBS_PTX_LEAVE) "}"
// clang-format on

#define WBS_PTX_LEAF_16(comparator, imad) \
  WBS_PTX_BLOCK(WBS_PTX_EACH_16, 16, 17, WBS_LEAF_16(comparator, imad, p))
#define WBS_PTX_LEAF_32(comparator, imad) \
  WBS_PTX_BLOCK(WBS_PTX_EACH_32, 32, 33, WBS_LEAF_32(comparator, imad, p, q))
#define WBS_PTX_CLEAN_16(comparator, imad) \
  WBS_PTX_BLOCK(WBS_PTX_EACH_16, 16, 17, WBS_CLEAN_16(comparator, imad, p))
#define WBS_PTX_CLEAN_32(comparator, imad) \
  WBS_PTX_BLOCK(WBS_PTX_EACH_32, 32, 33, WBS_CLEAN_32(comparator, imad, p, q))

#if defined(__CUDACC__)

namespace warp_bitonic_sort {
namespace cuda_detail {

__device__ __forceinline__ int& word_of(int& key) { return key; }
__device__ __forceinline__ unsigned& word_of(key16x2& key) { return key.both; }

// clang-format off
#define WBS_PTX_KEY(number) "+r"(word_of(keys[number]))
#define WBS_PTX_KEYS_16                                                          \
  WBS_PTX_KEY(0), WBS_PTX_KEY(1), WBS_PTX_KEY(2), WBS_PTX_KEY(3), WBS_PTX_KEY(4), \
  WBS_PTX_KEY(5), WBS_PTX_KEY(6), WBS_PTX_KEY(7), WBS_PTX_KEY(8), WBS_PTX_KEY(9), \
  WBS_PTX_KEY(10), WBS_PTX_KEY(11), WBS_PTX_KEY(12), WBS_PTX_KEY(13),             \
  WBS_PTX_KEY(14), WBS_PTX_KEY(15)
#define WBS_PTX_KEYS_32                                                          \
  WBS_PTX_KEYS_16,                                                               \
  WBS_PTX_KEY(16), WBS_PTX_KEY(17), WBS_PTX_KEY(18), WBS_PTX_KEY(19),             \
  WBS_PTX_KEY(20), WBS_PTX_KEY(21), WBS_PTX_KEY(22), WBS_PTX_KEY(23),             \
  WBS_PTX_KEY(24), WBS_PTX_KEY(25), WBS_PTX_KEY(26), WBS_PTX_KEY(27),             \
  WBS_PTX_KEY(28), WBS_PTX_KEY(29), WBS_PTX_KEY(30), WBS_PTX_KEY(31)
// clang-format on

template <int Bits>
struct block;

#define WBS_CUDA_BLOCK(bits, size)                                         \
  template <>                                                              \
  struct block<bits> {                                                     \
    static __device__ __forceinline__ void sort(int* keys, int one) {      \
      asm(WBS_PTX_LEAF_##size(WBS_PTX_WORDS, WBS_PTX_WORDS_IMAD)           \
          : WBS_PTX_KEYS_##size                                            \
          : "r"(one), "r"(-one));                                          \
    }                                                                      \
    static __device__ __forceinline__ void sort(key16x2* keys, int one) {  \
      asm(WBS_PTX_LEAF_##size(WBS_PTX_PACKED16, WBS_PTX_PACKED16_IMAD)     \
          : WBS_PTX_KEYS_##size                                            \
          : "r"(one), "r"(-one));                                          \
    }                                                                      \
    static __device__ __forceinline__ void clean(int* keys, int one) {     \
      asm(WBS_PTX_CLEAN_##size(WBS_PTX_WORDS, WBS_PTX_WORDS_IMAD)          \
          : WBS_PTX_KEYS_##size                                            \
          : "r"(one), "r"(-one));                                          \
    }                                                                      \
    static __device__ __forceinline__ void clean(key16x2* keys, int one) { \
      asm(WBS_PTX_CLEAN_##size(WBS_PTX_PACKED16, WBS_PTX_PACKED16_IMAD)    \
          : WBS_PTX_KEYS_##size                                            \
          : "r"(one), "r"(-one));                                          \
    }                                                                      \
  };
WBS_CUDA_BLOCK(4, 16)
WBS_CUDA_BLOCK(5, 32)
#undef WBS_CUDA_BLOCK
#undef WBS_PTX_KEYS_32
#undef WBS_PTX_KEYS_16
#undef WBS_PTX_KEY

}  // namespace cuda_detail
}  // namespace warp_bitonic_sort

#endif

#endif  // WARP_BITONIC_SORT_TARGET_CUDA_BLOCKS_HPP_
