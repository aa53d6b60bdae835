// Walks the rows of a batch of several arrays, a row at a time.
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
    for (int i = args.batch_dims - 1; i >= 0; --i) {
      at_[i] = i == 0 ? first : first % args.batch_shape[i];
      first /= args.batch_shape[i];
      move(i, at_[i]);
    }
  }

  const char* input(int i) const { return static_cast<const char*>(args_.input[i]) + input_[i]; }
  // Null for an absent output.
  char* output(int i) const {
    return args_.output[i] == nullptr ? nullptr : static_cast<char*>(args_.output[i]) + output_[i];
  }

  void advance() {
    for (int i = args_.batch_dims - 1; i >= 0; --i) {
      move(i, 1);
      if (++at_[i] < args_.batch_shape[i] || i == 0) return;
      move(i, -at_[i]);
      at_[i] = 0;
    }
  }

 private:
  void move(int dim, long long steps) {
    for (int i = 0; i < Inputs; ++i) input_[i] += steps * args_.input_batch_stride[i][dim];
    for (int i = 0; i < Outputs; ++i) output_[i] += steps * args_.output_batch_stride[i][dim];
  }

  const wbs_args<Inputs, Outputs>& args_;
  long long at_[WBS_MAX_BATCH_DIMS] = {};
  // Bytes from the arrays' first elements.
  long long input_[Inputs] = {}, output_[Outputs] = {};
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_CPU_ARRAY_CURSOR_HPP_
