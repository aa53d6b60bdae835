// A test double of libcuda.so.1: the entry points that driver/cuda.hpp loads, over memory of the
// host.
//
// Invariant: it is stricter than a driver, never laxer. Every call fails with the driver's own code
// if it lacks a current context, a context, module or function of this process, or an image for
// this device. A launch is recorded, then carried out from its arguments alone, in the simplest
// way.
//
// FAKE_CUDA_DEVICES lists the devices' compute capabilities, as in 80,90. FAKE_CUDA_FAIL, and later
// fake_cuda_fail(), list the calls that fail, as in cuLaunchKernel=700,cuModuleLoadData=2.
#include <memory>

#include "fake_gpu.hpp"

namespace {

using namespace fake;

constexpr Error errors[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {710, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

struct Context {
  int device;
  int retained;
};

struct Module;

struct Function {
  Module* module;
  int dynamic_shared_bytes;
};

struct Module {
  Context* context;
  std::map<std::string, Function> functions;
  std::map<std::string, std::string> globals;
};

// The whole state; never destroyed, because threads may outlive main().
struct Driver : Record {
  bool initialized = false;
  std::vector<int> capabilities;
  std::vector<Context> contexts;
  std::map<Module*, std::unique_ptr<Module>> modules;
  // The size of the last image that was not an ELF file: a driver reads it as text, up to its first
  // zero.
  size_t text_bytes = 0;

  Driver() {
    const char* listed = std::getenv("FAKE_CUDA_DEVICES");
    for (const std::string& word : words_of(listed != nullptr ? listed : "80,90")) {
      contexts.push_back({static_cast<int>(capabilities.size()), 0});
      capabilities.push_back(std::atoi(word.c_str()));
    }
    const char* failing = std::getenv("FAKE_CUDA_FAIL");
    fail(failing != nullptr ? failing : "");
  }

  Context* find(void* handle) {
    for (Context& each : contexts) {
      if (&each == handle && each.retained > 0) return &each;
    }
    return nullptr;
  }

  Function* find_function(void* handle) {
    for (auto& [module, owned] : modules) {
      for (auto& [name, function] : module->functions) {
        if (&function == handle) return &function;
      }
    }
    return nullptr;
  }
};

Driver& driver() {
  static Driver& the = *new Driver;
  return the;
}

thread_local std::vector<Context*> stack;

Context* current() { return stack.empty() ? nullptr : stack.back(); }

// Holds the lock, counts the call, and tells whether it fails before it does anything.
class Call {
 public:
  explicit Call(const char* name, bool needs_context = false) : lock_(driver().guard) {
    status = driver().begin(name);
    if (status != success) return;
    if (!driver().initialized) {
      status = not_initialized;
    } else if (needs_context && current() == nullptr) {
      status = invalid_context;
    }
  }
  int status = success;

 private:
  std::lock_guard<std::mutex> lock_;
};

// A device runs images of its own major version, of the same or a lower minor version.
bool runs_on(int capability, const Elf64_Ehdr& header) {
  // From ABI version 8 on the architecture is the second byte, before that the first.
  const int shift = header.e_ident[EI_ABIVERSION] >= 8 ? 8 : 0;
  const int built_for = (header.e_flags >> shift) & 0xFF;
  return built_for / 10 == capability / 10 && built_for % 10 <= capability % 10;
}

// The functions and constants of a code object.
void read_symbols(const char* image, const Elf64_Ehdr& header, Module& module) {
  for_symbols(image, header, SHT_SYMTAB,
              [&](const std::string& name, const Elf64_Sym& symbol, const char* bytes) {
                if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC) {
                  module.functions[name] = {&module, 48 * 1024};
                } else if (ELF64_ST_TYPE(symbol.st_info) == STT_OBJECT) {
                  module.globals[name].assign(bytes, symbol.st_size);
                }
              });
}

}  // namespace

EXPORT int cuInit(unsigned) {
  Call call("cuInit");
  if (driver().failures.count("cuInit") != 0) return call.status;
  driver().initialized = true;
  return success;
}

// The two functions that describe an error work in any state.
EXPORT int cuGetErrorName(int code, const char** name) {
  *name = nullptr;
  for (const Error& each : errors) {
    if (each.code == code) *name = each.name;
  }
  return *name != nullptr ? success : invalid_value;
}

EXPORT int cuGetErrorString(int code, const char** text) {
  *text = nullptr;
  for (const Error& each : errors) {
    if (each.code == code) *text = each.text;
  }
  return *text != nullptr ? success : invalid_value;
}

EXPORT int cuDeviceGet(int* device, int ordinal) {
  Call call("cuDeviceGet");
  if (call.status != success) return call.status;
  if (ordinal < 0 || ordinal >= static_cast<int>(driver().contexts.size())) return invalid_device;
  *device = ordinal;
  return success;
}

EXPORT int cuDeviceGetAttribute(int* value, int attribute, int device) {
  Call call("cuDeviceGetAttribute");
  if (call.status != success) return call.status;
  constexpr int major_version = 75, minor_version = 76;
  if (attribute != major_version && attribute != minor_version) return invalid_value;
  const int capability = driver().capabilities[device];
  *value = attribute == major_version ? capability / 10 : capability % 10;
  return success;
}

EXPORT int cuDevicePrimaryCtxRetain(void** context, int device) {
  Call call("cuDevicePrimaryCtxRetain");
  if (call.status != success) return call.status;
  ++driver().contexts[device].retained;
  *context = &driver().contexts[device];
  return success;
}

EXPORT int cuCtxGetCurrent(void** context) {
  Call call("cuCtxGetCurrent");
  if (call.status != success) return call.status;
  *context = current();
  return success;
}

EXPORT int cuCtxPushCurrent_v2(void* context) {
  Call call("cuCtxPushCurrent_v2");
  if (call.status != success) return call.status;
  Context* const found = driver().find(context);
  if (found == nullptr) return invalid_context;
  stack.push_back(found);
  return success;
}

EXPORT int cuCtxPopCurrent_v2(void** context) {
  Call call("cuCtxPopCurrent_v2", true);
  if (call.status != success) return call.status;
  *context = current();
  stack.pop_back();
  return success;
}

EXPORT int cuModuleLoadData(void** module, const void* image) {
  Call call("cuModuleLoadData", true);
  if (call.status != success) return call.status;
  const char* const bytes = static_cast<const char*>(image);
  if (std::strncmp(bytes, ELFMAG, SELFMAG) != 0) {
    driver().text_bytes = std::strlen(bytes);
    return invalid_image;
  }
  Elf64_Ehdr header;
  std::memcpy(&header, bytes, sizeof(header));
  constexpr int cuda_machine = 190;
  if (header.e_machine != cuda_machine) return invalid_image;
  if (!runs_on(driver().capabilities[current()->device], header)) return no_binary_for_gpu;
  auto made = std::make_unique<Module>();
  made->context = current();
  read_symbols(bytes, header, *made);
  *module = made.get();
  driver().modules[made.get()] = std::move(made);
  return success;
}

EXPORT int cuModuleUnload(void* module) {
  Call call("cuModuleUnload", true);
  if (call.status != success) return call.status;
  const auto found = driver().modules.find(static_cast<Module*>(module));
  if (found == driver().modules.end()) return invalid_handle;
  if (found->first->context != current()) return invalid_context;
  driver().modules.erase(found);
  return success;
}

EXPORT int cuModuleGetFunction(void** function, void* module, const char* name) {
  Call call("cuModuleGetFunction", true);
  if (call.status != success) return call.status;
  if (driver().modules.count(static_cast<Module*>(module)) == 0) return invalid_handle;
  auto& functions = static_cast<Module*>(module)->functions;
  const auto found = functions.find(name);
  if (found == functions.end()) return not_found;
  *function = &found->second;
  return success;
}

EXPORT int cuModuleGetGlobal_v2(uint64_t* address, size_t* bytes, void* module, const char* name) {
  Call call("cuModuleGetGlobal_v2", true);
  if (call.status != success) return call.status;
  if (driver().modules.count(static_cast<Module*>(module)) == 0) return invalid_handle;
  const auto& globals = static_cast<Module*>(module)->globals;
  const auto found = globals.find(name);
  if (found == globals.end()) return not_found;
  *address = reinterpret_cast<uint64_t>(found->second.data());
  *bytes = found->second.size();
  return success;
}

EXPORT int cuMemcpyDtoH_v2(void* to, uint64_t address, size_t bytes) {
  Call call("cuMemcpyDtoH_v2", true);
  if (call.status != success) return call.status;
  std::memcpy(to, reinterpret_cast<const void*>(address), bytes);
  return success;
}

EXPORT int cuFuncSetAttribute(void* function, int attribute, int value) {
  Call call("cuFuncSetAttribute", true);
  if (call.status != success) return call.status;
  constexpr int max_dynamic_shared_bytes = 8, most = 227 * 1024;
  Function* const found = driver().find_function(function);
  if (found == nullptr) return invalid_handle;
  if (attribute != max_dynamic_shared_bytes || value < 0 || value > most) return invalid_value;
  found->dynamic_shared_bytes = value;
  return success;
}

EXPORT int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                          unsigned block_x, unsigned block_y, unsigned block_z,
                          unsigned shared_bytes, void* stream, void** parameters, void** extra) {
  Call call("cuLaunchKernel", true);
  if (call.status != success) return call.status;
  const Function* const found = driver().find_function(function);
  if (found == nullptr || found->module->context != current()) return invalid_handle;
  const auto own = driver().streams.find(stream);
  if (own != driver().streams.end() && own->second.device != current()->device) {
    return invalid_handle;
  }
  const auto fits = [](unsigned value, unsigned most) { return value >= 1 && value <= most; };
  if (!fits(grid_x, INT32_MAX) || !fits(grid_y, 65535) || !fits(grid_z, 65535) ||
      !fits(block_x, 1024) || !fits(block_y, 1024) || !fits(block_z, 64) ||
      block_x * block_y * block_z > 1024 || extra != nullptr ||
      shared_bytes > static_cast<unsigned>(found->dynamic_shared_bytes)) {
    return invalid_value;
  }
  Launch launch{found->module->context->device,
                current()->device,
                {grid_x, grid_y, grid_z},
                {block_x, block_y, block_z},
                shared_bytes,
                stream,
                {},
                {}};
  const std::string& constant = found->module->globals["warp_bitonic_sort_gpu_kernel"];
  std::memcpy(&launch.kernel, constant.data(), std::min(constant.size(), sizeof(launch.kernel)));
  std::memcpy(&launch.args, parameters[0], sizeof(launch.args));
  driver().launches.push_back(launch);
  return driver().records_only ? success : carry_out(launch, parameters[0]);
}

