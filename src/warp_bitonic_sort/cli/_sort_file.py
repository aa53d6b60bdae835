"""Sorts a .npy file chunk by chunk, into files of values, of indices, or of both.

Invariant: each file holds its old content or the whole result, and all hold the same of the two,
also after an error, Ctrl-C, SIGTERM or SIGHUP. No other file is left.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import click

from ..operations import argsort as indexing
from ..operations import sort as sorting
from ..operations import top_k as selecting
from ._chunks import Chunk, Data, Grid, chunks, write_all
from ._common import DTYPE, NAN, Nan, need, reported
from ._npy import Source, open_npy
from ._paths import OutputFile
from ._replace import replacing_all
from ._signals import stopped_cleanly
from ._terminal import progress_bar

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_F = TypeVar("_F", bound=Callable[..., Any])

indices_option = click.option(
    "--indices",
    type=OutputFile(),
    metavar="FILE",
    help="Another .npy file to write: the index that each value had in its row.",
)
index_dtype_option = click.option(
    "--index-dtype",
    type=click.Choice(["int32", "int64"]),
    help="The dtype of the indices.  [default: int64]",
)
_DESCENDING = click.option("--descending", is_flag=True, help="The largest value comes first.")
_AXIS = click.option(
    "--axis", type=int, default=-1, show_default=True, help="The axis to sort along."
)
_NAN = click.option(
    "--nan",
    type=NAN,
    default="largest",
    show_default=True,
    help="NaN counts as the largest value, or comes last in either direction.",
)
FILE_OPTIONS = [
    click.option(
        "--dtype",
        type=DTYPE,
        metavar="NAME",
        help="The dtype of the elements of a file that has none: NumPy saves bfloat16 and float8 "
        "arrays of ml_dtypes as untyped bytes. Nothing is converted; for a file with another "
        "dtype, the error says how to convert the file. "
        f"One of {', '.join(DTYPE.choices)}.",
    ),
    click.option(
        "--chunk-size",
        type=click.FloatRange(min=0, min_open=True),
        default=64.0,
        show_default=True,
        metavar="MIB",
        help="How much to sort at a time, in MiB.",
    ),
]


class Order(NamedTuple):
    """The options of every command that sorts a file."""

    axis: int
    descending: bool
    nan: Nan
    dtype: str | None
    chunk_size: float


def order_options(command: _F) -> _F:
    """Give a command the options of `Order`."""
    return with_options(command, [_AXIS, _DESCENDING, _NAN, *FILE_OPTIONS])


def selection_options(command: _F) -> _F:
    """Give a command the options of `Order` but ``descending``."""
    return with_options(command, [_AXIS, _NAN, *FILE_OPTIONS])


def with_options(command: _F, options: Sequence[Callable[[_F], _F]]) -> _F:
    """Give a command options, in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def check_indices(
    source: Path, target: Path, indices: Path | None, index_dtype: str | None
) -> None:
    """Raise if the options of a command that may write indices, too, do not fit each other."""
    if index_dtype is not None and indices is None:
        raise click.UsageError("--index-dtype needs --indices.")
    for path, name in ((source, "IN"), (target, "OUT")):
        if indices is not None and os.path.realpath(indices) == os.path.realpath(path):
            raise click.BadParameter(
                f"expected another file than {name}.", param_hint="'--indices'"
            )


def check_chunk_size(chunk_size: float) -> None:
    """Raise if a size is no finite number, or NumPy is missing."""
    need("numpy")
    if not math.isfinite(chunk_size):
        raise click.BadParameter("expected a finite number.", param_hint="'--chunk-size'")


def settled_axis(opened: Source, axis: int) -> int:
    """Return an axis of a file's array, counted from the first one."""
    rank = max(len(opened.shape), 1)
    if not -rank <= axis < rank:
        raise click.BadParameter(
            f"expected {-rank} to {rank - 1} for the array of shape {opened.shape} in "
            f"{click.format_filename(opened.path)}, got {axis}.",
            param_hint="'--axis'",
        )
    return axis % rank


