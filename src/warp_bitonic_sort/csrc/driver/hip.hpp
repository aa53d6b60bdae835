// HIP, the driver of AMD's GPUs, loaded at run time.
//
// Invariant: it is the copy that another library has loaded, if there is one: streams and memory of
// one copy mean nothing to another. No error of this package is left for hipGetLastError(), which
// other libraries read after their own launches.
#ifndef WARP_BITONIC_SORT_DRIVER_HIP_HPP_
#define WARP_BITONIC_SORT_DRIVER_HIP_HPP_

#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "gpu_api.hpp"

namespace warp_bitonic_sort {
namespace driver {

class HipApi final : public GpuApi {
 public:
  static const HipApi& instance() {
    static const HipApi api;
    return api;
  }

  // Makes a device current; returns whether another one, then `previous`, was current.
  bool enter(int device, int* previous) const {
    check(current_device_(previous), "hipGetDevice", "", device);
    if (*previous == device) return false;
    check(set_device_(device), "hipSetDevice", "", device);
    return true;
  }
  void leave(int previous) const { ignore(set_device_(previous)); }

  std::string error_string(int status) const override {
    const std::string name = error_name_(status);
    std::string text = error_text_(status);
    // HIP's name for all codes without a name.
    if (name == "hipErrorUnknown" && status != 999) text += " " + std::to_string(status);
    return name + " (" + text + ")";
  }

  std::string hint(int status) const override {
    switch (status) {
      case out_of_memory:
        return "; free some of the device's memory: kernels' code lives there, too";
      case 3:  // NotInitialized
      case 4:  // Deinitialized
        return "; a process forked from one that uses HIP cannot use it: start it by spawn";
      case 35:  // InsufficientDriver
        return "; the amdgpu kernel driver is older than ROCm needs: update it";
      case 100:  // NoDevice
        return no_device();
      case 200:  // InvalidImage
      case 218:  // InvalidKernelFile
      case 303:  // SharedObjectInitFailed
        return "; the file is damaged, or a compiler newer than ROCm's runtime made it: remove its "
               "folder, or update ROCm";
      case 700:  // IllegalAddress
      case 702:  // LaunchTimeOut
      case 710:  // Assert
      case 719:  // LaunchFailure
        return "; it may come from an earlier kernel, of any library, for HIP reports a kernel's "
               "error at later calls: AMD_SERIALIZE_KERNEL=3 shows whose it is. Only a new process "
               "can use the device again";
      case 709:  // ContextIsDestroyed
        return "; the stream was destroyed, or is not a HIP stream";
      case 999:  // Unknown
        return "; rocminfo tells whether the driver works";
      default:
        return "";
    }
  }

  void forget_error() const override { last_error_(); }

  // The target of clang's --offload-arch, without features that a code object need not name: gfx90a
  // of gfx90a:sramecc+:xnack-.
  std::string arch(int device) const override {
    // The struct depends on HIP's version. Behind the device's name, the target is its only text
    // that begins like this.
    constexpr size_t device_name_bytes = 256;
    char properties[8192] = {};
    check(properties_(properties, device), "hipGetDeviceProperties", "", device);
    for (const char* at = properties + device_name_bytes; at < properties + sizeof(properties) - 8;
         ++at) {
      if (std::memcmp(at, "gfx", 3) != 0 || !std::isxdigit(static_cast<unsigned char>(at[3]))) {
        continue;
      }
      return std::string(at, strcspn(at, ":"));
    }
    throw std::runtime_error(device_name(device) +
                             ": HIP does not tell its target (gcnArchName); update ROCm, or set "
                             "GPU_ARCH to it");
  }

  // HIP finds the end of an ELF file by the file's header.
  void check_image(const std::string& path, const std::vector<char>& image) const override {
    if (image.size() < SELFMAG || std::memcmp(image.data(), ELFMAG, SELFMAG) != 0) return;
    Elf64_Ehdr header;
    if (image.size() > sizeof(header)) {
      std::memcpy(&header, image.data(), sizeof(header));
      const uint64_t sections = uint64_t{header.e_shentsize} * header.e_shnum;
      // The image's last byte is the zero that read_file() appends.
      if (header.e_shoff < image.size() && sections < image.size() - header.e_shoff) return;
    }
    throw std::runtime_error(
        "the kernel " + path +
        " is cut off: its file ends before its sections do; remove its folder");
  }
  bool keeps_images() const override { return true; }

  // HIP counts threads in 32 bits.
  unsigned max_blocks(unsigned threads) const override {
    return threads <= 2 ? INT32_MAX : UINT32_MAX / threads;
  }
  bool grid_stride() const override { return WBS_HIP_GRID_STRIDE; }

