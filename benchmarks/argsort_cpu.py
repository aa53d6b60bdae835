"""Times sort_with_indices on the CPU beside np.argsort, torch.sort and sort, on one thread.

    python benchmarks/argsort_cpu.py                         the whole table, for this machine
    python benchmarks/argsort_cpu.py --arch x86-64-avx2      ours and NumPy limited to AVX2
    python benchmarks/argsort_cpu.py --length 8 64 --data normal "half zeros"

Results are int32 indices and, except for `argsort`, values, in the same memory in every call. NumPy
and PyTorch return new arrays, with int64 indices. Each call sorts the next of several arrays, so
that branch predictors do not learn the data. A ratio is the peer's least time over ours: above 1,
we are faster. `goal` is the lowest ratio to np.argsort that the project promises. `sort` is the
share of our time that `sort`, which finds no indices, takes: the goal is at least 0.4, and 0.5
along axis 0.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _common

_GOAL = {8: 8, 16: 7, 32: 6, 64: 5, 128: 4.5, 256: 4.5, 1024: 10}
_GOAL_SHARE_WITH_AVX2 = 0.6
_STABLE_GOAL, _STABLE_SHORTEST = 20, 64
_LENGTHS = [8, 9, 16, 25, 32, 64, 100, 128, 256, 300, 512, 1024, 4096]
_COLUMN_LENGTHS = [8, 9, 25, 64, 100, 256]
# Elements of an array: inputs and outputs in the caches, or in memory.
_SIZES = {"in cache": 1 << 17, "in memory": 1 << 22}
_ARRAYS = {"in cache": 4, "in memory": 2}
_FEW_SHAPE = (4, 8)


def _data(kind: str, dtype: str, shape: tuple[int, ...], seed: int) -> Any:
    """Return an array of one kind of data, its rows along the last axis."""
    import numpy as np

    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    x: Any = rng.standard_normal(shape)
    rows, place = np.arange(shape[0]), rng.integers(0, shape[1], shape[0])
    if kind == "one outlier":
        x[rows, place] = 1e30
    elif kind == "heavy tails":
        x = rng.standard_cauchy(shape)
    elif kind == "all equal":
        x[:] = 1.5
    elif kind == "sorted":
        x.sort()
    elif kind == "reversed":
        x = -np.sort(x)
    elif kind == "small integers":
        x = rng.integers(0, 16, shape)
    elif kind == "a quarter -inf":
        x[rng.random(shape) < 0.25] = -np.inf
    elif kind == "half zeros":
        x[x < 0] = 0
    elif kind == "one NaN":
        x[rows, place] = np.nan
    elif kind == "equal prefixes":
        # Nothing but the last bits of the mantissa differs, beside two outliers.
        x = 1 + rng.integers(0, shape[1], shape) * float(np.finfo(dtype).eps)
        x[:, 0], x[:, -1] = 1e30, -1e30
    return x.astype(dtype)


_DATA = [
    "normal",
    "one outlier",
    "heavy tails",
    "all equal",
    "sorted",
    "reversed",
    "small integers",
    "a quarter -inf",
    "half zeros",
    "one NaN",
    "equal prefixes",
]


def _next(call: Callable[[Any], object], arrays: list[Any]) -> Callable[[], object]:
    rotation: Iterator[Any] = itertools.cycle(arrays)
    return lambda: call(next(rotation))


def _measure(arrays: list[Any], axis: int, seconds: float, torch: Any) -> dict[str, float]:
    import numpy as np

    from warp_bitonic_sort import argsort, sort, sort_with_indices

    x = arrays[0]
    values, indices = np.empty_like(x), np.empty(x.shape, np.int32)
    expected = np.argsort(x, axis=axis, kind="stable")
    np.testing.assert_array_equal(argsort(x, axis=axis, index_dtype="int32"), expected)
    peers = {
        "ours": lambda x: sort_with_indices(x, axis=axis, out=(values, indices)),
        "argsort": lambda x: argsort(x, axis=axis, out=indices),
        "sort": lambda x: sort(x, axis=axis, out=values),
        "np.argsort": lambda x: np.argsort(x, axis=axis),
        "np.argsort, stable": lambda x: np.argsort(x, axis=axis, kind="stable"),
    }
    calls = {name: _next(call, arrays) for name, call in peers.items()}
    if torch is not None:
        tensors = [torch.from_numpy(x) for x in arrays]
        calls["torch.sort"] = _next(lambda x: torch.sort(x, dim=axis), tensors)
    return _common.interleaved(calls, seconds, statistic=min)


def _row(name: str, times: dict[str, float], elements: int, goal: float | None,
         stable_goal: float | None, sort_goal: float) -> list[str]:  # fmt: skip
    ours = times["ours"]
    ratio = {peer: seconds / ours for peer, seconds in times.items()}
    missed = []
    if goal is not None and ratio["np.argsort"] < goal:
        missed.append("np.argsort: below the goal")
    if stable_goal is not None and ratio["np.argsort, stable"] < stable_goal:
        missed.append("stable: below the goal")
    if ratio["sort"] < sort_goal:
        missed.append("sort: below the goal")
    return [
        name,
        f"{ours / elements * 1e9:.2f}",
        f"{times['argsort'] / elements * 1e9:.2f}",
        f"{ratio['np.argsort']:.1f}",
        "" if goal is None else f"{goal:.3g}",
        f"{ratio['np.argsort, stable']:.1f}",
        f"{ratio['torch.sort']:.0f}" if "torch.sort" in ratio else "",
        f"{ratio['sort']:.2f}",
        ", ".join(missed),
    ]


_HEADER = ["ns/element", "argsort", "np.argsort", "goal", "stable", "torch.sort", "sort", "note"]


def _one_call() -> dict[str, float]:
    import timeit

    import numpy as np

    from warp_bitonic_sort import argsort, sort, sort_with_indices

    x = _data("normal", "float32", _FEW_SHAPE, 0)
    calls = {
        "sort": lambda: sort(x),
        "sort_with_indices": lambda: sort_with_indices(x),
        "argsort": lambda: argsort(x),
        "np.argsort": lambda: np.argsort(x),
    }
    number = 2000
    repeated = {
        name: (lambda call=call: timeit.timeit(call, number=number)) for name, call in calls.items()
    }
    times = _common.interleaved(repeated, 2.0, statistic=min)
    return {name: seconds / number for name, seconds in times.items()}


def main() -> None:
    """Measure, print tables, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", help="limit our kernels and NumPy to this architecture")
    parser.add_argument("--dtype", nargs="+", default=["float32"])
    parser.add_argument("--length", nargs="+", type=int, default=_LENGTHS)
    parser.add_argument("--data", nargs="+", default=["normal"], choices=_DATA, metavar="KIND",
                        help=f"any of: {', '.join(_DATA)} (integers: random)")  # fmt: skip
    parser.add_argument("--all-data", action="store_true", help="every kind of data")
    parser.add_argument("--where", nargs="+", default=list(_SIZES), choices=list(_SIZES))
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row of a table")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--no-columns", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    _common.pin_numpy_to(options.arch)
    import numpy as np

    torch = None
    if not options.no_torch:
        torch = _common.peer_torch()
        torch.set_num_threads(1)
    result: dict[str, Any] = {"machine": _common.machine(), "rows": []}
    for key, value in result["machine"].items():
        print(f"{key}: {value}")
    share = _GOAL_SHARE_WITH_AVX2 if result["machine"]["arch"] == "x86-64-avx2" else 1
    kinds = _DATA if options.all_data else options.data
    for dtype, where, kind in itertools.product(options.dtype, options.where, kinds):
        elements, rows = _SIZES[where], []
        cells = [(length, -1) for length in options.length]
        if kind == "normal" and not options.no_columns:
            cells += [(length, 0) for length in _COLUMN_LENGTHS if length in options.length]
        for length, axis in cells:
            arrays = [_data(kind, dtype, (elements // length, length), seed)
                      for seed in range(_ARRAYS[where])]  # fmt: skip
            if axis == 0:
                arrays = [np.ascontiguousarray(x.T) for x in arrays]
            times = _measure(arrays, axis, options.seconds, torch)
            promised = dtype == "float32" and kind == "normal" and axis == -1
            rows.append(
                _row(
                    str(length) if axis else f"{length}, axis 0",
                    times,
                    arrays[0].size,
                    _GOAL[length] * share if promised and length in _GOAL else None,
                    _STABLE_GOAL * share if promised and length >= _STABLE_SHORTEST else None,
                    0.4 if axis else 0.5,
                )
            )
            result["rows"].append(
                {"dtype": dtype, "where": where, "data": kind, "length": length, "axis": axis,
                 "seconds": times}
            )  # fmt: skip
        table = _common.table(["row length", *_HEADER], rows)
        print(f"\n{dtype}, {kind}, {where}: times as fast as\n{table}", flush=True)
    result["one_call"] = _one_call()
    print(f"\none call of {_FEW_SHAPE[0]} rows of {_FEW_SHAPE[1]} float32, in microseconds:")
    for name, seconds in result["one_call"].items():
        print(f"- {name}: {seconds * 1e6:.2f}")
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
