"""Tells which arrays the kernels take; NumPy's functions take all others.

Invariant: pure. An array that is taken is exactly a `numpy.ndarray`, because NumPy's functions do
more for subclasses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DTYPES

Array = np.ndarray[Any, Any]

# The longest rows of the CPU's kernels. Of longer ones, NumPy finds what it needs without sorting.
LONGEST_ROW = 16384
# For fewer elements, NumPy's functions take less time than the call of a kernel.
FEWEST_ELEMENTS = 1024
# For fewer rows, they do, too, unless values alone are sorted.
FEWEST_ROWS = 2

_BUILT_IN = frozenset(
    np.dtype(name) for name in DTYPES if not name.startswith(("bfloat", "float8"))
)


def as_array(a: Any) -> Any:
    """Return a list or tuple as an array, as NumPy's functions do; and anything else as it is."""
    return np.asarray(a) if type(a) in (list, tuple) else a


def is_sortable(a: Any) -> bool:
    """Tell whether kernels sort arrays of the class and dtype of an object."""
    if type(a) is not np.ndarray:
        return False
    dtype = a.dtype
    if dtype in _BUILT_IN:
        return True
    is_of_extension = dtype.isbuiltin == 2 and dtype.isnative  # as those of ml_dtypes
    return bool(is_of_extension and dtype.name in DTYPES)


def is_number(a: Array) -> bool:
    """Tell whether an array that is sortable has a dtype of NumPy's own."""
    return a.dtype in _BUILT_IN


def is_large(a: Array) -> bool:
    """Tell whether the call of a kernel is worth its time for an array."""
    return a.size >= FEWEST_ELEMENTS


def are_fast_rows(a: Array, length: int, needs_several: bool) -> bool:
    """Tell whether kernels take less time than NumPy for the rows of a large array.

    Parameters
    ----------
    a : ndarray
        The array.
    length : int
        The length of a row.
    needs_several : bool
        Whether one row alone is faster with NumPy.
    """
    return length <= LONGEST_ROW and (not needs_several or a.size >= FEWEST_ROWS * length)


def is_integer(value: object) -> bool:
    """Tell whether a value is an integer of Python or NumPy, and no bool."""
    return isinstance(value, (int, np.integer)) and type(value) is not bool


def axes_of(axis: object, rank: int) -> tuple[int, ...] | None:
    """Return distinct axes within the rank of an array; None if they are not such axes."""
    if axis is None:
        return tuple(range(rank))
    given: Any = axis if isinstance(axis, (tuple, list)) else (axis,)
    if not all(is_integer(each) and -rank <= each < rank for each in given):
        return None
    axes = {int(each) % rank for each in given}
    return tuple(sorted(axes)) if 0 < len(axes) == len(given) else None
