"""Cases of xarray for the benchmark of engines: a climate series, whole or in chunks of space.

Invariant: the series is in memory; a call computes its result, of chunks by Dask with one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _engines_tables import Case


def xarray_cases(latitudes: int = 180, longitudes: int = 360) -> Iterator[Case]:
    """Yield cases of a value a year for 30 years, and of a value a day for ten years."""
    for times in (30, 3650):
        yield from _cases(times, latitudes, longitudes)


def _cases(times: int, latitudes: int, longitudes: int) -> Iterator[Case]:
    """Yield cases of an array of times, latitudes and longitudes, of which a tenth is missing."""
    import dask.array as da
    import xarray as xr

    from warp_bitonic_sort import xarray as wx

    rng = np.random.default_rng(0)
    values = rng.random((times, latitudes, longitudes), np.float32)
    values[rng.random(values.shape, np.float32) < 0.1] = np.nan
    dims = ("time", "latitude", "longitude")
    whole = xr.DataArray(values, dims=dims)
    chunks = xr.DataArray(da.from_array(values, chunks=(times, 60, 60)), dims=dims)

    def computed(lazy: Any) -> Any:
        return lazy.compute(scheduler="synchronous")

    rows, array = latitudes * longitudes, f"{times} x {latitudes} x {longitudes}"
    for place, x in (("in memory", whole), ("in chunks", chunks)):
        peers: dict[str, dict[str, Callable[[Any], Any]]] = {
            "quantile 0.9": {
                "ours": lambda x: wx.quantile(x, 0.9, "time"),
                "theirs": lambda x: x.quantile(0.9, "time"),
            },
            "median": {
                "ours": lambda x: wx.median(x, "time"),
                "theirs": lambda x: x.median("time"),
            },
        }
        for name, functions in peers.items():
            calls = {
                peer: lambda x=x, function=function: computed(function(x))
                for peer, function in functions.items()
            }
            yield Case(f"{name}, {place}", array, rows, calls, np.asarray)
