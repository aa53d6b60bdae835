// What TVM FFI sees: functions that open a kernel and run it on tensors.
//
// Invariant: whatever a caller passes, the answer is a result or a typed TVM FFI error, never a
// crash; nothing is written before every check has passed. Tensors cross without a copy.
#include <tvm/ffi/extra/c_env_api.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "call_check.hpp"
#include "driver/cpu.hpp"
#include "driver/cpu_arch.hpp"
#include "driver/gpu.hpp"
#include "driver/thread_pool.hpp"
#include "ffi.hpp"
#include "launch_cache.hpp"
#include "warp_bitonic_sort/core/dtype.hpp"

namespace {

namespace wbs = warp_bitonic_sort;
namespace ffi = warp_bitonic_sort::ffi;
using wbs::KernelTraits;
using wbs::Rows;
using wbs::SortOptions;
using wbs::driver::CpuKernel;
using wbs::driver::GpuApi;
using wbs::driver::GpuKernel;

const wbs::dtype_info& find_dtype(const std::string& name) {
  std::string known;
  for (const wbs::dtype_info& each : wbs::dtypes) {
    if (name == each.name) return each;
    known += (known.empty() ? "" : ", ") + std::string(each.name);
  }
  ffi::fail("ValueError", {"dtype: expected one of ", known, "; got '", name, "'"});
}

class OpenCpuKernel {
 public:
  OpenCpuKernel(const std::string& path, const wbs::dtype_info& info) : kernel_(path), info_(info) {
    check_dtype(limits(), info);
  }

  void operator()(const TVMFFIAny* values, int32_t count, TVMFFIAny*) const {
    const ffi::Arguments arguments(
        "sort_rows(x: Tensor, out: Tensor, axis: int, descending: bool, nan_last: bool) -> None",
        values, count, 5);
    Rows rows;
    if (!check_call(limits(), info_, arguments.tensor(0), arguments.tensor(1), arguments.integer(2),
                    rows)) {
      return;
    }
    const wbs::order_constants order =
        wbs::order_constants_of(info_.id, arguments.boolean(3), arguments.boolean(4));
    for_each_launch(rows, WBS_MAX_BATCH_DIMS, [&](const char* src, char* dst, size_t first) {
      wbs_sort_args args{};
      describe_rows(rows, first, order, args);
      args.src = src;
      args.dst = dst;
      check_access(args);
      kernel_.run(args);
    });
  }

 private:
  KernelTraits limits() const {
    const wbs_kernel& kernel = kernel_.info();
    return {kernel.name,       kernel.codec,      kernel.key_bytes,
            kernel.min_length, kernel.max_length, DLDevice{kDLCPU, 0}};
  }

  void check_access(const wbs_sort_args& args) const {
    const wbs_kernel& kernel = kernel_.info();
    const int64_t width = kernel.key_bytes;
    if (kernel.access == WBS_ACCESS_ROWS &&
        (args.src_stride != width || args.dst_stride != width)) {
      ffi::fail("ValueError", {"x: the kernel ", kernel.name,
                               " needs rows whose elements are neighbours in x and out; got "
                               "strides of ",
                               args.src_stride / width, " and ", args.dst_stride / width});
    }
    const int32_t last = args.batch_dims - 1;
    if (kernel.access == WBS_ACCESS_COLUMNS && (last < 0 || args.src_batch_stride[last] != width ||
                                                args.dst_batch_stride[last] != width)) {
      ffi::fail("ValueError", {"x: the kernel ", kernel.name,
                               " needs rows that are neighbours in x and out (a batch dimension "
                               "of stride 1 in both)"});
    }
  }

