// The functions of the runtime library: they open a kernel and run it on tensors.
//
// Invariant: any call gives a result or a typed TVM FFI error, never a crash. Nothing is written
// before every check has passed. Tensors are not copied.
#include <tvm/ffi/extra/c_env_api.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
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
#include "warp_bitonic_sort/core/entry.hpp"
#include "warp_bitonic_sort/core/selection.hpp"

namespace {

namespace wbs = warp_bitonic_sort;
namespace ffi = warp_bitonic_sort::ffi;
using wbs::Call;
using wbs::KernelTraits;
using wbs::Operands;
using wbs::SortOptions;
using wbs::driver::CpuKernel;
using wbs::driver::GpuApi;
using wbs::driver::GpuKernel;

const wbs::dtype_info& find_dtype(const std::string& name) {
  std::string known;
  for (const wbs::dtype_info& info : wbs::dtypes) {
    if (name == info.name) return info;
    known += (known.empty() ? "" : ", ") + std::string(info.name);
  }
  ffi::fail("ValueError", {"dtype: expected one of ", known, "; got '", name, "'"});
}

// The operands at the head of a kernel's arguments, and the options behind them.
struct SortCall {
  Operands operands{};
  SortOptions options{};
  int32_t next = 0;  // the number of the first argument after the options
};

// The signature of a kernel's function in messages.
std::string signature_of(const wbs_cell& cell, const char* rest) {
  const char* operands = "x: Tensor, out: Tensor";
  if (wbs::has_index(cell)) operands = "x: Tensor, values: Tensor | None, indices: Tensor";
  if (wbs::value_bits(cell) != 0) {
    operands = "keys: Tensor, values: Tensor, out_keys: Tensor, out_values: Tensor";
  }
  return std::string("sort_rows(") + operands + ", axis: int, descending: bool, nan_last: bool" +
         rest + ") -> None";
}

// The arguments up to the options.
int32_t argument_count(const wbs_cell& cell) {
  return (wbs::value_bits(cell) != 0 ? 4 : wbs::has_index(cell) ? 3 : 2) + 3;
}

SortCall sort_call_of(const ffi::Arguments& arguments, const wbs_cell& cell, int64_t width) {
  SortCall call;
  int32_t at = 0;
  if (const int64_t value_width = wbs::value_bits(cell) / 8; value_width != 0) {
    for (const char* name : {"keys", "values", "out_keys", "out_values"}) {
      call.operands[at] = {name, &arguments.tensor(at), at % 2 == 0 ? width : value_width};
      ++at;
    }
  } else {
    call.operands[0] = {"x", &arguments.tensor(at++), width};
    if (wbs::has_index(cell)) {
      call.operands[1] = {"values", arguments.optional_tensor(at++), width};
      const DLTensor& indices = arguments.tensor(at++);
      call.operands[2] = {"indices", &indices, indices.dtype.bits / 8};
    } else {
      call.operands[1] = {"out", &arguments.tensor(at++), width};
    }
  }
  call.options = {arguments.integer(at), arguments.boolean(at + 1), arguments.boolean(at + 2)};
  call.next = at + 3;
  return call;
}

// Calls run(args, first) for every launch of a checked call, with the arguments that a cell has.
template <class Run>
void for_each_args(const wbs_cell& cell, const Call& call, const wbs::order_constants& order,
                   const Run& run) {
  wbs::for_each_launch(call, [&](const auto& address, size_t first) {
    if (cell.inputs == 2) {
      run(wbs::launch_args<2, 2>(call, address, first, order), first);
    } else if (cell.outputs == 2) {
      run(wbs::launch_args<1, 2>(call, address, first, order), first);
    } else {
      run(wbs::launch_args<1, 1>(call, address, first, order), first);
    }
  });
}

// Raises for a kernel whose arguments for_each_args() cannot make.
void check_cell(const wbs_cell& cell) {
  const int inputs = wbs::value_bits(cell) != 0 ? 2 : 1;
  const int outputs = inputs == 2 || wbs::has_index(cell) ? 2 : 1;
  if (cell.inputs == inputs && cell.outputs == outputs) return;
  ffi::fail("RuntimeError", {"the kernel ", cell.name, ": expected ", inputs, " input",
                             inputs == 1 ? "" : "s", " and ", outputs, " outputs, got ",
                             cell.inputs, " and ", cell.outputs, "; build the kernel again"});
}

class OpenCpuKernel {
 public:
  OpenCpuKernel(const std::string& path, const wbs::dtype_info& info)
      : kernel_(path), info_(info), signature_(signature_of(cell(), "")) {
    check_cell(cell());
    check_dtype(traits());
  }

