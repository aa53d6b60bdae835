"""`sort`, `argsort` and `top_k` of objects of xarray along a dimension.

Invariant: coordinates along the sorted dimension are left out, because each row is sorted on its
own: no label fits all rows. Everything else stays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Literal

import xarray as xr

from .. import arrays
from ..dtypes import DTYPES, numpy_name, unsupported
from ..operations import argsort as _argsort
from ..operations import sort as _sort
from ..operations import top_k as _top_k
from ..operations._arguments import (
    Nan,
    checked_choice,
    checked_index_dtype,
    checked_integer,
    sort_options,
)
from ..operations._planning import check_index_dtype, check_k
from ..operations.top_k import TopK
from ._objects import check_dim, check_object, is_of_dask, keeps_attrs, replaced

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sort": _sort.sort,
    "argsort": _argsort.argsort,
    "top_k": _top_k.top_k,
}


def sort(
    obj: Any,
    dim: Hashable,
    *,
    descending: bool = False,
    nan: Nan = "largest",
    keep_attrs: bool | None = None,
) -> Any:
    """Sort each row of an object of xarray along a dimension.

    Rows are sorted one by one. `xarray.DataArray.sortby` is another thing: it moves whole slices.

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        The object, of dtypes as for `warp_bitonic_sort.sort`. Variables of a Dataset that lack the
        dimension stay as they are.
    dim : hashable
        The dimension to sort along.
    descending : bool, default False
        Whether the largest value comes first.
    nan : {"largest", "last"}, default "largest"
        Where NaNs go, as for `warp_bitonic_sort.sort`.
    keep_attrs : bool, optional
        Whether attributes are kept. The default is xarray's option ``keep_attrs``, else True.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        An object of obj's kind and dimensions. It lacks the coordinates along dim. Encodings are
        kept. Arrays of Dask are lazy; several chunks along dim become one.

    Raises
    ------
    TypeError
        Not an object of xarray, an argument of the wrong type, or a dtype that cannot be sorted.
    ValueError
        An unknown dim or `nan`.
    BuildError
        A kernel could not be built.

    Examples
    --------
    >>> import xarray as xr
    >>> from warp_bitonic_sort.xarray import sort
    >>> x = xr.DataArray([[3.0, 1.0, 2.0]], dims=("row", "sample"), coords={"row": ["a"]})
    >>> sort(x, "sample").values
    array([[1., 2., 3.]])
    """
    keeps = _checked(obj, dim, keep_attrs)
    sort_options(descending=descending, nan=nan)

    def sorted_of(name: Hashable, variable: Any) -> Any:
        if dim not in variable.dims:
            return variable
        data = _call("sort", name, variable, dim, descending=descending, nan=nan)
        return _like(variable, data, keeps, variable.encoding)

    return replaced(obj, [dim], sorted_of, keeps)


def argsort(
    obj: Any,
    dim: Hashable,
    *,
    descending: bool = False,
    nan: Nan = "largest",
    index_dtype: Any = None,
    keep_attrs: bool | None = None,
) -> Any:
    """Return the positions that sort each row of an object of xarray along a dimension.

    Parameters
    ----------
    obj, dim, descending, nan, keep_attrs
        As for `sort`. Variables of a Dataset that lack the dimension are left out.
    index_dtype : {"int32", "int64"} or dtype, optional
        The dtype of the positions; the default is int64.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        An object of obj's kind and dimensions, without the coordinates along dim.
        ``obj.isel({dim: argsort(obj, dim)})`` of a DataArray is ``sort(obj, dim)`` with the
        coordinates of each element.

    Raises
    ------
    TypeError, ValueError, BuildError
        As `sort` does. ValueError also for an unknown `index_dtype`.
    """
    keeps = _checked(obj, dim, keep_attrs)
    sort_options(descending=descending, nan=nan)
    index_dtype = checked_index_dtype(index_dtype)
    check_index_dtype(_argsort.ARGSORT, index_dtype, obj.sizes[dim])
    options = {"descending": descending, "nan": nan, "index_dtype": index_dtype}

    def indices_of(name: Hashable, variable: Any) -> Any:
        if dim not in variable.dims:
            return None
        return _like(variable, _call("argsort", name, variable, dim, **options), keeps)

    return replaced(obj, [dim], indices_of, keeps)


def top_k(
    obj: Any,
    k: int,
    dim: Hashable,
    *,
    mode: Literal["largest", "smallest"] = "largest",
    nan: Nan = "largest",
    index_dtype: Any = None,
    keep_attrs: bool | None = None,
) -> TopK:
    """Return the k largest or smallest elements of each row along a dimension, and their positions.

    Parameters
    ----------
    obj, dim, keep_attrs
        As for `sort`.
    k : int
        How many elements of each row to return, from 0 to the size of dim.
    mode, nan, index_dtype
        As for `warp_bitonic_sort.top_k`.

    Returns
    -------
    TopK
        A named tuple ``(values, indices)`` of two objects of obj's kind, in which dim has size k.
        They lack the coordinates along dim: ``obj[dim][indices]`` has those of the elements of a
        DataArray. Variables of a Dataset that lack dim are in the values only. Several chunks along
        dim stay, as `warp_bitonic_sort.dask.top_k` says.

    Raises
    ------
    TypeError, ValueError, BuildError
        As `argsort` does. ValueError also for a k that is negative or larger than a row, or an
        unknown `mode`.
    """
    keeps = _checked(obj, dim, keep_attrs)
    sort_options(nan=nan)
    checked_choice("mode", mode, ("largest", "smallest"))
    k, index_dtype = checked_integer("k", k), checked_index_dtype(index_dtype)
    check_k(_top_k.TOP_K, k, obj.sizes[dim])
    check_index_dtype(_top_k.TOP_K, index_dtype, obj.sizes[dim])
    options = {"mode": mode, "nan": nan, "index_dtype": index_dtype}
    found = {
        name: _call("top_k", name, variable, dim, k, **options)
        for name, variable in _variables(obj).items()
        if dim in variable.dims
    }

    def values_of(name: Hashable, variable: Any) -> Any:
        if name not in found:
            return variable
        return _like(variable, found[name].values, keeps, variable.encoding)

    def indices_of(name: Hashable, variable: Any) -> Any:
        return _like(variable, found[name].indices, keeps) if name in found else None

    return TopK(*(replaced(obj, [dim], function, keeps) for function in (values_of, indices_of)))


def _checked(obj: Any, dim: Hashable, keep_attrs: Any) -> bool:
    """Check an object, its dimension and its dtypes; return whether attributes are kept."""
    check_object(obj)
    check_dim(obj, dim)
    for name, variable in _variables(obj).items():
        dtype = numpy_name(variable.dtype) if hasattr(variable.dtype, "kind") else "object"
        if dim in variable.dims and dtype not in DTYPES:
            raise unsupported(dtype, _argument(name))
    return keeps_attrs(keep_attrs)


def _variables(obj: Any) -> dict[Hashable, Any]:
    """Return the variables of an object by the names that `replaced` passes."""
    if isinstance(obj, xr.DataArray):
        return {None: obj.variable}
    return {name: obj.variables[name] for name in obj.data_vars}


def _argument(name: Hashable) -> str:
    """Return the name of a variable in messages."""
    return "obj" if name is None else f"obj[{name!r}]"


def _call(
    function: str, name: Hashable, variable: Any, dim: Hashable, *arguments: Any, **options: Any
) -> Any:
    """Return the result of a function of this package for the data of a variable."""
    data, axis = variable.data, variable.get_axis_num(dim)
    if is_of_dask(data):
        from .. import dask

        return getattr(dask, function)(data, *arguments, axis=axis, **options)
    arrays.adapter_of(data, _argument(name))
    return _FUNCTIONS[function](data, *arguments, axis=axis, **options)


def _like(variable: Any, data: Any, keeps: bool, encoding: Any = None) -> Any:
    """Return a variable of the dimensions of another one."""
    return xr.Variable(variable.dims, data, variable.attrs if keeps else None, encoding)
