"""Adapts NumPy arrays, also those of ml_dtypes.

Invariant: arrays that DLPack does not support (read-only ones, dtypes of ml_dtypes) are viewed as
others, not copied. Only arrays in foreign byte order, or whose strides split elements, are copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..dtypes import DTYPES, lookup, numpy_name
from ..fallback import Functions, Sorter
from ..quantiles import Functions as ReaderFunctions
from ..quantiles import Reader, in_blocks, is_scattered
from ._adapter import Adapter, Cut, Description, ToResult
from ._checks import along, check_distinct, check_out_like, type_name

_Array = np.ndarray[Any, Any]
_WORDS = {1: np.dtype("u1"), 2: np.dtype("u2"), 4: np.dtype("u4"), 8: np.dtype("u8")}
# NumPy takes as long to look up a dtype's name as to allocate a small array.
_BUFFER_DTYPES = {None: None, "int32": np.dtype("int32"), "int64": np.dtype("int64")}
# NumPy takes microseconds to tell the name of a dtype.
_KNOWN = {
    np.dtype(name): dtype
    for name, dtype in DTYPES.items()
    if not name.startswith(("bfloat", "float8"))  # of ml_dtypes
}
_FUNCTIONS = Functions(np.sort, partial(np.argsort, kind="stable"), np.take_along_axis, np.where)


def _split(x: _Array, count: int, axis: int) -> list[_Array]:
    return np.array_split(np.asarray(x), count, axis)


def _packed(blocks: Sequence[_Array]) -> Iterator[_Array]:
    """Yield a contiguous copy of each block, all in the same memory, which stays in the caches."""
    dtype = blocks[0].dtype.newbyteorder("=")
    memory = np.empty(max(block.size for block in blocks), dtype)
    for block in blocks:
        copy = memory[: block.size].reshape(block.shape)
        copy[...] = block
        yield copy


def _take_positions(rows: _Array, positions: _Array, axis: int) -> _Array:
    """Return one element of each row, as `np.take_along_axis` does in a multiple of the time."""
    taken: _Array
    if not rows.flags.c_contiguous:
        taken = np.take_along_axis(rows, positions, axis)
        return taken
    # The place of each element in memory, for `take`.
    outer, inner = math.prod(rows.shape[:axis]), math.prod(rows.shape[axis + 1 :])
    places = positions.reshape(outer, inner) * inner
    places += np.arange(inner)
    places += np.arange(outer)[:, np.newaxis] * (rows.shape[axis] * inner)
    taken = rows.reshape(-1).take(places).reshape(positions.shape)
    return taken


_READER_FUNCTIONS = ReaderFunctions(
    astype=lambda x, name: x.astype(dtype_named(name), copy=False),
    isnan=np.isnan,
    isinf=np.isinf,
    floor=np.floor,
    rint=np.rint,
    where=np.where,
    stack=lambda arrays: np.stack(arrays) if len(arrays) > 1 else arrays[0][np.newaxis].copy(),
    take_along_axis=_take_positions,
    nans=lambda _like, shape, name: np.full(shape, np.nan, dtype_named(name)),
    may_look=True,
)


def raw_bits(x: _Array) -> _Array:
    """View an array in native byte order as unsigned integers of its width."""
    return x.view(_WORDS[x.dtype.itemsize])


def ffi_view(x: _Array) -> _Array:
    """Return a view that TVM FFI accepts: a dtype that DLPack lacks becomes unsigned integers."""
    return x if x.dtype.isbuiltin == 1 else raw_bits(x)


def sort_rows(x: _Array, outputs: Sequence[_Array], sorter: Sorter) -> None:
    """Sort the rows of an array in native byte order into outputs, of which one may be x."""
    results = sorter.outputs(_signed(x), _FUNCTIONS)
    for output, result in zip(outputs, results, strict=True):
        _signed(output)[...] = result


def take(x: _Array, indices: _Array, axis: int) -> _Array:
    """Return the elements of an array at indices along an axis."""
    shape = x.shape or (1,)
    taken = np.take_along_axis(np.asarray(x).reshape(shape), indices.reshape(shape), axis)
    result: _Array = taken.reshape(x.shape)
    return result


def inverse(indices: _Array, axis: int) -> _Array:
    """Return the inverse of each row of indices, a permutation along an axis."""
    shape = indices.shape or (1,)
    result = np.empty_like(indices, subok=False)
    positions = np.arange(shape[axis], dtype=indices.dtype).reshape(along(axis, len(shape)))
    np.put_along_axis(result.reshape(shape), indices.reshape(shape), positions, axis)
    return result


def cut_positions(x: _Array, cut: Cut) -> _Array:
    """Return a new array of a range of positions of an array."""
    rows = np.asarray(x).reshape(x.shape or (1,))[cut.slices]
    result: _Array = rows.reshape(cut.shape).copy()
    return result


def read(rows: _Array, reader: Reader, shape: Sequence[int]) -> _Array:
    """Return what a reader reads from sorted rows."""
    with np.errstate(all="ignore"):
        result: _Array = reader.read(rows, _READER_FUNCTIONS)
    return result.reshape(shape)


def dtype_named(name: str) -> np.dtype[Any]:
    """Return the dtype of a name, also one of ml_dtypes."""
    if not name.startswith(("bfloat", "float8")):
        return np.dtype(name)
    import ml_dtypes

    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return dtype


def _signed(x: _Array) -> _Array:
    return x.view(f"i{x.dtype.itemsize}")


class _Alias:
    """Memory described by NumPy's array interface, kept alive by its owner."""

    def __init__(self, interface: dict[str, Any], owner: object) -> None:
        self.__array_interface__ = interface
        self.owner = owner


