"""Times sorts with indices and pairs on a CUDA device beside a copy, torch.sort, Triton and CUB.

    python benchmarks/argsort_gpu.py --dtype float32               all operations, both index dtypes
    python benchmarks/argsort_gpu.py --dtype float16 --operation argsort --index-dtype int32
    python benchmarks/argsort_gpu.py --dtype float32 --no-peers --kind all --length 64 256 1024
    python benchmarks/argsort_gpu.py --axis 0 --no-peers           columns, beside our own sort
    python benchmarks/argsort_gpu.py --json argsort.json --plot argsort.png

Speeds are percentages of the rate of a device-to-device copy, in the same run, of as many bytes as
the operation must move: the keys are read, and the values and the indices are written. `sort_pairs`
carries 32 bits along with each key, which are read and written, too. `goal` is the lowest
percentage that the project promises for random rows, and 70 percent of that for other kinds of
data. `note` names the goals and the peers that a row loses to. Along axis 0 the goal is 1.5 times
the time of `sort`. A result that is not that of torch.sort(stable=True), bit for bit, is noted, and
the command fails at its end.

The peers: torch.sort (stable), and gather for pairs. `tl.sort`, of a key and its index in one
integer of 32 or 64 bits, for keys of 16 or 32 bits and lengths that are powers of two up to 4096.
cub::DeviceSegmentedSort::StableSortPairs with int32 values, which were written before. A call that
takes longer than 30 ms is timed once. Kinds of data that need a float are left out for integers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import _common
import _gpu

_DTYPES = ("float32", "int32", "float16", "bfloat16", "float64", "int64")
_LENGTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 25, 100, 200, 300)
_OPERATIONS = ("sort_with_indices", "argsort", "sort_pairs")
_PEERS = ("torch.sort", "tl.sort", "cub")

# For rows of up to 32, 64, 128, ... 4096 elements.
_GOALS: dict[str, dict[str, tuple[int, ...]]] = {
    "sort_with_indices": {
        **dict.fromkeys(("float32", "int32"), (92, 92, 91, 84, 68, 50, 36, 26)),
        **dict.fromkeys(("float16", "bfloat16"), (90, 90, 84, 68, 54, 40, 30, 22)),
        **dict.fromkeys(("float64", "int64"), (88, 80, 64, 46, 33, 23, 18, 14)),
    },
    "sort_pairs": {"float32": (94, 94, 93, 88, 72, 54, 40, 28)},
}
# At most, where the next power of two has a higher goal.
_UNEVEN_GOAL = {25: 75, 100: 70, 200: 60, 300: 48}
_GOAL_SHARE_OF_KINDS = 0.7
_COLUMN_GOAL = 1.5

_KINDS = ("normal", "outlier", "heavy", "equal", "sorted", "reversed", "small", "ninf", "few",
          "zeros", "nan", "clusters", "lowbits")  # fmt: skip
_KINDS_OF_FLOATS = {"heavy", "ninf", "few", "zeros", "nan", "lowbits"}
_MAX_TRITON_LENGTH = 4096
_OUTLIER, _BOUND = 1e6, 1e30


def _goal(operation: str, dtype: str, kind: str, length: int) -> float | None:
    capacity = max(5, (length - 1).bit_length())
    goals = _GOALS.get(operation, {}).get(dtype, ())
    if capacity - 5 >= len(goals):
        return None
    if kind == "lowbits":
        return 15 if length <= 256 else 11 if length <= 1024 else None
    goal = goals[capacity - 5]
    if length & (length - 1):
        if length not in _UNEVEN_GOAL:
            return None
        goal = min(goal, _UNEVEN_GOAL[length])
    return goal if kind == "normal" else _GOAL_SHARE_OF_KINDS * goal


def _data(kind: str, name: str, rows: int, length: int) -> Any:
    """Return an array of rows of one kind of data."""
    import torch

    if kind == "normal":
        return _gpu.random_values(name, rows, length)
    dtype = getattr(torch, name)
    wide = torch.float64 if name in ("float64", "int64") else torch.float32
    x = torch.randn(rows, length, device="cuda", dtype=wide)
    if not dtype.is_floating_point:
        x = (1000 * x).round()
    step = torch.finfo(dtype).eps if dtype.is_floating_point else 1.0

    def chance(probability: float) -> Any:
        return torch.rand(rows, length, device="cuda") < probability

    def steps(count: int) -> Any:
        return torch.randint(count, (rows, length), device="cuda").to(wide) * step

    if kind in ("outlier", "nan"):
        place = torch.randint(length, (rows, 1), device="cuda")
        x.scatter_(1, place, _OUTLIER if kind == "outlier" else float("nan"))
    elif kind == "heavy":
        x /= torch.rand_like(x) ** 2
    elif kind == "equal":
        x.fill_(1)
    elif kind in ("sorted", "reversed"):
        x = torch.sort(x, descending=kind == "reversed").values
    elif kind == "small":
        x = torch.randint(16, (rows, length), device="cuda")
    elif kind in ("ninf", "few"):
        x.masked_fill_(chance(0.25 if kind == "ninf" else 0.97), -float("inf"))
    elif kind == "zeros":
        x *= chance(0.5)
    elif kind == "clusters":
        x = (1 + steps(length)) * torch.where(chance(0.5), 1.0, 1024.0).to(wide)
    elif kind == "lowbits":
        x = 1 + steps(1024)
        x[:, 0], x[:, -1] = _BOUND, -_BOUND
    return x.to(dtype)


def _triton() -> Callable[[Any, Any, Any, Any], None] | None:
    try:
        import triton
        import triton.language as tl
    except ImportError:
        return None
    import torch

    # Triton compiles the text of this function, which may use its own names only.
    @triton.jit  # type: ignore[untyped-decorator]
    def kernel(x, values, second, payload, rows, length: tl.constexpr, block: tl.constexpr, bits: tl.constexpr, wide: tl.constexpr, floats: tl.constexpr, with_values: tl.constexpr, with_payload: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, E501  # fmt: skip
        row = tl.program_id(0) * block + tl.arange(0, block)
        start = row[:, None] * length
        position = tl.arange(0, length)[None, :]
        inside = row[:, None] < rows
        code = tl.load(x + start + position, mask=inside).to(wide)
        if floats:
            # As integers, -0.0 is the lowest, and negative floats are in the reverse order.
            code = tl.where(code == -(1 << (bits - 1)), 0, code)
            code = code ^ ((code >> (bits - 1)) & ((1 << (bits - 1)) - 1))
        entry = tl.sort((code << bits) | position.to(wide), dim=1)
        index = entry & ((1 << bits) - 1)
        if with_values:
            code = entry >> bits
            if floats:
                code = code ^ ((code >> (bits - 1)) & ((1 << (bits - 1)) - 1))
            tl.store(values + start + position, code.to(values.dtype.element_ty), mask=inside)
        if with_payload:
            index = tl.load(payload + start + index, mask=inside)
        tl.store(second + start + position, index.to(second.dtype.element_ty), mask=inside)

    def sort(x: Any, values: Any, second: Any, payload: Any) -> None:
        rows, length = x.shape
        block = max(1, 1024 // length)
        bits = 8 * x.element_size()
        integer = torch.int16 if bits == 16 else torch.int32
        out = second if values is None else values.view(integer)
        kernel[(triton.cdiv(rows, block),)](
            x.view(integer), out, second, second if payload is None else payload, rows, length,
            block, bits, tl.int32 if bits == 16 else tl.int64, x.dtype.is_floating_point,
            values is not None, payload is not None,
            num_warps=max(4, length // 256),
        )  # fmt: skip

    return sort


def _cub(dtypes: Sequence[str]) -> Any:
    functions = "".join(
        f"""
