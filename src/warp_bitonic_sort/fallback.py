"""Sorts rows that are too long for a kernel, with the caller's library and the same promises.

Invariant: the library sorts *codes*, integers in the promised order, never the values: np.sort does
not define the order of -0.0 and 0.0 and of NaNs, and does not sort rows of ml_dtypes that contain
NaN. For indices, equal values have equal codes, and the library's sort is stable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .dtypes import DType

if TYPE_CHECKING:
    import numpy as np

    _Array = np.ndarray[Any, Any]


class Sorter(NamedTuple):
    """Sorts rows of one dtype in one order.

    Parameters
    ----------
    dtype : DType
        The dtype.
    axis : int
        The axis to sort along, not negative.
    descending, nan_last : bool
        The order.
    """

    dtype: DType
    axis: int
    descending: bool
    nan_last: bool

    def sort_into(self, x: _Array, values: _Array | None, indices: _Array | None) -> None:
        """Sort x into values, and the positions that they come from into indices.

        Parameters
        ----------
        x, values : numpy.ndarray
            Raw bits, as unsigned integers of their width. Values may be x, or None.
        indices : numpy.ndarray or None
            Integers of any kind.
        """
        if indices is not None:
            self._argsort(x, values, indices)
        elif values is not None:
            self._sort(x, values)

    def _sort(self, x: _Array, values: _Array) -> None:
        import numpy as np

        dtype = self.dtype
        word = np.dtype(f"u{dtype.bits // 8}")
        sign, ones = word.type(1 << (dtype.bits - 1)), word.type((1 << dtype.bits) - 1)
        xor, add = (word.type(value) for value in self._constants())
        code = x.astype(word)
        if dtype.codec != "integer":
            code ^= np.where(code & sign, ones, sign)
        if dtype.codec == "fnuz":
            # The only NaN, 0x80, is between the negative and the positive values.
            code = np.where(code == 0x7F, ones, code - (code > 0x7F))
        code ^= xor
        code += add
        code.sort(axis=self.axis)
        code -= add
        code ^= xor
        if dtype.codec == "fnuz":
            code = np.where(code == ones, word.type(0x7F), code + (code >= 0x7F))
        if dtype.codec != "integer":
            code ^= np.where(code & sign, sign, ones)
        values[...] = code

    def _argsort(self, x: _Array, values: _Array | None, indices: _Array) -> None:
        import numpy as np

        dtype = self.dtype
        word = np.dtype(f"u{dtype.bits // 8}")
        sign, ones = word.type(1 << (dtype.bits - 1)), word.type((1 << dtype.bits) - 1)
        code = x.astype(word)
        if dtype.codec == "integer":
            is_nan = None
            if dtype.signed:
                code ^= sign
        else:
            magnitude = code & ~sign
            is_nan = code == sign if dtype.codec == "fnuz" else magnitude > word.type(dtype.highest)
            code[magnitude == 0] = 0
            code ^= np.where(code & sign, ones, sign)
        if self.descending:
            code ^= ones
        if is_nan is not None:
            # No number of codec ieee has a code of all zeros or all ones. Numbers of codec fnuz use
            # all codes, which are therefore widened.
            first, last = word.type(0), ones
            if dtype.codec == "fnuz":
                code, first, last = code.astype(np.int16), np.int16(-1), np.int16(256)
            code[is_nan] = first if self.descending and not self.nan_last else last
        order = np.argsort(code, axis=self.axis, kind="stable")
        if values is not None:
            values[...] = np.take_along_axis(x, order, self.axis)
        indices[...] = order

    def sorted_on_device(
        self,
        x: Any,
        sort: Callable[[Any, int], Any],
        where: Callable[[Any, Any, Any], Any],
    ) -> Any:
        """Return x sorted by a device library's own sort of signed integers.

        Parameters
        ----------
        x : array
            The raw bits, as signed integers of their width. The result has the same dtype.
        sort : callable
            The library's ``sort(keys, axis)``.
        where : callable
            The library's ``where(condition, this, that)``.
        """
        dtype = self.dtype
        bits = dtype.bits
        half = 1 << (bits - 1)

        def wrapped(value: int) -> int:
            return (value + half) % (1 << bits) - half

        def folded(key: Any) -> Any:
            return key if dtype.codec == "integer" else key ^ ((key >> (bits - 1)) & (half - 1))

        # The codes of `sort_into` less half their range: all libraries sort signed integers.
        xor, add = self._constants()
        xor, add = wrapped(xor ^ half if dtype.codec == "integer" else xor), wrapped(add)
        key = folded(x)
        if dtype.codec == "fnuz":
            # The only NaN, folded to -1, is between the negative and the positive values.
            key = where(key == -1, half - 1, key - ((key >> (bits - 1)) + 1))
        key = sort((key ^ xor) + add, self.axis)
        key = (key - add) ^ xor
        if dtype.codec == "fnuz":
            shifted = key + (((key + 1) >> (bits - 1)) + 1)
            key = where(key == half - 1, -1, shifted)
        return folded(key)

    def _constants(self) -> tuple[int, int]:
        """Return (xor, add), as ``order_constants_of`` of ``core/dtype.hpp`` defines them."""
        dtype = self.dtype
        ones = (1 << dtype.bits) - 1
        if dtype.codec == "integer":
            sign = 1 << (dtype.bits - 1) if dtype.signed else 0
            return (sign ^ ones if self.descending else sign), 0
        if dtype.codec == "fnuz":
            return (ones, 255 if self.nan_last else 0) if self.descending else (0, 0)
        least, greatest = dtype.lowest ^ ones, dtype.highest | 1 << (dtype.bits - 1)
        if not self.descending:
            return 0, -least & ones
        return ones, (greatest + 1 if self.nan_last else least) & ones
