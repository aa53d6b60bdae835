"""Expressions of Polars for the rows of `pl.Array` columns, and of `pl.List` columns of one length.

Invariant: importing this module registers the namespace ``wbs`` of expressions. A null row stays
null. Columns without nulls reach the kernels without a copy.
"""

from __future__ import annotations

try:
    import polars  # noqa: F401
except ImportError as error:
    raise ImportError(
        "warp_bitonic_sort.polars needs Polars; run pip install 'warp-bitonic-sort[polars]'."
    ) from error

from ._namespace import RowsNamespace

__all__ = ["RowsNamespace"]
