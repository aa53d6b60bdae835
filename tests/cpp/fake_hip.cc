// A test double of libamdhip64.so: the entry points that driver/hip.hpp loads, over memory of the
// host.
//
// Invariant: it is stricter than HIP, never laxer. Where HIP would abort, or use another device
// than was meant, a call fails with one of HIP's codes. The double reads a module's image for as
// long as the module is loaded, as HIP does. A launch is recorded, then carried out: by the
// function that a test has set, or from its arguments alone, in the simplest way.
//
// FAKE_HIP_DEVICES lists the devices' targets, as in gfx90a,gfx1100. FAKE_HIP_FAIL, and later
// fake_hip_fail(), list the calls that fail, as in hipModuleLaunchKernel=700,hipMalloc=2. Built
// with FAKE_HIP_ROCM5 it is ROCm 5's library, which knows only one struct of a device's properties.
#include <memory>

#include "fake_gpu.hpp"

namespace {

using namespace fake;

constexpr int invalid_configuration = 9;
constexpr int launch_failure = 719;
constexpr int unknown = 999;

constexpr Error errors[] = {
    {0, "hipSuccess", "no error"},
    {1, "hipErrorInvalidValue", "invalid argument"},
    {2, "hipErrorOutOfMemory", "out of memory"},
    {3, "hipErrorNotInitialized", "initialization error"},
    {9, "hipErrorInvalidConfiguration", "invalid configuration argument"},
    {35, "hipErrorInsufficientDriver", "driver version is insufficient for runtime version"},
    {100, "hipErrorNoDevice", "no ROCm-capable device is detected"},
    {101, "hipErrorInvalidDevice", "invalid device ordinal"},
    {200, "hipErrorInvalidImage", "device kernel image is invalid"},
    {201, "hipErrorInvalidContext", "invalid device context"},
    {209, "hipErrorNoBinaryForGpu", "no kernel image is available for execution on the device"},
    {218, "hipErrorInvalidKernelFile", "invalid kernel file"},
    {303, "hipErrorSharedObjectInitFailed", "shared object initialization failed"},
    {400, "hipErrorInvalidHandle", "invalid resource handle"},
    {500, "hipErrorNotFound", "named symbol not found"},
    {700, "hipErrorIllegalAddress", "an illegal memory access was encountered"},
    {701, "hipErrorLaunchOutOfResources", "too many resources requested for launch"},
    {702, "hipErrorLaunchTimeOut", "the launch timed out and was terminated"},
    {709, "hipErrorContextIsDestroyed", "context is destroyed"},
    {710, "hipErrorAssert", "device-side assert triggered"},
    {719, "hipErrorLaunchFailure", "unspecified launch failure"},
    {900, "hipErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {906, "hipErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {999, "hipErrorUnknown", "unknown error"},
};

const Error& error_of(int code) {
  for (const Error& each : errors) {
    if (each.code == code) return each;
  }
  return error_of(unknown);
}

// The targets by the flags of an ELF file (EF_AMDGPU_MACH).
struct Target {
  const char* name;
  unsigned mach;
};
constexpr Target targets[] = {
    {"gfx906", 0x2f}, {"gfx908", 0x30},  {"gfx90a", 0x3f},  {"gfx942", 0x4c},
    {"gfx950", 0x4f}, {"gfx1030", 0x36}, {"gfx1100", 0x41}, {"gfx1201", 0x4e},
};

struct Module {
  int device;
  const char* image;
  std::string copy;
  std::set<std::string> functions;
  std::map<std::string, std::string> globals;
};

// Runs a kernel for a test; returns one of HIP's codes.
using Run = int (*)(const char* image, size_t image_bytes, const char* target, const unsigned* grid,
                    const unsigned* block, unsigned shared_bytes, const void* args,
                    size_t args_bytes);

// The whole state; never destroyed, because threads may outlive main().
struct Driver : Record {
  bool initialized = false;
  std::vector<std::string> devices;
  std::map<Module*, std::unique_ptr<Module>> modules;
  Run run = nullptr;

  Driver() {
    const char* listed = std::getenv("FAKE_HIP_DEVICES");
    devices = words_of(listed != nullptr ? listed : "gfx90a,gfx1100");
    const char* failing = std::getenv("FAKE_HIP_FAIL");
    fail(failing != nullptr ? failing : "");
  }

  // A function's handle is its name in its module's set.
  Module* module_of(const void* function) {
    for (auto& [module, owned] : modules) {
      for (const std::string& name : module->functions) {
        if (&name == function) return module;
      }
    }
    return nullptr;
  }

  int lds_bytes(int device) const { return (devices[device] == "gfx950" ? 160 : 64) * 1024; }
};

Driver& driver() {
  static Driver& the = *new Driver;
  return the;
}

thread_local int current = 0;
// The error that hipGetLastError() returns; a success does not clear it.
thread_local int last_error = success;

// Holds the lock, counts the call, and tells whether it fails before it does anything.
class Call {
 public:
  explicit Call(const char* name) : lock_(driver().guard) {
    status = driver().begin(name);
    if (status == success && !driver().initialized) status = not_initialized;
  }
  // Ends the call with a code.
  int operator()(int code) const {
    if (code != success) last_error = code;
    return code;
  }
  int fails() const { return (*this)(status); }
  void unlock() { lock_.unlock(); }
  int status = success;

 private:
  std::unique_lock<std::mutex> lock_;
};

unsigned mach_of(const std::string& target) {
  for (const Target& each : targets) {
    if (target == each.name) return each.mach;
  }
  return 0;
}

// The kernels, by their descriptors, and the variables, both from the dynamic symbols.
void read_symbols(const char* image, const Elf64_Ehdr& header, Module& module) {
  for_symbols(image, header, SHT_DYNSYM,
              [&](const std::string& name, const Elf64_Sym& symbol, const char* bytes) {
                if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT) return;
                const size_t stem = name.size() < 3 ? 0 : name.size() - 3;
                if (name.substr(stem) == ".kd") {
                  module.functions.insert(name.substr(0, stem));
                } else {
                  module.globals[name].assign(bytes, symbol.st_size);
                }
              });
}

// The rest of the struct holds values that its ints may have.
int tell_properties(const char* call_name, char* properties, size_t bytes, size_t target_at,
                    int device) {
  const Call call(call_name);
  if (call.status != success) return call.fails();
  if (device < 0 || device >= static_cast<int>(driver().devices.size())) {
    return call(invalid_device);
  }
  for (size_t i = 0; i < bytes; ++i)
    properties[i] = static_cast<char>(i % 4 == 0 ? 64 + i % 60 : 0);
  std::strcpy(properties, "gfx000 is no target here, but a name for people");
  const std::string& target = driver().devices[device];
  std::strcpy(properties + target_at,
              (target == "gfx90a" ? target + ":sramecc+:xnack-" : target).c_str());
  return call(success);
}

}  // namespace

