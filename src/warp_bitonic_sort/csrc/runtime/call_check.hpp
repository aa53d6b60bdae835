// Checks a call's tensors against a kernel's description, and describes its launches.
//
// Invariant: nothing is written, and no tensor's memory is read. The kernel can carry out every
// call that check_call() accepts.
#ifndef WARP_BITONIC_SORT_RUNTIME_CALL_CHECK_HPP_
#define WARP_BITONIC_SORT_RUNTIME_CALL_CHECK_HPP_

#include <warp_bitonic_sort/abi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "dlpack.hpp"
#include "ffi.hpp"
#include "warp_bitonic_sort/core/access.hpp"
#include "warp_bitonic_sort/core/dtype.hpp"
#include "warp_bitonic_sort/core/entry.hpp"
#include "warp_bitonic_sort/core/selection.hpp"

namespace warp_bitonic_sort {

// The inputs and outputs of a call, inputs first.
constexpr int max_operands = 4;

// One dimension of a batch, or the sorted one; strides in bytes, 0 for an absent operand.
struct Dim {
  int64_t size;
  int64_t kept;  // in the outputs: less than size where they have a part of each row
  std::array<int64_t, max_operands> stride;
  bool is_sorted_axis;
};

// One tensor of a call; null for an output that the caller or the kernel leaves out.
struct Operand {
  const char* name;
  const DLTensor* tensor;
  int64_t width;  // bytes of an element
};
using Operands = std::array<Operand, max_operands>;

// A kernel's description, and the dtype and device that it was opened for.
struct KernelTraits {
  const wbs_cell& cell;
  const dtype_info& dtype;
  DLDevice device;
};

// A checked call.
struct Call {
  std::array<const char*, max_operands> address;  // null for an absent operand
  std::array<int64_t, max_operands> stride;       // along the sorted axis
  int64_t length, kept;                           // of a row, in the inputs and in the outputs
  int index_bytes;
  std::vector<Dim> batch;
};

inline void check_device(const Operand& operand, DLDevice device) {
  DLDevice at = operand.tensor->device;
  if (at.device_type == kDLCUDAManaged) at.device_type = kDLCUDA;
  if (at.device_type != device.device_type || at.device_id != device.device_id) {
    ffi::fail("ValueError", {operand.name, ": expected a tensor on ", device_text(device),
                             ", which the kernel was opened for; got one on ", device_text(at)});
  }
}

// An array library that lacks a dtype passes unsigned integers of its width.
inline void check_keys(const Operand& operand, const dtype_info& info) {
  const DLDataType got = operand.tensor->dtype;
  const DLDataType raw{kDLUInt, static_cast<uint8_t>(info.bits), 1};
  if (!same(got, dl_dtype(info)) && !same(got, raw)) {
    ffi::fail("TypeError", {operand.name, ": expected dtype ", info.name,
                            ", which the kernel was opened for, or uint", info.bits,
                            " holding its bits; got ", dtype_text(got)});
  }
}

// Values are carried along, whatever they are.
inline void check_values(const Operand& operand) {
  const DLDataType got = operand.tensor->dtype;
  if (int64_t{got.bits} * got.lanes != 8 * operand.width) {
    ffi::fail("TypeError", {operand.name, ": expected a dtype of ", 8 * operand.width,
                            " bits, which the kernel carries along; got ", dtype_text(got)});
  }
}

inline void check_indices(const Operand& operand, int64_t length) {
  const DLDataType got = operand.tensor->dtype;
  if (!is_index_dtype(got)) {
    ffi::fail("TypeError",
              {operand.name, ": expected dtype int32 or int64, got ", dtype_text(got)});
  }
  if (got.bits == 32 && length > INT64_C(1) << 31) {
    ffi::fail("ValueError", {operand.name, ": int32 cannot hold the indices of rows of length ",
                             length, "; pass int64"});
  }
}

// A tensor of a framework may have lost its memory, or never had any.
inline void check_memory(const Operand& operand) {
  if (operand.tensor->data == nullptr) {
    ffi::fail("ValueError", {operand.name,
                             ": expected a tensor with memory, got one whose data is a null "
                             "pointer"});
  }
}

inline const char* first_byte(const DLTensor& tensor) {
  return static_cast<const char*>(tensor.data) + tensor.byte_offset;
}

// GPU kernels access whole elements; an unaligned access destroys an NVIDIA GPU's context.
inline bool is_aligned(const char* address, int64_t width) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(width) == 0;
}

inline void check_alignment(const Operand& operand) {
  if (operand.tensor != nullptr && !is_aligned(first_byte(*operand.tensor), operand.width)) {
    ffi::fail("ValueError",
              {operand.name, ": expected an address that is a multiple of the ", operand.width,
               " bytes of an element, got an unaligned one; pass a copy"});
  }
}

