"""`median`, `quantile` and their kin of NumPy.

Invariant: rows are sorted by kernels, and read by the formulas of NumPy 2.4. Where these raise a
floating-point flag, which NumPy warns of, NumPy's function answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..arrays import between_torch_graphs
from ..dtypes import DType
from ..operations._operation import Operation
from ..operations.order_statistics import MEDIAN, QUANTILE, reduce
from ..quantiles import Functions, Reader
from ._routes import Array, are_fast_rows, as_array, axes_of, is_large, is_number

# Bound here, so that a program may put the functions of this module in their place.
_median, _nanmedian = np.median, np.nanmedian
_quantile, _nanquantile = np.quantile, np.nanquantile
_percentile, _nanpercentile = np.percentile, np.nanpercentile
_NO_VALUE: Any = np._NoValue

# Methods that return an element. The others interpolate.
_ELEMENTS = ("lower", "higher", "nearest")
_METHODS = (*_ELEMENTS, "linear", "midpoint")


@between_torch_graphs
def median(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False
) -> Any:
    """Return the median along axes, as `numpy.median`.

    Parameters
    ----------
    a, axis, out, keepdims
        As for `numpy.median`.
    overwrite_input : bool, default False
        Whether a may be overwritten. Arrays that kernels take are not.

    Returns
    -------
    ndarray or scalar
        NumPy's result, bit for bit except for the signs of zeros and the bits of NaNs.

    Raises
    ------
    AxisError, TypeError, ValueError
        As `numpy.median` does.
    BuildError
        A kernel could not be built.

    Examples
    --------
    >>> import numpy as np
    >>> import warp_bitonic_sort.numpy as wnp
    >>> wnp.median(np.array([[3.0, 1.0, 2.0], [4.0, 9.0, 8.0]]), axis=1)
    array([2., 8.])
    """
    a = as_array(a)
    found = None
    if isinstance(a, np.ndarray) and is_large(a):
        found = _read(MEDIAN, a, axis, out, keepdims, _MEDIAN, False)
    if found is not None:
        return _result(found, out)
    return _median(a, axis=axis, out=out, overwrite_input=overwrite_input, keepdims=keepdims)


@between_torch_graphs
def nanmedian(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: bool = _NO_VALUE,
) -> Any:
    """Return the median along axes without NaNs, as `numpy.nanmedian`.

    Parameters
    ----------
    a, axis, out, overwrite_input, keepdims
        As for `median`.

    Returns
    -------
    ndarray or scalar
        NumPy's result, as for `median`.

    Raises
    ------
    AxisError, TypeError, ValueError, BuildError
        As `median` does.

    Warns
    -----
    RuntimeWarning
        A row has only NaNs.
    """
    a = as_array(a)
    found = _read(MEDIAN, a, axis, out, keepdims, _MEDIAN, True)
    if found is not None and not _overflows_doubled(found):
        _warn_of_nans(found)
        return _result(found, out)
    return _nanmedian(a, axis=axis, out=out, overwrite_input=overwrite_input, keepdims=keepdims)


@between_torch_graphs
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """Return quantiles along axes, as `numpy.quantile`.

    Parameters
    ----------
    a, q, axis, out, overwrite_input, method, keepdims, weights
        As for `numpy.quantile`. NumPy computes weighted quantiles, and those of methods other than
        linear, lower, higher, midpoint and nearest.

    Returns
    -------
    ndarray or scalar
        NumPy's result, bit for bit except for the signs of zeros and the bits of NaNs.

    Raises
    ------
    AxisError, TypeError, ValueError
        As `numpy.quantile` does.
    BuildError
        A kernel could not be built.

    Examples
    --------
    >>> import numpy as np
    >>> import warp_bitonic_sort.numpy as wnp
    >>> wnp.quantile(np.array([[3.0, 1.0, 2.0], [5.0, 9.0, 7.0]]), [0.25, 0.5], axis=1)
    array([[1.5, 6. ],
           [2. , 7. ]])
    """
    return _quantiles(
        _quantile, a, q, axis, out, overwrite_input, method, keepdims, weights, False, False
    )


@between_torch_graphs
def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Any:
    """Return percentiles along axes, as `numpy.percentile`; all else is as for `quantile`."""
    return _quantiles(
        _percentile, a, q, axis, out, overwrite_input, method, keepdims, weights, True, False
    )


@between_torch_graphs
def nanquantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = _NO_VALUE,
    *,
    weights: Any = None,
) -> Any:
    """Return quantiles along axes without NaNs, as `numpy.nanquantile`.

    A row that has only NaNs is warned of. All else is as for `quantile`.
    """
    return _quantiles(
        _nanquantile, a, q, axis, out, overwrite_input, method, keepdims, weights, False, True
    )


@between_torch_graphs
def nanpercentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = _NO_VALUE,
    *,
    weights: Any = None,
) -> Any:
    """Return percentiles without NaNs, as `numpy.nanpercentile`; else as for `nanquantile`."""
    return _quantiles(
        _nanpercentile, a, q, axis, out, overwrite_input, method, keepdims, weights, True, True
    )


class _Points(NamedTuple):
    """Which quantiles are wanted.

    Parameters
    ----------
    method : str
        As for `Reader`.
    numbers : tuple of float
        The quantiles, from 0 to 1.
    shape : tuple of int
        Their shape.
    widens : bool
        Whether floats are interpolated in float64.
    """

    method: Any
    numbers: tuple[float, ...]
    shape: tuple[int, ...]
    widens: bool


_MEDIAN = _Points("median", (0.5,), (), False)


class _NumpyReader(Reader):
    """Reads quantiles with NumPy's own arithmetic; raises FloatingPointError where NumPy warns."""

    def read(self, rows: Any, library: Functions) -> Any:
        """Return the quantiles along a new first axis."""
        with np.errstate(over="raise", invalid="raise"):
            result = super().read(rows, library)
        if self.method == "median" and rows.shape[self.axis] % 2:
            result += 0  # of one element, as below
        return result

    def between(self, low: Any, high: Any, weight: Any, library: Functions) -> Any:  # noqa: ARG002
        """Return the mean of two elements (median), or interpolate between them."""
        if self.method == "median":
            dtype = "float32" if self.result == "float16" else self.result
            total = low.astype(dtype, copy=False) + high.astype(dtype, copy=False)
            total += 0  # NumPy's sums begin with 0.0, so that none is -0.0
            return total * 0.5
        difference = high - low
        if self.dtype.signed and (difference < 0).any():
            raise FloatingPointError  # it wraps around, of which NumPy may warn
        to_low, to_high = (np.asarray(each, self.result) for each in (1 - weight, weight))
        from_low = low + difference * to_high
        if isinstance(weight, float):  # of all rows
            return from_low if weight < 0.5 else high - difference * to_low
        return np.where(weight < 0.5, from_low, high - difference * to_low)


