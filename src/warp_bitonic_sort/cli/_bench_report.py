"""The result of ``bench`` as text, as curves and as a page of HTML.

Invariant: figures of a noisy machine are shown with a warning before them, in each form. A case
where a peer is faster says so in words.
"""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ._bench_peers import NOTES
from ._bench_plot import Panels
from ._bench_timing import MAX_SPREAD

WARNING = "NOISY MACHINE: do not quote these figures"
YLABEL = "times as fast as the peer"
Result = Mapping[str, Any]

_LEGEND = (
    "Numbers below the names of libraries: how many times as fast ours is, the library's median "
    "time divided by ours. Below 1 the library is faster, and the note says that ours loses."
)
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #7676764d; text-align: right;
         white-space: nowrap; }
th:nth-child(-n+3), td:nth-child(-n+3), td:last-child, th:last-child { text-align: left; }
.loses { font-weight: bold; }
.warning { border: 2px solid #d02020; padding: .5rem 1rem; }
code { overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
"""


def libraries_of(result: Result) -> list[str]:
    """Return the libraries that were timed."""
    return list(dict.fromkeys(name for row in result["rows"] for name in row["fastest"]))


def ratios_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return, for each library, its time divided by ours: that of its fastest way."""
    times = row["seconds"]
    return {library: times[name] / times["ours"] for library, name in row["fastest"].items()}


def table_of(result: Result) -> list[list[str]]:
    """Return the lines of the table, beginning with its header."""
    libraries = libraries_of(result)
    lines = [["operation", "dtype", "rows x length", "ours, us", *libraries, "note"]]
    for row in result["rows"]:
        ratios = ratios_of(row)
        lost = [name for name, ratio in ratios.items() if ratio < 1]
        notes = [f"loses to {' and '.join(lost)}"] if lost else []
        notes += ["noisy"] if row["spread"] > MAX_SPREAD else []
        argument = next((f" {name}={row[name]:g}" for name in ("k", "q") if name in row), "")
        lines.append(
            [
                f"{row['operation']}{argument}",
                row["dtype"],
                f"{row['rows']} x {row['length']}",
                f"{row['seconds']['ours'] * 1e6:.1f}",
                *(f"{ratios[name]:.2f}" if name in ratios else "" for name in libraries),
                ", ".join(notes),
            ]
        )
    return lines


def text_of(result: Result) -> str:
    """Return the result as text, without its summary."""
    warning = [*_warning_lines(result), ""] if result["noise"] else []
    table = table_of(result)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = range(3, len(widths) - 1)
    aligned = [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    facts = [f"{name}: {value}" for name, value in facts_of(result)]
    return "\n".join([*warning, *facts, "", *aligned, "", _LEGEND, *notes_of(result), ""])


def summary_of(result: Result) -> str:
    """Return one sentence about all cases, which is the warning if the machine was noisy."""
    if result["noise"]:
        return f"{WARNING}."
    best = [min(ratios.values()) for ratios in map(ratios_of, result["rows"]) if ratios]
    if not best:
        return "No other library was timed."
    lost = sum(ratio < 1 for ratio in best)
    return (
        f"Beside the fastest library of each case, ours is {statistics.median(best):.1f} times as "
        f"fast in the median of {len(best)} cases, and loses {lost} of them."
    )


def _warning_lines(result: Result) -> list[str]:
    return [f"{WARNING}.", *(f"- {reason}" for reason in result["noise"])]


def facts_of(result: Result) -> list[tuple[str, str]]:
    """Return what was measured, when, where and by what."""
    machine = result["machine"]
    cores = f"{machine['cores']} core{'s' * (machine['cores'] != 1)}"
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] != 1)}"
    where = f"{machine['cpu']}, {cores}, {machine['arch']}"
    if result["device"] == "gpu":
        where = f"{machine['gpu']}; host: {where}"
    else:
        where += f"; {threads}"
    versions = {"Python": machine["python"], **machine["versions"]}
    present = [f"{name} {v}" for name, v in versions.items() if v != "not installed"]
    return [
        ("date", machine["date"]),
        ("machine", where),
        ("versions", ", ".join(present)),
        ("command", machine["command"]),
    ]


def notes_of(result: Result) -> list[str]:
    """Return which functions were timed, what they are asked, and what was left out."""
    functions: dict[str, dict[str, None]] = {}
    left_out = {f"{name} is left out: {why}": None for name, why in result["left_out"].items()}
    for row in result["rows"]:
        names = [name for name in row["seconds"] if name != "ours"]
        functions.setdefault(row["operation"], {}).update(dict.fromkeys(names))
        for name, why in row["left_out"].items():
            left_out[f"{name} is left out for {row['dtype']}, rows of {row['length']}: {why}"] = (
                None
            )
    lines = []
    for operation, called in functions.items():
        said = f"; {NOTES[operation]}" if operation in NOTES else ""
        lines.append(f"{operation}: {' | '.join(called) or 'no other library'}{said}")
    if any(len(called) > 1 for called in functions.values()):
        lines.append("A library with several ways is shown with the fastest one.")
    return [*lines, *left_out]


def panels_of(result: Result) -> Panels:
    """Return the curves of the result, a panel for each operation and dtype."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in result["rows"]:
        panel = panels.setdefault(f"{row['operation']}, {row['dtype']}", {})
        for library, ratio in ratios_of(row).items():
            panel.setdefault(library, []).append((row["length"], ratio))
    return panels


def page_of(result: Result, picture: str) -> str:
    """Return a page of HTML that needs no other file; picture is an SVG."""
    header, *lines = table_of(result)
    warning = ""
    if result["noise"]:
        reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in result["noise"])
        warning = (
            f'<div class="warning" role="alert"><strong>{WARNING}.</strong><ul>{reasons}</ul></div>'
        )
    facts = "".join(f"<li>{name}: {_shown(name, value)}</li>" for name, value in facts_of(result))
    heads = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    body = "\n".join(f"<tr>{_cells(line)}</tr>" for line in lines)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in notes_of(result))
    summary = "" if result["noise"] else f"<p>{html.escape(summary_of(result))}</p>"
    svg = picture[picture.index("<svg") :]  # without the declaration, which names a DTD
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>warp-bitonic-sort bench</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>warp-bitonic-sort bench</h1>
{warning}
{summary}
<ul>{facts}</ul>
<table>
<thead><tr>{heads}</tr></thead>
<tbody>
{body}
</tbody>
</table>
<p>{html.escape(_LEGEND)}</p>
<figure role="img" aria-label="{YLABEL} by row length; the table has the numbers">
{svg}</figure>
<ul>{notes}</ul>
</body>
</html>
"""


def _shown(name: str, value: str) -> str:
    escaped = html.escape(value)
    return f"<code>{escaped}</code>" if name == "command" else escaped


def _cells(line: Sequence[str]) -> str:
    mark = ' class="loses"' if "loses" in line[-1] else ""
    return "".join(f"<td{mark}>{html.escape(cell)}</td>" for cell in line)
