"""Takes objects of xarray apart into variables, and puts results together.

Invariant: only public functions of xarray are used, so that its indexes stay consistent. A
DataArray is handled as a Dataset of one variable.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import xarray as xr

from ..arrays import type_name
from ..operations._arguments import checked_bool

# A name that is no coordinate.
_NAME = "warp_bitonic_sort.values"


def check_object(obj: Any) -> None:
    """Raise TypeError for an object that is neither a DataArray nor a Dataset."""
    if not isinstance(obj, (xr.DataArray, xr.Dataset)):
        raise TypeError(
            f"obj: expected an xarray.DataArray or xarray.Dataset, got {type_name(obj)}; "
            f"xarray.DataArray(obj, dims=...) gives names to the axes of an array, and "
            f"obj.map(function) calls a function for each group of a GroupBy."
        )


def check_dim(obj: Any, dim: Any) -> None:
    """Raise ValueError if an object has no such dimension."""
    if dim not in list(obj.sizes):  # a list, for dim may not be hashable
        names = ", ".join(map(repr, obj.sizes)) or "none, for it has no dimension"
        raise ValueError(f"dim: expected a dimension of obj ({names}), got {dim!r}.")


def settled_dims(obj: Any, dim: Any) -> tuple[Hashable, ...]:
    """Return the dimensions that an argument of xarray's reductions stands for."""
    if dim is None or dim is ...:
        return tuple(obj.sizes)
    dims = (dim,) if isinstance(dim, str) or not isinstance(dim, Iterable) else tuple(dim)
    for each in dims:
        check_dim(obj, each)
    return dims


def keeps_attrs(keep_attrs: Any) -> bool:
    """Return whether attributes are kept; None stands for xarray's option, else True."""
    if keep_attrs is not None:
        return checked_bool("keep_attrs", keep_attrs)
    option = xr.get_options()["keep_attrs"]
    return True if option == "default" else bool(option)


def is_of_dask(data: Any) -> bool:
    """Tell whether data is an array of Dask, without importing Dask."""
    loaded: Any = sys.modules.get("dask.array")
    return loaded is not None and isinstance(data, loaded.Array)


def replaced(
    obj: Any,
    dims: Iterable[Hashable],
    function: Callable[[Hashable, Any], Any],
    keep_attrs: bool,
    coords: Mapping[str, Any] | None = None,
) -> Any:
    """Return an object with other variables, without the coordinates along some dimensions.

    Parameters
    ----------
    obj : DataArray or Dataset
        The object.
    dims : iterable of hashable
        The dimensions along which labels no longer fit the values.
    function : callable
        ``function(name, variable)`` returns the new variable for a data variable, or None to leave
        it out. The name is that of a variable of a Dataset, or None.
    keep_attrs : bool
        Whether a Dataset keeps its own attributes.
    coords : mapping of str to array, optional
        Further coordinates.
    """
    if isinstance(obj, xr.DataArray):
        dataset = obj.to_dataset(name=_NAME)
        result = replaced(dataset, dims, lambda _, each: function(None, each), keep_attrs, coords)
        return result[_NAME].rename(obj.name)
    stale = set(dims)
    variables = {name: function(name, obj.variables[name]) for name in obj.data_vars}
    left_out = [name for name, each in obj.variables.items() if stale & set(each.dims)]
    # All data variables are assigned anew, in their order.
    result = obj.drop_vars({*left_out, *obj.data_vars})
    result = result.assign({name: new for name, new in variables.items() if new is not None})
    if not keep_attrs:
        result.attrs = {}
    return result if coords is None else result.assign_coords(coords)