def _quantiles(
    theirs: Callable[..., Any],
    a: Any,
    q: Any,
    axis: Any,
    out: Any,
    overwrite_input: Any,
    method: Any,
    keepdims: Any,
    weights: Any,
    is_percent: bool,
    omits_nan: bool,
) -> Any:
    """Return quantiles; NumPy's function computes those that kernels do not take."""
    a = as_array(a)
    points = _points_of(q, method, is_percent) if weights is None else None
    if points is not None:
        found = _read(QUANTILE, a, axis, out, keepdims, points, omits_nan)
        if found is not None:
            if not omits_nan:
                return _result(found, out)
            # If the first row has only NaNs, NumPy takes its dtype for all rows.
            is_narrow = points.widens and np.isnan(found.flat[0])
            if not is_narrow or out is None:
                _warn_of_nans(found[0] if points.shape else found, 4)
                return _result(found.astype(a.dtype, copy=False) if is_narrow else found, out)
    options = {} if weights is None else {"weights": weights}
    return theirs(a, q, axis, out, overwrite_input, method, keepdims=keepdims, **options)


def _points_of(q: Any, method: Any, is_percent: bool) -> _Points | None:
    """Return the quantiles of an argument of NumPy's functions; None if they are left to NumPy."""
    if type(method) is not str or method not in _METHODS:
        return None
    is_weak = type(q) in (int, float)  # its dtype does not count
    if not is_weak and type(q) not in (list, tuple, np.ndarray, np.float64):
        return None
    numbers = np.asarray(q)
    if numbers.dtype not in (np.float64, np.int64) or numbers.ndim > 1 or numbers.size == 0:
        return None
    if is_percent:
        numbers = np.asarray(np.true_divide(numbers, 100))
    if method == "linear" and numbers.dtype.kind == "i":
        method = "lower"  # these are elements, which NumPy does not interpolate
    flat = tuple(map(float, numbers.reshape(-1)))
    if not all(0 <= number <= 1 for number in flat):
        return None
    return _Points(method, flat, numbers.shape, not is_weak and method not in _ELEMENTS)


def _read(
    operation: Operation,
    a: Any,
    axis: Any,
    out: Any,
    keepdims: Any,
    points: _Points,
    omits_nan: bool,
) -> Array | None:
    """Return an array of quantiles; None if NumPy's function has to answer."""
    if type(a) is not np.ndarray or not is_number(a) or a.ndim == 0 or a.size == 0:
        return None
    keeps = keepdims is True
    axes = axes_of(axis, a.ndim)
    if axes is None or (not keeps and keepdims is not False and keepdims is not _NO_VALUE):
        return None
    length = 1
    for each in axes:
        length *= a.shape[each]
    # NumPy copies rows of one element, with the signs of their zeros.
    if length == 1 or not are_fast_rows(a, length, True):
        return None

    def reader_of(dtype: DType, axis: int) -> Reader:
        result = dtype.name
        if points.method not in _ELEMENTS and (points.widens or dtype.codec == "integer"):
            result = "float64"
        return _NumpyReader(dtype, result, axis, points.method, points.numbers, omits_nan)

    try:
        found: Array = reduce(operation, a, axes, keeps, points.shape, omits_nan, reader_of)
    except FloatingPointError:
        return None
    return found if out is None or _fits(out, found) else None


def _fits(out: Any, found: Array) -> bool:
    """Tell whether NumPy would write the elements of a result as they are."""
    return (
        type(out) is np.ndarray
        and out.dtype == found.dtype
        and out.shape == found.shape
        and out.flags.writeable
    )


def _result(found: Array, out: Any) -> Any:
    """Return what NumPy's functions return: out, an array or a scalar."""
    if out is None:
        return found if found.ndim else found[()]
    out[...] = found
    return out


def _overflows_doubled(found: Array) -> bool:
    """Tell whether twice a median overflows, which NumPy computes of rows of odd length."""
    if found.dtype.kind != "f":
        return False
    half = np.finfo(found.dtype).max / 2
    return bool((np.abs(found) > half).any())


def _warn_of_nans(found: Array, level: int = 3) -> None:
    """Warn of each row that has only NaNs, as NumPy does."""
    for _ in range(np.count_nonzero(np.isnan(found))):
        warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=level)