  CpuKernel kernel_;
  wbs::dtype_info info_;
};

// The driver of a device; DLPack's type of the device alone says whose it is.
const GpuApi& gpu_of(DLDevice device) {
  if ((device.device_type != kDLCUDA && device.device_type != kDLROCM) || device.device_id < 0) {
    ffi::fail("ValueError",
              {"device: expected a CUDA or ROCm device, got ", wbs::device_text(device)});
  }
  return wbs::driver::gpu_of(device.device_type == kDLCUDA ? wbs::driver::Platform::cuda
                                                           : wbs::driver::Platform::hip);
}

// TVM FFI's current stream on a tensor's device.
void* current_stream_of(const DLTensor& x) {
  return TVMFFIEnvGetStream(x.device.device_type == kDLROCM ? kDLROCM : kDLCUDA,
                            x.device.device_id);
}

int64_t number_of(void* handle) { return static_cast<int64_t>(reinterpret_cast<intptr_t>(handle)); }

// What callers say instead of a stream for one of ours, whose work is waited for.
constexpr int64_t in_private_stream = -1;

class OpenGpuKernel {
 public:
  OpenGpuKernel(const std::string& path, const wbs::dtype_info& info, DLDevice device)
      : kernel_(new GpuKernel(gpu_of(device), path, device.device_id)),
        info_(info),
        device_(device) {
    try {
      check_dtype(limits(), info);
    } catch (...) {
      kernel_->unload();
      delete kernel_;
      throw;
    }
  }

  void operator()(const TVMFFIAny* values, int32_t count, TVMFFIAny*) const {
    const ffi::Arguments arguments(
        "sort_rows(x: Tensor, out: Tensor, axis: int, descending: bool, nan_last: bool, "
        "stream: int, remember: bool = False) -> None",
        values, count, count == 6 ? 6 : 7);
    const DLTensor& x = arguments.tensor(0);
    const DLTensor& out = arguments.tensor(1);
    const SortOptions options{arguments.integer(2), arguments.boolean(3), arguments.boolean(4)};
    const bool remember = count == 7 && arguments.boolean(6);
    if (arguments.integer(5) != in_private_stream) {
      sort(x, out, options, arguments.handle(5), remember);
      return;
    }
    wbs::driver::in_private_stream(kernel_->gpu(), kernel_->device(),
                                   [&](void* stream) { sort(x, out, options, stream, remember); });
  }

 private:
  void sort(const DLTensor& x, const DLTensor& out, const SortOptions& options, void* stream,
            bool remember) const {
    Rows rows;
    if (!check_call(limits(), info_, x, out, options.axis, rows)) return;
    wbs::check_alignment("x", rows.src, info_.bits / 8);
    wbs::check_alignment("out", rows.dst, info_.bits / 8);
    const wbs::order_constants order =
        wbs::order_constants_of(info_.id, options.descending, options.nan_last);
    for_each_launch(rows, WBS_GPU_MAX_BATCH_DIMS, [&](const char* src, char* dst, size_t first) {
      wbs_gpu_sort_args args{};
      describe_rows(rows, first, order, args);
      args.src = src;
      args.dst = dst;
      args.rows = 1;
      for (int i = 0; i < args.batch_dims; ++i) args.rows *= args.batch_shape[i];
      kernel_->launch(args, stream);
      // Only a sort that is one launch, and only of tensors that say their dtype themselves.
      if (remember && first == 0 && wbs::same(x.dtype, dl_dtype(info_)) &&
          wbs::same(out.dtype, x.dtype)) {
        wbs::LaunchCache::instance().remember(x, out, options, *kernel_, args);
      }
    });
  }

  KernelTraits limits() const {
    const wbs_gpu_kernel& kernel = kernel_->info();
    return {kernel.name,       kernel.codec,      kernel.key_bytes,
            kernel.min_length, kernel.max_length, device_};
  }

  // Never freed, as its module is not: remembered sorts launch it.
  GpuKernel* kernel_;
  wbs::dtype_info info_;
  DLDevice device_;
};

// The bytes of a tensor; raises where there can be no such.
int64_t byte_count(const std::vector<int64_t>& shape, DLDataType dtype) {
  int64_t bytes = (dtype.bits * dtype.lanes + 7) / 8;
  const bool is_empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  for (const int64_t size : shape) {
    if (is_empty && size >= 0) continue;
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes) || bytes > INT64_MAX / 2) {
      ffi::fail("ValueError",
                {"shape: expected sizes of at least 0 whose product fits memory, got ",
                 wbs::shape_text(shape.data(), shape.size())});
    }
  }
  return is_empty ? 0 : bytes;
}

}  // namespace

WBS_FFI_FUNCTION(open_cpu_kernel, "open_cpu_kernel(path: str, dtype: str) -> Function",
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
    anything is written, for a wrong dtype, device, rank, axis, length, stride or overlap.)",
                 "ffi.Function", "ffi.String", "ffi.String") {
  ffi::set_function(
      result, std::make_unique<OpenCpuKernel>(arguments.text(0), find_dtype(arguments.text(1))));
}

