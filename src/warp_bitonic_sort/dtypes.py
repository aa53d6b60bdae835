"""Lists the dtypes: their names, widths and codecs.

Invariant: the table equals that of ``csrc/include/warp_bitonic_sort/core/dtype.hpp``; no other
Python code lists dtypes.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .kernels import Codec


class DType(NamedTuple):
    """One dtype.

    Parameters
    ----------
    name : str
        Its name in NumPy or ml_dtypes.
    bits : int
        The width: 8, 16, 32 or 64.
    codec : str
        How a key is computed from its bits, as ``core/codec.hpp`` names it.
    lowest, highest : int
        The bit patterns of the lowest and the highest value that is not NaN (codec ieee).
    signed : bool
        Whether an integer has a sign (codec integer).
    """

    name: str
    bits: int
    codec: Codec
    lowest: int = 0
    highest: int = 0
    signed: bool = False


def _integer(name: str, bits: int, signed: bool) -> DType:
    return DType(name, bits, "integer", signed=signed)


def _ieee(name: str, bits: int, highest: int) -> DType:
    return DType(name, bits, "ieee", lowest=highest | 1 << (bits - 1), highest=highest)


def _fnuz(name: str, bits: int) -> DType:
    return DType(name, bits, "fnuz")


DTYPES: dict[str, DType] = {
    dtype.name: dtype
    for dtype in (
        _integer("bool", 8, signed=False),
        *(_integer(f"uint{bits}", bits, signed=False) for bits in (8, 16, 32, 64)),
        *(_integer(f"int{bits}", bits, signed=True) for bits in (8, 16, 32, 64)),
        _ieee("float16", 16, 0x7C00),
        _ieee("bfloat16", 16, 0x7F80),
        _ieee("float32", 32, 0x7F800000),
        _ieee("float64", 64, 0x7FF0000000000000),
        _ieee("float8_e4m3fn", 8, 0x7E),  # no infinity: the highest value is 448
        _ieee("float8_e5m2", 8, 0x7C),
        _fnuz("float8_e4m3fnuz", 8),
        _fnuz("float8_e5m2fnuz", 8),
    )
}


# The table in words, for messages.
SUPPORTED = (
    "bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32, float64, "
    "float8 (e4m3fn, e5m2, e4m3fnuz, e5m2fnuz)"
)


def numpy_name(dtype: Any) -> str:
    """Return the name of a NumPy dtype as people type it: ``str``, not ``str128``."""
    if dtype.kind in "US":
        return "str" if dtype.kind == "U" else "bytes"
    if dtype.kind == "T":
        return "StringDType"
    # Structured dtypes and raw bytes have kind V, as the dtypes of ml_dtypes have.
    return str(dtype) if dtype.name.startswith("void") else str(dtype.name)


def unsupported(name: str, argument: str) -> TypeError:
    """Return the error for an argument of a dtype that cannot be sorted."""
    if name.startswith(("datetime64", "timedelta64")):
        advice = (
            'pass x.astype("int64") - 1, whose order is that of numpy.sort, with NaT last '
            '(x.view("int64") has NaT first: it is the smallest int64). Indices are those of '
            'argsort(x.astype("int64") - 1), and sorted values are '
            '(sort(x.astype("int64") - 1) + 1).astype(x.dtype)'
        )
    elif name.startswith("key<"):
        advice = "jax.random.key_data(x) returns the words of random keys, as uint32"
    elif name in ("quint8", "qint8", "qint32"):
        advice = (
            "x.int_repr() returns the integers of a quantized tensor, x.dequantize() its values"
        )
    else:
        advice = f"convert it to one of {SUPPORTED}"
    if argument != "dtype":  # that of a shape, which belongs to no array
        advice = re.sub(r"\bx\b", argument, advice)
    return TypeError(f"{argument}: dtype {name} cannot be sorted here; {advice}.")


def lookup(name: str, argument: str) -> DType:
    """Return the dtype of a name; raise TypeError, with the argument's name, for another name."""
    dtype = DTYPES.get(name)
    if dtype is None:
        raise unsupported(name, argument)
    return dtype
