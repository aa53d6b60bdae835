// The boundary between compiled kernels and the runtime that calls them, for CPUs and GPUs.
//
// Invariant: plain data without any header, so that host compilers, nvcc, NVRTC, hipcc and hipRTC
// read the same text. A kernel knows nothing of Python, TVM, threads or files, and the runtime
// knows nothing of sorting: a description tells how to check a call and launch it.
//
// A CPU kernel is a library that exports `warp_bitonic_sort_kernel`, a wbs_cpu_kernel. A GPU kernel
// is a code object with the function `warp_bitonic_sort_rows`, whose parameter is a wbs_args by
// value, and the constant `warp_bitonic_sort_gpu_kernel`, a wbs_gpu_kernel.
#ifndef WARP_BITONIC_SORT_ABI_H_
#define WARP_BITONIC_SORT_ABI_H_

// Raised whenever a struct below changes; the runtime refuses a kernel of another version.
#define WBS_ABI_VERSION 5

// Batch dimensions (all but the sorted axis) that one launch can describe.
#define WBS_MAX_BATCH_DIMS 8

// Whether a GPU launch may have fewer blocks than there are tiles, so that blocks iterate over the
// tiles with a grid-stride loop. On CUDA it may not: a grid has 2^31 - 1 blocks, and no memory
// holds as many tiles.
#define WBS_CUDA_GRID_STRIDE 0
#define WBS_HIP_GRID_STRIDE 1

// A batch of rows: the inputs, then the outputs. Row r is found by writing r in the mixed radix of
// batch_shape, last dimension fastest. Strides are in bytes; they may be zero or negative. No two
// elements of an output overlap. An output may be the input of its number, or a kernel's only
// input, where their strides agree.
template <int Inputs, int Outputs>
struct wbs_args {
  // Addresses come first, so that a launch is repeated with other arrays by replacing them.
  const void* input[Inputs];
  void* output[Outputs];           // null: not written
  long long rows;                  // the product of batch_shape
  long long input_stride[Inputs];  // between consecutive elements of a row
  long long output_stride[Outputs];
  long long batch_shape[WBS_MAX_BATCH_DIMS];
  long long input_batch_stride[Inputs][WBS_MAX_BATCH_DIMS];
  long long output_batch_stride[Outputs][WBS_MAX_BATCH_DIMS];
  // The order, as core/dtype.hpp's order_constants_of() gives it.
  unsigned long long key_xor;
  unsigned long long key_add;
  int length;  // of a row, within the kernel's min_length..max_length
  int batch_dims;
  int opaque_one;   // 1; compilers replace products by a known 1 with slower additions
  int kept;         // elements of a row in every output
  int index_bytes;  // of an index: 4 or 8; of no use where values are carried along
};

// What the runtime checks a call against. Selection, payload, codec and access are the numbers of
// the enums of these names.
struct wbs_cell {
  unsigned abi_version;  // WBS_ABI_VERSION
  unsigned selection;
  unsigned payload;
  unsigned codec;
  unsigned bits;  // of a key: 8, 16, 32 or 64
  unsigned access;
  int inputs;
  int outputs;
  int min_length;
  int max_length;
  char name[104];  // for messages
};

struct wbs_cpu_kernel {
  wbs_cell cell;
  int lanes;  // rows sorted at once; ranges of rows are best cut at its multiples
  // Bytes of scratch, aligned to 64, that run() needs for rows of this length; may be 0.
  long long (*scratch_bytes)(long long length);
  // Sorts rows first <= r < last of a wbs_args with the cell's numbers of inputs and outputs.
  // Threads may run disjoint ranges at once, each with its own scratch.
  void (*run)(const void* args, long long first, long long last, void* scratch);
};

struct wbs_gpu_kernel {
  wbs_cell cell;
  unsigned blocks;        // of a tile: one, or a cluster of several
  unsigned threads;       // of a block
  unsigned rows;          // of a tile, all of which are sorted at once
  unsigned shared_bytes;  // of dynamic shared memory a block
};

#endif  // WARP_BITONIC_SORT_ABI_H_
