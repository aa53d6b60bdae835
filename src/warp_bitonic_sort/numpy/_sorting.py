"""`sort`, `argsort`, `partition`, `argpartition` and `top_k` of NumPy.

Invariant: indices are those of a stable sort. A partition is a sort of the whole row, which
satisfies its contract.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from ..arrays import between_torch_graphs
from ..operations._arguments import checked_choice, checked_integer, sort_options
from ..operations._call import call
from ..operations._planning import check_k, settled_axis
from ..operations.argsort import ARGSORT, SORT_WITH_INDICES
from ..operations.sort import SORT
from ..operations.top_k import TOP_K, TopK
from ..operations.top_k import top_k as select
from ._routes import Array, are_fast_rows, as_array, is_integer, is_large, is_sortable

# Bound here, so that a program may put the functions of this module in their place.
_sort: Callable[..., Any] = np.sort
_argsort: Callable[..., Any] = np.argsort
_partition: Callable[..., Any] = np.partition
_argpartition: Callable[..., Any] = np.argpartition

_HAS_DESCENDING = np.lib.NumpyVersion(np.__version__) >= "2.5.0"
_KINDS = {None: False, "quicksort": False, "heapsort": False, "stable": True, "mergesort": True}


@between_torch_graphs
def sort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Any:
    """Return a sorted copy of an array, as `numpy.sort`.

    Parameters
    ----------
    a : array_like
        The array.
    axis : int or None, default -1
        The axis to sort along; None sorts the flattened array.
    kind, order, stable
        As for `numpy.sort`. Equal elements differ in nothing but the signs of zeros and NaNs: see
        the notes.
    descending : bool, default False
        Whether the largest value comes first, as in NumPy 2.5. NaNs come last in both directions.

    Returns
    -------
    ndarray
        The sorted values, in an array of a's type and shape.

    Raises
    ------
    AxisError, TypeError, ValueError
        As `numpy.sort` does. TypeError also for descending=True and a subclass of ndarray, if NumPy
        is older than 2.5.
    BuildError
        A kernel could not be built.

    Notes
    -----
    The order of -0.0 and 0.0 is not defined by NumPy, unless the sort is stable: its vectorized
    sorts may even return another number of each. Large arrays have -0.0 first here, and each NaN
    keeps its bits.

    Examples
    --------
    >>> import numpy as np
    >>> import warp_bitonic_sort.numpy as wnp
    >>> wnp.sort(np.array([[3.0, np.nan, 2.0]]), descending=True)
    array([[ 3.,  2., nan]])
    """
    if (
        type(axis) is int
        and kind is None
        and order is None
        and stable is None
        and descending is False
        and is_sortable(a)
    ):  # nearly every call
        if is_large(a) and -a.ndim <= axis < a.ndim and are_fast_rows(a, a.shape[axis], False):
            return call(SORT, a, (axis, False, False))
        return _sort(a, axis)
    a = as_array(a)
    rows = _rows_of(a, axis, kind, order, stable, False, descending)
    if rows is not None:
        a, axis = rows
        if a.dtype.kind not in "biu" and (stable or _KINDS[kind]):
            return call(SORT_WITH_INDICES, a, (axis, bool(descending), True)).values
        return call(SORT, a, (axis, bool(descending), True))
    options = _options(kind, order, stable)
    if not descending:
        return _sort(a, axis=axis, **options)
    if _HAS_DESCENDING:
        return _sort(a, axis=axis, descending=True, **options)
    a, axis = _flat(a, axis)
    return np.take_along_axis(a, _descending(a, axis, options), axis)


@between_torch_graphs
def argsort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Any:
    """Return the indices that would sort an array, as `numpy.argsort`.

    Parameters
    ----------
    a, axis, kind, order, stable, descending
        As for `sort`.

    Returns
    -------
    ndarray
        The indices, int64. Those of equal elements are in order for a stable sort; NumPy does not
        define their order for another one.

    Raises
    ------
    AxisError, TypeError, ValueError, BuildError
        As `sort` does.

    Examples
    --------
    >>> import numpy as np
    >>> import warp_bitonic_sort.numpy as wnp
    >>> wnp.argsort(np.array([[3.0, 1.0, 3.0]]), stable=True, descending=True)
    array([[0, 2, 1]])
    """
    a = as_array(a)
    rows = _rows_of(a, axis, kind, order, stable, True, descending)
    if rows is not None:
        return call(ARGSORT, rows[0], (rows[1], bool(descending), True))
    options = _options(kind, order, stable)
    if not descending:
        return _argsort(a, axis=axis, **options)
    if _HAS_DESCENDING:
        return _argsort(a, axis=axis, descending=True, **options)
    return _descending(*_flat(a, axis), options)


@between_torch_graphs
def partition(
    a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None
) -> Any:
    """Return a partitioned copy of an array, as `numpy.partition`.

    Parameters
    ----------
    a, kth, axis, kind, order
        As for `numpy.partition`. Where the kernels take the array, its rows are sorted as a whole,
        and kth is only checked.

    Returns
    -------
    ndarray
        An array of a's type and shape.

    Raises
    ------
    AxisError, TypeError, ValueError
        As `numpy.partition` does.
    BuildError
        A kernel could not be built.
    """
    a = as_array(a)
    rows = _rows_of(a, axis, None, order, None, False)
    if rows is not None and kind == "introselect" and _are_within(kth, *rows):
        return call(SORT, rows[0], (rows[1], False, False))
    return _partition(a, kth, axis=axis, kind=kind, order=order)


@between_torch_graphs
def argpartition(
    a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None
) -> Any:
    """Return the indices that would partition an array, as `numpy.argpartition`.

    Parameters
    ----------
    a, kth, axis, kind, order
        As for `partition`.

    Returns
    -------
    ndarray
        The indices, int64.

    Raises
    ------
    AxisError, TypeError, ValueError, BuildError
        As `partition` does.
    """
    a = as_array(a)
    rows = _rows_of(a, axis, None, order, None, True)
    if rows is not None and kind == "introselect" and _are_within(kth, *rows):
        return call(ARGSORT, rows[0], (rows[1], False, False))
    return _argpartition(a, kth, axis=axis, kind=kind, order=order)


@between_torch_graphs
def top_k(
    a: Any,
    k: int,
    /,
    *,
    axis: int = -1,
    mode: Literal["largest", "smallest"] = "largest",
    sorted: bool = True,
) -> TopK:
    """Return the k largest or smallest elements along an axis, and their indices.

    The signature is that of the Array API and of NumPy's development version.

    Parameters
    ----------
    a : array_like
        The array. A masked array raises, because the result would lose the mask.
    k : int
        How many elements of each row to return, from 0 to the length of a row.
    axis : int, default -1
        The axis of the rows.
    mode : {"largest", "smallest"}, default "largest"
        Which elements are returned, and which come first. NaNs are taken last in both modes.
    sorted : bool, default True
        Whether the elements are returned in order.

    Returns
    -------
    TopK
        A named tuple ``(values, indices)``. Of equal elements, those with the lowest indices are
        taken, and the lowest index comes first.

    Raises
    ------
    TypeError, ValueError, BuildError
        As `warp_bitonic_sort.top_k` does.

    Examples
    --------
    >>> import numpy as np
    >>> import warp_bitonic_sort.numpy as wnp
    >>> wnp.top_k(np.array([1.0, np.nan, 3.0]), 2).values
    array([3., 1.])
    """
    if not isinstance(a, np.ndarray):
        a = np.asarray(a)
    if type(a) is not np.ndarray or is_sortable(a):
        return select(a, k, axis=axis, mode=mode, sorted=sorted, nan="last")
    a = np.atleast_1d(a)
    axis = settled_axis(sort_options(axis)[0], a.shape)
    k = checked_integer("k", k)
    check_k(TOP_K, k, a.shape[axis])
    is_largest = checked_choice("mode", mode, ("largest", "smallest")) == "largest"
    indices = argsort(a, axis, kind="stable", descending=is_largest)
    indices = np.take(indices, range(k), axis)
    return TopK(np.take_along_axis(a, indices, axis), indices)


def _rows_of(
    a: Any,
    axis: Any,
    kind: Any,
    order: Any,
    stable: Any,
    needs_several: bool,
    descending: Any = False,
) -> tuple[Array, int] | None:
    """Return an array and an axis for `call`; None if NumPy's function has to answer."""
    if order is not None or not is_sortable(a):
        return None
    if type(kind) not in (str, type(None)) or kind not in _KINDS:
        return None
    if stable is not None and (kind is not None or type(stable) is not bool):
        return None
    if axis is None:
        a, axis = a.reshape(-1), 0
    if not is_integer(axis) or not -a.ndim <= axis < a.ndim:
        return None
    axis = operator.index(axis)
    # Before 2.5, NumPy has no descending sort.
    if descending or (is_large(a) and are_fast_rows(a, a.shape[axis], needs_several)):
        return a, axis
    return None


