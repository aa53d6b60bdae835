// The base of all vendors' drivers: their entry points and error messages.
//
// Invariant: no vendor header is included and no vendor library is linked. The runtime builds,
// loads and runs on machines without them. Every failed call throws with its purpose and the
// driver's own text. Virtual functions are called when something is opened or has failed, never by
// a launch.
#ifndef WARP_BITONIC_SORT_DRIVER_GPU_API_HPP_
#define WARP_BITONIC_SORT_DRIVER_GPU_API_HPP_

#include <dlfcn.h>
#include <warp_bitonic_sort/abi.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

namespace warp_bitonic_sort {
namespace driver {

enum class Platform { cuda, hip };

// More than any machine has.
constexpr int max_devices = 128;

// Codes that the drivers share.
constexpr int out_of_memory = 2;
constexpr int no_binary_for_gpu = 209;
constexpr int stream_capture_implicit = 906;

struct OutOfMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The entry points; handles are written as void*, and device addresses as uint64_t.
class GpuApi {
 public:
  int (*load_module)(void**, const void*);
  int (*unload_module)(void*);
  int (*function)(void**, void*, const char*);
  int (*global)(uint64_t*, size_t*, void*, const char*);
  int (*read)(void*, uint64_t, size_t);
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*,
                void**, void**);
  int (*is_capturing)(void*, int*);
  int (*create_stream)(void**, unsigned);
  int (*synchronize)(void*);
  int (*synchronize_all)();
  int (*allocate)(uint64_t*, size_t);
  int (*free)(uint64_t);

  // The driver's name in messages.
  const char* name() const { return platform == Platform::cuda ? "CUDA" : "HIP"; }
  std::string device_name(int device) const {
    return std::string(name()) + " device " + std::to_string(device);
  }

  void check(int status, const char* doing, const char* what = "", int device = -1) const {
    if (status != 0) fail(status, doing, what, device);
  }
  [[noreturn]] __attribute__((noinline)) void fail(int status, const char* doing, const char* what,
                                                   int device) const {
    forget_error();
    std::string failed = std::string(doing) + what;
    if (device >= 0) failed += " on " + device_name(device);
    throw std::runtime_error(failed + " failed: " + error_string(status) + hint(status));
  }

  // For a call whose failure has no consequence.
  void ignore(int status) const {
    if (status != 0) forget_error();
  }

  // The driver's own text for a status.
  virtual std::string error_string(int status) const = 0;
  // What the user can do about it.
  virtual std::string hint(int status) const = 0;
  // Clears the driver's last error, which other libraries would take for their own.
  virtual void forget_error() const {}
  // The compiler's target for a device.
  virtual std::string arch(int device) const = 0;
  // Throws for an image that the driver would read beyond its end.
  virtual void check_image(const std::string& path, const std::vector<char>& image) const = 0;
  // Whether a module reads its image for as long as it is loaded.
  virtual bool keeps_images() const = 0;
  // Requests a block's shared memory; the kernel's device must be current.
  virtual void request_shared_memory(void* function, unsigned bytes, const char* kernel,
                                     int device) const = 0;
  // The most blocks of `threads` threads that a launch may have.
  virtual unsigned max_blocks(unsigned threads) const = 0;
  // Whether a launch may have fewer blocks than a kernel has tiles, as abi.h says.
  virtual bool grid_stride() const = 0;

  const Platform platform;

 protected:
  explicit GpuApi(Platform platform) : platform(platform) {}
  GpuApi(const GpuApi&) = default;
  ~GpuApi() = default;

  // A symbol's name, and the address of the function pointer that it sets.
  struct Entry {
    const char* name;
    void* pointer;
  };
  static bool find(void* library, const Entry& entry) {
    void* const symbol = dlsym(library, entry.name);
    std::memcpy(entry.pointer, &symbol, sizeof(symbol));
    return symbol != nullptr;
  }
  static void find_all(void* library, std::initializer_list<Entry> entries, const char* owner,
                       const char* update) {
    for (const Entry& entry : entries) {
      if (find(library, entry)) continue;
      throw std::runtime_error(std::string(owner) + " has no " + entry.name + "; it is too old, " +
                               update);
    }
  }
};

[[noreturn]] __attribute__((noinline)) inline void fail_for_device_number(const GpuApi& gpu,
                                                                          int device) {
  throw std::runtime_error("device: expected a number from 0 to " +
                           std::to_string(max_devices - 1) + ", got " + gpu.device_name(device));
}

}  // namespace driver
}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_DRIVER_GPU_API_HPP_
