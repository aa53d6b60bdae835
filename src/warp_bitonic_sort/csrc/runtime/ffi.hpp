// TVM FFI's C interface, as far as the runtime needs it: arguments, errors, functions, tensors.
//
// Invariant: no exception crosses the interface. Any call gives a result or a typed error that
// names the argument. Only tvm/ffi/c_api.h is included: TVM FFI's C++ headers take longer to
// compile than the whole runtime, and compiling is most of the time of a first call.
#ifndef WARP_BITONIC_SORT_RUNTIME_FFI_HPP_
#define WARP_BITONIC_SORT_RUNTIME_FFI_HPP_

#include <tvm/ffi/c_api.h>

#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace warp_bitonic_sort {
namespace ffi {

// An error of a Python class.
class Error : public std::exception {
 public:
  Error(const char* kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  const char* kind() const { return kind_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  const char* kind_;
  std::string message_;
};

// A piece of a message. It needs no destructor, which keeps the many calls of fail() short.
struct Text {
  Text(const char* text) : text(text), number(0) {}                 // NOLINT
  Text(const std::string& text) : text(text.c_str()), number(0) {}  // NOLINT
  Text(int64_t number) : text(nullptr), number(number) {}           // NOLINT
  const char* text;
  int64_t number;
};

[[noreturn]] __attribute__((noinline)) inline void fail(const char* kind,
                                                        std::initializer_list<Text> message) {
  std::string whole;
  for (const Text& piece : message) {
    whole += piece.text != nullptr ? piece.text : std::to_string(piece.number);
  }
  throw Error(kind, whole);
}

// Throws if a call of the C interface failed; that call has set its error already.
struct AlreadyRaised {};
inline void check(int status) {
  if (status != 0) throw AlreadyRaised();
}

// Passes the exception that is being handled to TVM FFI.
__attribute__((noinline)) inline int raise_current() {
  try {
    throw;
  } catch (const AlreadyRaised&) {
  } catch (const Error& error) {
    TVMFFIErrorSetRaisedFromCStr(error.kind(), error.what());
  } catch (const std::bad_alloc&) {
    TVMFFIErrorSetRaisedFromCStr("MemoryError", "out of memory");
  } catch (const std::exception& error) {
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", error.what());
  }
  return -1;
}

// Calls a body that may throw.
template <class Body>
int guarded(const Body& body) {
  try {
    body();
    return 0;
  } catch (...) {
    return raise_current();
  }
}

inline bool is_text(const TVMFFIAny& value) {
  return value.type_index == kTVMFFIRawStr || value.type_index == kTVMFFISmallStr ||
         value.type_index == kTVMFFIStr;
}
inline std::string text_of(const TVMFFIAny& value) {
  if (value.type_index == kTVMFFIRawStr) return value.v_c_str;
  const TVMFFIByteArray bytes = value.type_index == kTVMFFISmallStr
                                    ? TVMFFISmallBytesGetContentByteArray(&value)
                                    : *TVMFFIBytesGetByteArrayPtr(value.v_obj);
  return std::string(bytes.data, bytes.size);
}

// The arguments of a call; `signature` is the function's signature in messages.
class Arguments {
 public:
  Arguments(const char* signature, const TVMFFIAny* values, int32_t count, int32_t expected)
      : signature_(signature), values_(values) {
    if (count != expected) {
      fail("TypeError", {"Mismatched number of arguments when calling: `", signature,
                         "`. Expected ", expected, " but got ", count, " arguments"});
    }
  }

  const DLTensor& tensor(int32_t i) const {
    const TVMFFIAny& value = values_[i];
    if (value.type_index == kTVMFFIDLTensorPtr) return *static_cast<const DLTensor*>(value.v_ptr);
    if (value.type_index == kTVMFFITensor) return *TVMFFITensorGetDLTensorPtr(value.v_obj);
    mismatch(i, "Tensor");
  }
  // Null for None.
  const DLTensor* optional_tensor(int32_t i) const {
    return values_[i].type_index == kTVMFFINone ? nullptr : &tensor(i);
  }
  int64_t integer(int32_t i) const {
    if (values_[i].type_index != kTVMFFIInt && values_[i].type_index != kTVMFFIBool) {
      mismatch(i, "int");
    }
    return values_[i].v_int64;
  }
  bool boolean(int32_t i) const {
    if (values_[i].type_index != kTVMFFIInt && values_[i].type_index != kTVMFFIBool) {
      mismatch(i, "bool");
    }
    return values_[i].v_int64 != 0;
  }
  void* handle(int32_t i) const { return reinterpret_cast<void*>(integer(i)); }
  std::string text(int32_t i) const {
    if (!is_text(values_[i])) mismatch(i, "str");
    return text_of(values_[i]);
  }
  DLDevice device(int32_t i) const {
    if (values_[i].type_index != kTVMFFIDevice) mismatch(i, "Device");
    return values_[i].v_device;
  }
  DLDataType dtype(int32_t i) const {
    if (is_text(values_[i])) {
      const std::string name = text_of(values_[i]);
      const TVMFFIByteArray bytes{name.data(), name.size()};
      DLDataType named{};
      check(TVMFFIDataTypeFromString(&bytes, &named));
      return named;
    }
    if (values_[i].type_index != kTVMFFIDataType) mismatch(i, "dtype");
    return values_[i].v_dtype;
  }
  std::vector<int64_t> shape(int32_t i) const {
    const TVMFFIAny& value = values_[i];
    if (value.type_index == kTVMFFIShape) {
      const TVMFFIShapeCell& cell = *TVMFFIShapeGetCellPtr(value.v_obj);
      return std::vector<int64_t>(cell.data, cell.data + cell.size);
    }
    std::vector<int64_t> sizes;
    for (const TVMFFIAny& size : sequence(i, "Shape")) {
      if (size.type_index != kTVMFFIInt) mismatch(i, "Shape");
      sizes.push_back(size.v_int64);
    }
    return sizes;
  }
  // Null for None. The functions live as long as the argument.
  std::vector<TVMFFIObjectHandle> functions(int32_t i) const {
    std::vector<TVMFFIObjectHandle> handles;
    for (const TVMFFIAny& function : sequence(i, "Array")) {
      const bool is_none = function.type_index == kTVMFFINone;
      if (!is_none && function.type_index != kTVMFFIFunction) mismatch(i, "Array");
      handles.push_back(is_none ? nullptr : function.v_obj);
    }
    return handles;
  }

 private:
  // The elements of Python's tuples and lists.
  std::vector<TVMFFIAny> sequence(int32_t i, const char* expected) const {
    const TVMFFIAny& value = values_[i];
    if (value.type_index != kTVMFFIArray && value.type_index != kTVMFFIList) mismatch(i, expected);
    const TVMFFISeqCell& cell = *reinterpret_cast<const TVMFFISeqCell*>(
        reinterpret_cast<const char*>(value.v_obj) + sizeof(TVMFFIObject));
    const TVMFFIAny* const elements = static_cast<const TVMFFIAny*>(cell.data);
    return std::vector<TVMFFIAny>(elements, elements + cell.size);
  }
  [[noreturn]] void mismatch(int32_t i, const char* expected) const {
    fail("TypeError", {"Mismatched type on argument #", i, " when calling: `", signature_,
                       "`. Expected `", expected, "` but got `", name_of(values_[i]), "`"});
  }
  static std::string name_of(const TVMFFIAny& value) {
    static const char* const plain[] = {"None",  "int",    "bool",   "float", "void*",
                                        "dtype", "Device", "Tensor", "str",   "bytes"};
    if (value.type_index >= 0 && value.type_index < 10) return plain[value.type_index];
    if (value.type_index == kTVMFFISmallStr) return "str";
    const TVMFFITypeInfo* const info = value.type_index >= kTVMFFIStaticObjectBegin
                                           ? TVMFFIGetTypeInfo(value.type_index)
                                           : nullptr;
    return info == nullptr ? "type " + std::to_string(value.type_index)
                           : std::string(info->type_key.data, info->type_key.size);
  }

  const char* signature_;
  const TVMFFIAny* values_;
};

inline void set(TVMFFIAny* result, int64_t value) {
  result->type_index = kTVMFFIInt;
  result->v_int64 = value;
}
inline void set(TVMFFIAny* result, bool value) {
  result->type_index = kTVMFFIBool;
  result->v_int64 = value ? 1 : 0;
}
inline void set(TVMFFIAny* result, const std::string& value) {
  const TVMFFIByteArray bytes{value.data(), value.size()};
  check(TVMFFIStringFromByteArray(&bytes, result));
}

// Makes `result` a function that calls (*callee)(const TVMFFIAny* args, int32_t count, TVMFFIAny*
// result) and owns the callee.
template <class Callee>
void set_function(TVMFFIAny* result, std::unique_ptr<Callee> callee) {
  const auto call = [](void* self, const TVMFFIAny* args, int32_t count, TVMFFIAny* returned) {
    return guarded([&] { (*static_cast<Callee*>(self))(args, count, returned); });
  };
  const auto free = [](void* self) { delete static_cast<Callee*>(self); };
  TVMFFIObjectHandle handle = nullptr;
  check(TVMFFIFunctionCreate(callee.get(), call, free, &handle));
  callee.release();
  result->type_index = kTVMFFIFunction;
  result->v_obj = static_cast<TVMFFIObject*>(handle);
}

// Memory that a tensor takes over, and the function that frees it.
struct Memory {
  void* data;
  DLDevice device;
  void (*free)(const Memory&);
};

// Makes `result` a row-major tensor over memory; if that fails, the memory is freed.
inline void set_tensor(TVMFFIAny* result, const Memory& memory, std::vector<int64_t> shape,
                       DLDataType dtype) {
  struct Owner {
    Memory memory;
    DLManagedTensor managed;
    std::vector<int64_t> shape, strides;
    ~Owner() { memory.free(memory); }
  };
  Owner* const made = new (std::nothrow) Owner{memory, {}, std::move(shape), {}};
  if (made == nullptr) {
    memory.free(memory);
    throw std::bad_alloc();
  }
  std::unique_ptr<Owner> owner(made);
  owner->strides.assign(owner->shape.size(), 1);
  // Unsigned, because the product of an empty tensor's sizes may overflow.
  for (size_t i = owner->shape.size(); i-- > 1;) {
    owner->strides[i - 1] = static_cast<int64_t>(static_cast<uint64_t>(owner->strides[i]) *
                                                 static_cast<uint64_t>(owner->shape[i]));
  }
  owner->managed.dl_tensor = {memory.data,
                              memory.device,
                              static_cast<int32_t>(owner->shape.size()),
                              dtype,
                              owner->shape.data(),
                              owner->strides.data(),
                              0};
  owner->managed.manager_ctx = owner.get();
  owner->managed.deleter = [](DLManagedTensor* self) {
    delete static_cast<Owner*>(self->manager_ctx);
  };
  TVMFFIObjectHandle handle = nullptr;
  check(TVMFFITensorFromDLPack(&owner->managed, 0, 0, &handle));
  owner.release();
  result->type_index = kTVMFFITensor;
  result->v_obj = static_cast<TVMFFIObject*>(handle);
}

// A function's types in the format that tools read, by TVM FFI's names: first the result's, then
// the parameters'.
inline std::string metadata_of(const char* result, std::initializer_list<const char*> parameters) {
  const auto type = [](const char* name) {
    return std::string(R"({\"type\":\")") + name + R"(\"})";
  };
  std::string types;
  for (const char* each : parameters) types += (types.empty() ? "" : ",") + type(each);
  return R"({"type_schema":"{\"type\":\"ffi.Function\",\"named_args\":{\"return\":[)" +
         type(result) + R"(],\"params\":[)" + types + R"(]}}"})";
}

}  // namespace ffi
}  // namespace warp_bitonic_sort

