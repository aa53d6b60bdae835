"""Passes the rows of a column to NumPy, and makes columns of results.

Invariant: the rows of a column without nulls are passed without a copy, and so are results, except
for bools, which Polars packs into bits. A null row stays null.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from ._rows import Rows

# Polars before 1.36 has no Float16.
_ELEMENTS = frozenset(
    getattr(pl, name)
    for name in (
        "Boolean",
        *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
        *(f"Float{bits}" for bits in (16, 32, 64)),
    )
    if hasattr(pl, name)
)


def has_rows(dtype: Any) -> bool:
    """Tell whether the elements of a column are rows of numbers or bools."""
    return isinstance(dtype, (pl.Array, pl.List)) and dtype.inner in _ELEMENTS


def checked(column: pl.Series) -> pl.Series:
    """Return a column of rows.

    Raises
    ------
    TypeError
        The column has another dtype.
    """
    dtype = column.dtype
    if has_rows(dtype):
        return column
    advice = "cast its elements to such a dtype"
    if not isinstance(dtype, (pl.Array, pl.List)):
        advice = (
            "Expr.sort of Polars puts the elements of a column in order, and Expr.reshape((-1, n)) "
            "makes rows of them"
        )
    elif dtype.inner.is_temporal():
        advice = "Expr.to_physical() of Polars makes integers of it"
    raise TypeError(
        f"column {column.name!r}: expected rows, in a pl.Array or a pl.List of bool, of integers "
        f"or of floats of up to 64 bits, got {dtype}; {advice}."
    )


def rows_of(column: pl.Series, unknown_length: int = 0) -> Rows:
    """Return the rows of a column.

    Parameters
    ----------
    column : Series
        The column.
    unknown_length : int, default 0
        The length of rows where there is no list, or null lists alone.

    Raises
    ------
    ValueError
        The lists of a column have different lengths.
    """
    arrays = _as_arrays(column, unknown_length)
    shape = len(arrays), arrays.dtype.size
    elements = arrays.reshape((-1,))  # null rows have null elements
    if not elements.has_nulls():
        return Rows(elements.to_numpy().reshape(shape))
    is_present = elements.is_not_null().to_numpy().reshape(shape)
    filled = elements.fill_null(False if elements.dtype == pl.Boolean else 0)
    return Rows(filled.to_numpy().reshape(shape), is_present)


def _as_arrays(column: pl.Series, unknown_length: int) -> pl.Series:
    """Return the rows of a column as a pl.Array column."""
    if column.dtype != pl.List:
        return column
    lengths = column.list.len()
    lowest: Any = lengths.min()
    highest: Any = lengths.max()
    if lowest != highest:
        raise ValueError(
            f"column {column.name!r}: expected lists of one length, got lengths from {lowest} to "
            f"{highest}; the functions of Expr.list of Polars take such lists."
        )
    return column.list.to_array(unknown_length if lowest is None else lowest)


def column_of(column: pl.Series, results: Rows, as_lists: bool) -> pl.Series:
    """Return results as a column in which the null rows of another column are null.

    Parameters
    ----------
    column : Series
        The column whose rows gave the results.
    results : Rows
        The results.
    as_lists : bool
        Whether rows become lists instead of arrays.
    """
    values, present = results
    flat = pl.Series(column.name, np.ascontiguousarray(values).reshape(-1))
    if present is not None:
        nothing = pl.Series([None], dtype=flat.dtype)
        flat = flat.zip_with(pl.Series(np.ascontiguousarray(present).reshape(-1)), nothing)
    result = flat if values.ndim == 1 else flat.reshape(values.shape)
    if column.has_nulls():
        result = result.zip_with(column.is_not_null(), pl.Series([None], dtype=result.dtype))
    return result.arr.to_list() if as_lists else result
