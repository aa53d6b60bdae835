"""`sort_pairs`: sorts keys, and carries arrays of values along.

Invariant: everything is checked and computed before the first element of out is written. Therefore
out may be the inputs, or overlap them.
"""

from __future__ import annotations

import numbers
from functools import partial
from typing import Any, NamedTuple, NoReturn

from .. import arrays
from ..arrays import Adapter, Description, SortOptions
from ..dtypes import SUPPORTED
from . import _pairs
from ._arguments import Nan, named_only, sort_options, unnamed_error
from ._call import call, check_apart
from ._operation import INDICES, Operation, Output


class SortedPairs(NamedTuple):
    """The result of `sort_pairs`.

    Parameters
    ----------
    keys : array
        The sorted keys.
    values : array or tuple of arrays
        The values, in the order of their keys.
    """

    keys: Any
    values: Any


# Payload and outputs are those of a call whose values are taken at the indices. A kernel that
# carries the values along writes as many outputs.
SORT_PAIRS = Operation(
    "sort_pairs",
    "all",
    "index",
    (Output("keys", "keys"), INDICES),
    SortedPairs,
    argument="keys",
    carries_values=True,
    afterwards="takes the values at the indices",
)


@arrays.between_torch_graphs
@named_only
def sort_pairs(
    keys: Any,
    values: Any,
    /,
    *unnamed: NoReturn,
    axis: int = -1,
    descending: bool = False,
    nan: Nan = "largest",
    out: tuple[Any, Any] | None = None,
    dim: int | None = None,
) -> SortedPairs:
    """Sort keys along an axis, and put values into the order of their keys.

    The sort is stable: the values of equal keys keep their order, whether ascending or descending.
    -0.0 equals 0.0, and all NaNs are equal.

    Parameters
    ----------
    keys : array
        As x for `argsort`. It is never written, unless it is given as out, too.
    values : array, or tuple or list of arrays
        What goes along with the keys: arrays of the keys' library, shape and device, of any dtype
        that `sort` accepts and any strides. They may be read-only.
    axis, descending, nan, dim
        As for `argsort`, about the keys. There is no ``stable``: the sort always is.
    out : tuple, optional
        Where the results go: ``(keys, values)``, or ``(keys, (values0, values1, ...))`` if values
        is a tuple or a list. Each array has the dtype and the shape of its input and can be
        written. The outputs may be inputs or overlap them, but not each other.

    Returns
    -------
    SortedPairs
        A named tuple ``(keys, values)``; values is a tuple if several were given. Both are those
        of ``numpy.take_along_axis(..., argsort(keys), axis)``, bit for bit. They are those of out
        if that was given.

    Raises
    ------
    TypeError
        An argument of the wrong type, a dtype that is not supported, or arrays of two libraries. A
        tensor that requires a gradient.
    ValueError
        An array of another shape or on another device than the keys, outputs that share memory, an
        axis out of range, an unknown `nan`.
    NotImplementedError, BuildError
        As `argsort` does.

    Notes
    -----
    On GPUs, one kernel sorts keys with one array of values of 32 or 64 bits, unless rows lie side
    by side in memory or are longer than the kernel takes. Arrays of other libraries than PyTorch,
    CuPy and JAX need such a kernel there, and it also sorts their rows that lie side by side.
    Otherwise the keys are sorted as by `sort_with_indices`, and the library of the arrays takes the
    values at the indices, for NumPy by ``numpy.take_along_axis``.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import sort_pairs
    >>> distances = np.array([[3.0, 1.0, 2.0]])
    >>> sort_pairs(distances, np.array([[30, 10, 20]])).values
    array([[10, 20, 30]])
    """
    if unnamed:
        raise unnamed_error("sort_pairs", "keys, values", unnamed)
    options = sort_options(axis, dim, descending, nan=nan)
    return arrays.outside_torch_compile(_sort_pairs)(keys, values, options, out)


