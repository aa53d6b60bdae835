"""Reduces the rows of a .npy file chunk by chunk, into a file of one or several values of each row.

Invariant: as for `_sort_file`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import click

from ._chunks import Chunk, Grid
from ._npy import Source, open_npy
from ._replace import replacing_all
from ._signals import stopped_cleanly
from ._sort_file import (
    FILE_OPTIONS,
    Output,
    check_chunk_size,
    process_chunks,
    settled_axis,
    with_options,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS = [
    click.option("--axis", type=int, default=-1, show_default=True, help="The axis to reduce."),
    click.option(
        "--nan",
        type=click.Choice(["propagate", "omit"]),
        default="propagate",
        show_default=True,
        help="A row with a NaN gives NaN, or its NaNs are left out.",
    ),
    *FILE_OPTIONS,
]


class Reduction(NamedTuple):
    """The options of every command that reduces a file."""

    axis: int
    nan: Literal["propagate", "omit"]
    dtype: str | None
    chunk_size: float


def reduction_options(command: _F) -> _F:
    """Give a command the options of `Reduction`."""
    return with_options(command, _OPTIONS)


def reduce_file(
    source: Path,
    target: Path,
    options: Reduction,
    leading: tuple[int, ...],
    reduce: Callable[[Array], Array],
) -> None:
    """Reduce a file.

    Parameters
    ----------
    source, target : Path
        The file to read, and the file to write.
    options : Reduction
        The rows.
    leading : tuple of int
        The axis that comes before those of the file, with its length; empty for one value of a row.
    reduce : callable
        ``reduce(rows)`` returns the values of the rows along axis 1.
    """
    check_chunk_size(options.chunk_size)
    with open_npy(source, options.dtype) as opened:
        axis = settled_axis(opened, options.axis)
        grid = Grid.of(opened.shape, axis, opened.fortran)
        if grid.length == 0:
            raise click.BadParameter(
                f"rows of {click.format_filename(source)} along it have no elements.",
                param_hint="'--axis'",
            )
        dtype = "float64" if opened.dtype.kind in "biu" else opened.dtype.newbyteorder("=")
        shape = (*leading, *opened.shape[:axis], *opened.shape[axis + 1 :])
        header, itemsize = opened.header_of(shape, dtype)
        with stopped_cleanly() as check, replacing_all([target]) as (descriptor,):
            count = math.prod(leading)
            output = _Values(target, header, itemsize, descriptor, grid, count, opened)

            def values(rows: Array) -> Sequence[Array]:
                return [reduce(rows)]

            process_chunks(opened, grid, values, [output], options.chunk_size, check)


class _Values(Output):
    """A new file of several values of each row."""

    def __init__(
        self,
        path: Path,
        header: bytes,
        itemsize: int,
        descriptor: int,
        grid: Grid,
        count: int,
        opened: Source,
    ) -> None:
        self._count, self._outer, self._fortran = count, grid.outer, opened.fortran
        kept = Grid(count * grid.outer, 1, grid.inner)
        if opened.fortran:  # the leading axis is the fastest
            kept = Grid(grid.outer, 1, grid.inner * count)
        super().__init__(path, header, itemsize, descriptor, kept)

    def write(self, chunk: Chunk, array: Array) -> None:
        """Write the values of a chunk of rows."""
        import numpy as np

        count, blocks, columns = self._count, chunk.blocks, chunk.columns
        parts = array.reshape(count, blocks, 1, columns)
        if not self._fortran:
            for number, part in enumerate(parts):
                super().write(chunk._replace(block=chunk.block + number * self._outer), part)
            return
        merged = np.ascontiguousarray(np.moveaxis(parts, 0, -1))
        merged = merged.reshape(blocks, 1, columns * count)
        super().write(Chunk(chunk.block, blocks, chunk.column * count, columns * count), merged)