#define WBS_FFI_EXPORT extern "C" __attribute__((visibility("default"))) int

// Exports a function with its docstring, and with the types of its result and parameters. The body
// follows the macro; it sees `arguments` and `result`.
#define WBS_FFI_FUNCTION(name, signature, doc, returns, ...)                                       \
  WBS_FFI_EXPORT __tvm_ffi__doc_##name(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) {      \
    return ::warp_bitonic_sort::ffi::guarded(                                                      \
        [&] { ::warp_bitonic_sort::ffi::set(result, std::string(doc)); });                         \
  }                                                                                                \
  WBS_FFI_EXPORT __tvm_ffi__metadata_##name(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) { \
    return ::warp_bitonic_sort::ffi::guarded([&] {                                                 \
      ::warp_bitonic_sort::ffi::set(                                                               \
          result, ::warp_bitonic_sort::ffi::metadata_of(returns, {__VA_ARGS__}));                  \
    });                                                                                            \
  }                                                                                                \
  static void wbs_ffi_##name(const ::warp_bitonic_sort::ffi::Arguments& arguments,                 \
                             TVMFFIAny* result);                                                   \
  WBS_FFI_EXPORT __tvm_ffi_##name(void*, const TVMFFIAny* values, int32_t count,                   \
                                  TVMFFIAny* result) {                                             \
    return ::warp_bitonic_sort::ffi::guarded([&] {                                                 \
      const std::initializer_list<const char*> parameters = {__VA_ARGS__};                         \
      wbs_ffi_##name(::warp_bitonic_sort::ffi::Arguments(signature, values, count,                 \
                                                         static_cast<int32_t>(parameters.size())), \
                     result);                                                                      \
    });                                                                                            \
  }                                                                                                \
  static void wbs_ffi_##name(                                                                      \
      [[maybe_unused]] const ::warp_bitonic_sort::ffi::Arguments& arguments,                       \
      [[maybe_unused]] TVMFFIAny* result)

#endif  // WARP_BITONIC_SORT_RUNTIME_FFI_HPP_
