"""Times the compilation of each CUDA kernel, one at a time; no device is needed.

    python benchmarks/compile_cuda.py --arch sm_90

A first call builds one kernel, so it waits for that kernel alone. The goal is about a second.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import _common

from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.kernels import Kernel
from warp_bitonic_sort.targets import recipe_of, target_of
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.common.compiler import Compiler
from warp_bitonic_sort.targets.cuda.compiler import find_cuda_compiler

_GOAL = 1.0


def _seconds(nvcc: Compiler, kernel: Kernel, folder: Path) -> float:
    source = folder / f"{kernel.name}.cu"
    source.write_text(kernel.source())
    flags = [*recipe_of(kernel.target).flags(kernel.arch), f"-I{sources.INCLUDE_DIR}"]
    command = [*nvcc.command, *flags, str(source), "-o", str(source.with_suffix(".cubin"))]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure, print a table, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    nvcc = find_cuda_compiler()
    result: dict[str, Any] = {"machine": _common.machine(), "nvcc": nvcc.version(), "seconds": {}}
    for key, value in result["machine"].items():
        print(f"{key}: {value}")
    print(f"nvcc: {nvcc.version().splitlines()[-1]}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for codec, bits in sorted({(dtype.codec, dtype.bits) for dtype in DTYPES.values()}):
            times = {}
            for layout, access in target_of("cuda").layouts("sm_90").cells("none", bits):
                kernel = Kernel("cuda", options.arch, "all", "none", codec, bits, layout, access)
                times[f"{kernel.layout.name}_{kernel.access}"] = _seconds(
                    nvcc, kernel, Path(folder)
                )
            slowest = max(times, key=lambda layout: times[layout])
            above = sum(seconds > _GOAL for seconds in times.values())
            result["seconds"][f"{codec}{bits}"] = times
            middle = statistics.median(times.values())
            rows.append(
                [f"{codec}{bits}", str(len(times)), f"{middle:.2f}", f"{times[slowest]:.2f}",
                 slowest, f"{above}"]
            )  # fmt: skip
    header = ["keys", "kernels", "median s", "slowest s", "slowest", f"above {_GOAL:g} s"]
    print(f"\n{_common.table(header, rows)}")
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
