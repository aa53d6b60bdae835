// The common part of the doubles of GPU drivers: a record of all calls, calls that fail on demand,
// and kernels carried out over memory of the host.
//
// Invariant: a launch is carried out in the simplest way, from its arguments and the code object's
// description alone.
#ifndef WARP_BITONIC_SORT_TESTS_FAKE_GPU_HPP_
#define WARP_BITONIC_SORT_TESTS_FAKE_GPU_HPP_

#include <elf.h>
#include <warp_bitonic_sort/abi.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <type_traits>
#include <vector>
#include <warp_bitonic_sort/core/codec.hpp>
#include <warp_bitonic_sort/core/entry.hpp>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace fake {

namespace wbs = warp_bitonic_sort;

// Codes that the drivers share.
enum : int {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  no_binary_for_gpu = 209,
  invalid_handle = 400,
  not_found = 500,
};

struct Error {
  int code;
  const char* name;
  const char* text;
};

inline std::vector<std::string> words_of(const char* listed) {
  std::vector<std::string> words;
  for (const char* end = listed; *end != '\0'; listed = end + (*end == ',')) {
    end = listed + std::strcspn(listed, ",");
    if (*listed != '\0') words.emplace_back(listed, end);
  }
  return words;
}

struct Stream {
  int device;
  unsigned flags;
  int waits;
};

struct Memory {
  int device;
  size_t bytes;
};

struct Launch {
  int module_device;
  int current_device;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  void* stream;
  wbs_gpu_kernel kernel;
  wbs_args<1, 1> args;
};

// The calls that happened, and those that are to fail; behind one lock.
struct Record {
  std::mutex guard;
  bool records_only = false;
  std::map<std::string, int> failures;
  std::map<std::string, int> calls;
  std::set<void*> capturing;
  std::map<void*, Stream> streams;
  std::map<uint64_t, Memory> memory;
  std::vector<Launch> launches;

  // As in cuLaunchKernel=700,cuModuleLoadData=2.
  void fail(const char* listed) {
    failures.clear();
    for (const std::string& word : words_of(listed)) {
      const size_t equals = word.find('=');
      failures[word.substr(0, equals)] = std::atoi(word.c_str() + equals + 1);
    }
  }

  // Counts a call; returns the code that it is to fail with, or 0.
  int begin(const char* name) {
    ++calls[name];
    const auto failing = failures.find(name);
    return failing == failures.end() ? success : failing->second;
  }

  // A stream's address must only be unique; no memory is behind it.
  void* make_stream(int device, unsigned flags) {
    void* const stream = new char;
    streams[stream] = {device, flags, 0};
    return stream;
  }
  int wait_for(void* stream) {
    const auto found = streams.find(stream);
    if (found == streams.end()) return invalid_handle;
    ++found->second.waits;
    return success;
  }

  int allocate(int device, size_t bytes, uint64_t* address) {
    if (bytes == 0) return invalid_value;
    void* const made =
        bytes < size_t{1} << 40 ? std::aligned_alloc(256, (bytes + 255) / 256 * 256) : nullptr;
    if (made == nullptr) return out_of_memory;
    *address = reinterpret_cast<uint64_t>(made);
    memory[*address] = {device, bytes};
    return success;
  }
  int free(uint64_t address) {
    const auto found = memory.find(address);
    if (found == memory.end()) return invalid_value;
    memory.erase(found);
    std::free(reinterpret_cast<void*>(address));
    return success;
  }
};

template <class Header>
const Header* table(const char* image, uint64_t offset, uint64_t index) {
  return reinterpret_cast<const Header*>(image + offset) + index;
}

// Calls f(name, symbol, its section, its bytes) for the symbols that a code object defines in its
// tables of a type.
template <class Function>
void for_symbols(const char* image, const Elf64_Ehdr& header, uint32_t type, const Function& f) {
  for (int i = 0; i < header.e_shnum; ++i) {
    const auto* symbols = table<Elf64_Shdr>(image, header.e_shoff, i);
    if (symbols->sh_type != type) continue;
    const char* names =
        image + table<Elf64_Shdr>(image, header.e_shoff, symbols->sh_link)->sh_offset;
    for (uint64_t s = 0; s < symbols->sh_size / sizeof(Elf64_Sym); ++s) {
      const auto* symbol = table<Elf64_Sym>(image, symbols->sh_offset, s);
      if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx >= header.e_shnum) continue;
      const auto* section = table<Elf64_Shdr>(image, header.e_shoff, symbol->st_shndx);
      f(std::string(names + symbol->st_name), *symbol,
        image + section->sh_offset + (symbol->st_value - section->sh_addr));
    }
  }
}

