"""Sorts keys and one array of values on a device in one kernel, if there is one that carries both.

Invariant: a kernel writes to the caller's arrays only if each is its own input, or shares no memory
with an input. What a call needs is remembered among the prepared calls of `_call`: also that there
is no such kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from .. import arrays
from ..arrays import Adapter, SortOptions
from ..dtypes import lookup
from ..kernels import VALUE_BITS
from ..process import forks
from . import _call
from ._operation import Operation
from ._planning import planned
from ._prepared import CallKind, Run, open_run


class _PreparedPairs:
    """A planned call for keys and values.

    Parameters
    ----------
    run : Run or None
        Runs the kernel, which is open; None if no kernel carries the values along.
    """

    __slots__ = ("run",)

    def __init__(self, run: Run | None = None) -> None:
        self.run = run


def call(
    operation: Operation,
    inputs: Sequence[Any],
    options: SortOptions,
    outputs: Sequence[Any],
    check: Callable[[], object],
) -> Sequence[Any] | None:
    """Return the sorted keys and their values; None if no kernel carries the values along.

    Parameters
    ----------
    operation : Operation
        The operation.
    inputs : sequence of arrays
        The keys and the values.
    options : SortOptions
        The checked options.
    outputs : sequence of arrays
        Where the results go; nothing if they are new arrays.
    check : callable
        Raises if the arrays are wrong. It is called unless equal arrays were checked before.
    """
    keys, values = inputs
    adapter = arrays.adapter_of(keys, "keys")
    if adapter.relaunch_pairs is not None and not outputs:
        results = adapter.relaunch_pairs(keys, values, options)
        if results is not None:
            return results
    if adapter.stream(keys) is None:  # in CPU memory
        return None
    key = _key(operation, adapter, inputs, options, outputs)
    prepared: _PreparedPairs | None = _call.prepared_calls.get(key)
    if prepared is None:
        check()
    if outputs and not _can_write(adapter, inputs, outputs):
        return None
    if prepared is None:
        prepared = _prepare(operation, adapter, inputs, options, outputs)
        _call.remember(key, prepared)
    if prepared.run is None:
        return None
    if outputs:
        prepared.run(keys, [values, *outputs])
        for array in outputs:
            adapter.mark_modified(array)
        return outputs
    buffers = [adapter.empty(array, None) for array in inputs]
    prepared.run(keys, [values, *buffers])
    to_results = map(adapter.to_result, inputs)
    return [
        buffer if to_result is None else to_result(buffer, array, None)
        for to_result, buffer, array in zip(to_results, buffers, inputs, strict=True)
    ]


def _key(
    operation: Operation,
    adapter: Adapter,
    inputs: Sequence[Any],
    options: SortOptions,
    outputs: Sequence[Any],
) -> Hashable:
    keys, values = inputs
    value_adapter = arrays.adapter_of(values, "values")
    return (
        operation.name,
        adapter.kind,
        adapter.key(keys, "keys"),
        value_adapter.kind,
        value_adapter.key(values, "values"),
        options,
        *map(adapter.out_key, outputs),
    )


def _can_write(adapter: Adapter, inputs: Sequence[Any], outputs: Sequence[Any]) -> bool:
    """Tell whether a kernel may write to the caller's arrays, whose layouts are checked."""
    if not all(map(adapter.can_write, outputs, inputs, itertools.repeat(False))):
        return False
    (keys, values), (out_keys, out_values) = inputs, outputs
    others = ((out_keys, values), (out_values, keys), (out_keys, out_values))
    return not any(itertools.starmap(adapter.spans_overlap, others))


@forks.held_off()
def _prepare(
    operation: Operation,
    adapter: Adapter,
    inputs: Sequence[Any],
    options: SortOptions,
    outputs: Sequence[Any],
) -> _PreparedPairs:
    all_arrays = [*inputs, *outputs]
    if any(adapter.as_strided(array) is not array for array in all_arrays):
        return _PreparedPairs()
    keys, values, *given = (adapter.describe(array, "keys") for array in all_arrays)
    value_bits = lookup(values.dtype, "values").bits
    if value_bits not in VALUE_BITS.values():
        return _PreparedPairs()
    strides = [description.strides for description in given]
    if not outputs:
        strides = [adapter.result_strides(array) for array in inputs]
    plan, axis = planned(operation, keys, [values.strides, *strides], options[0], value_bits)
    if plan.kernel is None or plan.kernel.payload not in VALUE_BITS:
        return _PreparedPairs()
    kind = CallKind(operation, adapter, None, all_arrays)
    # The launch cache launches with NaN as the largest value.
    may_relaunch = not outputs and not options[2]
    settled = (axis, *options[1:])
    dtype = lookup(keys.dtype, "keys")
    return _PreparedPairs(open_run(kind, keys.device, plan, dtype, settled, may_relaunch))
