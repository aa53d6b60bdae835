"""The command ``sort``: sorts a .npy file along an axis, chunk by chunk.

Invariant: OUT holds either its old content or the whole result, also after an error, Ctrl-C,
SIGTERM or SIGHUP. No other file is left.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from ..operations import sort as sorting
from ._chunks import Chunk, Data, Grid, chunks, write_all
from ._common import DTYPE, NAN, Nan, need, reported
from ._npy import Source, open_npy
from ._paths import OutputFile, SomePath
from ._replace import replacing
from ._terminal import progress_bar

_HELP = """Sort the .npy file IN along an axis into the .npy file OUT.

The file may be larger than memory: it is sorted in chunks that hold whole rows, cut along the
axes other than the sorted one. The command needs memory for about one chunk. A chunk is never
less than one row. np.sort sorts rows of more than 16384 elements, which need a few times their
own size. If the sorted axis is the slowest one in the file, a larger --chunk-size saves passes
over the disk.

OUT gets the shape, dtype and memory order of IN. If OUT exists, a new file replaces it once the
result is complete. If the command fails or is stopped, OUT keeps its old content. The new file
takes the permissions and the group of an OUT of your own, but no set-id bits. Other hard links to
OUT keep the old data. IN and OUT may be the same file, but not streams. On a terminal a progress
bar is shown; otherwise nothing is printed.

While the command runs, the result grows in a hidden file beside OUT. A killed run leaves its
hidden file, and the next run with the same OUT removes it.

\b
Examples:
  warp-bitonic-sort sort in.npy out.npy
  warp-bitonic-sort sort in.npy out.npy --axis 0 --descending --nan last
  warp-bitonic-sort sort weights.npy weights.npy --dtype bfloat16

Exit status: 0 when OUT holds the result; 1 on an error; 2 when the command line is wrong; the
signal's (130 after Ctrl-C, 143 after SIGTERM) when it was stopped.
"""


@click.command(help=_HELP)
@click.argument("source", metavar="IN", type=SomePath(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", metavar="OUT", type=OutputFile())
@click.option("--axis", type=int, default=-1, show_default=True, help="The axis to sort along.")
@click.option("--descending", is_flag=True, help="The largest value comes first.")
@click.option(
    "--nan",
    type=NAN,
    default="largest",
    show_default=True,
    help="NaN counts as the largest value, or comes last in either direction.",
)
@click.option(
    "--dtype",
    type=DTYPE,
    metavar="NAME",
    help="The dtype of the elements of a file that has none: NumPy saves bfloat16 and float8 "
    "arrays of ml_dtypes as untyped bytes. Nothing is converted, and OUT's header is IN's; for a "
    "file with another dtype, the error says how to convert the file. One of "
    f"{', '.join(DTYPE.choices)}.",
)
@click.option(
    "--chunk-size",
    type=click.FloatRange(min=0, min_open=True),
    default=64.0,
    show_default=True,
    metavar="MIB",
    help="How much to sort at a time, in MiB.",
)
def sort(
    source: Path,
    target: Path,
    axis: int,
    descending: bool,
    nan: Nan,
    dtype: str | None,
    chunk_size: float,
) -> None:
    """Sort a file."""
    need("numpy")
    if not math.isfinite(chunk_size):
        raise click.BadParameter("expected a finite number.", param_hint="--chunk-size")
    budget = max(int(chunk_size * 2**20), 1)
    with open_npy(source, dtype) as opened:
        rank = max(len(opened.shape), 1)
        if not -rank <= axis < rank:
            raise click.BadParameter(
                f"expected {-rank} to {rank - 1} for the array of shape {opened.shape} in "
                f"{click.format_filename(source)}, got {axis}.",
                param_hint="--axis",
            )
        grid = Grid.of(opened.shape, axis % rank, opened.fortran)
        with _stopped_cleanly() as check, replacing(target) as temporary:
            _sort_into(opened, grid, temporary, target, descending, nan, budget, check)


def _sort_into(
    opened: Source,
    grid: Grid,
    temporary: int,
    target: Path,
    descending: bool,
    nan: Nan,
    budget: int,
    check: Callable[[], None],
) -> None:
    """Write the sorted array into an empty file."""
    import numpy as np

    reading = click.format_filename(opened.path)
    writing = f"{click.format_filename(target)}: cannot be written"
    size, itemsize = len(opened.header), opened.dtype.itemsize
    with reported(writing):
        # Fail now on a full disk, not after most of the work.
        os.posix_fallocate(temporary, 0, size + opened.nbytes)
        write_all(temporary, opened.header, 0)
    data = Data(opened.descriptor, size, grid, itemsize)
    result = Data(temporary, size, grid, itemsize)

    def sort_chunk(chunk: Chunk) -> int:
        with reported(reading):
            values = np.empty((chunk.blocks, grid.length, chunk.columns), f"u{itemsize}")
            data.read(chunk, values)
            rows = values.view(opened.dtype)
            sorting.sort(rows, axis=1, descending=descending, nan=nan, out=rows)
        with reported(writing):
            result.write(chunk, values)
        return values.nbytes

    advance = None
    with contextlib.ExitStack() as stack:
        for chunk in chunks(grid, itemsize, budget):
            check()
            done = sort_chunk(chunk)
            if advance is None:
                # After the first chunk, whose compile time would spoil the estimate.
                advance = stack.enter_context(progress_bar(opened.nbytes, "sorting"))
            advance(done)
        check()


# -- signals --------------------------------------------------------------------------------------


class _Stopped(BaseException):
    """A signal asked the command to stop. It is not an Exception, so that nothing swallows it."""


@contextlib.contextmanager
def _stopped_cleanly() -> Iterator[Callable[[], None]]:
    """Turn signals into an exception, and end by the signal after the cleaning up.

    Yields a function that the caller calls from time to time, because an exception that a signal
    raises inside a destructor is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # signals go to the main thread only
        return
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of handlers
        if not received:  # a second one must not interrupt the cleaning up
            received.append(number)
            raise _Stopped

    def check() -> None:
        if received:
            raise _Stopped

    # An ignored signal (nohup) stays ignored.
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield check
    except _Stopped:
        _die(received[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die(number: int) -> NoReturn:
    """End by the signal, as its sender expects."""
    with contextlib.suppress(OSError):
        click.echo(f"Stopped by {signal.Signals(number).name}.", err=True)
        sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)
