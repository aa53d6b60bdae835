// Opens a CPU kernel library with dlopen, checks it, and runs it over the machine's cores.
//
// Invariant: a CpuKernel that exists has the ABI of this runtime. It knows the kernel ABI, and no
// tensors or dtypes.
#ifndef WARP_BITONIC_SORT_DRIVER_CPU_HPP_
#define WARP_BITONIC_SORT_DRIVER_CPU_HPP_

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>

#include "thread_pool.hpp"
#include "warp_bitonic_sort/abi.h"

namespace warp_bitonic_sort::driver {

class CpuKernel {
 public:
  /// Throws std::runtime_error with the loader's own text.
  explicit CpuKernel(const std::string& path) {
    // Never closed: a call on another thread may be inside it.
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw std::runtime_error("the kernel does not load: " + error_text());
    kernel_ = static_cast<const wbs_cpu_kernel*>(dlsym(library, "warp_bitonic_sort_kernel"));
    if (kernel_ == nullptr) {
      throw std::runtime_error(path + " is not a kernel of warp_bitonic_sort: " + error_text());
    }
    if (kernel_->cell.abi_version != WBS_ABI_VERSION) {
      throw std::runtime_error(path + ": expected kernel ABI " + std::to_string(WBS_ABI_VERSION) +
                               ", got ABI " + std::to_string(kernel_->cell.abi_version) +
                               "; build the kernel again");
    }
  }

  const wbs_cpu_kernel& info() const { return *kernel_; }

  /// Sorts `rows` rows of args; a large call is spread over threads.
  void run(const void* args, int64_t rows, int64_t length) const {
    const auto sort_rows = [&](int64_t first, int64_t last) {
      kernel_->run(args, first, last, scratch(kernel_->scratch_bytes(length)));
    };
    const int64_t lanes = kernel_->lanes;
    const int64_t bytes_per_row = length * kernel_->cell.bits / 8;
    const int threads = thread_count();
    if (rows <= lanes || rows * bytes_per_row < kParallelBytes || threads == 1) {
      sort_rows(0, rows);
      return;
    }
    // Several pieces a thread, so that a busy core does not hold up the rest.
    int64_t grain = std::max(rows / (4 * int64_t{threads}), kPieceBytes / bytes_per_row);
    grain = std::max((grain + lanes - 1) / lanes, int64_t{1}) * lanes;
    ThreadPool::instance().run(rows, grain, threads, sort_rows);
  }

 private:
  // Waking a thread costs some 10 us, in which one core sorts about this much.
  static constexpr int64_t kParallelBytes = 256 * 1024;
  static constexpr int64_t kPieceBytes = 64 * 1024;

  static std::string error_text() {
    const char* text = dlerror();
    return text == nullptr ? "no reason given" : text;
  }

  // One buffer a thread, kept for later calls, which then do not allocate.
  static void* scratch(int64_t bytes) {
    struct Buffer {
      void* memory = nullptr;
      int64_t size = 0;
      ~Buffer() { std::free(memory); }
    };
    thread_local Buffer buffer;
    if (bytes > buffer.size) {
      const int64_t rounded = (bytes + 4095) / 4096 * 4096;
      void* memory = std::aligned_alloc(64, static_cast<size_t>(rounded));
      if (memory == nullptr) throw std::bad_alloc();
      std::free(buffer.memory);
      buffer.memory = memory;
      buffer.size = rounded;
    }
    return buffer.memory;
  }

  const wbs_cpu_kernel* kernel_;
};

}  // namespace warp_bitonic_sort::driver

#endif  // WARP_BITONIC_SORT_DRIVER_CPU_HPP_
