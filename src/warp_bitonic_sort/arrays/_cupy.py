"""CuPy arrays.

Invariant: an array crosses as unsigned integers of its width, without a copy and without waiting:
the kernel runs in the stream that is current in CuPy, where whatever made the array runs too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import cupy

from ..dtypes import DType, lookup, numpy_name
from . import Description, Device, Plain, check_distinct, span, type_name

__all__ = ["CupyAdapter"]

_WORDS = {1: "u1", 2: "u2", 4: "u4", 8: "u8"}
_OWN_STREAM = -1  # DLPack's word for: do not synchronize


def _lower(array: Any) -> Any:
    import tvm_ffi

    return tvm_ffi.from_dlpack(
        array.view(_WORDS[array.dtype.itemsize]).__dlpack__(stream=_OWN_STREAM)
    )


class CupyAdapter(Plain):
    """Handles `cupy.ndarray`; results are on the device of x."""

    kind = "cupy"

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on."""
        del argument
        return x.dtype, x.shape, x.strides, x.device.id

    def regular(self, x: Any) -> Any:
        """Return x, or its values in a grid of whole elements."""
        if any(stride % x.dtype.itemsize for stride in x.strides):
            return x.copy(order="C")
        return x

    def describe(self, x: Any, argument: str) -> Description:
        """Describe an array."""
        dtype = lookup(numpy_name(x.dtype), argument)
        strides = tuple(stride // x.dtype.itemsize for stride in x.strides)
        return Description(self.kind, dtype.name, x.shape, strides, _device(x.device), "turns")

    def allocate(self, x: Any) -> Any:
        """Allocate a buffer."""
        with x.device:
            return cupy.empty_like(x)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of what `allocate` returns."""
        return self.describe(self.allocate(x), "x").strides

    def lowering(self, x: Any) -> Callable[[Any], Any] | None:
        """Return what exports an array."""
        del x
        return _lower

    def lower_read_only(self, x: Any) -> Any:
        """Return the export: CuPy has no read-only arrays."""
        return _lower(x)

    def sort_long(
        self, x: Any, buffer: Any, dtype: DType, axis: int, descending: bool, nan_last: bool
    ) -> None:
        """Sort rows that no kernel takes."""
        from .. import framework

        word = f"i{x.dtype.itemsize}"
        order = (axis, descending, nan_last)
        with x.device:
            buffer.view(word)[...] = framework.sort_on_device(
                x.view(word), dtype, *order, cupy.sort, cupy.where
            )

    def sort_turned(self, x: Any, buffer: Any, axis: int, sort: Callable[[Any], None]) -> None:
        """Sort by way of a copy whose axis is the last."""
        with x.device:
            turned = cupy.moveaxis(x, axis, -1).copy(order="C")
            sort(turned)
            buffer[...] = cupy.moveaxis(turned, -1, axis)

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return what tells CuPy's current stream on x's device, which need not be current."""
        device = x.device.id
        return lambda: int(cupy.cuda.get_current_stream(device).ptr)

    def finish(self, buffer: Any, x: Any) -> Any:
        """Return the result."""
        del x
        return buffer

    def check_out(self, out: Any, x: Any) -> bool:
        """Check out against x."""
        if not isinstance(out, cupy.ndarray):
            raise TypeError(f"out: expected a cupy.ndarray as x is, got {type_name(out)}.")
        if out.dtype != x.dtype:
            raise TypeError(f"out: expected x's dtype {x.dtype}, got {out.dtype}.")
        if out.shape != x.shape:
            raise ValueError(f"out: expected x's shape {x.shape}, got {out.shape}.")
        if out.device != x.device:
            raise ValueError(f"out: expected x's device {x.device}, got {out.device}.")
        check_distinct(out.shape, out.strides, out.dtype.itemsize)
        size = x.dtype.itemsize
        if any(stride % size for stride in (*out.strides, *x.strides)):
            return False
        if out.data.ptr == x.data.ptr:
            return bool(out.strides == x.strides)
        # CuPy's own test would run a kernel, on the current device, and wait for it.
        first, last = _span(x)
        low, high = _span(out)
        return last <= low or high <= first

    def copy(self, source: Any, target: Any) -> None:
        """Copy values."""
        with target.device:
            target[...] = source

    def written(self, out: Any) -> None:
        """Nothing to tell: CuPy does not count writes."""


def _device(device: Any) -> Device:
    # On ROCm, versions of CuPy differ in how they tell a device's target, if they do.
    if cupy.cuda.runtime.is_hip:
        return Device("hip", device.id, None)
    return Device("cuda", device.id, f"sm_{device.compute_capability}")


def _span(x: Any) -> tuple[int, int]:
    return span(x.data.ptr, x.shape, x.strides, x.dtype.itemsize)