extern "C" int sort_{name}(void* scratch, size_t* bytes, const void* x, void* out,
                           const void* values, void* values_out, long long rows, int length,
                           void* stream) {{
  thrust::counting_iterator<long long> count(0);
  auto begin = thrust::make_transform_iterator(count, Scale{{length}});
  return cub::DeviceSegmentedSort::StableSortPairs(scratch, *bytes,
      static_cast<const {kind}*>(x), static_cast<{kind}*>(out), static_cast<const int*>(values),
      static_cast<int*>(values_out), rows * length, rows, begin, begin + 1,
      static_cast<cudaStream_t>(stream));
}}"""
        for name, kind in _gpu.CUB_TYPES.items()
        if name in dtypes
    )
    return _gpu.cub(functions) if functions else None


def _same_bits(a: Any, b: Any) -> bool:
    import torch

    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return bool(torch.equal(a.view(bits), b.view(bits)))


def _peer_calls(
    x: Any, payload: Any, operation: str, values: Any, second: Any, peers: Mapping[str, Any]
) -> dict[str, Callable[[], object]]:
    """Return calls of the peers that sort rows, and that write to second (and values)."""
    import torch

    calls: dict[str, Callable[[], object]] = {}
    length, dtype = x.shape[1], str(x.dtype).removeprefix("torch.")
    if (
        peers["triton"] is not None
        and x.element_size() in (2, 4)
        and length & (length - 1) == 0
        and length <= _MAX_TRITON_LENGTH
    ):
        kept = None if operation == "argsort" else values
        calls["tl.sort"] = lambda: peers["triton"](x, kept, second, payload)
    if peers["cub"] is not None and dtype in _gpu.CUB_TYPES and second.dtype == torch.int32:
        carried = payload
        if carried is None:
            positions = torch.arange(length, dtype=torch.int32, device=x.device)
            carried = positions.expand(x.shape).contiguous()
        segmented = _gpu.cub_call(peers["cub"], f"sort_{dtype}", (x, values, carried, second))
        if segmented is not None:
            calls["cub"] = segmented
    return calls


def _measure(
    x: Any, operation: str, index_dtype: str, axis: int, peers: Mapping[str, Any]
) -> tuple[dict[str, float], list[str]]:
    """Return the median seconds of each peer, and what is wrong with their results."""
    import torch

    from warp_bitonic_sort import argsort, sort, sort_pairs, sort_with_indices

    values, second = torch.empty_like(x), torch.empty_like(x, dtype=getattr(torch, index_dtype))
    expected, order = torch.sort(x, dim=axis, stable=True)
    payload: Any = None
    if operation == "sort_pairs":
        payload = torch.randint(1 << 30, x.shape, dtype=second.dtype, device=x.device)
        order = payload.gather(axis, order)
    order = order.to(second.dtype)

    def torch_sort() -> object:
        result = torch.sort(x, dim=axis, stable=True)
        return result if payload is None else payload.gather(axis, result.indices)

    ours: dict[str, Callable[[], Any]] = {
        "sort_with_indices": lambda: sort_with_indices(x, axis=axis, out=(values, second)),
        "argsort": lambda: (None, argsort(x, axis=axis, out=second)),
        "sort_pairs": lambda: sort_pairs(x, payload, axis=axis),
    }
    result = ours[operation]()
    notes = []
    if not (_same_bits(result[1], order)
            and (result[0] is None or _same_bits(result[0], expected))):  # fmt: skip
        notes.append("WRONG")
    del result
    read = 1 if operation == "argsort" else 2
    carried = 2 if operation == "sort_pairs" else 1
    moved = x.numel() * (read * x.element_size() + carried * second.element_size())
    source = torch.randint(256, (moved // 2,), dtype=torch.uint8, device=x.device)
    target = torch.empty_like(source)
    calls: dict[str, Callable[[], object]] = {
        "copy": lambda: target.copy_(source),
        "ours": ours[operation],
        "torch.sort": torch_sort,
    }
    if axis == 0:
        calls["sort"] = lambda: sort(x, axis=axis, out=values)
    else:
        for name, call in _peer_calls(x, payload, operation, values, second, peers).items():
            second.fill_(-1)
            try:
                call()
            except Exception as error:
                print(f"{name}: {error}")
                notes.append(f"{name} fails")
                continue
            if torch.equal(second, order):
                calls[name] = call
            else:
                notes.append(f"{name} is wrong")
    return _gpu.alternately(calls), notes


def _column_row(
    length: int, times: Mapping[str, float], promised: bool, notes: Sequence[str]
) -> list[str]:
    ratio = times["ours"] / times["sort"]
    missed = ["above the goal"] if promised and ratio > _COLUMN_GOAL else []
    if times["torch.sort"] < times["ours"]:
        missed.append("torch.sort wins")
    shares = [f"{100 * times['copy'] / times[name]:.0f}" for name in ("ours", "torch.sort")]
    goal = f"{_COLUMN_GOAL}" if promised else ""
    return [str(length), f"{ratio:.2f}", goal, *shares, ", ".join([*missed, *notes])]


def _summary(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table of all percentages, lengths across; what misses its goal is bold."""
    lengths = list(dict.fromkeys(entry["length"] for entry in entries))
    cells: dict[str, dict[int, str]] = {}
    for entry in entries:
        times, goal = entry["seconds"], entry["goal"]
        for name in ("ours", *_PEERS):
            if name in times:
                share = 100 * times["copy"] / times[name]
                below = name == "ours" and goal is not None and share < goal
                label = entry["panel"] if name == "ours" else f"{entry['panel']}: {name}"
                text = f"**{share:.0f}**" if below else f"{share:.0f}"
                cells.setdefault(label, {})[entry["length"]] = text
    rows = [[label, *(line.get(length, "") for length in lengths)] for label, line in cells.items()]
    return _common.table(["row length", *map(str, lengths)], rows)


