// Prints the comparators of the networks that kernels run, for tests/cli/test_explorer.py.
//
// A line is: the bits of the network, the bits of its leaves, then the two positions of each
// comparator, in order. The code of the kernels runs on a target that writes down its exchanges.
#include <cstdio>
#include <utility>
#include <vector>
#include <warp_bitonic_sort/network/bitonic.hpp>

namespace {

using namespace warp_bitonic_sort;

std::vector<std::pair<int, int>> exchanged;

// An entry is its position.
struct recorder {
  using entry = int;
  void compare_exchange(entry& a, entry& b) const { exchanged.emplace_back(a, b); }
};

void print(int bits, int leaf_bits) {
  std::printf("%d %d", bits, leaf_bits);
  for (const auto& [low, high] : exchanged) std::printf(" %d %d", low, high);
  std::printf("\n");
  exchanged.clear();
}

template <int Bits, int LeafBits>
void merged() {
  int entries[1 << Bits];
  for (int i = 0; i < 1 << Bits; ++i) entries[i] = i;
  for (int first = 0; first < 1 << Bits; first += 1 << LeafBits) {
    network<recorder, LeafBits>::sort(recorder{}, entries + first);
  }
  network<recorder, Bits>::template sort<Bits, 0, LeafBits>(recorder{}, entries);
  print(Bits, LeafBits);
}

template <int Bits, int... LeafBits>
void all(std::integer_sequence<int, LeafBits...>) {
  ((LeafBits + 2 <= Bits ? merged<Bits, (LeafBits + 2 <= Bits ? LeafBits + 2 : Bits)>() : void()),
   ...);
}

}  // namespace

int main() {
  using leaves = std::make_integer_sequence<int, 4>;  // of 4, 8, 16 and 32 keys
  all<2>(leaves{});
  all<3>(leaves{});
  all<4>(leaves{});
  all<5>(leaves{});
  all<6>(leaves{});
}