EXPORT int hipInit(unsigned) {
  const Call call("hipInit");
  if (driver().failures.count("hipInit") != 0) return call.fails();
  driver().initialized = true;
  return call(success);
}

// These three work in any state.
EXPORT const char* hipGetErrorName(int code) { return error_of(code).name; }
EXPORT const char* hipGetErrorString(int code) { return error_of(code).text; }
EXPORT int hipGetLastError() {
  const int told = last_error;
  last_error = success;
  return told;
}

EXPORT int hipGetDevice(int* device) {
  const Call call("hipGetDevice");
  if (call.status != success) return call.fails();
  *device = current;
  return call(success);
}

EXPORT int hipSetDevice(int device) {
  const Call call("hipSetDevice");
  if (call.status != success) return call.fails();
  if (device < 0 || device >= static_cast<int>(driver().devices.size())) {
    return call(invalid_device);
  }
  current = device;
  return call(success);
}

EXPORT int hipDeviceGetAttribute(int* value, int attribute, int device) {
  const Call call("hipDeviceGetAttribute");
  if (call.status != success) return call.fails();
  constexpr int max_shared_memory_per_block = 74;
  if (attribute != max_shared_memory_per_block) return call(invalid_value);
  *value = driver().lds_bytes(device);
  return call(success);
}