// Calls f(inputs, outputs) with the addresses of every row, by abi.h's description.
template <int Inputs, int Outputs, class RowFunction>
void for_rows(const wbs_args<Inputs, Outputs>& args, const RowFunction& f) {
  for (long long r = 0; r < args.rows; ++r) {
    const auto in_row = [&](auto* first, const long long* strides) {
      long long rest = r;
      for (int i = args.batch_dims - 1; i >= 0; --i) {
        first += rest % args.batch_shape[i] * strides[i];
        rest /= args.batch_shape[i];
      }
      return first;
    };
    const char* inputs[Inputs];
    char* outputs[Outputs];
    for (int k = 0; k < Inputs; ++k) {
      inputs[k] = in_row(static_cast<const char*>(args.input[k]), args.input_batch_stride[k]);
    }
    for (int k = 0; k < Outputs; ++k) {
      outputs[k] = in_row(static_cast<char*>(args.output[k]), args.output_batch_stride[k]);
    }
    f(inputs, outputs);
  }
}

// The code of a key, and what is carried along with it.
struct Pair {
  uint64_t code, value;

  bool operator<(const Pair& other) const { return code < other.code; }
};

// Sorts keys stably, and with two outputs carries values of so many bytes along: those of a second
// input, or indices. Keys of equal codes are equal in all bits: such data have no NaN, and one
// zero.
template <wbs::codec_kind Codec, int KeyBits, int Inputs, int Outputs>
void sort_rows(const wbs_args<Inputs, Outputs>& args, size_t value_bytes) {
  using element = typename wbs::unsigned_of<KeyBits>::type;
  using signed_element = typename wbs::unsigned_of<KeyBits>::signed_type;
  const wbs::codec<Codec, element, signed_element, element> codec({args.key_xor, args.key_add}, 0);
  std::vector<Pair> pairs(static_cast<size_t>(args.length));
  for_rows(args, [&](const char* const* inputs, char* const* outputs) {
    for (int i = 0; i < args.length; ++i) {
      element raw;
      std::memcpy(&raw, inputs[0] + i * args.input_stride[0], sizeof(raw));
      pairs[i] = {codec.encode(raw), static_cast<uint64_t>(i)};
      if constexpr (Inputs > 1) {
        std::memcpy(&pairs[i].value, inputs[1] + i * args.input_stride[1], value_bytes);
      }
    }
    std::stable_sort(pairs.begin(), pairs.end());
    for (int i = 0; i < args.kept; ++i) {
      const element raw = codec.decode(static_cast<element>(pairs[i].code));
      if (args.output[0] != nullptr) {
        std::memcpy(outputs[0] + i * args.output_stride[0], &raw, sizeof(raw));
      }
      if constexpr (Outputs > 1) {
        std::memcpy(outputs[1] + i * args.output_stride[1], &pairs[i].value, value_bytes);
      }
    }
  });
}

template <int Inputs, int Outputs>
int carry_out(const wbs_gpu_kernel& kernel, const wbs_args<Inputs, Outputs>& args) {
  const size_t value_bits = wbs::value_bits_of(static_cast<wbs::payload>(kernel.cell.payload));
  const size_t bytes = value_bits > 0 ? value_bits / 8 : args.index_bytes;
  const auto is = [&](wbs::codec_kind key, unsigned bits) {
    return kernel.cell.codec == static_cast<unsigned>(key) && kernel.cell.bits == bits;
  };
  using wbs::codec_kind;
  if (is(codec_kind::integer, 8)) return sort_rows<codec_kind::integer, 8>(args, bytes), success;
  if (is(codec_kind::integer, 16)) return sort_rows<codec_kind::integer, 16>(args, bytes), success;
  if (is(codec_kind::integer, 32)) return sort_rows<codec_kind::integer, 32>(args, bytes), success;
  if (is(codec_kind::integer, 64)) return sort_rows<codec_kind::integer, 64>(args, bytes), success;
  if (is(codec_kind::ieee, 8)) return sort_rows<codec_kind::ieee, 8>(args, bytes), success;
  if (is(codec_kind::ieee, 16)) return sort_rows<codec_kind::ieee, 16>(args, bytes), success;
  if (is(codec_kind::ieee, 32)) return sort_rows<codec_kind::ieee, 32>(args, bytes), success;
  if (is(codec_kind::ieee, 64)) return sort_rows<codec_kind::ieee, 64>(args, bytes), success;
  if (is(codec_kind::fnuz, 8)) return sort_rows<codec_kind::fnuz, 8>(args, bytes), success;
  return invalid_image;
}

