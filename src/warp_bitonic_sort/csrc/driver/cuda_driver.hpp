// The CUDA driver, loaded at run time, and kernels opened with it.
//
// Invariant: no CUDA header and no link to CUDA: the launcher builds, loads and runs on machines
// without it. Every call that fails throws with what it was for and the driver's own words. A
// launch leaves the current context as it was.
#ifndef WARP_BITONIC_SORT_DRIVER_CUDA_DRIVER_HPP_
#define WARP_BITONIC_SORT_DRIVER_CUDA_DRIVER_HPP_

#include <dlfcn.h>
#include <warp_bitonic_sort/gpu_abi.h>

#include <cstdint>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace warp_bitonic_sort {
namespace driver {

// The few entry points that are used, with the driver's types written as what they are.
struct CudaApi {
  int (*init)(unsigned);
  int (*error_name)(int, const char**);
  int (*error_text)(int, const char**);
  int (*device)(int*, int);
  int (*attribute)(int*, int, int);
  int (*retain_context)(void**, int);
  int (*current_context)(void**);
  int (*push_context)(void*);
  int (*pop_context)(void**);
  int (*load_module)(void**, const void*);
  int (*unload_module)(void*);
  int (*function)(void**, void*, const char*);
  int (*global)(uint64_t*, size_t*, void*, const char*);
  int (*read)(void*, uint64_t, size_t);
  int (*set_function)(void*, int, int);
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*,
                void**, void**);
  int (*is_capturing)(void*, int*);
  int (*create_stream)(void**, unsigned);
  int (*synchronize)(void*);
  int (*synchronize_all)();
  int (*allocate)(uint64_t*, size_t);
  int (*free)(uint64_t);

  static const CudaApi& instance() {
    static const CudaApi api = load();
    return api;
  }

  void check(int status, const char* doing, const char* what = "", int device = -1) const {
    if (status == 0) return;
    std::string failed = std::string(doing) + what;
    if (device >= 0) failed += " on CUDA device " + std::to_string(device);
    throw std::runtime_error(failed + " failed: " + words(status) + advice(status));
  }

  std::string words(int status) const {
    const char *name = nullptr, *text = nullptr;
    error_name(status, &name);
    error_text(status, &text);
    return std::string(name ? name : "CUDA error") + " (" + (text ? text : std::to_string(status)) +
           ")";
  }

 private:
  // What the driver's words leave unsaid.
  static const char* advice(int status) {
    switch (status) {
      case 2:  // OUT_OF_MEMORY
        return "; free some of the device's memory: CUDA's context and kernels' code live there";
      case 3:  // NOT_INITIALIZED
        return "; a process forked from one that uses CUDA cannot use it: start it by spawn";
      case 100:  // NO_DEVICE
        return "; nvidia-smi lists the devices there are, and CUDA_VISIBLE_DEVICES may hide them";
      case 200:  // INVALID_IMAGE
      case 218:  // INVALID_PTX
        return "; the file is damaged, or an nvcc newer than the driver made it: remove its "
               "folder, or update the driver";
      case 700:  // ILLEGAL_ADDRESS
      case 702:  // LAUNCH_TIMEOUT
      case 710:  // ASSERT
      case 714:  // HARDWARE_STACK_ERROR
      case 715:  // ILLEGAL_INSTRUCTION
      case 716:  // MISALIGNED_ADDRESS
      case 717:  // INVALID_ADDRESS_SPACE
      case 718:  // INVALID_PC
      case 719:  // LAUNCH_FAILED
        return "; it may come from an earlier kernel, of any library, for CUDA reports a kernel's "
               "error at later calls: CUDA_LAUNCH_BLOCKING=1 shows whose it is. Only a new process "
               "can use the device again";
      case 709:  // CONTEXT_IS_DESTROYED
        return "; the device was reset in this process: start it anew";
      case 999:  // UNKNOWN
        return "; nvidia-smi tells whether the driver works";
      default:
        return "";
    }
  }

