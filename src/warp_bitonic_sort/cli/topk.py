"""The command ``topk``: writes the largest or smallest elements of each row of a .npy file.

Invariant: as for the command ``sort``.
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
    selection_options,
    sort_file,
)

_HELP = """Write the K largest elements of each row of the .npy file IN into the .npy file OUT.

They are written in order: the largest comes first, with --smallest the smallest. NaN counts as the
largest value. With --nan last, a NaN is written only if nothing else is left.

--indices FILE also writes the index that each element had in its row. Of equal elements, those with
the lowest indices are written, and the lowest index comes first. -0.0 equals 0.0, and all NaNs are
equal.

OUT gets the dtype and memory order of IN, and its shape with K in place of the length of a row.
Files larger than memory, an existing OUT or FILE, errors and signals are treated as by the command
sort. IN and OUT may be the same file.

\b
Examples:
  warp-bitonic-sort topk in.npy out.npy -k 8
  warp-bitonic-sort topk in.npy out.npy -k 8 --indices i.npy --index-dtype int32
  warp-bitonic-sort topk in.npy out.npy -k 3 --smallest --axis 0

Exit status: as of the command sort, 0 when OUT holds the result.
"""


@click.command(help=_HELP)
@click.argument("source", metavar="IN", type=SomePath(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", metavar="OUT", type=OutputFile())
@click.option(
    "-k",
    type=click.IntRange(min=0),
    required=True,
    metavar="K",
    help="How many elements of each row to write.",
)
@click.option("--smallest", is_flag=True, help="Write the smallest elements, not the largest.")
@selection_options
@indices_option
@index_dtype_option
def topk(
    source: Path,
    target: Path,
    k: int,
    smallest: bool,
    indices: Path | None,
    index_dtype: str | None,
    **order: Any,
) -> None:
    """Write the largest or smallest elements of each row of a file."""
    check_indices(source, target, indices, index_dtype)
    selected = Order(descending=not smallest, **order)
    sort_file(source, selected, target, indices, index_dtype or "int64", k)