  void operator()(const TVMFFIAny* values, int32_t count, TVMFFIAny*) const {
    const ffi::Arguments arguments(signature_.c_str(), values, count, argument_count(cell()));
    const SortCall sort = sort_call_of(arguments, cell(), info_.bits / 8);
    Call call;
    if (!check_call(traits(), sort.operands, sort.options.axis, call)) return;
    const wbs::order_constants order =
        wbs::order_constants_of(info_.id, sort.options.descending, sort.options.nan_last);
    for_each_args(cell(), call, order, [&](const auto& args, size_t) {
      check_access(args);
      kernel_.run(&args, args.rows, args.length);
    });
  }

 private:
  const wbs_cell& cell() const { return kernel_.info().cell; }
  KernelTraits traits() const { return {cell(), info_, DLDevice{kDLCPU, 0}}; }

  // A kernel without a payload stores its output as it loads its input. A kernel with an index
  // gathers its outputs, and takes any.
  template <class Args>
  void check_access(const Args& args) const {
    const int64_t width = info_.bits / 8;
    const bool gathers = wbs::has_index(cell());
    const auto is = [&](wbs::access wanted) {
      return cell().access == static_cast<uint32_t>(wanted);
    };
    if (is(wbs::access::rows) &&
        (args.input_stride[0] != width || (!gathers && args.output_stride[0] != width))) {
      ffi::fail("ValueError",
                {"x: expected rows whose elements are contiguous in x", gathers ? "" : " and out",
                 " for the kernel ", cell().name, ", got strides of ", args.input_stride[0] / width,
                 " and ", args.output_stride[0] / width});
    }
    const int last = args.batch_dims - 1;
    if (is(wbs::access::columns) && !gathers &&
        (last < 0 || args.input_batch_stride[0][last] != width ||
         args.output_batch_stride[0][last] != width)) {
      ffi::fail("ValueError",
                {"x: expected rows side by side in x and out (a batch dimension of stride 1 in "
                 "both) for the kernel ",
                 cell().name, ", got other strides"});
    }
  }

  CpuKernel kernel_;
  wbs::dtype_info info_;
  std::string signature_;
};

// The driver of a device; DLPack's device type alone tells the vendor.
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

// The stream argument that stands for private_stream's stream, whose work is waited for.
constexpr int64_t in_private_stream = -1;

class OpenGpuKernel {
 public:
  OpenGpuKernel(const std::string& path, const wbs::dtype_info& info, DLDevice device)
      : kernel_(new GpuKernel(gpu_of(device), path, device.device_id)),
        info_(info),
        device_(device),
        signature_(signature_of(cell(), ", stream: int, remember: bool = False")) {
    try {
      check_cell(cell());
      check_dtype(traits());
    } catch (...) {
      kernel_->unload();
      delete kernel_;
      throw;
    }
  }

  void operator()(const TVMFFIAny* values, int32_t count, TVMFFIAny*) const {
    const int32_t fewest = argument_count(cell()) + 1;
    const ffi::Arguments arguments(signature_.c_str(), values, count,
                                   count == fewest ? fewest : fewest + 1);
    const SortCall sort = sort_call_of(arguments, cell(), info_.bits / 8);
    const bool remember = count > fewest && arguments.boolean(sort.next + 1);
    if (arguments.integer(sort.next) != in_private_stream) {
      launch(sort, arguments.handle(sort.next), remember);
      return;
    }
    wbs::driver::in_private_stream(kernel_->gpu(), kernel_->device(),
                                   [&](void* stream) { launch(sort, stream, remember); });
  }

 private:
  const wbs_cell& cell() const { return kernel_->info().cell; }
  KernelTraits traits() const { return {cell(), info_, device_}; }

