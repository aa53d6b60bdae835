// A test double of hipRTC, which runs the clang in FAKE_HIPRTC_CLANG.
//
// Invariant: like the real one, it puts declarations of its own before the source, rejects flags of
// clang's driver, and returns a code object, or a bundle if FAKE_HIPRTC_BUNDLES is set.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

const char declarations[] =
    "#define __HIPCC_RTC__ 1\n"
    "#define __host__ __attribute__((host))\n"
    "#define __device__ __attribute__((device))\n"
    "#define __global__ __attribute__((global))\n"
    "#define __constant__ __attribute__((constant))\n"
    "#define __shared__ __attribute__((shared))\n"
    "#define __align__(x) __attribute__((aligned(x)))\n"
    "#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))\n"
    "#define __forceinline__ inline __attribute__((always_inline))\n";

struct program {
  std::string source, name, log, code;
};

// Not streams: a process may hold two copies of the standard library, whose locales do not fit.
std::string read(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return {};
  std::string text;
  char part[4096];
  std::size_t bytes;
  while ((bytes = std::fread(part, 1, sizeof(part), file)) > 0) text.append(part, bytes);
  std::fclose(file);
  return text;
}

void write(const std::string& path, const std::string& text) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return;
  std::fwrite(text.data(), 1, text.size(), file);
  std::fclose(file);
}

std::string number(std::uint64_t value) {
  std::string bytes(8, '\0');
  std::memcpy(&bytes[0], &value, 8);
  return bytes;
}

std::string bundle(const std::string& code) {
  const std::string host = "host-x86_64-unknown-linux--", device = "hipv4-amdgcn-amd-amdhsa--gfx";
  const std::uint64_t start = 4096;
  std::string image = "__CLANG_OFFLOAD_BUNDLE__" + number(2);
  image += number(start) + number(0) + number(host.size()) + host;
  image += number(start) + number(code.size()) + number(device.size()) + device;
  image.resize(start, '\0');
  return image + code;
}

}  // namespace

EXPORT const char* hiprtcGetErrorString(int status) {
  return status == 6 ? "HIPRTC_ERROR_COMPILATION" : "HIPRTC_ERROR_INVALID_OPTION";
}
EXPORT int hiprtcVersion(int* major, int* minor) {
  *major = 99;
  *minor = 1;
  return 0;
}
EXPORT int hiprtcCreateProgram(program** made, const char* source, const char* name, int,
                               const char**, const char**) {
  *made = new program{source, name, {}, {}};
  return 0;
}
EXPORT int hiprtcCompileProgram(program* of, int count, const char** options) {
  char folder[] = "/tmp/fake-hiprtc-XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  const std::string at = folder;
  std::string command = std::string(std::getenv("FAKE_HIPRTC_CLANG")) +
                        " -x hip --offload-device-only -nogpuinc -nogpulib "
                        "--no-gpu-bundle-output -c -include " +
                        at + "/declarations";
  for (int i = 0; i < count; ++i) {
    const std::string option = options[i];
    for (const char* of_driver :
         {"-c", "-x", "-nogpu", "--offload-device", "--no-gpu", "-fuse-cuid", "-Xclang", "-MMD"}) {
      if (option.compare(0, std::strlen(of_driver), of_driver) == 0) return 5;
    }
    command += " '" + option + "'";
  }
  write(at + "/declarations", declarations);
  write(at + "/source", of->source);
  const int status =
      std::system((command + " " + at + "/source -o " + at + "/code 2>" + at + "/log").c_str());
  of->log = read(at + "/log");
  of->code = read(at + "/code");
  if (std::getenv("FAKE_HIPRTC_BUNDLES") != nullptr) of->code = bundle(of->code);
  std::filesystem::remove_all(at);
  return status == 0 ? 0 : 6;
}
EXPORT int hiprtcGetProgramLogSize(program* of, std::size_t* size) {
  *size = of->log.size();
  return 0;
}
EXPORT int hiprtcGetProgramLog(program* of, char* log) {
  std::memcpy(log, of->log.c_str(), of->log.size());
  return 0;
}
EXPORT int hiprtcGetCodeSize(program* of, std::size_t* size) {
  *size = of->code.size();
  return 0;
}
EXPORT int hiprtcGetCode(program* of, char* code) {
  std::memcpy(code, of->code.data(), of->code.size());
  return 0;
}
