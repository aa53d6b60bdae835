"""Reads medians and quantiles from sorted rows, with the functions of the array's library.

Invariant: of a row, only the wanted elements are read, and the last one: NaNs are sorted last. The
formulas are those of NumPy 2.4, step by step in the same precision. Only where its differences or
sums overflow, the interpolation is rearranged.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from .dtypes import DType
from .process.threads import get_num_threads

Method = Literal["linear", "lower", "higher", "midpoint", "nearest"]
# The precision of a formula, where it is not that of the elements.
_WIDER = {
    "median": {"float16": "float32", "bfloat16": "float32"},
    "linear": {"bfloat16": "float32"},
}
# The longest rows in which NaNs are counted from the end; a binary search takes fewer steps.
_MAX_STEPS = 64
# What is sorted is read while it is in the caches, of which each thread has about as much.
_BLOCK_BYTES = 4 << 20
# A page of memory, and how many of them are too many for the processor to remember.
_PAGE_BYTES = 4096
_FEWEST_PAGES = 512
# The formats of `struct` that round a number.
_FORMATS = {"float16": "e", "float32": "f", "float64": "d"}


class Functions(NamedTuple):
    """What a reader needs of an array library.

    Parameters
    ----------
    astype : callable
        ``astype(array, name)``; it may return the array.
    isnan, isinf, floor, rint : callable
        Functions of each element; ``rint`` rounds halves to even numbers.
    where : callable
        ``where(condition, this, that)``.
    stack : callable
        ``stack(arrays)``: a new array, with a new first axis.
    take_along_axis : callable
        ``take_along_axis(array, indices, axis)``.
    nans : callable
        ``nans(like, shape, name)``: a new array on the device of another.
    may_look : bool
        Whether Python may look at values, for which it would have to wait on a device.
    """

    astype: Callable[[Any, str], Any]
    isnan: Callable[[Any], Any]
    isinf: Callable[[Any], Any]
    floor: Callable[[Any], Any]
    rint: Callable[[Any], Any]
    where: Callable[[Any, Any, Any], Any]
    stack: Callable[[Sequence[Any]], Any]
    take_along_axis: Callable[[Any, Any, int], Any]
    nans: Callable[[Any, Sequence[int], str], Any]
    may_look: bool


class Reader(NamedTuple):
    """Reads quantiles from rows of one dtype, which are sorted ascending with NaNs last.

    Parameters
    ----------
    dtype : DType
        The dtype of the rows.
    result : str
        The dtype of the results.
    axis : int
        The axis of the rows, not negative.
    method : str
        The method of `quantile`; or ``median``, the mean of the middle two elements.
    points : tuple of float
        The quantiles, from 0 to 1.
    omits_nan : bool
        Whether NaNs are left out; else a row with a NaN has NaN as all quantiles.
    """

    dtype: DType
    result: str
    axis: int
    method: Method | Literal["median"]
    points: tuple[float, ...]
    omits_nan: bool

    def read(self, rows: Any, library: Functions) -> Any:
        """Return a new array of all quantiles along a new first axis; the rows' axis has length 1.

        Parameters
        ----------
        rows : array
            The sorted rows.
        library : Functions
            The functions of their library.
        """
        shape = list(rows.shape)
        length, shape[self.axis] = shape[self.axis], 1
        if length == 0 or not self.points:
            return library.nans(rows, [len(self.points), *shape], self.result)
        if length == 1 and self.method == "median":
            return library.astype(rows, self.result)
        if self.dtype.codec == "integer" or length == 1:
            return self._stacked(self._at_fixed_positions(rows, length, library), library)
        last = self._element(rows, length - 1)
        is_nan = library.isnan(last)
        if library.may_look and not is_nan.any():
            values = self._at_fixed_positions(rows, length, library)
        elif self.omits_nan:
            values = self._before_nans(rows, length, library)
        else:
            values = self._at_fixed_positions(rows, length, library)
            values = [library.where(is_nan, last, value) for value in values]
        return self._stacked(values, library)

    def _stacked(self, values: Sequence[Any], library: Functions) -> Any:
        return library.stack([library.astype(value, self.result) for value in values])

    def _element(self, rows: Any, position: int) -> Any:
        """Return one element of each row, as a view whose axis has length 1."""
        return rows[(slice(None),) * self.axis + (slice(position, position + 1),)]

    def _at_fixed_positions(self, rows: Any, length: int, library: Functions) -> list[Any]:
        """Return quantiles of rows without NaNs."""
        values = []
        for point in self.points:
            place = (length - 1) * point
            first = math.floor(place)
            weight = place - first
            if self.method == "lower" or (self.method == "median" and weight == 0):
                value = self._element(rows, first)
            elif self.method == "higher":
                value = self._element(rows, math.ceil(place))
            elif self.method == "nearest":
                value = self._element(rows, round(place))
            else:
                low = self._element(rows, first)
                high = self._element(rows, min(first + 1, length - 1))
                if self.method == "midpoint" and weight != 0:
                    weight = 0.5
                value = self.between(low, high, weight, library)
            values.append(value)
        return values

    def _before_nans(self, rows: Any, length: int, library: Functions) -> list[Any]:
        """Return quantiles of the elements before the first NaN of each row."""

        def value_at(place: Any) -> Any:
            position = library.astype(place, "int64")
            return library.take_along_axis(rows, position, self.axis)

        count = self._counts(rows, length, library)
        if self.method == "median":
            low, high = value_at((count - 1) >> 1), value_at(count >> 1)
            return [self.between(low, high, None, library)]
        highest = library.astype(count, "float64") - 1
        values = []
        for point in self.points:
            place = highest * point
            first = library.floor(place)
            if self.method == "lower":
                value = value_at(first)
            elif self.method == "higher":
                value = value_at(-library.floor(-place))
            elif self.method == "nearest":
                value = value_at(library.rint(place))
            else:
                second = library.where(first < highest, first + 1, highest)
                weight = place - first
                if self.method == "midpoint":
                    weight = library.where(weight > 0, 0.5, weight)
                value = self.between(value_at(first), value_at(second), weight, library)
            values.append(value)
        return values

    def _counts(self, rows: Any, length: int, library: Functions) -> Any:
        """Return the number of elements before the first NaN of each row, but at least 1.

        The first element of a row without numbers is NaN.
        """
        nans = library.astype(library.isnan(self._element(rows, length - 1)), "uint8") * 0
        if library.may_look and length <= _MAX_STEPS:
            for position in reversed(range(1, length)):
                is_nan = library.isnan(self._element(rows, position))
                if not is_nan.any():
                    break
                nans = nans + library.astype(is_nan, "uint8")
            return length - nans
        count = library.astype(nans, "int64")  # of a binary search
        for bit in reversed(range(length.bit_length())):
            probe = count + ((1 << bit) - 1)
            is_outside = probe >= length
            probe = library.where(is_outside, length - 1, probe)
            is_nan = library.isnan(library.take_along_axis(rows, probe, self.axis))
            count = library.where(is_outside | is_nan, count, count + (1 << bit))
        return library.where(count == 0, 1, count)

    def between(self, low: Any, high: Any, weight: Any, library: Functions) -> Any:
        """Return the mean of two elements (median), or interpolate between them.

        Parameters
        ----------
        low, high : array
            Elements of the rows.
        weight : float or array
            How far from low to high, from 0 to 1.
        library : Functions
            The functions of the rows' library.
        """
        formula = "median" if self.method == "median" else "linear"
        dtype = "float64" if self.dtype.codec == "integer" else self.dtype.name
        dtype = _WIDER[formula].get(dtype, dtype)
        if dtype != self.dtype.name:
            low, high = library.astype(low, dtype), library.astype(high, dtype)
        if formula == "median":
            mean = (low + high) * 0.5
            overflows = library.isinf(mean)
            if library.may_look and not overflows.any():
                return mean
            # Halves of numbers whose sum overflows are exact.
            return library.where(overflows, low * 0.5 + high * 0.5, mean)
        difference = high - low
        if isinstance(weight, float):
            to_low, to_high = _rounded(1 - weight, dtype), _rounded(weight, dtype)
            value = high - difference * to_low if weight >= 0.5 else low + difference * to_high
        else:
            to_low, to_high = library.astype(1 - weight, dtype), library.astype(weight, dtype)
            value = library.where(
                weight >= 0.5, high - difference * to_low, low + difference * to_high
            )
        overflows = library.isinf(difference)
        if library.may_look and not overflows.any():
            return value
        overflows = overflows & ~(library.isinf(low) | library.isinf(high))
        return library.where(overflows, low * to_low + high * to_high, value)


def _rounded(value: float, dtype: str) -> float:
    """Return a weight in the precision of a dtype: libraries differ in how they round a number."""
    return float(struct.unpack(_FORMATS[dtype], struct.pack(_FORMATS[dtype], value))[0])


class Reduction(NamedTuple):
    """How the axes of an array are reduced: as one axis of an array of another shape.

    Parameters
    ----------
    order : tuple of int
        The axes in the order in which they are merged.
    shape : tuple of int
        The shape with the reduced axes merged into one. It is that of the array, if one axis is
        reduced.
    axis : int
        The merged axis.
    kept : tuple of int
        The shape of a result.
    merges : bool
        Whether the shape is another one than that of the array.
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]
    axis: int
    kept: tuple[int, ...]
    merges: bool


