"""Sorts rows in which elements are missing, and reads them.

Invariant: arrays are NumPy's. The value of a missing element never counts. Where no element is
missing, the functions of the package answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..operations import argsort as argsorts
from ..operations import order_statistics
from ..operations import sort as sorts
from ..operations import top_k as selections
from ..operations._arguments import Nan
from ..operations._planning import check_k
from ..quantiles import Method

Array = np.ndarray[Any, Any]


class Rows(NamedTuple):
    """The rows of a column, or a result of each.

    Parameters
    ----------
    values : ndarray
        The elements, of shape ``(rows, length)``; results of shape ``(rows,)`` or ``(rows, k)``.
    present : ndarray of bool, optional
        Which of them are not missing; None if none is.
    """

    values: Array
    present: Array | None = None


def sort(rows: Rows, descending: bool, nulls_last: bool, nan: Nan) -> Rows:
    """Return the sorted rows, missing elements first or last."""
    values, present = rows
    if present is None:
        return Rows(sorts.sort(values, descending=descending, nan=nan))
    # Filled with the lowest value, or with the highest one if NaNs come after the lowest, missing
    # elements are sorted to one end. Elements that equal the filling have its bits.
    highest_first = descending and nan == "last"
    filled = np.where(present, values, _extreme(values.dtype, highest_first))
    ordered = sorts.sort(filled, descending=descending, nan=nan)
    length = values.shape[-1]
    missing = length - np.count_nonzero(present, axis=-1, keepdims=True)
    position = np.arange(length)
    are_first = highest_first or not descending
    if are_first and nulls_last:
        ordered = np.take_along_axis(ordered, (position + missing) % length, -1)
    elif not are_first and not nulls_last:
        ordered = np.take_along_axis(ordered, (position - missing) % length, -1)
    is_present = position < length - missing if nulls_last else position >= missing
    return Rows(ordered, is_present)


def arg_sort(rows: Rows, descending: bool, nulls_last: bool, nan: Nan, index_dtype: str) -> Array:
    """Return the positions of the sorted elements, those of missing ones first or last."""
    values, present = rows
    if _are_ones(rows):
        return np.tile(np.arange(values.shape[-1], dtype=index_dtype), (len(values), 1))
    order: Array = argsorts.argsort(values, descending=descending, nan=nan, index_dtype=index_dtype)
    if present is None:
        return order
    # A stable sort of what is present keeps the order of the elements.
    is_present = np.take_along_axis(present, order, -1)
    by_presence = argsorts.argsort(is_present, descending=nulls_last)
    return np.take_along_axis(order, by_presence, -1)


def top_k(rows: Rows, k: int, largest: bool, nan: Nan, index_dtype: str) -> tuple[Rows, Array]:
    """Return the first k elements and their positions; missing ones if nothing else is left."""
    values, present = rows
    if present is None:
        found, indices = selections.top_k(
            values, k, mode="largest" if largest else "smallest", nan=nan, index_dtype=index_dtype
        )
        return Rows(found), indices
    check_k(selections.TOP_K, k, values.shape[-1])
    order = arg_sort(rows, largest, True, nan, index_dtype)[:, :k]
    found = np.take_along_axis(values, order, -1)
    return Rows(found, np.take_along_axis(present, order, -1)), order


def quantiles(rows: Rows, points: Any, method: Method | None, nan: order_statistics.Nan) -> Rows:
    """Return medians (method None) or quantiles of the elements that are not missing.

    Parameters
    ----------
    rows : Rows
        The rows.
    points : float or tuple of float
        The quantiles. Those of a tuple are the last axis of the result.
    method, nan : str
        As for `warp_bitonic_sort.quantile`.
    """
    if _are_ones(rows):
        dtype = rows.values.dtype if rows.values.dtype.kind == "f" else np.float64
        return Rows(np.ones((len(rows.values), *np.shape(points)), dtype))

    def read(values: Array, nan: order_statistics.Nan) -> Array:
        if method is None:
            found: Array = order_statistics.median(values, nan=nan)
            return found
        found = order_statistics.quantile(values, points, method=method, nan=nan)
        return np.moveaxis(found, 0, -1) if isinstance(points, tuple) else found

    values, present = rows
    if present is None and values.shape[-1]:
        return Rows(read(values, nan))
    if present is None:
        present = np.ones(values.shape, bool)
    is_float = values.dtype.kind == "f"
    floats = values if is_float else values.astype(np.float64)
    found = read(np.where(present, floats, floats.dtype.type(np.nan)), "omit")
    has_several = found.ndim == 2
    if is_float and nan == "propagate":
        has_nan = np.any(np.isnan(values) & present, axis=-1, keepdims=has_several)
        found = np.where(has_nan, found.dtype.type(np.nan), found)
    has_any = np.any(present, axis=-1, keepdims=has_several)
    return Rows(found, np.broadcast_to(has_any, found.shape))


def _are_ones(rows: Rows) -> bool:
    """Tell whether all elements of one or two rows are 1.

    Polars infers the dtype of results from such rows: no kernel is built to plan a query.
    """
    values, present = rows
    return present is None and 0 < values.size <= 2 * values.shape[-1] and bool((values == 1).all())


def _extreme(dtype: np.dtype[Any], highest: bool) -> Any:
    """Return the highest or the lowest value of a dtype that is not NaN."""
    if dtype.kind == "b":
        return highest
    if dtype.kind == "f":
        return dtype.type(np.inf if highest else -np.inf)
    limits = np.iinfo(dtype)
    return dtype.type(limits.max if highest else limits.min)
