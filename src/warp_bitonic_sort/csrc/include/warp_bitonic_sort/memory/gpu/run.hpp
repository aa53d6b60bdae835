// Moves contiguous elements between global and shared memory.
//
// Invariant: addresses are moved 16 bytes at a time where they are multiples of 16, else by
// elements. Nothing outside the run is read or written. Every function is called by all threads.
// Loads of a target that has_copies are complete after its sync_copies(), for which a caller waits.
#ifndef WARP_BITONIC_SORT_MEMORY_GPU_RUN_HPP_
#define WARP_BITONIC_SORT_MEMORY_GPU_RUN_HPP_

#include <warp_bitonic_sort/core/config.hpp>

namespace warp_bitonic_sort {

// Elements that one access moves.
template <class Element, int Size>
struct alignas(Size * sizeof(Element)) element_vector {
  Element values[Size];
};

// A run of at most Capacity elements for each of Threads threads.
template <class Target, class Element, int Capacity, int Threads>
class contiguous_run {
  WBS_CONSTANT(int, element_bytes, static_cast<int>(sizeof(Element)));
  WBS_CONSTANT(int, size, 16 / element_bytes);
  WBS_CONSTANT(int, rounds, (Capacity + size - 1) / size);
  WBS_CONSTANT(int, step, Threads * size);

 public:
  // Elements from a multiple of 16 bytes to a run's start; a staged run keeps this alignment.
  static WBS_INLINE int lead_of(const char* address) {
    return static_cast<int>(reinterpret_cast<unsigned long long>(address) % 16) / element_bytes;
  }

  // `in_stage` is lead_of(memory) elements behind a multiple of 16 bytes.
  template <bool Load>
  static WBS_INLINE void move(char* memory, Element* in_stage, int count, int thread) {
    const int head = (size - lead_of(memory)) % size;
    const int first = head + thread * size;
    char* const from_first = memory + first * element_bytes;
    if constexpr (Load && Target::has_copies) {
      WBS_UNROLL
      for (int c = 0; c < rounds; ++c) {
        if (c * step + size <= count - first) {
          Target::template copy<16>(in_stage + first + c * step,
                                    from_first + c * step * element_bytes);
        }
      }
    } else {
      WBS_UNROLL
      for (int c = 0; c < rounds; ++c) {
        if (c * step + size <= count - first) {
          move_vector<Load, size>(from_first, in_stage + first, c * step);
        }
      }
    }
    if (thread < head && thread < count) move_vector<Load, 1>(memory, in_stage, thread);
    const int behind = count - (count - head) % size + thread;
    if (head <= count && behind < count) move_vector<Load, 1>(memory, in_stage, behind);
  }

 private:
  template <bool Load, int Size>
  static WBS_INLINE void move_vector(char* memory, Element* in_stage, int at) {
    using vector = element_vector<Element, Size>;
    char* const outside = memory + at * element_bytes;
    vector& inside = *reinterpret_cast<vector*>(in_stage + at);
    if constexpr (Load) {
      inside = Target::template load_global<vector>(outside);
    } else {
      Target::store_global(outside, inside);
    }
  }
};

// Copies Count elements of each thread into shared memory; `find(c, to)` returns the address of
// element c, or null for none, and where in the stage it goes.
template <class Target, class Element, int Count, class Find>
WBS_INLINE void copy_elements(Find find, Element* stage) {
  if constexpr (Target::has_copies && sizeof(Element) >= 4) {
    WBS_UNROLL
    for (int c = 0; c < Count; ++c) {
      int to;
      const char* const from = find(c, to);
      if (from != nullptr) {
        Target::template copy<static_cast<int>(sizeof(Element))>(stage + to, from);
      }
    }
  } else {
    constexpr int burst = Count % 8 == 0 ? 8 : Count % 4 == 0 ? 4 : 1;
    WBS_ROLLED
    for (int c = 0; c < Count; c += burst) {
      Element loaded[burst]{};
      WBS_UNROLL
      for (int i = 0; i < burst; ++i) {
        int to;
        const char* const from = find(c + i, to);
        if (from != nullptr) loaded[i] = Target::template load_global<Element>(from);
      }
      WBS_UNROLL
      for (int i = 0; i < burst; ++i) {
        int to;
        if (find(c + i, to) != nullptr) stage[to] = loaded[i];
      }
    }
  }
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_RUN_HPP_