def main() -> None:
    """Measure, print tables, and write JSON and a picture if an option names a file."""
    parser = _gpu.parser(__doc__, _DTYPES, _LENGTHS)
    parser.add_argument("--operation", nargs="+", choices=_OPERATIONS, default=_OPERATIONS)
    parser.add_argument("--index-dtype", nargs="+", choices=("int32", "int64"),
                        default=("int32", "int64"), help="not for pairs")  # fmt: skip
    parser.add_argument("--kind", nargs="+", choices=(*_KINDS, "all"), default=("normal",),
                        metavar="KIND", help=f"data: {', '.join(_KINDS)}, or all")  # fmt: skip
    options = parser.parse_args()

    result = _gpu.begin(options)
    peers: dict[str, Any] = {"triton": None, "cub": None}
    if options.peers and options.axis == 1:
        peers = {"triton": _triton(), "cub": _cub(options.dtype)}
        print("left out:", ", ".join(n for n, peer in peers.items() if peer is None) or "nothing")
    which = "columns" if options.axis == 0 else "rows"
    header = ["row length", "ours", "goal", *_PEERS, "note"]
    if options.axis == 0:
        header = ["column length", "times sort", "goal", "ours", "torch.sort", "note"]
    kinds = _KINDS if "all" in options.kind else options.kind
    for dtype, operation, kind in itertools.product(options.dtype, options.operation, kinds):
        if "float" not in dtype and kind in _KINDS_OF_FLOATS:
            continue
        # The payload of pairs is int32.
        for index in ("int32",) if operation == "sort_pairs" else options.index_dtype:
            panel, rows = f"{dtype}, {operation}, {index}, {kind}", []
            for length in options.length:
                x = _data(kind, dtype, options.elements // length, length)
                if options.axis == 0:
                    x = x.t().contiguous()
                times, notes = _measure(x, operation, index, options.axis, peers)
                goal = None
                if options.axis == 0:
                    promised = operation == "sort_with_indices" and index == "int32"
                    rows.append(_column_row(length, times, promised, notes))
                else:
                    goal = _goal(operation, dtype, kind, length)
                    rows.append(_gpu.row(length, times, goal, _PEERS, notes))
                result["rows"].append(
                    {"panel": panel, "dtype": dtype, "operation": operation, "index": index,
                     "kind": kind, "length": length, "goal": goal, "notes": notes,
                     "seconds": times}
                )  # fmt: skip
            print(
                f"\n{panel}, {which}: percent of a copy\n{_common.table(header, rows)}", flush=True
            )
    print(f"\n{which}, percent of a copy\n{_summary(result['rows'])}", flush=True)
    if options.plot:
        _common.plot(result["rows"], options.plot, ("ours", *_PEERS))
    _common.report(result, options.json)
    wrong = [entry for entry in result["rows"] if "WRONG" in entry["notes"]]
    if wrong:
        raise SystemExit(f"{len(wrong)} results differ from those of torch.sort")


if __name__ == "__main__":
    main()
