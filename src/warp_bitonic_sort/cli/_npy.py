"""Files of NumPy's .npy format: reading the header, mapping the data, and cutting it into chunks.

Invariant: a file's bytes are checked against its header before they are mapped, and a new file's
blocks are allocated before they are mapped, so that neither a short file nor a full disk can kill
the process with SIGBUS.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ..dtypes import DTYPES
from ._common import need, reported

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

__all__ = ["Source", "chunks", "create", "drop_pages", "open_npy"]


@dataclass(frozen=True)
class Source:
    """A mapped .npy file.

    Parameters
    ----------
    path : Path
        The file.
    header : bytes
        Everything before the data.
    fortran : bool
        Whether the first axis is the fastest.
    array : numpy.ndarray
        The data, read-only.
    pages : mmap.mmap
        The mapping.
    """

    path: Path
    header: bytes
    fortran: bool
    array: Array
    pages: mmap.mmap

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return tuple(self.array.shape)


def open_npy(path: Path, dtype: str | None) -> Source:
    """Map a .npy file, or raise the click error that says what is wrong with it.

    Parameters
    ----------
    path : Path
        The file.
    dtype : str or None
        What its elements are; None believes the header.
    """
    named = click.format_filename(path)
    if not path.is_file():  # opening a pipe would wait for its writer
        raise click.ClickException(f"{named}: expected a regular file.")
    with reported(named), path.open("rb") as file:
        shape, fortran, stored = _read_header(file, named)
        size = file.tell()
        if stored.hasobject:
            raise click.ClickException(
                f"{named}: it holds Python objects ({stored}), which cannot be sorted here."
            )
        wanted = _element_type(stored, dtype, named)
        needed, there = size + math.prod(shape) * wanted.itemsize, os.fstat(file.fileno()).st_size
        if there < needed:
            raise click.ClickException(
                f"{named}: the file is cut short: its header promises {needed} bytes, "
                f"it has {there}."
            )
        file.seek(0)
        header = file.read(size)
        pages = mmap.mmap(file.fileno(), needed, access=mmap.ACCESS_READ)
        return Source(path, header, fortran, _view(pages, size, shape, wanted, fortran), pages)


def create(descriptor: int, like: Source) -> tuple[Array, mmap.mmap]:
    """Make an empty file one with a source's header, and map it to write its data.

    Parameters
    ----------
    descriptor : int
        The file, open for reading and writing.
    like : Source
        What gives the header, shape, dtype and order.
    """
    size = len(like.header) + like.array.nbytes
    os.posix_fallocate(descriptor, 0, size)
    pages = mmap.mmap(descriptor, size)
    pages[: len(like.header)] = like.header
    return _view(pages, len(like.header), like.shape, like.array.dtype, like.fortran), pages


def drop_pages(pages: mmap.mmap) -> None:
    """Let go of a mapping's clean pages; the system keeps them for as long as it has room."""
    with contextlib.suppress(OSError, AttributeError):  # a kernel without it just keeps them
        pages.madvise(mmap.MADV_DONTNEED)


def _view(
    pages: mmap.mmap, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool
) -> Array:
    import numpy as np

    array: Array = np.ndarray(shape, dtype, pages, offset, order="F" if fortran else "C")
    return array


def _read_header(file: IO[bytes], named: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    from numpy.lib import format as npy

    start = file.read(len(npy.MAGIC_PREFIX))
    if start != npy.MAGIC_PREFIX:
        zipped = start.startswith(b"PK")
        hint = " but a zip archive, as .npz files are: load it and save one of its arrays" * zipped
        raise click.ClickException(f"{named}: not a .npy file{hint}.")
    file.seek(0)
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise click.ClickException(f"{named}: .npy version {version} is unknown (1.0, 2.0, 3.0).")
    # 3.0 differs from 2.0 in how names of fields are encoded; nothing with fields is sorted.
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype


def _element_type(stored: np.dtype[Any], asked: str | None, named: str) -> np.dtype[Any]:
    """Return the dtype to read the elements as."""
    import numpy as np

    if asked is None:
        if stored.name in DTYPES:
            return stored
        same = [dtype.name for dtype in DTYPES.values() if dtype.bits == 8 * stored.itemsize]
        if stored.kind == "V" and stored.names is None and same:
            raise click.ClickException(
                f"{named}: its header does not say what its {stored.itemsize}-byte elements are "
                f"({stored.str}), as NumPy saves arrays of ml_dtypes. "
                f"Say it with --dtype: {', '.join(same)}."
            )
        raise click.ClickException(
            f"{named}: dtype {stored} cannot be sorted; convert it to one of {', '.join(DTYPES)}."
        )
    if DTYPES[asked].bits != 8 * stored.itemsize:
        raise click.ClickException(
            f"{named}: --dtype {asked} is {DTYPES[asked].bits // 8} bytes wide, but the file's "
            f"elements ({stored}) are {stored.itemsize}."
        )
    if asked.startswith(("bfloat", "float8")):
        need("ml_dtypes")
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, asked))
    else:
        dtype = np.dtype(asked)
    if not stored.isnative:
        dtype = dtype.newbyteorder()
    return dtype


def chunks(
    shape: Sequence[int], axis: int, itemsize: int, budget: int, fortran: bool = False
) -> Iterator[tuple[slice, ...]]:
    """Cut an array into boxes that hold whole rows, each as contiguous as can be.

    Parameters
    ----------
    shape : sequence of int
        The array's shape.
    axis : int
        The axis that is not cut, not negative.
    itemsize : int
        Bytes in an element.
    budget : int
        The most bytes in a box; a single row may be more.
    fortran : bool, default False
        Whether the first axis is the fastest, rather than the last.

    Yields
    ------
    tuple of slice
        The boxes in the order of memory; together they are the array, and none is empty.
    """
    if 0 in shape:
        return
    slowest_first = sorted(range(len(shape)), reverse=fortran)
    sizes = dict(enumerate(shape))
    room = max(budget // (itemsize * (shape[axis] if shape else 1)), 1)  # in rows
    for index in reversed(slowest_first):
        if index != axis:
            sizes[index] = min(shape[index], room)
            room //= sizes[index]
            room = max(room, 1)
    starts = (range(0, shape[index], sizes[index]) for index in slowest_first)
    for corner in itertools.product(*starts):
        box = [slice(None)] * len(shape)
        for index, start in zip(slowest_first, corner, strict=True):
            box[index] = slice(start, min(start + sizes[index], shape[index]))
        yield tuple(box)
