/*
 * The one boundary between a compiled GPU kernel and whoever launches it.
 *
 * Invariant: plain C without any header, so that the same text is read by host compilers, nvcc,
 * NVRTC, hipcc and hipRTC. Every code object holds one function, `warp_bitonic_sort_rows`, whose
 * one parameter is a wbs_gpu_sort_args by value, and one constant, `warp_bitonic_sort_gpu_kernel`,
 * that says how to launch it.
 */
#ifndef WARP_BITONIC_SORT_GPU_ABI_H_
#define WARP_BITONIC_SORT_GPU_ABI_H_

/* Raised whenever a struct below changes; a caller refuses a kernel of another version. */
#define WBS_GPU_ABI_VERSION 1

/*
 * Whether a launch may have fewer blocks than there are tiles (`rows` of them at a time), which are
 * then gone through by turns. On CUDA it may not: a grid has 2^31 - 1 blocks, and no memory holds
 * as many tiles.
 */
#define WBS_CUDA_GRID_STRIDE 0
#define WBS_HIP_GRID_STRIDE 1

/* Batch dimensions (all but the sorted axis) that one launch can describe. */
#define WBS_GPU_MAX_BATCH_DIMS 8

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A batch of rows. Row r (0 <= r < rows) is found by writing r in the mixed radix of batch_shape,
 * last dimension fastest. Strides are in bytes and may be zero or negative (dst's may not make two
 * elements overlap). dst may be src when the strides agree; no other overlap is allowed.
 */
typedef struct wbs_gpu_sort_args {
  const void* src;
  void* dst;
  long long rows;
  long long src_stride; /* bytes between neighbours of one row */
  long long dst_stride;
  long long batch_shape[WBS_GPU_MAX_BATCH_DIMS];
  long long src_batch_stride[WBS_GPU_MAX_BATCH_DIMS];
  long long dst_batch_stride[WBS_GPU_MAX_BATCH_DIMS];
  /* The order, as core/dtype.hpp's order_constants_of() gives it. */
  unsigned long long key_xor;
  unsigned long long key_add;
  int length; /* elements in a row, within the kernel's min_length..max_length */
  int batch_dims;
  int opaque_one; /* 1; compilers may not know, or they turn multiplications into slower additions
                   */
} wbs_gpu_sort_args;

typedef struct wbs_gpu_kernel {
  unsigned abi_version;  /* WBS_GPU_ABI_VERSION */
  unsigned key_bytes;    /* 1, 2, 4 or 8 */
  unsigned codec;        /* codec_kind of core/dtype.hpp */
  unsigned threads;      /* of a block */
  unsigned rows;         /* that a block sorts at once */
  unsigned shared_bytes; /* of dynamic shared memory a block */
  int min_length;
  int max_length;
  char name[96]; /* the specialization, for people */
} wbs_gpu_kernel;

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* WARP_BITONIC_SORT_GPU_ABI_H_ */
