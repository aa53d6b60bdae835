// The GPU kernels behind gpu_abi.h: a whole translation unit is the macro at the end.
//
// A wave (a warp) loads its rows, each lane any keys of its row, for the input's order is free, in
// accesses of up to 16 bytes by neighbouring lanes; sorts them (lane_sort.hpp); lays the result out
// in shared memory and writes it in the same wide accesses. Rows shorter than the capacity are
// padded in registers.
//
// Invariant: every load of a row precedes every store of it (so sorting in place is right), no byte
// outside a row is read or written, and all addresses are 64 bits.
#ifndef WARP_BITONIC_SORT_GPU_KERNEL_HPP_
#define WARP_BITONIC_SORT_GPU_KERNEL_HPP_

#include <warp_bitonic_sort/gpu_abi.h>

#include <warp_bitonic_sort/base.hpp>
#include <warp_bitonic_sort/dtype.hpp>
#include <warp_bitonic_sort/gpu_key.hpp>
#include <warp_bitonic_sort/lane_sort.hpp>
#if defined(__CUDACC__)
#include <warp_bitonic_sort/exchange/cuda.hpp>
#endif

namespace warp_bitonic_sort {

template <template <class> class Target, key_class Class, int KeyBits, int Registers, int LaneBits,
          int WaveBits>
class gpu_rows {
  using keys_type = gpu_key<Class, KeyBits>;
  using element = typename keys_type::element;
  using key = typename keys_type::key;
  using target = Target<key>;
  using network_type = lane_network<target, Registers, LaneBits, WaveBits>;
  static constexpr int wave_lanes = network_type::wave_lanes;
  static constexpr int lanes = network_type::lanes;
  static constexpr int waves = network_type::waves;
  // Rows side by side in a wave, and those that share a register.
  static constexpr int wave_rows = wave_lanes / lanes * keys_type::rows;

 public:
  static constexpr int key_bytes = KeyBits / 8;
  static constexpr int capacity = network_type::capacity;
  static constexpr int threads = waves * wave_lanes < 128 ? 128 : waves * wave_lanes;
  static constexpr int block_rows = threads / wave_lanes / waves * wave_rows;
  // Blocks that a multiprocessor must at least have registers for; 0 leaves it to the compiler,
  // whose own choice spills a register or two of some kernels. (Tuned on sm_90; elsewhere room is
  // left.)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
  static constexpr bool needs_room = Class == key_class::bits && KeyBits == 32 && Registers == 24;
  static constexpr int room_for = 5;
#else
  static constexpr bool needs_room = Registers >= 24;
  static constexpr int room_for = 4;
#endif
  static constexpr int resident_blocks = threads > 128 ? 1 : needs_room ? room_for : 0;
  static constexpr int shared_bytes =
      threads / wave_lanes * network_type::stage_keys * static_cast<int>(sizeof(key));

  static WBS_INLINE void run(const wbs_gpu_sort_args& args, void* shared) {
    const keys_type codec({args.key_xor, args.key_add});
    key* const stage =
        static_cast<key*>(shared) + target::wave() / waves * waves * network_type::stage_keys;
    const bool wide_src = is_wide(args, reinterpret_cast<unsigned long long>(args.src),
                                  args.src_stride, args.src_batch_stride);
    const bool wide_dst = is_wide(args, reinterpret_cast<unsigned long long>(args.dst),
                                  args.dst_stride, args.dst_batch_stride);
    const long long tiles = (args.rows + block_rows - 1) / block_rows;
    for (long long tile = target::block(); tile < tiles; tile += target::blocks()) {
      const long long first = tile * block_rows + target::wave() / waves * wave_rows +
                              target::lane() / lanes * keys_type::rows;
      row rows[keys_type::rows];
      WBS_UNROLL
      for (int r = 0; r < keys_type::rows; ++r) rows[r] = find_row(args, first + r);
      key keys[Registers];
      if (wide_src) {
        load<vector_size>(codec, args, rows, keys);
      } else {
        load<1>(codec, args, rows, keys);
      }
      network_type::sort(target{args.one}, keys, stage);
      key* const own = network_type::own(stage);
      lay_out(keys, own);
      target::sync_wave();
      if (wide_dst) {
        store<vector_size>(codec, args, rows, own);
      } else {
        store<1>(codec, args, rows, own);
      }
      target::sync_wave();
    }
  }