EXPORT int hipGetDeviceProperties(char* properties, int device) {
  return tell_properties("hipGetDeviceProperties", properties, 792, 396, device);
}
#ifndef FAKE_HIP_ROCM5
EXPORT int hipGetDevicePropertiesR0600(char* properties, int device) {
  return tell_properties("hipGetDevicePropertiesR0600", properties, 1472, 1160, device);
}
#endif

EXPORT int hipModuleLoadData(void** module, const void* image) {
  const Call call("hipModuleLoadData");
  if (call.status != success) return call.fails();
  const char* const bytes = static_cast<const char*>(image);
  if (std::strncmp(bytes, ELFMAG, SELFMAG) != 0) return call(invalid_image);
  Elf64_Ehdr header;
  std::memcpy(&header, bytes, sizeof(header));
  constexpr int amdgpu_machine = 224;
  if (header.e_machine != amdgpu_machine) return call(no_binary_for_gpu);
  if ((header.e_flags & 0xFF) != mach_of(driver().devices[current])) return call(no_binary_for_gpu);
  auto made = std::make_unique<Module>();
  made->device = current;
  made->image = bytes;
  made->copy.assign(bytes, header.e_shoff + uint64_t{header.e_shnum} * header.e_shentsize);
  read_symbols(bytes, header, *made);
  *module = made.get();
  driver().modules[made.get()] = std::move(made);
  return call(success);
}

EXPORT int hipModuleUnload(void* module) {
  const Call call("hipModuleUnload");
  if (call.status != success) return call.fails();
  const auto found = driver().modules.find(static_cast<Module*>(module));
  if (found == driver().modules.end()) return call(invalid_handle);
  if (found->first->device != current) return call(invalid_context);
  driver().modules.erase(found);
  return call(success);
}

EXPORT int hipModuleGetFunction(const void** function, void* module, const char* name) {
  const Call call("hipModuleGetFunction");
  if (call.status != success) return call.fails();
  const auto known = driver().modules.find(static_cast<Module*>(module));
  if (known == driver().modules.end()) return call(invalid_handle);
  if (known->first->device != current) return call(invalid_context);
  const auto found = known->first->functions.find(name);
  if (found == known->first->functions.end()) return call(not_found);
  *function = &*found;
  return call(success);
}

EXPORT int hipModuleGetGlobal(uint64_t* address, size_t* bytes, void* module, const char* name) {
  const Call call("hipModuleGetGlobal");
  if (call.status != success) return call.fails();
  const auto known = driver().modules.find(static_cast<Module*>(module));
  if (known == driver().modules.end()) return call(invalid_handle);
  if (known->first->device != current) return call(invalid_context);
  const auto found = known->first->globals.find(name);
  if (found == known->first->globals.end()) return call(not_found);
  *address = reinterpret_cast<uint64_t>(found->second.data());
  *bytes = found->second.size();
  return call(success);
}

EXPORT int hipMemcpyDtoH(void* to, uint64_t address, size_t bytes) {
  const Call call("hipMemcpyDtoH");
  if (call.status != success) return call.fails();
  std::memcpy(to, reinterpret_cast<const void*>(address), bytes);
  return call(success);
}

