/*
 * The one boundary between a compiled CPU kernel and whoever runs it.
 *
 * Invariant: plain C, no other header than <stdint.h>; a kernel library knows nothing of Python,
 * TVM, threads or files, and its caller knows nothing of sorting. Every kernel library exports
 * exactly one symbol, `warp_bitonic_sort_kernel`.
 */
#ifndef WARP_BITONIC_SORT_KERNEL_ABI_H_
#define WARP_BITONIC_SORT_KERNEL_ABI_H_

#include <stdint.h>

/* Raised whenever a struct below changes; a caller refuses a kernel of another version. */
#define WBS_ABI_VERSION 2

/* What a kernel asks of its rows' strides; see wbs_kernel.access. */
enum {
  WBS_ACCESS_ANY = 0,    /* nothing */
  WBS_ACCESS_ROWS = 1,   /* src_stride == dst_stride == key_bytes */
  WBS_ACCESS_COLUMNS = 2 /* the last batch dimension has src and dst strides of key_bytes */
};

/* Batch dimensions (all but the sorted axis) that one launch can describe. */
#define WBS_MAX_BATCH_DIMS 8

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A batch of rows. Row r (0 <= r < product of batch_shape) is found by writing r in the mixed radix
 * of batch_shape, last dimension fastest. Strides are in bytes and may be zero or negative (dst's
 * may not make two elements overlap). dst may be src when the strides agree; no other overlap is
 * allowed.
 */
typedef struct wbs_sort_args {
  const void* src;
  void* dst;
  int64_t length;     /* elements in a row, within the kernel's min_length..max_length */
  int64_t src_stride; /* bytes between neighbours of one row */
  int64_t dst_stride;
  int32_t batch_dims; /* 0..WBS_MAX_BATCH_DIMS; 0 is a single row */
  int64_t batch_shape[WBS_MAX_BATCH_DIMS];
  int64_t src_batch_stride[WBS_MAX_BATCH_DIMS];
  int64_t dst_batch_stride[WBS_MAX_BATCH_DIMS];
  /* The order, as core/codec.hpp's order_constants() gives it: code = (folded bits ^ key_xor) +
   * key_add.
   */
  uint64_t key_xor;
  uint64_t key_add;
} wbs_sort_args;

typedef struct wbs_kernel {
  uint32_t abi_version; /* WBS_ABI_VERSION */
  uint32_t key_bytes;   /* 1, 2, 4 or 8 */
  uint32_t lanes;       /* rows sorted at once; row ranges are best cut at its multiples */
  uint32_t access;      /* WBS_ACCESS_... */
  uint32_t codec;       /* codec_kind of core/dtype.hpp: how keys are made of bits */
  uint32_t reserved;
  int64_t min_length;
  int64_t max_length;
  const char* name; /* the specialization, for people */
  /* Bytes of scratch, aligned to 64, that run() needs for rows of this length; may be 0. */
  int64_t (*scratch_bytes)(int64_t length);
  /* Sorts rows first <= r < last. Threads may run disjoint ranges at once, each with its own
   * scratch. */
  void (*run)(const wbs_sort_args* args, int64_t first, int64_t last, void* scratch);
} wbs_kernel;

/* Exported by every kernel library. */
extern const wbs_kernel warp_bitonic_sort_kernel;

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* WARP_BITONIC_SORT_KERNEL_ABI_H_ */
