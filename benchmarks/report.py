"""Writes the pages of docs/benchmarks from the results of the benchmarks, with tables and plots.

    python benchmarks/report.py

reads docs/benchmarks/data/*.json and rewrites docs/benchmarks/*.md, but older.md, *.svg, and
summary.txt, which the site's first page shows. Nothing else is written, and these files are never
edited by hand. A number is how many times as fast ours is: the peer's time divided by ours. Where
it is below 1, the cell says that ours loses.

The data are what `--json` of the benchmarks writes, unchanged. With DATA=docs/benchmarks/data, on a
CPU, about 15 minutes in all:

    python benchmarks/sort_cpu.py --elements 1048576 --length 8 16 25 32 64 100 128 256 1024 4096
        --seconds 0.7 --few-rows --json $DATA/sort-cpu.json
    python benchmarks/sort_cpu.py --arch x86-64-avx2 --elements 1048576
        --length 8 16 25 32 64 100 128 256 1024 4096 --dtype float32 int16 int64 --seconds 0.7
        --no-torch --json $DATA/sort-cpu-avx2.json
    python benchmarks/argsort_cpu.py --json $DATA/argsort-cpu.json
    python benchmarks/selection_cpu.py --json $DATA/selection-cpu.json
    python benchmarks/call_overhead.py --json $DATA/calls-cpu.json
    python benchmarks/facades.py --json $DATA/facades-cpu.json
    python benchmarks/engines.py --engine dask xarray polars --seconds 3 --json $DATA/engines.json
    python benchmarks/engines.py --engine ray --seconds 3 --json $DATA/engines-ray.json
    python benchmarks/cold_start.py --on cpu --json $DATA/starts-cpu.json

On an NVIDIA GPU, less than 8 minutes in all, kernels compiled on the way:

    python benchmarks/sort_gpu.py --dtype float32 bfloat16 int64
        --length 8 16 25 32 64 100 128 256 300 512 1024 4096 --json $DATA/sort-gpu.json
    python benchmarks/sort_gpu.py --axis 0 --no-peers --dtype float32 bfloat16
        --length 8 25 64 256 1024 --json $DATA/columns-gpu.json
    python benchmarks/argsort_gpu.py --dtype float32 bfloat16 --operation sort_with_indices
        --index-dtype int32 --length 8 32 64 100 256 1024 4096 --json $DATA/argsort-gpu.json
    python benchmarks/selection_gpu.py --dtype float32 bfloat16 --length 64 256 1024 4096 65536
        --k 1 8 32 128 --elements 67108864 --json $DATA/selection-gpu.json
    python benchmarks/selection_gpu.py --median --dtype float32 --length 9 25 64 256 1024
        --elements 67108864 --json $DATA/medians-gpu.json
    python benchmarks/call_overhead.py --seconds 1 --json $DATA/calls-gpu.json
    python benchmarks/facades.py --library torch --device cuda --seconds 0.5
        --json $DATA/facades-gpu.json

A section without its data is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import _common

from warp_bitonic_sort.cli import _bench_plot

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
Row = Mapping[str, Any]
Result = Mapping[str, Any]

# What is timed beside ours and is no other library: a bound, or another function of ours.
_BOUNDS = {
    "copy": "a copy's speed",
    "identity": "the speed of blocks passed through",
    "torch.neg": "the speed of `torch.neg`",
}
_OURS = {"sort": "our `sort`", "argsort": "our `argsort`", "our sort": "our `sort`",
         "sort_with_indices": "our `sort_with_indices`"}  # fmt: skip
_MOST_COLUMNS = 4  # of peers beside each other
_OLDER = "older"  # the page that is written by hand
_LOADED = 0.5  # load beyond what an idle machine has
_LEGEND = (
    "A number says how many times as fast ours is as the function in its line; where that is below "
    "1, ours loses, and the cell says so. A share is our speed in percent of a bound. Other "
    "functions of ours are there for comparison."
)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


class Section(NamedTuple):
    """A table from one file of data.

    Parameters
    ----------
    data : str
        The name of the file, without its ending.
    title, text : str
        The heading, and what is timed.
    label : callable
        Returns what the lines of a row's table begin with.
    column : callable or None
        Returns the row's column. None: each row has a line, and each peer a column.
    head : str
        The heading of the first column.
    key : str, default "rows"
        Where the rows are in the file.
    where : callable, optional
        Tells which rows belong to the table.
    plot : bool, default False
        Whether the ratios are drawn by the length of rows.
    """

    data: str
    title: str
    text: str
    label: Callable[[Row], str]
    column: Callable[[Row], str] | None
    head: str
    key: str = "rows"
    where: Callable[[Row], bool] = lambda _: True
    plot: bool = False


class Page(NamedTuple):
    """A page: its file without the ending, its title, what comes first, and its sections."""

    name: str
    title: str
    text: str
    sections: Sequence[Section]


def _by_dtype(row: Row) -> str:
    return f"{row['dtype']}{'' if row.get('axis', -1) else ', axis 0'}"


def _length(row: Row) -> str:
    return str(row["length"])


def _of_argsort(row: Row) -> str:
    return f"{_by_dtype(row)}, {row['where']}"


def _case(row: Row) -> str:
    words = (row.get(name) for name in ("library", "engine", "array", "case"))
    return ", ".join(str(word) for word in words if word)


_SORT_TEXT = (
    "Rows of random elements, sorted into new arrays by one thread. The elements of an array do "
    "not fit the caches. `axis 0` has columns, 65536 of them. torch.sort returns indices, too."
)
_SECTIONS_OF_CALLS = [
    Section("calls-cpu", "One call on a CPU", "Small arrays, 4 x 8 float32, with a warm cache.",
            lambda row: row["array"], None, "array"),
    Section("calls-gpu", "One call on a GPU", "Small arrays, queued one after the other; "
            "`torch.neg` is the shortest call that PyTorch has.",
            lambda row: row["array"], None, "array", where=lambda row: "CUDA" in row["array"]),
]  # fmt: skip

PAGES = [
    Page("cpu", "Sorting on a CPU", "`sort`, and sorting with indices, beside NumPy and PyTorch.", [
        Section("sort-cpu", "`sort`", _SORT_TEXT, _by_dtype, _length, "dtype, beside", plot=True),
        Section("sort-cpu-avx2", "`sort` with AVX2", f"{_SORT_TEXT} Ours and NumPy are limited to "
                "AVX2.", _by_dtype, _length, "dtype, beside", plot=True),
        Section("sort-cpu", "Few rows", "One call sorts so few rows that calling takes much of the "
                "time. The columns are lengths of rows.",
                lambda row: f"{row['dtype']}, {row['rows']} row{'s' * (row['rows'] != 1)}", _length,
                "dtype, rows, beside", key="few_rows"),
        Section("argsort-cpu", "`sort_with_indices`", "Values and int32 indices, beside functions "
                "that return int64 indices. `in cache` has arrays of 2^17 elements, `in memory` of "
                "2^22.", _of_argsort, _length, "dtype, size, beside", plot=True),
    ]),
    Page("selection", "Selection", "`top_k`, `median` and `quantile`.", [
        Section("selection-cpu", "`top_k` of many rows on a CPU", "The k largest float32 of rows "
                "that fit the caches, with int32 indices, on one thread.",
                lambda row: f"k = {row['k']}", _length, "k, beside",
                where=lambda row: row["panel"] == "rows", plot=True),
        Section("selection-cpu", "`top_k` of one long row on a CPU", "Whole calls.",
                lambda _: "one row", lambda row: f"{row['length']}, k = {row['k']}", "beside",
                where=lambda row: row["panel"] == "long rows"),
        Section("selection-cpu", "Stacks of images on a CPU", "25 images of 512 x 512 float32, "
                "reduced along axis 0, on one thread. Where NaNs are left out, a tenth of the "
                "elements is NaN.", lambda row: row["case"], None, "reduction",
                where=lambda row: row["panel"] == "stacks"),
        Section("selection-gpu", "`top_k` of rows on a GPU", "The k largest elements of random "
                "rows, with int32 indices. A copy moves the bytes that are read and written.",
                lambda row: f"{row['dtype']}, k = {row['k']}", _length, "dtype, k, beside"),
        Section("medians-gpu", "`median` of rows on a GPU", "Random rows. torch.median returns the "
                "lower one of two middle elements, and its index.",
                lambda row: row["panel"].removeprefix("median, "), _length, "dtype, beside"),
    ]),
    Page("gpu", "Sorting on an NVIDIA GPU", "`sort` and `sort_with_indices` beside PyTorch, "
         "Triton, CUB and CuPy, by the clock of the device.", [
        Section("sort-gpu", "`sort`", "Random rows, sorted into the same memory in every call. "
                "`cub` is cub::DeviceSegmentedSort.", _by_dtype, _length, "dtype, beside",
                plot=True),
        Section("columns-gpu", "`sort` of columns", "Random columns (axis 0).", _by_dtype, _length,
                "dtype, beside"),
        Section("argsort-gpu", "`sort_with_indices`", "Normal numbers, int32 indices. `tl.sort` "
                "sorts keys and indices packed into words; `cub` and `torch.sort` are stable.",
                _by_dtype, _length, "dtype, beside", plot=True),
    ]),
    Page("engines", "Libraries and data engines", "The functions with the signatures of other "
         "libraries, and those for data engines, each inside the library or the engine.", [
        Section("facades-cpu", "Signatures of NumPy, PyTorch and JAX", "The same call of the "
                "library itself is the peer. Steps of programs have one import changed. All use "
                "one thread.", _case, None, "library, array, call"),
        Section("facades-gpu", "Signatures of PyTorch on a GPU", "As above, on a CUDA device.",
                _case, None, "library, array, call"),
        Section("engines", "Dask, xarray and Polars", "`numpy` is NumPy's function in the place of "
                "ours. No function can be faster than the engine "
                "passes blocks through.", _case, None,
                "engine, array, call"),
        Section("engines-ray", "Ray Data", "As for the other engines.", _case, None,
                "engine, array, call"),
    ]),
    Page("calls", "One call, and the first one", "What a call costs beside the work, and how long "
         "a process takes to its first result.", [
        *_SECTIONS_OF_CALLS,
        Section("starts-cpu", "The first call on a CPU", "Seconds of a new process from the import "
                "of tvm_ffi to the first result, rows of 25 float32: the median, and the least. "
                "`cold_start.py --help` says what each line covers.", lambda row: row["case"],
                None, "first result", key="starts"),
    ]),
]  # fmt: skip


# -- figures --------------------------------------------------------------------------------------


def seconds_of(row: Row) -> dict[str, float]:
    """Return the seconds of each peer by the name that readers know; ours is ``ours``."""
    theirs = "the library's own" if "library" in row else "the engine's own"
    names = {"peer": row.get("peer", ""), "theirs": theirs}
    return {names.get(name, name): each for name, each in row["seconds"].items()}


def is_peer(name: str) -> bool:
    """Tell whether a name is that of another library's function."""
    return name not in ("ours", *_BOUNDS, *_OURS)