def _are_within(kth: Any, a: Array, axis: int) -> bool:
    """Tell whether kth is a valid position, or several."""
    length = a.shape[axis]
    positions: Sequence[Any] = kth if type(kth) in (list, tuple) else (kth,)
    return len(positions) > 0 and all(
        is_integer(each) and -length <= each < length for each in positions
    )


def _options(kind: Any, order: Any, stable: Any) -> dict[str, Any]:
    """Return the options for NumPy's function, without one that NumPy before 2.0 lacks."""
    options = {"kind": kind, "order": order}
    return options if stable is None else {**options, "stable": stable}


def _flat(a: Any, axis: Any) -> tuple[Array, Any]:
    """Return an array and its axis for `_descending`."""
    if not isinstance(a, np.ndarray):
        a = np.asarray(a)
    if type(a) is not np.ndarray:
        raise TypeError(
            f"descending: expected a numpy.ndarray, got {type(a).__name__}, which NumPy sorts in "
            f"descending order from version 2.5 on."
        )
    return (a.reshape(-1), 0) if axis is None else (a, axis)


def _descending(a: Array, axis: Any, options: dict[str, Any]) -> Array:
    """Return the indices of a stable descending sort with NaNs last."""
    _argsort(a.reshape(-1)[:0], **options)  # raises NumPy's errors for its options
    order = options["order"]
    backwards = _argsort(np.flip(a, axis), axis=axis, kind="stable", order=order)
    indices: Array = a.shape[axis] - 1 - np.flip(backwards, axis)
    if a.dtype.kind in "fcmM":
        is_nan = np.isnan(np.take_along_axis(a, indices, axis))
        indices = np.take_along_axis(indices, _argsort(is_nan, axis=axis, kind="stable"), axis)
    return indices
