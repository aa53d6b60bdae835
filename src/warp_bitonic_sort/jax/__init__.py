"""Sorting functions of JAX, with the signatures of jax.numpy and jax.lax, on fast kernels.

Invariant: everything that JAX does with its own functions works: jit, vmap, grad, scan, sharding.
What has no kernel is passed to the function of JAX, which answers or raises.
"""

from __future__ import annotations

from ._requirements import require

require()

from ._sorting import argsort, sort, top_k  # noqa: E402
from ._statistics import (  # noqa: E402
    median,
    nanmedian,
    nanpercentile,
    nanquantile,
    percentile,
    quantile,
)

__all__ = [
    "argsort",
    "median",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "percentile",
    "quantile",
    "sort",
    "top_k",
]
