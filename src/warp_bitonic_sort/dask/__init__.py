"""`sort`, `argsort`, `top_k`, `median`, `quantile` and their kin for arrays of Dask.

Invariant: a call computes nothing. It checks its arguments as far as the array's dtype and shape
are known, and returns lazy arrays of the dtype, the shape and the chunks that are computed later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import dask.array  # noqa: F401
except ImportError as error:
    raise ImportError(
        "warp_bitonic_sort.dask needs arrays of Dask; run pip install 'warp-bitonic-sort[dask]'."
    ) from error

from ._sorting import argsort, sort, sort_with_indices
from ._statistics import median, quantile
from ._top_k import top_k

if TYPE_CHECKING:
    from ._warm_up import WarmUp

__all__ = ["WarmUp", "argsort", "median", "quantile", "sort", "sort_with_indices", "top_k"]


def __getattr__(name: str) -> Any:
    """Import `WarmUp` with its first use: arrays alone do not need distributed."""
    if name == "WarmUp":
        from ._warm_up import WarmUp

        return WarmUp
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