  static CudaApi load() {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      throw std::runtime_error(std::string("no CUDA driver: ") + dlerror() +
                               "; install NVIDIA's driver");
    }
    CudaApi api;
    find(library, "cuInit", api.init);
    find(library, "cuGetErrorName", api.error_name);
    find(library, "cuGetErrorString", api.error_text);
    find(library, "cuDeviceGet", api.device);
    find(library, "cuDeviceGetAttribute", api.attribute);
    find(library, "cuDevicePrimaryCtxRetain", api.retain_context);
    find(library, "cuCtxGetCurrent", api.current_context);
    find(library, "cuCtxPushCurrent_v2", api.push_context);
    find(library, "cuCtxPopCurrent_v2", api.pop_context);
    find(library, "cuModuleLoadData", api.load_module);
    find(library, "cuModuleUnload", api.unload_module);
    find(library, "cuModuleGetFunction", api.function);
    find(library, "cuModuleGetGlobal_v2", api.global);
    find(library, "cuMemcpyDtoH_v2", api.read);
    find(library, "cuFuncSetAttribute", api.set_function);
    find(library, "cuLaunchKernel", api.launch);
    find(library, "cuStreamIsCapturing", api.is_capturing);
    find(library, "cuStreamCreate", api.create_stream);
    find(library, "cuStreamSynchronize", api.synchronize);
    find(library, "cuCtxSynchronize", api.synchronize_all);
    find(library, "cuMemAlloc_v2", api.allocate);
    find(library, "cuMemFree_v2", api.free);
    api.check(api.init(0), "starting the CUDA driver");
    return api;
  }
  template <class Function>
  static void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) {
      throw std::runtime_error(std::string("the CUDA driver has no ") + name +
                               "; it is too old, update it");
    }
  }
};

// A device's primary context, which every framework shares, current for a while.
class CudaContext {
 public:
  static constexpr int most_devices = 64;

  explicit CudaContext(int device) : api_(CudaApi::instance()) {
    void* const wanted = primary(api_, device);
    void* current = nullptr;
    api_.check(api_.current_context(&current), "cuCtxGetCurrent", "", device);
    if (current == wanted) return;
    api_.check(api_.push_context(wanted), "cuCtxPushCurrent", "", device);
    pushed_ = true;
  }
  ~CudaContext() {
    void* popped;
    if (pushed_) api_.pop_context(&popped);
  }
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

 private:
  static void* primary(const CudaApi& api, int device) {
    // Retained once and for good: frameworks keep it for as long as the process, too.
    static void* contexts[most_devices];
    if (device < 0 || device >= most_devices) {
      throw std::runtime_error("CUDA device " + std::to_string(device) + ": no such device");
    }
    if (void* known = __atomic_load_n(&contexts[device], __ATOMIC_ACQUIRE)) return known;
    int handle = 0;
    void* context = nullptr;
    api.check(api.device(&handle, device), "finding the device", "", device);
    api.check(api.retain_context(&context, handle), "making CUDA's context", "", device);
    __atomic_store_n(&contexts[device], context, __ATOMIC_RELEASE);
    return context;
  }

  const CudaApi& api_;
  bool pushed_ = false;
};

// The target of nvcc's -arch that a device is.
inline std::string cuda_arch(int device) {
  const CudaApi& api = CudaApi::instance();
  constexpr int major_version = 75, minor_version = 76;
  int handle = 0, major = 0, minor = 0;
  api.check(api.device(&handle, device), "finding the device", "", device);
  api.check(api.attribute(&major, major_version, handle), "cuDeviceGetAttribute", "", device);
  api.check(api.attribute(&minor, minor_version, handle), "cuDeviceGetAttribute", "", device);
  return "sm_" + std::to_string(major) + std::to_string(minor);
}

// A code object on one device.
class CudaKernel {
 public:
  CudaKernel(const std::string& path, int device) : device_(device) {
    const std::vector<char> image = read_file(path);
    const CudaApi& api = CudaApi::instance();
    const CudaContext context(device);
    const auto check = [&](int status) {
      api.check(status, "loading the kernel ", path.c_str(), device);
    };
    const int loaded = api.load_module(&module_, image.data());
    constexpr int no_binary_for_gpu = 209;
    if (loaded == no_binary_for_gpu) {
      const std::string arch = cuda_arch(device);
      throw std::runtime_error("the kernel " + path + " does not run on CUDA device " +
                               std::to_string(device) + ", an " + arch + ": " + api.words(loaded) +
                               "; build it for " + arch);
    }
    check(loaded);
    try {
      uint64_t address = 0;
      size_t bytes = 0;
      check(api.function(&function_, module_, "warp_bitonic_sort_rows"));
      check(api.global(&address, &bytes, module_, "warp_bitonic_sort_gpu_kernel"));
      if (bytes != sizeof(info_)) {
        throw std::runtime_error(path + " was built for another version of warp_bitonic_sort");
      }
      check(api.read(&info_, address, bytes));
      if (info_.abi_version != WBS_GPU_ABI_VERSION) {
        throw std::runtime_error(path + " was built for another version of warp_bitonic_sort");
      }
      constexpr int most_dynamic_shared_bytes = 8;
      constexpr unsigned without_asking = 48 * 1024;
      if (info_.shared_bytes > without_asking) {
        api.check(api.set_function(function_, most_dynamic_shared_bytes,
                                   static_cast<int>(info_.shared_bytes)),
                  "asking for the shared memory of ", info_.name, device);
      }
    } catch (...) {
      api.unload_module(module_);
      throw;
    }
  }
  // Modules are never unloaded: kernels are kept for the life of the process, and at its end the
  // driver may be gone before they are. This is for one that turned out to be of no use.
  void unload() {
    const CudaContext context(device_);
    CudaApi::instance().unload_module(module_);
  }

