"""Adapts the arrays of any other library that supports DLPack.

Invariant: only the protocol is used: `__dlpack__`, `__dlpack_device__`, and for a result of the
caller's kind the `from_dlpack` of its array namespace (Array API) or of its library. On a device, a
call returns when the kernel is done (`_private_stream`): results are ready in any stream.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any, Literal

from ..dtypes import DTYPES, lookup
from ..fallback import Sorter
from ..jit import loader
from ..jit.runtime import import_tvm_ffi
from ..quantiles import Reader
from ._adapter import CPU_DEVICE, Adapter, Cut, Description, Device, ToResult
from ._checks import (
    CPU,
    CUDA,
    CUDA_MANAGED,
    ROCM,
    dense_strides,
    no_functions,
    numpy_missing,
    type_name,
    unsupported_type,
)
from ._private_stream import IN_PRIVATE_STREAM, exported

tvm_ffi = import_tvm_ffi()

_BACKENDS: dict[int, Literal["cuda", "hip"]] = {CUDA: "cuda", CUDA_MANAGED: "cuda", ROCM: "hip"}


def choose(x: Any, argument: str) -> Adapter:
    """Return the adapter of x's device, or raise NotImplementedError."""
    device_type, number = map(int, x.__dlpack_device__())
    if device_type == CPU:
        return _cpu
    if device_type not in _BACKENDS:
        raise unsupported_type(device_type, argument)
    return _on_gpu(_is_tensor(x), _BACKENDS[device_type], number)


def _is_tensor(x: Any) -> bool:
    return isinstance(x, tvm_ffi.Tensor)


def _ffi_dtype(tensor: Any, dtype: str | None) -> Any:
    return tensor.dtype if dtype is None else tvm_ffi.dtype(dtype)


