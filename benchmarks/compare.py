"""Compares two checkouts: the speed of their sorts on the CPU, or their kernels' machine code.

    python benchmarks/compare.py OLD NEW                       speed, the whole table
    python benchmarks/compare.py OLD NEW --dtype float32 --length 9 25 100
    python benchmarks/compare.py OLD NEW --code                machine code, no device is needed

OLD and NEW are working trees. Each is measured in a process of its own. Their calls alternate, so
that other work on the machine slows both alike. A ratio is OLD's median time over NEW's: above 1,
NEW is faster. Offsets of arguments do not count as a difference of code.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _common
import _machine_code

_DTYPES = ["float32", "int32", "int16", "float64"]
_LENGTHS = [8, 25, 32, 100, 256, 1024, 4096]

# For each line that it reads, a cell as JSON, it prints the seconds of a few calls.
_WORKER = """
import json, sys, time
import numpy as np
from warp_bitonic_sort import sort

arrays = {}
for line in sys.stdin:
    dtype, length, axis, elements = cell = tuple(json.loads(line))
    if cell not in arrays:
        shape = (elements // length, length) if axis else (length, elements // length)
        x = np.random.default_rng(0).standard_normal(shape)
        x = x.astype(dtype) if np.dtype(dtype).kind == "f" else (x * 1000).astype(dtype)
        np.testing.assert_array_equal(sort(x, axis=axis), np.sort(x, axis=axis))
        arrays = {cell: x}
    x = arrays[cell]
    sort(x, axis=axis)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        sort(x, axis=axis)
        seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds), flush=True)
"""


class _Checkout:
    """A process that sorts with a checkout."""

    def __init__(self, folder: Path, cache: Path) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(folder / "src"),
            "WARP_SORT_CACHE_DIR": str(cache),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=cache,
        )

    def seconds(self, cell: tuple[str, int, int, int]) -> list[float]:
        """Return the seconds of a few calls."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        self._process.stdin.write(json.dumps(cell) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the sort of {cell} failed")
        seconds: list[float] = json.loads(answer)
        return seconds

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _compare_speed(options: argparse.Namespace) -> dict[str, Any]:
    cells = [(dtype, n, -1, options.elements) for dtype in options.dtype for n in options.length]
    cells += [(dtype, 64, 0, options.elements) for dtype in options.dtype]
    header = ["dtype", "row length", "axis", "OLD ms", "NEW ms", "OLD / NEW"]
    rows, result = [], []
    with tempfile.TemporaryDirectory() as folder:
        caches = [Path(folder) / name for name in ("old", "new")]
        for cache in caches:
            cache.mkdir()
        checkouts = [
            _Checkout(tree, cache)
            for tree, cache in zip((options.old, options.new), caches, strict=True)
        ]
        for cell in cells:
            pair: list[list[float]] = [[], []]
            end = time.perf_counter() + options.seconds
            while time.perf_counter() < end or len(pair[0]) < 6:
                for times, checkout in zip(pair, checkouts, strict=True):
                    times += checkout.seconds(cell)
            old, new = map(statistics.median, pair)
            dtype, length, axis, _ = cell
            rows.append([dtype, str(length), str(axis), f"{old * 1e3:.3f}", f"{new * 1e3:.3f}",
                         f"{old / new:.3f}"])  # fmt: skip
            result.append({"dtype": dtype, "length": length, "axis": axis, "old": old, "new": new})
        for checkout in checkouts:
            checkout.close()
    print(_common.table(header, rows))
    ratios = [row["old"] / row["new"] for row in result]
    print(f"\nOLD / NEW: median {statistics.median(ratios):.3f}, lowest {min(ratios):.3f}")
    return {"elements": options.elements, "rows": result}


def _compare_code(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        codes = _machine_code.compare(options.old, options.new, Path(folder))
    rows, result, differing = [], [], 0
    for cell, (old, new) in codes.items():
        difference = _machine_code.describe(old, new)
        differing += bool(difference)
        rows.append([cell.name, str(len(new.instructions)), new.resources, difference or "same"])
        result.append({
            "cell": cell.name,
            "instructions": len(new.instructions),
            "resources": new.resources,
            "difference": difference,
            "changes": _machine_code.changes(old, new),
        })  # fmt: skip
    print(_common.table(["cell", "instructions", "resources", "difference"], rows))
    print(f"\n{len(codes)} cells, {differing} differ")
    return {"cells": result}


def main() -> None:
    """Compare, print a table, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--code", action="store_true", help="compare machine code, not speed")
    parser.add_argument("--dtype", nargs="+", default=_DTYPES)
    parser.add_argument("--length", nargs="+", type=int, default=_LENGTHS)
    parser.add_argument("--elements", type=int, default=1 << 20)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row of the table")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    for tree in (options.old, options.new):
        if not (tree / "src" / "warp_bitonic_sort").is_dir():
            parser.error(f"{tree} is not a checkout of this project")
    options.old, options.new = options.old.resolve(), options.new.resolve()
    result = _compare_code(options) if options.code else _compare_speed(options)
    _common.report({"old": str(options.old), "new": str(options.new), **result}, options.json)


if __name__ == "__main__":
    main()
