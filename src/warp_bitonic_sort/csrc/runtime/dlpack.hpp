// DLPack's dtypes, devices and shapes: compared with this package's dtypes, and written in
// messages.
//
// Invariant: no tensor is read.
#ifndef WARP_BITONIC_SORT_RUNTIME_DLPACK_HPP_
#define WARP_BITONIC_SORT_RUNTIME_DLPACK_HPP_

#include <cstdint>
#include <string>

#include "ffi.hpp"
#include "warp_bitonic_sort/core/dtype.hpp"

namespace warp_bitonic_sort {

inline std::string shape_text(const int64_t* shape, size_t rank) {
  std::string text = "(";
  for (size_t i = 0; i < rank; ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + ")";
}
inline std::string shape_text(const DLTensor& tensor) {
  return shape_text(tensor.shape, static_cast<size_t>(tensor.ndim));
}

inline std::string dtype_text(DLDataType dtype) {
  TVMFFIAny text{};
  ffi::check(TVMFFIDataTypeToString(&dtype, &text));
  const std::string copy = ffi::text_of(text);
  if (text.type_index >= kTVMFFIStaticObjectBegin) TVMFFIObjectDecRef(text.v_obj);
  return copy;
}

inline DLDataType dl_dtype(const dtype_info& info) {
  uint8_t code = kDLUInt;
  switch (info.id) {
    case dtype::bool_:
      code = kDLBool;
      break;
    case dtype::int8:
    case dtype::int16:
    case dtype::int32:
    case dtype::int64:
      code = kDLInt;
      break;
    case dtype::uint8:
    case dtype::uint16:
    case dtype::uint32:
    case dtype::uint64:
      code = kDLUInt;
      break;
    case dtype::float16:
    case dtype::float32:
    case dtype::float64:
      code = kDLFloat;
      break;
    case dtype::bfloat16:
      code = kDLBfloat;
      break;
    case dtype::float8_e4m3fn:
      code = kDLFloat8_e4m3fn;
      break;
    case dtype::float8_e5m2:
      code = kDLFloat8_e5m2;
      break;
    case dtype::float8_e4m3fnuz:
      code = kDLFloat8_e4m3fnuz;
      break;
    case dtype::float8_e5m2fnuz:
      code = kDLFloat8_e5m2fnuz;
      break;
  }
  return DLDataType{code, static_cast<uint8_t>(info.bits), 1};
}

inline bool same(DLDataType a, DLDataType b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

inline std::string device_text(DLDevice device) {
  switch (device.device_type) {
    case kDLCPU:
      return "the CPU";
    case kDLCUDA:
    case kDLCUDAManaged:
      return "CUDA device " + std::to_string(device.device_id);
    case kDLROCM:
      return "HIP device " + std::to_string(device.device_id);
    default:
      return "device " + std::to_string(device.device_id) + " of DLPack type " +
             std::to_string(static_cast<int>(device.device_type));
  }
}

inline bool is_index_dtype(DLDataType dtype) {
  return dtype.code == kDLInt && (dtype.bits == 32 || dtype.bits == 64) && dtype.lanes == 1;
}

}  // namespace warp_bitonic_sort

#endif  // WARP_BITONIC_SORT_RUNTIME_DLPACK_HPP_
