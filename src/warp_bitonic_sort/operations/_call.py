"""Runs every call: checks arrays, plans, prepares, launches.

Invariant: every argument is checked before anything is written. The first call for an operation,
options, dtype, shape and strides *prepares* later ones, which look up, allocate and launch, and use
no file or subprocess. On a device, the second call also tells whether later ones can be relaunched.
"""

from __future__ import annotations

import atexit
import itertools
import sys
from collections.abc import Hashable, Sequence
from typing import Any

from .. import arrays
from ..arrays import Adapter, SortOptions
from ..dtypes import lookup
from ..process import ending, forks
from ._operation import Found, Operation, Part
from ._planning import check_index_dtype, found_of, planned
from ._prepared import CallKind, PreparedCall, open_run, output_dtypes

# More shapes than a program usually has. Beyond that, all are forgotten and planned again.
_MAX_PREPARED = 4096

# Values are a `PreparedCall`, or what `_pairs`, `top_k` and `order_statistics` remember.
prepared_calls: dict[Hashable, Any] = {}
_adapters = arrays.adapters


def call(
    operation: Operation,
    x: Any,
    options: SortOptions,
    out: Any = None,
    index_dtype: str | None = None,
    part: Part | None = None,
) -> Any:
    """Run an operation whose arguments other than arrays are checked.

    Parameters
    ----------
    operation : Operation
        The operation.
    x : array
        The array.
    options : SortOptions
        The checked options.
    out : array or tuple of arrays, optional
        Where the outputs go: one array, or a tuple if the operation has several outputs.
    index_dtype : str, optional
        The dtype of indices, int32 or int64; by default that of the library.
    part : int or str, optional
        How many of the first elements of the sorted rows are wanted, or which median; not
        together with out. Whole rows are returned where no kernel finds them alone.
    """
    adapter = _adapters.get(type(x)) or arrays.adapter_of(x)
    if out is not None:
        return _call_into(operation, adapter, x, options, out, index_dtype)
    if operation.payload == "index":
        index_dtype = adapter.index_dtype(index_dtype)  # the default may change between calls
    relaunch = adapter.relaunch
    if relaunch is not None and not isinstance(part, str):
        wants_keys = operation.outputs[0].role == "keys"
        outputs = relaunch(operation.payload, wants_keys, x, options, index_dtype, part)
        if outputs is not None:
            return outputs[0] if operation.result is None else operation.result(*outputs)
    key: Hashable = (operation.name, part, adapter.kind, adapter.key(x), options, index_dtype)
    prepared = prepared_calls.get(key)
    if prepared is None:
        return _first_call(operation, adapter, x, options, index_dtype, part, key)
    return prepared.result(x)


def _first_call(
    operation: Operation,
    adapter: Adapter,
    x: Any,
    options: SortOptions,
    index_dtype: str | None,
    part: Part | None,
    key: Hashable,
) -> Any:
    strided = adapter.as_strided(x)
    found = None
    if part is not None:
        found = found_of(operation, adapter.describe(strided, operation.argument), options[0], part)
    dtypes = output_dtypes(operation, index_dtype)
    shape = None if found is None else found.shape
    outputs = [adapter.empty(strided, dtype, shape) for dtype in dtypes]
    prepare = arrays.outside_torch_compile(_prepare)
    # The launch cache launches with NaN as the largest value.
    may_relaunch = strided is x and not options[2] and not isinstance(part, str)
    prepared = prepare(
        operation, adapter, strided, outputs, options, index_dtype, may_relaunch, found
    )
    if strided is x:
        remember(key, prepared)
    prepared.run(strided, outputs)
    return prepared.wrap(outputs, x)


def _call_into(
    operation: Operation,
    adapter: Adapter,
    x: Any,
    options: SortOptions,
    out: Any,
    index_dtype: str | None,
) -> Any:
    key_of_x = adapter.key(x)
    outputs = (out,) if operation.result is None else outputs_of(operation, out)
    key = (
        operation.name,
        adapter.kind,
        key_of_x,
        options,
        index_dtype,
        *map(adapter.out_key, outputs),
    )
    prepared = prepared_calls.get(key)
    if prepared is not None and prepared.can_write(x, outputs):
        prepared.run(x, outputs)
        for array in outputs:
            adapter.mark_modified(array)
    else:
        _check_and_call_into(operation, adapter, x, options, outputs, index_dtype, key)
    return out if operation.result is None else operation.result(*outputs)


