// Compares neighbours of sorted rows while they are stored.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_ORDER_CHECK_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_ORDER_CHECK_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// A group of lanes has Size positions a lane at a time, which follow each other; the last lane's
// are followed by the first one's next. Nothing is done where prefixes are exact.
template <class Team, int Group, int Size, bool ByValues = false>
class order_check {
  using target = typename Team::target;
  using element = typename Team::element;
  using order_key = typename Team::template order_key<ByValues>;

 public:
  WBS_INLINE order_check(const Team& team, const typename Team::rows& rows, int length)
      : team_(team), codec_(team.make_codec()) {
    const int lane = target::lane();
    is_last_ = (lane & (Group - 1)) == Group - 1;
    source_ = (lane & ~(Group - 1)) | ((lane - 1) & (Group - 1));
    if constexpr (Team::warps > 1 && !Team::is_exact) {
      // The last lane has the key before the warp's first one.
      const int before = Team::team_warp() * (Team::capacity / Team::warps) - 1;
      if (is_last_ && before >= 0 && before < length) {
        last_ = order_of(rows.element(0, Team::index_of(*team.place(before))));
      }
    }
  }

  // `follows(e)` tells whether element e is there and follows one of its row.
  template <class Follows>
  WBS_INLINE void add(const element (&values)[Size], Follows follows) {
    if constexpr (!Team::is_exact) {
      order_key code = order_of(values[Size - 1]), before = last_;
      if constexpr (Group > 1) before = target::from_lane(is_last_ ? last_ : code, source_);
      last_ = code;
      WBS_UNROLL
      for (int e = Size - 1; e >= 0; --e) {
        const order_key lower = e == 0 ? before : order_of(values[e > 0 ? e - 1 : 0]);
        is_wrong_ |= follows(e) && lower > code;
        code = lower;
      }
    }
  }

  // Whether this lane saw neighbours in the wrong order.
  WBS_INLINE bool is_wrong() const { return is_wrong_; }

 private:
  WBS_INLINE order_key order_of(element raw) const {
    return team_.template order_of<ByValues>(codec_, raw);
  }

  const Team& team_;
  typename Team::codes codec_;
  int source_;
  bool is_last_, is_wrong_ = false;
  order_key last_ = 0;
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_ORDER_CHECK_HPP_
