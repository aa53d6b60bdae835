"""`top_k` of arrays of Dask; of an axis in several chunks by a tree of partial results.

Invariant: a partial result holds the first elements of the stable sort of its part of each row.
Parts are joined in the order of the row, so that of equal elements those with the lowest indices in
the whole row are taken first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, NoReturn

import dask.array as da
import numpy as np

from ..operations import top_k as _top_k
from ..operations._arguments import (
    Nan,
    checked_bool,
    checked_choice,
    checked_index_dtype,
    checked_integer,
    named_only,
    sort_options,
    unnamed_error,
)
from ..operations._planning import check_index_dtype, check_k, settled_axis
from ..operations.top_k import TOP_K, TopK
from ._blocks import checked_array, pair_of_rows, parts_of


@named_only
def top_k(
    x: Any,
    k: int,
    /,
    *unnamed: NoReturn,
    axis: int = -1,
    mode: Literal["largest", "smallest"] = "largest",
    sorted: bool = True,
    nan: Nan = "largest",
    index_dtype: Any = None,
    split_every: int | None = None,
    dim: int | None = None,
) -> TopK:
    """Return the k largest or smallest elements along an axis of an array of Dask, and their index.

    An axis of several chunks stays in its chunks: the first k elements of each chunk are found, and
    partial results are merged in a tree. The result is exact, and the same for all chunks.

    Parameters
    ----------
    x : dask.array.Array
        The array, of a dtype as for `warp_bitonic_sort.top_k`. Sizes of chunks may be unknown.
    k, axis, mode, sorted, nan, index_dtype, dim
        As for `warp_bitonic_sort.top_k`. k may be larger than a chunk.
    split_every : int, optional
        How many partial results are merged at once, at least 2. The default is Dask's.

    Returns
    -------
    TopK
        A named tuple ``(values, indices)`` of two lazy arrays. Indices count from the first element
        of the whole row. `dask.compute` of both finds them once.

    Raises
    ------
    TypeError
        Not an array of Dask, an argument of the wrong type, or a dtype that cannot be sorted.
    ValueError
        A k that is negative or larger than a row, an axis out of range, an unknown `mode`, `nan` or
        `index_dtype`, an index_dtype that cannot hold the indices of a row, or a split_every below
        2. For a row of unknown length, a worker raises the errors of k and index_dtype.

    Examples
    --------
    >>> import dask
    >>> import dask.array as da
    >>> import numpy as np
    >>> from warp_bitonic_sort.dask import top_k
    >>> x = da.from_array(np.array([3.0, 1.0, 7.0, 5.0, 7.0, 0.0]), chunks=2)
    >>> values, indices = dask.compute(*top_k(x, 3))
    >>> values, indices
    (array([7., 7., 5.]), array([2, 4, 3]))
    """
    if unnamed:
        raise unnamed_error("top_k", "x, k", unnamed, "sorted")
    descending = checked_choice("mode", mode, ("largest", "smallest")) == "largest"
    checked_bool("sorted", sorted)
    axis, _, nan_last = sort_options(axis, dim, descending, nan=nan)
    k = checked_integer("k", k)
    index_dtype = checked_index_dtype(index_dtype)
    if split_every is not None and checked_integer("split_every", split_every) < 2:
        raise ValueError(f"split_every: expected a number of at least 2, got {split_every}.")
    adapter, _ = checked_array(x, TOP_K)
    index_dtype = adapter.index_dtype(index_dtype)
    axis = settled_axis(axis, x.shape)
    x = x if x.ndim else x.reshape(1)
    length = x.shape[axis]
    if length == length:  # known
        check_k(TOP_K, k, int(length))
        check_index_dtype(TOP_K, index_dtype, int(length))
    elif k < 0:
        raise ValueError(f"k: expected a number of at least 0, got {k}.")
    options = {"axis": axis, "mode": mode, "nan": "last" if nan_last else "largest"}
    if len(x.chunks[axis]) == 1:
        function = partial(_first, k=k, index_dtype=index_dtype, **options)
        return TopK(*pair_of_rows(function, x, index_dtype, "top-k", {axis: k}))
    pairs = da.reduction(
        x,
        chunk=partial(_first_of_chunk, k=k, options=options),
        combine=partial(_combine, k=k, options=options),
        aggregate=partial(_aggregate, k=k, index_dtype=index_dtype, options=options),
        axis=axis,
        keepdims=True,
        concatenate=False,
        output_size=k,
        split_every=split_every,
        dtype=x.dtype,
        meta=x._meta,
        name="top-k",
    )
    return TopK(*parts_of(pairs, x.dtype, index_dtype, "top-k"))


class _Partial(NamedTuple):
    """The first elements of a part of each row.

    Parameters
    ----------
    values : array
        The elements: k, or fewer if the part is shorter.
    indices : array
        Their positions in the part, int64.
    length : int
        The length of the part.
    """

    values: Any
    indices: Any
    length: int


def _first(block: Any, k: int, **options: Any) -> TopK:
    return _top_k.top_k(block, k, **options)


# Dask passes its own axis and keepdims to the three functions of a reduction.


def _first_of_chunk(
    block: Any, k: int, options: dict[str, Any], computing_meta: bool = False, **_: Any
) -> Any:
    if computing_meta:
        return block
    length = block.shape[options["axis"]]
    values, indices = _first(block, min(k, length), index_dtype="int64", **options)
    return _Partial(values, indices, length)


def _combine(parts: Any, k: int, options: dict[str, Any], **_: Any) -> _Partial:
    """Merge partial results of parts that follow each other."""
    if isinstance(parts, _Partial):
        return parts
    return _merged(_flat(parts), k, options)


def _flat(parts: Any) -> list[_Partial]:
    """Return the partial results in nested lists, of which one has several entries."""
    while not isinstance(parts[0], _Partial):
        (parts,) = parts
    return list(parts)


def _merged(parts: Sequence[_Partial], k: int, options: dict[str, Any]) -> _Partial:
    axis, length, indices = options["axis"], 0, []
    for part in parts:
        indices.append(part.indices + length)
        length += part.length
    values = np.concatenate([part.values for part in parts], axis)
    values = values.astype(parts[0].values.dtype, copy=False)  # in their order of bytes
    found = _first(values, min(k, values.shape[axis]), index_dtype="int64", **options)
    # NumPy's functions pass arrays of CuPy to those of CuPy.
    taken = np.take_along_axis(np.concatenate(indices, axis), found.indices, axis)
    return _Partial(found.values, taken, length)


def _aggregate(
    parts: Any, k: int, index_dtype: str, options: dict[str, Any], **_: Any
) -> tuple[Any, Any]:
    merged = _combine(parts, k, options)
    check_k(TOP_K, k, merged.length)
    check_index_dtype(TOP_K, index_dtype, merged.length)
    return merged.values, merged.indices.astype(index_dtype)
