"""`sort`, `argsort` and `sort_with_indices` of arrays of Dask.

Invariant: a block has whole rows, and its results are those of the function of the same name for
the block. Therefore results do not depend on the chunks.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

from ..operations import argsort as _argsort
from ..operations import sort as _sort
from ..operations._arguments import (
    Nan,
    checked_index_dtype,
    named_only,
    sort_options,
    unnamed_error,
)
from ..operations._operation import Operation
from ..operations._planning import check_index_dtype, settled_axis
from ..operations.argsort import ARGSORT, SORT_WITH_INDICES, SortedWithIndices
from ..operations.sort import SORT
from ._blocks import Rechunk, checked_array, of_rows, pair_of_rows, with_whole_rows


@named_only
def sort(
    x: Any,
    /,
    *unnamed: NoReturn,
    axis: int = -1,
    descending: bool = False,
    stable: bool = False,
    nan: Nan = "largest",
    rechunk: Rechunk = "auto",
    dim: int | None = None,
) -> Any:
    """Sort an array of Dask along an axis; return values only, without indices.

    Parameters
    ----------
    x : dask.array.Array
        The array, of a dtype as for `warp_bitonic_sort.sort`. Sizes of chunks may be unknown. Its
        blocks are arrays of NumPy or CuPy.
    axis, descending, stable, nan, dim
        As for `warp_bitonic_sort.sort`.
    rechunk : {"auto", "raise"}, default "auto"
        What happens if the axis has several chunks. "auto" makes it one chunk. The chunks of other
        axes stay, or are divided if a block would have more bytes than Dask's
        ``array.chunk-size``. "raise" raises ValueError.

    Returns
    -------
    dask.array.Array
        The sorted values, lazy, of x's shape and dtype.

    Raises
    ------
    TypeError
        Not an array of Dask, an argument of the wrong type, or a dtype that cannot be sorted.
    ValueError
        An axis out of range, an unknown `nan` or `rechunk`, or an axis of several chunks with
        ``rechunk="raise"``.

    Notes
    -----
    The errors above are raised by the call. `BuildError` is raised by the worker whose kernel
    cannot be built.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from warp_bitonic_sort.dask import sort
    >>> x = da.from_array(np.array([[3.0, 1.0, 2.0], [6.0, 5.0, 4.0]]), chunks=(1, 3))
    >>> sort(x, descending=True).compute()
    array([[3., 2., 1.],
           [6., 5., 4.]])
    """
    if unnamed:
        raise unnamed_error("sort", "x", unnamed)
    x, options, _ = _prepared(SORT, x, axis, dim, descending, stable, nan, None, rechunk)
    return of_rows(partial(_sort.sort, **options), x, x.dtype, "sort")


@named_only
def argsort(
    x: Any,
    /,
    *unnamed: NoReturn,
    axis: int = -1,
    descending: bool = False,
    stable: bool = True,
    nan: Nan = "largest",
    index_dtype: Any = None,
    rechunk: Rechunk = "auto",
    dim: int | None = None,
) -> Any:
    """Return the indices that sort an array of Dask along an axis.

    Parameters
    ----------
    x, rechunk
        As for `sort`.
    axis, descending, stable, nan, index_dtype, dim
        As for `warp_bitonic_sort.argsort`.

    Returns
    -------
    dask.array.Array
        The indices, lazy, of x's shape. They count from the first element of the whole row.

    Raises
    ------
    TypeError, ValueError
        As `sort` does. ValueError also for an unknown `index_dtype`, or one that cannot hold the
        indices of a row.
    """
    if unnamed:
        raise unnamed_error("argsort", "x", unnamed)
    x, options, dtype = _prepared(
        ARGSORT, x, axis, dim, descending, stable, nan, index_dtype, rechunk
    )
    return of_rows(partial(_argsort.argsort, **options, index_dtype=dtype), x, dtype, "argsort")


@named_only
def sort_with_indices(
    x: Any,
    /,
    *unnamed: NoReturn,
    axis: int = -1,
    descending: bool = False,
    stable: bool = True,
    nan: Nan = "largest",
    index_dtype: Any = None,
    rechunk: Rechunk = "auto",
    dim: int | None = None,
) -> SortedWithIndices:
    """Sort an array of Dask along an axis; return the values and the index that each had.

    Parameters
    ----------
    x, rechunk
        As for `sort`.
    axis, descending, stable, nan, index_dtype, dim
        As for `warp_bitonic_sort.sort_with_indices`.

    Returns
    -------
    SortedWithIndices
        A named tuple ``(values, indices)`` of two lazy arrays of x's shape. `dask.compute` of both
        sorts each block once.

    Raises
    ------
    TypeError, ValueError
        As `argsort` does.
    """
    if unnamed:
        raise unnamed_error("sort_with_indices", "x", unnamed)
    x, options, dtype = _prepared(
        SORT_WITH_INDICES, x, axis, dim, descending, stable, nan, index_dtype, rechunk
    )
    function = partial(_argsort.sort_with_indices, **options, index_dtype=dtype)
    return SortedWithIndices(*pair_of_rows(function, x, dtype, "sort-with-indices"))


def _prepared(
    operation: Operation,
    x: Any,
    axis: Any,
    dim: Any,
    descending: Any,
    stable: Any,
    nan: Any,
    index_dtype: Any,
    rechunk: Any,
) -> tuple[Any, dict[str, Any], str]:
    """Return an array with whole rows, the checked options by name, and the dtype of indices."""
    axis, descending, nan_last = sort_options(axis, dim, descending, stable, nan)
    index_dtype = checked_index_dtype(index_dtype)
    adapter, _ = checked_array(x, operation)
    axis = settled_axis(axis, x.shape)
    index_dtype = adapter.index_dtype(index_dtype)
    if x.ndim:
        check_index_dtype(operation, index_dtype, x.shape[axis])
    x = with_whole_rows(x, [axis] if x.ndim else [], rechunk)
    nan = "last" if nan_last else "largest"
    return x, {"axis": axis, "descending": descending, "nan": nan}, index_dtype
