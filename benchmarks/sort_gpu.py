"""Times sorts of rows on a CUDA device beside a copy, torch.sort, Triton, CUB and CuPy.

    python benchmarks/sort_gpu.py                                  the whole table
    python benchmarks/sort_gpu.py --dtype float32 --length 100 200 300
    python benchmarks/sort_gpu.py --axis 0                         columns instead of rows
    python benchmarks/sort_gpu.py --json sort.json --plot sort.png
    python benchmarks/sort_gpu.py --nan 1                          only the time of NaNs

Speeds are percentages of the rate of a device-to-device copy of the same bytes in the same run,
which no sort can exceed. `goal` is the lowest percentage that the project promises. `note` names
the goals and the peers that a row loses to. Peers that are not installed are listed and left out.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common

_SHORT = (8, 16, 32, 64)
_GOAL = {
    "float32": {**dict.fromkeys(_SHORT, 95), 128: 95, 256: 93, 512: 80, 1024: 60, 2048: 48,
                4096: 38, 16384: 22, 100: 80, 200: 75, 300: 55},
    "int32": {**dict.fromkeys(_SHORT, 93), 128: 92, 256: 78, 512: 60, 1024: 45, 2048: 36,
              4096: 28, 16384: 16},
    **{name: {**dict.fromkeys(_SHORT, 90), 128: 90, 256: 78, 512: 62, 1024: 48, 2048: 38,
              4096: 30, 16384: 18} for name in ("float16", "bfloat16")},
    **{name: {**dict.fromkeys(_SHORT, 93), 128: 85, 256: 62, 512: 48, 1024: 36, 2048: 28,
              4096: 22} for name in ("float64", "int64")},
}  # fmt: skip
_LENGTHS = [
    8,
    9,
    16,
    25,
    32,
    64,
    100,
    128,
    192,
    200,
    256,
    300,
    384,
    512,
    768,
    1024,
    2048,
    4096,
    16384,
]
_ROUNDS, _TURNS = 3, 5
_CUB = {"float32": "float", "int32": "int", "int64": "long long", "float64": "double"}


def _values(name: str, rows: int, length: int) -> Any:
    import torch

    dtype = getattr(torch, name)
    if dtype.is_floating_point:
        wide = torch.float64 if name == "float64" else torch.float32
        return torch.randn(rows, length, device="cuda", dtype=wide).to(dtype)
    info = torch.iinfo(dtype)
    return torch.randint(info.min, info.max, (rows, length), device="cuda", dtype=dtype)


def _triton() -> Callable[[Any, Any], None] | None:
    try:
        import triton
        import triton.language as tl
    except ImportError:
        return None

    # Triton compiles the text of this function, which may use its own names only.
    @triton.jit  # type: ignore[untyped-decorator]
    def kernel(x, out, rows, length: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        row = tl.program_id(0) * block + tl.arange(0, block)
        at = row[:, None] * length + tl.arange(0, length)[None, :]
        inside = row[:, None] < rows
        tl.store(out + at, tl.sort(tl.load(x + at, mask=inside), dim=1), mask=inside)

    def sort(x: Any, out: Any) -> None:
        rows, length = x.shape
        block = max(1, 1024 // length)
        kernel[(triton.cdiv(rows, block),)](x, out, rows, length, block)

    return sort


def _cub() -> Any:
    """Compile cub::DeviceSegmentedSort for a few types; None without nvcc or its headers."""
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        return None
    functions = "".join(
        f"""
extern "C" int sort_{name}(void* scratch, size_t* bytes, const void* x, void* out, long long rows,
                           int length, void* stream) {{
  thrust::counting_iterator<long long> count(0);
  auto begin = thrust::make_transform_iterator(count, Scale{{length}});
  return cub::DeviceSegmentedSort::SortKeys(scratch, *bytes, static_cast<const {kind}*>(x),
      static_cast<{kind}*>(out), rows * length, rows, begin, begin + 1,
      static_cast<cudaStream_t>(stream));
}}"""
        for name, kind in _CUB.items()
    )
    source = f"""#include <cub/device/device_segmented_sort.cuh>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