  void request_shared_memory(void*, unsigned bytes, const char* kernel, int device) const override {
    // Every device has this much. More cannot be requested: a device has it or not.
    constexpr unsigned common_limit = 64 * 1024;
    constexpr int max_shared_memory_per_block = 74;
    if (bytes <= common_limit) return;
    int most = 0;
    check(attribute_(&most, max_shared_memory_per_block, device), "hipDeviceGetAttribute", "",
          device);
    if (static_cast<unsigned>(most) < bytes) {
      throw std::runtime_error("the kernel " + std::string(kernel) + " takes " +
                               std::to_string(bytes) + " bytes of LDS a block, and " +
                               device_name(device) + " has " + std::to_string(most));
    }
  }

 private:
  HipApi() : GpuApi(Platform::hip) {
    void* const library = open_library();
    int (*init)(unsigned);
    find_all(library,
             {
                 {"hipInit", &init},
                 {"hipGetErrorName", &error_name_},
                 {"hipGetErrorString", &error_text_},
                 {"hipGetLastError", &last_error_},
                 {"hipGetDevice", &current_device_},
                 {"hipSetDevice", &set_device_},
                 {"hipDeviceGetAttribute", &attribute_},
                 {"hipModuleLoadData", &load_module},
                 {"hipModuleUnload", &unload_module},
                 {"hipModuleGetFunction", &function},
                 {"hipModuleGetGlobal", &global},
                 {"hipMemcpyDtoH", &read},
                 {"hipModuleLaunchKernel", &launch},
                 {"hipStreamIsCapturing", &is_capturing},
                 {"hipStreamCreateWithFlags", &create_stream},
                 {"hipStreamSynchronize", &synchronize},
                 {"hipDeviceSynchronize", &synchronize_all},
                 {"hipMalloc", &allocate},
                 {"hipFree", &free},
             },
             "ROCm's libamdhip64", "update ROCm");
    // ROCm 6 and later; the plain name stays bound to the struct of ROCm 5.
    if (!find(library, {"hipGetDevicePropertiesR0600", &properties_})) {
      find_all(library, {{"hipGetDeviceProperties", &properties_}}, "ROCm's libamdhip64",
               "update ROCm");
    }
    check(init(0), "starting HIP");
  }

  static void* open_library() {
    // A copy that is loaded already, of any version and in any folder.
    std::string loaded;
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* found) {
          const char* const slash = std::strrchr(info->dlpi_name, '/');
          const char* const file = slash == nullptr ? info->dlpi_name : slash + 1;
          if (std::strncmp(file, "libamdhip64.so", 14) != 0) return 0;
          *static_cast<std::string*>(found) = info->dlpi_name;
          return 1;
        },
        &loaded);
    void* library = loaded.empty() ? nullptr : dlopen(loaded.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (library != nullptr) return library;
    std::string why;
    const char* const home = std::getenv("ROCM_PATH");
    if (home != nullptr && *home != '\0') library = open_in(std::string(home) + "/lib/", why);
    if (library == nullptr) library = open_in("", why);
    if (library == nullptr) library = open_in("/opt/rocm/lib/", why);
    if (library != nullptr) return library;
    if (why.empty()) why = "libamdhip64.so is neither where the loader looks nor in /opt/rocm/lib";
    throw std::runtime_error("no HIP: " + why +
                             "; install ROCm, or set ROCM_PATH to the folder where it is");
  }
  // Sets `why` to the first error of a library that exists.
  static void* open_in(const std::string& folder, std::string& why) {
    for (const char* name :
         {"libamdhip64.so", "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5"}) {
      const std::string path = folder + name;
      if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
      const std::string error = dlerror();
      const std::string absent = path + ": cannot open shared object file: No such file";
      if (why.empty() && error.compare(0, absent.size(), absent) != 0) why = error;
    }
    return nullptr;
  }

  static std::string no_device() {
    const char* const node = "/dev/kfd";
    if (::access(node, F_OK) != 0) {
      return std::string("; there is no ") + node +
             ": load the amdgpu kernel driver (into a container, pass /dev/kfd and /dev/dri)";
    }
    if (::access(node, R_OK | W_OK) != 0) {
      return std::string("; this user may not open ") + node +
             ": join the groups that own it and /dev/dri, render and video";
    }
    return "; rocminfo lists the devices there are, and HIP_VISIBLE_DEVICES and "
           "ROCR_VISIBLE_DEVICES may hide them";
  }

  const char* (*error_name_)(int);
  const char* (*error_text_)(int);
  int (*last_error_)();
  int (*current_device_)(int*);
  int (*set_device_)(int);
  int (*attribute_)(int*, int, int);
  int (*properties_)(void*, int);
};

}  // namespace driver
}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_DRIVER_HIP_HPP_
