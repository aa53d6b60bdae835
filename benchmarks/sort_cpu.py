"""Times sorts of rows on the CPU beside np.sort, torch.sort and a copy, on one thread.

    python benchmarks/sort_cpu.py                          the whole table, for this machine
    python benchmarks/sort_cpu.py --arch x86-64-avx2       ours and NumPy limited to AVX2
    python benchmarks/sort_cpu.py --dtype float32 --length 9 25 100
    python benchmarks/sort_cpu.py --json sort.json --plot sort.svg

A ratio is the peer's median time over ours: above 1, we are faster. `goal` is the ratio to np.sort
that the project aims at, for float32 on a Zen 4 with AVX-512. The column `copy` has goals in
parentheses. `note` names the goals and the peers that a row loses to.
"""

from __future__ import annotations

import argparse
import os
import timeit
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _common

_GOAL = {
    "float32": {8: 14, 16: 7, 32: 4.5, 64: 3.5, 128: 2.2, 256: 1.7, 1024: 4.1, 4096: 1.0},
    "int32": {8: 8, 16: 8, 32: 5, 64: 2.5, 128: 2, 256: 1.5, 1024: 1.1, 4096: 1.0},
    **{name: dict.fromkeys((8, 16, 32, 64, 128, 256), 2.0) for name in ("int16", "float16")},
    **{name: dict.fromkeys((8, 16, 32, 64, 128), 1.3) for name in ("int64", "float64")},
}
_COPY_GOAL = {
    "float32": {8: 0.95, 16: 0.92, 32: 0.82, 64: 0.65, 128: 0.48, 256: 0.38, 1024: 0.28},
}
_LENGTHS = [8, 9, 16, 25, 32, 64, 100, 128, 256, 300, 512, 1024, 2048, 4096, 8192, 16384]
_TORCH_GOAL, _TORCH_LONGEST = 10.0, 1024
_COLUMNS, _COLUMN_LENGTHS, _COLUMNS_GOAL = 65536, (25, 64, 100, 256), 6.0
# A group of few rows takes as long as a full one. Therefore np.sort wins for few long rows.
_FEW_ROWS, _FEW_LENGTHS = (1, 4, 16, 64), (16, 64, 256, 1024, 4096)


def _values(dtype: str, shape: tuple[int, ...]) -> Any:
    import numpy as np

    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, shape, dtype=kind, endpoint=True)


def _measure(x: Any, axis: int, seconds: float, with_torch: bool) -> dict[str, float]:
    import numpy as np

    from warp_bitonic_sort import sort

    np.testing.assert_array_equal(sort(x, axis=axis), np.sort(x, axis=axis))
    peers = {
        "ours": lambda: sort(x, axis=axis),
        "np.sort": lambda: np.sort(x, axis=axis),
        "copy": lambda: x.copy(),
    }
    if with_torch:
        torch = _common.peer_torch()
        torch.set_num_threads(1)
        tensor = torch.from_numpy(x)
        peers["torch.sort"] = lambda: torch.sort(tensor, dim=axis)
    return _common.interleaved(peers, seconds)


def _row(name: str, times: dict[str, float], goal: float | None, torch_goal: float | None,
         elements: int, copy_goal: float | None = None) -> list[str]:  # fmt: skip
    numpy, copy = times["np.sort"] / times["ours"], times["copy"] / times["ours"]
    missed = [] if goal is None or numpy >= goal else ["below the goal"]
    if copy_goal is not None and copy < copy_goal:
        missed.append("copy: below the goal")
    if numpy < 1:
        missed.append("np.sort wins")
    torch = times.get("torch.sort")
    if torch is not None:
        ratio = torch / times["ours"]
        if torch_goal is not None and ratio < torch_goal:
            missed.append("torch: below the goal")
        if ratio < 1:
            missed.append("torch.sort wins")
    return [
        name,
        f"{times['ours'] / elements * 1e9:.2f}",
        f"{numpy:.2f}",
        "" if goal is None else f"{goal:g}",
        "" if torch is None else f"{torch / times['ours']:.1f}",
        f"{copy:.2f}" + ("" if copy_goal is None else f" ({copy_goal:g})"),
        ", ".join(missed),
    ]