  void launch(const SortCall& sort, void* stream, bool remember) const {
    Call call;
    if (!check_call(traits(), sort.operands, sort.options.axis, call)) return;
    for (const wbs::Operand& operand : sort.operands) wbs::check_alignment(operand);
    const wbs::order_constants order =
        wbs::order_constants_of(info_.id, sort.options.descending, sort.options.nan_last);
    for_each_args(cell(), call, order, [&](auto args, size_t first) {
      kernel_->launch(&args, args.rows, stream);
      // Only a call of one launch, on tensors of the kernel's own dtype: unsigned integers that
      // stand for another dtype do not name it.
      if (remember && first == 0 && have_own_dtype(sort.operands)) {
        wbs::LaunchCache::instance().remember(sort.operands, sort.options, *kernel_, args);
      }
    });
  }
  // Whether all keys are of the kernel's own dtype.
  bool have_own_dtype(const Operands& operands) const {
    for (size_t i = 0; i < wbs::operand_count(cell()); ++i) {
      const DLTensor* const tensor = operands[i].tensor;
      if (tensor == nullptr || wbs::has_payloads(cell(), i)) continue;
      if (!wbs::same(tensor->dtype, dl_dtype(info_))) return false;
    }
    return true;
  }

  // Never freed, like its module: cached launches use it.
  GpuKernel* kernel_;
  wbs::dtype_info info_;
  DLDevice device_;
  std::string signature_;
};

// A kernel that is open on several devices.
class KernelOnDevices {
 public:
  KernelOnDevices(std::vector<TVMFFIObjectHandle> functions, bool leaves_out_keys)
      : functions_(std::move(functions)), leaves_out_keys_(leaves_out_keys) {
    for (TVMFFIObjectHandle function : functions_) {
      if (function != nullptr) TVMFFIObjectIncRef(function);
    }
  }
  ~KernelOnDevices() {
    for (TVMFFIObjectHandle function : functions_) {
      if (function != nullptr) TVMFFIObjectDecRef(function);
    }
  }
  KernelOnDevices(const KernelOnDevices&) = delete;
  KernelOnDevices& operator=(const KernelOnDevices&) = delete;

  void operator()(const TVMFFIAny* values, int32_t count, TVMFFIAny* result) const {
    const ffi::Arguments arguments("sort_rows(x: Tensor, ...) -> None", values, count,
                                   std::max(count, 1));
    const DLDevice device = arguments.tensor(0).device;
    const auto number = static_cast<size_t>(device.device_id);
    if (number >= functions_.size() || functions_[number] == nullptr) {
      ffi::fail("ValueError", {"x: expected a tensor on a device that the kernel is open on, got ",
                               wbs::device_text(device)});
    }
    std::vector<TVMFFIAny> all(values, values + count);
    if (leaves_out_keys_) all.insert(all.begin() + 1, TVMFFIAny{});  // None
    ffi::check(TVMFFIFunctionCall(functions_[number], all.data(), static_cast<int32_t>(all.size()),
                                  result));
  }

 private:
  const std::vector<TVMFFIObjectHandle> functions_;
  const bool leaves_out_keys_;
};

class OpenLaunchCache {
 public:
  OpenLaunchCache(const std::string& selection, const std::string& payload) {
    if (selection != "all" && selection != "first") {
      ffi::fail("ValueError", {"selection: expected all or first, got '", selection, "'"});
    }
    const char* const payloads[] = {"none", "index", "value32", "value64"};
    const auto found = std::find(std::begin(payloads), std::end(payloads), payload);
    if (found == std::end(payloads)) {
      ffi::fail("ValueError",
                {"payload: expected none, index, value32 or value64, got '", payload, "'"});
    }
    cell_.selection =
        static_cast<unsigned>(selection == "all" ? wbs::selection::all : wbs::selection::first);
    cell_.payload = static_cast<unsigned>(found - std::begin(payloads));
    signature_ = signature_of(cell_, "");
  }

  void operator()(const TVMFFIAny* values, int32_t count, TVMFFIAny* result) const {
    const ffi::Arguments arguments(signature_.c_str(), values, count, argument_count(cell_));
    const DLTensor& x = arguments.tensor(0);
    const SortCall sort = sort_call_of(arguments, cell_, x.dtype.bits / 8);
    ffi::set(result, wbs::LaunchCache::instance().launch(wbs::operation_of(cell_), sort.operands,
                                                         sort.options, current_stream_of(x)));
  }

 private:
  wbs_cell cell_{};
  std::string signature_;
};

// The bytes of a tensor; raises for sizes that no memory can hold.
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
    anything is written, for a wrong dtype, device, rank, axis, length, stride or overlap.
    Of a kernel with an index it is Function(x: Tensor, values: Tensor | None, indices: Tensor,
    axis: int, descending: bool, nan_last: bool) -> None: indices, of dtype int32 or int64, are the
    positions that the sorted elements had in their rows. Equal elements keep their order.)",
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
  ffi::set(result, std::string(CpuKernel(arguments.text(0)).info().cell.name));
}