 private:
  struct row {
    const char* src;
    char* dst;
    bool present;
  };

  // Elements that a lane moves at once.
  static constexpr int even_part = Registers % 3 == 0 ? Registers / 3 : Registers;
  static constexpr int vector_size = even_part < 16 / key_bytes ? even_part : 16 / key_bytes;
  template <int Size>
  struct alignas(Size* key_bytes) elements {
    element values[Size];
  };

  static WBS_INLINE bool is_wide(const wbs_gpu_sort_args& args, unsigned long long address,
                                 long long stride, const long long* batch_stride) {
    if (stride != key_bytes || args.length % vector_size != 0) return false;
    for (int i = 0; i < args.batch_dims; ++i) {
      address |= static_cast<unsigned long long>(batch_stride[i]);
    }
    return address % (vector_size * key_bytes) == 0;
  }

  static WBS_INLINE row find_row(const wbs_gpu_sort_args& args, long long index) {
    row r{static_cast<const char*>(args.src), static_cast<char*>(args.dst), index < args.rows};
    for (int i = args.batch_dims - 1; i > 0; --i) {
      const long long outer = index / args.batch_shape[i];
      const long long at = index - outer * args.batch_shape[i];
      r.src += at * args.src_batch_stride[i];
      r.dst += at * args.dst_batch_stride[i];
      index = outer;
    }
    if (args.batch_dims > 0) {
      r.src += index * args.src_batch_stride[0];
      r.dst += index * args.dst_batch_stride[0];
    }
    return r;
  }

  // This lane's number within its row.
  static WBS_INLINE int lane_of_row() {
    const int lane = target::lane() & (lanes - 1);
    return WaveBits == 0 ? lane : lane + (target::wave() & (waves - 1)) * lanes;
  }

  template <int Size>
  static WBS_INLINE void load(const keys_type& codec, const wbs_gpu_sort_args& args,
                              const row (&rows)[keys_type::rows], key (&keys)[Registers]) {
    const int lane = lane_of_row();
    WBS_UNROLL
    for (int c = 0; c < Registers / Size; ++c) {
      const int at = (c * lanes * waves + lane) * Size;
      const bool present = at < args.length;
      elements<Size> raw[keys_type::rows];
      WBS_UNROLL
      for (int r = 0; r < keys_type::rows; ++r) {
        raw[r] = {};
        if (present && rows[r].present) {
          raw[r] = *reinterpret_cast<const elements<Size>*>(
              rows[r].src + at * (Size > 1 ? key_bytes : args.src_stride));
        }
      }
      WBS_UNROLL
      for (int e = 0; e < Size; ++e) {
        const key k = codec.encode(element_of(raw, e));
        keys[c * Size + e] = present ? k : keys_type::pad();
      }
    }
  }

  // Element e of every row that shares a register.
  template <int Size>
  static WBS_INLINE auto element_of(const elements<Size> (&raw)[keys_type::rows], int e) {
    if constexpr (keys_type::rows == 1) {
      return raw[0].values[e];
    } else if constexpr (KeyBits == 16 && Size > 1) {
      // Of two words, the low halves or the high ones: one instruction.
      unsigned first, second;
      __builtin_memcpy(&first, &raw[0].values[e & ~1], sizeof(first));
      __builtin_memcpy(&second, &raw[1].values[e & ~1], sizeof(second));
      return e % 2 == 0 ? gpu_key_detail::low_halves(first, second)
                        : gpu_key_detail::high_halves(first, second);
    } else {
      return raw[0].values[e] | static_cast<unsigned>(raw[1].values[e]) << 16;
    }
  }

