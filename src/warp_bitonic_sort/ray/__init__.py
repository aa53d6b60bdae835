"""`sort`, `top_k`, `median` and `quantile` for the rows of datasets of Ray Data.

Invariant: every argument is checked before a task runs, as far as the dataset's schema is known
without running it. Blocks reach the kernels without a copy, and only new columns are written.
"""

from __future__ import annotations

try:
    import ray.data  # noqa: F401
except ImportError as error:
    raise ImportError(
        "warp_bitonic_sort.ray needs Ray Data; run pip install 'warp-bitonic-sort[ray]'."
    ) from error

from ._functions import median, quantile, sort, top_k

__all__ = ["median", "quantile", "sort", "top_k"]
