"""The command ``bench``: times this package beside the array libraries that are installed.

Invariant: every library gives this package's answer before it is timed. Nothing is written but the
files that options name, each of which says of itself whether the machine was noisy.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click

from ..dtypes import DTYPES
from ..operations import OPERATIONS
from . import _bench_devices, _bench_plot, _bench_report, _bench_run
from ._bench_peers import Case
from ._common import need, reported
from ._lists import known_or_all, lengths
from ._paths import OutputFile, write_file
from ._picture import bytes_of, check_format, format_of
from ._terminal import progress_bar

# Quantiles of bools, and float8, are in hardly any library.
_DTYPES = tuple(name for name in DTYPES if name != "bool" and not name.startswith("float8"))
_DEFAULT_K = 8
_NOISY_STATUS = 3

_HELP = f"""Time this package beside NumPy, PyTorch, CuPy and Triton, as far as they are installed.

All libraries get the same random rows, and on a CPU the same number of threads. Their answers are
compared first, which is an error if they differ. Then all are timed alternately. A table has how
many times as fast ours is, and says where it loses. The peers on a CPU are NumPy and PyTorch; on a
GPU they are PyTorch, CuPy and Triton (for sort), timed by the GPU's clock.

If the machine is noisy, the first line and the last one say that the figures are not to be quoted,
and so do the files; the exit status is {_NOISY_STATUS}. A machine is noisy if other programs use
it, if repeated calls take different times, or if a copy takes another time after the run than
before.

Takes less than a minute with the default options; a new kernel takes a second or two to compile.
Writes no file but those that options name. --plot and --html need matplotlib (the extra demo).

\b
Examples:
  warp-bitonic-sort bench
  warp-bitonic-sort bench --operation sort,top_k --length 8-12 --dtype int64
  warp-bitonic-sort bench --device gpu --json bench.json --html bench.html

Exit status: 0; {_NOISY_STATUS} when the machine was noisy; 1 on an error, also when two libraries
disagree; 2 when the command line is wrong.
"""


def _operations(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    return known_or_all(value, tuple(OPERATIONS))


def _dtypes(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    return known_or_all(value, _DTYPES)


@click.command(help=_HELP)
@click.option(
    "--operation",
    "operations",
    default="sort,argsort,top_k,median",
    show_default=True,
    callback=_operations,
    help=f"A list of {', '.join(OPERATIONS)}; or all.",
)
@click.option(
    "--dtype",
    "dtypes",
    default="float32",
    show_default=True,
    callback=_dtypes,
    help=f"A list of {', '.join(_DTYPES)}; or all.",
)
@click.option(
    "--length",
    "row_lengths",
    default="9,64,256",
    show_default=True,
    callback=lengths,
    help="Lengths of rows, as in 2-32,64.",
)
@click.option(
    "--rows",
    type=click.IntRange(1),
    help="How many rows (default: as many as have 2^18 elements, on a GPU 2^24).",
)
@click.option(
    "-k",
    type=click.IntRange(1),
    help=f"Of top_k and kthvalue (default: {_DEFAULT_K}, or all of a shorter row).",
)
@click.option(
    "-q", type=click.FloatRange(0, 1), default=0.9, show_default=True, help="Of quantile."
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where: auto is the GPU that PyTorch or CuPy sees, or else the CPU.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Of every library on a CPU (default: 1). NumPy is left out if there are more.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="How long calls are timed, all cases together.",
)
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write all times.")
@click.option(
    "--plot", type=OutputFile(), metavar="FILE", help="Draw curves; the ending says the format."
)
@click.option(
    "--html", "page", type=OutputFile(), metavar="FILE", help="Write a page with table and curves."
)
@click.pass_context
def bench(
    context: click.Context,
    operations: list[str],
    dtypes: list[str],
    row_lengths: list[int],
    rows: int | None,
    k: int | None,
    q: float,
    device: str,
    threads: int | None,
    seconds: float,
    json_file: Path | None,
    plot: Path | None,
    page: Path | None,
) -> None:
    """Time operations."""
    need("numpy", *["matplotlib"] * (plot is not None or page is not None))
    if "bfloat16" in dtypes:
        need("ml_dtypes")
    if plot is not None:
        check_format(plot, "--plot")
    if k is not None and k > min(row_lengths):
        raise click.BadParameter(
            f"expected at most the shortest --length, {min(row_lengths)}; got {k}.",
            param_hint="'-k'",
        )
    with reported():
        where = _device(device, threads)
        cases = [
            Case(
                operation, dtype, rows or max(1, where.elements // n), n, k or min(_DEFAULT_K, n), q
            )
            for operation in operations
            for dtype in dtypes
            for n in row_lengths
            if OPERATIONS[operation].takes(DTYPES[dtype])
        ]
        click.echo(
            f"Timing {len(cases)} case{'s' * (len(cases) != 1)} for {seconds:g} s on {where.name}.",
            err=True,
        )
        with progress_bar(len(cases), "Timing", show_count=True) as advance:
            result = _bench_run.measure(cases, where, seconds, _command(), advance)
    click.echo(_bench_report.text_of(result))
    warning = _bench_report.WARNING if result["noise"] else ""
    if json_file is not None:
        write_file(json_file, (json.dumps(result, indent=1) + "\n").encode())
        click.echo(f"JSON: {click.format_filename(json_file)}")
    if plot is not None or page is not None:
        figure = _bench_plot.draw(_bench_report.panels_of(result), _bench_report.YLABEL, warning)
    if plot is not None:
        with reported(click.format_filename(plot)):
            picture = bytes_of(figure, format_of(plot), dpi=130)
        write_file(plot, picture)
        click.echo(f"Plot: {click.format_filename(plot)}")
    if page is not None:
        text = _bench_report.page_of(result, _bench_plot.svg_of(figure))
        write_file(page, text.encode())
        click.echo(f"Page: {click.format_filename(page)}")
    click.echo(_bench_report.summary_of(result))
    context.exit(_NOISY_STATUS if result["noise"] else 0)


def _command() -> str:
    return shlex.join(["warp-bitonic-sort", *sys.argv[1:]])


def _device(name: str, threads: int | None) -> _bench_devices.Device:
    """Return the device of the option, or refuse it."""
    found = None if name == "cpu" else _bench_devices.gpu()
    if found is None and name == "gpu":
        raise click.BadParameter(
            "expected cpu, got gpu: neither PyTorch nor CuPy is installed and sees a GPU.",
            param_hint="'--device'",
        )
    if found is None:
        return _bench_devices.cpu(threads or 1)
    if threads is not None:
        raise click.BadParameter(
            f"expected none for a GPU, got {threads}; --device cpu has threads.",
            param_hint="'--threads'",
        )
    return found