def alias(interface: dict[str, Any], address: int, owner: object) -> _Array:
    """Return a writable array over memory that belongs to an owner."""
    return np.asarray(_Alias({**interface, "data": (address, False)}, owner))


def read_only_tensor(x: _Array) -> Any:
    """Return the argument of TVM FFI for a read-only array: kernels never write their input."""
    import tvm_ffi

    bits = raw_bits(x)
    try:
        return tvm_ffi.from_dlpack(bits.__dlpack__(max_version=(1, 0)))
    except (TypeError, BufferError):  # NumPy < 2.1 cannot say that an array is read-only
        return alias(bits.__array_interface__, bits.__array_interface__["data"][0], bits)


def _check_subclass(kind: type, argument: str) -> None:
    """Raise TypeError for a subclass whose arrays have more than values, such as units or masks."""
    from ._advice import check_listed

    check_listed(kind, argument)
    if kind.__array_function__ is not np.ndarray.__array_function__:  # type: ignore[attr-defined]
        raise TypeError(
            f"{argument}: {kind.__module__}.{kind.__qualname__} cannot be sorted as it is, for it "
            f"defines __array_function__; {argument}.view(numpy.ndarray) has the values alone."
        )


def _is_strided(x: _Array) -> bool:
    """Tell whether strides in whole native elements describe an array."""
    size = x.dtype.itemsize
    return size == 0 or (x.dtype.isnative and not any(stride % size for stride in x.strides))


