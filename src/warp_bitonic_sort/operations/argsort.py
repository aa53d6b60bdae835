"""`argsort`, `sort_with_indices` and `ranks`: the order of each row, as indices.

Invariant: equal keys keep their order in both directions, -0.0 equals 0.0, and NaNs equal each
other. Therefore every back end returns the same indices.
"""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from .. import arrays
from ._arguments import Nan, checked_index_dtype, named_only, sort_options, unnamed_error
from ._call import call
from ._operation import INDICES, VALUES, Operation, Output


class SortedWithIndices(NamedTuple):
    """The result of `sort_with_indices`.

    Parameters
    ----------
    values : array
        The sorted values.
    indices : array
        The position that each value had in its row.
    """

    values: Any
    indices: Any


ARGSORT = Operation("argsort", "all", "index", (INDICES,))
SORT_WITH_INDICES = Operation(
    "sort_with_indices", "all", "index", (VALUES, INDICES), SortedWithIndices
)
RANKS = Operation(
    "ranks", "all", "index", (Output("ranks", "index"),), afterwards="inverts the indices"
)


@arrays.between_torch_graphs
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
    out: Any = None,
    dim: int | None = None,
) -> Any:
    """Return the indices that sort an array along an axis.

    Equal elements keep their order, whether ascending or descending: the lowest index comes first.
    -0.0 equals 0.0, and all NaNs are equal.

    Parameters
    ----------
    x : array
        An array as for `sort`: any library, device, shape, strides and dtype that `sort` accepts.
        It is written only if out overlaps it. A tensor that requires a gradient is accepted,
        because indices have none.
    axis : int, default -1
        The axis to sort along. A 0-d array counts as one row of one element.
    descending : bool, default False
        Whether the largest value comes first.
    stable : bool, default True
        Accepted for code that was written for other libraries. The sort is always stable.
    nan : {"largest", "last"}, default "largest"
        Where NaNs go: they count as the largest value (last if ascending, first if descending), or
        come last in either direction.
    index_dtype : {"int32", "int64"} or dtype, optional
        The dtype of the indices, by name or as a library's dtype. The default is int64. For JAX it
        is int32 unless x64 is enabled; int64 needs x64.
    out : array, optional
        Where the indices go: an array of x's kind and shape, int32 or int64, that can be written.
        It may be x, or overlap it: the indices are right, and x is overwritten.
    dim : int, optional
        Another name for axis.

    Returns
    -------
    array
        The indices, one array of x's kind and shape. It is `out` where that was given.

    Raises
    ------
    TypeError
        An argument of the wrong type, or a dtype that cannot be sorted.
    ValueError
        An axis out of range, an unknown `nan` or `index_dtype`, an out of another shape, or an
        index_dtype that cannot hold the indices of a row.
    NotImplementedError
        Rows on a device that are longer than a kernel takes, in an array of another library than
        PyTorch, CuPy and JAX.
    BuildError
        The kernel could not be built; the message ends with the first error and a hint.

    Notes
    -----
    Rows of up to 16384 elements (4096 on GPUs) are sorted by the networks of `sort`, each key with
    its index. Longer rows are sorted by NumPy's stable sort, on a device by that of the array's own
    library, with the same promises.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import argsort
    >>> argsort(np.array([[3.0, 1.0, 3.0, 2.0]]), descending=True)
    array([[0, 2, 3, 1]])
    """
    if unnamed:
        raise unnamed_error("argsort", "x", unnamed)
    options = sort_options(axis, dim, descending, stable, nan)
    return call(ARGSORT, x, options, out, checked_index_dtype(index_dtype))


@arrays.between_torch_graphs
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
    out: tuple[Any, Any] | None = None,
    dim: int | None = None,
) -> SortedWithIndices:
    """Sort an array along an axis; return the values and the index that each had in its row.

    Parameters
    ----------
    x, axis, descending, stable, nan, index_dtype, dim
        As for `argsort`. A tensor that requires a gradient raises: the values would need one.
    out : tuple of two arrays, optional
        Where the values and the indices go: arrays of x's kind and shape, of x's dtype and of int32
        or int64, that can be written. They may be x or overlap it, which is then overwritten, but
        not each other.

    Returns
    -------
    SortedWithIndices
        A named tuple ``(values, indices)``, two arrays of x's kind and shape, ``out``'s where that
        was given. The values are those of ``numpy.take_along_axis(x, indices, axis)``, bit for bit.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `argsort` does.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import sort_with_indices
    >>> values, indices = sort_with_indices(np.array([3.0, 1.0, 2.0]))
    >>> values, indices
    (array([1., 2., 3.]), array([1, 2, 0]))
    """
    if unnamed:
        raise unnamed_error("sort_with_indices", "x", unnamed)
    options = sort_options(axis, dim, descending, stable, nan)
    result: SortedWithIndices = call(
        SORT_WITH_INDICES, x, options, out, checked_index_dtype(index_dtype)
    )
    return result


@arrays.between_torch_graphs
@named_only
def ranks(
    x: Any,
    /,
    *unnamed: NoReturn,
    axis: int = -1,
    descending: bool = False,
    nan: Nan = "largest",
    index_dtype: Any = None,
    dim: int | None = None,
) -> Any:
    """Return the position that each element has in its sorted row.

    Ranks count from 0 and are the inverse of the permutation that `argsort` returns. Equal elements
    get different ranks, in the order of their indices.

    Parameters
    ----------
    x, axis, descending, nan, index_dtype, dim
        As for `argsort`; index_dtype is the dtype of the ranks. There is no ``stable``: the order
        always is.

    Returns
    -------
    array
        The ranks, one array of x's kind and shape. ``sort_with_indices(x).values`` has x's elements
        at these positions.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `argsort` does. NotImplementedError also for any array on a device that is from another
        library than PyTorch, CuPy and JAX.

    Notes
    -----
    The library of x inverts the result of `argsort`, for NumPy by ``numpy.put_along_axis``.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import ranks
    >>> ranks(np.array([[30.0, 10.0, 30.0, 20.0]]))
    array([[2, 0, 3, 1]])
    """
    if unnamed:
        raise unnamed_error("ranks", "x", unnamed)
    options = sort_options(axis, dim, descending, nan=nan)
    indices = call(RANKS, x, options, None, checked_index_dtype(index_dtype))
    return arrays.outside_torch_compile(_inverse)(indices, options[0])


def _inverse(indices: Any, axis: int) -> Any:
    return arrays.adapter_of(indices).inverse(indices, axis)