def _entry(dtype: str, length: int, axis: int, times: dict[str, float]) -> dict[str, Any]:
    panel = dtype if axis else f"{dtype}, axis 0"
    return {"dtype": dtype, "panel": panel, "length": length, "axis": axis, "seconds": times}


def _repeated(call: Callable[[Any], object], x: Any, calls: int) -> Callable[[], object]:
    return lambda: timeit.timeit(lambda: call(x), number=calls)


def _few_rows(dtypes: list[str], seconds: float) -> list[dict[str, Any]]:
    import numpy as np

    from warp_bitonic_sort import sort

    measured = []
    for dtype in dtypes:
        rows = []
        for length in _FEW_LENGTHS:
            cells = [str(length)]
            for count in _FEW_ROWS:
                x = _values(dtype, (count, length))
                calls = max(1, 20000 // x.size)
                times = _common.interleaved(
                    {"ours": _repeated(sort, x, calls), "np.sort": _repeated(np.sort, x, calls)},
                    seconds / 4,
                )
                cells.append(f"{times['np.sort'] / times['ours']:.2f}")
                measured.append(
                    {
                        "dtype": dtype,
                        "rows": count,
                        "length": length,
                        "calls": calls,
                        "seconds": times,
                    }
                )
            rows.append(cells)
        header = ["row length", *(f"{count} row{'s' * (count > 1)}" for count in _FEW_ROWS)]
        print(f"\n{dtype}, few rows: times as fast as np.sort\n{_common.table(header, rows)}")
    return measured


def main() -> None:
    """Measure, print tables, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", help="limit our kernels and NumPy to this architecture")
    parser.add_argument("--dtype", nargs="+", default=list(_GOAL))
    parser.add_argument("--length", nargs="+", type=int, default=_LENGTHS)
    parser.add_argument("--elements", type=int, default=1 << 22)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each row of a table")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--few-rows", action="store_true", help="also 1 to 64 rows at a time")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", help="draw the percentages of a copy")
    options = parser.parse_args()
    _common.pin_numpy_to(options.arch)

    result: dict[str, Any] = {
        "machine": _common.machine(),
        "elements": options.elements,
        "rows": [],
    }
    for key, value in result["machine"].items():
        print(f"{key}: {value}")
    header = ["row length", "ns/element", "np.sort", "goal", "torch.sort", "copy", "note"]
    for dtype in options.dtype:
        rows = []
        for length in options.length:
            x = _values(dtype, (options.elements // length, length))
            times = _measure(x, -1, options.seconds, not options.no_torch)
            torch_goal = _TORCH_GOAL if length <= _TORCH_LONGEST else None
            goal = _GOAL.get(dtype, {}).get(length)
            copy_goal = _COPY_GOAL.get(dtype, {}).get(length)
            rows.append(_row(str(length), times, goal, torch_goal, x.size, copy_goal))
            result["rows"].append(_entry(dtype, length, -1, times))
        for length in _COLUMN_LENGTHS:
            x = _values(dtype, (length, _COLUMNS))
            times = _measure(x, 0, options.seconds, not options.no_torch)
            goal = _COLUMNS_GOAL if (dtype, length) == ("float32", 64) else None
            rows.append(_row(f"axis 0 of {x.shape}", times, goal, None, x.size))
            result["rows"].append(_entry(dtype, length, 0, times))
        print(f"\n{dtype}: times as fast as\n{_common.table(header, rows)}", flush=True)
    if options.few_rows:
        result["few_rows"] = _few_rows(options.dtype, options.seconds)
    if options.plot:
        _common.plot(result["rows"], options.plot, ("ours", "np.sort", "torch.sort"))
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
