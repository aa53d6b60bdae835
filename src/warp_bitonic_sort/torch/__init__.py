"""Functions with the signatures of PyTorch's: the same results, sooner for many short rows.

Invariant: a result has every gradient that PyTorch's has, under every transform and compiler of
PyTorch. What no kernel takes is answered by PyTorch itself, whose errors are therefore ours.
"""

from __future__ import annotations

from ..operations.sort_pairs import SortedPairs
from ..operations.top_k import TopK
from ._patch import patch
from ._quantiles import nanquantile, quantile
from ._selection import kthvalue, median, nanmedian, top_k, topk
from ._sort import argsort, msort, ranks, sort, sort_pairs, sort_values

__all__ = [
    "SortedPairs",
    "TopK",
    "argsort",
    "kthvalue",
    "median",
    "msort",
    "nanmedian",
    "nanquantile",
    "patch",
    "quantile",
    "ranks",
    "sort",
    "sort_pairs",
    "sort_values",
    "top_k",
    "topk",
]