// Absent strides mean that the tensor is contiguous.
inline void set_strides(std::vector<Dim>& dims, size_t i, const Operand& operand) {
  const DLTensor& tensor = *operand.tensor;
  int64_t dense = operand.width;
  for (size_t d = dims.size(); d-- > 0;) {
    dims[d].stride[i] = tensor.strides == nullptr ? dense : tensor.strides[d] * operand.width;
    dense *= tensor.shape[d];
  }
}

// The bytes that a tensor reaches, relative to its first element.
struct Span {
  int64_t low = 0;
  int64_t high = 0;
};

inline Span span_of(const std::vector<Dim>& dims, size_t operand, int64_t width, bool is_output) {
  Span span{0, width};
  for (const Dim& dim : dims) {
    const int64_t stride = dim.stride[operand];
    (stride < 0 ? span.low : span.high) += ((is_output ? dim.kept : dim.size) - 1) * stride;
  }
  return span;
}

// Sorts dimensions by an output's strides, slowest first. An insertion sort: there are few
// dimensions, and std::sort takes longer to compile.
inline void sort_dims(std::vector<Dim>& dims, size_t output) {
  for (size_t i = 1; i < dims.size(); ++i) {
    for (size_t j = i;
         j > 0 && std::llabs(dims[j - 1].stride[output]) < std::llabs(dims[j].stride[output]);
         --j) {
      std::swap(dims[j - 1], dims[j]);
    }
  }
}

// All dimensions but the sorted one. Dimensions that every operand continues are joined.
inline std::vector<Dim> batch_of(const std::vector<Dim>& dims) {
  std::vector<Dim> batch;
  const auto continues = [&](const Dim& dim) {
    for (size_t i = 0; i < max_operands; ++i) {
      if (batch.back().stride[i] != dim.stride[i] * dim.size) return false;
    }
    return true;
  };
  for (const Dim& dim : dims) {
    if (dim.size == 1 || dim.is_sorted_axis) continue;
    if (!batch.empty() && continues(dim)) {
      const int64_t size = batch.back().size * dim.size;
      batch.back() = Dim{size, size, dim.stride, false};
    } else {
      batch.push_back(dim);
    }
  }
  return batch;
}

// Requires that the elements of an output are all distinct; dims are sorted by it.
inline void check_distinct(const Operand& operand, const std::vector<Dim>& dims, size_t output) {
  int64_t reach = operand.width;
  for (size_t i = dims.size(); i-- > 0;) {
    const int64_t size = dims[i].kept, stride = dims[i].stride[output];
    if (size == 1) continue;
    if (std::llabs(stride) < reach) {
      ffi::fail("ValueError", {operand.name, ": two of its elements may share memory (a stride of ",
                               stride / operand.width, " elements over a dimension of ", size,
                               "); pass a tensor whose elements are all distinct"});
    }
    reach += std::llabs(stride) * (size - 1);
  }
}

// Whether an output may be another operand itself: the only input, or of several its own one.
inline bool may_be_same(size_t inputs, size_t other, size_t output) {
  return other < inputs && (inputs == 1 || output == inputs + other);
}

// Requires that an output shares no memory with another operand, or, if that is allowed, that it is
// the other operand itself.
inline void check_overlap(const Operands& operands, const std::vector<Dim>& dims, size_t other,
                          size_t output, size_t inputs, bool is_allowed) {
  const Operand &a = operands[other], &b = operands[output];
  const Span a_span = span_of(dims, other, a.width, other >= inputs);
  const Span b_span = span_of(dims, output, b.width, true);
  const auto a_at = reinterpret_cast<intptr_t>(first_byte(*a.tensor));
  const auto b_at = reinterpret_cast<intptr_t>(first_byte(*b.tensor));
  if (a_at + a_span.high <= b_at + b_span.low || b_at + b_span.high <= a_at + a_span.low) return;
  bool is_same = is_allowed && a_at == b_at && a.width == b.width;
  for (const Dim& dim : dims) {
    is_same = is_same && dim.kept == dim.size &&
              (dim.size == 1 || dim.stride[other] == dim.stride[output]);
  }
  if (is_same) return;
  if (is_allowed) {
    ffi::fail("ValueError", {b.name, ": it overlaps ", a.name, " in memory without being ", a.name,
                             " itself; pass ", a.name, ", or memory of its own"});
  }
  ffi::fail("ValueError", {b.name, ": it overlaps ", a.name, " in memory; pass memory of its own"});
}

