"""Times calls on a CUDA device, and has the options, peers and pictures of all GPU benchmarks.

Invariant: a row of a table is timed in one run, by the device's clock, in turns of a few calls, so
that a temporary slowdown of the device affects all peers alike.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import _common

from warp_bitonic_sort.cli._bench_timing import time_by_torch

_ROUNDS, _TURNS = 3, 5
# A call that takes longer is timed once, after one that is not timed.
_SLOW_SECONDS = 0.03
CUB_TYPES = {"float32": "float", "int32": "int", "int64": "long long", "float64": "double"}

_CUB_SOURCE = """#include <cub/device/device_segmented_sort.cuh>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
struct Scale {
  int length;
  __host__ __device__ long long operator()(long long i) const { return i * length; }
};
"""


def parser(
    doc: str | None, dtypes: Iterable[str], lengths: Iterable[int]
) -> argparse.ArgumentParser:
    """Return a parser of the options that all benchmarks of GPUs have."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--dtype", nargs="+", default=list(dtypes))
    result.add_argument("--length", nargs="+", type=int, default=list(lengths))
    result.add_argument("--axis", type=int, choices=(0, 1), default=1)
    result.add_argument("--elements", type=int, default=1 << 26)
    result.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True,
                        help="without: only a copy and torch.sort")  # fmt: skip
    result.add_argument("--json", metavar="FILE")
    result.add_argument("--plot", metavar="FILE")
    return result


def begin(options: argparse.Namespace) -> dict[str, Any]:
    """Print the machine, and return the result that the rows of all tables go to."""
    torch = _common.device_torch()
    machine = _common.machine("cupy", "triton")
    machine.update(gpu=torch.cuda.get_device_name(), cuda=torch.version.cuda)
    for key, value in machine.items():
        print(f"{key}: {value}")
    return {"machine": machine, "elements": options.elements, "axis": options.axis, "rows": []}


def random_values(name: str, rows: int, length: int) -> Any:
    """Return normal numbers, or integers of the whole range."""
    import torch

    dtype = getattr(torch, name)
    if dtype.is_floating_point:
        wide = torch.float64 if name == "float64" else torch.float32
        return torch.randn(rows, length, device="cuda", dtype=wide).to(dtype)
    info = torch.iinfo(dtype)
    return torch.randint(info.min, info.max, (rows, length), device="cuda", dtype=dtype)


def seconds(call: Callable[[], object]) -> list[float]:
    """Time calls by the device's clock, after some that are not timed; a slow one once."""
    first = time_by_torch(call, 1)
    return first if first[0] > _SLOW_SECONDS else time_by_torch(call, _TURNS)


def alternately(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each call; slow ones are left out after the first round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            if len(times[name]) != 1:
                times[name].extend(seconds(call))
    return {name: statistics.median(values) for name, values in times.items()}


def row(
    length: int,
    times: Mapping[str, float],
    goal: float | None,
    peers: Sequence[str],
    notes: Sequence[str] = (),
) -> list[str]:
    """Return a table's row: percent of a copy, the goal, the peers, and what ours loses to."""
    share = {name: 100 * times["copy"] / taken for name, taken in times.items()}
    missed = [] if goal is None or share["ours"] >= goal else ["below the goal"]
    missed += [f"{name} wins" for name in peers if name in times and times[name] < times["ours"]]
    cells = [f"{share[name]:.0f}" if name in share else "" for name in peers]
    return [
        str(length),
        f"{share['ours']:.0f}",
        "" if goal is None else f"{goal:.0f}",
        *cells,
        ", ".join([*missed, *notes]),
    ]


def cub(functions: str) -> Any:
    """Compile functions that call cub::DeviceSegmentedSort; None without nvcc or its headers.

    A row starts at the multiple of the row length that `Scale` returns.
    """
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        return None
    folder = Path(tempfile.mkdtemp())
    (folder / "cub.cu").write_text(_CUB_SOURCE + functions)
    done = subprocess.run(
        [nvcc, "-O3", "-std=c++17", "-arch=native", "-shared", "-Xcompiler=-fPIC",
         str(folder / "cub.cu"), "-o", str(folder / "cub.so")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        print("CUB does not compile:", done.stderr.strip()[:300])
        return None
    return ctypes.CDLL(str(folder / "cub.so"))


def cub_call(
    library: Any, function_name: str, arrays: Sequence[Any]
) -> Callable[[], object] | None:
    """Return a call of a function of `cub` for arrays whose first has the shape of all."""
    import torch

    function = library[function_name]
    bytes_needed = ctypes.c_size_t(0)
    arguments = (
        ctypes.byref(bytes_needed),
        *(ctypes.c_void_p(array.data_ptr()) for array in arrays),
        ctypes.c_longlong(arrays[0].shape[0]),
        ctypes.c_int(arrays[0].shape[1]),
        ctypes.c_void_p(torch.cuda.current_stream().cuda_stream),
    )
    if function(None, *arguments) != 0:
        return None
    scratch = torch.empty(max(1, bytes_needed.value), dtype=torch.uint8, device="cuda")
    # The call owns the memory that it uses.
    return lambda: (function(ctypes.c_void_p(scratch.data_ptr()), *arguments), scratch, arrays)
