// Walks the rows of a batch, a group of W at a time.
//
// Invariant: any strides, any number of batch dimensions, no division after the first row. A lane
// without a row reads the last row and writes the caller's junk.
#ifndef WARP_BITONIC_SORT_MEMORY_CPU_ROW_CURSOR_HPP_
#define WARP_BITONIC_SORT_MEMORY_CPU_ROW_CURSOR_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

template <int W>
class row_cursor {
 public:
  // Stands before row `first`.
  row_cursor(const wbs_args<1, 1>& args, long long first)
      : src_(static_cast<const char*>(args.input[0])), dst_(static_cast<char*>(args.output[0])) {
    for (int i = 0; i < args.batch_dims; ++i) {
      const long long shape = args.batch_shape[i];
      const long long src = args.input_batch_stride[0][i], dst = args.output_batch_stride[0][i];
      if (shape == 1) continue;
      // A dimension that continues the one outside it is joined with it.
      if (dims_ > 0 && dim_[dims_ - 1].src == src * shape && dim_[dims_ - 1].dst == dst * shape) {
        dim_[dims_ - 1] = {dim_[dims_ - 1].shape * shape, 0, src, dst};
      } else {
        dim_[dims_++] = {shape, 0, src, dst};
      }
    }
    if (dims_ == 0) dim_[dims_++] = {1, 0, 0, 0};
    for (int i = dims_ - 1; i >= 0; --i) {
      dimension& d = dim_[i];
      d.index = i == 0 ? first : first % d.shape;
      first /= d.shape;
      src_ += d.index * d.src;
      dst_ += d.index * d.dst;
    }
  }

  const char* src() const { return src_; }
  char* dst() const { return dst_; }
  // Rows from here on to the end of the last dimension.
  long long run() const { return dim_[dims_ - 1].shape - dim_[dims_ - 1].index; }
  // Bytes between those rows. Not always the batch's last stride: that of a dimension of size 1 is
  // arbitrary.
  long long src_stride() const { return dim_[dims_ - 1].src; }
  long long dst_stride() const { return dim_[dims_ - 1].dst; }

  // Advances by `rows` <= run().
  WBS_INLINE void advance(long long rows) {
    dimension& d = dim_[dims_ - 1];
    src_ += rows * d.src;
    dst_ += rows * d.dst;
    d.index += rows;
    if (d.index == d.shape) carry();
  }

  // Pointers to the next W rows, of which `rows` exist.
  WBS_INLINE void next(long long rows, const char** src, char** dst, char* junk) {
    if (rows >= W && run() >= W) {
      // Scalar stores: the upper halves of a vector store forward slowly to the loads that follow.
      const dimension& d = dim_[dims_ - 1];
      const char* from = src_;
      char* to = dst_;
#pragma GCC unroll 64
      for (int i = 0; i < W; ++i, from += d.src, to += d.dst) {
        src[i] = from;
        dst[i] = to;
      }
      advance(W);
    } else {
      next_slowly(rows < W ? static_cast<int>(rows) : W, src, dst, junk);
    }
  }

 private:
  struct dimension {
    long long shape, index, src, dst;
  };

  __attribute__((noinline)) void carry() {
    for (int i = dims_ - 1; i > 0 && dim_[i].index == dim_[i].shape; --i) {
      dimension &d = dim_[i], &outer = dim_[i - 1];
      src_ += outer.src - d.shape * d.src;
      dst_ += outer.dst - d.shape * d.dst;
      d.index = 0;
      ++outer.index;
    }
  }

  __attribute__((noinline)) void next_slowly(int rows, const char** src, char** dst, char* junk) {
    for (int i = 0; i < W; ++i) {
      if (i < rows) {
        src[i] = src_;
        dst[i] = dst_;
        advance(1);
      } else {
        src[i] = src[i - 1];
        dst[i] = junk;
      }
    }
  }

  dimension dim_[WBS_MAX_BATCH_DIMS];
  int dims_ = 0;
  const char* src_;
  char* dst_;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_CPU_ROW_CURSOR_HPP_
