"""Cases of Dask for the benchmark of engines.

Invariant: the blocks are in the memory of the workers before a call, and its result stays there:
only the engine, and the function that it calls, take time. Calls take turns on several arrays,
because Dask would not compute an equal result again while it remembers the last one.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _engines_tables import Case

_ARRAYS = 5


def dask_cases(
    processes: int = 2, rows: int = 2_400_000, length: int = 25, blocks: int = 24
) -> Iterator[Case]:
    """Yield cases of an array on so many processes of one thread, which end with the last case."""
    import dask.array as da
    import distributed

    from warp_bitonic_sort import dask as wd

    with (
        distributed.LocalCluster(
            n_workers=processes, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster),
    ):
        size = rows // blocks
        shape, chunks = (size * blocks, length), (size, length)
        arrays = [
            da.random.default_rng(seed).random(shape, dtype=np.float32, chunks=chunks).persist()
            for seed in range(_ARRAYS)
        ]
        distributed.wait(arrays)
        x = arrays[0]
        turns = itertools.cycle(arrays)

        def waited(function: Callable[[Any], Any]) -> Callable[[], Any]:
            def run() -> Any:
                distributed.wait(function(next(turns)).persist())
                return function

            return run

        def read(function: Callable[[Any], Any]) -> Any:
            return function(x)[:1000].compute()

        def mapped(function: Callable[[Any], Any], **options: Any) -> Callable[[Any], Any]:
            return lambda x: x.map_blocks(function, dtype=x.dtype, **options)

        reduced = {"drop_axis": 1, "meta": np.empty(0, np.float32)}
        functions: dict[str, dict[str, Callable[[Any], Any]]] = {
            "sort": {"ours": wd.sort, "numpy": mapped(np.sort)},
            "median": {
                "ours": wd.median,
                "numpy": mapped(partial(np.median, axis=1), **reduced),
                "theirs": partial(da.median, axis=1),
            },
            "quantile 0.3": {
                "ours": lambda x: wd.quantile(x, 0.3),
                "numpy": mapped(partial(np.quantile, q=np.float32(0.3), axis=1), **reduced),
                "theirs": lambda x: da.quantile(x, np.float32(0.3), axis=1),
            },
            "top 3": {
                "ours": lambda x: wd.top_k(x, 3).values,
                "numpy": mapped(lambda x: -np.sort(-x)[:, :3], chunks=(x.chunks[0], (3,))),
                "theirs": lambda x: da.topk(x, 3, axis=1),
            },
        }
        for name, peers in functions.items():
            peers["identity"] = mapped(lambda block: block)
            calls = {peer: waited(function) for peer, function in peers.items()}
            array = f"{len(x)} x {length}"
            yield Case(f"{name}, {processes} processes", array, len(x), calls, read)
