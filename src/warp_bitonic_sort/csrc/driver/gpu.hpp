// Loads and launches kernels, and manages streams and memory, on GPUs of all vendors.
//
// Invariant: every function leaves the thread's current device as it was. A launch on the current
// device makes two driver calls: one asks for the current device, one launches.
#ifndef WARP_BITONIC_SORT_DRIVER_GPU_HPP_
#define WARP_BITONIC_SORT_DRIVER_GPU_HPP_

#include <warp_bitonic_sort/abi.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "cuda.hpp"
#include "gpu_api.hpp"
#include "hip.hpp"

namespace warp_bitonic_sort {
namespace driver {

// A platform's driver; throws if it is not installed.
inline const GpuApi& gpu_of(Platform platform) {
  if (platform == Platform::cuda) return CudaApi::instance();
  return HipApi::instance();
}

// Makes a device this thread's current one for the life of the object.
class CurrentDevice {
 public:
  CurrentDevice(const GpuApi& gpu, int device)
      : gpu_(gpu),
        entered_(gpu.platform == Platform::cuda ? cuda().enter(device)
                                                : hip().enter(device, &previous_)) {}
  ~CurrentDevice() {
    if (!entered_) return;
    if (gpu_.platform == Platform::cuda) {
      cuda().leave();
    } else {
      hip().leave(previous_);
    }
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  const CudaApi& cuda() const { return static_cast<const CudaApi&>(gpu_); }
  const HipApi& hip() const { return static_cast<const HipApi&>(gpu_); }

  const GpuApi& gpu_;
  int previous_ = 0;
  const bool entered_;
};

// A code object on one device.
class GpuKernel {
 public:
  GpuKernel(const GpuApi& gpu, const std::string& path, int device) : gpu_(gpu), device_(device) {
    image_ = read_file(path);
    gpu.check_image(path, image_);
    const CurrentDevice current(gpu, device);
    const auto check = [&](int status) {
      gpu.check(status, "loading the kernel ", path.c_str(), device);
    };
    const int loaded = gpu.load_module(&module_, image_.data());
    if (loaded == no_binary_for_gpu) {
      gpu.forget_error();
      const std::string arch = gpu.arch(device);
      throw std::runtime_error("the kernel " + path + " does not run on " +
                               gpu.device_name(device) + ", an " + arch + ": " +
                               gpu.error_string(loaded) + "; build it for " + arch);
    }
    check(loaded);
    try {
      uint64_t address = 0;
      size_t bytes = 0;
      check(gpu.function(&function_, module_, "warp_bitonic_sort_rows"));
      check(gpu.global(&address, &bytes, module_, "warp_bitonic_sort_gpu_kernel"));
      if (bytes != sizeof(info_)) {
        throw std::runtime_error(
            path + " was built for another version of warp_bitonic_sort; build it again");
      }
      check(gpu.read(&info_, address, bytes));
      if (info_.cell.abi_version != WBS_ABI_VERSION) {
        throw std::runtime_error(
            path + " was built for another version of warp_bitonic_sort; build it again");
      }
      gpu.request_shared_memory(function_, info_.shared_bytes, info_.cell.name, device);
    } catch (...) {
      gpu.ignore(gpu.unload_module(module_));
      throw;
    }
    max_blocks_ = gpu.max_blocks(info_.threads);
    if (!gpu.keeps_images()) std::vector<char>().swap(image_);
  }
  // Only for a kernel that failed its checks. Other modules are never unloaded: at the end of the
  // process, the driver may be gone before them.
  void unload() {
    const CurrentDevice current(gpu_, device_);
    gpu_.ignore(gpu_.unload_module(module_));
  }

  const wbs_gpu_kernel& info() const { return info_; }
  const GpuApi& gpu() const { return gpu_; }
  int device() const { return device_; }

  // Sorts `rows` rows of args, a wbs_args with the kernel's numbers of inputs and outputs.
  void launch(void* args, int64_t rows, void* stream) const {
    const CurrentDevice current(gpu_, device_);
    const int64_t tiles = (rows + info_.rows - 1) / info_.rows;
    const unsigned max_tiles = max_blocks_ / info_.blocks;
    if (tiles > max_tiles && !gpu_.grid_stride()) {
      throw std::runtime_error(
          "x: expected at most " + std::to_string(int64_t{max_tiles} * info_.rows) +
          " rows for one launch of the kernel " + info_.cell.name + " on " +
          gpu_.device_name(device_) + ", got " + std::to_string(rows) + "; sort it in parts");
    }
    const unsigned blocks =
        info_.blocks * (tiles < max_tiles ? static_cast<unsigned>(tiles) : max_tiles);
    void* parameters[] = {args};
    gpu_.check(gpu_.launch(function_, blocks, 1, 1, info_.threads, 1, 1, info_.shared_bytes, stream,
                           parameters, nullptr),
               "launching ", info_.cell.name, device_);
  }

