"""NumPy arrays, those of ml_dtypes included.

Invariant: what DLPack cannot carry (read-only arrays, dtypes of ml_dtypes) is reinterpreted, never
copied; only arrays that are no grid of native elements (foreign byte order, strides that split an
element) are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from ..dtypes import DType, lookup, numpy_name
from . import Description, Plain, check_distinct, type_name

__all__ = ["NumpyAdapter", "alias", "raw_bits", "read_only_tensor"]

_Array = np.ndarray[Any, Any]
_WORDS = {1: np.dtype("u1"), 2: np.dtype("u2"), 4: np.dtype("u4"), 8: np.dtype("u8")}


def raw_bits(x: _Array) -> _Array:
    """View an array in native byte order as unsigned integers of its width."""
    return x.view(_WORDS[x.dtype.itemsize])


class _Alias:
    """Memory described by NumPy's array interface, kept alive by its owner."""

    def __init__(self, interface: dict[str, Any], owner: object) -> None:
        self.__array_interface__ = interface
        self.owner = owner


def alias(interface: dict[str, Any], address: int, owner: object) -> _Array:
    """Return a writable array over memory that belongs to owner."""
    return np.asarray(_Alias({**interface, "data": (address, False)}, owner))


def read_only_tensor(x: _Array) -> Any:
    """Return what TVM FFI takes for a read-only array: kernels never write their input."""
    import tvm_ffi

    bits = raw_bits(x)
    try:
        return tvm_ffi.from_dlpack(bits.__dlpack__(max_version=(1, 0)))
    except (TypeError, BufferError):  # NumPy < 2.1 cannot say that an array is read-only
        return alias(bits.__array_interface__, bits.__array_interface__["data"][0], bits)


def _check_subclass(kind: type, argument: str) -> None:
    """Raise TypeError for a subclass whose arrays are more than their memory: a unit, a mask."""
    from ._advice import check_listed

    check_listed(kind, argument)
    if kind.__array_function__ is not np.ndarray.__array_function__:  # type: ignore[attr-defined]
        raise TypeError(
            f"{argument}: {kind.__module__}.{kind.__qualname__} cannot be sorted as it is, for it "
            f"has functions of NumPy of its own; x.view(numpy.ndarray) has the values alone."
        )


def _is_regular(x: _Array) -> bool:
    size = x.dtype.itemsize
    return size == 0 or (x.dtype.isnative and not any(stride % size for stride in x.strides))


class NumpyAdapter(Plain):
    """Handles `numpy.ndarray` and what derives from it; results are plain `numpy.ndarray`."""

    kind = "numpy"

    def __init__(self, kind: type = np.ndarray, argument: str = "x") -> None:
        if kind is not np.ndarray:
            _check_subclass(kind, argument)

    def key(self, x: _Array, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on."""
        del argument
        return x.dtype, x.shape, x.strides

    def regular(self, x: _Array) -> _Array:
        """Return x, or its values in native byte order and in a grid of whole elements."""
        if _is_regular(x):
            return x
        return x.astype(x.dtype.newbyteorder("="), order="C", copy=True)

    def describe(self, x: _Array, argument: str) -> Description:
        """Describe an array."""
        dtype = lookup(numpy_name(x.dtype), argument)
        size = x.dtype.itemsize
        return Description(self.kind, dtype.name, x.shape, tuple(s // size for s in x.strides))

    def allocate(self, x: _Array) -> _Array:
        """Allocate a buffer."""
        return np.empty_like(x, subok=False)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of what `allocate` returns."""
        # Memory that is never touched costs an address range only.
        size = x.dtype.itemsize
        return tuple(stride // size for stride in self.allocate(x).strides)

    def lowering(self, x: _Array) -> Callable[[Any], Any] | None:
        """Return what makes x's dtype one that DLPack knows."""
        return None if x.dtype.isbuiltin == 1 else raw_bits

    def lower_read_only(self, x: _Array) -> Any:
        """Return what TVM FFI takes for a read-only array."""
        return read_only_tensor(x)

    def sort_long(
        self, x: _Array, buffer: _Array, dtype: DType, axis: int, descending: bool, nan_last: bool
    ) -> None:
        """Sort rows that no kernel takes."""
        from .. import framework

        framework.sort_into(raw_bits(x), raw_bits(buffer), dtype, axis, descending, nan_last)

    def stream(self, x: _Array) -> Callable[[], int] | None:
        """Return None: the CPU has no streams."""
        del x
        return None

    def finish(self, buffer: _Array, x: _Array) -> _Array:
        """Return the result, in x's byte order."""
        return buffer if buffer.dtype == x.dtype else buffer.astype(x.dtype)

    def check_out(self, out: object, x: _Array) -> bool:
        """Check out against x."""
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out: expected a numpy.ndarray as x is, got {type_name(out)}.")
        if type(out) is not np.ndarray:
            if isinstance(out, np.ma.MaskedArray):
                raise TypeError("out: a masked array would keep its old mask; pass out.data.")
            _check_subclass(type(out), "out")
        if out.dtype != x.dtype:
            raise TypeError(f"out: expected x's dtype {x.dtype}, got {out.dtype}.")
        if out.shape != x.shape:
            raise ValueError(f"out: expected x's shape {x.shape}, got {out.shape}.")
        if not out.flags.writeable:
            raise ValueError("out: expected an array that can be written, got a read-only one.")
        check_distinct(out.shape, out.strides, out.dtype.itemsize)
        if not _is_regular(out) or not _is_regular(x):
            return False
        if out is x or not np.may_share_memory(out, x):
            return True
        return out.strides == x.strides and out.ctypes.data == x.ctypes.data

    def copy(self, source: _Array, target: _Array) -> None:
        """Copy values."""
        target[...] = source

    def written(self, out: _Array) -> None:
        """Nothing to tell: NumPy does not count writes."""