struct Scale {{
  int length;
  __host__ __device__ long long operator()(long long i) const {{ return i * length; }}
}};
{functions}"""
    folder = Path(tempfile.mkdtemp())
    (folder / "cub.cu").write_text(source)
    done = subprocess.run(
        [nvcc, "-O3", "-std=c++17", "-arch=native", "-shared", "-Xcompiler=-fPIC",
         str(folder / "cub.cu"), "-o", str(folder / "cub.so")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        print("CUB does not compile:", done.stderr.strip()[:300])
        return None
    return ctypes.CDLL(str(folder / "cub.so"))


def _cub_sort(library: Any, x: Any, out: Any) -> Callable[[], object] | None:
    import torch

    name = str(x.dtype).removeprefix("torch.")
    if library is None or name not in _CUB:
        return None
    function = library[f"sort_{name}"]
    bytes_needed = ctypes.c_size_t(0)
    arguments = (
        ctypes.byref(bytes_needed),
        ctypes.c_void_p(x.data_ptr()),
        ctypes.c_void_p(out.data_ptr()),
        ctypes.c_longlong(x.shape[0]),
        ctypes.c_int(x.shape[1]),
        ctypes.c_void_p(torch.cuda.current_stream().cuda_stream),
    )
    if function(None, *arguments) != 0:
        return None
    scratch = torch.empty(max(1, bytes_needed.value), dtype=torch.uint8, device="cuda")
    return lambda: (function(ctypes.c_void_p(scratch.data_ptr()), *arguments), scratch)


def _seconds(call: Callable[[], object], turns: int) -> list[float]:
    """Time calls by the device's clock, after two that are not timed."""
    import torch

    events = []
    for _ in range(turns + 2):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        events.append((start, end))
    torch.cuda.synchronize()
    return [float(start.elapsed_time(end)) / 1e3 for start, end in events[2:]]


def _measure(x: Any, axis: int, peers: dict[str, Any]) -> dict[str, float]:
    import torch

    from warp_bitonic_sort import sort

    out = torch.empty_like(x)
    some = (slice(None, 1000), slice(None)) if axis else (slice(None), slice(None, 1000))
    expected = torch.sort(x[some], dim=axis).values
    sort(x, axis=axis, out=out)
    assert torch.equal(out[some], expected), "ours is wrong"
    calls: dict[str, Callable[[], object] | None] = {
        "copy": lambda: out.copy_(x),
        "ours": lambda: sort(x, axis=axis, out=out),
        "torch.sort": lambda: torch.sort(x, dim=axis),
    }
    length = x.shape[axis]
    # Neither of these two sorts columns.
    if axis == 1:
        if peers["triton"] is not None and length & (length - 1) == 0 and length <= 1024:
            calls["tl.sort"] = lambda: peers["triton"](x, out)
        calls["cub"] = _cub_sort(peers["cub"], x, out)
    if peers["cupy"] is not None and x.dtype != torch.bfloat16:
        array = peers["cupy"].from_dlpack(x)
        calls["cupy.sort"] = lambda: peers["cupy"].sort(array, axis=axis)
    # Alternately, so that a temporary slowdown of the device affects all alike.
    times: dict[str, list[float]] = {}
    for turn in range(_ROUNDS):
        for name, call in calls.items():
            if call is not None and (turn == 0 or name != "cupy.sort"):
                times.setdefault(name, []).extend(_seconds(call, _TURNS))
    return {name: statistics.median(values) for name, values in times.items()}


def _row(length: int, times: dict[str, float], goal: int | None) -> list[str]:
    share = {name: 100 * times["copy"] / seconds for name, seconds in times.items()}
    notes = [] if goal is None or share["ours"] >= goal else ["below the goal"]
    notes += [f"{name} wins" for name in times if name != "copy" and times[name] < times["ours"]]
    cells = [f"{share[name]:.0f}" if name in share else "" for name in
             ("ours", "torch.sort", "tl.sort", "cub", "cupy.sort")]  # fmt: skip
    return [
        str(length),
        cells[0],
        "" if goal is None else str(goal),
        *cells[1:],
        ", ".join(notes),
    ]