WBS_FFI_FUNCTION(cpu_arch, "cpu_arch() -> str",
                 R"(Return the best CPU architecture that this process can run.

On x86-64, cpuid tells it: x86-64, with -avx2, -avx512 or -avx512-256. Else it is aarch64 or generic.)",
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
    The CUDA or ROCm device; its type names the vendor whose driver loads the code object.

Returns
-------
Function(x: Tensor, out: Tensor, axis: int, descending: bool, nan_last: bool, stream: int,
         remember: bool = False) -> None
    As open_cpu_kernel's, for tensors on that device whose memory begins at a whole element (else it
    raises ValueError, too), in that stream (a CUstream or hipStream_t; 0 is the legacy default
    stream). It returns when the sort is in the stream; for the stream -1, which stands for
    private_stream's, when it is done. A scalar counts as a row of one element. With
    remember, the function of open_launch_cache repeats the launch for tensors of this layout.
    Of a kernel with values it is Function(keys: Tensor, values: Tensor, out_keys: Tensor,
    out_values: Tensor, axis: int, descending: bool, nan_last: bool, stream: int,
    remember: bool = False) -> None: values have any dtype of the kernel's width, and are put in the
    order of the sorted keys. out_keys may be keys, and out_values may be values.)",
                 "ffi.Function", "ffi.String", "ffi.String", "Device") {
  ffi::set_function(
      result, std::make_unique<OpenGpuKernel>(arguments.text(0), find_dtype(arguments.text(1)),
                                              arguments.device(2)));
}

WBS_FFI_FUNCTION(dispatch_by_device,
                 "dispatch_by_device(kernels: Array, leaves_out_keys: bool) -> Function",
                 R"(Return a function that calls the kernel of its tensors' device.

Callers without None, and with one function for all devices, as XLA, need it.

Parameters
----------
kernels : Array of Function
    A function of open_cpu_kernel or open_gpu_kernel at the number of its device; None at others.
leaves_out_keys : bool
    Whether the function lacks the parameter values, for which the kernel gets None.

Returns
-------
Function
    Raises ValueError for tensors on a device without a kernel.)",
                 "ffi.Function", "ffi.Array", "bool") {
  ffi::set_function(
      result, std::make_unique<KernelOnDevices>(arguments.functions(0), arguments.boolean(1)));
}

WBS_FFI_FUNCTION(open_launch_cache, "open_launch_cache(selection: str, payload: str) -> Function",
                 R"(Return a function that repeats remembered launches of an operation.

Parameters
----------
selection : str
    The positions of the sorted row that the operation needs: all, or the first ones.
payload : str
    What travels with each key: none, index, value32 or value64.

Returns
-------
Function(x: Tensor, out: Tensor, axis: int, descending: bool, nan_last: bool) -> bool
    Repeats the launch that was remembered for tensors of these dtypes, shapes and strides. The
    tensors are those of open_gpu_kernel's function for a kernel of the payload. The launch is put into the stream that is TVM FFI's
    current one on x's device: that of the library whose tensors were passed, where it has one.
    Returns False, and does nothing, where no such launch is remembered or the tensors overlap.)",
                 "ffi.Function", "ffi.String", "ffi.String") {
  ffi::set_function(result,
                    std::make_unique<OpenLaunchCache>(arguments.text(0), arguments.text(1)));
}

WBS_FFI_FUNCTION(current_stream, "current_stream(x: Tensor) -> int",
                 R"(Return the stream that is TVM FFI's current one on x's CUDA or ROCm device.

Parameters
----------
x : Tensor
    A tensor. A library may pass its own current stream to TVM FFI with its tensors.)",
                 "int", "Tensor") {
  ffi::set(result, number_of(current_stream_of(arguments.tensor(0))));
}

WBS_FFI_FUNCTION(gpu_arch, "gpu_arch(device: Device) -> str",
                 R"(Return a device's architecture, as in sm_90 or gfx942.

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
Raises MemoryError with the requested bytes and the driver's text.

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
  // An empty tensor has an address, too: some libraries reject a null pointer.
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
                 R"(Return the kernel ABI version that this runtime runs.)", "int") {
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