def ratio_text(ratio: float) -> str:
    """Return how many times as fast ours is; a loss never looks like a tie."""
    if ratio < 1:
        return f"**{math.floor(ratio * 100) / 100:.2f} loses**"
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"


def _cell(name: str, times: Mapping[str, float]) -> str:
    ratio = times[name] / times["ours"]
    if name in _BOUNDS:
        return f"{100 * ratio:.0f}%"
    return f"{ratio:.2f}" if name in _OURS else ratio_text(ratio)


def _beside(name: str) -> str:
    return f"share of {_BOUNDS[name]}" if name in _BOUNDS else _OURS.get(name, name)


def _rows(section: Section, result: Result) -> list[Row]:
    rows = _starts(result) if section.key == "starts" else result.get(section.key, [])
    return [row for row in rows if section.where(row)]


def _starts(result: Result) -> list[Row]:
    """Return the rows of a file of `cold_start.py`, which has one time a case in each turn."""
    return [
        {"case": name, "median": median,
         "least": min(turn[name]["seconds"] for turn in result["turns"] if name in turn)}
        for name, median in result["seconds"].items()
    ]  # fmt: skip


def _pivot(section: Section, rows: Sequence[Row]) -> list[list[str]]:
    """Return a table whose lines are labels and peers, and whose columns are of the rows."""
    column = section.column
    assert column is not None
    columns = list(dict.fromkeys(map(column, rows)))
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        times = seconds_of(row)
        for name in (*filter(is_peer, times), *(each for each in times if not is_peer(each))):
            if name != "ours":
                line = lines.setdefault((section.label(row), name), {})
                line[column(row)] = _cell(name, times)
    order = list(dict.fromkeys(label for label, _ in lines))
    ordered = sorted(lines.items(), key=lambda item: order.index(item[0][0]))
    return [
        [section.head, *columns],
        *(
            [f"{label}, {_beside(name)}", *(cells.get(each, "") for each in columns)]
            for (label, name), cells in ordered
        ),
    ]


