"""Checks the arguments of an operation other than its arrays.

Invariant: results have exactly the types int, bool and str, because they are part of the key of a
prepared call. Equal values of other types (True for an axis, 1 for True) raise an error.
"""

from __future__ import annotations

import contextlib
import inspect
import numbers
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from ..arrays import INDEX_DTYPES, SortOptions, type_name
from ..dtypes import numpy_name

_F = TypeVar("_F", bound=Callable[..., Any])

Nan = Literal["largest", "last"]


def expected_bool(name: str, value: object) -> str:
    """Return the message for an argument that must be a bool."""
    return f"{name}: expected True or False, got {value!r} ({type_name(value)})."


def named_only(function: _F) -> _F:
    """Hide the parameter ``*unnamed`` from `inspect.signature` and `help`.

    A function has this parameter for better errors about positional arguments than Python's.
    """
    signature = inspect.signature(function)
    shown = [p for p in signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
    function.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return function


def unnamed_error(
    function: str, first: str, unnamed: tuple[Any, ...], flag: str = "descending"
) -> TypeError:
    """Return the error for positional arguments that have to be given by name.

    Parameters
    ----------
    function : str
        The function's name.
    first : str
        The name of its one positional argument.
    unnamed : tuple
        The positional arguments after the first.
    flag : str, default "descending"
        The argument that a bool was probably meant for.
    """
    value = unnamed[0]
    if isinstance(value, bool):
        expected = f"{flag} is given by name: {function}({first}, {flag}={value})"
    elif isinstance(value, int):  # as np.sort and torch.sort take it
        expected = f"axis is given by name: {function}({first}, axis={value})"
    else:
        expected = f"arguments after {first} are given by name, as in {function}({first}, axis=-1)"
    return TypeError(f"{expected}; got {', '.join(map(type_name, unnamed))} without a name.")


def _is_numpy_bool(value: object) -> bool:
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")


def sort_options(
    axis: Any = -1,
    dim: Any = None,
    descending: Any = False,
    stable: Any = False,
    nan: Any = "largest",
) -> SortOptions:
    """Return the checked options of a call; the parameters are as for `sort`.

    Raises
    ------
    TypeError
        An argument of the wrong type, or an axis and a dim that differ.
    ValueError
        An unknown nan.
    """
    if (
        type(axis) is int
        and type(descending) is bool
        and type(stable) is bool
        and type(nan) is str
        and nan == "largest"
        and dim is None
    ):  # nearly every call
        return axis, descending, False
    named, axis = _named_axis(axis, dim)
    if axis is None:
        raise TypeError(
            "axis: expected an integer, got None; to sort all elements as one row, pass "
            "x.reshape(-1)."
        )
    if type(axis) is not int:
        axis = checked_integer(named, axis)
    if type(descending) is not bool:
        descending = checked_bool("descending", descending)
    if type(stable) is not bool:
        checked_bool("stable", stable)
    checked_choice("nan", nan, ("largest", "last"))
    return axis, descending, nan == "last"


def _named_axis(axis: Any, dim: Any) -> tuple[str, Any]:
    """Return the axis and the name of the argument that gave it."""
    if dim is None:
        return "axis", axis
    if axis != -1 and axis != dim:
        raise TypeError(f"dim: it is another name for axis; got axis={axis!r} and dim={dim!r}.")
    return "dim", dim


def checked_axes(axis: Any, dim: Any) -> int | tuple[int, ...] | None:
    """Return the axis or axes to reduce; None stands for all.

    Raises
    ------
    TypeError
        Neither an integer nor a tuple of them, or an axis and a dim that differ.
    """
    named, axis = _named_axis(axis, dim)
    if isinstance(axis, (tuple, list)):
        return tuple(checked_integer(named, each) for each in axis)
    return None if axis is None else checked_integer(named, axis)


def checked_quantiles(q: Any) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the numbers in q, flat, and its shape. Integers stay integers.

    Raises
    ------
    TypeError
        Neither a number nor a sequence of numbers.
    ValueError
        A number that is not from 0 to 1, or lists of different lengths.
    """
    if type(q).__module__ == "numpy" and hasattr(q, "tolist"):  # an array or a scalar
        q = q.tolist()
    points = tuple(_flat(q))
    shape = _shape(q)
    for point in points:
        if not 0 <= point <= 1:
            raise ValueError(f"q: expected numbers from 0 to 1, got {point}.")
    return points, shape


def _flat(q: Any) -> Iterator[float]:
    """Yield the numbers of a number, or of nested sequences."""
    if isinstance(q, (tuple, list, range)):
        for part in q:
            yield from _flat(part)
    elif isinstance(q, numbers.Real) and not isinstance(q, bool):
        yield int(q) if isinstance(q, numbers.Integral) else float(q)
    else:
        advice = "; pass q.tolist()" if hasattr(q, "tolist") else ""
        raise TypeError(
            f"q: expected a number from 0 to 1, or a sequence of them, got {type_name(q)}{advice}."
        )


def _shape(q: Any) -> tuple[int, ...]:
    """Return the shape of nested sequences."""
    if not isinstance(q, (tuple, list, range)):
        return ()
    shapes = {_shape(part) for part in q} or {()}
    if len(shapes) > 1:
        raise ValueError("q: expected sequences of one length, got some of different lengths.")
    return (len(q), *shapes.pop())


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype: a name, a class or dtype of NumPy, or a dtype of PyTorch."""
    if hasattr(dtype, "kind"):
        return numpy_name(dtype)
    for attribute in ("name", "__name__"):
        if isinstance(getattr(dtype, attribute, None), str):
            return str(getattr(dtype, attribute))
    return str(dtype).removeprefix("torch.")


def checked_index_dtype(index_dtype: Any) -> str | None:
    """Return the name of a checked index_dtype: int32, int64, or None for the library's own.

    Raises
    ------
    ValueError
        Another value.
    """
    if index_dtype is None:
        return None
    name = dtype_name(index_dtype)
    if name not in INDEX_DTYPES:
        with contextlib.suppress(ImportError, TypeError, ValueError):
            import numpy as np

            name = np.dtype(index_dtype).name  # of int or "i4", for example
    if name in INDEX_DTYPES:
        return name
    raise ValueError(f'index_dtype: expected "int32" or "int64", got {index_dtype!r}.')


def checked_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return a string that is one of some choices."""
    if isinstance(value, str) and value in choices:
        return str(value)
    *others, last = (f'"{choice}"' for choice in choices)
    raise ValueError(f"{name}: expected {', '.join(others)} or {last}, got {value!r}.")


def checked_integer(name: str, value: Any) -> int:
    """Return an integer of any type but bool."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name}: expected an integer, got {value!r} ({type_name(value)})."
        ) from None


def checked_bool(name: str, value: Any) -> bool:
    """Return a bool of Python or NumPy."""
    if not isinstance(value, bool) and not _is_numpy_bool(value):
        raise TypeError(expected_bool(name, value))
    return bool(value)