inline void check_dtype(const KernelTraits& kernel) {
  const dtype_info& info = kernel.dtype;
  if (kernel.cell.codec != static_cast<uint32_t>(info.codec)) {
    ffi::fail("ValueError", {"dtype: expected a dtype with the codec of the kernel ",
                             kernel.cell.name, ", got ", info.name});
  }
  if (kernel.cell.bits != static_cast<uint32_t>(info.bits)) {
    ffi::fail("ValueError", {"dtype: expected a dtype of ", kernel.cell.bits,
                             " bits for the kernel ", kernel.cell.name, ", got ", info.name});
  }
}

inline size_t operand_count(const wbs_cell& cell) {
  return static_cast<size_t>(cell.inputs + cell.outputs);
}
inline bool has_index(const wbs_cell& cell) {
  return cell.payload == static_cast<uint32_t>(payload::index);
}
// The bits of the values that are carried along; 0 for none.
inline int value_bits(const wbs_cell& cell) {
  return value_bits_of(static_cast<payload>(cell.payload));
}
// The last output has the payloads: indices or values. Keys come before them, and a second input
// has values.
inline bool has_payloads(const wbs_cell& cell, size_t operand) {
  return cell.outputs > 1 &&
         (operand + 1 == operand_count(cell) || (operand > 0 && operand < size_t(cell.inputs)));
}

// Returns how many elements of each row the outputs of a kernel for the first ones have.
inline int64_t check_kept(const KernelTraits& kernel, const Operands& operands, int64_t axis) {
  const DLTensor& x = *operands[0].tensor;
  const size_t count = operand_count(kernel.cell);
  const DLTensor& last = *operands[count - 1].tensor;
  std::vector<int64_t> shape(x.shape, x.shape + x.ndim);
  int64_t length = 1, kept = 1;
  const selection wanted = static_cast<selection>(kernel.cell.selection);
  // Of integers, a median is computed from two elements.
  const bool has_floats = kernel.dtype.codec != codec_kind::integer;
  const int kernel_max = is_median(wanted) ? (has_floats ? 1 : 2) : max_kept_of(wanted);
  if (x.ndim > 0) {
    length = shape[axis];
    kept = last.ndim == x.ndim ? last.shape[axis] : 0;
    shape[axis] = kept;
  }
  const int64_t max_kept = kernel_max == 0 ? length : std::min<int64_t>(length, kernel_max);
  for (size_t i = kernel.cell.inputs; i < count; ++i) {
    const DLTensor* const output = operands[i].tensor;
    if (output == nullptr) continue;
    if (kept > max_kept ||
        !std::equal(shape.begin(), shape.end(), output->shape, output->shape + output->ndim)) {
      ffi::fail("ValueError", {operands[i].name, ": expected the shape of ", operands[0].name, ", ",
                               shape_text(x), ", with at most ", max_kept, " elements along axis ",
                               axis, ", as many as the other outputs; got ", shape_text(*output)});
    }
  }
  return kept;
}

