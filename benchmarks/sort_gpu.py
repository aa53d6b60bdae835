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

import functools
from collections.abc import Callable
from typing import Any

import _common
import _gpu

from warp_bitonic_sort.cli import _bench_triton

# Goals for an H200 in percent of a copy, by the bits of a key and the length.
_ROW_GOALS = {
    32: {8: 98, 32: 96, 64: 92, 100: 75, 128: 86, 200: 66, 256: 80, 300: 54, 512: 65, 1024: 53,
         2048: 43, 4096: 35, 16384: 23},
    16: {8: 98, 32: 94, 64: 88, 100: 65, 128: 78, 200: 57, 256: 69, 300: 44, 512: 57, 1024: 48,
         2048: 38, 4096: 32, 16384: 21},
    64: {8: 99, 32: 98, 64: 95, 100: 70, 128: 82, 200: 55, 256: 64, 300: 37, 512: 49, 1024: 38,
         2048: 30, 4096: 26, 16384: 13},
}  # fmt: skip
_COLUMN_GOALS = {
    32: {8: 92, 16: 92, 32: 90, 64: 75, 128: 68, 256: 58, 512: 46, 1024: 38},
    16: {8: 80, 16: 75, 32: 70, 64: 60, 128: 55, 256: 48, 512: 38, 1024: 33},
}
_BITS = {"float32": 32, "int32": 32, "float16": 16, "bfloat16": 16, "float64": 64, "int64": 64}
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
_PEERS = ("torch.sort", "tl.sort", "cub", "cupy.sort")


def _cub() -> Any:
    return _gpu.cub(
        "".join(
            f"""
extern "C" int sort_{name}(void* scratch, size_t* bytes, const void* x, void* out, long long rows,
                           int length, void* stream) {{
  thrust::counting_iterator<long long> count(0);
  auto begin = thrust::make_transform_iterator(count, Scale{{length}});
  return cub::DeviceSegmentedSort::SortKeys(scratch, *bytes, static_cast<const {kind}*>(x),
      static_cast<{kind}*>(out), rows * length, rows, begin, begin + 1,
      static_cast<cudaStream_t>(stream));
}}"""
            for name, kind in _gpu.CUB_TYPES.items()
        )
    )


def _measure(x: Any, axis: int, peers: dict[str, Any]) -> dict[str, float]:
    import torch

    from warp_bitonic_sort import sort

    out = torch.empty_like(x)
    some = (slice(None, 1000), slice(None)) if axis else (slice(None), slice(None, 1000))
    expected = torch.sort(x[some], dim=axis).values
    sort(x, axis=axis, out=out)
    assert torch.equal(out[some], expected), "ours is wrong"
    calls: dict[str, Callable[[], object]] = {
        "copy": lambda: out.copy_(x),
        "ours": lambda: sort(x, axis=axis, out=out),
        "torch.sort": lambda: torch.sort(x, dim=axis),
    }
    length, dtype = x.shape[axis], str(x.dtype).removeprefix("torch.")
    # Neither of these two sorts columns.
    if axis == 1:
        if peers["triton"] is not None and _bench_triton.takes(length):
            calls["tl.sort"] = lambda: peers["triton"](x, out)
        if peers["cub"] is not None and dtype in _gpu.CUB_TYPES:
            segmented = _gpu.cub_call(peers["cub"], f"sort_{dtype}", (x, out))
            if segmented is not None:
                calls["cub"] = segmented
    if peers["cupy"] is not None and x.dtype != torch.bfloat16:
        array = peers["cupy"].from_dlpack(x)
        calls["cupy.sort"] = lambda: peers["cupy"].sort(array, axis=axis)
    return _gpu.alternately(calls)


def _nan_table(lengths: list[int], elements: int, fraction: float) -> list[dict[str, Any]]:
    """Time float32 rows with NaNs, the same rows without, and int32, alternately."""
    import torch

    from warp_bitonic_sort import sort

    result: list[dict[str, Any]] = []
    rows = []
    for length in lengths:
        plain = _gpu.random_values("float32", elements // length, length)
        mixed = plain.masked_fill(torch.rand_like(plain) < fraction, float("nan"))
        arrays = {"NaN": mixed, "random": plain, "int32": _gpu.random_values("int32", *plain.shape)}
        out = {name: torch.empty_like(x) for name, x in arrays.items()}
        seconds = _gpu.alternately(
            {name: functools.partial(sort, x, out=out[name]) for name, x in arrays.items()}
        )
        expected = torch.sort(mixed[:1000], dim=-1).values
        torch.testing.assert_close(out["NaN"][:1000], expected, rtol=0, atol=0, equal_nan=True)
        result.append({"length": length, "seconds": seconds})
        cells = [f"{seconds['NaN'] / seconds[name]:.2f}" for name in ("random", "int32")]
        note = "slower than int32" if seconds["NaN"] > 1.02 * seconds["int32"] else ""
        rows.append([str(length), f"{1e6 * seconds['NaN']:.0f}", *cells, note])
    header = ["row length", "us", "times random", "times int32", "note"]
    print(f"\nfloat32, {100 * fraction:g}% NaN\n{_common.table(header, rows)}")
    return result


def main() -> None:
    """Measure, print tables, and write JSON and a picture if an option names a file."""
    parser = _gpu.parser(__doc__, _BITS, _LENGTHS)
    parser.add_argument("--nan", type=float, metavar="FRACTION", help="only the time of NaNs")
    options = parser.parse_args()

    result = _gpu.begin(options)
    peers: dict[str, Any] = {"triton": None, "cub": None, "cupy": None}
    if options.peers and options.nan is None:
        peers = {"triton": _bench_triton.sort_rows(), "cub": _cub(), "cupy": None}
        try:
            import cupy

            peers["cupy"] = cupy
        except ImportError:
            pass
        print("left out:", ", ".join(n for n, peer in peers.items() if peer is None) or "nothing")
    if options.nan is not None:
        result["nan"] = _nan_table(options.length, options.elements, options.nan)
        _common.report(result, options.json)
        return
    header = ["row length", "ours", "goal", *_PEERS, "note"]
    goals = _ROW_GOALS if options.axis else _COLUMN_GOALS
    for dtype in options.dtype:
        rows = []
        for length in options.length:
            shape = (options.elements // length, length)
            x = _gpu.random_values(dtype, *(shape if options.axis else reversed(shape)))
            times = _measure(x, options.axis, peers)
            result["rows"].append(
                {"dtype": dtype, "panel": dtype, "length": length, "seconds": times}
            )
            goal = goals.get(_BITS.get(dtype, 0), {}).get(length)
            rows.append(_gpu.row(length, times, goal, _PEERS))
            rate = 2 * x.numel() * x.element_size() / times["copy"] / 1e9
        which = "rows" if options.axis else "columns"
        print(f"\n{dtype}, {which}: percent of a copy ({rate:.0f} GB/s)")
        print(_common.table(header, rows), flush=True)
    if options.plot:
        _common.plot(result["rows"], options.plot, ("ours", *_PEERS))
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
