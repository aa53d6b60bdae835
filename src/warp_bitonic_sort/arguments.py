"""The arguments of a sort beside its arrays: the rules for them, and the errors that name them.

Invariant: what is returned is of the very types that a sort compares by: int, bool, bool.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from .arrays import type_name

__all__ = ["Nan", "expected_bool", "named_only", "unnamed_error", "validated"]

_F = TypeVar("_F", bound=Callable[..., Any])

Nan = Literal["largest", "last"]


def expected_bool(name: str, value: object) -> str:
    """Return the message for an argument that has to be a bool."""
    return f"{name}: expected True or False, got {value!r} ({type_name(value)})."


def named_only(function: _F) -> _F:
    """Hide the parameter ``*unnamed`` from `inspect.signature` and `help`.

    A function has it to say more about arguments without a name than Python does.
    """
    signature = inspect.signature(function)
    shown = [p for p in signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
    function.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return function


def unnamed_error(function: str, first: str, unnamed: tuple[Any, ...]) -> TypeError:
    """Return the error for arguments without a name.

    Parameters
    ----------
    function : str
        The function's name.
    first : str
        Its one argument that is given without a name.
    unnamed : tuple
        What was given after that one.
    """
    value = unnamed[0]
    if isinstance(value, bool):
        told = f"descending is given by name: {function}({first}, descending={value})"
    elif isinstance(value, int):  # as np.sort and torch.sort take it
        told = f"axis is given by name: {function}({first}, axis={value})"
    else:
        told = f"arguments after {first} are given by name, as in {function}({first}, axis=-1)"
    return TypeError(f"{told}; got {', '.join(map(type_name, unnamed))} without a name.")


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
