// Repairs a row that is in the order of its prefixes, but not of its codes, by insertion.
//
// Equal codes keep their order: it is that of their indices, because they have one prefix.
//
// Invariant: a repair ends after a number of moves that is proportional to the row's length.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_REPAIR_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_REPAIR_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// A row's codes, in the order of its prefixes; its indices, and its keys; each `step` apart.
template <class Word, class Key>
struct row_in_repair {
  Word* codes;
  Word* order;
  Key* keys;
  long step;

  // Moves the code at `from`, which is less than the one before it, down behind the last that is
  // not greater, and its index and key with it. Returns the number of moves.
  WBS_INLINE long move_down(int from) const {
    const Word code = codes[from * step], index = order[from * step];
    const Key key = keys[from * step];
    int to = from;
    do {
      codes[to * step] = codes[(to - 1) * step];
      order[to * step] = order[(to - 1) * step];
      keys[to * step] = keys[(to - 1) * step];
      --to;
    } while (to > 0 && codes[(to - 1) * step] > code);
    codes[to * step] = code;
    order[to * step] = index;
    keys[to * step] = key;
    return from - to;
  }
};

// As many moves as take about the time of sorting the rows exactly.
constexpr long max_moves(int length, int rows) { return 2L * length * rows; }

enum class repair_result { in_order, repaired, abandoned };

// Repairs a row whose elements are contiguous. Behind the codes, there is room for a vector of any.
template <class Target, class Key>
inline repair_result repair_row(const row_in_repair<typename Target::element, Key>& row,
                                int length) {
  long left = max_moves(length, 1);
  bool moved = false;
  for (int i = 1; i < length; i += Target::lanes) {
    const int count = length - i < Target::lanes ? length - i : Target::lanes;
    const unsigned wrong =
        Target::lanes_greater(Target::load(row.codes + i - 1), Target::load(row.codes + i));
    if ((wrong & ((1u << count) - 1)) == 0) continue;
    // A move changes the codes behind it, too.
    for (int at = i; at < i + count; ++at) {
      if (row.codes[at - 1] <= row.codes[at]) continue;
      moved = true;
      left -= row.move_down(at);
      if (left < 0) return repair_result::abandoned;
    }
  }
  return moved ? repair_result::repaired : repair_result::in_order;
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_REPAIR_HPP_
