"""`median` and `quantile` of objects of xarray along dimensions.

Invariant: results are those of xarray's own functions, in values, dtypes, coordinates and
attributes, but for the signs of zeros. Kernels take the rows that the functions of
`warp_bitonic_sort.numpy` would give to them; xarray answers for all others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np
import xarray as xr

from .. import numpy as wnp
from ..numpy._routes import are_fast_rows, is_number
from ..operations._arguments import checked_bool, checked_quantiles
from ..quantiles import Method
from ._objects import check_object, is_of_dask, replaced, settled_dims

Dims = Any  # a name, an iterable of names, None or ...: see xarray.DataArray.median


def median(
    obj: Any, dim: Dims = None, *, skipna: bool | None = None, keep_attrs: bool | None = None
) -> Any:
    """Return the median of an object of xarray along dimensions, as `xarray.DataArray.median`.

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        The object. As with xarray's own function, variables of a Dataset that are not numeric are
        left out.
    dim : str, iterable of hashable, None or ..., optional
        The dimensions to reduce; all by default.
    skipna : bool, optional
        Whether NaNs are left out; by default those of floats are.
    keep_attrs : bool, optional
        Whether attributes are kept. The default is xarray's.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        The medians, an object of obj's kind. Arrays of Dask are lazy; several chunks along reduced
        dimensions become one.

    Raises
    ------
    TypeError
        Not an object of xarray, or an argument of the wrong type. As xarray's own function does.
    ValueError
        An unknown dim.
    BuildError
        A kernel could not be built.

    Examples
    --------
    >>> import xarray as xr
    >>> from warp_bitonic_sort.xarray import median
    >>> x = xr.DataArray([[3.0, 1.0, float("nan")]], dims=("cell", "time"))
    >>> median(x, "time").values
    array([2.])
    """
    check_object(obj)
    dims = settled_dims(obj, dim)
    skipna = None if skipna is None else checked_bool("skipna", skipna)
    options = {"numeric_only": True} if isinstance(obj, xr.Dataset) else {}
    return obj.reduce(partial(_median_of, skipna=skipna), dims, keep_attrs=keep_attrs, **options)


def quantile(
    obj: Any,
    q: Any,
    dim: Dims = None,
    *,
    method: str = "linear",
    skipna: bool | None = None,
    keep_attrs: bool | None = None,
) -> Any:
    """Return quantiles of an object of xarray along dimensions, as `xarray.DataArray.quantile`.

    Parameters
    ----------
    obj, dim, skipna, keep_attrs
        As for `median`. Variables of a Dataset that are not numeric are xarray's own matter.
    q : float or sequence of float
        The quantiles, from 0 to 1.
    method : str, default "linear"
        As for `xarray.DataArray.quantile`. Kernels answer for linear, lower, higher, midpoint and
        nearest.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        The quantiles, an object of obj's kind, with the coordinate ``quantile``, which is its first
        dimension if q is a sequence. Arrays of Dask are lazy.

    Raises
    ------
    TypeError, ValueError, BuildError
        As `median` does. Also for a q that is not a number from 0 to 1, or a sequence of them.
    """
    check_object(obj)
    dims = settled_dims(obj, dim)
    skipna = None if skipna is None else checked_bool("skipna", skipna)
    points, shape = checked_quantiles(q)
    if len(shape) > 1:
        raise ValueError(f"q: expected a number or a sequence of numbers, got shape {shape}.")
    q = np.asarray(points, np.float64).reshape(shape)
    # What xarray's own function keeps depends on its version and options.
    attrs = {"units": ""}
    probe = xr.Dataset({"x": ("dim", [0.0], attrs)}, {"scalar": 0}, attrs)
    own = probe.quantile(0.5, "dim", keep_attrs=keep_attrs)
    keeps = bool(own["x"].attrs)
    if "scalar" not in own.coords:
        obj = obj.drop_vars([name for name, each in obj.coords.items() if not each.dims])

    def quantiles_of(_: Hashable, variable: Any) -> Any:
        reduced = [each for each in variable.dims if each in dims]
        if variable.dims and not reduced:
            return variable
        return _quantiles_of(variable, reduced, q, method, skipna, keeps)

    return replaced(obj, dims, quantiles_of, bool(own.attrs), {"quantile": q})


def _median_of(
    data: Any, axis: int | tuple[int, ...] | None = None, skipna: bool | None = None
) -> Any:
    """Return the median along axes; `xarray.DataArray.reduce` passes them."""
    if axis == ():
        return data
    axes = _axes_of(data, axis)
    if not _takes(data, axes):
        dims = [f"dim_{number}" for number in range(data.ndim)]
        reduced = None if axis is None else [dims[number] for number in axes]
        return xr.Variable(dims, data).median(reduced, skipna=skipna).data
    function = wnp.nanmedian if _skips(data, skipna) else wnp.median
    if is_of_dask(data):
        dtype = np.median(np.ones(1, data.dtype)).dtype
        return _lazy(partial(function, axis=axes), data, axes, (), dtype, "median")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered")
        return function(data, axis=axes)


def _quantiles_of(
    variable: Any, dims: Sequence[Hashable], q: Any, method: Any, skipna: bool | None, keeps: bool
) -> Any:
    """Return the variable of the quantiles of another one."""
    data = variable.data
    axes = tuple(variable.get_axis_num(each) for each in dims)
    if method not in get_args(Method) or not q.size or not _takes(data, axes):
        return variable.quantile(q, dims, method=method, skipna=skipna, keep_attrs=keeps)
    chosen = wnp.nanquantile if _skips(data, skipna) else wnp.quantile
    # xarray passes an array of quantiles, whose dtype counts.
    function = partial(_quantiles, chosen, q=np.atleast_1d(q), axis=axes, method=method)
    if is_of_dask(data):
        dtype = np.quantile(np.ones(1, data.dtype), np.zeros(1), method=method).dtype
        found = _lazy(function, data, axes, (q.size,), dtype, "quantile")
    else:
        found = function(data)
    kept = [each for each in variable.dims if each not in dims]
    attrs = variable.attrs if keeps else None
    if not q.ndim:
        return xr.Variable(kept, found[0], attrs)
    return xr.Variable(["quantile", *kept], found, attrs)


def _quantiles(function: Callable[..., Any], block: Any, **options: Any) -> Any:
    return function(block, **options)


def _axes_of(data: Any, axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(data.ndim))
    return axis if isinstance(axis, tuple) else (axis,)


def _takes(data: Any, axes: Sequence[int]) -> bool:
    """Tell whether kernels take the rows of an array."""
    is_dask = is_of_dask(data)
    if not is_dask and type(data) is not np.ndarray:
        return False
    if is_dask and type(data._meta) is not np.ndarray:
        return False
    length = math.prod(data.shape[axis] for axis in axes)
    if not (is_number(data) and 0 < length < math.inf):
        return False
    # Dask has no median of all axes.
    is_whole = is_dask and len(axes) == data.ndim
    return is_whole or are_fast_rows(data, length, needs_several=True)


def _skips(data: Any, skipna: bool | None) -> bool:
    """Tell whether NaNs are left out."""
    return bool(data.dtype.kind == "f" if skipna is None else skipna)


def _lazy(
    function: Callable[[Any], Any],
    data: Any,
    axes: Sequence[int],
    leading: Sequence[int],
    dtype: Any,
    name: str,
) -> Any:
    """Return the lazy array of a function of blocks with whole rows."""
    from ..dask._blocks import reduced, with_whole_rows

    whole = with_whole_rows(data, axes, "auto")
    of_chunk = partial(_of_chunk, function, dtype, axes)
    return reduced(of_chunk, whole, axes, False, leading, dtype, name)


def _of_chunk(function: Callable[[Any], Any], dtype: Any, axes: Sequence[int], block: Any) -> Any:
    """Return what a function returns for a chunk, whatever its first row is.

    NumPy rounds the quantiles of all rows to the array's dtype if the first row has only NaNs.
    """
    first = tuple(slice(None) if axis in axes else 0 for axis in range(block.ndim))
    is_empty = block.size > 0 and block.dtype.kind == "f" and bool(np.isnan(block[first]).all())
    if is_empty:
        block = block.copy()
        block[first] = 0
    found = np.asarray(function(block))
    if is_empty:
        row = (..., *(0,) * (block.ndim - len(axes)))
        found[row] = np.nan
    return found.astype(dtype, copy=False)