WBS_FFI_FUNCTION(describe_cpu_kernel, "describe_cpu_kernel(path: str) -> str",
                 R"(Load a CPU kernel library, check its ABI and return its name.

Parameters
----------
path : str
    The kernel library.)",
                 "ffi.String", "ffi.String") {
  ffi::set(result, std::string(CpuKernel(arguments.text(0)).info().name));
}

WBS_FFI_FUNCTION(cpu_arch, "cpu_arch() -> str",
                 R"(Return the best CPU target that this process can run.

The processor that runs it is asked: x86-64, x86-64-avx2 or x86-64-avx512; else aarch64 or generic.)",
                 "ffi.String") {
  ffi::set(result, std::string(wbs::driver::cpu_arch()));
}

WBS_FFI_FUNCTION(open_gpu_kernel,
                 "open_gpu_kernel(path: str, dtype: str, device: Device) -> Function",
                 R"(Load a code object for one dtype onto one device.

Parameters
----------
path : str
    The code object: a cubin, or an ELF file for AMD's GPUs.
dtype : str
    As for open_cpu_kernel.
device : Device
    The CUDA or ROCm device; its type says whose driver loads the code object.

Returns
-------
Function(x: Tensor, out: Tensor, axis: int, descending: bool, nan_last: bool, stream: int,
         remember: bool = False) -> None
    As open_cpu_kernel's, for tensors on that device whose memory begins at a whole element (else it
    raises ValueError, too), in that stream (a CUstream or hipStream_t; 0 is the legacy default
    stream). It returns when the sort is in the stream; for the stream -1,
    which stands for private_stream's, when it is done. A scalar counts as a row of one element. With
    remember, launch_cached finds the kernel for tensors of this layout.)",
                 "ffi.Function", "ffi.String", "ffi.String", "Device") {
  ffi::set_function(
      result, std::make_unique<OpenGpuKernel>(arguments.text(0), find_dtype(arguments.text(1)),
                                              arguments.device(2)));
}

WBS_FFI_FUNCTION(
    launch_cached,
    "launch_cached(x: Tensor, out: Tensor, axis: int, descending: bool, nan_last: bool) -> bool",
    R"(Sort x along axis into out if tensors laid out alike were sorted, and remembered, before.

The sort is put into the stream that is TVM FFI's current one on x's device: that of the library
whose tensors were passed, where it has one.

Parameters
----------
x, out : Tensor
    On one CUDA or ROCm device. Of the dtype, shape and strides of the ones remembered.
axis : int
    The axis to sort along.
descending, nan_last : bool
    The order.

Returns
-------
bool
    False, and nothing is done, where no such sort is remembered or x and out overlap.)",
    "bool", "Tensor", "Tensor", "int", "bool", "bool") {
  const DLTensor& x = arguments.tensor(0);
  const SortOptions options{arguments.integer(2), arguments.boolean(3), arguments.boolean(4)};
  ffi::set(result, wbs::LaunchCache::instance().launch(x, arguments.tensor(1), options,
                                                       current_stream_of(x)));
}

WBS_FFI_FUNCTION(current_stream, "current_stream(x: Tensor) -> int",
                 R"(Return the stream that is TVM FFI's current one on x's CUDA or ROCm device.

Parameters
----------
x : Tensor
    A tensor; its library may have told TVM FFI its own current stream with it.)",
                 "int", "Tensor") {
  ffi::set(result, number_of(current_stream_of(arguments.tensor(0))));
}

WBS_FFI_FUNCTION(gpu_arch, "gpu_arch(device: Device) -> str",
                 R"(Return a device's target, as in sm_90 or gfx942.

Parameters
----------
device : Device
    The CUDA or ROCm device.)",
                 "ffi.String", "Device") {
  const DLDevice device = arguments.device(0);
  ffi::set(result, gpu_of(device).arch(device.device_id));
}

