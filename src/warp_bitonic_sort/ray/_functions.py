"""The functions for datasets of Ray Data.

Invariant: arguments are checked here, before a task runs. In the tasks, the functions of the
package do the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import ray.data

from ..operations import order_statistics
from ..operations import sort as sorts
from ..operations import top_k as selections
from ..operations._arguments import (
    Nan,
    checked_bool,
    checked_choice,
    checked_index_dtype,
    checked_integer,
    checked_quantiles,
    sort_options,
)
from ..operations._planning import check_k
from ..quantiles import Method
from ._batches import actor_of, function_of
from ._columns import check_columns, checked_targets

# Options of map_batches that are chosen here.
_CHOSEN = {
    "batch_format": 'it is always "numpy"',
    "fn_args": "the arguments of the function are those of this call",
    "fn_kwargs": "the arguments of the function are those of this call",
    "fn_constructor_args": "the arguments of the function are those of this call",
    "fn_constructor_kwargs": "the arguments of the function are those of this call",
}


def sort(
    ds: ray.data.Dataset,
    column: str | Sequence[str],
    *,
    into: str | Sequence[str] | None = None,
    descending: bool = False,
    nan: Nan = "largest",
    **map_batches_options: Any,
) -> ray.data.Dataset:
    """Sort the arrays of columns, each along its last axis.

    ``ds.sort(column)`` of Ray puts the rows of a dataset in order. This function sorts the elements
    within each row.

    Parameters
    ----------
    ds : Dataset
        The dataset. It is not executed.
    column : str or sequence of str
        The columns to sort: columns of arrays ("tensors") of a shape ``(..., n)``, which is the
        same for all rows of a block, of bool, int8 to int64, uint8 to uint64, float16, float32 or
        float64. Lists of one length are copied into such an array first.
    into : str or sequence of str, optional
        The names of the result columns, one for each column. A column of that name is replaced. By
        default, results take the places of the columns.
    descending : bool, default False
        Whether the largest value comes first.
    nan : {"largest", "last"}, default "largest"
        Where NaNs go, as for `warp_bitonic_sort.sort`.
    **map_batches_options
        Options of ``Dataset.map_batches``, such as ``num_cpus``, ``memory``, ``runtime_env`` or
        ``compute``. With an ``ActorPoolStrategy`` actors do the work, else tasks. The defaults of
        ``batch_size`` and ``zero_copy_batch`` are None and True: blocks are sorted where they are.

    Returns
    -------
    Dataset
        The dataset with the result columns, of the columns' shapes and dtypes. It is computed as
        lazily as any dataset.

    Raises
    ------
    TypeError
        An argument of the wrong type, or a column whose dtype cannot be sorted.
    ValueError
        A column that the dataset lacks, or that does not hold arrays; names that are given twice;
        an unknown `nan`.

    Notes
    -----
    If the schema of the dataset is not known, columns are checked in the tasks, and Ray raises its
    own error, with that of the check in its text. So are options of Ray.

    Examples
    --------
    >>> import numpy as np, ray
    >>> from warp_bitonic_sort import ray as wray
    >>> ds = ray.data.from_numpy(np.array([[3.0, 1.0, 2.0]]))
    >>> wray.sort(ds, "data").take_all()  # doctest: +SKIP
    [{'data': array([1., 2., 3.])}]
    """
    sort_options(descending=descending, nan=nan)
    call = partial(sorts.sort, descending=descending, nan=nan)
    return _mapped(ds, "sort", call, column, into, ("values",), None, map_batches_options)


def top_k(
    ds: ray.data.Dataset,
    column: str | Sequence[str],
    k: int,
    *,
    into: Sequence[str] | Sequence[Sequence[str]] | None = None,
    mode: Literal["largest", "smallest"] = "largest",
    sorted: bool = True,
    nan: Nan = "largest",
    index_dtype: Any = None,
    **map_batches_options: Any,
) -> ray.data.Dataset:
    """Find the k largest or smallest elements of arrays, and the index of each.

    Parameters
    ----------
    ds, column, **map_batches_options
        As for `sort`.
    k : int
        How many elements of each row to return, from 0 to n.
    into : pair of str, or sequence of pairs, optional
        The names of the two result columns, values and indices; for several columns, one pair for
        each. By default, values take the place of the column, and indices go into a column of its
        name with ``_indices`` behind it.
    mode, sorted, nan, index_dtype
        As for `warp_bitonic_sort.top_k`: of equal elements, those with the lowest indices are
        taken.

    Returns
    -------
    Dataset
        The dataset with the result columns: values of shape ``(..., k)`` and of the column's dtype,
        and indices of that shape, int64 by default.

    Raises
    ------
    TypeError, ValueError
        As for `sort`. ValueError also for a k that is negative or larger than n.

    Examples
    --------
    >>> import numpy as np, ray
    >>> from warp_bitonic_sort import ray as wray
    >>> ds = ray.data.from_numpy(np.array([[3.0, 1.0, 2.0]]))
    >>> wray.top_k(ds, "data", 2, into=("values", "indices"))  # doctest: +SKIP
    """
    k = checked_integer("k", k)
    checked_choice("mode", mode, ("largest", "smallest"))
    checked_bool("sorted", sorted)
    sort_options(nan=nan)
    name = checked_index_dtype(index_dtype)
    call = partial(selections.top_k, mode=mode, sorted=sorted, nan=nan, index_dtype=name)
    return _mapped(
        ds,
        "top_k",
        partial(_top_k, k, call),
        column,
        into,
        ("values", "indices"),
        k,
        map_batches_options,
    )


def median(
    ds: ray.data.Dataset,
    column: str | Sequence[str],
    *,
    into: str | Sequence[str] | None = None,
    nan: order_statistics.Nan = "propagate",
    **map_batches_options: Any,
) -> ray.data.Dataset:
    """Find the medians of arrays, each along its last axis.

    Parameters
    ----------
    ds, column, into, **map_batches_options
        As for `sort`.
    nan : {"propagate", "omit"}, default "propagate"
        Whether a row with a NaN has the median NaN, or its NaNs are left out.

    Returns
    -------
    Dataset
        The dataset with the result columns, of shape ``(...)``: numbers for columns of
        one-dimensional arrays. Medians of floats have their dtype, those of integers and bools are
        float64.

    Raises
    ------
    TypeError, ValueError
        As for `sort`.
    """
    checked_choice("nan", nan, order_statistics.MEDIAN.nan_modes)
    call = partial(order_statistics.median, nan=nan)
    return _mapped(ds, "median", call, column, into, ("medians",), None, map_batches_options)


def quantile(
    ds: ray.data.Dataset,
    column: str | Sequence[str],
    q: float | Sequence[float],
    *,
    into: str | Sequence[str] | None = None,
    method: Method = "linear",
    nan: order_statistics.Nan = "propagate",
    **map_batches_options: Any,
) -> ray.data.Dataset:
    """Find quantiles of arrays, each along its last axis.

    Parameters
    ----------
    ds, column, into, nan, **map_batches_options
        As for `median`.
    q : float, or sequence of float
        The quantiles, from 0 to 1.
    method : {"linear", "lower", "higher", "midpoint", "nearest"}, default "linear"
        As for `warp_bitonic_sort.quantile`.

    Returns
    -------
    Dataset
        The dataset with the result columns, of shape ``(...)`` for a number, and ``(..., len(q))``
        for a sequence; of the dtype of `median`.

    Raises
    ------
    TypeError, ValueError
        As for `sort`. Also for a q that is not a number from 0 to 1, or a sequence of them.
    """
    checked_choice("nan", nan, order_statistics.QUANTILE.nan_modes)
    checked_choice("method", method, get_args(Method))
    points, shape = checked_quantiles(q)
    if len(shape) > 1:
        raise ValueError(f"q: expected a number or a flat sequence, got one of shape {shape}.")
    call = partial(_quantile, points if shape else points[0], method, nan)
    return _mapped(ds, "quantile", call, column, into, ("quantiles",), None, map_batches_options)


def _top_k(k: int, call: Callable[..., selections.TopK], rows: Any) -> selections.TopK:
    return call(rows, k)


def _quantile(q: Any, method: Method, nan: order_statistics.Nan, rows: Any) -> Any:
    found = order_statistics.quantile(rows, q, method=method, nan=nan)
    return np.moveaxis(found, 0, -1) if isinstance(q, tuple) else found


def _mapped(
    ds: ray.data.Dataset,
    name: str,
    call: Callable[[Any], Any],
    column: Any,
    into: Any,
    results: Sequence[str],
    k: int | None,
    options: dict[str, Any],
) -> ray.data.Dataset:
    """Return a dataset with the results of columns, whose batches are computed by a call."""
    targets = checked_targets(column, into, results)
    lengths = check_columns(ds, [*targets])
    if k is not None:
        for length in lengths.values():
            check_k(selections.TOP_K, k, length)
    for option, reason in _CHOSEN.items():
        if option in options:
            raise TypeError(f"{option}: this option of map_batches cannot be given; {reason}.")
    compute, concurrency = options.get("compute"), options.get("concurrency")
    uses_actors = isinstance(compute, ray.data.ActorPoolStrategy) or isinstance(concurrency, tuple)
    make = actor_of if uses_actors else function_of
    chosen = {
        "batch_size": None,
        "zero_copy_batch": True,
        "udf_modifying_row_count": False,
        **options,
    }
    return ds.map_batches(make(name, call, targets), batch_format="numpy", **chosen)