def _listing(section: Section, rows: Sequence[Row]) -> list[list[str]]:
    """Return a table with a line for each row, and a column for each peer, or lines for many."""
    found = dict.fromkeys(name for row in rows for name in seconds_of(row) if name != "ours")
    names = sorted(found, key=lambda name: name in _BOUNDS)
    has_columns = len(names) <= _MOST_COLUMNS
    beside = map(_beside, names) if has_columns else ("beside", "times as fast")
    lines = [[section.head, "ours, us", *beside]]
    for row in rows:
        times = seconds_of(row)
        head = [section.label(row), f"{1e6 * times['ours'] / row.get('calls', 1):.1f}"]
        if has_columns:
            lines.append([*head, *(_cell(name, times) if name in times else "" for name in names)])
            continue
        for name in (name for name in times if name != "ours"):
            lines.append([*head, _beside(name), _cell(name, times)])
            head = ["", ""]
    return lines


def _losses(section: Section, rows: Sequence[Row]) -> list[str]:
    """Return lines about where a peer is faster."""
    lost: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        times = seconds_of(row)
        for name in filter(is_peer, times):
            if times[name] < times["ours"]:
                label, column = section.label(row), section.column
                group, case = (label, column(row)) if column else ("", label)
                ratio = math.floor(100 * times[name] / times["ours"]) / 100
                lost.setdefault((group, name), {})[case] = ratio
    lines = []
    for (group, name), cells in lost.items():
        where = f"{section.title}, {group}" if group else section.title
        listed = ", ".join(cells) if group else "; ".join(cells)
        low, high = min(cells.values()), max(cells.values())
        span = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        text = f"{where}: {name} is faster {'at' if group else 'for'} {listed} ({span})."
        lines.append(textwrap.indent(_wrapped(text), "  ").replace("  ", "- ", 1))
    return lines


