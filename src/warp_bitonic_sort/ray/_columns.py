"""Checks the columns of a dataset, and names the columns of results, before a task runs.

Invariant: the dataset is not executed. What its schema does not tell yet is checked in the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import ray.data

from ..arrays import type_name
from ..dtypes import DTYPES, numpy_name
from ._batches import missing, scalars, unsortable


class _Rows(NamedTuple):
    """What a schema tells of a column of arrays.

    Parameters
    ----------
    dtype : str
        The name of the elements' dtype.
    length : int or None
        The length of the last axis, if all rows have the same.
    """

    dtype: str
    length: int | None


def checked_targets(column: Any, into: Any, results: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return for each column the names of its results.

    Parameters
    ----------
    column : str or sequence of str
        The columns.
    into : str or sequence, optional
        The names of the results: those of one column, or a sequence of those of each.
    results : sequence of str
        What each column gives, for messages. By default, the first result takes the place of the
        column, and the others have its name with theirs behind it.

    Raises
    ------
    TypeError
        Something else than names.
    ValueError
        No column, another number of names, or a name that is given twice.
    """
    columns = [column] if isinstance(column, str) else _sequence("column", "names", column)
    for name in columns:
        _check_name("column", name)
    if not columns:
        raise ValueError("column: expected the name of a column, or several, got none.")
    _check_distinct("column", columns)
    if into is None:
        targets = [(name, *(f"{name}_{result}" for result in results[1:])) for name in columns]
    else:
        given = [into] if isinstance(column, str) else _sequence("into", "names", into)
        if len(given) != len(columns):
            raise ValueError(f"into: expected names for {len(columns)} columns, got {len(given)}.")
        targets = [_names(each, results) for each in given]
    _check_distinct("into", [name for names in targets for name in names])
    return dict(zip(columns, targets, strict=True))


def check_columns(ds: Any, columns: Sequence[str]) -> dict[str, int]:
    """Raise for columns that the schema of a dataset shows to be unfit.

    Parameters
    ----------
    ds : Dataset
        The dataset.
    columns : sequence of str
        Names of columns.

    Returns
    -------
    dict of str to int
        The length of rows, for columns of which it is known.

    Raises
    ------
    TypeError
        Not a dataset, or a dtype that cannot be sorted.
    ValueError
        A column that is missing, or that has no arrays.
    """
    if not isinstance(ds, ray.data.Dataset):
        raise TypeError(
            f"ds: expected a ray.data.Dataset, got {type_name(ds)}; ray.data.from_numpy makes one "
            f"of an array."
        )
    schema = ds.schema(fetch_if_missing=False)
    if schema is None:
        return {}
    types = dict(zip(schema.names, schema.types, strict=True))
    lengths = {}
    for column in columns:
        if column not in types:
            raise missing(column, types)
        rows = _rows_of(types[column], column)
        if rows is None:
            continue
        if rows.dtype not in DTYPES:
            raise unsortable(column, rows.dtype)
        if rows.length is not None:
            lengths[column] = rows.length
    return lengths


def _rows_of(kind: Any, column: str) -> _Rows | None:
    """Return what a type of Arrow tells of a column; None if only its values can tell."""
    import pyarrow

    if not isinstance(kind, pyarrow.DataType):
        return None
    element = getattr(kind, "scalar_type", None)  # of Ray's tensors
    if element is None:
        element = getattr(kind, "value_type", None)  # of lists, and of Arrow's tensors
    if element is None:
        if isinstance(kind, pyarrow.BaseExtensionType):  # such as pickled objects
            return None
        raise scalars(column, str(kind))
    shape = getattr(kind, "shape", None) or (getattr(kind, "list_size", None),)
    try:
        dtype = numpy_name(np.dtype(element.to_pandas_dtype()))
    except NotImplementedError:  # of nested lists
        return None
    return _Rows(str(element) if dtype == "object" else dtype, shape[-1])


def _sequence(argument: str, kind: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"{argument}: expected a name, or a list or tuple of {kind}, got {type_name(value)}."
        )
    return list(value)


def _names(into: Any, results: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the results of one column."""
    if len(results) == 1:
        _check_name("into", into)
        return (into,)
    expected = f"{len(results)} names ({', '.join(results)})"
    if not isinstance(into, (list, tuple)):
        raise TypeError(f"into: expected {expected}, got {type_name(into)}.")
    for name in into:
        _check_name("into", name)
    if len(into) != len(results):
        raise ValueError(f"into: expected {expected}, got {len(into)}.")
    return tuple(into)


def _check_name(argument: str, name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{argument}: expected the name of a column (str), got {type_name(name)}.")


def _check_distinct(argument: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{argument}: expected different names, got {twice[0]!r} twice.")
