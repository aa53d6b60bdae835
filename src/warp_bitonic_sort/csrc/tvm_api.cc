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
#include "driver/thread_pool.hpp"
#include "warp_bitonic_sort/dtype.hpp"

namespace {

namespace ffi = tvm::ffi;
namespace wbs = warp_bitonic_sort;
using wbs::driver::CpuKernel;

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

// An array library that lacks a dtype hands it over as unsigned integers of its width.
void check_tensor(const char* name, const ffi::TensorView& tensor, const wbs::dtype_info& info) {
  const DLDevice device = tensor.device();
  if (device.device_type != kDLCPU) {
    fail("ValueError", {name, ": expected a CPU tensor, got one on DLPack device type ",
                        static_cast<int>(device.device_type),
                        "; this function runs kernels of the CPU back end"});
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

class OpenKernel {
 public:
  OpenKernel(const std::string& path, const wbs::dtype_info& info) : kernel_(path), info_(info) {
    if (kernel_.info().key_class != static_cast<uint32_t>(info.folding)) {
      fail("ValueError", {"dtype: the kernel ", kernel_.info().name,
                          " makes keys in another way than ", info.name, " needs"});
    }
    if (kernel_.info().key_bytes * 8 != static_cast<uint32_t>(info.bits)) {
      fail("ValueError", {"dtype: ", info.name, " has ", info.bits, " bits, and the kernel ",
                          kernel_.info().name, " sorts keys of ", kernel_.info().key_bytes * 8});
    }
  }

  void operator()(const ffi::TensorView& x, const ffi::TensorView& out, int64_t axis,
                  bool descending, bool nan_last) const {
    check_tensor("x", x, info_);
    check_tensor("out", out, info_);
    const ffi::ShapeView shape = x.shape();
    const int64_t rank = x.ndim();
    if (rank == 0) fail("ValueError", {"x: expected at least one dimension, got a scalar"});
    if (!std::equal(shape.begin(), shape.end(), out.shape().begin(), out.shape().end())) {
      fail("ValueError", {"out: expected the shape of x, ", shape_text(shape), ", got ",
                          shape_text(out.shape())});
    }
    if (axis < -rank || axis >= rank) {
      fail("ValueError", {"axis: expected ", -rank, " to ", rank - 1, " for a tensor of rank ",
                          rank, ", got ", axis});
    }
    if (axis < 0) axis += rank;
    const wbs_kernel& kernel = kernel_.info();
    const int64_t length = shape[axis];
    for (const int64_t size : shape) {
      if (size == 0) return;
    }
    if (length < kernel.min_length || length > kernel.max_length) {
      fail("ValueError",
           {"x: rows along axis ", axis, " have length ", length, ", and the kernel ", kernel.name,
            " sorts lengths ", kernel.min_length, " to ", kernel.max_length});
    }
    check_memory("x", x);
    check_memory("out", out);
    const int64_t width = kernel.key_bytes;
    const std::vector<int64_t> x_strides = byte_strides(x, width);
    const std::vector<int64_t> out_strides = byte_strides(out, width);
    std::vector<Dim> dims;
    for (int64_t i = 0; i < rank; ++i) {
      dims.push_back({shape[i], x_strides[i], out_strides[i], i == axis});
    }
    check_overlap(x, out, dims, width);
    order_by_out(dims);
    check_out_is_dense_enough(dims, width);

    wbs_sort_args args{};
    args.src = first_byte(x);
    args.dst = const_cast<char*>(first_byte(out));
    args.length = length;
    args.src_stride = x_strides[axis];
    args.dst_stride = out_strides[axis];
    const wbs::order_constants order = wbs::order_constants_of(info_.id, descending, nan_last);
    args.key_xor = order.key_xor;
    args.key_add = order.key_add;
    run(args, batch_of(dims), width);
  }

 private:
  static void check_overlap(const ffi::TensorView& x, const ffi::TensorView& out,
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

  void check_access(const wbs_sort_args& args, int64_t width) const {
    const wbs_kernel& kernel = kernel_.info();
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

  // A kernel takes WBS_MAX_BATCH_DIMS dimensions; the slowest of more are walked here.
  void run(wbs_sort_args args, const std::vector<Dim>& batch, int64_t width) const {
    const size_t outer = batch.size() > WBS_MAX_BATCH_DIMS ? batch.size() - WBS_MAX_BATCH_DIMS : 0;
    args.batch_dims = static_cast<int32_t>(batch.size() - outer);
    for (int32_t i = 0; i < args.batch_dims; ++i) {
      args.batch_shape[i] = batch[outer + i].size;
      args.src_batch_stride[i] = batch[outer + i].x;
      args.dst_batch_stride[i] = batch[outer + i].out;
    }
    check_access(args, width);
    std::vector<int64_t> at(outer, 0);
    for (;;) {
      kernel_.run(args);
      size_t dim = outer;
      while (dim > 0) {
        const Dim& moved = batch[--dim];
        const bool carries = ++at[dim] == moved.size;
        const int64_t steps = carries ? 1 - moved.size : 1;
        args.src = static_cast<const char*>(args.src) + steps * moved.x;
        args.dst = static_cast<char*>(args.dst) + steps * moved.out;
        if (!carries) break;
        at[dim] = 0;
        if (dim == 0) return;
      }
      if (outer == 0) return;
    }
  }

  CpuKernel kernel_;
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

ffi::Function open_cpu_kernel(const ffi::String& path, const ffi::String& dtype) {
  auto kernel = std::make_shared<const OpenKernel>(path, find_dtype(dtype));
  return ffi::Function::FromTyped(
      [kernel](ffi::TensorView x, ffi::TensorView out, int64_t axis, bool descending,
               bool nan_last) { (*kernel)(x, out, axis, descending, nan_last); },
      "warp_bitonic_sort.sort_rows");
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

ffi::Tensor empty(const ffi::Shape& shape, DLDataType dtype) {
  int64_t bytes = (dtype.bits * dtype.lanes + 7) / 8;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes) || bytes > INT64_MAX / 2) {
      fail("ValueError", {"shape: expected sizes of at least 0 whose product fits memory, got ",
                          shape_text(shape)});
    }
  }
  return ffi::Tensor::FromNDAlloc(CpuAllocator(), shape, dtype, DLDevice{kDLCPU, 0});
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

TVM_FFI_DLL_EXPORT_TYPED_FUNC(empty, empty);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(empty, R"(Allocate a row-major CPU tensor, aligned to 64 bytes.

Parameters
----------
shape : Shape
    Its shape.
dtype : dtype
    Its dtype.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(abi_version, abi_version);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(abi_version,
                                  R"(Return the kernel ABI version that this launcher runs.)");

TVM_FFI_DLL_EXPORT_TYPED_FUNC(thread_count, thread_count);
TVM_FFI_DLL_EXPORT_TYPED_FUNC_DOC(thread_count,
                                  R"(Return how many threads large calls are spread over.)");
