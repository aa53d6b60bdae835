"""The namespace ``wbs`` of expressions.

Invariant: arguments are checked where an expression is made; columns, whose dtypes it does not
know, where it is computed. Planning a query computes nothing but rows of ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from ..operations import order_statistics
from ..operations._arguments import (
    Nan,
    checked_bool,
    checked_choice,
    checked_integer,
    checked_quantiles,
    sort_options,
)
from ..quantiles import Method
from . import _rows
from ._columns import checked, column_of, has_rows, rows_of
from ._rows import Rows

# Of what core functions return, before it is seen as Polars's type of indices.
_INDEX_DTYPE = "int32" if pl.get_index_type() == pl.UInt32 else "int64"


@pl.api.register_expr_namespace("wbs")
class RowsNamespace:
    """Expressions for the rows of columns, as in ``pl.col("a").wbs.sort()``.

    Columns have the dtype `polars.Array` with one dimension, or `polars.List` with lists of one
    length. Their elements are bools, integers of 8 to 64 bits, or floats of 16 to 64 bits.

    A null row stays null. Null elements within a row are not values: `sort` and `arg_sort` put
    them first, or last, as ``arr.sort`` of Polars does. `top_k` and `arg_top_k` take them if
    nothing else is left. `median` and `quantile` leave them out; the result of a row that has
    nothing else is null.

    NaN is a value: the largest one, whatever its sign.

    Parameters
    ----------
    expr : Expr
        The expression of the columns.

    Raises
    ------
    TypeError
        When the expression is computed: a column of another dtype.
    ValueError
        When the expression is computed: lists of different lengths in one batch of rows. Polars
        divides columns into batches, each of which has a length of its own.

    Examples
    --------
    >>> import polars as pl
    >>> import warp_bitonic_sort.polars
    >>> frame = pl.DataFrame({"a": [[3.0, 1.0, 2.0]]}, schema={"a": pl.Array(pl.Float32, 3)})
    >>> frame.select(pl.col("a").wbs.sort(descending=True)).item().to_list()
    [3.0, 2.0, 1.0]
    """

    def __init__(self, expr: pl.Expr) -> None:
        self._expr = expr

    def sort(
        self, *, descending: bool = False, nulls_last: bool = False, nan: Nan = "largest"
    ) -> pl.Expr:
        """Sort each row.

        Parameters
        ----------
        descending : bool, default False
            Whether the largest value comes first.
        nulls_last : bool, default False
            Whether nulls come last; else they come first. Both hold for either direction.
        nan : {"largest", "last"}, default "largest"
            Where NaNs go, as for `warp_bitonic_sort.sort`.

        Returns
        -------
        Expr
            Columns of the same dtype. -0.0 comes before 0.0, and values keep their bits.

        Raises
        ------
        TypeError, ValueError
            An argument of the wrong type, or an unknown nan.
        """
        sort_options(descending=descending, nan=nan)
        checked_bool("nulls_last", nulls_last)
        return self._apply(
            lambda rows: _rows.sort(rows, descending, nulls_last, nan), pl.self_dtype(), True
        )

    def arg_sort(
        self, *, descending: bool = False, nulls_last: bool = False, nan: Nan = "largest"
    ) -> pl.Expr:
        """Return the indices that sort each row. Equal elements keep their order.

        Parameters
        ----------
        descending, nulls_last, nan
            As for `sort`.

        Returns
        -------
        Expr
            Columns of rows of the same length, of Polars's type of indices (UInt32).

        Raises
        ------
        TypeError, ValueError
            As for `sort`.
        """
        sort_options(descending=descending, nan=nan)
        checked_bool("nulls_last", nulls_last)

        def order(rows: Rows) -> Rows:
            return _indices(_rows.arg_sort(rows, descending, nulls_last, nan, _INDEX_DTYPE))

        return self._apply(order, None, True)

    def top_k(
        self, k: int, *, mode: Literal["largest", "smallest"] = "largest", nan: Nan = "largest"
    ) -> pl.Expr:
        """Return the k largest or smallest elements of each row, in order.

        Parameters
        ----------
        k : int
            How many elements to return, from 0 to the length of a row.
        mode : {"largest", "smallest"}, default "largest"
            Which elements are returned, and which come first.
        nan : {"largest", "last"}, default "largest"
            What NaNs count as, as for `warp_bitonic_sort.top_k`.

        Returns
        -------
        Expr
            Array columns of width k, of the elements' dtype.

        Raises
        ------
        TypeError, ValueError
            An argument of the wrong type or value. When the expression is computed: a k that is
            larger than the length of a row.
        """
        k, largest = _checked_k(k, mode, nan)
        return self._apply(
            lambda rows: _rows.top_k(rows, k, largest, nan, _INDEX_DTYPE)[0],
            pl.self_dtype().inner_dtype().wrap_in_array(width=k),
            unknown_length=k,
        )

    def arg_top_k(
        self, k: int, *, mode: Literal["largest", "smallest"] = "largest", nan: Nan = "largest"
    ) -> pl.Expr:
        """Return the positions of the elements that `top_k` returns.

        Of equal elements, those with the lowest positions are taken.

        Parameters
        ----------
        k, mode, nan
            As for `top_k`.

        Returns
        -------
        Expr
            Array columns of width k, of Polars's type of indices (UInt32).

        Raises
        ------
        TypeError, ValueError
            As for `top_k`.
        """
        k, largest = _checked_k(k, mode, nan)
        return self._apply(
            lambda rows: _indices(_rows.top_k(rows, k, largest, nan, _INDEX_DTYPE)[1]),
            pl.Array(pl.get_index_type(), k),
            unknown_length=k,
        )

    def median(self, *, nan: order_statistics.Nan = "propagate") -> pl.Expr:
        """Return the median of each row.

        Parameters
        ----------
        nan : {"propagate", "omit"}, default "propagate"
            Whether a row with a NaN has the median NaN, or its NaNs are left out.

        Returns
        -------
        Expr
            Columns of the elements' dtype if they are floats, else of Float64.

        Raises
        ------
        ValueError
            An unknown nan.
        """
        checked_choice("nan", nan, order_statistics.MEDIAN.nan_modes)
        return self._apply(lambda rows: _rows.quantiles(rows, 0.5, None, nan), None)

    def quantile(
        self,
        q: float | Sequence[float],
        *,
        method: Method = "linear",
        nan: order_statistics.Nan = "propagate",
    ) -> pl.Expr:
        """Return quantiles of each row.

        Parameters
        ----------
        q : float, or sequence of float
            The quantiles, from 0 to 1.
        method : {"linear", "lower", "higher", "midpoint", "nearest"}, default "linear"
            As for `warp_bitonic_sort.quantile`. (``Expr.quantile`` of Polars calls it
            interpolation, and its default is "nearest".)
        nan : {"propagate", "omit"}, default "propagate"
            As for `median`.

        Returns
        -------
        Expr
            Columns of numbers for a number, and Array columns of width ``len(q)`` for a sequence;
            of the dtype of `median`.

        Raises
        ------
        TypeError, ValueError
            A q that is not a number from 0 to 1, or a sequence of them; an unknown method or nan.
        """
        checked_choice("nan", nan, order_statistics.QUANTILE.nan_modes)
        checked_choice("method", method, get_args(Method))
        points, shape = checked_quantiles(q)
        if len(shape) > 1:
            raise ValueError(f"q: expected a number or a flat sequence, got one of shape {shape}.")
        wanted = points if shape else points[0]
        return self._apply(lambda rows: _rows.quantiles(rows, wanted, method, nan), None)

    def _apply(
        self,
        function: Callable[[Rows], Rows],
        dtype: Any,
        keeps_lists: bool = False,
        unknown_length: int = 0,
    ) -> pl.Expr:
        """Return an expression that computes a function of the rows of columns.

        Parameters
        ----------
        function : callable
            ``function(rows)`` returns the results.
        dtype : dtype or dtype expression of Polars, optional
            The dtype of the results. If None, Polars infers it from a call with rows of ones.
        keeps_lists : bool, default False
            Whether the results of lists are lists; else they are arrays.
        unknown_length : int, default 0
            The length of rows in a batch that has no list, or null lists alone.
        """

        def compute(column: pl.Series) -> pl.Series:
            if not has_rows(column.dtype):  # Polars infers a dtype; `checked` will raise
                return column
            results = function(rows_of(column, unknown_length))
            return column_of(column, results, keeps_lists and column.dtype == pl.List)

        rows = self._expr.map_batches(checked, pl.self_dtype(), is_elementwise=True)
        return rows.map_batches(compute, dtype, is_elementwise=True)


def _checked_k(k: Any, mode: Any, nan: Any) -> tuple[int, bool]:
    """Return a checked k, and whether the largest elements are wanted."""
    checked_choice("mode", mode, ("largest", "smallest"))
    sort_options(nan=nan)
    k = checked_integer("k", k)
    if k < 0:
        raise ValueError(f"k: expected 0 or more, got {k}.")
    return k, mode == "largest"


def _indices(indices: np.ndarray[Any, Any]) -> Rows:
    """Return indices as rows of Polars's type of indices, which has no sign."""
    return Rows(indices.view(f"u{indices.dtype.itemsize}"))