def _check_and_call_into(
    operation: Operation,
    adapter: Adapter,
    x: Any,
    options: SortOptions,
    outputs: Sequence[Any],
    index_dtype: str | None,
    key: Hashable,
) -> None:
    is_direct, index_dtype = check_outputs(operation, adapter, x, outputs, index_dtype)
    if not is_direct:
        results = call(operation, x, options, index_dtype=index_dtype)
        for result, array in zip(
            [results] if operation.result is None else results, outputs, strict=True
        ):
            adapter.copy(result, array)
        return
    prepare = arrays.outside_torch_compile(_prepare)
    prepared = prepare(operation, adapter, x, outputs, options, index_dtype, False)
    remember(key, prepared)
    prepared.run(x, outputs)
    for array in outputs:
        adapter.mark_modified(array)


def check_outputs(
    operation: Operation,
    adapter: Adapter,
    x: Any,
    outputs: Sequence[Any],
    index_dtype: str | None,
    like: str = "x",
) -> tuple[bool, str | None]:
    """Raise if the caller's arrays cannot hold the outputs.

    Parameters
    ----------
    operation : Operation
        The operation.
    adapter : Adapter
        The adapter of x.
    x : array
        An array of the dtype of keys, whose shape the outputs have.
    outputs : sequence of arrays
        The caller's arrays.
    index_dtype : str or None
        The dtype of indices that the caller passed.
    like : str, default "x"
        The name of x in messages.

    Returns
    -------
    bool
        Whether a kernel that reads x may write to the arrays.
    str or None
        The dtype of indices.
    """
    names = ["out"]
    if operation.result is not None:
        names = [f"out[{number}]" for number in range(len(outputs))]
    checks = [
        adapter.check_out(array, x, output.role == "index", name, like)
        for array, output, name in zip(outputs, operation.outputs, names, strict=True)
    ]
    for name, output, array in zip(names, operation.outputs, outputs, strict=True):
        if output.role == "index":
            out_dtype = adapter.describe(array, name).dtype
            if index_dtype not in (None, out_dtype):
                raise TypeError(
                    f"{name}: expected index_dtype {index_dtype}, got {out_dtype}; pass only one "
                    f"of the two."
                )
            index_dtype = out_dtype
    # The runtime compares spans only.
    are_apart = check_apart(adapter, outputs, names)
    return all(checks) and are_apart, index_dtype


def check_apart(adapter: Adapter, outputs: Sequence[Any], names: Sequence[str]) -> bool:
    """Raise ValueError if outputs share memory; else tell whether their spans are apart, too."""
    are_apart = True
    for first, second in itertools.combinations(zip(outputs, names, strict=True), 2):
        (array, name), (other, other_name) = first, second
        if adapter.spans_overlap(array, other):
            if adapter.share_memory(array, other):
                raise ValueError(
                    f"out: {name} and {other_name} share memory; pass arrays that do not overlap."
                )
            are_apart = False
    return are_apart


def outputs_of(operation: Operation, out: Any) -> Sequence[Any]:
    """Return the caller's arrays, one for each of several outputs."""
    count = len(operation.outputs)
    if isinstance(out, (tuple, list)) and len(out) == count:
        return tuple(out)
    expected = (
        f"a tuple of {count} arrays ({', '.join(output.name for output in operation.outputs)})"
    )
    if not isinstance(out, (tuple, list)):
        raise TypeError(f"out: expected {expected}, got {arrays.type_name(out)}.")
    raise ValueError(f"out: expected {expected}, got {arrays.shown(out)}.")


@forks.held_off()
def _prepare(
    operation: Operation,
    adapter: Adapter,
    x: Any,
    outputs: Sequence[Any],
    options: SortOptions,
    index_dtype: str | None,
    may_relaunch: bool,
    found: Found | None = None,
) -> PreparedCall:
    description = adapter.describe(x, operation.argument)
    if any(output.role == "keys" for output in operation.outputs):
        adapter.check_no_gradient(x, operation.argument)
    strides = [adapter.describe(output, "out").strides for output in outputs]
    call_plan, axis = planned(operation, description, strides, options[0], found=found)
    check_index_dtype(operation, index_dtype, call_plan.length)
    dtype = lookup(description.dtype, operation.argument)
    kind = CallKind(operation, adapter, index_dtype, [x, *outputs], found)
    settled = (axis, *options[1:])
    run = open_run(kind, description.device, call_plan, dtype, settled, may_relaunch)
    return PreparedCall(kind, run)


def remember(key: Hashable, prepared: Any) -> None:
    """Keep a prepared call for later calls with its key."""
    if len(prepared_calls) >= _MAX_PREPARED:
        prepared_calls.clear()
    if not ending.is_ending():
        prepared_calls[key] = prepared


def _forget() -> None:
    prepared_calls.clear()
    arrays.adapters.clear()


if sys.version_info < (3, 14):  # from then on, daemon threads stop without ending
    atexit.register(ending.end, _forget)
