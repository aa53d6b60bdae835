// Prints the target of a processor whose features the arguments give in hexadecimal: cpuid leaf 1
// ecx, cpuid leaf 7 ebx, xgetbv 0, cpuid leaf 0 ebx (its vendor), cpuid leaf 1 eax (its family).
// Without arguments, prints the target of this processor.
#include <cstdio>
#include <cstdlib>

#include "driver/cpu_arch.hpp"

int main(int count, char** arguments) {
  using warp_bitonic_sort::driver::cpu_arch_of;
  using warp_bitonic_sort::driver::CpuFeatures;
  const auto word = [&](int at) {
    return static_cast<uint32_t>(std::strtoul(arguments[at], nullptr, 16));
  };
  if (count == 1) {
    const CpuFeatures cpu = warp_bitonic_sort::driver::cpu_features();
    std::printf("%x %x %x %s\n", cpu.leaf1_ecx, cpu.leaf7_ebx, cpu.saved, cpu_arch_of(cpu));
  }
  for (int at = 1; at + 4 < count; at += 5) {
    const bool halves = warp_bitonic_sort::driver::is_amd_family_25(word(at + 3), word(at + 4));
    std::printf("%s\n", cpu_arch_of(CpuFeatures{word(at), word(at + 1), word(at + 2), halves}));
  }
}