def reduction_of(shape: Sequence[int], axes: Sequence[int], keepdims: bool) -> Reduction:
    """Return how axes of a shape are reduced.

    Parameters
    ----------
    shape : sequence of int
        The shape of the array.
    axes : sequence of int
        Distinct axes, not negative.
    keepdims : bool
        Whether the reduced axes stay, with length 1.
    """
    rank = len(shape)
    rest = [axis for axis in range(rank) if axis not in axes]
    kept = tuple(shape[axis] for axis in rest)
    # Adjacent axes stay where they are: then libraries need no copy of a row-major array.
    at = min(axes, default=rank)
    if any(second - first != 1 for first, second in itertools.pairwise(sorted(axes))):
        at = len(rest)
    order = (*rest[:at], *sorted(axes), *rest[at:])
    merged = (*kept[:at], math.prod(shape[axis] for axis in axes), *kept[at:])
    if keepdims:
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return Reduction(order, merged, at, kept, merged != tuple(shape))


def in_blocks(
    x: Any,
    nbytes: int,
    strides: Sequence[int],
    axis: int,
    shape: tuple[int, ...],
    reduced: Callable[..., Any],
    split: Callable[[Any, int, int], Sequence[Any]],
    join: Callable[[Sequence[Any], int], Any],
    packed: Callable[[Sequence[Any]], Iterable[Any]] | None = None,
) -> Any:
    """Return ``reduced(x, shape)``; of a large array, joined from blocks that have whole rows.

    Parameters
    ----------
    x : array
        An array in CPU memory, of so many bytes and with strides in any unit.
    axis : int
        The axis of the rows, not negative.
    shape : tuple of int
        The shape of the result.
    reduced : callable
        ``reduced(block, shape, is_own)``: the quantiles of a block, which may be overwritten if
        is_own.
    split, join : callable
        ``split(x, count, axis)`` and ``join(arrays, axis)`` of x's library.
    packed : callable, optional
        Yields a contiguous copy of each block, which is used before the next one. Then blocks are
        sorted in the copies.
    """
    count, across = blocks_of(nbytes, x.shape, strides, axis)
    if count == 1 and packed is None:
        return reduced(x, shape)
    blocks = split(x, count, across)
    results = [
        reduced(block, (-1, *block.shape[:axis], 1, *block.shape[axis + 1 :]), packed is not None)
        for block in (blocks if packed is None else packed(blocks))
    ]
    return join(results, across + 1).reshape(shape)


def is_scattered(length: int, stride: int) -> bool:
    """Tell whether each of many elements of a row is in a page of its own.

    The processor then looks up an address for each cache line, and prefetches none.

    Parameters
    ----------
    length : int
        The length of the rows.
    stride : int
        The bytes from one element to the next.
    """
    return length >= _FEWEST_PAGES and abs(stride) >= _PAGE_BYTES


def blocks_of(
    nbytes: int, shape: Sequence[int], strides: Sequence[int], axis: int
) -> tuple[int, int]:
    """Return into how many blocks of whole rows an array is divided, and along which axis.

    Parameters
    ----------
    nbytes : int
        The bytes of all elements.
    shape : sequence of int
        The shape of the array.
    strides : sequence of int
        Its strides in any unit. The axis of the longest steps is divided.
    axis : int
        The axis of the rows, not negative.
    """
    if nbytes < 2 * _BLOCK_BYTES:
        return 1, axis
    others = [other for other, length in enumerate(shape) if other != axis and length > 1]
    if not others:
        return 1, axis
    across = max(others, key=lambda other: abs(strides[other]))
    count = -(-nbytes // (_BLOCK_BYTES * get_num_threads()))
    return min(count, shape[across]), across
