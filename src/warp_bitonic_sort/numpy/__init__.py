"""`sort`, `median` and their kin with the signatures and the results of NumPy.

Invariant: a call returns what NumPy's function of that name returns. A call that the kernels do not
take, or for which NumPy is faster, is passed to that function.
"""

from __future__ import annotations

from ._sorting import argpartition, argsort, partition, sort, top_k
from ._statistics import (
    median,
    nanmedian,
    nanpercentile,
    nanquantile,
    percentile,
    quantile,
)

__all__ = [
    "argpartition",
    "argsort",
    "median",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "partition",
    "percentile",
    "quantile",
    "sort",
    "top_k",
]