class DlpackAdapter(Adapter):
    """Handles CPU arrays; results are of the caller's kind, else `tvm_ffi.Tensor`."""

    kind = "dlpack"
    _device = CPU_DEVICE

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return the exported tensor's dtype, shape and strides, and the device."""
        tensor = self._export(x)
        return str(tensor.dtype), tuple(tensor.shape), tuple(tensor.strides), self._device

    def _export(self, x: Any) -> Any:
        if isinstance(x, tvm_ffi.Tensor):
            return x
        try:
            return tvm_ffi.from_dlpack(x)
        except (BufferError, TypeError):
            # DLPack 1 also exports read-only arrays, and kernels never write their input.
            return tvm_ffi.from_dlpack(x.__dlpack__(max_version=(1, 0)))

    def describe(self, x: Any, argument: str) -> Description:
        """Describe an array or a buffer."""
        tensor = self._export(x)
        name = lookup(str(tensor.dtype), argument).name
        shape, strides = tuple(tensor.shape), tuple(tensor.strides)
        capabilities = {"sort"} if self._device is CPU_DEVICE else set()
        return Description(self.kind, name, shape, strides, self._device, frozenset(capabilities))

    def empty(self, x: Any, dtype: str | None, shape: tuple[int, ...] | None = None) -> Any:
        """Allocate a buffer, in row-major order."""
        tensor = self._export(x)
        return self._allocate(shape or tuple(tensor.shape), _ffi_dtype(tensor, dtype))

    def _allocate(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return loader.runtime().empty(shape, dtype)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of a result of `empty`."""
        return dense_strides(tuple(self._export(x).shape))

    def to_ffi(self, x: Any) -> Callable[[Any], Any] | None:
        """Return the function that exports an array."""
        return self._export

    def to_ffi_read_only(self, x: Any) -> Any:
        """Return the export."""
        return self._export(x)

    def _bits(self, array: Any) -> Any:
        # numpy.from_dlpack supports neither bfloat16 nor float8.
        try:
            from ._numpy import alias
        except ImportError:
            raise numpy_missing() from None
        tensor = self._export(array)
        size = DTYPES[str(tensor.dtype)].bits // 8
        interface = {
            "version": 3,
            "typestr": f"|u{size}"
            if size == 1
            else f"{'<' if sys.byteorder == 'little' else '>'}u{size}",
            "shape": tuple(tensor.shape),
            "strides": tuple(stride * size for stride in tensor.strides),
        }
        return alias(interface, tensor.data_ptr(), tensor)

    def sort_fallback(self, x: Any, outputs: Sequence[Any], sorter: Sorter) -> None:
        """Sort rows that no kernel sorts."""
        bits = self._bits(x)  # raises if NumPy is missing
        from ._numpy import sort_rows

        sort_rows(bits, [self._bits(output) for output in outputs], sorter)

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """Return the elements of x at indices along an axis."""
        bits = self._bits(x)  # raises if NumPy is missing
        from ._numpy import take

        buffer = self.empty(x, None)
        self._bits(buffer)[...] = take(bits, self._bits(indices), axis)
        return self._to_result(buffer, x, None)

    def inverse(self, indices: Any, axis: int) -> Any:
        """Return the inverse of each row of indices."""
        bits = self._bits(indices)  # raises if NumPy is missing
        from ._numpy import inverse

        buffer = self.empty(indices, None)
        self._bits(buffer)[...] = inverse(bits, axis)
        return self._to_result(buffer, indices, None)

    def cut(self, x: Any, cut: Cut) -> Any:
        """Return a new array of a range of positions."""
        bits = self._bits(x)  # raises if NumPy is missing
        from ._numpy import cut_positions

        buffer = self._allocate(cut.shape, self._export(x).dtype)
        self._bits(buffer)[...] = cut_positions(bits, cut)
        return self._to_result(buffer, x, None)

    def _from_words(self, words: Any, dtype: Any, x: Any) -> Any:
        """Return a new array of x's library that has the bits of an array of NumPy."""
        buffer = self._allocate(words.shape, tvm_ffi.dtype(dtype))
        self._bits(buffer)[...] = words
        return self._to_result(buffer, x, None)

    def reshape(self, x: Any, order: Sequence[int], shape: Sequence[int]) -> Any:
        """Return a copy of x in another order of axes and another shape."""
        words = self._bits(x)  # raises if NumPy is missing
        return self._from_words(words.transpose(order).reshape(shape), self._export(x).dtype, x)

    def read(self, rows: Any, reader: Reader, shape: Sequence[int]) -> Any:
        """Return what a reader reads from sorted rows."""
        words = self._bits(rows)  # raises if NumPy is missing
        from ._numpy import dtype_named, raw_bits, read

        result = read(words.view(dtype_named(reader.dtype.name)), reader, shape)
        return self._from_words(raw_bits(result), reader.result, rows)

    def to_result(self, x: Any) -> ToResult | None:
        """Return the function that makes an array of x's library."""
        return self._to_result

    def _to_result(self, buffer: Any, x: Any, dtype: str | None) -> Any:
        """Return the result as an array of x's library."""
        if _is_tensor(x):
            return buffer
        namespace: Any = None
        if callable(getattr(x, "__array_namespace__", None)):
            namespace = x.__array_namespace__()
        library = type(x).__module__.partition(".")[0]
        if not hasattr(namespace, "from_dlpack") and library != "__main__":
            namespace = sys.modules.get(library)
        make = getattr(namespace, "from_dlpack", None)
        return buffer if make is None else make(buffer)

    def check_out(self, out: Any, x: Any, is_index: bool, argument: str, like: str = "x") -> bool:
        """Refuse: the protocol does not say whether an array may be written."""
        raise TypeError(
            f"{argument}: expected a NumPy array or a torch tensor, got {type_name(out)}, which "
            f"can't be written through DLPack; make the call without out."
        )

    def copy(self, source: Any, target: Any) -> None:
        """Copy values into a buffer."""
        bits = self._bits(target)
        bits[...] = self._bits(source)

    def clear(self, indices: Any) -> None:
        """Fill a buffer with zeros."""
        bits = self._bits(indices)
        bits[...] = 0


class GpuDlpackAdapter(DlpackAdapter):
    """Handles the arrays of one device; results are on it, in memory of the runtime."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def _export(self, x: Any) -> Any:
        return x if _is_tensor(x) else exported(x, self._device)

    def _allocate(self, shape: tuple[int, ...], dtype: Any) -> Any:
        device = loader.device_of(self._device.backend, self._device.number)
        return loader.runtime().empty_gpu(shape, dtype, device)

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return a function that returns the runtime's private stream."""
        return lambda: IN_PRIVATE_STREAM

    def sort_fallback(self, x: Any, outputs: Sequence[Any], sorter: Sorter) -> None:
        """Never called: only kernels sort these arrays."""

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """Refuse arrays with elements: the protocol has no functions that run on a device."""
        if 0 in self._export(x).shape:
            return self._to_result(self.empty(x, None), x, None)
        raise no_functions("keys", "sort_pairs with values that no kernel carries along")

    def inverse(self, indices: Any, axis: int) -> Any:
        """Refuse arrays with elements, as `take` does."""
        if 0 in self._export(indices).shape:
            return indices
        raise no_functions("x", "ranks")

    def cut(self, x: Any, cut: Cut) -> Any:
        """Refuse ranges with elements, as `take` does."""
        if 0 in cut.shape:
            return self._to_result(self._allocate(cut.shape, self._export(x).dtype), x, None)
        raise no_functions("x", "top_k or kthvalue")

    def reshape(self, x: Any, order: Sequence[int], shape: Sequence[int]) -> Any:
        """Refuse: the protocol has no functions that run on a device."""
        raise no_functions("x", "median or quantile along several axes")

    def read(self, rows: Any, reader: Reader, shape: Sequence[int]) -> Any:
        """Refuse: the protocol has no functions that run on a device."""
        raise no_functions("x", "median" if reader.method == "median" else "quantile")

    def copy(self, source: Any, target: Any) -> None:
        """Never called: kernels also handle rows of one element."""


class GpuTensorAdapter(GpuDlpackAdapter):
    """Handles `tvm_ffi.Tensor` in TVM FFI's current stream, without waiting."""

    kind = "tvm_ffi"

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return a function that returns TVM FFI's current stream."""
        device = loader.device_of(self._device.backend, self._device.number)
        return lambda: int(tvm_ffi.get_raw_stream(device))


_cpu = DlpackAdapter()


@cache
def _on_gpu(is_tensor: bool, backend: Literal["cuda", "hip"], number: int) -> Adapter:
    device = Device(backend, number, None)
    return GpuTensorAdapter(device) if is_tensor else GpuDlpackAdapter(device)
