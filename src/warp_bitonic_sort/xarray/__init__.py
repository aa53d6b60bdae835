"""`sort`, `argsort`, `top_k`, `median` and `quantile` for objects of xarray, and their accessor.

Invariant: names, dimensions, coordinates, attributes and encodings of results are as xarray's own
functions leave them. Arrays of Dask stay lazy.
"""

from __future__ import annotations

try:
    import xarray  # noqa: F401
except ImportError as error:
    raise ImportError(
        "warp_bitonic_sort.xarray needs xarray; run pip install 'warp-bitonic-sort[xarray]'."
    ) from error

from ._accessor import Accessor
from ._sorting import argsort, sort, top_k
from ._statistics import median, quantile

__all__ = ["Accessor", "argsort", "median", "quantile", "sort", "top_k"]
