"""`median` and `quantile` of arrays of Dask.

Invariant: a block has whole rows, and its results are those of the function of the same name for
the block. Therefore results do not depend on the chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn, get_args

from ..operations import order_statistics
from ..operations._arguments import (
    checked_axes,
    checked_bool,
    checked_choice,
    checked_quantiles,
    named_only,
    unnamed_error,
)
from ..operations._operation import Operation
from ..operations.order_statistics import MEDIAN, QUANTILE, Axes, Nan, settled_axes
from ..quantiles import Method
from ._blocks import Rechunk, checked_array, reduced, with_whole_rows


@named_only
def median(
    x: Any,
    /,
    *unnamed: NoReturn,
    axis: Axes = -1,
    keepdims: bool = False,
    nan: Nan = "propagate",
    rechunk: Rechunk = "auto",
    dim: Axes = None,
) -> Any:
    """Return the median of an array of Dask along an axis, or several axes.

    Parameters
    ----------
    x : dask.array.Array
        The array, of a dtype as for `warp_bitonic_sort.median`. Sizes of chunks may be unknown.
    axis, keepdims, nan, dim
        As for `warp_bitonic_sort.median`. None reduces all axes, in one block.
    rechunk : {"auto", "raise"}, default "auto"
        As for `warp_bitonic_sort.dask.sort`; it concerns all reduced axes.

    Returns
    -------
    dask.array.Array
        The medians, lazy, of the dtype of `warp_bitonic_sort.median`.

    Raises
    ------
    TypeError
        Not an array of Dask, an argument of the wrong type, or a dtype that has no median.
    ValueError
        An axis out of range, an unknown `nan` or `rechunk`, or an axis of several chunks with
        ``rechunk="raise"``.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from warp_bitonic_sort.dask import median
    >>> x = da.from_array(np.array([[3.0, 1.0, 2.0], [6.0, 5.0, 4.0]]), chunks=(1, 3))
    >>> median(x).compute()
    array([2., 5.])
    """
    if unnamed:
        raise unnamed_error("median", "x", unnamed, "keepdims")
    x, options, dtype = _prepared(MEDIAN, x, axis, dim, keepdims, nan, rechunk)
    function = partial(order_statistics.median, **options)
    return reduced(function, x, options["axis"], options["keepdims"], (), dtype, "median")


@named_only
def quantile(
    x: Any,
    q: Any,
    /,
    *unnamed: NoReturn,
    axis: Axes = -1,
    method: Method = "linear",
    keepdims: bool = False,
    nan: Nan = "propagate",
    rechunk: Rechunk = "auto",
    dim: Axes = None,
) -> Any:
    """Return quantiles of an array of Dask along an axis, or several axes.

    Parameters
    ----------
    x, rechunk
        As for `median`.
    q, axis, method, keepdims, nan, dim
        As for `warp_bitonic_sort.quantile`.

    Returns
    -------
    dask.array.Array
        The quantiles, lazy. The shape of q comes before that of the reduced array.

    Raises
    ------
    TypeError, ValueError
        As `median` does. Also for a q that is not a number from 0 to 1, or an unknown method.
    """
    if unnamed:
        raise unnamed_error("quantile", "x, q", unnamed, "keepdims")
    points, leading = checked_quantiles(q)
    checked_choice("method", method, get_args(Method))
    x, options, dtype = _prepared(QUANTILE, x, axis, dim, keepdims, nan, rechunk)
    # The caller may change a list later.
    function = partial(_quantiles, points=points, leading=leading, method=method, **options)
    return reduced(function, x, options["axis"], options["keepdims"], leading, dtype, "quantile")


def _quantiles(block: Any, points: Sequence[float], leading: Sequence[int], **options: Any) -> Any:
    found = order_statistics.quantile(block, points, **options)
    return found.reshape((*leading, *found.shape[1:]))


def _prepared(
    operation: Operation, x: Any, axis: Any, dim: Any, keepdims: Any, nan: Any, rechunk: Any
) -> tuple[Any, dict[str, Any], Any]:
    """Return an array with whole rows, the checked options by name, and the dtype of results."""
    axes = checked_axes(axis, dim)
    keepdims = checked_bool("keepdims", keepdims)
    checked_choice("nan", nan, operation.nan_modes)
    adapter, dtype = checked_array(x, operation)
    settled = settled_axes(axes, x.shape)
    x = with_whole_rows(x, settled, rechunk)
    options = {"axis": settled, "keepdims": keepdims, "nan": nan}
    is_integer = dtype.codec == "integer"
    return x, options, adapter.float_dtype() if is_integer else x.dtype.newbyteorder("=")
