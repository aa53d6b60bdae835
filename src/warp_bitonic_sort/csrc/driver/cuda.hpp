// The CUDA driver, loaded at run time.
//
// Invariant: a device is made current by its primary context, which all libraries share. The
// context is pushed onto the thread's stack and popped again.
#ifndef WARP_BITONIC_SORT_DRIVER_CUDA_HPP_
#define WARP_BITONIC_SORT_DRIVER_CUDA_HPP_

#include <string>
#include <vector>

#include "gpu_api.hpp"

namespace warp_bitonic_sort {
namespace driver {

class CudaApi final : public GpuApi {
 public:
  static const CudaApi& instance() {
    static const CudaApi api;
    return api;
  }

  // Makes a device current; returns false if it was current already.
  bool enter(int device) const {
    void* const wanted = primary_context(device);
    void* current = nullptr;
    check(current_context_(&current), "cuCtxGetCurrent", "", device);
    if (current == wanted) return false;
    check(push_context_(wanted), "cuCtxPushCurrent", "", device);
    return true;
  }
  void leave() const {
    void* popped;
    pop_context_(&popped);
  }

  std::string error_string(int status) const override {
    const char *name = nullptr, *text = nullptr;
    error_name_(status, &name);
    error_text_(status, &text);
    return std::string(name ? name : "CUDA error") + " (" + (text ? text : std::to_string(status)) +
           ")";
  }

  std::string hint(int status) const override {
    switch (status) {
      case out_of_memory:
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

  // The target of nvcc's -arch.
  std::string arch(int device) const override {
    constexpr int major_version = 75, minor_version = 76;
    int handle = 0, major = 0, minor = 0;
    check(device_(&handle, device), "finding the device", "", device);
    check(attribute_(&major, major_version, handle), "cuDeviceGetAttribute", "", device);
    check(attribute_(&minor, minor_version, handle), "cuDeviceGetAttribute", "", device);
    return "sm_" + std::to_string(major) + std::to_string(minor);
  }

  void check_image(const std::string&, const std::vector<char>&) const override {}
  bool keeps_images() const override { return false; }
  unsigned max_blocks(unsigned) const override { return INT32_MAX; }
  bool grid_stride() const override { return WBS_CUDA_GRID_STRIDE; }

  void request_shared_memory(void* function, unsigned bytes, const char* kernel,
                             int device) const override {
    constexpr int max_dynamic_shared_bytes = 8;
    constexpr unsigned default_limit = 48 * 1024;
    if (bytes <= default_limit) return;
    check(set_function_(function, max_dynamic_shared_bytes, static_cast<int>(bytes)),
          "requesting the shared memory of ", kernel, device);
  }

 private:
  CudaApi() : GpuApi(Platform::cuda) {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      throw std::runtime_error(std::string("no CUDA driver: ") + dlerror() +
                               "; install NVIDIA's driver");
    }
    int (*init)(unsigned);
    find_all(library,
             {
                 {"cuInit", &init},
                 {"cuGetErrorName", &error_name_},
                 {"cuGetErrorString", &error_text_},
                 {"cuDeviceGet", &device_},
                 {"cuDeviceGetAttribute", &attribute_},
                 {"cuDevicePrimaryCtxRetain", &retain_context_},
                 {"cuCtxGetCurrent", &current_context_},
                 {"cuCtxPushCurrent_v2", &push_context_},
                 {"cuCtxPopCurrent_v2", &pop_context_},
                 {"cuModuleLoadData", &load_module},
                 {"cuModuleUnload", &unload_module},
                 {"cuModuleGetFunction", &function},
                 {"cuModuleGetGlobal_v2", &global},
                 {"cuMemcpyDtoH_v2", &read},
                 {"cuFuncSetAttribute", &set_function_},
                 {"cuLaunchKernel", &launch},
                 {"cuStreamIsCapturing", &is_capturing},
                 {"cuStreamCreate", &create_stream},
                 {"cuStreamSynchronize", &synchronize},
                 {"cuCtxSynchronize", &synchronize_all},
                 {"cuMemAlloc_v2", &allocate},
                 {"cuMemFree_v2", &free},
             },
             "the CUDA driver", "update it");
    check(init(0), "starting the CUDA driver");
  }

  void* primary_context(int device) const {
    // Retained for the life of the process, as by other libraries.
    static void* contexts[max_devices];
    if (device < 0 || device >= max_devices) fail_for_device_number(*this, device);
    if (void* known = __atomic_load_n(&contexts[device], __ATOMIC_ACQUIRE)) return known;
    int handle = 0;
    void* context = nullptr;
    check(device_(&handle, device), "finding the device", "", device);
    check(retain_context_(&context, handle), "making CUDA's context", "", device);
    __atomic_store_n(&contexts[device], context, __ATOMIC_RELEASE);
    return context;
  }

  int (*error_name_)(int, const char**);
  int (*error_text_)(int, const char**);
  int (*device_)(int*, int);
  int (*attribute_)(int*, int, int);
  int (*retain_context_)(void**, int);
  int (*current_context_)(void**);
  int (*push_context_)(void*);
  int (*pop_context_)(void**);
  int (*set_function_)(void*, int, int);
};

}  // namespace driver
}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_DRIVER_CUDA_HPP_
