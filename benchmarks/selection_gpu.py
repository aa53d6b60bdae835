"""Times top_k and median on a CUDA device beside a copy, PyTorch and our own sorts.

    python benchmarks/selection_gpu.py --dtype float32             all lengths and numbers
    python benchmarks/selection_gpu.py --dtype bfloat16 --length 256 1024 --k 8
    python benchmarks/selection_gpu.py --kind all --length 1024 --k 8
    python benchmarks/selection_gpu.py --median --axis 0           medians of columns
    python benchmarks/selection_gpu.py --median --nan omit         medians of rows with NaNs
    python benchmarks/selection_gpu.py --long                      few long rows, in a CUDA graph
    python benchmarks/selection_gpu.py --long --kind normal equal --k 50 256
    python benchmarks/selection_gpu.py --json selection.json --plot selection.png

Speeds are percentages of the rate of a device-to-device copy, in the same run, of as many bytes as
are read and written: all elements, and k values and int32 indices of each row, or one median.
`goal` is the lowest percentage that the project promises for random rows. Other kinds of data may
take at most 5 times as long as random rows; that is checked if `--kind` has `normal`, too. `note`
names the goals and the peers that a row loses to. With `--long`, times are microseconds on the
device, and the goals are the longest ones. A result that is not that of torch.sort(stable=True),
cut to its first k, is noted, and the command fails at its end. Only the rows of the first 2^24
elements are compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import _common
import _gpu

_DTYPES = ("float32", "bfloat16", "int32", "float64", "int64", "int8")
_LENGTHS = (64, 256, 1024, 4096, 16384, 65536, 100, 160, 384, 896)
_NUMBERS = (1, 4, 8, 16, 32, 64, 128, 256)
_PEERS = ("torch.topk", "sort")

# For k = 1, 4, 8, ... 256.
_GOALS: dict[int, tuple[int, ...]] = {
    64: (88, 86, 78, 72, 68),
    256: (90, 88, 76, 58, 45, 38, 36),
    1024: (94, 90, 88, 80, 66, 40, 33, 26),
    4096: (95, 93, 92, 88, 75, 70, 52, 42),
    16384: (95, 93, 92, 88, 80, 72, 60, 50),
    65536: (90, 85, 82, 80, 78, 75, 68, 60),
}
_BELOW_FLOAT32 = 24  # points, of bfloat16
_BFLOAT16_GOALS = {64: 50, 256: 50, 1024: 80, 4096: 80, 16384: 80}  # for k up to 8
_NANS = 1 / 16  # the share of NaNs where they are left out
_MEDIAN_GOALS = {9: 65, 25: 65, 49: 65, 64: 55, 128: 45, 256: 35, 1024: 20}  # of float32
# Rows, their length, and the longest time in microseconds, for k = 50.
_LONG = ((1, 131072, 14), (8, 131072, 16), (64, 131072, 25))
_LONG_K = 50
# Of any kind of data, beside random rows of the same length and k.
_MOST_TIMES_NORMAL = 5

_KINDS = ("normal", "sorted", "reversed", "equal", "small", "ninf", "few", "nan", "all nan")
_KINDS_OF_FLOATS = {"ninf", "few", "nan", "all nan"}


def _goal(dtype: str, kind: str, length: int, k: int) -> float | None:
    goals = _GOALS.get(length, ())
    place = _NUMBERS.index(k) if k in _NUMBERS else len(goals)
    if kind != "normal" or place >= len(goals):
        return None
    if dtype == "float32":
        return goals[place]
    if dtype != "bfloat16":
        return None
    if k <= 8 and length in _BFLOAT16_GOALS:
        return _BFLOAT16_GOALS[length]
    return goals[place] - _BELOW_FLOAT32


def _data(kind: str, name: str, rows: int, length: int) -> Any:
    """Return an array of rows of one kind of data."""
    import torch

    x = _gpu.random_values(name, rows, length)
    if kind in ("sorted", "reversed"):
        x = torch.sort(x, descending=kind == "reversed").values
    elif kind == "equal":
        x.fill_(1)
    elif kind == "small":
        x = torch.randint(16, (rows, length), device="cuda").to(x.dtype)
    elif kind in ("ninf", "few"):
        share = 0.25 if kind == "ninf" else 0.97
        x.masked_fill_(torch.rand(rows, length, device="cuda") < share, -float("inf"))
    elif kind == "nan":
        x.scatter_(1, torch.randint(length, (rows, 1), device="cuda"), float("nan"))
    elif kind == "all nan":
        x.fill_(float("nan"))
    return x


def _is_right(x: Any, k: int, result: Any) -> bool:
    """Tell whether the first rows' results are those of a stable sort."""
    import torch

    some = x[: max(1, (1 << 24) // x.shape[1])]
    values, order = torch.sort(some, dim=1, descending=True, stable=True)
    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    indices = result.indices[: len(some)].long()
    return bool(
        torch.equal(indices, order[:, :k])
        and torch.equal(result.values[: len(some)].view(bits), values[:, :k].view(bits))
    )


def _measure(x: Any, k: int, with_peers: bool) -> tuple[dict[str, float], list[str]]:
    """Return the median seconds of each peer, and what is wrong with the results."""
    import torch

    from warp_bitonic_sort import sort_with_indices, top_k

    notes = [] if _is_right(x, k, top_k(x, k, index_dtype="int32")) else ["WRONG"]
    moved = x.numel() * x.element_size() + len(x) * k * (x.element_size() + 4)
    half = torch.empty(moved // 2, dtype=torch.uint8, device=x.device)
    target = torch.empty_like(half)
    calls: dict[str, Callable[[], object]] = {
        "copy": lambda: target.copy_(half),
        "ours": lambda: top_k(x, k, index_dtype="int32"),
    }
    if with_peers:
        calls["torch.topk"] = lambda: torch.topk(x, k)
        values, indices = torch.empty_like(x), torch.empty_like(x, dtype=torch.int32)
        calls["sort"] = lambda: sort_with_indices(x, descending=True, out=(values, indices))
    return _gpu.alternately(calls), notes


def _graph_seconds(call: Callable[[], object]) -> float:
    """Return the seconds of one call among many in a CUDA graph."""
    import torch

    calls_of_graph = 50
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls_of_graph):
            call()
    return _gpu.alternately({"graph": graph.replay})["graph"] / calls_of_graph


def _kinds(options: Any) -> list[str]:
    """Return the chosen kinds of data; random rows come first."""
    return [kind for kind in _KINDS if {kind, "all"} & {*options.kind}]


def _long_rows(options: Any, result: dict[str, Any]) -> None:
    """Print the times of few long rows."""
    import torch

    from warp_bitonic_sort import top_k

    rows = []
    cells = itertools.product(_LONG, options.k or [_LONG_K], _kinds(options))
    for (count, length, longest), k, kind in cells:
        x = _data(kind, "float32", count, length)
        notes = [] if _is_right(x, k, top_k(x, k, index_dtype="int32")) else ["WRONG"]
        times = {
            "ours": _graph_seconds(lambda x=x, k=k: top_k(x, k, index_dtype="int32")),  # type: ignore[misc]
            "torch.topk": _graph_seconds(lambda x=x, k=k: torch.topk(x, k)),  # type: ignore[misc]
        }
        goal = longest if (k, kind) == (_LONG_K, "normal") else None
        if goal is not None and 1e6 * times["ours"] > goal:
            notes.append("above the goal")
        if times["ours"] > times["torch.topk"]:
            notes.append("slower than torch.topk")
        ours, peer = (f"{1e6 * times[name]:.1f}" for name in ("ours", "torch.topk"))
        shown = "" if goal is None else str(goal)
        rows.append([f"{count} x {length}", str(k), kind, ours, shown, peer, ", ".join(notes)])
        result["rows"].append(
            {"panel": "long rows", "kind": kind, "count": count, "length": length, "k": k,
             "goal": goal, "notes": notes, "seconds": times}
        )  # fmt: skip
    header = ["rows", "k", "data", "us", "goal", "torch.topk", "note"]
    print(f"\nthe first k of few long rows\n{_common.table(header, rows)}", flush=True)


def _medians(options: Any, result: dict[str, Any]) -> None:
    """Print the speed of medians."""
    import torch

    from warp_bitonic_sort import median, sort

    peers = {"torch.median": torch.median, "torch.nanmedian": torch.nanmedian}
    peer = "torch.nanmedian" if options.nan == "omit" else "torch.median"
    for dtype in options.dtype:
        rows = []
        for length in options.length:
            x = _gpu.random_values(dtype, options.elements // length, length)
            if options.nan == "omit":
                x.masked_fill_(torch.rand_like(x, dtype=torch.float32) < _NANS, torch.nan)
            if options.axis == 0:
                x = x.t().contiguous()
            values = median(x, axis=options.axis, nan=options.nan)
            expected = _expected_medians(x, options.axis).to(values.dtype)
            is_right = torch.allclose(expected, values, rtol=0, atol=0, equal_nan=True)
            del expected
            notes = [] if is_right else ["WRONG"]
            moved = x.numel() * x.element_size() + values.numel() * values.element_size()
            half = torch.empty(moved // 2, dtype=torch.uint8, device=x.device)
            target, sorted_values = torch.empty_like(half), torch.empty_like(x)
            calls: dict[str, Callable[[], object]] = {
                "copy": lambda target=target, half=half: target.copy_(half),  # type: ignore[misc]
                "ours": lambda x=x: median(x, axis=options.axis, nan=options.nan),  # type: ignore[misc]
                "sort": lambda x=x, out=sorted_values: sort(x, axis=options.axis, out=out),  # type: ignore[misc]
            }
            if options.peers:
                calls[peer] = lambda x=x: peers[peer](x, dim=options.axis)  # type: ignore[misc]
            times = _gpu.alternately(calls)
            goal = _MEDIAN_GOALS.get(length) if dtype == "float32" else None
            rows.append(_gpu.row(length, times, goal, (peer, "sort"), notes))
            result["rows"].append(
                {"panel": f"median, {dtype}", "axis": options.axis, "nan": options.nan,
                 "length": length, "goal": goal, "notes": notes, "seconds": times}
            )  # fmt: skip
        header = ["length", "ours", "goal", peer, "sort", "note"]
        which = "columns" if options.axis == 0 else "rows"
        print(f"\nmedian, {dtype}, {which}, nan={options.nan}: percent of a copy")
        print(_common.table(header, rows), flush=True)


def _expected_medians(x: Any, axis: int) -> Any:
    """Return the medians of the numbers of each row; float64 holds the sum of two elements."""
    import torch

    expected = torch.sort(x.double(), dim=axis).values
    count = (~x.isnan()).sum(axis, keepdim=True).clamp(min=1)
    low, high = (expected.gather(axis, at) for at in ((count - 1) // 2, count // 2))
    return ((low + high) / 2).squeeze(axis)


def _summary(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of our percentages, k across; what misses its goal is bold."""
    numbers = list(dict.fromkeys(entry["k"] for entry in entries))
    cells: dict[str, dict[int, str]] = {}
    for entry in entries:
        times, goal = entry["seconds"], entry["goal"]
        share = 100 * times["copy"] / times["ours"]
        text = f"{share:.0f}" if goal is None or share >= goal else f"**{share:.0f}**"
        cells.setdefault(f"{entry['panel']}, {entry['length']}", {})[entry["k"]] = text
    rows = [[label, *(line.get(k, "") for k in numbers)] for label, line in cells.items()]
    return _common.table(["rows of", *(f"k={k}" for k in numbers)], rows)


def main() -> None:
    """Measure, print tables, and write JSON and a picture if an option names a file."""
    parser = _gpu.parser(__doc__, _DTYPES, _LENGTHS)
    parser.add_argument("--k", nargs="+", type=int, help="default: those of the goals")
    parser.add_argument("--kind", nargs="+", choices=(*_KINDS, "all"), default=("normal",),
                        metavar="KIND", help=f"data: {', '.join(_KINDS)}, or all")  # fmt: skip
    parser.add_argument("--median", action="store_true", help="medians instead")
    parser.add_argument("--nan", choices=("propagate", "omit"), default="propagate",
                        help="of medians: omit has rows with some NaNs")  # fmt: skip
    parser.add_argument("--long", action="store_true", help="few long rows instead")
    parser.set_defaults(elements=1 << 28)
    options = parser.parse_args()

    result = _gpu.begin(options)
    if options.long:
        _long_rows(options, result)
        _common.report(result, options.json)
    elif options.median:
        _medians(options, result)
        _common.report(result, options.json)
    else:
        _all_rows(options, result)
    wrong = [entry for entry in result["rows"] if "WRONG" in entry["notes"]]
    if wrong:
        raise SystemExit(f"{len(wrong)} results differ from those of torch.sort")


def _all_rows(options: Any, result: dict[str, Any]) -> None:
    normal: dict[tuple[str, int, int], float] = {}
    header = ["k", "ours", "goal", *_PEERS, "note"]
    for dtype, kind, length in itertools.product(options.dtype, _kinds(options), options.length):
        if "float" not in dtype and kind in _KINDS_OF_FLOATS:
            continue
        panel, rows = f"{dtype}, {kind}", []
        x = _data(kind, dtype, options.elements // length, length)
        for k in options.k or _NUMBERS:
            if k > length:
                continue
            times, notes = _measure(x, k, options.peers)
            if kind == "normal":
                normal[dtype, length, k] = times["ours"]
            elif times["ours"] > _MOST_TIMES_NORMAL * normal.get((dtype, length, k), math.inf):
                notes.append(f"above {_MOST_TIMES_NORMAL} times normal")
            goal = _goal(dtype, kind, length, k)
            rows.append(_gpu.row(k, times, goal, _PEERS, notes))
            result["rows"].append(
                {"panel": panel, "dtype": dtype, "kind": kind, "length": length, "k": k,
                 "goal": goal, "notes": notes, "seconds": times}
            )  # fmt: skip
        print(
            f"\n{panel}, rows of {length}: percent of a copy\n{_common.table(header, rows)}",
            flush=True,
        )
    print(f"\npercent of a copy\n{_summary(result['rows'])}", flush=True)
    if options.plot:
        _common.plot(result["rows"], options.plot, ("ours", *_PEERS))
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
