// A median filter for 3x3 neighbourhoods, one pixel a thread.
//
// The nine neighbours stay in registers. The network is straight-line code, so no local memory is
// used. Compile it with nvcc -std=c++17 -I<folder of the headers>.
#include <warp_bitonic_sort/network/registers.hpp>

namespace {

struct one_row {
  using entry = float;
  __device__ void compare_exchange(float& a, float& b) const {
    const float low = fminf(a, b);
    b = fmaxf(a, b);
    a = low;
  }
};

}  // namespace

extern "C" __global__ void median_filter(const float* image, float* result, int width, int height) {
  const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int y = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  if (x >= width || y >= height) return;

  float keys[9];
#pragma unroll
  for (int i = 0; i < 9; ++i) {
    const int column = min(max(x + i % 3 - 1, 0), width - 1);
    const int row = min(max(y + i / 3 - 1, 0), height - 1);
    keys[i] = image[row * width + column];
  }
  warp_bitonic_sort::sort_registers<9>(one_row{}, keys);
  result[y * width + x] = keys[4];
}
