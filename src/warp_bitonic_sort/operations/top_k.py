"""`top_k` and `kthvalue`: the first elements of each sorted row, or one of them, with indices.

Invariant: both return elements of the stable sort with indices, so that every back end returns the
same. Everything is checked and computed before the first element of out is written. Therefore out
may be x, or overlap it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, NoReturn

from .. import arrays
from ..arrays import Cut, SortOptions
from ._arguments import (
    Nan,
    checked_bool,
    checked_choice,
    checked_index_dtype,
    checked_integer,
    named_only,
    sort_options,
    unnamed_error,
)
from ._call import call, check_outputs, outputs_of, prepared_calls, remember
from ._operation import INDICES, VALUES, Operation
from ._planning import check_k, settled_axis


class TopK(NamedTuple):
    """The result of `top_k`.

    Parameters
    ----------
    values : array
        The chosen elements.
    indices : array
        The position that each element has in its row.
    """

    values: Any
    indices: Any


class KthValue(NamedTuple):
    """The result of `kthvalue`.

    Parameters
    ----------
    values : array
        The chosen element of each row.
    indices : array
        The position that the element has in its row.
    """

    values: Any
    indices: Any


# Selection, payload and outputs are those of a sort of whole rows, whose results are cut. A kernel
# for the first elements needs no cut.
TOP_K = Operation(
    "top_k",
    "all",
    "index",
    (VALUES, INDICES),
    TopK,
    afterwards="copies the first {k} of each row",
    finds_first=True,
    lowest_k=0,
)
KTHVALUE = Operation(
    "kthvalue",
    "all",
    "index",
    (VALUES, INDICES),
    KthValue,
    afterwards="copies element {k} of each row, counted from 1",
    finds_first=True,
    lowest_k=1,
)


@arrays.between_torch_graphs
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
    out: tuple[Any, Any] | None = None,
    dim: int | None = None,
) -> TopK:
    """Return the k largest or smallest elements along an axis, and the index of each in its row.

    The result is exact, and the same on every back end. Of equal elements, those with the lowest
    indices are taken, and the lowest index comes first. -0.0 equals 0.0, and all NaNs are equal.

    Parameters
    ----------
    x : array
        An array as for `sort`: any library, device, shape, strides and dtype that `sort` accepts.
        It is written only if out overlaps it. A tensor that requires a gradient raises: the values
        would need one.
    k : int
        How many elements of each row to return, from 0 to the length of a row.
    axis : int, default -1
        The axis of the rows. A 0-d array counts as one row of one element.
    mode : {"largest", "smallest"}, default "largest"
        Which elements are returned, and which come first: the largest, or the smallest.
    sorted : bool, default True
        Whether the elements are returned in order. If False, they are the same elements in some
        order, which may differ between versions, but not between calls.
    nan : {"largest", "last"}, default "largest"
        What NaNs count as: the largest value, or one that is taken last. Then a NaN is returned
        only if nothing else is left, whatever the mode.
    index_dtype : {"int32", "int64"} or dtype, optional
        The dtype of the indices, as for `argsort`.
    out : tuple of two arrays, optional
        Where the values and the indices go: arrays of x's kind and of the result's shape, of x's
        dtype and of int32 or int64, that can be written. They may overlap x, which is then
        overwritten, but not each other.
    dim : int, optional
        Another name for axis.

    Returns
    -------
    TopK
        A named tuple ``(values, indices)``, two contiguous arrays of x's kind. Their shape is x's,
        with k in place of the length of a row; for a 0-d array it is ``(k,)``. They are ``out``'s
        where that was given. The values are those of ``numpy.take_along_axis(x, indices, axis)``,
        bit for bit.

    Raises
    ------
    TypeError
        An argument of the wrong type, or a dtype that cannot be sorted.
    ValueError
        A k that is negative or larger than a row, an axis out of range, an unknown `mode`, `nan` or
        `index_dtype`, an out of another shape, or an index_dtype that cannot hold the indices of a
        row.
    NotImplementedError
        An array on a device that is from another library than PyTorch, CuPy and JAX.
    BuildError
        The kernel could not be built; the message ends with the first error and a hint.

    Notes
    -----
    On a CPU, up to 15 elements are found without sorting the rows: blocks of 16 are sorted by a
    network, and merged with the first elements of those before [1]_. Of a row of 4096 and more, the
    best of interleaved groups bound the wanted elements; the few within the bound are sorted [2]_.
    On a GPU, rows of up to 256 elements (of 64 bits: 128) are sorted in registers by networks that
    drop early what is not among the first k [1]_, for k up to 32 (16). Of longer rows, the few
    elements within such a bound are sorted [2]_, for k up to 256: rows of ties take 2 to 5 times as
    long, and sorted ones up to twice as long. Where k is a large part of a row, whole rows are
    sorted, as for JAX along another axis than the last.

    .. [1] K. E. Batcher, "Sorting networks and their applications", AFIPS 1968.
    .. [2] A. Gaihre et al., "Dr. Top-k: delegate-centric top-k on GPUs", SC 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import top_k
    >>> values, indices = top_k(np.array([[3.0, 1.0, 3.0, 2.0]]), 2)
    >>> values, indices
    (array([[3., 3.]]), array([[0, 2]]))
    """
    if unnamed:
        raise unnamed_error("top_k", "x, k", unnamed, "sorted")
    descending = checked_choice("mode", mode, ("largest", "smallest")) == "largest"
    checked_bool("sorted", sorted)
    options = sort_options(axis, dim, descending, nan=nan)
    select = arrays.outside_torch_compile(first_of_rows)
    result: TopK = select(
        x, checked_integer("k", k), options, out, checked_index_dtype(index_dtype)
    )
    return result


@arrays.between_torch_graphs
@named_only
def kthvalue(
    x: Any,
    k: int,
    /,
    *unnamed: NoReturn,
    axis: int = -1,
    keepdims: bool = False,
    nan: Nan = "largest",
    index_dtype: Any = None,
    out: tuple[Any, Any] | None = None,
    dim: int | None = None,
) -> KthValue:
    """Return the k-th smallest element of each row along an axis, and its index in the row.

    Elements are counted from 1, as by `torch.kthvalue`. Of equal elements, the one with the lowest
    index counts first. -0.0 equals 0.0. NaNs are equal, and larger than any number.

    Parameters
    ----------
    x : array
        As for `top_k`.
    k : int
        Which element to return: 1 for the smallest, the length of a row for the largest.
    axis : int, default -1
        The axis of the rows, which the results lack. A 0-d array counts as one row of one element.
    keepdims : bool, default False
        Whether the results keep the axis, with length 1.
    nan : {"largest", "last"}, default "largest"
        Accepted for uniformity. The result is the same for both: in ascending order NaN comes last.
    index_dtype : {"int32", "int64"} or dtype, optional
        The dtype of the indices, as for `argsort`.
    out : tuple of two arrays, optional
        Where the values and the indices go, as for `top_k`.
    dim : int, optional
        Another name for axis.

    Returns
    -------
    KthValue
        A named tuple ``(values, indices)``, two contiguous arrays of x's kind, ``out``'s where that
        was given.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `top_k` does. ValueError also for a k of 0, and for rows without elements.

    Notes
    -----
    The first k elements are found as by `top_k`, and the library of x copies the last of them.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import kthvalue
    >>> values, indices = kthvalue(np.array([[30.0, 10.0, 20.0], [5.0, 5.0, 6.0]]), 2)
    >>> values, indices
    (array([20.,  5.]), array([2, 1]))
    """
    if unnamed:
        raise unnamed_error("kthvalue", "x, k", unnamed, "keepdims")
    keepdims = checked_bool("keepdims", keepdims)
    options = sort_options(axis, dim, nan=nan)
    select = arrays.outside_torch_compile(_kthvalue)
    result: KthValue = select(
        x, checked_integer("k", k), options, keepdims, out, checked_index_dtype(index_dtype)
    )
    return result


def first_of_rows(
    x: Any, k: int, options: SortOptions, out: Any = None, index_dtype: str | None = None
) -> TopK:
    """Return the result of `top_k` for checked arguments."""
    if out is None:
        results: TopK = call(TOP_K, x, options, index_dtype=index_dtype, part=k)
        shape = _shape_of(results.values)
        if shape and shape[options[0]] == k:
            return results
        return TopK(*_cut(results, _cut_of(TOP_K, x, k, options[0], True)))
    cut = _cut_of(TOP_K, x, k, options[0], True)
    return TopK(*_select_into(TOP_K, x, k, options, cut, out, index_dtype))


def _kthvalue(
    x: Any, k: int, options: SortOptions, keepdims: bool, out: Any, index_dtype: str | None
) -> KthValue:
    cut = _cut_of(KTHVALUE, x, k, options[0], keepdims)
    if out is None:
        results = call(KTHVALUE, x, options, index_dtype=index_dtype, part=k)
        return KthValue(*_cut(results, cut))
    return KthValue(*_select_into(KTHVALUE, x, k, options, cut, out, index_dtype))


def _shape_of(x: Any) -> Sequence[int]:
    if hasattr(x, "shape"):
        return x.shape  # type: ignore[no-any-return]
    return arrays.adapter_of(x).describe(x, "x").shape


def _cut_of(operation: Operation, x: Any, k: int, axis: int, keeps_axis: bool) -> Cut:
    """Return the positions of the sorted rows that k stands for; remember them for equal calls."""
    adapter = arrays.adapter_of(x)
    key = ("cut", operation.name, adapter.kind, adapter.key(x), k, axis, keeps_axis)
    cut: Cut | None = prepared_calls.get(key)
    if cut is None:
        description = adapter.describe(x, "x")
        shape = description.shape or (1,)
        axis = settled_axis(axis, description.shape)
        check_k(operation, k, shape[axis])
        start, kept = 0, [k]
        if operation is KTHVALUE:
            start, kept = k - 1, [1] if keeps_axis and description.shape else []
        cut = Cut(axis, start, k, (*shape[:axis], *kept, *shape[axis + 1 :]))
        remember(key, cut)
    return cut


def _cut(results: Sequence[Any], cut: Cut) -> list[Any]:
    return [arrays.adapter_of(array).cut(array, cut) for array in results]


def _select_into(
    operation: Operation,
    x: Any,
    k: int,
    options: SortOptions,
    cut: Cut,
    out: Any,
    index_dtype: str | None,
) -> Sequence[Any]:
    """Write a range of positions of the sorted rows to the caller's arrays, and return these."""
    adapter = arrays.adapter_of(x)
    outputs = outputs_of(operation, out)
    _, index_dtype = check_outputs(
        operation, adapter, adapter.cut(x, cut), outputs, index_dtype, "the result"
    )
    results = call(operation, x, options, index_dtype=index_dtype, part=k)
    if tuple(_shape_of(results[0])) != cut.shape:
        results = _cut(results, cut)
    for array, result in zip(outputs, results, strict=True):
        adapter.copy(result, array)
    return outputs
