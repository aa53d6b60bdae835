"""Checks arrays of Dask, and makes lazy arrays from functions of blocks that have whole rows.

Invariant: nothing is computed. Functions of blocks are functions of modules, which workers import,
and equal calls have equal names in the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from dask.utils import parse_bytes

from .. import arrays
from ..arrays import Adapter
from ..dtypes import DType, lookup
from ..operations._arguments import checked_choice
from ..operations._operation import Operation
from ..operations._planning import check_dtype

Rechunk = Literal["auto", "raise"]


def checked_array(x: Any, operation: Operation) -> tuple[Adapter, DType]:
    """Return the adapter of an array's blocks, and its dtype.

    Raises
    ------
    TypeError
        Not an array of Dask; or its blocks cannot be sorted.
    """
    if not isinstance(x, da.Array):
        advice = "dask.array.from_array(x) makes one"
        if hasattr(x, "to_dask_array"):  # a table
            advice = "x.to_dask_array(lengths=True) makes one"
        elif isinstance(x, np.ndarray):
            advice = f"warp_bitonic_sort.{operation.name} takes a NumPy array"
        raise TypeError(f"x: expected a dask.array.Array, got {arrays.type_name(x)}; {advice}.")
    meta = x._meta
    try:
        adapter = arrays.adapter_of(meta)
    except TypeError as error:
        raise TypeError(f"{error} x is an array of such blocks; see x.map_blocks.") from None
    dtype = lookup(adapter.describe(adapter.as_strided(meta), "x").dtype, "x")
    check_dtype(operation, dtype)
    return adapter, dtype


def with_whole_rows(x: Any, axes: Sequence[int], rechunk: Any) -> Any:
    """Return an array with one chunk along each of some axes.

    Parameters
    ----------
    x : dask.array.Array
        The array.
    axes : sequence of int
        The axes of the rows, not negative.
    rechunk : str
        As for `sort`.

    Raises
    ------
    ValueError
        An axis has several chunks, and rechunk is "raise"; or an unknown rechunk.
    """
    checked_choice("rechunk", rechunk, ("auto", "raise"))
    split = [axis for axis in axes if len(x.chunks[axis]) > 1]
    if not split:
        return x
    if rechunk == "raise":
        counts = ", ".join(f"axis {axis} has {len(x.chunks[axis])}" for axis in split)
        raise ValueError(
            f'rechunk: expected "auto", because rows are sorted in one chunk and {counts}; got '
            f'"raise". If their sizes are known, x.rechunk({{{split[0]}: -1}}) does it.'
        )
    if any(math.isnan(x.shape[axis]) for axis in split):
        return _joined(x, split)
    chunks: dict[int, Any] = dict.fromkeys(axes, -1)
    if not any(map(math.isnan, x.shape)) and _largest_block(x, axes) > _block_bytes():
        chunks = {axis: chunks.get(axis, "auto") for axis in range(x.ndim)}
    return x.rechunk(chunks)


def _largest_block(x: Any, axes: Sequence[int]) -> int:
    """Return the bytes of the largest block, if each of some axes had one chunk."""
    lengths = [
        x.shape[axis] if axis in axes else max(chunks, default=0)
        for axis, chunks in enumerate(x.chunks)
    ]
    return math.prod(lengths) * int(x.dtype.itemsize)


def _block_bytes() -> int:
    return int(parse_bytes(dask.config.get("array.chunk-size")))


def _joined(x: Any, axes: Sequence[int]) -> Any:
    """Return an array whose chunks along some axes, which are of unknown sizes, are joined."""
    inputs = tuple(range(x.ndim))
    # A new index in the place of an axis, whose blocks Dask concatenates then.
    new = {axis: x.ndim + axis for axis in axes}
    return da.blockwise(
        _same,
        tuple(new.get(axis, axis) for axis in inputs),
        x,
        inputs,
        new_axes={index: x.shape[axis] for axis, index in new.items()},
        concatenate=True,
        align_arrays=False,
        dtype=x.dtype,
        meta=x._meta,
        token="join-chunks",  # noqa: S106
    )


def _same(block: Any) -> Any:
    return block


def of_rows(
    function: Callable[[Any], Any],
    x: Any,
    dtype: Any,
    name: str,
    lengths: Mapping[int, int] | None = None,
) -> Any:
    """Return the lazy array of ``function(block)``.

    Parameters
    ----------
    function : callable
        The function of a block.
    x : dask.array.Array
        The array.
    dtype : dtype
        The dtype of the results.
    name : str
        The prefix of names in the graph.
    lengths : mapping of int to int, optional
        The lengths of the results along axes of one chunk, where they are not x's.
    """
    axes = tuple(range(x.ndim))
    return da.blockwise(
        partial(on_array, function),
        axes,
        x,
        axes,
        adjust_chunks=lengths,
        align_arrays=False,
        dtype=dtype,
        meta=meta_from_array(x._meta, ndim=x.ndim, dtype=dtype),
        token=name,
    )


def pair_of_rows(
    function: Callable[[Any], Any],
    x: Any,
    index_dtype: str,
    name: str,
    lengths: Mapping[int, int] | None = None,
) -> tuple[Any, Any]:
    """Return the lazy arrays of the values and of the indices of ``function(block)``.

    Each block is computed once for both. The parameters are as for `of_rows`; the function returns
    a tuple of two arrays, of which the first has x's dtype.
    """
    # An array only for Dask: its blocks are tuples.
    pairs = of_rows(function, x, x.dtype, name, lengths)
    return parts_of(pairs, x.dtype, index_dtype, name)


def parts_of(pairs: Any, dtype: Any, index_dtype: str, name: str) -> tuple[Any, Any]:
    """Return the lazy arrays of values and indices of an array whose blocks are tuples of them."""
    values = of_rows(partial(_part, number=0), pairs, dtype, f"{name}-values")
    indices = of_rows(partial(_part, number=1), pairs, index_dtype, f"{name}-indices")
    return values, indices


def _part(pair: tuple[Any, Any], number: int) -> Any:
    return pair[number]


def reduced(
    function: Callable[[Any], Any],
    x: Any,
    axes: Sequence[int],
    keepdims: bool,
    leading: Sequence[int],
    dtype: Any,
    name: str,
) -> Any:
    """Return the lazy array of ``function(block)``, which reduces some axes of one chunk each.

    Parameters
    ----------
    function : callable
        The function of a block. It keeps the reduced axes with length 1 if keepdims.
    x : dask.array.Array
        The array.
    axes : sequence of int
        The reduced axes, not negative.
    keepdims : bool
        Whether the results keep the reduced axes.
    leading : sequence of int
        The lengths of the axes that come before those of x.
    dtype : dtype
        The dtype of the results.
    name : str
        The prefix of names in the graph.
    """
    inputs = tuple(range(x.ndim))
    new = {x.ndim + number: length for number, length in enumerate(leading)}
    outputs = [*new]
    for axis in inputs:
        if axis not in axes:
            outputs.append(axis)
        elif keepdims:
            index = x.ndim + len(leading) + axis
            new[index] = 1
            outputs.append(index)
    return da.blockwise(
        partial(on_array, function),
        tuple(outputs),
        x,
        inputs,
        new_axes=new,
        concatenate=False,
        align_arrays=False,
        dtype=dtype,
        meta=meta_from_array(x._meta, ndim=len(outputs), dtype=dtype),
        token=name,
    )


def on_array(function: Callable[[Any], Any], block: Any) -> Any:
    """Return ``function(block)``; the block may be in lists of one, or a scalar of NumPy."""
    while isinstance(block, list):
        (block,) = block
    return function(np.asarray(block) if isinstance(block, np.generic) else block)
