// Sorts columns on a CPU in blocks, through a stage, where it is slow to access them.
//
// The elements of a column are far apart in memory. Where they are so by whole pages, they share a
// few sets of a cache, which have no room for many; where an array exceeds the caches, prefetchers
// do not follow many either. A block of neighbouring columns is then copied to a stage in long
// runs, sorted there, and copied back past the caches. The runs of the next block are prefetched
// meanwhile.
//
// Invariant: as for the kernel that sorts the stage. Every load of a block precedes its stores.
#ifndef WARP_BITONIC_SORT_KERNEL_CPU_COLUMN_BLOCKS_HPP_
#define WARP_BITONIC_SORT_KERNEL_CPU_COLUMN_BLOCKS_HPP_

#include <warp_bitonic_sort/abi.h>

#include <warp_bitonic_sort/core/config.hpp>
#include <warp_bitonic_sort/memory/cpu/nontemporal_store.hpp>
#include <warp_bitonic_sort/memory/cpu/row_cursor.hpp>

namespace warp_bitonic_sort {

template <class Kernel>
class column_blocks : public Kernel {
  static constexpr int run_bytes = 1024, columns = run_bytes / Kernel::key_bytes;
  // Runs begin in different sets of a cache.
  static constexpr int pitch = run_bytes + line_bytes;
  // A block is sorted in parts, between which the next one is prefetched.
  static constexpr int parts = 4, part = columns / parts;
  static_assert(part % Kernel::lanes == 0, "parts are whole groups");
  // Longer columns leave no room for the stage in a core's second cache.
  static constexpr long long max_staged_length = 512;
  static constexpr int max_ways = 12, max_followed = 24;

 public:
  static long long scratch_bytes(long long length) {
    const long long stage = length <= max_staged_length ? length * pitch : 0;
    return rounded(Kernel::scratch_bytes(length)) + stage;
  }

  static void run(const void* args, long long first, long long last, void* scratch) {
    const auto& rows = *static_cast<const wbs_args<1, 1>*>(args);
    if (is_staged(rows)) {
      sort_blocks(rows, first, last, static_cast<char*>(scratch));
    } else {
      Kernel::run(args, first, last, scratch);
    }
  }

 private:
  static constexpr long long rounded(long long bytes) {
    return (bytes + line_bytes - 1) / line_bytes * line_bytes;
  }
  static bool is_staged(const wbs_args<1, 1>& args) {
    const int inner = args.batch_dims - 1;
    if (args.length > max_staged_length || inner < 0 || args.batch_shape[inner] < columns ||
        args.input_batch_stride[0][inner] != Kernel::key_bytes ||
        args.output_batch_stride[0][inner] != Kernel::key_bytes) {
      return false;
    }
    if (is_large(args, Kernel::key_bytes)) return args.length > max_followed;
    const bool share_sets =
        args.input_stride[0] % page_bytes == 0 || args.output_stride[0] % page_bytes == 0;
    return share_sets && args.length > max_ways;
  }

  static void sort_blocks(const wbs_args<1, 1>& args, long long first, long long last,
                          char* scratch) {
    char* const stage = scratch + rounded(Kernel::scratch_bytes(args.length));
    row_cursor<1> cursor(args, first);
    for (long long left = last - first; left > 0;) {
      const long long fitting = cursor.run() < left ? cursor.run() : left;
      const int room = columns - keys_into_line(cursor.dst());
      const int count = fitting < room ? static_cast<int>(fitting) : room;
      const int bytes = count * Kernel::key_bytes;
      const char* const from = cursor.src();
      char* const to = cursor.dst();
      for (int i = 0; i < args.length; ++i) {
        __builtin_memcpy(stage + i * pitch, from + i * args.input_stride[0],
                         static_cast<unsigned long>(bytes));
      }
      cursor.advance(count);
      left -= count;
      for (int p = 0; p * part < count; ++p) {
        if (left > 0) prefetch(args, cursor.src(), p);
        const int end = count < (p + 1) * part ? count : (p + 1) * part;
        sort_part(args, stage + p * part * Kernel::key_bytes, end - p * part, scratch);
      }
      for (int i = 0; i < args.length; ++i) {
        nontemporal_store::copy(to + i * args.output_stride[0], stage + i * pitch, bytes);
      }
    }
    nontemporal_store::fence();
  }
  // Blocks but the first of a run begin with a line, so that their rows are whole lines.
  static int keys_into_line(const char* key) {
    return static_cast<int>(reinterpret_cast<unsigned long>(key) % line_bytes) / Kernel::key_bytes;
  }
  // Prefetches a part of the next block's rows.
  static void prefetch(const wbs_args<1, 1>& args, const char* next, int p) {
    for (int i = p * args.length / parts; i < (p + 1) * args.length / parts; ++i) {
      const char* const run = next + i * args.input_stride[0];
      for (int at = 0; at < run_bytes; at += line_bytes) __builtin_prefetch(run + at);
    }
  }
  static void sort_part(const wbs_args<1, 1>& args, char* keys, int count, void* scratch) {
    wbs_args<1, 1> own = args;
    own.input[0] = own.output[0] = keys;
    own.rows = own.batch_shape[0] = count;
    own.batch_dims = 1;
    own.input_stride[0] = own.output_stride[0] = pitch;
    own.input_batch_stride[0][0] = own.output_batch_stride[0][0] = Kernel::key_bytes;
    Kernel::run(&own, 0, count, scratch);
  }
};

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_KERNEL_CPU_COLUMN_BLOCKS_HPP_