WBS_FFI_FUNCTION(is_capturing, "is_capturing(device: Device, stream: int) -> bool",
                 R"(Tell whether a stream is being captured into a graph.

Parameters
----------
device : Device
    The CUDA or ROCm device.
stream : int
    The stream, a CUstream or hipStream_t; -1, which stands for private_stream's, is never captured.)",
                 "bool", "Device", "int") {
  const DLDevice device = arguments.device(0);
  ffi::set(result,
           arguments.integer(1) != in_private_stream &&
               wbs::driver::is_capturing(gpu_of(device), device.device_id, arguments.handle(1)));
}

WBS_FFI_FUNCTION(private_stream, "private_stream(device: Device) -> int",
                 R"(Return this process's own stream on a device, a CUstream or hipStream_t.

It waits for no other stream, and no other waits for it.

Parameters
----------
device : Device
    The CUDA or ROCm device.)",
                 "int", "Device") {
  const DLDevice device = arguments.device(0);
  ffi::set(result, number_of(wbs::driver::private_stream(gpu_of(device), device.device_id)));
}

WBS_FFI_FUNCTION(empty, "empty(shape: Shape, dtype: dtype) -> Tensor",
                 R"(Allocate a row-major CPU tensor, aligned to 64 bytes.

Parameters
----------
shape : Shape
    Its shape.
dtype : dtype
    Its dtype.)",
                 "ffi.Tensor", "ffi.Shape", "DataType") {
  std::vector<int64_t> shape = arguments.shape(0);
  const int64_t bytes = byte_count(shape, arguments.dtype(1));
  void* const memory =
      std::aligned_alloc(64, std::max<size_t>((static_cast<size_t>(bytes) + 63) / 64 * 64, 64));
  if (memory == nullptr) ffi::fail("MemoryError", {"cannot allocate ", bytes, " bytes"});
  ffi::set_tensor(result,
                  {memory, {kDLCPU, 0}, [](const ffi::Memory& mine) { std::free(mine.data); }},
                  std::move(shape), arguments.dtype(1));
}

WBS_FFI_FUNCTION(empty_gpu, "empty_gpu(shape: Shape, dtype: dtype, device: Device) -> Tensor",
                 R"(Allocate a row-major tensor on a GPU.

Its memory is the driver's own (cuMemAlloc, hipMalloc). Freeing it waits for all work on the device.
Raises MemoryError with the bytes asked for and the driver's words.

Parameters
----------
shape : Shape
    Its shape.
dtype : dtype
    Its dtype.
device : Device
    The CUDA or ROCm device.)",
                 "ffi.Tensor", "ffi.Shape", "DataType", "Device") {
  std::vector<int64_t> shape = arguments.shape(0);
  // A tensor of no elements has an address, too: some libraries take none for no memory.
  const int64_t bytes = std::max<int64_t>(byte_count(shape, arguments.dtype(1)), 1);
  const DLDevice device = arguments.device(2);
  void* memory = nullptr;
  try {
    memory = wbs::driver::allocate(gpu_of(device), device.device_id, static_cast<size_t>(bytes));
  } catch (const wbs::driver::OutOfMemory& error) {
    ffi::fail("MemoryError", {error.what(), "; other libraries may hold the rest of its memory"});
  }
  ffi::set_tensor(result,
                  {memory, device,
                   [](const ffi::Memory& mine) {
                     wbs::driver::release(gpu_of(mine.device), mine.device.device_id, mine.data);
                   }},
                  std::move(shape), arguments.dtype(1));
}

WBS_FFI_FUNCTION(abi_version, "abi_version() -> int",
                 R"(Return the kernel ABI version that this launcher runs.)", "int") {
  ffi::set(result, static_cast<int64_t>(WBS_ABI_VERSION));
}

WBS_FFI_FUNCTION(thread_count, "thread_count() -> int",
                 R"(Return how many threads large calls are spread over.)", "int") {
  ffi::set(result, static_cast<int64_t>(wbs::driver::thread_count()));
}

WBS_FFI_FUNCTION(
    set_thread_count, "set_thread_count(count: int) -> None",
    R"(Set how many threads large calls are spread over; until then all cores of this process.

Parameters
----------
count : int
    The number of threads, the caller's included; less than 1 counts as 1.)",
    "None", "int") {
  const int64_t count = std::clamp<int64_t>(arguments.integer(0), 1, INT32_MAX);
  wbs::driver::set_thread_count(static_cast<int>(count));
}