EXPORT int hipModuleLaunchKernel(const void* function, unsigned grid_x, unsigned grid_y,
                                 unsigned grid_z, unsigned block_x, unsigned block_y,
                                 unsigned block_z, unsigned shared_bytes, void* stream,
                                 void** parameters, void** extra) {
  Call call("hipModuleLaunchKernel");
  if (call.status != success) return call.fails();
  const Module* const module = driver().module_of(function);
  if (module == nullptr || module->device != current) return call(invalid_handle);
  const auto own = driver().streams.find(stream);
  if (own != driver().streams.end() && own->second.device != current) return call(invalid_handle);
  const auto fits = [](unsigned value, unsigned most) { return value >= 1 && value <= most; };
  if (!fits(grid_x, INT32_MAX) || !fits(grid_y, 65536) || !fits(grid_z, 65536) ||
      !fits(block_x, 1024) || block_y != 1 || block_z != 1 || extra != nullptr ||
      shared_bytes > static_cast<unsigned>(driver().lds_bytes(current))) {
    return call(invalid_value);
  }
  if (uint64_t{grid_x} * block_x > UINT32_MAX) return call(invalid_configuration);
  // An image that was freed has changed by now (MALLOC_PERTURB_).
  if (std::memcmp(module->image, module->copy.data(), module->copy.size()) != 0) {
    return call(launch_failure);
  }
  Launch launch{module->device,
                current,
                {grid_x, grid_y, grid_z},
                {block_x, block_y, block_z},
                shared_bytes,
                stream,
                {},
                {}};
  const std::string& constant = module->globals.at("warp_bitonic_sort_gpu_kernel");
  std::memcpy(&launch.kernel, constant.data(), std::min(constant.size(), sizeof(launch.kernel)));
  const wbs_cell& cell = launch.kernel.cell;
  const std::size_t args_bytes = cell.inputs == 2    ? sizeof(wbs_args<2, 2>)
                                 : cell.outputs == 2 ? sizeof(wbs_args<1, 2>)
                                                     : sizeof(wbs_args<1, 1>);
  std::memcpy(&launch.args, parameters[0], sizeof(launch.args));
  driver().launches.push_back(launch);
  if (driver().records_only) return call(success);
  const Run run = driver().run;
  if (run == nullptr) return call(carry_out(launch, parameters[0]));
  const std::string target = driver().devices[current];
  // The function may wait for a thread that waits for the lock.
  call.unlock();
  return call(run(module->image, module->copy.size(), target.c_str(), launch.grid, launch.block,
                  shared_bytes, parameters[0], args_bytes));
}

EXPORT int hipStreamIsCapturing(void* stream, int* status) {
  const Call call("hipStreamIsCapturing");
  if (call.status != success) return call.fails();
  *status = static_cast<int>(driver().capturing.count(stream));
  return call(success);
}

EXPORT int hipStreamCreateWithFlags(void** stream, unsigned flags) {
  const Call call("hipStreamCreateWithFlags");
  if (call.status != success) return call.fails();
  *stream = driver().make_stream(current, flags);
  return call(success);
}

EXPORT int hipStreamSynchronize(void* stream) {
  const Call call("hipStreamSynchronize");
  const int waited = driver().wait_for(stream);
  return call.status != success ? call.fails() : call(waited);
}

EXPORT int hipDeviceSynchronize() {
  const Call call("hipDeviceSynchronize");
  return call.fails();
}

EXPORT int hipMalloc(uint64_t* address, size_t bytes) {
  const Call call("hipMalloc");
  if (call.status != success) return call.fails();
  return call(driver().allocate(current, bytes, address));
}

EXPORT int hipFree(uint64_t address) {
  const Call call("hipFree");
  if (call.status != success) return call.fails();
  return call(driver().free(address));
}

// From here on: the interface for tests.

EXPORT void fake_hip_fail(const char* listed) {
  const std::lock_guard<std::mutex> lock(driver().guard);
  driver().fail(listed);
}

EXPORT void fake_hip_capture(void* stream) {
  const std::lock_guard<std::mutex> lock(driver().guard);
  driver().capturing.insert(stream);
}

// Launches are carried out unless this turns it off: rows that only claim to exist have no memory.
EXPORT void fake_hip_record_only(int only) {
  const std::lock_guard<std::mutex> lock(driver().guard);
  driver().records_only = only != 0;
}

// Sets the function that runs kernels; null for the double's own way.
EXPORT void fake_hip_run_with(Run run) {
  const std::lock_guard<std::mutex> lock(driver().guard);
  driver().run = run;
}

// The record, as JSON; the device and the error are the calling thread's. Valid until the thread's
// next call.
EXPORT const char* fake_hip_report() {
  thread_local std::string report;
  const std::lock_guard<std::mutex> lock(driver().guard);
  Json out;
  out << "{\"modules\": " << driver().modules.size() << ", \"device\": " << current
      << ", \"last_error\": " << last_error << ", ";
  write(out, driver());
  out << "}";
  report = std::move(out.text);
  return report.c_str();
}
