"""Times warm calls on small arrays beside np.sort and torch.sort.

    python benchmarks/call_overhead.py

The arrays are 4 x 8 float32 on the CPU and, if there is a CUDA device, one row of 64 and 4 x 8 on
it. Calls on a device follow each other with one wait at the end. Operations with indices are timed
beside our own sort on the CPU, and beside torch.neg and torch.sort on a device.

`goal` is the highest ratio to the peer that the project allows.
"""

from __future__ import annotations

import argparse
import os
import timeit
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _common

_CALLS = 5000

# The array, our call, the peer's, the peer's name, and the goal.
_Case = tuple[str, Callable[[], object], Callable[[], object], str, float | None]


def _cuda_cases(torch: Any) -> list[_Case]:
    """Return the cases of arrays on a CUDA device."""
    from warp_bitonic_sort import argsort, median, sort, sort_with_indices, top_k

    row, small = torch.rand(1, 64, device="cuda"), torch.rand(4, 8, device="cuda")
    ours = (
        ("torch, CUDA, argsort", lambda: argsort(small)),
        ("torch, CUDA, with indices", lambda: sort_with_indices(small)),
    )
    peers = (
        (lambda: torch.neg(small), "torch.neg", 1.5),
        (lambda: torch.sort(small), "torch.sort", 0.35),
    )
    return [
        ("torch, CUDA", lambda: sort(row), lambda: torch.neg(row), "torch.neg", 1.2),
        ("torch, CUDA", lambda: sort(row), lambda: torch.sort(row), "torch.sort", 1 / 3),
        *((*call, *peer) for call in ours for peer in peers),
        ("torch, CUDA, top_k", lambda: top_k(small, 2), lambda: torch.neg(small), "torch.neg", 1.5),
        (
            "torch, CUDA, top_k",
            lambda: top_k(small, 2),
            lambda: torch.topk(small, 2),
            "torch.topk",
            None,
        ),
        ("torch, CUDA, median", lambda: median(small), lambda: torch.neg(small), "torch.neg", None),
        (
            "torch, CUDA, median",
            lambda: median(small),
            lambda: torch.median(small, dim=-1),
            "torch.median",
            None,
        ),
    ]


def main() -> None:
    """Measure, print a table, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="for each array")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()

    torch = _common.peer_torch()
    import numpy as np

    from warp_bitonic_sort import argsort, ranks, sort, sort_pairs, sort_with_indices

    torch.set_num_threads(1)
    x = np.random.default_rng(0).random((4, 8), dtype=np.float32)
    read_only = x.copy()
    read_only.flags.writeable = False
    out = np.empty_like(x)
    tensor = torch.from_numpy(x)

    def repeated(call: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            timeit.timeit(call, number=_CALLS)
            if torch.cuda.is_available():
                torch.cuda.synchronize()

        return run

    cases: list[_Case] = [
        ("NumPy", lambda: sort(x), lambda: np.sort(x), "np.sort", 5.0),
        ("NumPy, read-only", lambda: sort(read_only), lambda: np.sort(read_only), "np.sort", None),
        ("NumPy, out=", lambda: sort(x, out=out), lambda: np.sort(x), "np.sort", None),
        ("NumPy, argsort", lambda: argsort(x), lambda: sort(x), "our sort", 1.5),
        ("NumPy, with indices", lambda: sort_with_indices(x), lambda: sort(x), "our sort", None),
        ("NumPy, ranks", lambda: ranks(x), lambda: sort(x), "our sort", None),
        ("NumPy, pairs", lambda: sort_pairs(x, x), lambda: sort(x), "our sort", None),
        ("torch", lambda: sort(tensor), lambda: torch.sort(tensor), "torch.sort", 1.5),
    ]
    if torch.cuda.is_available():
        cases += _cuda_cases(torch)
    rows = []
    machine = _common.machine()
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    result: dict[str, Any] = {"machine": machine, "rows": []}
    for name, ours, peer, peer_name, goal in cases:
        times = _common.interleaved(
            {"ours": repeated(ours), "peer": repeated(peer)}, options.seconds
        )
        ratio = times["ours"] / times["peer"]
        note = "" if goal is None or ratio <= goal else "above the goal"
        rows.append(
            [
                name,
                f"{times['ours'] / _CALLS * 1e6:.2f}",
                peer_name,
                f"{times['peer'] / _CALLS * 1e6:.2f}",
                f"{ratio:.2f}",
                "" if goal is None else f"{goal:.2g}",
                note,
            ]
        )
        result["rows"].append(
            {"array": name, "peer": peer_name, "calls": _CALLS, "goal": goal, "seconds": times}
        )
    for key, value in result["machine"].items():
        print(f"{key}: {value}")
    header = ["array", "us a call", "peer", "us a call", "times the peer", "goal", "note"]
    print(f"\n{_common.table(header, rows)}")
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
