"""Times calls alternately, describes the machine, and writes tables and JSON, for all benchmarks.

Invariant: peers are timed alternately within one process, so that other work on the machine slows
all of them alike. The report has the median of all timed calls, or the least.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from warp_bitonic_sort.cli import _bench_machine, _bench_timing

# NumPy's features beyond AVX2, by their names in NPY_DISABLE_CPU_FEATURES.
_BEYOND_AVX2 = (
    "AVX512F AVX512CD AVX512_KNL AVX512_KNM AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR "
    "X86_V4"
)


def pin_numpy_to(arch: str | None) -> None:
    """Restart this script with NumPy limited to the instructions of a CPU's architecture."""
    if arch is None or os.environ.get("WARP_SORT_CPU_ARCH") == arch:
        return
    environment = {**os.environ, "WARP_SORT_CPU_ARCH": arch}
    if arch == "x86-64-avx2":
        known = subprocess.run(
            [
                sys.executable,
                "-c",
                "import numpy as np; f = np._core._multiarray_umath.__cpu_dispatch__; print(*f)",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        environment["NPY_DISABLE_CPU_FEATURES"] = " ".join(
            name for name in _BEYOND_AVX2.split() if name in known
        )
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606


def peer_torch() -> Any:
    """Return torch, or end with an error."""
    try:
        import torch
    except ImportError:
        raise SystemExit("this needs PyTorch: pip install torch") from None
    return torch


def device_torch() -> Any:
    """Return torch if it has a CUDA device, or end with an error."""
    torch = peer_torch()
    if not torch.cuda.is_available():
        raise SystemExit("this needs a CUDA device, and a build of PyTorch that sees it")
    return torch


def interleaved(
    peers: Mapping[str, Callable[[], object]],
    seconds: float,
    min_calls: int = 5,
    statistic: Callable[[Sequence[float]], float] = statistics.median,
) -> dict[str, float]:
    """Call the peers alternately until the time is up; return the median seconds of each.

    Another statistic than the median may be given.
    """
    times = _bench_timing.interleaved(peers, seconds, min_calls)
    return {name: statistic(values) for name, values in times.items()}


def machine(*libraries: str) -> dict[str, Any]:
    """Describe the machine, the command and the versions, also of other libraries."""
    from warp_bitonic_sort.targets.common.host import find_compiler

    described = _bench_machine.describe(
        " ".join(["python", *sys.argv]), ("numpy", "torch", "apache-tvm-ffi", *libraries)
    )
    return {
        **described,
        "numpy_disabled": os.environ.get("NPY_DISABLE_CPU_FEATURES", ""),
        "compiler": find_compiler().version().splitlines()[0],
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.rjust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def report(result: Mapping[str, Any], file: str | None) -> None:
    """Write the whole result as JSON if a file is named."""
    if file is not None:
        Path(file).write_text(json.dumps(result, indent=1) + "\n")
        print(f"\nJSON: {file}")


def plot(result: Sequence[Mapping[str, Any]], file: str, names: Sequence[str]) -> None:
    """Draw the percentages of the rows of a result, one picture beside the other by `panel`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = list(dict.fromkeys(entry["panel"] for entry in result))
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 4), squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        entries = [entry for entry in result if entry["panel"] == panel]
        for name in names:
            times = [(entry["length"], entry["seconds"]) for entry in entries]
            points = [(length, 100 * taken["copy"] / taken[name])
                      for length, taken in times if name in taken]  # fmt: skip
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=name)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(ylim=(0, 105), title=panel, xlabel="row length")
    axes[0][0].set_ylabel("percent of a copy")
    axes[0][0].legend()
    figure.savefig(file, bbox_inches="tight", dpi=120)
