"""The command ``argsort``: writes the indices that sort a .npy file.

Invariant: as for the command ``sort``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._paths import OutputFile, SomePath
from ._sort_file import Order, index_dtype_option, order_options, sort_file

_HELP = """Write the indices that sort the .npy file IN along an axis into the .npy file OUT.

Equal elements keep their order: the lowest index comes first, also with --descending. -0.0 equals
0.0, and all NaNs are equal.

OUT gets the shape and memory order of IN. Files larger than memory, an existing OUT, errors and
signals are treated as by the command sort. IN and OUT may be the same file. The command
sort --indices writes the sorted values, too.

\b
Examples:
  warp-bitonic-sort argsort in.npy indices.npy
  warp-bitonic-sort argsort in.npy indices.npy --axis 0 --descending --index-dtype int32

Exit status: as of the command sort, 0 when OUT holds the result.
"""


@click.command(help=_HELP)
@click.argument("source", metavar="IN", type=SomePath(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", metavar="OUT", type=OutputFile())
@order_options
@index_dtype_option
def argsort(source: Path, target: Path, index_dtype: str | None, **order: Any) -> None:
    """Write the indices that sort a file."""
    sort_file(source, Order(**order), indices=target, index_dtype=index_dtype or "int64")
