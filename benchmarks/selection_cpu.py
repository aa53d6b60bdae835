"""Times top_k, median and quantile on the CPU beside NumPy, PyTorch and bottleneck, on one thread.

    python benchmarks/selection_cpu.py                       all tables, for this machine
    python benchmarks/selection_cpu.py --arch x86-64-avx2    ours and NumPy limited to AVX2
    python benchmarks/selection_cpu.py --part rows --length 64 256 --k 8 32

`rows`: the k largest float32 of many rows, 2^18 elements, which fit the caches; ours returns int32
indices. `long rows`: one row, as of a vocabulary; times are of whole calls. `stacks`: medians and
quantiles along axis 0 of 25 images. A ratio is the peer's least time over ours: above 1, we are
faster. `goal` is the lowest ratio that the project promises, to torch.topk or to the peer that is
named. bottleneck is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _common

_ELEMENTS = 1 << 18
_LENGTHS = [16, 32, 64, 100, 128, 256, 512, 1024]
# The goals are for k = 8, with AVX-512. With AVX2 they are half as high.
_GOAL = {16: 20, 32: 20, 64: 20, 128: 20, 256: 20, 512: 10, 1024: 7}
_GOAL_K = 8
_GOAL_SHARE_WITH_AVX2 = 0.5
_LONG = [(4096, 8), (32000, 50), (50257, 50), (131072, 50)]
_LONG_GOAL = {(50257, 50): 10}
_STACK = (25, 512, 512)
_PARTS = ["rows", "long rows", "stacks"]
_Call = Callable[[], object]


def _times(calls: dict[str, _Call], seconds: float) -> dict[str, float]:
    return _common.interleaved(calls, seconds, statistic=min)


def _check(x: Any, k: int, values: Any, indices: Any) -> None:
    import numpy as np

    order = np.argsort(-x, axis=-1, kind="stable")[..., :k]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(values, np.take_along_axis(x, order, -1))


def _selections(shape: tuple[int, ...], k: int, seconds: float, torch: Any) -> dict[str, float]:
    """Return the least time of each way to the k largest elements."""
    import numpy as np

    from warp_bitonic_sort import sort_with_indices, top_k

    x = np.random.default_rng(k).standard_normal(shape, np.float32)
    _check(x, k, *top_k(x, k))
    tensor = torch.from_numpy(x)
    return _times(
        {
            "ours": lambda: top_k(x, k, index_dtype="int32"),
            "sort_with_indices": lambda: sort_with_indices(x, index_dtype="int32"),
            "np.argpartition": lambda: np.argpartition(x, -k, axis=-1),
            "torch.topk": lambda: torch.topk(tensor, k),
        },
        seconds,
    )


def _ratios(row: dict[str, Any], name: str, unit: float) -> list[str]:
    """Return the line of a table; the ratios are those of the peers in their order."""
    times, goal = row["seconds"], row["goal"]
    ratio = {peer: seconds / times["ours"] for peer, seconds in times.items() if peer != "ours"}
    missed = goal is not None and ratio["torch.topk"] < goal
    return [
        name,
        f"{times['ours'] * unit:.2f}",
        *[f"{value:.1f}" for value in ratio.values()],
        "" if goal is None else f"{goal:.3g}",
        "below the goal" if missed else "",
    ]


_PEERS = ["sort_with_indices", "np.argpartition", "torch.topk", "goal", "note"]


def _stacks(seconds: float) -> list[dict[str, Any]]:
    """Return the times of reductions of a stack of images."""
    import numpy as np

    from warp_bitonic_sort import median, quantile

    x = np.random.default_rng(0).standard_normal(_STACK, np.float32)
    holes = np.where(np.random.default_rng(1).random(_STACK) < 0.1, np.float32("nan"), x)
    # np.nanquantile takes a second for this part of it.
    part = holes[:, :64, :64].copy()
    try:
        bottleneck = importlib.import_module("bottleneck")
    except ImportError:
        bottleneck = None
    rows = []

    def add(name: str, ours: _Call, peers: dict[str, tuple[_Call, int | None]]) -> None:
        calls = {"ours": ours, **{peer: call for peer, (call, _) in peers.items()}}
        results = {peer: np.asarray(call()) for peer, call in calls.items()}
        for result in results.values():
            np.testing.assert_allclose(results["ours"], result, rtol=1e-6)
        goals = {peer: goal for peer, (_, goal) in peers.items() if goal is not None}
        rows.append(
            {"panel": "stacks", "case": name, "goals": goals, "seconds": _times(calls, seconds)}
        )

    peers: dict[str, tuple[_Call, int | None]] = {"np.median": (lambda: np.median(x, axis=0), 20)}
    if bottleneck is not None:
        peers["bottleneck.median"] = (lambda: bottleneck.median(x, axis=0), 15)
    add("median", lambda: median(x, axis=0), peers)
    peers = {"np.nanmedian": (lambda: np.nanmedian(holes, axis=0), None)}
    if bottleneck is not None:
        peers["bottleneck.nanmedian"] = (lambda: bottleneck.nanmedian(holes, axis=0), 15)
    add("median, NaNs left out", lambda: median(holes, axis=0, nan="omit"), peers)
    add(
        "0.9 quantile of 64 times 64, NaNs left out",
        lambda: quantile(part, 0.9, axis=0, nan="omit"),
        {"np.nanquantile": (lambda: np.nanquantile(part, 0.9, axis=0), 100)},
    )
    return rows


def _stack_lines(row: dict[str, Any]) -> list[list[str]]:
    """Return the lines of a table, one for each peer."""
    times, lines = row["seconds"], []
    for peer in (name for name in times if name != "ours"):
        ratio, goal = times[peer] / times["ours"], row["goals"].get(peer)
        lines.append([
            row["case"], peer, f"{times['ours'] * 1e3:.3f}", f"{ratio:.1f}",
            "" if goal is None else str(goal),
            "below the goal" if goal is not None and ratio < goal else "",
        ])  # fmt: skip
    return lines


def main() -> None:
    """Measure, print tables, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", help="limit our kernels and NumPy to this architecture")
    parser.add_argument("--part", nargs="+", default=_PARTS, choices=_PARTS)
    parser.add_argument("--length", nargs="+", type=int, default=_LENGTHS)
    parser.add_argument("--k", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each row of a table")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    _common.pin_numpy_to(options.arch)
    torch = _common.peer_torch()
    torch.set_num_threads(1)
    machine = _common.machine("bottleneck")
    for key, value in machine.items():
        print(f"{key}: {value}")
    share = _GOAL_SHARE_WITH_AVX2 if machine["arch"] == "x86-64-avx2" else 1
    rows: list[dict[str, Any]] = []

    def add(part: str, shape: tuple[int, int], k: int, goal: float | None) -> dict[str, Any]:
        times = _selections(shape, k, options.seconds, torch)
        rows.append(
            {"panel": part, "rows": shape[0], "length": shape[1], "k": k,
             "goal": None if goal is None else goal * share, "seconds": times}
        )  # fmt: skip
        return rows[-1]

    def show(part: str, header: list[str], table: list[list[str]]) -> None:
        print(f"\n{part}: times as fast as\n{_common.table(header, table)}", flush=True)

    if "rows" in options.part:
        lines = []
        for k in options.k:
            for length in (length for length in options.length if k < length):
                shape = _ELEMENTS // length, length
                row = add("rows", shape, k, _GOAL.get(length) if k == _GOAL_K else None)
                lines.append(_ratios(row, f"{length}, {k}", 1e9 / (shape[0] * length)))
        show("rows", ["row length, k", "ns/element", *_PEERS], lines)
    if "long rows" in options.part:
        lines = []
        for length, k in _LONG:
            row = add("long rows", (1, length), k, _LONG_GOAL.get((length, k)))
            lines.append(_ratios(row, f"{length}, {k}", 1e6))
        show("long rows", ["row length, k", "µs", *_PEERS], lines)
    if "stacks" in options.part:
        stacks = _stacks(options.seconds)
        rows += stacks
        header = ["", "peer", "ms", "ratio", "goal", "note"]
        show("stacks", header, [line for row in stacks for line in _stack_lines(row)])
    _common.report({"machine": machine, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