// Of a kernel with values or indices, the launch does not hold all arguments.
inline int carry_out(const Launch& launch, const void* args) {
  const wbs_cell& cell = launch.kernel.cell;
  if (cell.outputs == 1) return carry_out(launch.kernel, launch.args);
  const auto carry_out_as = [&](auto copy) {
    std::memcpy(&copy, args, sizeof(copy));
    return carry_out(launch.kernel, copy);
  };
  return cell.inputs == 1 ? carry_out_as(wbs_args<1, 2>{}) : carry_out_as(wbs_args<2, 2>{});
}

// From here on: as JSON.

// Not a stream of the standard library: a process may hold two copies of that library, and then a
// stream may ask one copy for the locale's facets of the other.
class Json {
 public:
  Json& operator<<(const std::string& part) {
    text += part;
    return *this;
  }
  template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
  Json& operator<<(Integer number) {
    return *this << std::to_string(number);
  }
  std::string text;
};

inline void write(Json& out, const Launch& launch) {
  const wbs_args<1, 1>& args = launch.args;
  const auto list = [&](const char* name, const long long* values) {
    out << ", \"" << name << "\": [";
    for (int i = 0; i < args.batch_dims; ++i) out << (i == 0 ? "" : ", ") << values[i];
    out << "]";
  };
  const auto dims = [&](const char* name, const unsigned (&size)[3]) {
    out << ", \"" << name << "\": [" << size[0] << ", " << size[1] << ", " << size[2] << "]";
  };
  out << "{\"kernel\": \"" << launch.kernel.cell.name
      << "\", \"module_device\": " << launch.module_device
      << ", \"current_device\": " << launch.current_device
      << ", \"shared_bytes\": " << launch.shared_bytes
      << ", \"stream\": " << reinterpret_cast<intptr_t>(launch.stream);
  dims("grid", launch.grid);
  dims("block", launch.block);
  out << ", \"rows\": " << args.rows << ", \"length\": " << args.length
      << ", \"one\": " << args.opaque_one << ", \"src_stride\": " << args.input_stride[0]
      << ", \"dst_stride\": " << args.output_stride[0];
  list("batch_shape", args.batch_shape);
  list("src_batch_stride", args.input_batch_stride[0]);
  list("dst_batch_stride", args.output_batch_stride[0]);
  out << "}";
}

// The members of an object that has further ones.
inline void write(Json& out, const Record& record) {
  const char* comma = "";
  out << "\"streams\": [";
  for (const auto& [handle, stream] : record.streams) {
    out << comma << "{\"handle\": " << reinterpret_cast<intptr_t>(handle)
        << ", \"device\": " << stream.device << ", \"flags\": " << stream.flags
        << ", \"waits\": " << stream.waits << "}";
    comma = ", ";
  }
  comma = "";
  out << "], \"memory\": [";
  for (const auto& [address, memory] : record.memory) {
    out << comma << "{\"address\": " << address << ", \"device\": " << memory.device
        << ", \"bytes\": " << memory.bytes << "}";
    comma = ", ";
  }
  comma = "";
  out << "], \"calls\": {";
  for (const auto& [name, count] : record.calls) {
    out << comma << "\"" << name << "\": " << count;
    comma = ", ";
  }
  comma = "";
  out << "}, \"launches\": [";
  for (const Launch& launch : record.launches) {
    out << comma;
    write(out, launch);
    comma = ", ";
  }
  out << "]";
}

}  // namespace fake

#endif  // WARP_BITONIC_SORT_TESTS_FAKE_GPU_HPP_
