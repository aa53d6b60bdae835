"""Cases of xarray for the benchmark of engines: a climate series in chunks of space.

Invariant: the series is in memory; a call computes its result, by Dask with one thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    x = xr.DataArray(da.from_array(values, chunks=(times, 60, 60)), dims=dims)

    def computed(lazy: Any) -> Any:
        return lazy.compute(scheduler="synchronous")

    rows = latitudes * longitudes
    for name, ours, theirs in (
        (
            "quantile 0.9, skipna",
            lambda: computed(wx.quantile(x, 0.9, "time")),
            lambda: computed(x.quantile(0.9, "time")),
        ),
        (
            "median, skipna",
            lambda: computed(wx.median(x, "time")),
            lambda: computed(x.median("time")),
        ),
    ):
        array = f"{times} x {latitudes} x {longitudes}"
        yield Case(name, array, rows, {"ours": ours, "theirs": theirs}, np.asarray)
