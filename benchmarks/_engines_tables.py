"""Cases of Ray Data and Polars for the benchmark of engines.

Invariant: the calls of a case return the same rows, so that they can be compared; but ``identity``,
which passes the blocks through the engine and computes nothing. No function can be faster there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

# One thread beside one thread. Polars reads the variable when it is imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

Call = Callable[[], Any]


class Case(NamedTuple):
    """Calls that do the same, of different peers.

    Parameters
    ----------
    name : str
        What is called.
    array : str
        The shape of the rows.
    rows : int
        How many rows a call processes.
    calls : mapping of str to callable
        The calls by peer: ``ours``, ``numpy``, ``identity``, and ``theirs``, the engine's own
        function, where it has one.
    read : callable
        ``read(result)``: the result of a call as an array.
    """

    name: str
    array: str
    rows: int
    calls: Mapping[str, Call]
    read: Callable[[Any], Any]


def polars_cases(rows: int = 200_000, length: int = 25) -> Iterator[Case]:
    """Yield cases of a data frame with a column of arrays, and one of lists."""
    import polars as pl

    import warp_bitonic_sort.polars  # noqa: F401

    array = pl.col("a")
    frame = pl.DataFrame({"a": np.random.default_rng(0).random((rows, length), np.float32)})
    lists = frame.select(array.arr.to_list())
    wbs: Any = array.wbs

    def by_numpy(function: Callable[[Any], Any], dtype: Any, column: pl.Series) -> pl.Series:
        values = column.list.to_array(length) if column.dtype == pl.List else column
        result = pl.Series(column.name, function(values.to_numpy(allow_copy=False)))
        return result.arr.to_list() if dtype == pl.List else result

    def numpy_of(function: Callable[[Any], Any], dtype: Any) -> pl.Expr:
        return array.map_batches(partial(by_numpy, function, dtype), dtype, is_elementwise=True)

    def identity() -> pl.Expr:  # Polars keeps the dtype of an expression's first use
        return array.map_batches(lambda column: column, pl.self_dtype(), is_elementwise=True)

    arrays, floats = frame.schema["a"], pl.Float32
    middle = array.list.eval(pl.element().quantile(0.3, "linear")).list.first()
    cases: dict[str, tuple[pl.DataFrame, dict[str, pl.Expr]]] = {
        "sort of arrays": (
            frame,
            {"ours": wbs.sort(), "theirs": array.arr.sort(), "numpy": numpy_of(np.sort, arrays)},
        ),
        "sort of lists": (
            lists,
            {
                "ours": wbs.sort(),
                "theirs": array.list.sort(),
                "numpy": numpy_of(np.sort, pl.List(floats)),
            },
        ),
        "median": (
            frame,
            {
                "ours": wbs.median(),
                "theirs": array.arr.median(),
                "numpy": numpy_of(partial(np.median, axis=1), floats),
            },
        ),
        "quantile 0.3": (
            lists,
            {
                "ours": wbs.quantile(0.3),
                "theirs": middle,
                "numpy": numpy_of(partial(np.quantile, q=0.3, axis=1), floats),
            },
        ),
        "top 3": (
            frame,
            {
                "ours": wbs.top_k(3),
                "theirs": array.arr.sort(descending=True).arr.head(3, as_array=True),
                "numpy": numpy_of(lambda x: -np.sort(-x)[:, :3], pl.Array(floats, 3)),
            },
        ),
    }
    for name, (data, expressions) in cases.items():
        calls: dict[str, Call] = {
            peer: partial(data.select, expression) for peer, expression in expressions.items()
        }
        calls["identity"] = partial(data.select, identity())
        yield Case(
            name, f"{rows} x {length}", rows, calls, lambda result: np.array(result["a"].to_list())
        )


def ray_cases(
    cpus: int = 2, rows: int = 6_000_000, length: int = 25, blocks: int = 12
) -> Iterator[Case]:
    """Yield cases of a dataset, on a Ray of so many CPUs, which ends with the last case."""
    import logging

    import ray
    import ray.data

    from warp_bitonic_sort import ray as wray

    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    x = np.random.default_rng(0).random((rows, length), np.float32)
    ds = ray.data.from_numpy([*np.array_split(x, blocks)])

    def mapped(function: Callable[[Any], Any]) -> Call:
        def run(batch: dict[str, Any]) -> dict[str, Any]:
            return {"data": function(batch["data"])}

        return lambda: ds.map_batches(
            run, batch_format="numpy", batch_size=None, zero_copy_batch=True
        ).materialize()

    def first(result: Any) -> Any:
        (batch,) = result.limit(1000).iter_batches(batch_size=None, batch_format="numpy")
        return batch["data"]

    # Our call, NumPy's function, and what has its shape without computing.
    cases: dict[str, tuple[Call, Callable[[Any], Any], Callable[[Any], Any]]] = {
        "sort": (lambda: wray.sort(ds, "data").materialize(), np.sort, lambda x: x),
        "median": (
            lambda: wray.median(ds, "data").materialize(),
            partial(np.median, axis=1),
            lambda x: x[:, 0],
        ),
    }
    try:
        for name, (ours, theirs, nothing) in cases.items():
            calls = {
                "ours": ours,
                "numpy": mapped(theirs),
                "identity": mapped(nothing),
            }
            yield Case(f"{name}, {cpus} CPUs", f"{rows} x {length}", rows, calls, first)
    finally:
        ray.shutdown()