EXPORT int cuStreamIsCapturing(void* stream, int* status) {
  Call call("cuStreamIsCapturing", true);
  if (call.status != success) return call.status;
  *status = static_cast<int>(driver().capturing.count(stream));
  return success;
}

EXPORT int cuStreamCreate(void** stream, unsigned flags) {
  Call call("cuStreamCreate", true);
  if (call.status != success) return call.status;
  *stream = driver().make_stream(current()->device, flags);
  return success;
}

EXPORT int cuStreamSynchronize(void* stream) {
  Call call("cuStreamSynchronize", true);
  const int waited = driver().wait_for(stream);
  return call.status != success ? call.status : waited;
}

EXPORT int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  Call call("cuMemAlloc_v2", true);
  if (call.status != success) return call.status;
  return driver().allocate(current()->device, bytes, address);
}

EXPORT int cuCtxSynchronize() {
  Call call("cuCtxSynchronize", true);
  return call.status;
}
EXPORT int cuMemFree_v2(uint64_t address) {
  Call call("cuMemFree_v2", true);
  if (call.status != success) return call.status;
  return driver().free(address);
}

// From here on: the interface for tests.

EXPORT void fake_cuda_fail(const char* listed) {
  const std::lock_guard<std::mutex> lock(driver().guard);
  driver().fail(listed);
}

EXPORT void fake_cuda_capture(void* stream) {
  const std::lock_guard<std::mutex> lock(driver().guard);
  driver().capturing.insert(stream);
}

// Launches are carried out unless this turns it off: rows that only claim to exist have no memory.
EXPORT void fake_cuda_record_only(int only) {
  const std::lock_guard<std::mutex> lock(driver().guard);
  driver().records_only = only != 0;
}

// The record, as JSON; the context stack is the calling thread's. Valid until the thread's next
// call.
EXPORT const char* fake_cuda_report() {
  thread_local std::string report;
  const std::lock_guard<std::mutex> lock(driver().guard);
  Json out;
  out << "{\"modules\": " << driver().modules.size() << ", \"text_bytes\": " << driver().text_bytes
      << ", \"stack\": [";
  for (size_t i = 0; i < stack.size(); ++i) out << (i == 0 ? "" : ", ") << stack[i]->device;
  out << "], ";
  write(out, driver());
  out << "}";
  report = std::move(out.text);
  return report.c_str();
}
