// Sorts rows of 25 floats in the registers of one core, eight rows at once.
//
// A target tells the network what an entry is and how two entries are compared. Here an entry is a
// vector of eight floats, one of each row, so that one minimum compares eight rows.
#include <cstdio>
#include <warp_bitonic_sort/network/registers.hpp>

namespace {

constexpr int length = 25;
constexpr int rows = 8;

typedef float vector __attribute__((vector_size(rows * sizeof(float))));

struct eight_rows {
  using entry = vector;
  void compare_exchange(entry& a, entry& b) const {
    const entry low = a < b ? a : b;
    b = a < b ? b : a;
    a = low;
  }
};

}  // namespace

int main() {
  // keys[i][row] is element i of a row.
  vector keys[length];
  unsigned state = 1;
  for (vector& key : keys) {
    for (int row = 0; row < rows; ++row) {
      state = state * 1664525u + 1013904223u;
      key[row] = static_cast<float>(state >> 24);
    }
  }

  warp_bitonic_sort::sort_registers<length>(eight_rows{}, keys);

  for (int row = 0; row < rows; ++row) {
    for (const vector& key : keys) std::printf("%.0f ", static_cast<double>(key[row]));
    std::printf("\n");
  }
}