class NumpyAdapter(Adapter):
    """Handles `numpy.ndarray` and what derives from it; results are plain `numpy.ndarray`."""

    kind = "numpy"

    def __init__(self, kind: type = np.ndarray, argument: str = "x") -> None:
        if kind is not np.ndarray:
            _check_subclass(kind, argument)

    def key(self, x: _Array, argument: str = "x") -> tuple[Hashable, ...]:
        """Return all that a prepared call depends on."""
        return x.dtype, x.shape, x.strides

    def as_strided(self, x: _Array) -> _Array:
        """Return x, or a copy in native byte order whose strides are whole elements."""
        if _is_strided(x):
            return x
        return x.astype(x.dtype.newbyteorder("="), order="C", copy=True)

    def describe(self, x: _Array, argument: str) -> Description:
        """Describe an array."""
        dtype = _KNOWN.get(x.dtype) or lookup(numpy_name(x.dtype), argument)
        size = x.dtype.itemsize
        return Description(self.kind, dtype.name, x.shape, tuple(s // size for s in x.strides))

    def empty(self, x: _Array, dtype: str | None, shape: tuple[int, ...] | None = None) -> _Array:
        """Allocate a buffer."""
        if shape is not None:
            return np.empty(shape, x.dtype if dtype is None else _BUFFER_DTYPES[dtype])
        return np.empty_like(x, _BUFFER_DTYPES[dtype], subok=False)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of a result of `empty`."""
        # Memory that is never written takes addresses only.
        size = x.dtype.itemsize
        return tuple(stride // size for stride in self.empty(x, None).strides)

    def to_ffi(self, x: _Array) -> Callable[[Any], Any] | None:
        """Return a function that views x's dtype as one that DLPack has."""
        return None if x.dtype.isbuiltin == 1 else ffi_view

    def to_ffi_read_only(self, x: _Array) -> Any:
        """Return the argument of TVM FFI for a read-only array."""
        return read_only_tensor(x)

    def sort_fallback(self, x: _Array, outputs: Sequence[_Array], sorter: Sorter) -> None:
        """Sort rows that no kernel sorts."""
        sort_rows(x, outputs, sorter)

    def take(self, x: _Array, indices: _Array, axis: int) -> _Array:
        """Return the elements of x at indices along an axis."""
        return take(x, indices, axis)

    def inverse(self, indices: _Array, axis: int) -> _Array:
        """Return the inverse of each row of indices."""
        return inverse(indices, axis)

    def cut(self, x: _Array, cut: Cut) -> _Array:
        """Return a new array of a range of positions."""
        return cut_positions(x, cut)

    def reshape(self, x: _Array, order: Sequence[int], shape: Sequence[int]) -> _Array:
        """Return x in another order of axes and another shape."""
        result: _Array = np.asarray(x).transpose(order).reshape(shape)
        return result

    def read(self, rows: _Array, reader: Reader, shape: Sequence[int]) -> _Array:
        """Return what a reader reads from sorted rows."""
        return read(rows, reader, shape)

    def in_blocks(
        self,
        x: _Array,
        axis: int,
        shape: tuple[int, ...],
        reduced: Callable[..., Any],
    ) -> _Array:
        """Return what is reduced of x, of a large one in blocks."""
        packed = _packed if is_scattered(x.shape[axis], x.strides[axis]) else None
        result: _Array = in_blocks(
            x, x.nbytes, x.strides, axis, shape, reduced, _split, np.concatenate, packed
        )
        return result

    def to_result(self, x: _Array) -> ToResult | None:
        """Return the function that turns keys into x's byte order."""
        if x.dtype.isnative:
            return None
        return lambda buffer, x, dtype: buffer if dtype else buffer.astype(x.dtype)

    def out_key(self, out: object) -> Hashable:
        """Return the type, and what the key of an array has."""
        return (type(out), *self.key(out)) if isinstance(out, np.ndarray) else None

    def check_out(
        self, out: object, x: _Array, is_index: bool, argument: str, like: str = "x"
    ) -> bool:
        """Check out against x."""
        if not isinstance(out, np.ndarray):
            raise TypeError(
                f"{argument}: expected a numpy.ndarray as {like} is, got {type_name(out)}."
            )
        if type(out) is not np.ndarray:
            if isinstance(out, np.ma.MaskedArray):
                raise TypeError(
                    f"{argument}: a masked array would keep its old mask; pass {argument}.data."
                )
            _check_subclass(type(out), argument)
        check_out_like(argument, like, is_index, (out.dtype, x.dtype), (out.shape, x.shape))
        if not out.flags.writeable:
            raise ValueError(
                f"{argument}: expected an array that can be written, got a read-only one."
            )
        check_distinct(out.shape, out.strides, out.dtype.itemsize, argument)
        return _is_strided(out) and _is_strided(x) and self.can_write(out, x, is_index)

    def can_write(self, out: _Array, x: _Array, is_index: bool) -> bool:
        """Tell whether out can be written, and either is x itself or does not overlap it."""
        if not out.flags.writeable:
            return False
        # A kernel reads a whole row before it writes the row's values, but it may write indices
        # before that.
        if out is x:
            return not is_index
        if not np.may_share_memory(out, x):
            return True
        is_same = out.strides == x.strides and out.ctypes.data == x.ctypes.data
        return is_same and not is_index

    def spans_overlap(self, first: _Array, second: _Array) -> bool:
        """Tell whether the spans of two arrays overlap."""
        return np.may_share_memory(first, second)

    def share_memory(self, first: _Array, second: _Array) -> bool:
        """Tell whether two outputs share memory."""
        return np.shares_memory(first, second)

    def copy(self, source: _Array, target: _Array) -> None:
        """Copy values."""
        target[...] = source

    def clear(self, indices: _Array) -> None:
        """Fill a buffer with zeros."""
        indices[...] = 0