 private:
  static std::vector<char> read_file(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) {
      const char* const error = std::strerror(errno);
      throw std::runtime_error("cannot open the kernel " + path + ": " + error);
    }
    std::vector<char> bytes;
    char buffer[16384];
    for (size_t got; (got = std::fread(buffer, 1, sizeof(buffer), file)) > 0;) {
      bytes.insert(bytes.end(), buffer, buffer + got);
    }
    std::fclose(file);
    if (bytes.empty()) throw std::runtime_error("the kernel " + path + " is empty; build it again");
    bytes.push_back('\0');  // CUDA's driver reads any other file as text
    return bytes;
  }

  const GpuApi& gpu_;
  int device_;
  unsigned max_blocks_ = 0;
  std::vector<char> image_;
  void* module_ = nullptr;
  void* function_ = nullptr;
  wbs_gpu_kernel info_{};
};

// Whether work put into a stream is being recorded into a graph.
inline bool is_capturing(const GpuApi& gpu, int device, void* stream) {
  const CurrentDevice current(gpu, device);
  int capturing = 0;
  const int status = gpu.is_capturing(stream, &capturing);
  // The legacy stream returns this while another stream is captured; it takes no work then.
  if (status == stream_capture_implicit) {
    gpu.forget_error();
    return true;
  }
  gpu.check(status, "asking whether a stream is captured", "", device);
  return capturing != 0;
}

// This process's own stream on a device, for arrays whose library names the stream in which they
// are ready, but not the stream that reads the result. Never destroyed, like contexts and modules.
inline void* private_stream(const GpuApi& gpu, int device) {
  static std::mutex guard;
  static void* streams[2][max_devices];
  const CurrentDevice current(gpu, device);
  if (device >= max_devices) fail_for_device_number(gpu, device);
  constexpr unsigned non_blocking = 1;
  const std::lock_guard<std::mutex> lock(guard);
  void*& stream = streams[static_cast<int>(gpu.platform)][device];
  if (stream == nullptr) {
    gpu.check(gpu.create_stream(&stream, non_blocking), "making a stream", "", device);
  }
  return stream;
}

// Calls launch(the private stream) and waits for its work, also after a launch that failed
// half-way: what the work reads and writes may be freed after this.
template <class Launch>
void in_private_stream(const GpuApi& gpu, int device, const Launch& launch) {
  void* const stream = private_stream(gpu, device);
  const CurrentDevice current(gpu, device);
  try {
    launch(stream);
  } catch (...) {
    gpu.ignore(gpu.synchronize(stream));
    throw;
  }
  gpu.check(gpu.synchronize(stream), "waiting for a sort", "", device);
}

// Device memory, of at least one byte.
inline void* allocate(const GpuApi& gpu, int device, size_t bytes) {
  const CurrentDevice current(gpu, device);
  uint64_t address = 0;
  const int status = gpu.allocate(&address, bytes);
  if (status == out_of_memory) {
    gpu.forget_error();
    throw OutOfMemory("cannot allocate " + std::to_string(bytes) + " bytes on " +
                      gpu.device_name(device) + ": " + gpu.error_string(status));
  }
  gpu.check(status, "allocating ", (std::to_string(bytes) + " bytes").c_str(), device);
  return reinterpret_cast<void*>(address);
}

// Waits for all work on the device first, because drivers do not promise to: any stream may use the
// memory. Never throws: at the end of a process, the driver may be gone before its memory.
inline void release(const GpuApi& gpu, int device, void* memory) noexcept {
  try {
    const CurrentDevice current(gpu, device);
    gpu.ignore(gpu.synchronize_all());
    gpu.ignore(gpu.free(reinterpret_cast<uint64_t>(memory)));
  } catch (...) {
  }
}

}  // namespace driver
}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_DRIVER_GPU_HPP_
