"""The arguments of a sort beside its arrays, where a call does not have the usual ones.

Invariant: what is returned is of the very types that a sort compares by: int, bool, bool.
"""

from __future__ import annotations

import operator
from typing import Any, Literal

from .arrays import type_name

__all__ = ["Nan", "expected_bool", "validated"]

Nan = Literal["largest", "last"]


def expected_bool(name: str, value: object) -> str:
    """Return the message for an argument that has to be a bool."""
    return f"{name}: expected True or False, got {value!r} ({type_name(value)})."


def _is_numpy_bool(value: object) -> bool:
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")


def validated(
    axis: Any, dim: Any, descending: Any, stable: Any, nan: Any
) -> tuple[int, bool, bool]:
    """Return the axis, whether descending, and whether NaNs come last; they are as for `sort`.

    Raises
    ------
    TypeError
        An argument of the wrong type, or an axis and a dim that differ.
    ValueError
        An unknown nan.
    """
    named = "axis"
    if dim is not None:
        if axis != -1 and axis != dim:
            raise TypeError(f"dim: it is another name for axis; got axis={axis!r} and dim={dim!r}.")
        named, axis = "dim", dim
    try:
        if isinstance(axis, bool):
            raise TypeError
        axis = operator.index(axis)
    except TypeError:
        raise TypeError(
            f"{named}: expected an integer, got {axis!r} ({type_name(axis)})."
        ) from None
    for name, value in (("descending", descending), ("stable", stable)):
        if not isinstance(value, bool) and not _is_numpy_bool(value):
            raise TypeError(expected_bool(name, value))
    if not isinstance(nan, str) or nan not in ("largest", "last"):
        raise ValueError(f'nan: expected "largest" or "last", got {nan!r}.')
    return axis, bool(descending), nan == "last"
