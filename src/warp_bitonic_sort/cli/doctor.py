"""The command ``doctor``: says what was found, what is wrong, and how to fix it.

Invariant: the text and the JSON show the same report.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from ..targets import HOST
from . import _diagnosis
from ._problem import Problem, is_refused
from ._terminal import is_terminal

_HELP = """Say what this installation finds and whether a call to sort would work.

Looks at Python and the packages (without importing them), the back ends, the compiler and ninja,
the cache folder, the environment variables and the threads. Then it sorts a small array in a
process of its own, without and with indices, and compiles the kernels that the cache does not hold.
That is all that it may write, and --no-build leaves it out. Every problem is printed with what
mends it.

\b
Examples:
  warp-bitonic-sort doctor
  warp-bitonic-sort doctor --json > report.json
  CXX=clang++ warp-bitonic-sort doctor

Exit status: 0 when a call to sort would work, whatever it needs to compile; 1 when not; 2 when the
command line is wrong.
"""


@click.command(help=_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@click.option("--no-build", is_flag=True, help="Compile and sort nothing.")
@click.pass_context
def doctor(context: click.Context, as_json: bool, no_build: bool) -> None:
    """Inspect the installation."""
    problems: list[Problem] = []
    report: dict[str, Any] = _diagnosis.facts(problems)
    if no_build:
        report["trial"] = {"status": "skipped", **_diagnosis.NO_SORT}
    else:
        if not as_json and is_terminal():
            click.echo("Sorting a small array ...", err=True)
        report["trial"] = _diagnosis.smoke_sort(problems)
    works = not any(problem.blocking for problem in problems)
    report["problems"] = [asdict(problem) for problem in problems]
    report["works"] = works
    report["refused"] = is_refused(problems)
    text = json.dumps(report, indent=2) if as_json else "\n".join(_text(report))
    # As bytes: paths and variables may hold what the terminal's encoding cannot.
    click.echo(os.fsencode(text))
    context.exit(0 if works else 1)


def _text(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report's lines for people."""
    python, package = report["python"], report["package"]
    yield f"warp-bitonic-sort {package['version']} in {package['folder']}"
    yield f"{python['implementation']} {python['version']} ({python['executable']})"
    yield report["platform"]["system"]
    yield from ("", "Packages")
    for name, version in report["dependencies"].items():
        yield _line(name, version or "not installed")
    yield from ("", "Back ends")
    yield from _backend_lines(report["backends"])
    yield from ("", "Building")
    yield _line("compiler", _tool(report["compiler"], "command"))
    yield _line("ninja", _tool(report["ninja"], "path"))
    yield from _cache_lines(report["cache"], bool(report["trial"]["compiled"]))
    yield _line("threads", f"{report['threads']['count']} ({report['threads']['why']})")
    for name, value in report["environment"].items():
        if value is not None:
            yield _line(name, value if value.isprintable() else repr(value))
    yield from _smoke_sort_lines(report["trial"], report["dependencies"]["torch"] is not None)
    yield ""
    yield from _problem_lines(report["problems"])
    yield _verdict(report)


def _verdict(report: dict[str, Any]) -> str:
    needs_layer = report["compiler"] is None or report["ninja"] is None
    if report["works"] and report["trial"]["status"] == "skipped":
        where = " whose kernel a layer has" if needs_layer else ""
        return f"Nothing was tried. Nothing is known to hinder a call to sort{where}."
    if report["works"] and needs_layer:
        return "A call to sort works where a layer has its kernel; others need what is noted above."
    if report["works"]:
        return "A call to sort works."
    if report["refused"] and report["trial"]["status"] == "passed":
        return "A call to sort works unless its kernel is in the folder that is refused."
    # What is refused fails a sort, whatever other layers have.
    has_layers = report["cache"] and report["cache"]["layers"] and not report["refused"]
    if report["trial"]["status"] == "failed" and has_layers:
        return "A call to sort would not work, unless a layer has its kernel and the runtime."
    if report["trial"]["status"] == "passed" and not report["trial"]["compiled"]:
        return "Sorts whose kernels are in the cache work; others would not."
    return "A call to sort would not work."


def _line(name: str, value: str) -> str:
    return f"  {name:<20} {value}"


def _backend_lines(backends: dict[str, Any]) -> Iterator[str]:
    cpu = backends["cpu"]
    yield _line("cpu", f"{cpu['arch']} ({cpu['why']})" if cpu["available"] else "not available")
    for name in backends:
        if name == HOST.name:
            continue
        found = [f"{what} {where}" for what, where in backends[name]["found"].items() if where]
        parts = f"on this machine: {', '.join(found)}" if found else "nothing of it on this machine"
        yield _line(name, f"{backends[name]['why']}; {parts}")


def _tool(tool: dict[str, Any] | None, key: str) -> str:
    if tool is None:
        return "not found"
    why = f"; {tool['why']}" if "why" in tool else ""
    return f"{tool['version'] or 'does not run'} ({tool[key]}{why})"


def _cache_lines(cache: dict[str, Any] | None, has_grown: bool) -> Iterator[str]:
    """Yield the lines of the cache; it was counted before the small sort, which may fill it."""
    if cache is None:
        yield _line("cache", "cannot be read")
        return
    state = "exists" if cache["exists"] else "not there yet"
    state += ", writable" if cache["writable"] else ", NOT writable"
    yield _line("cache", f"{cache['path']} ({state})")
    when = " before the small sort" if has_grown else ""
    yield _line("", f"{cache['entries']} artifacts, {cache['bytes'] / 1e6:.1f} MB{when}")
    for root, count in cache["layers"].items():
        yield _line("layer", f"{root} ({count} artifacts)")


def _smoke_sort_lines(trial: dict[str, Any], has_torch: bool) -> Iterator[str]:
    """Yield the lines of the small sort; imports, which take longer, are not counted to it."""
    if trial["status"] != "passed":
        yield _line("small sort", "not tried" if trial["status"] == "skipped" else trial["status"])
        return
    compiled = f"compiled {', '.join(trial['compiled'])}" if trial["compiled"] else "from the cache"
    imports = trial["import_seconds"]
    seconds = trial["seconds"] - imports
    yield _line("small sort", f"passed in {seconds:.2f} s, {trial['kernel']}, {compiled}")
    among = ", among them PyTorch, which tvm_ffi imports" if has_torch else ""
    yield _line("", f"after {imports:.2f} s of imports{among}")


def _problem_lines(problems: list[dict[str, Any]]) -> Iterator[str]:
    for number, problem in enumerate(problems, 1):
        kind = "Problem" if problem["blocking"] else "Note"
        yield f"{kind} {number}: {problem['what']}"
        yield f"  Fix: {problem['fix']}"
    if problems:
        yield ""