  const wbs_gpu_kernel& info() const { return info_; }
  int device() const { return device_; }

  void launch(wbs_gpu_sort_args& args, void* stream) const {
    const CudaApi& api = CudaApi::instance();
    const CudaContext context(device_);
    args.one = 1;
    const int64_t tiles = (args.rows + info_.rows - 1) / info_.rows;
    const unsigned blocks = tiles < INT32_MAX ? static_cast<unsigned>(tiles) : INT32_MAX;
    void* parameters[] = {&args};
    api.check(api.launch(function_, blocks, 1, 1, info_.threads, 1, 1, info_.shared_bytes, stream,
                         parameters, nullptr),
              "launching ", info_.name, device_);
  }

 private:
  static std::vector<char> read_file(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) throw std::runtime_error("cannot open the kernel " + path);
    std::vector<char> bytes;
    char buffer[16384];
    for (size_t got; (got = std::fread(buffer, 1, sizeof(buffer), file)) > 0;) {
      bytes.insert(bytes.end(), buffer, buffer + got);
    }
    std::fclose(file);
    if (bytes.empty()) throw std::runtime_error("the kernel " + path + " is empty");
    bytes.push_back('\0');  // the driver takes what is no code object for text
    return bytes;
  }

  int device_;
  void* module_ = nullptr;
  void* function_ = nullptr;
  wbs_gpu_kernel info_{};
};

// Whether work put into a stream is being recorded into a graph.
inline bool is_capturing(int device, void* stream) {
  const CudaApi& api = CudaApi::instance();
  const CudaContext context(device);
  int capturing = 0;
  const int status = api.is_capturing(stream, &capturing);
  // The legacy stream's answer while another is captured: nothing may be put into it, either.
  constexpr int stream_capture_implicit = 906;
  if (status == stream_capture_implicit) return true;
  api.check(status, "cuStreamIsCapturing", "", device);
  return capturing != 0;
}

// This process's own stream on a device, for arrays whose library says in which stream they must be
// ready but not which stream reads the result. Never destroyed, like contexts and modules.
inline void* own_stream(int device) {
  static std::mutex guard;
  static void* streams[CudaContext::most_devices];
  const CudaApi& api = CudaApi::instance();
  const CudaContext context(device);
  constexpr unsigned non_blocking = 1;
  const std::lock_guard<std::mutex> lock(guard);
  if (streams[device] == nullptr) {
    api.check(api.create_stream(&streams[device], non_blocking), "cuStreamCreate", "", device);
  }
  return streams[device];
}

// Runs what puts work into the own stream, and waits for the work, also for that of a launch that
// failed half-way: nothing that it reads or writes may be given back before.
template <class Launch>
void in_own_stream(int device, const Launch& launch) {
  void* const stream = own_stream(device);
  const CudaApi& api = CudaApi::instance();
  const CudaContext context(device);
  try {
    launch(stream);
  } catch (...) {
    api.synchronize(stream);
    throw;
  }
  api.check(api.synchronize(stream), "waiting for a sort", "", device);
}

struct OutOfMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Device memory, of at least one byte.
inline void* allocate(int device, size_t bytes) {
  const CudaApi& api = CudaApi::instance();
  const CudaContext context(device);
  uint64_t address = 0;
  const int status = api.allocate(&address, bytes);
  constexpr int out_of_memory = 2;
  if (status == out_of_memory) {
    throw OutOfMemory("cannot allocate " + std::to_string(bytes) + " bytes on CUDA device " +
                      std::to_string(device) + ": " + api.words(status));
  }
  api.check(status, "allocating ", (std::to_string(bytes) + " bytes").c_str(), device);
  return reinterpret_cast<void*>(address);
}

// Waits for all work on the device first, so that it is safe whatever streams use the memory.
// (cuMemFree does, but does not promise to.) Never throws: when a process ends, the driver may be
// gone before its memory is freed.
inline void release(int device, void* memory) noexcept {
  try {
    const CudaContext context(device);
    const CudaApi& api = CudaApi::instance();
    api.synchronize_all();
    api.free(reinterpret_cast<uint64_t>(memory));
  } catch (...) {
  }
}

}  // namespace driver
}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_DRIVER_CUDA_DRIVER_HPP_