def _picture(section: Section, rows: Sequence[Row]) -> str:
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in (row for row in rows if row.get("axis", -1)):
        times = seconds_of(row)
        for name in filter(is_peer, times):
            panel = panels.setdefault(section.label(row), {})
            panel.setdefault(name, []).append((row["length"], times[name] / times["ours"]))
    return _bench_plot.svg_of(_bench_plot.draw(panels, "times as fast as the peer"))


# -- pages ----------------------------------------------------------------------------------------


def _source(result: Result) -> str:
    """Return when, where and by what a file was measured."""
    machine = result["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['arch']}"
    if "gpu" in machine:
        where = f"{machine['gpu']}; host: {where}"
    else:
        where += f", {machine['threads']} thread{'s' * (machine['threads'] != 1)}"
    versions = {"Python": machine["python"], **machine["versions"]}
    shown = ", ".join(f"{name} {v}" for name, v in versions.items() if v != "not installed")
    load = "" if machine.get("load") is None else f", load {machine['load']} before the run"
    text = _wrapped(f"{machine['date']}: {where}{load}; {shown}; {machine['compiler']}:")
    return f"{text}\n\n```text\n{machine['command']}\n```"


def _noise(results: Sequence[Result]) -> str:
    """Return what to know about figures of a machine that was in use."""
    machines = [result["machine"] for result in results]
    free = [m["cores"] - (1 if "gpu" in m else m["threads"]) + _LOADED for m in machines]
    if not any((m.get("load") or 0) > most for m, most in zip(machines, free, strict=True)):
        return ""
    text = _wrapped(
        "**A noisy machine.** Other programs used the machine during these runs. Peers are called "
        "alternately, so that the ratios suffer less than the times. Do not quote the times, and "
        "repeat a ratio before you rely on it."
    )
    return f"{text}\n\n"


def _page(page: Page, data: Mapping[str, Result]) -> dict[str, str]:
    """Return the files of a page: its text, and its pictures."""
    sections = [section for section in page.sections if section.data in data]
    files: dict[str, str] = {}
    head = _wrapped(f"{page.text} {_LEGEND}")
    text = f"# {page.title}\n\n{head}\n\n{_noise([data[each.data] for each in sections])}"
    losses: list[str] = []
    for section in sections:
        result = data[section.data]
        rows = _rows(section, result)
        if section.key == "starts":
            header = [section.head, "median, s", "least, s"]
            table = [[row["case"], f"{row['median']:.4f}", f"{row['least']:.4f}"] for row in rows]
            table = [header, *table]
        else:
            table = (_pivot if section.column else _listing)(section, rows)
            losses += _losses(section, rows)
        text += f"## {section.title}\n\n{_wrapped(section.text)}\n\n{_source(result)}\n\n"
        text += f"{_common.table(table[0], table[1:])}\n\n"
        if section.plot:
            picture = f"{section.data}.svg"
            files[picture] = _picture(section, rows)
            title = section.title.replace("`", "")
            text += f"![{title}: times as fast by row length, as in the table]({picture})\n\n"
    if not sections:
        text += "There is no file of data for this page yet.\n\n"
        return {f"{page.name}.md": f"{text}[Older results]({_OLDER}.md) have some.\n"}
    text += "## Where it is slow or loses\n\n"
    text += "\n".join(losses) + "\n\n" if losses else "No case of these tables is lost.\n\n"
    text += "[Performance](../performance.md) says why, and what helps.\n"
    return {f"{page.name}.md": text, **files}


def _index(data: Mapping[str, Result]) -> str:
    """Return the page that lists the others."""
    table = []
    for page in PAGES:
        for name in dict.fromkeys(section.data for section in page.sections):
            if name not in data:
                continue
            machine = data[name]["machine"]
            cells = [
                (times[peer], times["ours"])
                for section in page.sections if section.data == name
                for row in _rows(section, data[name]) if "seconds" in row
                for times in [seconds_of(row)]
                for peer in filter(is_peer, times)
            ]  # fmt: skip
            lost = sum(theirs < ours for theirs, ours in cells)
            table.append([
                f"[{page.title}]({page.name}.md)", f"[{name}](data/{name}.json)", machine["date"],
                machine.get("gpu", machine["cpu"]), str(len(cells)), str(lost),
            ])  # fmt: skip
    header = ["page", "data", "date", "machine", "comparisons", "lost"]
    text = [
        "These pages are written by `python benchmarks/report.py` from files of data, which the "
        "programs in `benchmarks/` write. Each table has its date, machine, versions and command. "
        "A comparison is one call of ours beside one of another library. It is lost where the "
        "other one is faster.",
        "`warp-bitonic-sort bench` measures on your machine. [Performance](../performance.md) says "
        f"what limits the speed. [Older results]({_OLDER}.md) are of other machines.",
    ]
    paragraphs = "\n\n".join(map(_wrapped, text))
    listed = "\n".join([*(page.name for page in PAGES), _OLDER])
    return (
        f"# Benchmarks\n\n{paragraphs}\n\n{_common.table(header, table)}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
    )


def _summary(data: Mapping[str, Result]) -> str:
    """Return the table of the site's first page: libraries beside each other, for one array."""
    array, cells = "200000 x 25", {}
    columns = {
        ("facades-cpu", "numpy"): "NumPy",
        ("facades-cpu", "torch"): "PyTorch",
        ("facades-cpu", "jax"): "JAX, jit",
        ("facades-gpu", "torch"): "PyTorch on a GPU",
    }
    for (name, library), column in columns.items():
        for row in data[name]["rows"]:
            call, _, way = row["case"].replace("topk", "top_k").partition(", ")
            usual = "jit" if library == "jax" else ""
            if (row["library"], row["array"], way) == (library, array, usual):
                cells[call, column] = ratio_text(row["seconds"]["theirs"] / row["seconds"]["ours"])
    calls = ("sort", "argsort", "top_k k=2", "median", "quantile")
    heads = list(columns.values())
    table = [[call, *(cells.get((call, head), "") for head in heads)] for call in calls]
    where = [data[name]["machine"] for name in ("facades-cpu", "facades-gpu")]
    text = _wrapped(
        "How many times as fast as the library's own function, for 200,000 rows of 25 float32: one "
        f"thread of a CPU ({where[0]['cpu']}, {where[0]['arch']}, {where[0]['date']}), and a GPU "
        f"({where[1]['gpu']}, {where[1]['date']}). [Libraries and data engines]"
        "(benchmarks/engines.md) has the commands, more calls, and where it loses."
    )
    noise = _noise([data["facades-cpu"], data["facades-gpu"]])
    return f"{text}\n\n{noise}{_common.table(['call', *heads], table)}\n"


def files_of(folder: Path) -> dict[str, str]:
    """Return all generated files by name.

    Parameters
    ----------
    folder : Path
        The folder of the data.
    """
    data = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    known = {section.data for page in PAGES for section in page.sections}
    unknown = data.keys() - known
    if unknown:
        raise SystemExit(f"no page has a section for {', '.join(sorted(unknown))}")
    files = {"index.md": _index(data)}
    if {"facades-cpu", "facades-gpu"} <= data.keys():
        files["summary.txt"] = _summary(data)
    for page in PAGES:
        files.update(_page(page, data))
    return files


def main() -> None:
    """Rewrite the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    for name, text in files_of(FOLDER / "data").items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)


if __name__ == "__main__":
    main()