  static WBS_INLINE void lay_out(const key (&keys)[Registers], key* own) {
    using vector = key_vector<key>;
    key* const to = own + target::lane() * network_type::straight_pitch;
    if constexpr (Registers % vector::size == 0) {
      WBS_UNROLL
      for (int j = 0; j < Registers; j += vector::size) {
        vector v;
        WBS_UNROLL
        for (int e = 0; e < vector::size; ++e) v.keys[e] = keys[j + e];
        *reinterpret_cast<vector*>(to + j) = v;
      }
    } else {
      WBS_UNROLL
      for (int j = 0; j < Registers; ++j) to[j] = keys[j];
    }
  }

  template <int Size>
  static WBS_INLINE void store(const keys_type& codec, const wbs_gpu_sort_args& args,
                               const row (&rows)[keys_type::rows], const key* own) {
    const int lane = target::lane() & (lanes - 1);
    const key* const row_lanes = own + (target::lane() - lane) * network_type::straight_pitch;
    const int first = lane_of_row() / lanes * (lanes * Registers);
    WBS_UNROLL
    for (int c = 0; c < Registers / Size; ++c) {
      const int at = (c * lanes + lane) * Size;
      const key* const from =
          row_lanes + at / Registers * network_type::straight_pitch + at % Registers;
      elements<Size> raw[keys_type::rows];
      if constexpr (keys_type::rows == 1) {
        WBS_UNROLL
        for (int e = 0; e < Size; ++e) raw[0].values[e] = codec.decode(from[e]);
      } else if constexpr (KeyBits == 16 && Size > 1) {
        WBS_UNROLL
        for (int e = 0; e < Size; e += 2) {
          const unsigned one = codec.decode(from[e]), two = codec.decode(from[e + 1]);
          const unsigned first_row = gpu_key_detail::low_halves(one, two);
          const unsigned second_row = gpu_key_detail::high_halves(one, two);
          __builtin_memcpy(&raw[0].values[e], &first_row, sizeof(first_row));
          __builtin_memcpy(&raw[1].values[e], &second_row, sizeof(second_row));
        }
      } else {
        WBS_UNROLL
        for (int e = 0; e < Size; ++e) {
          const unsigned both = codec.decode(from[e]);
          raw[0].values[e] = static_cast<element>(both);
          raw[1].values[e] = static_cast<element>(both >> 16);
        }
      }
      WBS_UNROLL
      for (int r = 0; r < keys_type::rows; ++r) {
        if (first + at < args.length && rows[r].present) {
          *reinterpret_cast<elements<Size>*>(
              rows[r].dst + (first + at) * (Size > 1 ? key_bytes : args.dst_stride)) = raw[r];
        }
      }
    }
  }
};

}  // namespace warp_bitonic_sort

// A kernel for rows of up to registers * 2^lane_bits * 2^wave_bits keys: Class is bits, floating or
// fnuz.
#if defined(__CUDACC__)
#define WARP_BITONIC_SORT_GPU_ROWS(name, Class, key_bits, registers, lane_bits, wave_bits)         \
  using wbs_rows = ::warp_bitonic_sort::gpu_rows< ::warp_bitonic_sort::cuda_target,                \
                                                  ::warp_bitonic_sort::key_class::Class, key_bits, \
                                                  registers, lane_bits, wave_bits>;                \
  extern "C" __constant__ const wbs_gpu_kernel warp_bitonic_sort_gpu_kernel = {                    \
      WBS_GPU_ABI_VERSION,                                                                         \
      wbs_rows::key_bytes,                                                                         \
      static_cast<unsigned>(::warp_bitonic_sort::key_class::Class),                                \
      wbs_rows::threads,                                                                           \
      wbs_rows::block_rows,                                                                        \
      wbs_rows::shared_bytes,                                                                      \
      1,                                                                                           \
      wbs_rows::capacity,                                                                          \
      name};                                                                                       \
  extern "C" __global__ void __launch_bounds__(wbs_rows::threads, wbs_rows::resident_blocks)       \
      warp_bitonic_sort_rows(const __grid_constant__ wbs_gpu_sort_args args) {                     \
    extern __shared__ __align__(16) unsigned char shared[];                                        \
    wbs_rows::run(args, shared);                                                                   \
  }
#endif

#endif  // WARP_BITONIC_SORT_GPU_KERNEL_HPP_
