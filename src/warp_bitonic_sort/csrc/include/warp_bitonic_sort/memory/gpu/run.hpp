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
      const auto to_first = Target::shared_address(in_stage + first);
      WBS_UNROLL
      for (int c = 0; c < rounds; ++c) {
        constexpr int step_bytes = step * element_bytes;
        if (c * step + size <= count - first) {
          Target::template copy<16>(to_first + c * step_bytes, from_first + c * step_bytes);
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

// How many of first, first + Step, first + 2 * Step, ... are less than `end`.
template <int Step>
WBS_INLINE int steps_below(int first, int end) {
  return first < end ? (end - first + Step - 1) / Step : 0;
}

// Copies each thread's elements into shared memory, `count` of them and at most Capacity. They are
// `step` bytes apart in memory, and StagedStep elements in shared memory.
template <class Target, int Capacity, int StagedStep, class Element>
WBS_INLINE void copy_elements(const char* from, long long step, Element* to, int count) {
  if constexpr (Target::has_copies && sizeof(Element) >= 4) {
    constexpr int bytes = static_cast<int>(sizeof(Element));
    const auto staged = Target::shared_address(to);
    WBS_UNROLL
    for (int c = 0; c < Capacity; ++c, from += step) {
      if (c < count) Target::template copy<bytes>(staged + c * StagedStep * bytes, from);
    }
  } else {
    constexpr int burst = Capacity % 8 == 0 ? 8 : Capacity % 4 == 0 ? 4 : 1;
    WBS_ROLLED
    for (int start = 0; start < Capacity; start += burst) {
      Element loaded[burst]{};
      WBS_UNROLL
      for (int i = 0; i < burst; ++i, from += step) {
        if (start + i < count) loaded[i] = Target::template load_global<Element>(from);
      }
      WBS_UNROLL
      for (int i = 0; i < burst; ++i) {
        if (start + i < count) to[(start + i) * StagedStep] = loaded[i];
      }
    }
  }
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_MEMORY_GPU_RUN_HPP_