def _nan_table(lengths: list[int], elements: int, fraction: float) -> list[dict[str, Any]]:
    """Time float32 rows with NaNs, the same rows without, and int32, alternately."""
    import torch

    from warp_bitonic_sort import sort

    result: list[dict[str, Any]] = []
    rows = []
    for length in lengths:
        plain = _values("float32", elements // length, length)
        mixed = plain.masked_fill(torch.rand_like(plain) < fraction, float("nan"))
        arrays = {"NaN": mixed, "random": plain, "int32": _values("int32", *plain.shape)}
        out = {name: torch.empty_like(x) for name, x in arrays.items()}
        times: dict[str, list[float]] = {name: [] for name in arrays}
        for _ in range(_ROUNDS):
            for name, x in arrays.items():
                call = functools.partial(sort, x, out=out[name])
                times[name].extend(_seconds(call, _TURNS))
        expected = torch.sort(mixed[:1000], dim=-1).values
        torch.testing.assert_close(out["NaN"][:1000], expected, rtol=0, atol=0, equal_nan=True)
        seconds = {name: statistics.median(values) for name, values in times.items()}
        result.append({"length": length, "seconds": seconds})
        cells = [f"{seconds['NaN'] / seconds[name]:.2f}" for name in ("random", "int32")]
        note = "slower than int32" if seconds["NaN"] > 1.02 * seconds["int32"] else ""
        rows.append([str(length), f"{1e6 * seconds['NaN']:.0f}", *cells, note])
    header = ["row length", "us", "times random", "times int32", "note"]
    print(f"\nfloat32, {100 * fraction:g}% NaN\n{_common.table(header, rows)}")
    return result


def _plot(result: list[dict[str, Any]], file: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    dtypes = list(dict.fromkeys(row["dtype"] for row in result))
    figure, axes = pyplot.subplots(1, len(dtypes), figsize=(5 * len(dtypes), 4), squeeze=False)
    for axis, dtype in zip(axes[0], dtypes, strict=True):
        rows = [row for row in result if row["dtype"] == dtype]
        for name in ("ours", "torch.sort", "tl.sort", "cub", "cupy.sort"):
            points = [(row["length"], 100 * row["seconds"]["copy"] / row["seconds"][name])
                      for row in rows if name in row["seconds"]]  # fmt: skip
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=name)
        axis.set(xscale="log", ylim=(0, 105), title=dtype, xlabel="row length")
    axes[0][0].set_ylabel("percent of a copy")
    axes[0][0].legend()
    figure.savefig(file, bbox_inches="tight", dpi=120)


def main() -> None:
    """Measure, print tables, and write JSON and a picture if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtype", nargs="+", default=list(_GOAL))
    parser.add_argument("--length", nargs="+", type=int, default=_LENGTHS)
    parser.add_argument("--axis", type=int, choices=(0, 1), default=1)
    parser.add_argument("--elements", type=int, default=1 << 26)
    parser.add_argument("--nan", type=float, metavar="FRACTION", help="only the time of NaNs")
    parser.add_argument("--no-peers", action="store_true", help="only a copy and torch.sort")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()

    torch = _common.device_torch()
    peers: dict[str, Any] = {"triton": None, "cub": None, "cupy": None}
    if not options.no_peers and options.nan is None:
        peers = {"triton": _triton(), "cub": _cub(), "cupy": None}
        try:
            import cupy

            peers["cupy"] = cupy
        except ImportError:
            pass
        print("left out:", ", ".join(n for n, peer in peers.items() if peer is None) or "nothing")
    machine = {**_common.machine(), "gpu": torch.cuda.get_device_name()}
    result: dict[str, Any] = {
        "machine": machine,
        "elements": options.elements,
        "axis": options.axis,
        "rows": [],
    }
    for key, value in machine.items():
        print(f"{key}: {value}")
    if options.nan is not None:
        result["nan"] = _nan_table(options.length, options.elements, options.nan)
        _common.report(result, options.json)
        return
    header = ["row length", "ours", "goal", "torch.sort", "tl.sort", "cub", "cupy.sort", "note"]
    for dtype in options.dtype:
        rows = []
        for length in options.length:
            shape = (options.elements // length, length)
            x = _values(dtype, *(shape if options.axis else reversed(shape)))
            times = _measure(x, options.axis, peers)
            result["rows"].append({"dtype": dtype, "length": length, "seconds": times})
            goal = _GOAL.get(dtype, {}).get(length) if options.axis else None
            rows.append(_row(length, times, goal))
            rate = 2 * x.numel() * x.element_size() / times["copy"] / 1e9
        which = "rows" if options.axis else "columns"
        print(f"\n{dtype}, {which}: percent of a copy ({rate:.0f} GB/s)")
        print(_common.table(header, rows), flush=True)
    if options.plot:
        _plot(result["rows"], options.plot)
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
