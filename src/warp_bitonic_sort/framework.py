"""Sorting rows that are too long for a kernel, with NumPy and with the same promises.

Invariant: NumPy sorts *keys*, signed integers whose order is the promised one, never the values:
np.sort leaves the order of -0.0 and 0.0 and of NaNs open, and rows of ml_dtypes that hold NaN
unsorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .dtypes import DType

if TYPE_CHECKING:
    import numpy as np

__all__ = ["sort_into"]


def _constants(dtype: DType, descending: bool, nan_last: bool) -> tuple[int, int]:
    """Return (xor, add), as ``order_constants`` of ``key.hpp`` defines them."""
    ones = (1 << dtype.bits) - 1
    if dtype.codec == "bits":
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
    import numpy as np

    word = np.dtype(f"u{dtype.bits // 8}")
    sign, ones = word.type(1 << (dtype.bits - 1)), word.type((1 << dtype.bits) - 1)
    xor, add = (word.type(value) for value in _constants(dtype, descending, nan_last))
    code = x.astype(word)
    if dtype.codec != "bits":
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
    if dtype.codec != "bits":
        code ^= np.where(code & sign, sign, ones)
    out[...] = code
