"""Adapts CuPy arrays.

Invariant: an array is passed as integers of its width, without a copy and without waiting: the
kernel runs in CuPy's current stream, behind the operations that computed the array.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import cupy

from ..dtypes import lookup, numpy_name
from ..fallback import Functions, Sorter
from ..quantiles import Functions as ReaderFunctions
from ..quantiles import Reader
from ._adapter import Adapter, Cut, Description, Device
from ._checks import along, check_distinct, check_out_like, possessive, span, type_name

_CAPABILITIES = frozenset({"sort", "transpose"})
_NO_SYNCHRONIZATION = -1  # for the parameter ``stream`` of DLPack


def _to_ffi(array: Any) -> Any:
    import tvm_ffi

    # The dtype of indices tells their width and that they are indices.
    words = array if array.dtype.kind == "i" else array.view(f"u{array.dtype.itemsize}")
    return tvm_ffi.from_dlpack(words.__dlpack__(stream=_NO_SYNCHRONIZATION))


class CupyAdapter(Adapter):
    """Handles `cupy.ndarray`; results are on the device of x."""

    kind = "cupy"

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on."""
        return x.dtype, x.shape, x.strides, x.device.id

    def as_strided(self, x: Any) -> Any:
        """Return x, or a copy if its strides split elements."""
        if any(stride % x.dtype.itemsize for stride in x.strides):
            return x.copy(order="C")
        return x

    def describe(self, x: Any, argument: str) -> Description:
        """Describe an array."""
        dtype = lookup(numpy_name(x.dtype), argument)
        strides = tuple(stride // x.dtype.itemsize for stride in x.strides)
        return Description(
            self.kind, dtype.name, x.shape, strides, _device(x.device), _CAPABILITIES
        )

    def empty(self, x: Any, dtype: str | None, shape: tuple[int, ...] | None = None) -> Any:
        """Allocate a buffer."""
        with x.device:
            order = "K" if shape is None else "C"
            return cupy.empty_like(x, dtype, order, shape=shape)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of a result of `empty`."""
        return self.describe(self.empty(x, None), "x").strides

    def to_ffi(self, x: Any) -> Callable[[Any], Any] | None:
        """Return the function that exports an array."""
        return _to_ffi

    def to_ffi_read_only(self, x: Any) -> Any:
        """Return the export: CuPy has no read-only arrays."""
        return _to_ffi(x)

    def sort_fallback(self, x: Any, outputs: Sequence[Any], sorter: Sorter) -> None:
        """Sort rows that no kernel sorts."""
        with x.device:
            # CuPy's argsort is stable.
            functions = Functions(cupy.sort, cupy.argsort, cupy.take_along_axis, cupy.where)
            results = sorter.outputs(_words(x), functions)
            for output, result in zip(outputs, results, strict=True):
                _words(output)[...] = result

    def sort_transposed(
        self, x: Any, outputs: Sequence[Any], axis: int, sort: Callable[[Any], Sequence[Any]]
    ) -> None:
        """Sort through a copy whose axis is the last one."""
        with x.device:
            transposed = cupy.moveaxis(x, axis, -1).copy(order="C")
            for output, result in zip(outputs, sort(transposed), strict=True):
                output[...] = cupy.moveaxis(result, -1, axis)

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """Return the elements of x at indices along an axis."""
        shape = x.shape or (1,)
        with x.device:
            words = _words(self.as_strided(x)).reshape(shape)
            taken = cupy.take_along_axis(words, indices.reshape(shape), axis)
            return taken.reshape(x.shape).view(x.dtype)

    def inverse(self, indices: Any, axis: int) -> Any:
        """Return the inverse of each row of indices."""
        shape = indices.shape or (1,)
        with indices.device:
            # As put_along_axis does, which older versions lack.
            places = [
                cupy.arange(size, dtype=indices.dtype).reshape(along(dim, len(shape)))
                for dim, size in enumerate(shape)
            ]
            positions, places[axis] = places[axis], indices.reshape(shape)
            result = cupy.empty_like(indices)
            result.reshape(shape)[tuple(places)] = positions
            return result

    def cut(self, x: Any, cut: Cut) -> Any:
        """Return a new array of a range of positions."""
        with x.device:
            rows = x.reshape(x.shape or (1,))[cut.slices]
            return rows.reshape(cut.shape).copy(order="C")

    def reshape(self, x: Any, order: Sequence[int], shape: Sequence[int]) -> Any:
        """Return x in another order of axes and another shape."""
        with x.device:
            return x.transpose(order).reshape(shape)

    def read(self, rows: Any, reader: Reader, shape: Sequence[int]) -> Any:
        """Return what a reader reads from sorted rows, without waiting for the device."""
        functions = ReaderFunctions(
            astype=lambda x, name: x.astype(name, copy=False),
            isnan=cupy.isnan,
            isinf=cupy.isinf,
            floor=cupy.floor,
            rint=cupy.rint,
            where=cupy.where,
            stack=cupy.stack,
            take_along_axis=cupy.take_along_axis,
            nans=lambda _like, shape, name: cupy.full(tuple(shape), float("nan"), name),
            may_look=False,
        )
        with rows.device:
            return reader.read(rows, functions).reshape(shape)

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return a function that returns CuPy's current stream on x's device."""
        device = x.device.id
        return lambda: int(cupy.cuda.get_current_stream(device).ptr)

    def out_key(self, out: Any) -> Hashable:
        """Return the key of an array."""
        return self.key(out) if isinstance(out, cupy.ndarray) else None

    def check_out(self, out: Any, x: Any, is_index: bool, argument: str, like: str = "x") -> bool:
        """Check out against x."""
        if not isinstance(out, cupy.ndarray):
            raise TypeError(
                f"{argument}: expected a cupy.ndarray as {like} is, got {type_name(out)}."
            )
        check_out_like(argument, like, is_index, (out.dtype, x.dtype), (out.shape, x.shape))
        if out.device != x.device:
            raise ValueError(
                f"{argument}: expected {possessive(like)} device {x.device}, got {out.device}."
            )
        check_distinct(out.shape, out.strides, out.dtype.itemsize, argument)
        if any(stride % array.dtype.itemsize for array in (out, x) for stride in array.strides):
            return False
        return self.can_write(out, x, is_index)

    def can_write(self, out: Any, x: Any, is_index: bool) -> bool:
        """Tell whether out is x itself or does not overlap it."""
        if out.data.ptr == x.data.ptr and not is_index:
            return bool(out.strides == x.strides)
        return not self.spans_overlap(out, x)

    def spans_overlap(self, first: Any, second: Any) -> bool:
        """Tell whether the spans of two arrays overlap."""
        # cupy.may_share_memory runs a kernel on the current device and waits for it.
        (start, end), (other_start, other_end) = _span(first), _span(second)
        return start < other_end and other_start < end

    def copy(self, source: Any, target: Any) -> None:
        """Copy values."""
        with target.device:
            target[...] = source

    def clear(self, indices: Any) -> None:
        """Fill a buffer with zeros."""
        with indices.device:
            indices[...] = 0


def _words(x: Any) -> Any:
    """View an array as signed integers of its width."""
    return x.view(f"i{x.dtype.itemsize}")


def _device(device: Any) -> Device:
    # On ROCm, CuPy's versions differ in how they report a device's architecture, if at all.
    if cupy.cuda.runtime.is_hip:
        return Device("hip", device.id, None)
    return Device("cuda", device.id, f"sm_{device.compute_capability}")


def _span(x: Any) -> tuple[int, int]:
    return span(x.data.ptr, x.shape, x.strides, x.dtype.itemsize)
