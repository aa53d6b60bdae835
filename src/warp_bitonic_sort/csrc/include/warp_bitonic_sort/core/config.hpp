// Defines function attributes, fixed-width unsigned integers and index packs for all headers.
//
// Invariant: includes nothing, so that a kernel's translation unit parses in milliseconds and the
// same text compiles under g++, clang++, nvcc, hipcc and NVRTC.
#ifndef WARP_BITONIC_SORT_CORE_CONFIG_HPP_
#define WARP_BITONIC_SORT_CORE_CONFIG_HPP_

// Replaces cuda_runtime.h or hip_runtime.h where the compiler is told to leave that header out:
// reading it takes as long as compiling a kernel.
#if defined(WBS_WITHOUT_CUDA_RUNTIME) || (defined(__HIP__) && !defined(__device__))
#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __constant__ __attribute__((constant))
#define __shared__ __attribute__((shared))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __grid_constant__ __attribute__((grid_constant))
#define __cluster_dims__(...) __attribute__((cluster_dims(__VA_ARGS__)))
#define __forceinline__ __inline__ __attribute__((always_inline))
#endif

#if defined(__CUDACC_RTC__)
// NVRTC has no __builtin_memcpy, and declares memcpy in its own runtime header only.
#if defined(WBS_WITHOUT_CUDA_RUNTIME)
extern "C" __device__ void* memcpy(void*, const void*, decltype(sizeof(0)));
#endif
#define __builtin_memcpy memcpy
#endif

#if defined(__CUDACC__) || defined(__HIPCC__)
#define WBS_HOST_DEVICE __host__ __device__
#else
#define WBS_HOST_DEVICE
#endif

// A constant of a class. NVRTC emits a device variable for every static constexpr member, used or
// not, which doubles a kernel's load time. It emits none for enumerators and variable templates, so
// every constant that a kernel reads is one of the two.
#if defined(__CUDACC_RTC__)
#define WBS_CONSTANT(type, name, ...) enum : type { name = (__VA_ARGS__) }
#else
#define WBS_CONSTANT(type, name, ...) static constexpr type name = (__VA_ARGS__)
#endif

// A network becomes straight-line code only if every call in it is inlined. Its size exceeds the
// limits at which optimisers stop inlining.
#if defined(__CUDACC__) || defined(__HIPCC__)
#define WBS_INLINE __device__ inline __attribute__((always_inline))
#elif defined(__GNUC__) || defined(__clang__)
#define WBS_INLINE inline __attribute__((always_inline))
#else
#define WBS_INLINE inline
#endif

// Loops over registers are unrolled: a run-time index would move the registers to memory.
#if defined(__clang__) || defined(__CUDACC__) || defined(__HIPCC__)
#define WBS_UNROLL _Pragma("unroll")
#else
#define WBS_UNROLL _Pragma("GCC unroll 64")
#endif
// Loops over memory stay rolled, which keeps the code short.
#if defined(__clang__) || defined(__CUDACC__) || defined(__HIPCC__)
#define WBS_ROLLED _Pragma("unroll 1")
#else
#define WBS_ROLLED _Pragma("GCC unroll 1")
#endif

namespace warp_bitonic_sort {

template <int Bits>
struct unsigned_of;
template <>
struct unsigned_of<8> {
  using type = unsigned char;
  using signed_type = signed char;
};
template <>
struct unsigned_of<16> {
  using type = unsigned short;
  using signed_type = short;
};
template <>
struct unsigned_of<32> {
  using type = unsigned int;
  using signed_type = int;
};
template <>
struct unsigned_of<64> {
  using type = unsigned long long;
  using signed_type = long long;
};

// One of two types.
template <bool IsFirst, class First, class Second>
struct choose {
  using type = First;
};
template <class First, class Second>
struct choose<false, First, Second> {
  using type = Second;
};

template <int... I>
struct indices {};

#if defined(__has_builtin)
#if __has_builtin(__make_integer_seq)
#define WBS_HAS_MAKE_INTEGER_SEQ 1
#endif
#endif
#if defined(WBS_HAS_MAKE_INTEGER_SEQ)
template <class T, T... I>
struct index_pack {
  using type = indices<I...>;
};
template <int N>
using make_indices = typename __make_integer_seq<index_pack, int, N>::type;
#elif defined(__CUDACC_RTC__)
// NVRTC has neither builtin.
template <class Low, class High>
struct joined_indices;
template <int... I, int... J>
struct joined_indices<indices<I...>, indices<J...> > {
  using type = indices<I..., (static_cast<int>(sizeof...(I)) + J)...>;
};
template <int N>
struct indices_below {
  using type = typename joined_indices<typename indices_below<N / 2>::type,
                                       typename indices_below<N - N / 2>::type>::type;
};
template <>
struct indices_below<0> {
  using type = indices<>;
};
template <>
struct indices_below<1> {
  using type = indices<0>;
};
template <int N>
using make_indices = typename indices_below<N>::type;
#else
template <int N>
using make_indices = indices<__integer_pack(N)...>;
#endif

// Reinterprets bits as another type; NVRTC 12.0 has no __builtin_bit_cast.
template <class To, class From>
WBS_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "two types of one size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

constexpr WBS_HOST_DEVICE int floor_log2(unsigned value) {
  int bits = 0;
  while (value >>= 1) ++bits;
  return bits;
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_CORE_CONFIG_HPP_
