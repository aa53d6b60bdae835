"""Computes the result columns of one batch; this is what tasks and actors run.

Invariant: a batch is never written. Its columns keep their arrays, which may be views of Ray's
object store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..dtypes import DTYPES, SUPPORTED, numpy_name
from ..process import threads

Batch = dict[str, Any]


def function_of(
    name: str, call: Callable[[Any], Any], targets: Mapping[str, Sequence[str]]
) -> Callable[[Batch], Batch]:
    """Return a function for tasks, whose name Ray shows.

    Parameters
    ----------
    name : str
        Its name.
    call : callable
        ``call(rows)`` returns an array, or a tuple of arrays.
    targets : mapping of str to sequence of str
        For each column, the names of its results.
    """

    def run(batch: Batch) -> Batch:
        _use_threads_of_task()
        return transform(batch, call, targets)

    run.__name__ = run.__qualname__ = name
    return run


def actor_of(
    name: str, call: Callable[[Any], Any], targets: Mapping[str, Sequence[str]]
) -> type[Any]:
    """Return a class for actors; the parameters are as for `function_of`."""

    def run(_: Any, batch: Batch) -> Batch:
        _use_threads_of_task()
        return transform(batch, call, targets)

    return type(name, (), {"__call__": run})


def _use_threads_of_task() -> None:
    """Use as many threads as the task has CPUs.

    Ray sets OMP_NUM_THREADS for each task; the package reads it once in the life of a process, and
    a worker runs tasks of different numbers of CPUs.
    """
    count, _ = threads.default()
    threads.set_num_threads(count)


def transform(
    batch: Batch, call: Callable[[Any], Any], targets: Mapping[str, Sequence[str]]
) -> Batch:
    """Return a batch with the results; the parameters are as for `function_of`."""
    results: Batch = {}
    for column, names in targets.items():
        outputs = call(_rows_of(batch, column))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        results.update(zip(names, outputs, strict=True))
    return {**batch, **results}


def _rows_of(batch: Batch, column: str) -> Any:
    """Return a column as one array whose first axis counts the rows of the dataset."""
    if column not in batch:
        raise missing(column, batch)
    rows = batch[column]
    if rows.dtype == object and rows.ndim == 1:
        rows = _joined(rows, column)
    elif rows.ndim < 2:
        raise scalars(column, numpy_name(rows.dtype))
    name = numpy_name(rows.dtype)
    if name not in DTYPES:
        raise unsortable(column, name)
    return rows


def _joined(rows: Any, column: str) -> Any:
    """Return lists or arrays, one for each row of the dataset, as one array."""
    arrays = [np.asarray(row) for row in rows]
    shapes = sorted({array.shape for array in arrays})
    if () in shapes:
        missed = sum(row is None for row in rows)
        if not missed:
            raise scalars(column, numpy_name(rows.dtype))
        raise ValueError(
            f"column: expected an array in each row of {column!r}, got {missed} without one; leave "
            f"them out, as with ds.filter(lambda row: row[{column!r}] is not None)."
        )
    if len(shapes) > 1:
        raise ValueError(
            f"column: expected arrays of one shape in {column!r}, got {shapes[0]} and "
            f"{shapes[-1]} in one block; pad them to one length."
        )
    return np.stack(arrays)


def missing(column: str, known: Any) -> ValueError:
    """Return the error for a column that a dataset lacks."""
    names = ", ".join(map(repr, known))
    return ValueError(f"column: expected a column of the dataset ({names}), got {column!r}.")


def scalars(column: str, dtype: str) -> ValueError:
    """Return the error for a column that has no arrays."""
    return ValueError(
        f"column: expected arrays in {column!r}, got one value for each row ({dtype}). The "
        f"elements of each row are sorted here; ds.sort({column!r}) orders the rows of a dataset."
    )


def unsortable(column: str, dtype: str) -> TypeError:
    """Return the error for a column of a dtype that cannot be sorted."""
    return TypeError(
        f"column: dtype {dtype} of {column!r} cannot be sorted here; convert it to one of "
        f"{SUPPORTED}."
    )