def sort_file(
    source: Path,
    order: Order,
    values: Path | None = None,
    indices: Path | None = None,
    index_dtype: str = "int64",
    k: int | None = None,
) -> None:
    """Sort a file, or select the first elements of its sorted rows.

    Parameters
    ----------
    source : Path
        The file to read.
    order : Order
        How to sort it.
    values, indices : Path, optional
        The files to write: at least one.
    index_dtype : str, default "int64"
        The dtype of the indices.
    k : int, optional
        How many elements of each sorted row are written; by default all.
    """
    check_chunk_size(order.chunk_size)
    with open_npy(source, order.dtype) as opened:
        axis = settled_axis(opened, order.axis)
        grid = Grid.of(opened.shape, axis, opened.fortran)
        shape, kept = opened.shape, grid
        if k is not None:
            _check_k(k, grid.length, source)
            shape = (*shape[:axis], k, *shape[axis + 1 :])
            kept = grid._replace(length=k)
        results: list[tuple[Path, bytes, int]] = []
        if values is not None:
            header = opened.header if k is None else opened.header_of(shape, opened.dtype)[0]
            results.append((values, header, opened.dtype.itemsize))
        if indices is not None:
            results.append((indices, *opened.header_of(shape, index_dtype)))
        targets = [path for path, _, _ in results]
        with stopped_cleanly() as check, replacing_all(targets) as descriptors:
            outputs = [
                Output(*result, descriptor, kept)
                for result, descriptor in zip(results, descriptors, strict=True)
            ]
            index = index_dtype if indices else None
            if k is None:
                call = _sort_call(order, values is not None, index)
            else:
                call = _select_call(order, k, index)
            process_chunks(opened, grid, call, outputs, order.chunk_size, check)


def _check_k(k: int, length: int, source: Path) -> None:
    if k > length:
        raise click.BadParameter(
            f"expected 0 to {length} for rows of length {length} in "
            f"{click.format_filename(source)}, got {k}.",
            param_hint="'-k'",
        )


class Output:
    """A new file, of full size from the start."""

    def __init__(
        self, path: Path, header: bytes, itemsize: int, descriptor: int, grid: Grid
    ) -> None:
        self.itemsize = itemsize
        self._writing = f"{click.format_filename(path)}: cannot be written"
        self._data = Data(descriptor, len(header), grid, itemsize)
        with reported(self._writing):
            # Fail now on a full disk, not after most of the work.
            os.posix_fallocate(descriptor, 0, len(header) + math.prod(grid) * itemsize)
            write_all(descriptor, header, 0)

    def write(self, chunk: Chunk, array: Array) -> None:
        """Write a chunk."""
        if array.size == 0:  # no element of the rows was selected
            return
        with reported(self._writing):
            self._data.write(chunk, array.view(f"u{self.itemsize}"))


def _sort_call(
    order: Order, has_values: bool, index_dtype: str | None
) -> Callable[[Array], Sequence[Array]]:
    """Return a function that returns the outputs for rows, of which values overwrite the rows."""
    import numpy as np

    options: dict[str, Any] = {"axis": 1, "descending": order.descending, "nan": order.nan}

    def sort(rows: Array) -> Sequence[Array]:
        if index_dtype is None:
            return [sorting.sort(rows, out=rows, **options)]
        indices = np.empty(rows.shape, index_dtype)
        if not has_values:
            return [indexing.argsort(rows, out=indices, **options)]
        return indexing.sort_with_indices(rows, out=(rows, indices), **options)

    return sort


def _select_call(
    order: Order, k: int, index_dtype: str | None
) -> Callable[[Array], Sequence[Array]]:
    """Return a function that returns the first k of rows, and their indices if these are wanted."""
    options: dict[str, Any] = {"axis": 1, "nan": order.nan, "index_dtype": index_dtype}
    mode: Literal["largest", "smallest"] = "largest" if order.descending else "smallest"

    def select(rows: Array) -> Sequence[Array]:
        result = selecting.top_k(rows, k, mode=mode, **options)
        return result[:1] if index_dtype is None else result

    return select


def process_chunks(
    opened: Source,
    grid: Grid,
    sort: Callable[[Array], Sequence[Array]],
    outputs: list[Output],
    chunk_size: float,
    check: Callable[[], None],
) -> None:
    """Sort or reduce chunk by chunk from the open file into the outputs."""
    import numpy as np

    itemsize = opened.dtype.itemsize
    data = Data(opened.descriptor, len(opened.header), grid, itemsize)

    def sort_chunk(chunk: Chunk) -> int:
        with reported(click.format_filename(opened.path)):
            words = np.empty((chunk.blocks, grid.length, chunk.columns), f"u{itemsize}")
            data.read(chunk, words)
            results = sort(words.view(opened.dtype))
        for output, result in zip(outputs, results, strict=True):
            output.write(chunk, result)
        return words.nbytes

    # A chunk of the largest elements among the files takes the budget.
    largest = max(itemsize, *(output.itemsize for output in outputs))
    budget = max(int(chunk_size * 2**20), 1)
    advance = None
    with contextlib.ExitStack() as stack:
        for chunk in chunks(grid, largest, budget):
            check()
            done = sort_chunk(chunk)
            if advance is None:
                # After the first chunk, whose compile time would spoil the estimate.
                advance = stack.enter_context(progress_bar(opened.nbytes, "sorting"))
            advance(done)
        check()
