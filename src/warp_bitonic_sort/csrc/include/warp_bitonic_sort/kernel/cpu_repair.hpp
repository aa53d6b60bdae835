// Repairs a row that is in the order of its prefixes, but not of its codes, by insertion.
//
// Equal codes keep their order: it is that of their indices, because they have one prefix.
//
// Invariant: a repair ends after a number of moves that is proportional to the row's length.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_REPAIR_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_REPAIR_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// A row's codes, in the order of its prefixes; its indices, and its keys.
template <class Word, class Key>
struct row_in_repair {
  Word* codes;
  Word* order;
  Key* keys;

  // Moves the code at `from`, which is less than the one before it, down behind the last that is
  // not greater, and its index and key with it. Returns the number of moves.
  WBS_INLINE long move_down(int from) const {
    const Word code = codes[from], index = order[from];
    const Key key = keys[from];
    int to = from;
    do {
      codes[to] = codes[to - 1];
      order[to] = order[to - 1];
      keys[to] = keys[to - 1];
      --to;
    } while (to > 0 && codes[to - 1] > code);
    codes[to] = code;
    order[to] = index;
    keys[to] = key;
    return from - to;
  }
};

// As many moves as take about the time of sorting the row exactly.
constexpr long max_moves(int length) { return 2L * length; }

enum class repair_result { in_order, repaired, abandoned };

// Repairs a row. Behind the codes, there is room for a vector of any.
template <class Target, class Key>
inline repair_result repair_row(const row_in_repair<typename Target::element, Key>& row,
                                int length) {
  long left = max_moves(length);
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
