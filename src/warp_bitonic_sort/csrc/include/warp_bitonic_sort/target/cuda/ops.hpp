// Codec operations on CUDA.
//
// Invariant: the same results as core/packed16.hpp and core/float32_codec.hpp. Each operation is
// one assembler statement, because nvcc compiles two codec calls per register of a kernel.
#ifndef WARP_BITONIC_SORT_TARGET_CUDA_OPS_HPP_
#define WARP_BITONIC_SORT_TARGET_CUDA_OPS_HPP_

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/core/float32_codec.hpp>
#include <warp_bitonic_sort/core/packed16.hpp>

namespace warp_bitonic_sort {

struct cuda_packed16 : packed16 {
  static WBS_INLINE unsigned signs(unsigned both) {
    unsigned result;
    asm("prmt.b32 %0, %1, 0, 0xBB99;" : "=r"(result) : "r"(both));
    return result;
  }
  // On the multipliers.
  static WBS_INLINE unsigned magnitudes(unsigned signs, unsigned inverse = 0) {
    return signs * ((0x80008001u ^ inverse) - inverse) + (inverse & 0x7FFF7FFFu);
  }
  static WBS_INLINE unsigned low_halves(unsigned low, unsigned high) {
    unsigned result;
    asm("prmt.b32 %0, %1, %2, 0x5410;" : "=r"(result) : "r"(low), "r"(high));
    return result;
  }
  static WBS_INLINE unsigned high_halves(unsigned low, unsigned high) {
    unsigned result;
    asm("prmt.b32 %0, %1, %2, 0x7632;" : "=r"(result) : "r"(low), "r"(high));
    return result;
  }
#if __CUDA_ARCH__ >= 900
  WBS_CONSTANT(bool, is_fast, true);
  static WBS_INLINE unsigned add(unsigned a, unsigned b) {
    unsigned result;
    asm("add.u16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
    return result;
  }
  static WBS_INLINE unsigned lesser(unsigned a, unsigned b) {
    unsigned result;
    asm("min.s16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
    return result;
  }
  static WBS_INLINE unsigned greater(unsigned a, unsigned b) {
    unsigned result;
    asm("max.s16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
    return result;
  }
#endif
};

struct cuda_float32_steps {
  static WBS_INLINE unsigned key_of(unsigned raw, unsigned factor, unsigned term) {
    unsigned key;
    asm("{\n"
        ".reg .b32 t;\n"
        "shr.s32 t, %1, 31;\n"
        "and.b32 t, t, 0x7FFFFFFF;\n"
        "xor.b32 t, t, %1;\n"
        "mad.lo.s32 %0, t, %2, %3;\n"
        "}"
        : "=r"(key)
        : "r"(raw), "r"(factor), "r"(term));
    return key;
  }
  static WBS_INLINE unsigned raw_of(unsigned key, unsigned factor, unsigned back) {
    unsigned raw;
    asm("{\n"
        ".reg .b32 t, folded;\n"
        "mad.lo.s32 folded, %1, %2, %3;\n"
        "shr.s32 t, folded, 31;\n"
        "and.b32 t, t, 0x7FFFFFFF;\n"
        "xor.b32 %0, t, folded;\n"
        "}"
        : "=r"(raw)
        : "r"(key), "r"(factor), "r"(back));
    return raw;
  }
};

// By a predicate: a negative number is taken from a constant. One instruction of the pipe of minima
// less, and one more of the multipliers.
struct cuda_float32_predicated_steps {
  static WBS_INLINE unsigned key_of(unsigned raw, unsigned factor, unsigned term) {
    unsigned key;
    asm("{\n"
        ".reg .pred below;\n"
        "setp.lt.s32 below, %1, 0;\n"
        "mad.lo.s32 %0, %1, %2, %3;\n"
        "@below mad.lo.s32 %0, %1, %4, %5;\n"
        "}"
        : "=&r"(key)
        : "r"(raw), "r"(factor), "r"(term), "r"(0u - factor), "r"(0x7FFFFFFFu * factor + term));
    return key;
  }
  static WBS_INLINE unsigned raw_of(unsigned key, unsigned factor, unsigned back) {
    unsigned raw;
    asm("{\n"
        ".reg .pred below;\n"
        "mad.lo.s32 %0, %1, %2, %3;\n"
        "setp.lt.s32 below, %0, 0;\n"
        "@below mad.lo.s32 %0, %1, %4, %5;\n"
        "}"
        : "=&r"(raw)
        : "r"(key), "r"(factor), "r"(back), "r"(0u - factor), "r"(0x7FFFFFFFu - back));
    return raw;
  }
};

struct cuda_ops {
  using packed16 = cuda_packed16;
  using float32_codec = warp_bitonic_sort::float32_codec<cuda_float32_steps>;
};
// For rows that are sorted, whose keys are loaded without conditions.
struct cuda_row_ops : cuda_ops {
  using float32_codec = warp_bitonic_sort::float32_codec<cuda_float32_predicated_steps>;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_TARGET_CUDA_OPS_HPP_
