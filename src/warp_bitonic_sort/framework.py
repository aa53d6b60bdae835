"""Sorting rows that are too long for a kernel, with the caller's library and the same promises.

Invariant: the library sorts *keys*, integers whose order is the promised one, never the values:
np.sort leaves the order of -0.0 and 0.0 and of NaNs open, and rows of ml_dtypes that hold NaN
unsorted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .arrays import outside_torch_compile
from .dtypes import DType

if TYPE_CHECKING:
    import numpy as np

__all__ = ["sort_into", "sort_on_device"]


def _constants(dtype: DType, descending: bool, nan_last: bool) -> tuple[int, int]:
    """Return (xor, add), as ``order_constants_of`` of ``core/dtype.hpp`` defines them."""
    ones = (1 << dtype.bits) - 1
    if dtype.codec == "integer":
        sign = 1 << (dtype.bits - 1) if dtype.signed else 0
        return (sign ^ ones if descending else sign), 0
    if dtype.codec == "fnuz":
        return (ones, 255 if nan_last else 0) if descending else (0, 0)
    least, greatest = dtype.lowest ^ ones, dtype.highest | 1 << (dtype.bits - 1)
    if not descending:
        return 0, -least & ones
    return ones, (greatest + 1 if nan_last else least) & ones


def sort_into(
    x: np.ndarray[Any, Any],
    out: np.ndarray[Any, Any],
    dtype: DType,
    axis: int,
    descending: bool,
    nan_last: bool,
) -> None:
    """Sort x along axis into out; both hold the raw bits as unsigned integers, out may be x."""
    outside_torch_compile(_sort_bits)(x, out, dtype, axis, descending, nan_last)


def _sort_bits(
    x: np.ndarray[Any, Any],
    out: np.ndarray[Any, Any],
    dtype: DType,
    axis: int,
    descending: bool,
    nan_last: bool,
) -> None:
    import numpy as np

    word = np.dtype(f"u{dtype.bits // 8}")
    sign, ones = word.type(1 << (dtype.bits - 1)), word.type((1 << dtype.bits) - 1)
    xor, add = (word.type(value) for value in _constants(dtype, descending, nan_last))
    code = x.astype(word)
    if dtype.codec != "integer":
        code ^= np.where(code & sign, ones, sign)
    if dtype.codec == "fnuz":
        # The one NaN, 0x80, stands between the negative and the positive values.
        code = np.where(code == 0x7F, ones, code - (code > 0x7F))
    code ^= xor
    code += add
    code.sort(axis=axis)
    code -= add
    code ^= xor
    if dtype.codec == "fnuz":
        code = np.where(code == ones, word.type(0x7F), code + (code >= 0x7F))
    if dtype.codec != "integer":
        code ^= np.where(code & sign, sign, ones)
    out[...] = code


def sort_on_device(
    x: Any,
    dtype: DType,
    axis: int,
    descending: bool,
    nan_last: bool,
    sort: Callable[[Any, int], Any],
    where: Callable[[Any, Any, Any], Any],
) -> Any:
    """Return x sorted along axis by a device library's own sort of signed integers.

    Parameters
    ----------
    x : array
        The raw bits, as signed integers of their width, of which the result is some too.
    dtype : DType
        What they are the bits of.
    axis : int
        The axis.
    descending, nan_last : bool
        The order.
    sort : callable
        The library's ``sort(keys, axis)``.
    where : callable
        The library's ``where(condition, this, that)``.
    """
    bits = dtype.bits
    half = 1 << (bits - 1)

    def wrapped(value: int) -> int:
        return (value + half) % (1 << bits) - half

    def folded(key: Any) -> Any:
        return key if dtype.codec == "integer" else key ^ ((key >> (bits - 1)) & (half - 1))

    # The codes of sort_into less half their range: signed, which every library sorts.
    xor, add = _constants(dtype, descending, nan_last)
    xor, add = wrapped(xor ^ half if dtype.codec == "integer" else xor), wrapped(add)
    key = folded(x)
    if dtype.codec == "fnuz":
        # The one NaN, folded to -1, stands between the negative and the positive values.
        key = where(key == -1, half - 1, key - ((key >> (bits - 1)) + 1))
    key = sort((key ^ xor) + add, axis)
    key = (key - add) ^ xor
    if dtype.codec == "fnuz":
        shifted = key + (((key + 1) >> (bits - 1)) + 1)
        key = where(key == half - 1, -1, shifted)
    return folded(key)