// Raises for a call that the kernel cannot carry out; returns false if there is nothing to sort.
inline bool check_call(const KernelTraits& kernel, const Operands& operands, int64_t axis,
                       Call& call) {
  const DLTensor& x = *operands[0].tensor;
  const char* const x_name = operands[0].name;
  const int64_t* const shape = x.shape;
  const int64_t rank = x.ndim;
  const size_t count = operand_count(kernel.cell), inputs = kernel.cell.inputs;
  const bool carries_values = value_bits(kernel.cell) != 0;
  for (size_t i = 0; i < count; ++i) {
    if (operands[i].tensor == nullptr) continue;
    check_device(operands[i], kernel.device);
    if (!has_payloads(kernel.cell, i)) {
      check_keys(operands[i], kernel.dtype);
    } else if (carries_values) {
      check_values(operands[i]);
    }
  }
  if (rank == 0 && kernel.cell.min_length > 1) {
    ffi::fail("ValueError", {x_name, ": expected at least one dimension, got a scalar"});
  }
  const bool keeps_all = kernel.cell.selection == static_cast<uint32_t>(selection::all);
  for (size_t i = 1; i < count; ++i) {
    const DLTensor* const other = operands[i].tensor;
    if (other != nullptr && keeps_all &&
        !std::equal(shape, shape + rank, other->shape, other->shape + other->ndim)) {
      ffi::fail("ValueError", {operands[i].name, ": expected the shape of ", x_name, ", ",
                               shape_text(x), ", got ", shape_text(*other)});
    }
  }
  // A scalar is a row of one element, if the kernel takes rows of one.
  const int64_t axes = std::max<int64_t>(rank, 1);
  if (axis < -axes || axis >= axes) {
    ffi::fail("ValueError", {"axis: expected ", -axes, " to ", axes - 1, " for a tensor of rank ",
                             rank, ", got ", axis});
  }
  if (axis < 0) axis += axes;
  call.length = call.kept = rank == 0 ? 1 : shape[axis];
  if (!keeps_all) call.kept = check_kept(kernel, operands, axis);
  if (has_index(kernel.cell)) check_indices(operands[2], call.length);
  if (call.kept == 0 || std::find(shape, shape + rank, 0) != shape + rank) return false;
  if (call.length < kernel.cell.min_length || call.length > kernel.cell.max_length) {
    ffi::fail("ValueError", {x_name, ": expected rows of ", kernel.cell.min_length, " to ",
                             kernel.cell.max_length, " elements for the kernel ", kernel.cell.name,
                             ", got rows of ", call.length, " along axis ", axis});
  }
  std::vector<Dim> dims;
  dims.reserve(static_cast<size_t>(rank));
  for (int64_t i = 0; i < rank; ++i) {
    dims.push_back({shape[i], i == axis ? call.kept : shape[i], {}, i == axis});
  }
  call.address = {};
  call.stride = {};
  call.index_bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    const Operand& operand = operands[i];
    if (operand.tensor == nullptr) continue;
    check_memory(operand);
    set_strides(dims, i, operand);
    call.address[i] = first_byte(*operand.tensor);
    call.stride[i] = rank == 0 ? operand.width : dims[axis].stride[i];
    if (has_payloads(kernel.cell, i)) call.index_bytes = static_cast<int>(operand.width);
  }
  for (size_t i = inputs; i < count; ++i) {
    if (operands[i].tensor == nullptr) continue;
    for (size_t j = 0; j < i; ++j) {
      if (operands[j].tensor == nullptr) continue;
      check_overlap(operands, dims, j, i, inputs, keeps_all && may_be_same(inputs, j, i));
    }
  }
  // The first output comes last: the batch is in the order of its memory.
  for (size_t i = count; i-- > inputs;) {
    if (operands[i].tensor == nullptr) continue;
    sort_dims(dims, i);
    check_distinct(operands[i], dims, i);
  }
  call.batch = batch_of(dims);
  return true;
}

// Calls run(address, first) for every index of the slowest dimensions beyond those that a launch
// describes; the dimensions from `first` on are the launch's.
template <class Run>
void for_each_launch(const Call& call, const Run& run) {
  const std::vector<Dim>& batch = call.batch;
  const size_t outer = batch.size() > WBS_MAX_BATCH_DIMS ? batch.size() - WBS_MAX_BATCH_DIMS : 0;
  std::vector<int64_t> at(outer, 0);
  std::array<const char*, max_operands> address = call.address;
  for (;;) {
    run(address, outer);
    size_t dim = outer;
    while (dim > 0) {
      const Dim& moved = batch[--dim];
      const bool carries = ++at[dim] == moved.size;
      const int64_t steps = carries ? 1 - moved.size : 1;
      for (size_t i = 0; i < max_operands; ++i) {
        if (address[i] != nullptr) address[i] += steps * moved.stride[i];
      }
      if (!carries) break;
      at[dim] = 0;
      if (dim == 0) return;
    }
    if (outer == 0) return;
  }
}

// The arguments of one launch.
template <int Inputs, int Outputs>
wbs_args<Inputs, Outputs> launch_args(const Call& call,
                                      const std::array<const char*, max_operands>& address,
                                      size_t first, const order_constants& order) {
  static_assert(Inputs + Outputs <= max_operands, "a call describes as many");
  wbs_args<Inputs, Outputs> args{};
  for (int i = 0; i < Inputs; ++i) {
    args.input[i] = address[i];
    args.input_stride[i] = call.stride[i];
  }
  for (int i = 0; i < Outputs; ++i) {
    args.output[i] = const_cast<char*>(address[Inputs + i]);
    args.output_stride[i] = call.stride[Inputs + i];
  }
  args.rows = 1;
  args.batch_dims = static_cast<int>(call.batch.size() - first);
  for (int d = 0; d < args.batch_dims; ++d) {
    const Dim& dim = call.batch[first + d];
    args.rows *= dim.size;
    args.batch_shape[d] = dim.size;
    for (int i = 0; i < Inputs; ++i) args.input_batch_stride[i][d] = dim.stride[i];
    for (int i = 0; i < Outputs; ++i) args.output_batch_stride[i][d] = dim.stride[Inputs + i];
  }
  args.key_xor = order.key_xor;
  args.key_add = order.key_add;
  args.length = static_cast<int>(call.length);
  args.kept = static_cast<int>(call.kept);
  args.index_bytes = call.index_bytes;
  args.opaque_one = 1;
  return args;
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_RUNTIME_CALL_CHECK_HPP_
