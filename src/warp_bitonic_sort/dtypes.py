"""The dtypes: their names, widths, and the class of their keys.

Invariant: one table, the Python twin of ``csrc/include/warp_bitonic_sort/dtype.hpp``; nothing else
in the package lists dtypes.
"""

from __future__ import annotations

from typing import Literal

from .records import Record

__all__ = ["DTYPES", "DType", "lookup"]


class DType(Record):
    """One dtype.

    Parameters
    ----------
    name : str
        NumPy's (or ml_dtypes') name for it.
    bits : int
        The width: 8, 16, 32 or 64.
    codec : str
        How a key is made of its bits, as ``key.hpp`` names it.
    lowest, highest : int
        The bit patterns of the least and the greatest value that is not NaN (codec floating).
    signed : bool
        Whether an integer has a sign (codec bits).
    """

    name: str
    bits: int
    codec: Literal["bits", "floating", "fnuz"]
    lowest: int = 0
    highest: int = 0
    signed: bool = False


# A record takes less for all its fields in order than for names and defaults, and every start makes
# these.


def _integer(name: str, bits: int, signed: bool) -> DType:
    return DType(name, bits, "bits", 0, 0, signed)


def _floating(name: str, bits: int, highest: int) -> DType:
    return DType(name, bits, "floating", highest | 1 << (bits - 1), highest, False)


def _fnuz(name: str, bits: int) -> DType:
    return DType(name, bits, "fnuz", 0, 0, False)


DTYPES: dict[str, DType] = {
    dtype.name: dtype
    for dtype in (
        _integer("bool", 8, signed=False),
        *(_integer(f"uint{bits}", bits, signed=False) for bits in (8, 16, 32, 64)),
        *(_integer(f"int{bits}", bits, signed=True) for bits in (8, 16, 32, 64)),
        _floating("float16", 16, 0x7C00),
        _floating("bfloat16", 16, 0x7F80),
        _floating("float32", 32, 0x7F800000),
        _floating("float64", 64, 0x7FF0000000000000),
        _floating("float8_e4m3fn", 8, 0x7E),  # no infinity: the greatest value is 448
        _floating("float8_e5m2", 8, 0x7C),
        _fnuz("float8_e4m3fnuz", 8),
        _fnuz("float8_e5m2fnuz", 8),
    )
}


def lookup(name: str, argument: str) -> DType:
    """Return the dtype of a name, or raise TypeError that names the argument."""
    found = DTYPES.get(name)
    if found is None:
        raise TypeError(
            f"{argument}: dtype {name} cannot be sorted here; convert it to one of "
            f"{', '.join(DTYPES)}."
        )
    return found
