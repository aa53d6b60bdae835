// What TVM FFI sees: typed functions that open a kernel and run it on tensors.
//
// Invariant: whatever a caller passes, the answer is a result or a typed TVM FFI error, never a
// crash; nothing is written before every check has passed. Tensors cross without a copy.
#define TVM_FFI_DLL_EXPORT_INCLUDE_METADATA 1

#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "driver/cpu_kernel.hpp"
#include "driver/cuda_driver.hpp"
#include "driver/thread_pool.hpp"
#include "warp_bitonic_sort/dtype.hpp"

namespace {

namespace ffi = tvm::ffi;
namespace wbs = warp_bitonic_sort;
using wbs::driver::CpuKernel;
using wbs::driver::CudaKernel;

// One dimension of a batch, or the sorted one; strides in bytes.
struct Dim {
  int64_t size;
  int64_t x;
  int64_t out;
  bool is_sorted_axis;
};

// A piece of a message.
struct Text {
  Text(const char* text) : value(text) {}                  // NOLINT(google-explicit-constructor)
  Text(std::string text) : value(std::move(text)) {}       // NOLINT(google-explicit-constructor)
  Text(const ffi::String& text) : value(text) {}           // NOLINT(google-explicit-constructor)
  Text(int64_t number) : value(std::to_string(number)) {}  // NOLINT(google-explicit-constructor)
  std::string value;
};

// One function instead of a stream at every throw: this file's compile time is most of what a first
// call takes.
[[noreturn]] void fail(const char* kind, std::initializer_list<Text> message) {
  std::string whole;
  for (const Text& piece : message) whole += piece.value;
  throw ffi::Error(kind, whole, "");
}

std::string shape_text(ffi::ShapeView shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + ")";
}

std::string dtype_text(DLDataType dtype) { return std::string(ffi::DLDataTypeToString(dtype)); }

DLDataType dl_dtype(const wbs::dtype_info& info) {
  uint8_t code = kDLUInt;
  switch (info.id) {
    case wbs::dtype::bool_:
      code = kDLBool;
      break;
    case wbs::dtype::int8:
    case wbs::dtype::int16:
    case wbs::dtype::int32:
    case wbs::dtype::int64:
      code = kDLInt;
      break;
    case wbs::dtype::uint8:
    case wbs::dtype::uint16:
    case wbs::dtype::uint32:
    case wbs::dtype::uint64:
      code = kDLUInt;
      break;
    case wbs::dtype::float16:
    case wbs::dtype::float32:
    case wbs::dtype::float64:
      code = kDLFloat;
      break;
    case wbs::dtype::bfloat16:
      code = kDLBfloat;
      break;
    case wbs::dtype::float8_e4m3fn:
      code = kDLFloat8_e4m3fn;
      break;
    case wbs::dtype::float8_e5m2:
      code = kDLFloat8_e5m2;
      break;
    case wbs::dtype::float8_e4m3fnuz:
      code = kDLFloat8_e4m3fnuz;
      break;
    case wbs::dtype::float8_e5m2fnuz:
      code = kDLFloat8_e5m2fnuz;
      break;
  }
  return DLDataType{code, static_cast<uint8_t>(info.bits), 1};
}

bool same(DLDataType a, DLDataType b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

std::string device_text(DLDevice device) {
  switch (device.device_type) {
    case kDLCPU:
      return "the CPU";
    case kDLCUDA:
    case kDLCUDAManaged:
      return "CUDA device " + std::to_string(device.device_id);
    default:
      return "device " + std::to_string(device.device_id) + " of DLPack type " +
             std::to_string(static_cast<int>(device.device_type));
  }
}

// An array library that lacks a dtype hands it over as unsigned integers of its width.
void check_tensor(const char* name, const ffi::TensorView& tensor, const wbs::dtype_info& info,
                  DLDevice device) {
  DLDevice at = tensor.device();
  if (at.device_type == kDLCUDAManaged) at.device_type = kDLCUDA;
  if (at.device_type != device.device_type || at.device_id != device.device_id) {
    fail("ValueError", {name, ": expected a tensor on ", device_text(device),
                        ", which the kernel was opened for, got one on ", device_text(at)});
  }
  const DLDataType got = tensor.dtype();
  const DLDataType raw{kDLUInt, static_cast<uint8_t>(info.bits), 1};
  if (!same(got, dl_dtype(info)) && !same(got, raw)) {
    fail("TypeError",
         {name, ": expected dtype ", info.name, " (what the kernel was opened for) or uint",
          info.bits, " holding its bits, got ", dtype_text(got)});
  }
}

// A tensor of a framework may have lost its memory, or never had any.
void check_memory(const char* name, const ffi::TensorView& tensor) {
  if (tensor.data_ptr() == nullptr) {
    fail("ValueError",
         {name, ": expected a tensor with memory, got one whose data is a null pointer"});
  }
}

const char* first_byte(const ffi::TensorView& tensor) {
  return static_cast<const char*>(tensor.data_ptr()) + tensor.byte_offset();
}

// A contiguous tensor's strides may be absent, and those of its dimensions of size 1 are arbitrary.
std::vector<int64_t> byte_strides(const ffi::TensorView& tensor, int64_t width) {
  const int32_t rank = tensor.ndim();
  std::vector<int64_t> strides(static_cast<size_t>(rank));
  const bool dense_layout = tensor.IsContiguous();
  int64_t dense = width;
  for (int32_t i = rank - 1; i >= 0; --i) {
    strides[i] = dense_layout ? dense : tensor.stride(i) * width;
    dense *= tensor.shape()[i];
  }
  return strides;
}

struct Span {
  int64_t low = 0;
  int64_t high = 0;
};

Span span_of(const std::vector<Dim>& dims, int64_t Dim::* stride, int64_t width) {
  Span span{0, width};
  for (const Dim& dim : dims) {
    (dim.*stride < 0 ? span.low : span.high) += (dim.size - 1) * (dim.*stride);
  }
  return span;
}

// Slowest first by out, whose elements are all distinct; an insertion sort, because there are a few
// dimensions at most and std::sort takes longer to compile.
void order_by_out(std::vector<Dim>& dims) {
  for (size_t i = 1; i < dims.size(); ++i) {
    for (size_t j = i; j > 0 && std::llabs(dims[j - 1].out) < std::llabs(dims[j].out); --j) {
      std::swap(dims[j - 1], dims[j]);
    }
  }
}

// The batch: all dimensions but the sorted one, neighbours that are one run in both tensors joined.
std::vector<Dim> batch_of(const std::vector<Dim>& dims) {
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
void check_out_is_dense_enough(const std::vector<Dim>& dims, int64_t width) {
  int64_t reach = width;
  for (size_t i = dims.size(); i-- > 0;) {
    const Dim& dim = dims[i];
    if (dim.size == 1) continue;
    if (std::llabs(dim.out) < reach) {
      fail("ValueError", {"out: two of its elements may share memory (a stride of ",
                          dim.out / width, " elements over a dimension of ", dim.size,
                          "); pass a tensor whose elements are all distinct"});
    }
    reach += std::llabs(dim.out) * (dim.size - 1);
  }
}

// What a kernel takes, whatever it runs on.
struct Limits {
  const char* name;
  uint32_t key_class;
  int64_t key_bytes;
  int64_t min_length;
  int64_t max_length;
  DLDevice device;
};

void check_dtype(const Limits& kernel, const wbs::dtype_info& info) {
  if (kernel.key_class != static_cast<uint32_t>(info.folding)) {
    fail("ValueError", {"dtype: the kernel ", kernel.name, " makes keys in another way than ",
                        info.name, " needs"});
  }
  if (kernel.key_bytes * 8 != info.bits) {
    fail("ValueError", {"dtype: ", info.name, " has ", info.bits, " bits, and the kernel ",
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

void check_overlap(const ffi::TensorView& x, const ffi::TensorView& out,
                   const std::vector<Dim>& dims, int64_t width) {
  const Span a = span_of(dims, &Dim::x, width);
  const Span b = span_of(dims, &Dim::out, width);
  const auto x_at = reinterpret_cast<intptr_t>(first_byte(x));
  const auto out_at = reinterpret_cast<intptr_t>(first_byte(out));
  if (x_at + a.high <= out_at + b.low || out_at + b.high <= x_at + a.low) return;
  bool in_place = x_at == out_at;
  for (const Dim& dim : dims) in_place = in_place && (dim.size == 1 || dim.x == dim.out);
  if (!in_place) {
    fail("ValueError", {"out: it overlaps x in memory without being x itself; pass x, or "
                        "memory of its own"});
  }
}

// Raises for what the kernel can't do; returns false where there is nothing to sort.
bool find_rows(const Limits& kernel, const wbs::dtype_info& info, const ffi::TensorView& x,
               const ffi::TensorView& out, int64_t axis, Rows& rows) {
  check_tensor("x", x, info, kernel.device);
  check_tensor("out", out, info, kernel.device);
  const ffi::ShapeView shape = x.shape();
  const int64_t rank = x.ndim();
  if (rank == 0 && kernel.min_length > 1) {
    fail("ValueError", {"x: expected at least one dimension, got a scalar"});
  }
  if (!std::equal(shape.begin(), shape.end(), out.shape().begin(), out.shape().end())) {
    fail("ValueError",
         {"out: expected the shape of x, ", shape_text(shape), ", got ", shape_text(out.shape())});
  }
  // A scalar is a row of one element, where a kernel takes such.
  const int64_t axes = std::max<int64_t>(rank, 1);
  if (axis < -axes || axis >= axes) {
    fail("ValueError", {"axis: expected ", -axes, " to ", axes - 1, " for a tensor of rank ", rank,
                        ", got ", axis});
  }
  if (axis < 0) axis += axes;
  rows.length = rank == 0 ? 1 : shape[axis];
  for (const int64_t size : shape) {
    if (size == 0) return false;
  }
  if (rows.length < kernel.min_length || rows.length > kernel.max_length) {
    fail("ValueError",
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
void walk(const Rows& rows, size_t most_dims, const Run& run) {
  const std::vector<Dim>& batch = rows.batch;
  const size_t outer = batch.size() > most_dims ? batch.size() - most_dims : 0;
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
void describe_rows(const Rows& rows, size_t first, const wbs::order_constants& order, Args& args) {
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

class OpenCpuKernel {
 public:
  OpenCpuKernel(const std::string& path, const wbs::dtype_info& info) : kernel_(path), info_(info) {
    check_dtype(limits(), info);
  }

  void operator()(const ffi::TensorView& x, const ffi::TensorView& out, int64_t axis,
                  bool descending, bool nan_last) const {
    Rows rows;
    if (!find_rows(limits(), info_, x, out, axis, rows)) return;
    const wbs::order_constants order = wbs::order_constants_of(info_.id, descending, nan_last);
    walk(rows, WBS_MAX_BATCH_DIMS, [&](const char* src, char* dst, size_t first) {
      wbs_sort_args args{};
      describe_rows(rows, first, order, args);
      args.src = src;
      args.dst = dst;
      check_access(args);
      kernel_.run(args);
    });
  }

 private:
  Limits limits() const {
    const wbs_kernel& kernel = kernel_.info();
    return {kernel.name,       kernel.key_class,  kernel.key_bytes,
            kernel.min_length, kernel.max_length, DLDevice{kDLCPU, 0}};
  }

  void check_access(const wbs_sort_args& args) const {
    const wbs_kernel& kernel = kernel_.info();
    const int64_t width = kernel.key_bytes;
    if (kernel.access == WBS_ACCESS_ROWS &&
        (args.src_stride != width || args.dst_stride != width)) {
      fail("ValueError", {"x: the kernel ", kernel.name,
                          " needs rows whose elements are neighbours in x and out; got "
                          "strides of ",
                          args.src_stride / width, " and ", args.dst_stride / width});
    }
    const int32_t last = args.batch_dims - 1;
    if (kernel.access == WBS_ACCESS_COLUMNS && (last < 0 || args.src_batch_stride[last] != width ||
                                                args.dst_batch_stride[last] != width)) {
      fail("ValueError", {"x: the kernel ", kernel.name,
                          " needs rows that are neighbours in x and out (a batch dimension "
                          "of stride 1 in both)"});
    }
  }

  CpuKernel kernel_;
  wbs::dtype_info info_;
};

class OpenCudaKernel {
 public:
  OpenCudaKernel(const std::string& path, const wbs::dtype_info& info, int device)
      : kernel_(path, device), info_(info) {
    try {
      check_dtype(limits(), info);
    } catch (...) {
      kernel_.unload();
      throw;
    }
  }

  void operator()(const ffi::TensorView& x, const ffi::TensorView& out, int64_t axis,
                  bool descending, bool nan_last, void* stream) const {
    Rows rows;
    if (!find_rows(limits(), info_, x, out, axis, rows)) return;
    const wbs::order_constants order = wbs::order_constants_of(info_.id, descending, nan_last);
    walk(rows, WBS_GPU_MAX_BATCH_DIMS, [&](const char* src, char* dst, size_t first) {
      wbs_gpu_sort_args args{};
      describe_rows(rows, first, order, args);
      args.src = src;
      args.dst = dst;
      args.rows = 1;
      for (int i = 0; i < args.batch_dims; ++i) args.rows *= args.batch_shape[i];
      kernel_.launch(args, stream);
    });
  }

  int device() const { return kernel_.device(); }

 private:
  Limits limits() const {
    const wbs_gpu_kernel& kernel = kernel_.info();
    return {kernel.name,       kernel.key_class,  kernel.key_bytes,
            kernel.min_length, kernel.max_length, DLDevice{kDLCUDA, kernel_.device()}};
  }

  CudaKernel kernel_;
  wbs::dtype_info info_;
};

const wbs::dtype_info& find_dtype(const ffi::String& name) {
  std::string known;
  for (const wbs::dtype_info& each : wbs::dtypes) {
    if (name == each.name) return each;
    known += (known.empty() ? "" : ", ") + std::string(each.name);
  }
  fail("ValueError", {"dtype: expected one of ", known, "; got '", name, "'"});
}

// What callers say instead of a stream for one of ours, whose work is waited for.
constexpr int64_t in_own_stream = -1;

ffi::Function open_cpu_kernel(const ffi::String& path, const ffi::String& dtype) {
  auto kernel = std::make_shared<const OpenCpuKernel>(path, find_dtype(dtype));
  return ffi::Function::FromTyped(
      [kernel](ffi::TensorView x, ffi::TensorView out, int64_t axis, bool descending,
               bool nan_last) { (*kernel)(x, out, axis, descending, nan_last); },
      "warp_bitonic_sort.sort_rows");
}

// The driver's numbers are narrower than those that cross.
int device_number(int64_t device) {
  if (device < 0 || device > INT32_MAX) {
    fail("ValueError", {"device: expected the number of a CUDA device, got ", device});
  }
  return static_cast<int>(device);
}

ffi::Function open_cuda_kernel(const ffi::String& path, const ffi::String& dtype, int64_t device) {
  auto kernel =
      std::make_shared<const OpenCudaKernel>(path, find_dtype(dtype), device_number(device));
  return ffi::Function::FromTyped(
      [kernel](ffi::TensorView x, ffi::TensorView out, int64_t axis, bool descending, bool nan_last,
               int64_t stream) {
        const auto launch = [&](void* in) { (*kernel)(x, out, axis, descending, nan_last, in); };
        if (stream == in_own_stream) {
          wbs::driver::in_own_stream(kernel->device(), launch);
        } else {
          launch(reinterpret_cast<void*>(stream));
        }
      },
      "warp_bitonic_sort.sort_rows");
}

ffi::String cuda_arch(int64_t device) { return wbs::driver::cuda_arch(device_number(device)); }

bool is_capturing(int64_t device, int64_t stream) {
  return stream != in_own_stream &&
         wbs::driver::is_capturing(device_number(device), reinterpret_cast<void*>(stream));
}

int64_t own_stream(int64_t device) {
  return reinterpret_cast<int64_t>(wbs::driver::own_stream(device_number(device)));
}

ffi::String describe_cpu_kernel(const ffi::String& path) { return CpuKernel(path).info().name; }

// Memory for results of array libraries that this package knows nothing of.
struct CpuAllocator {
  void AllocData(DLTensor* tensor) {
    const size_t bytes = (ffi::GetDataSize(*tensor) + 63) / 64 * 64;
    tensor->data = std::aligned_alloc(64, std::max<size_t>(bytes, 64));
    if (tensor->data == nullptr)
      fail("MemoryError", {"cannot allocate ", static_cast<int64_t>(bytes), " bytes"});
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

struct CudaAllocator {
  void AllocData(DLTensor* tensor, void* memory) { tensor->data = memory; }
  void FreeData(DLTensor* tensor) noexcept {
    wbs::driver::release(tensor->device.device_id, tensor->data);
  }
};

// The bytes of a tensor; raises where there can be no such.
int64_t byte_count(const ffi::Shape& shape, DLDataType dtype) {
  int64_t bytes = (dtype.bits * dtype.lanes + 7) / 8;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes) || bytes > INT64_MAX / 2) {
      fail("ValueError", {"shape: expected sizes of at least 0 whose product fits memory, got ",
                          shape_text(shape)});
    }
  }
  return bytes;
}

ffi::Tensor empty(const ffi::Shape& shape, DLDataType dtype) {
  byte_count(shape, dtype);
  return ffi::Tensor::FromNDAlloc(CpuAllocator(), shape, dtype, DLDevice{kDLCPU, 0});
}

ffi::Tensor empty_cuda(const ffi::Shape& shape, DLDataType dtype, int64_t device) {
  // A tensor of no elements has an address, too: some libraries take none for no memory.
  const int64_t bytes = std::max<int64_t>(byte_count(shape, dtype), 1);
  const auto number = static_cast<int>(device);
  void* memory = nullptr;
  try {
    memory = wbs::driver::allocate(number, static_cast<size_t>(bytes));
  } catch (const wbs::driver::OutOfMemory& error) {
    fail("MemoryError", {error.what(), "; other libraries may hold the rest of its memory"});
  }
  return ffi::Tensor::FromNDAlloc(CudaAllocator(), shape, dtype, DLDevice{kDLCUDA, number}, memory);
}

int64_t abi_version() { return WBS_ABI_VERSION; }

int64_t thread_count() { return wbs::driver::thread_count(); }

}  // namespace

TVM_FFI_DLL_EXPORT_TYPED_FUNC(open_cpu_kernel, open_cpu_kernel);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(open_cpu_kernel,
                                  R"(Open a CPU kernel library for one dtype.

Parameters
----------
path : str
    The kernel library.
dtype : str
    The dtype whose order it sorts by: bool, int8 to int64, uint8 to uint64, float16, bfloat16,
    float32, float64, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz or float8_e5m2fnuz.

Returns
-------
Function(x: Tensor, out: Tensor, axis: int, descending: bool, nan_last: bool) -> None
    Sorts x along axis into out. Both are CPU tensors of that dtype (or of unsigned integers of its
    width) and of one shape, with any strides; out may be x, and may not overlap it otherwise. NaN
    is the largest value, or the last one if nan_last. Raises TypeError or ValueError, before
    anything is written, for a wrong dtype, device, rank, axis, length, stride or overlap.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(describe_cpu_kernel, describe_cpu_kernel);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(describe_cpu_kernel,
                                  R"(Load a CPU kernel library, check its ABI and return its name.

Parameters
----------
path : str
    The kernel library.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(open_cuda_kernel, open_cuda_kernel);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(open_cuda_kernel,
                                  R"(Load a CUDA code object for one dtype onto one device.

Parameters
----------
path : str
    The code object (cubin).
dtype : str
    As for open_cpu_kernel.
device : int
    The CUDA device's number.

Returns
-------
Function(x: Tensor, out: Tensor, axis: int, descending: bool, nan_last: bool, stream: int) -> None
    As open_cpu_kernel's, for tensors on that device, in that stream (a CUstream; 0 is the legacy
    default stream). It returns when the sort is in the stream; for the stream -1, which stands for
    own_stream's, when it is done. A scalar counts as a row of one element.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(cuda_arch, cuda_arch);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(cuda_arch, R"(Return a CUDA device's target, as in sm_90.

Parameters
----------
device : int
    Its number.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(is_capturing, is_capturing);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(is_capturing,
                                  R"(Tell whether a stream is being captured into a CUDA graph.

Parameters
----------
device : int
    The CUDA device's number.
stream : int
    The stream, a CUstream; -1, which stands for own_stream's, is never captured.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(own_stream, own_stream);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(own_stream,
                                  R"(Return this process's own stream on a CUDA device, a CUstream.

It waits for no other stream, and no other waits for it.

Parameters
----------
device : int
    The device's number.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(empty, empty);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(empty, R"(Allocate a row-major CPU tensor, aligned to 64 bytes.

Parameters
----------
shape : Shape
    Its shape.
dtype : dtype
    Its dtype.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(empty_cuda, empty_cuda);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(empty_cuda, R"(Allocate a row-major tensor on a CUDA device.

Its memory is the driver's own (cuMemAlloc). Freeing it waits for all work on the device. Raises
MemoryError with the bytes asked for and the driver's words.

Parameters
----------
shape : Shape
    Its shape.
dtype : dtype
    Its dtype.
device : int
    The CUDA device's number.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(abi_version, abi_version);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(abi_version,
                                  R"(Return the kernel ABI version that this launcher runs.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(thread_count, thread_count);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(thread_count,
                                  R"(Return how many threads large calls are spread over.)");
