// Tells the CPU target that this process can run, by cpuid.
//
// Invariant: the processor has every extension that the target's flags (CPU_ARCHS in
// targets/cpu/arch.py) allow a compiler to use, and the system saves their registers. /proc/cpuinfo
// may describe another processor: under valgrind, qemu-user or Rosetta.
#ifndef WARP_BITONIC_SORT_DRIVER_CPU_ARCH_HPP_
#define WARP_BITONIC_SORT_DRIVER_CPU_ARCH_HPP_

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include <cstdint>

namespace warp_bitonic_sort::driver {

#ifdef __x86_64__

/// The features that an x86-64 processor reports.
struct CpuFeatures {
  uint32_t leaf1_ecx = 0;  // cpuid leaf 1, register ecx
  uint32_t leaf7_ebx = 0;  // cpuid leaf 7, register ebx
  uint32_t saved = 0;      // xgetbv 0: which registers the system saves
  bool is_zen4 = false;    // if it has AVX-512
};

/// Whether leaf 0's ebx and leaf 1's eax are those of AMD's family 25: Zen 4, whose units have 256
/// bits, or Zen 3, which lacks AVX-512.
inline bool is_amd_family_25(uint32_t leaf0_ebx, uint32_t leaf1_eax) {
  const uint32_t family = (leaf1_eax >> 8 & 0xf) + (leaf1_eax >> 20 & 0xff);
  return leaf0_ebx == signature_AMD_ebx && family == 25;
}

inline CpuFeatures cpu_features() {
  CpuFeatures features;
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  uint32_t vendor = 0;
  if (__get_cpuid(0, &eax, &vendor, &ecx, &edx) != 0 &&
      __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) {
    features.leaf1_ecx = ecx;
    features.is_zen4 = is_amd_family_25(vendor, eax);
  }
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) features.leaf7_ebx = ebx;
  // Without OSXSAVE, xgetbv is an illegal instruction.
  if ((features.leaf1_ecx & bit_OSXSAVE) != 0) {
    __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    features.saved = eax;
  }
  return features;
}

inline const char* cpu_arch_of(const CpuFeatures& cpu) {
  const auto has = [](uint32_t word, uint32_t bits) { return (word & bits) == bits; };
  // -mavx2 -mbmi2 imply the rest. -mprfchw needs nothing: without it, prefetchw does nothing.
  const bool avx2 = has(cpu.leaf1_ecx, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT |
                                           bit_OSXSAVE | bit_AVX) &&
                    has(cpu.leaf7_ebx, bit_AVX2 | bit_BMI2) && has(cpu.saved, 0x06);  // xmm, ymm
  if (!avx2) return "x86-64";
  // For clang, -mavx512f implies FMA and F16C.
  const bool avx512 =
      has(cpu.leaf1_ecx, bit_FMA | bit_F16C) &&
      has(cpu.leaf7_ebx, bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL) &&
      has(cpu.saved, 0xe6);  // and the mask registers, the upper halves of zmm0-15, zmm16-31
  if (!avx512) return "x86-64-avx2";
  return cpu.is_zen4 ? "x86-64-avx512-256" : "x86-64-avx512";
}

inline const char* cpu_arch() { return cpu_arch_of(cpu_features()); }

#elif defined(__aarch64__)

inline const char* cpu_arch() { return "aarch64"; }

#else

inline const char* cpu_arch() { return "generic"; }

#endif

}  // namespace warp_bitonic_sort::driver

#endif  // WARP_BITONIC_SORT_DRIVER_CPU_ARCH_HPP_
