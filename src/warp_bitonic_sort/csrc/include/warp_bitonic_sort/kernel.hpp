// The one header of a kernel's translation unit, for every target.
//
//     #include <warp_bitonic_sort/kernel.hpp>
//     WARP_BITONIC_SORT_KERNEL("name", all, none, ieee, 32, rows, 24, 3, 0)
//
// The macro's arguments: the kernel's name, its selection, payload, codec and bits of a key, its
// access, and its layout: registers, lane bits, warp bits. The compiler's own macros tell the
// target. On a CPU, 0 registers stand for a tile in memory, for rows of any length.
//
// Invariant: the macro's arguments are the same for every target.
#ifndef WARP_BITONIC_SORT_KERNEL_HPP_
#define WARP_BITONIC_SORT_KERNEL_HPP_

#if defined(__CUDACC__) || defined(__HIP__) || defined(__AMDGCN__)
#include <warp_bitonic_sort/kernel/gpu.hpp>
#else
#include <warp_bitonic_sort/kernel/cpu.hpp>
#endif

#endif  // WARP_BITONIC_SORT_KERNEL_HPP_
