"""Cuts the data of a .npy file into chunks of whole rows, and reads and writes them.

Invariant: data goes through plain reads and writes, so a file that is cut short meanwhile and a
disk that is full are errors, not signals. A chunk needs its own size in memory and a little more.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# If a block's columns take at most this many bytes, all of them are read even if only some are
# needed: the system reads whole pages, and many small calls take longer than a copy.
_PAGE = 4096
# Bytes to read at a time there.
_SLAB = 2**20


class Grid(NamedTuple):
    """An array as a file holds it, with all axes but the sorted one merged.

    Parameters
    ----------
    outer : int
        How many blocks there are, one after the other.
    length : int
        The length of the sorted axis.
    inner : int
        How many rows lie side by side in a block: the step from one element of a row to the next.
    """

    outer: int
    length: int
    inner: int

    @classmethod
    def of(cls, shape: Sequence[int], axis: int, fortran: bool) -> Grid:
        """Return the grid of an array.

        Parameters
        ----------
        shape : sequence of int
            The shape. An array without axes is one row of one element.
        axis : int
            The sorted axis, not negative.
        fortran : bool
            Whether the first axis is the fastest, rather than the last.
        """
        shape = tuple(shape) or (1,)
        if fortran:
            shape, axis = shape[::-1], len(shape) - 1 - axis
        return cls(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


class Chunk(NamedTuple):
    """Some whole rows of a grid: either whole blocks, or columns of one block.

    Parameters
    ----------
    block, blocks : int
        The first block, and how many.
    column, columns : int
        The first column, and how many.
    """

    block: int
    blocks: int
    column: int
    columns: int


def chunks(grid: Grid, itemsize: int, budget: int) -> Iterator[Chunk]:
    """Cut a grid into chunks, each as contiguous as can be.

    Parameters
    ----------
    grid : Grid
        The array.
    itemsize : int
        Bytes in an element.
    budget : int
        The most bytes in a chunk; a single row may be more.

    Yields
    ------
    Chunk
        The chunks in the order of the file; together they are the array, and none is empty.
    """
    if 0 in grid:
        return
    rows = max(budget // (itemsize * grid.length), 1)
    blocks, columns = max(rows // grid.inner, 1), min(rows, grid.inner)
    for block in range(0, grid.outer, blocks):
        for column in range(0, grid.inner, columns):
            yield Chunk(
                block,
                min(blocks, grid.outer - block),
                column,
                min(columns, grid.inner - column),
            )


class Data:
    """The data of an open file.

    Parameters
    ----------
    descriptor : int
        The file, open for reading, and for writing where `write` is called.
    offset : int
        Where the data begins, in bytes.
    grid : Grid
        The array.
    itemsize : int
        Bytes in an element: 1, 2, 4 or 8.
    """

    def __init__(self, descriptor: int, offset: int, grid: Grid, itemsize: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._grid = grid
        self._itemsize = itemsize

    def read(self, chunk: Chunk, into: Array) -> None:
        """Fill a contiguous array of unsigned integers, of shape (blocks, length, columns)."""
        if chunk.columns == self._grid.inner:
            self._read(into, chunk.block)
        elif self._is_narrow:
            for start, slab in self._slabs(chunk.block):
                into[0, start : start + len(slab)] = slab[:, chunk.column :][:, : chunk.columns]
        else:
            for index, run in enumerate(into[0]):
                self._read(run, chunk.block, index, chunk.column)

    def write(self, chunk: Chunk, values: Array) -> None:
        """Write a contiguous array of unsigned integers, of shape (blocks, length, columns)."""
        if chunk.columns == self._grid.inner:
            self._write(values, chunk.block)
        elif self._is_narrow:
            for start, slab in self._slabs(chunk.block):
                slab[:, chunk.column :][:, : chunk.columns] = values[0, start : start + len(slab)]
                self._write(slab, chunk.block, start)
        else:
            for index, run in enumerate(values[0]):
                self._write(run, chunk.block, index, chunk.column)

    @property
    def _is_narrow(self) -> bool:
        return self._grid.inner * self._itemsize <= _PAGE

    def _slabs(self, block: int) -> Iterator[tuple[int, Array]]:
        """Yield a block in parts of all its columns, each with the index of its first elements."""
        import numpy as np

        height = max(_SLAB // (self._grid.inner * self._itemsize), 1)
        buffer = np.empty((height, self._grid.inner), f"u{self._itemsize}")
        for start in range(0, self._grid.length, height):
            slab = buffer[: self._grid.length - start]
            self._read(slab, block, start)
            yield start, slab

    def _position(self, block: int, index: int, column: int) -> int:
        element = (block * self._grid.length + index) * self._grid.inner + column
        return self._offset + element * self._itemsize

    def _read(self, into: Array, block: int, index: int = 0, column: int = 0) -> None:
        rest, position = into.data.cast("B"), self._position(block, index, column)
        while rest:
            count = os.preadv(self._descriptor, [rest], position)
            if count == 0:
                raise ValueError("the file was cut short while it was read.")
            rest, position = rest[count:], position + count

    def _write(self, values: Array, block: int, index: int = 0, column: int = 0) -> None:
        write_all(self._descriptor, values.data.cast("B"), self._position(block, index, column))


def write_all(descriptor: int, data: bytes | memoryview, position: int) -> None:
    """Write bytes at a position of a file.

    Parameters
    ----------
    descriptor : int
        The file, open for writing.
    data : bytes or memoryview
        The bytes.
    position : int
        Where they go.
    """
    rest = memoryview(data)
    while rest:
        count = os.pwrite(descriptor, rest, position)
        rest, position = rest[count:], position + count
