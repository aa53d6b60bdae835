"""The command ``sort``: sorts a .npy file along an axis, chunk by chunk.

Invariant: OUT holds either its old content or the whole result, also after an error, Ctrl-C,
SIGTERM or SIGHUP. No other file is left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._paths import OutputFile, SomePath
from ._sort_file import (
    Order,
    check_indices,
    index_dtype_option,
    indices_option,
    order_options,
    sort_file,
)

_HELP = """Sort the .npy file IN along an axis into the .npy file OUT.

The file may be larger than memory: it is sorted in chunks that hold whole rows, cut along the
axes other than the sorted one. The command needs memory for about one chunk. A chunk is never
less than one row. np.sort sorts rows of more than 16384 elements, which need a few times their
own size. If the sorted axis is the slowest one in the file, a larger --chunk-size saves passes
over the disk.

--indices FILE also writes the index that each value had in its row. Then equal elements keep their
order, as argsort --help says. This changes the bytes of OUT where IN holds both -0.0 and 0.0: they
are equal then, and without --indices -0.0 is smaller. FILE is replaced as OUT is: both files are
replaced, or neither. FILE must be another file than IN and OUT.

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
  warp-bitonic-sort sort in.npy out.npy --indices i.npy --index-dtype int32

Exit status: 0 when OUT holds the result; 1 on an error; 2 when the command line is wrong; the
signal's (130 after Ctrl-C, 143 after SIGTERM) when it was stopped.
"""


@click.command(help=_HELP)
@click.argument("source", metavar="IN", type=SomePath(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", metavar="OUT", type=OutputFile())
@order_options
@indices_option
@index_dtype_option
def sort(
    source: Path, target: Path, indices: Path | None, index_dtype: str | None, **order: Any
) -> None:
    """Sort a file."""
    check_indices(source, target, indices, index_dtype)
    sort_file(source, Order(**order), target, indices, index_dtype or "int64")
