// Walks the rows of a batch of several arrays.
//
// Invariant: any strides, any number of batch dimensions, no division after the first row.
#ifndef WARP_BITONIC_SORT_MEMORY_CPU_ARRAY_CURSOR_HPP_
#define WARP_BITONIC_SORT_MEMORY_CPU_ARRAY_CURSOR_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

template <int Inputs, int Outputs>
class array_cursor {
 public:
  // Stands at row `first`.
  array_cursor(const wbs_args<Inputs, Outputs>& args, long long first) : args_(args) {
    for (int i = 0; i < args.batch_dims; ++i) {
      if (args.batch_shape[i] == 1) continue;
      if (dims_ > 0 && continues(i)) {
        dim_[dims_ - 1].shape *= args.batch_shape[i];
        dim_[dims_ - 1].number = i;
      } else {
        dim_[dims_++] = {args.batch_shape[i], 0, i};
      }
    }
    if (dims_ == 0) dim_[dims_++] = {1, 0, -1};
    for (int i = dims_ - 1; i >= 0; --i) {
      dim_[i].index = i == 0 ? first : first % dim_[i].shape;
      first /= dim_[i].shape;
      move(i, dim_[i].index);
    }
  }

  const char* input(int i) const { return static_cast<const char*>(args_.input[i]) + input_[i]; }
  // Null for an absent output.
  char* output(int i) const {
    return args_.output[i] == nullptr ? nullptr : static_cast<char*>(args_.output[i]) + output_[i];
  }

  // Rows from here on to the end of the last dimension, and the bytes between them.
  long long run() const { return dim_[dims_ - 1].shape - dim_[dims_ - 1].index; }
  long long input_step(int i) const { return input_step_of(i, dims_ - 1); }
  long long output_step(int i) const { return output_step_of(i, dims_ - 1); }

  // Advances by `rows` <= run().
  WBS_INLINE void advance(long long rows) {
    move(dims_ - 1, rows);
    dim_[dims_ - 1].index += rows;
    if (run() == 0) carry();
  }

 private:
  // Dimensions of a batch that are joined to one, by the number of the innermost.
  struct dimension {
    long long shape, index;
    int number;
  };

  // Whether a dimension goes on where each step of the one outside it begins, in every array.
  bool continues(int i) const {
    const int outer = dim_[dims_ - 1].number;
    bool result = true;
    for (int k = 0; k < Inputs; ++k) {
      result = result && args_.input_batch_stride[k][outer] ==
                             args_.input_batch_stride[k][i] * args_.batch_shape[i];
    }
    for (int k = 0; k < Outputs; ++k) {
      result = result && args_.output_batch_stride[k][outer] ==
                             args_.output_batch_stride[k][i] * args_.batch_shape[i];
    }
    return result;
  }
  long long input_step_of(int k, int dim) const {
    return dim_[dim].number < 0 ? 0 : args_.input_batch_stride[k][dim_[dim].number];
  }
  long long output_step_of(int k, int dim) const {
    return dim_[dim].number < 0 ? 0 : args_.output_batch_stride[k][dim_[dim].number];
  }
  WBS_INLINE void move(int dim, long long steps) {
    for (int k = 0; k < Inputs; ++k) input_[k] += steps * input_step_of(k, dim);
    for (int k = 0; k < Outputs; ++k) output_[k] += steps * output_step_of(k, dim);
  }
  __attribute__((noinline)) void carry() {
    for (int i = dims_ - 1; i > 0 && dim_[i].index == dim_[i].shape; --i) {
      move(i, -dim_[i].shape);
      dim_[i].index = 0;
      move(i - 1, 1);
      ++dim_[i - 1].index;
    }
  }

  const wbs_args<Inputs, Outputs>& args_;
  dimension dim_[WBS_MAX_BATCH_DIMS];
  int dims_ = 0;
  // Bytes from the arrays' first elements.
  long long input_[Inputs] = {}, output_[Outputs] = {};
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_CPU_ARRAY_CURSOR_HPP_
