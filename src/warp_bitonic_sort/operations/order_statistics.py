"""`median` and `quantile` of rows.

Invariant: rows are sorted, those of a large array in CPU memory in blocks, and only the wanted
elements are read; or a kernel stores medians alone. Nothing waits for a device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn, get_args

from .. import arrays
from ..dtypes import DType, lookup
from ..quantiles import Method, Reader, Reduction, reduction_of
from ._arguments import (
    checked_axes,
    checked_bool,
    checked_choice,
    checked_quantiles,
    named_only,
    unnamed_error,
)
from ._call import call, prepared_calls, remember
from ._operation import VALUES, Operation
from ._planning import settled_axis

Nan = Literal["propagate", "omit"]
Axes = int | tuple[int, ...] | None

MEDIAN = Operation(
    "median",
    "all",
    "none",
    (VALUES,),
    afterwards="reads the middle of each sorted row",
    finds_median=True,
    nan_modes=("propagate", "omit"),
    computes=True,
)
QUANTILE = MEDIAN._replace(
    name="quantile", afterwards="reads the quantiles of each sorted row", finds_median=False
)


@arrays.between_torch_graphs
@named_only
def median(
    x: Any,
    /,
    *unnamed: NoReturn,
    axis: Axes = -1,
    keepdims: bool = False,
    nan: Nan = "propagate",
    dim: Axes = None,
) -> Any:
    """Return the median of an array along an axis, or several axes.

    Parameters
    ----------
    x : array
        An array as for `sort`, of any dtype but float8. It is never written.
    axis : int, tuple of int or None, default -1
        The axis or axes to reduce. None reduces all axes. A 0-d array counts as one row of one
        element.
    keepdims : bool, default False
        Whether the reduced axes stay in the shape of the result, with length 1.
    nan : {"propagate", "omit"}, default "propagate"
        Whether a row with a NaN has the median NaN, or its NaNs are left out, as in
        `numpy.nanmedian`. A row without other elements has the median NaN. No warning is given.
    dim : int or tuple of int, optional
        Another name for axis. None is as if it was not given; ``axis=None`` reduces all axes.

    Returns
    -------
    array
        The medians, a new array of x's kind. It has x's dtype if x has floats. For integers and
        bools it is float64, for JAX its default float. The median of a row of even length is the
        mean of the two middle elements; their sum does not overflow. The median of no elements is
        NaN.

    Raises
    ------
    TypeError
        An argument of the wrong type, or a dtype that has no median, such as float8. A tensor that
        requires a gradient.
    ValueError
        An axis out of range, or an unknown `nan`.
    NotImplementedError
        As `sort` does. Also for any array on a device that is from another library than PyTorch,
        CuPy and JAX.
    BuildError
        As `sort` does.

    Notes
    -----
    The rows are sorted as by `sort`, then the library of x reads the middle. On a GPU, a kernel
    stores the medians alone. The library computes those of integers from the middle elements.
    Several axes that are not adjacent are copied together first, as NumPy does.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import median
    >>> median(np.array([[3.0, 1.0, 2.0], [1.0, float("nan"), 2.0]]))
    array([ 2., nan])
    >>> median(np.array([[3.0, 1.0, 2.0], [1.0, float("nan"), 2.0]]), nan="omit")
    array([2. , 1.5])
    """
    if unnamed:
        raise unnamed_error("median", "x", unnamed, "keepdims")
    axes = checked_axes(axis, dim)
    keeps = checked_bool("keepdims", keepdims)
    omits_nan = checked_choice("nan", nan, MEDIAN.nan_modes) == "omit"
    read = arrays.outside_torch_compile(_read)
    return read(MEDIAN, x, axes, keeps, "median", (0.5,), (), omits_nan)


@arrays.between_torch_graphs
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
    dim: Axes = None,
) -> Any:
    """Return quantiles of an array along an axis, or several axes.

    Parameters
    ----------
    x, axis, keepdims, nan, dim
        As for `median`. ``nan="omit"`` leaves NaNs out, as `numpy.nanquantile` does.
    q : float, or sequence of float
        The quantiles, from 0 to 1: a number, a list or tuple (also of lists) or an array of NumPy.
    method : {"linear", "lower", "higher", "midpoint", "nearest"}, default "linear"
        What is returned where a quantile lies between two elements: an interpolation between them,
        the lower or the higher one, their mean, or the nearest one (of two equally near ones that
        with the even position).

    Returns
    -------
    array
        The quantiles, a new array of x's kind and of the dtype of `median`. The shape of q comes
        before that of the reduced array.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `median` does. Also for a q that is not a number from 0 to 1, or an unknown method.

    Notes
    -----
    The results are those of `numpy.quantile` for each number of q: also beside infinities, where
    its interpolation may be NaN. They differ where the dtype does, where NumPy's differences of
    two elements overflow, and where CuPy, which interpolates between arrays of its own, takes
    subnormal float32 numbers for zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import quantile
    >>> quantile(np.array([[3.0, 1.0, 2.0], [5.0, 9.0, 7.0]]), [0.25, 0.5])
    array([[1.5, 6. ],
           [2. , 7. ]])
    """
    if unnamed:
        raise unnamed_error("quantile", "x, q", unnamed, "keepdims")
    axes = checked_axes(axis, dim)
    keeps = checked_bool("keepdims", keepdims)
    omits_nan = checked_choice("nan", nan, QUANTILE.nan_modes) == "omit"
    points, shape = checked_quantiles(q)
    chosen = checked_choice("method", method, get_args(Method))
    if chosen == "linear" and all(isinstance(point, int) for point in points):
        chosen = "lower"  # no interpolation, as in NumPy
    read = arrays.outside_torch_compile(_read)
    return read(QUANTILE, x, axes, keeps, chosen, tuple(map(float, points)), shape, omits_nan)


def _read(
    operation: Operation,
    x: Any,
    axes: Axes,
    keepdims: bool,
    method: Any,
    points: tuple[float, ...],
    leading: tuple[int, ...],
    omits_nan: bool,
) -> Any:
    float_dtype = arrays.adapter_of(x).float_dtype()

    def reader_of(dtype: DType, axis: int) -> Reader:
        result = float_dtype if dtype.codec == "integer" else dtype.name
        return Reader(dtype, result, axis, method, points, omits_nan)

    return reduce(operation, x, axes, keepdims, leading, omits_nan, reader_of)


def reduce(
    operation: Operation,
    x: Any,
    axes: Axes,
    keepdims: bool,
    leading: tuple[int, ...],
    omits_nan: bool,
    reader_of: Callable[[DType, int], Reader],
) -> Any:
    """Sort rows, and read them.

    Parameters
    ----------
    operation : Operation
        The operation.
    x : array
        The array.
    axes : int, tuple of int or None
        The axes to reduce; None for all.
    keepdims : bool
        Whether the reduced axes stay, with length 1.
    leading : tuple of int
        The shape of the quantiles of one row.
    omits_nan : bool
        Whether NaNs are left out.
    reader_of : callable
        ``reader_of(dtype, axis)`` returns the reader of rows of a dtype along an axis.

    Returns
    -------
    array
        What was read, an array of x's kind. Its shape begins with the leading one.
    """
    adapter = arrays.adapter_of(x)
    key = ("reduction", adapter.kind, adapter.key(x), axes, keepdims)
    plan: tuple[DType, Reduction] | None = prepared_calls.get(key)
    if plan is None:
        description = adapter.describe(x, "x")
        shape = description.shape
        plan = (
            lookup(description.dtype, "x"),
            reduction_of(shape, settled_axes(axes, shape), keepdims),
        )
        remember(key, plan)
    dtype, reduction = plan
    if reduction.merges:
        x = adapter.reshape(x, reduction.order, reduction.shape)
    part = operation.median_part(omits_nan)
    reader = reader_of(dtype, reduction.axis)

    def reduced(block: Any, shape: tuple[int, ...], is_own: bool = False) -> Any:
        options = (reduction.axis, False, False)
        if is_own:
            rows = call(operation, block, options, block)
        else:
            rows = call(operation, block, options, part=part)
        return arrays.adapter_of(rows).read(rows, reader, shape)

    return adapter.in_blocks(x, reduction.axis, (*leading, *reduction.kept), reduced)


def settled_axes(axes: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return axes as distinct numbers, not negative, within a shape."""
    if axes is None:
        return tuple(range(len(shape)))
    given = axes if isinstance(axes, tuple) else (axes,)
    settled = tuple(settled_axis(axis, shape) for axis in given)
    if len(set(settled)) < len(settled):
        raise ValueError(f"axis: expected distinct axes, got {axes}.")
    return settled if shape else ()
