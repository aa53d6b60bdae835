// What the drivers of all vendors have in common: their entry points, and how their errors are
// told.
//
// Invariant: no header of a vendor and no link to its libraries: the launcher builds, loads and
// runs on machines without them. Every call that fails throws with what it was for and the driver's
// own words. What is virtual here is called when something is opened or has failed, never by a
// launch.
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

// The entry points, with the drivers' types written as what they are.
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

  // As messages name it.
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

  // Of a call whose failure changes nothing.
  void ignore(int status) const {
    if (status != 0) forget_error();
  }

  // The driver's own words.
  virtual std::string error_string(int status) const = 0;
  // What they leave unsaid.
  virtual std::string hint(int status) const = 0;
  // Has the driver forget the error of a call of ours, where it would tell other libraries of it.
  virtual void forget_error() const {}
  // The compiler's target for a device.
  virtual std::string arch(int device) const = 0;
  // Throws for a file's bytes that the driver would read beyond the end of.
  virtual void check_image(const std::string& path, const std::vector<char>& image) const = 0;
  // Whether a module reads its image for as long as it is loaded.
  virtual bool keeps_images() const = 0;
  // Asks for what a block of a kernel takes, with its device current.
  virtual void request_shared_memory(void* function, unsigned bytes, const char* kernel,
                                     int device) const = 0;
  // The most blocks of so many threads that a launch may have.
  virtual unsigned max_blocks(unsigned threads) const = 0;
  // Whether a launch may have fewer blocks than a kernel has tiles, as abi.h says.
  virtual bool grid_stride() const = 0;

  const Platform platform;

 protected:
  explicit GpuApi(Platform platform) : platform(platform) {}
  GpuApi(const GpuApi&) = default;
  ~GpuApi() = default;

  // A name in a library, and the pointer to a function that is to point to it.
  struct Entry {
    const char* name;
    void* pointer;
  };
  static bool find(void* library, const Entry& entry) {
    void* const symbol = dlsym(library, entry.name);
    std::memcpy(entry.pointer, &symbol, sizeof(symbol));
    return symbol != nullptr;
  }
  static void find_all(void* library, std::initializer_list<Entry> entries, const char* whose,
                       const char* remedy) {
    for (const Entry& entry : entries) {
      if (find(library, entry)) continue;
      throw std::runtime_error(std::string(whose) + " has no " + entry.name + "; it is too old, " +
                               remedy);
    }
  }
};

[[noreturn]] __attribute__((noinline)) inline void fail_for_no_such_device(const GpuApi& gpu,
                                                                           int device) {
  throw std::runtime_error(gpu.device_name(device) + ": no such device");
}

}  // namespace driver
}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_DRIVER_GPU_API_HPP_
