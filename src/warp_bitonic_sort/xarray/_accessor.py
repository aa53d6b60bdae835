"""The accessor ``.wbs`` of DataArrays and Datasets.

Invariant: a method is the function of the same name with the object as its first argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import xarray as xr

from . import _sorting, _statistics


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of the accessor, which shows the function's signature and docstring."""

    def method(self: Accessor, *args: Any, **kwargs: Any) -> Any:
        return function(self._obj, *args, **kwargs)

    method.__name__ = function.__name__
    method.__qualname__ = f"Accessor.{function.__name__}"
    method.__doc__ = function.__doc__
    signature = inspect.signature(function)
    first, *others = signature.parameters.values()
    renamed = first.replace(name="self")
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[renamed, *others]
    )
    return method


@xr.register_dataset_accessor("wbs")
@xr.register_dataarray_accessor("wbs")
class Accessor:
    """The functions of `warp_bitonic_sort.xarray` as methods: ``x.wbs.median("time")``.

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        The object.
    """

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    sort = _method(_sorting.sort)
    argsort = _method(_sorting.argsort)
    top_k = _method(_sorting.top_k)
    median = _method(_statistics.median)
    quantile = _method(_statistics.quantile)