def _sort_pairs(keys: Any, values: Any, options: SortOptions, out: Any) -> SortedPairs:
    check = partial(_check, keys, values, out)
    # One kernel may carry one array of values.
    one_out = tuple(out) if isinstance(out, (tuple, list)) else ()
    are_several = isinstance(values, (tuple, list))
    if not are_several and len(one_out) == (0 if out is None else 2):
        results = _pairs.call(SORT_PAIRS, (keys, values), options, one_out, check)
        if results is not None:
            return SortedPairs(*results)
    adapters, carried, outputs = check()
    sorted_keys, indices = call(SORT_PAIRS, keys, options)
    taken = [
        adapter.take(array, indices, options[0])
        for adapter, array in zip(adapters[1:], carried, strict=True)
    ]
    results = [sorted_keys, *taken]
    if out is not None:
        for array, result in zip(outputs, results, strict=True):
            adapters[0].copy(result, array)
        results = outputs
    return SortedPairs(results[0], tuple(results[1:]) if are_several else results[1])


def _check(keys: Any, values: Any, out: Any) -> tuple[list[Adapter], list[Any], list[Any]]:
    """Return all adapters, the arrays of values, and those of out; raise if an array is wrong."""
    inputs = [("keys", keys), *_listed(values, "values")]
    checked = [_checked(array, name) for name, array in inputs]
    for (name, array), (_, description) in zip(inputs, checked, strict=True):
        _check_like(array, name, description, keys, checked[0][1])
    adapters = [adapter for adapter, _ in checked]
    outputs: list[tuple[str, Any]] = []
    if out is not None:
        outputs = _checked_out(out, values)
        for (name, array), (like, given), adapter in zip(outputs, inputs, adapters, strict=True):
            adapter.check_out(array, given, False, name, like)
        check_apart(adapters[0], [array for _, array in outputs], [name for name, _ in outputs])
    return adapters, [array for _, array in inputs[1:]], [array for _, array in outputs]


def _listed(values: Any, name: str) -> list[tuple[str, Any]]:
    """Return values as a list of names and arrays."""
    if not isinstance(values, (tuple, list)):
        return [(name, values)]
    if not values:
        raise TypeError(
            f"{name}: expected an array, or a tuple of at least one array, got "
            f"{arrays.shown(values)}."
        )
    if isinstance(values[0], numbers.Number):  # one row of numbers, not several arrays
        return [(name, values)]
    return [(f"{name}[{number}]", array) for number, array in enumerate(values)]


def _checked(array: Any, name: str) -> tuple[Adapter, Description]:
    """Return the adapter and the description of an array; raise if it can't be sorted."""
    adapter = arrays.adapter_of(array, name)
    adapter.key(array, name)
    try:
        description = adapter.describe(array, name)
    except TypeError:
        if name == "keys":
            raise
        raise TypeError(
            f"{name}: dtype {array.dtype} is not supported for values; pass {SUPPORTED}, or take "
            f"the values at the indices of argsort(keys)."
        ) from None
    adapter.check_no_gradient(array, name)
    return adapter, description


def _check_like(
    array: Any, name: str, found: Description, keys: Any, expected: Description
) -> None:
    """Raise if an array of values does not fit the keys."""
    if found.kind != expected.kind:
        raise arrays.other_library(array, keys, expected.kind, name)
    if found.shape != expected.shape:
        raise ValueError(
            f"{name}: expected keys' shape {expected.shape}, got {found.shape}. If the values "
            f"repeat, pass numpy.broadcast_to({name}, keys.shape); else take them at the indices "
            f"of argsort(keys), as numpy.take_along_axis does."
        )
    if found.device != expected.device:
        raise ValueError(
            f"{name}: expected keys' device {_device_name(expected)}, got {_device_name(found)}."
        )


def _device_name(described: Description) -> str:
    device = described.device
    return device.backend if device.backend == "cpu" else f"{device.backend}:{device.number}"


def _checked_out(out: Any, values: Any) -> list[tuple[str, Any]]:
    """Return the names and arrays of out; raise if it has another structure than the inputs."""
    names = "values"
    if isinstance(values, (tuple, list)):
        names = ", ".join(f"values[{number}]" for number in range(len(values)))
        names = f"({names},)" if len(values) == 1 else f"({names})"
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise TypeError(f"out: expected a tuple (keys, {names}), got {arrays.shown(out)}.")
    keys, carried = out
    if not isinstance(values, (tuple, list)):
        return [("out[0]", keys), ("out[1]", carried)]
    if not isinstance(carried, (tuple, list)) or len(carried) != len(values):
        raise TypeError(
            f"out[1]: expected a tuple {names} as values is, got {arrays.shown(carried)}."
        )
    return [("out[0]", keys), *_listed(carried, "out[1]")]
