"""`sort`, `argsort` and `top_k` with the signatures of the Python array API standard.

Invariant: arrays of any library that speaks DLPack are taken. Where the standard leaves a choice,
the results are those of the package's own functions.
"""

from __future__ import annotations

from typing import Any, Literal

from . import arrays
from .dtypes import lookup
from .operations._arguments import sort_options
from .operations._call import call
from .operations.argsort import ARGSORT, SORT_WITH_INDICES
from .operations.sort import SORT
from .operations.top_k import TopK
from .operations.top_k import top_k as _select

__all__ = ["argsort", "sort", "top_k"]


@arrays.between_torch_graphs
def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Return a sorted copy of an array.

    Parameters
    ----------
    x : array
        An array as for `warp_bitonic_sort.sort`.
    axis : int, default -1
        The axis to sort along.
    descending : bool, default False
        Whether the largest value comes first. NaN is the largest value.
    stable : bool, default True
        Whether -0.0 and 0.0, which are equal, keep their order. Otherwise -0.0 comes first, which
        takes less time. Other elements that are equal have equal bits, except NaNs.

    Returns
    -------
    array
        An array of x's kind, shape and dtype.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `warp_bitonic_sort.sort` does.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort.array_api import sort
    >>> sort(np.array([0.0, -0.0]))
    array([ 0., -0.])
    """
    options = sort_options(axis, None, descending, stable)
    dtype = arrays.adapter_of(x).describe(x, "x").dtype
    if stable and lookup(dtype, "x").codec != "integer":
        return call(SORT_WITH_INDICES, x, options).values
    return call(SORT, x, options)


@arrays.between_torch_graphs
def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Return the indices that sort an array.

    Parameters
    ----------
    x, axis, descending
        As for `sort`.
    stable : bool, default True
        Whether equal elements keep their order. They always do.

    Returns
    -------
    array
        The indices, an array of x's kind and shape, and of its library's dtype of indices.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `warp_bitonic_sort.argsort` does.
    """
    return call(ARGSORT, x, sort_options(axis, None, descending, stable))


@arrays.between_torch_graphs
def top_k(
    x: Any, k: int, /, *, axis: int = -1, mode: Literal["largest", "smallest"] = "largest"
) -> TopK:
    """Return the k largest or smallest elements along an axis, and their indices.

    This is in the draft of the standard.

    Parameters
    ----------
    x : array
        As for `sort`.
    k : int
        How many elements of each row to return, from 0 to the length of a row.
    axis : int, default -1
        The axis of the rows.
    mode : {"largest", "smallest"}, default "largest"
        Which elements are returned, and which come first. NaN is the largest value.

    Returns
    -------
    TopK
        A named tuple ``(values, indices)`` of arrays of x's kind.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `warp_bitonic_sort.top_k` does.
    """
    return _select(x, k, axis=axis, mode=mode)
