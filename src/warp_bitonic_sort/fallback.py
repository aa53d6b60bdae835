"""Sorts rows that are too long for a kernel, with the caller's library and the same promises.

Invariant: the library sorts *codes*, integers in the promised order, never the values: np.sort does
not define the order of -0.0 and 0.0 and of NaNs, and does not sort rows of ml_dtypes that contain
NaN. For indices, equal values have equal codes, and the library's argsort is stable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .dtypes import DType
from .kernels import Role


class Functions(NamedTuple):
    """What the fallback needs of an array library, for arrays of signed integers.

    Parameters
    ----------
    sort, argsort : callable
        ``sort(keys, axis)`` and ``argsort(keys, axis)``, which is stable.
    take_along_axis : callable
        ``take_along_axis(array, indices, axis)``.
    where : callable
        ``where(condition, this, that)``.
    """

    sort: Callable[[Any, int], Any]
    argsort: Callable[[Any, int], Any]
    take_along_axis: Callable[[Any, Any, int], Any]
    where: Callable[[Any, Any, Any], Any]


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
    roles : tuple of str
        The outputs: the sorted keys, the index that each had in its row, or both.
    """

    dtype: DType
    axis: int
    descending: bool
    nan_last: bool
    roles: tuple[Role, ...] = ("keys",)

    def outputs(self, x: Any, library: Functions) -> list[Any]:
        """Return the outputs for x.

        Parameters
        ----------
        x : array
            The raw bits, as signed integers of their width. Sorted keys have the same dtype.
        library : Functions
            The functions of x's library.
        """
        if "index" not in self.roles:
            return [self._sorted(x, library)]
        order = library.argsort(self._equal_codes(x, library), self.axis)
        return [
            order if role == "index" else library.take_along_axis(x, order, self.axis)
            for role in self.roles
        ]

    def _folded(self, key: Any) -> Any:
        """Return integers in the order of the numbers of any sign; it is its own inverse."""
        bits = self.dtype.bits
        if self.dtype.codec == "integer":
            return key
        return key ^ ((key >> (bits - 1)) & ((1 << (bits - 1)) - 1))

    def _sorted(self, x: Any, library: Functions) -> Any:
        bits, codec, where = self.dtype.bits, self.dtype.codec, library.where
        half = 1 << (bits - 1)

        def wrapped(value: int) -> int:
            return (value + half) % (1 << bits) - half

        # All libraries sort signed integers: codes are those of the kernels less half their range.
        xor, add = self._constants()
        xor, add = wrapped(xor ^ half if codec == "integer" else xor), wrapped(add)
        key = self._folded(x)
        if codec == "fnuz":
            # The only NaN, folded to -1, is between the negative and the positive values.
            key = where(key == -1, half - 1, key - ((key >> (bits - 1)) + 1))
        key = library.sort((key ^ xor) + add, self.axis)
        key = (key - add) ^ xor
        if codec == "fnuz":
            shifted = key + (((key + 1) >> (bits - 1)) + 1)
            key = where(key == half - 1, -1, shifted)
        return self._folded(key)

    def _equal_codes(self, x: Any, library: Functions) -> Any:
        """Return codes that are equal where values are: -0.0 and 0.0, and all NaNs."""
        dtype, where = self.dtype, library.where
        half = 1 << (dtype.bits - 1)
        if dtype.codec == "integer":
            key = x if dtype.signed else x ^ -half
            return ~key if self.descending else key
        magnitude = x & (half - 1)
        is_nan = x == -half if dtype.codec == "fnuz" else magnitude > dtype.highest
        key = where((x < 0) ^ self.descending, -magnitude, magnitude)
        # Numbers leave one code free: the lowest, or the highest where they are one less.
        if self.descending and not self.nan_last:
            return where(is_nan, -half, key)
        return where(is_nan, half - 1, key - 1)

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
