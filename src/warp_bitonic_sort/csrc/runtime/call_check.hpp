// Two tensors as the rows of one sort: every check that a caller's arguments need, then what is
// left to tell a kernel.
//
// Invariant: nothing is written, and no memory of a tensor is read; what check_call() lets through,
// a kernel can sort.
#ifndef WARP_BITONIC_SORT_RUNTIME_CALL_CHECK_HPP_
#define WARP_BITONIC_SORT_RUNTIME_CALL_CHECK_HPP_

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "ffi.hpp"
#include "warp_bitonic_sort/core/dtype.hpp"

namespace warp_bitonic_sort {

// One dimension of a batch, or the sorted one; strides in bytes.
struct Dim {
  int64_t size;
  int64_t x;
  int64_t out;
  bool is_sorted_axis;
};

inline std::string shape_text(const int64_t* shape, size_t rank) {
  std::string text = "(";
  for (size_t i = 0; i < rank; ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + ")";
}
inline std::string shape_text(const DLTensor& tensor) {
  return shape_text(tensor.shape, static_cast<size_t>(tensor.ndim));
}

inline std::string dtype_text(DLDataType dtype) {
  TVMFFIAny text{};
  ffi::check(TVMFFIDataTypeToString(&dtype, &text));
  const std::string copy = ffi::text_of(text);
  if (text.type_index >= kTVMFFIStaticObjectBegin) TVMFFIObjectDecRef(text.v_obj);
  return copy;
}

inline DLDataType dl_dtype(const dtype_info& info) {
  uint8_t code = kDLUInt;
  switch (info.id) {
    case dtype::bool_:
      code = kDLBool;
      break;
    case dtype::int8:
    case dtype::int16:
    case dtype::int32:
    case dtype::int64:
      code = kDLInt;
      break;
    case dtype::uint8:
    case dtype::uint16:
    case dtype::uint32:
    case dtype::uint64:
      code = kDLUInt;
      break;
    case dtype::float16:
    case dtype::float32:
    case dtype::float64:
      code = kDLFloat;
      break;
    case dtype::bfloat16:
      code = kDLBfloat;
      break;
    case dtype::float8_e4m3fn:
      code = kDLFloat8_e4m3fn;
      break;
    case dtype::float8_e5m2:
      code = kDLFloat8_e5m2;
      break;
    case dtype::float8_e4m3fnuz:
      code = kDLFloat8_e4m3fnuz;
      break;
    case dtype::float8_e5m2fnuz:
      code = kDLFloat8_e5m2fnuz;
      break;
  }
  return DLDataType{code, static_cast<uint8_t>(info.bits), 1};
}

inline bool same(DLDataType a, DLDataType b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

inline std::string device_text(DLDevice device) {
  switch (device.device_type) {
    case kDLCPU:
      return "the CPU";
    case kDLCUDA:
    case kDLCUDAManaged:
      return "CUDA device " + std::to_string(device.device_id);
    case kDLROCM:
      return "HIP device " + std::to_string(device.device_id);
    default:
      return "device " + std::to_string(device.device_id) + " of DLPack type " +
             std::to_string(static_cast<int>(device.device_type));
  }
}

// An array library that lacks a dtype hands it over as unsigned integers of its width.
inline void check_tensor(const char* name, const DLTensor& tensor, const dtype_info& info,
                         DLDevice device) {
  DLDevice at = tensor.device;
  if (at.device_type == kDLCUDAManaged) at.device_type = kDLCUDA;
  if (at.device_type != device.device_type || at.device_id != device.device_id) {
    ffi::fail("ValueError", {name, ": expected a tensor on ", device_text(device),
                             ", which the kernel was opened for, got one on ", device_text(at)});
  }
  const DLDataType got = tensor.dtype;
  const DLDataType raw{kDLUInt, static_cast<uint8_t>(info.bits), 1};
  if (!same(got, dl_dtype(info)) && !same(got, raw)) {
    ffi::fail("TypeError",
              {name, ": expected dtype ", info.name, " (what the kernel was opened for) or uint",
               info.bits, " holding its bits, got ", dtype_text(got)});
  }
}

// A tensor of a framework may have lost its memory, or never had any.
inline void check_memory(const char* name, const DLTensor& tensor) {
  if (tensor.data == nullptr) {
    ffi::fail("ValueError",
              {name, ": expected a tensor with memory, got one whose data is a null pointer"});
  }
}

inline const char* first_byte(const DLTensor& tensor) {
  return static_cast<const char*>(tensor.data) + tensor.byte_offset;
}

// Whether an address is one of whole elements, as kernels for devices read and write them: over
// others an NVIDIA GPU loses its context.
inline bool is_aligned(const char* address, int64_t width) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(width) == 0;
}

inline void check_alignment(const char* name, const char* address, int64_t width) {
  if (!is_aligned(address, width)) {
    ffi::fail("ValueError",
              {name, ": its address is no multiple of the ", width,
               " bytes of an element, and kernels for devices take no other; pass memory "
               "that begins at a whole element"});
  }
}

// Strides may be absent; then the tensor is contiguous.
inline std::vector<int64_t> byte_strides(const DLTensor& tensor, int64_t width) {
  std::vector<int64_t> strides(static_cast<size_t>(tensor.ndim));
  int64_t dense = width;
  for (int32_t i = tensor.ndim - 1; i >= 0; --i) {
    strides[i] = tensor.strides == nullptr ? dense : tensor.strides[i] * width;
    dense *= tensor.shape[i];
  }
  return strides;
}

struct Span {
  int64_t low = 0;
  int64_t high = 0;
};

inline Span span_of(const std::vector<Dim>& dims, int64_t Dim::* stride, int64_t width) {
  Span span{0, width};
  for (const Dim& dim : dims) {
    (dim.*stride < 0 ? span.low : span.high) += (dim.size - 1) * (dim.*stride);
  }
  return span;
}

// Slowest first by out, whose elements are all distinct; an insertion sort, because there are a few
// dimensions at most and std::sort takes longer to compile.
inline void order_by_out(std::vector<Dim>& dims) {
  for (size_t i = 1; i < dims.size(); ++i) {
    for (size_t j = i; j > 0 && std::llabs(dims[j - 1].out) < std::llabs(dims[j].out); --j) {
      std::swap(dims[j - 1], dims[j]);
    }
  }
}

// The batch: all dimensions but the sorted one, neighbours that are one run in both tensors joined.
inline std::vector<Dim> batch_of(const std::vector<Dim>& dims) {
  std::vector<Dim> result;
  for (const Dim& dim : dims) {
    if (dim.size == 1 || dim.is_sorted_axis) continue;
    if (!result.empty() && result.back().x == dim.x * dim.size &&
        result.back().out == dim.out * dim.size) {
      result.back() = Dim{result.back().size * dim.size, dim.x, dim.out, false};
    } else {
      result.push_back(dim);
    }
  }
  return result;
}

// With dimensions slowest first.
inline void check_out_is_dense_enough(const std::vector<Dim>& dims, int64_t width) {
  int64_t reach = width;
  for (size_t i = dims.size(); i-- > 0;) {
    const Dim& dim = dims[i];
    if (dim.size == 1) continue;
    if (std::llabs(dim.out) < reach) {
      ffi::fail("ValueError", {"out: two of its elements may share memory (a stride of ",
                               dim.out / width, " elements over a dimension of ", dim.size,
                               "); pass a tensor whose elements are all distinct"});
    }
    reach += std::llabs(dim.out) * (dim.size - 1);
  }
}

// What a kernel takes, whatever it runs on.
struct KernelTraits {
  const char* name;
  uint32_t codec;
  int64_t key_bytes;
  int64_t min_length;
  int64_t max_length;
  DLDevice device;
};

inline void check_dtype(const KernelTraits& kernel, const dtype_info& info) {
  if (kernel.codec != static_cast<uint32_t>(info.codec)) {
    ffi::fail("ValueError", {"dtype: the kernel ", kernel.name, " makes keys in another way than ",
                             info.name, " needs"});
  }
  if (kernel.key_bytes * 8 != info.bits) {
    ffi::fail("ValueError", {"dtype: ", info.name, " has ", info.bits, " bits, and the kernel ",
                             kernel.name, " sorts keys of ", kernel.key_bytes * 8});
  }
}

// A checked call: the rows, all that is left to say of x and out.
struct Rows {
  const char* src;
  char* dst;
  int64_t length;
  int64_t src_stride;
  int64_t dst_stride;
  std::vector<Dim> batch;
};

inline void check_overlap(const DLTensor& x, const DLTensor& out, const std::vector<Dim>& dims,
                          int64_t width) {
  const Span a = span_of(dims, &Dim::x, width);
  const Span b = span_of(dims, &Dim::out, width);
  const auto x_at = reinterpret_cast<intptr_t>(first_byte(x));
  const auto out_at = reinterpret_cast<intptr_t>(first_byte(out));
  if (x_at + a.high <= out_at + b.low || out_at + b.high <= x_at + a.low) return;
  bool in_place = x_at == out_at;
  for (const Dim& dim : dims) in_place = in_place && (dim.size == 1 || dim.x == dim.out);
  if (!in_place) {
    ffi::fail("ValueError", {"out: it overlaps x in memory without being x itself; pass x, or "
                             "memory of its own"});
  }
}

// Raises for what the kernel can't do; returns false where there is nothing to sort.
inline bool check_call(const KernelTraits& kernel, const dtype_info& info, const DLTensor& x,
                       const DLTensor& out, int64_t axis, Rows& rows) {
  check_tensor("x", x, info, kernel.device);
  check_tensor("out", out, info, kernel.device);
  const int64_t* const shape = x.shape;
  const int64_t rank = x.ndim;
  if (rank == 0 && kernel.min_length > 1) {
    ffi::fail("ValueError", {"x: expected at least one dimension, got a scalar"});
  }
  if (!std::equal(shape, shape + rank, out.shape, out.shape + out.ndim)) {
    ffi::fail("ValueError",
              {"out: expected the shape of x, ", shape_text(x), ", got ", shape_text(out)});
  }
  // A scalar is a row of one element, where a kernel takes such.
  const int64_t axes = std::max<int64_t>(rank, 1);
  if (axis < -axes || axis >= axes) {
    ffi::fail("ValueError", {"axis: expected ", -axes, " to ", axes - 1, " for a tensor of rank ",
                             rank, ", got ", axis});
  }
  if (axis < 0) axis += axes;
  rows.length = rank == 0 ? 1 : shape[axis];
  for (int64_t i = 0; i < rank; ++i) {
    if (shape[i] == 0) return false;
  }
  if (rows.length < kernel.min_length || rows.length > kernel.max_length) {
    ffi::fail("ValueError",
              {"x: rows along axis ", axis, " have length ", rows.length, ", and the kernel ",
               kernel.name, " sorts lengths ", kernel.min_length, " to ", kernel.max_length});
  }
  check_memory("x", x);
  check_memory("out", out);
  const std::vector<int64_t> x_strides = byte_strides(x, kernel.key_bytes);
  const std::vector<int64_t> out_strides = byte_strides(out, kernel.key_bytes);
  std::vector<Dim> dims;
  for (int64_t i = 0; i < rank; ++i) {
    dims.push_back({shape[i], x_strides[i], out_strides[i], i == axis});
  }
  check_overlap(x, out, dims, kernel.key_bytes);
  order_by_out(dims);
  check_out_is_dense_enough(dims, kernel.key_bytes);
  rows.src = first_byte(x);
  rows.dst = const_cast<char*>(first_byte(out));
  rows.src_stride = rank == 0 ? kernel.key_bytes : x_strides[axis];
  rows.dst_stride = rank == 0 ? kernel.key_bytes : out_strides[axis];
  rows.batch = batch_of(dims);
  return true;
}

// Calls run(src, dst, first) for every index of the slowest dimensions that are more than a kernel
// takes; the dimensions from `first` on are the kernel's.
template <class Run>
void for_each_launch(const Rows& rows, size_t max_dims, const Run& run) {
  const std::vector<Dim>& batch = rows.batch;
  const size_t outer = batch.size() > max_dims ? batch.size() - max_dims : 0;
  std::vector<int64_t> at(outer, 0);
  const char* src = rows.src;
  char* dst = rows.dst;
  for (;;) {
    run(src, dst, outer);
    size_t dim = outer;
    while (dim > 0) {
      const Dim& moved = batch[--dim];
      const bool carries = ++at[dim] == moved.size;
      const int64_t steps = carries ? 1 - moved.size : 1;
      src += steps * moved.x;
      dst += steps * moved.out;
      if (!carries) break;
      at[dim] = 0;
      if (dim == 0) return;
    }
    if (outer == 0) return;
  }
}

template <class Args>
void describe_rows(const Rows& rows, size_t first, const order_constants& order, Args& args) {
  args.src_stride = rows.src_stride;
  args.dst_stride = rows.dst_stride;
  args.length = static_cast<decltype(args.length)>(rows.length);
  args.batch_dims = static_cast<decltype(args.batch_dims)>(rows.batch.size() - first);
  for (int32_t i = 0; i < args.batch_dims; ++i) {
    args.batch_shape[i] = rows.batch[first + i].size;
    args.src_batch_stride[i] = rows.batch[first + i].x;
    args.dst_batch_stride[i] = rows.batch[first + i].out;
  }
  args.key_xor = order.key_xor;
  args.key_add = order.key_add;
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_RUNTIME_CALL_CHECK_HPP_
