"""Chunks of files: together they are the array, and any one can be read and written alone."""

import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warp_bitonic_sort.cli import _chunks
from warp_bitonic_sort.cli._chunks import Data, Grid, chunks

OFFSET = 13  # odd, as headers of other writers may be

_shapes = st.lists(st.integers(0, 6), max_size=4).map(tuple)
_grids = st.builds(Grid, *[st.integers(0, 7)] * 3)


@given(_shapes, st.data(), st.booleans())
def test_grid_of_any_axis_and_order_is_the_array(shape, data, fortran):
    axis = data.draw(st.integers(0, max(len(shape) - 1, 0)))
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    grid = Grid.of(shape, axis, fortran)
    in_file = array.ravel("F" if fortran else "C").reshape(grid)
    rows = np.moveaxis(array, axis, -1) if shape else array
    expected = sorted(map(tuple, rows.reshape(-1, grid.length).tolist())) if array.size else []
    found = in_file.transpose(0, 2, 1).reshape(-1, grid.length) if array.size else in_file[:0]
    assert sorted(map(tuple, found.tolist())) == expected


@given(_grids, st.integers(1, 300))
def test_chunks_of_any_grid_are_the_array_in_order(grid, budget):
    seen = np.zeros(grid, int)
    last = (-1, -1)
    for chunk in chunks(grid, 2, budget):
        assert last < (chunk.block, chunk.column)
        last = (chunk.block, chunk.column)
        part = seen[chunk.block :, :, chunk.column :][: chunk.blocks, :, : chunk.columns]
        assert part.shape == (chunk.blocks, grid.length, chunk.columns)
        assert 0 < part.size * 2 <= max(budget, grid.length * 2)
        assert chunk.columns == grid.inner or chunk.blocks == 1
        part += 1
    assert (seen == 1).all()


def test_chunks_of_whole_blocks_fill_the_budget():
    assert [chunk.blocks for chunk in chunks(Grid(10, 4, 2), 2, 50)] == [3, 3, 3, 1]
    assert [chunk.columns for chunk in chunks(Grid(1, 4, 10), 2, 26)] == [3, 3, 3, 1]


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
@pytest.mark.parametrize("page", [0, 4096], ids=["runs", "slabs"])
@pytest.mark.parametrize("grid", [Grid(3, 50, 7), Grid(5, 9, 1), Grid(1, 300, 40)])
def test_data_read_and_write_of_every_chunk_copy_the_file(
    tmp_path, monkeypatch, grid, page, itemsize
):
    monkeypatch.setattr(_chunks, "_PAGE", page)
    monkeypatch.setattr(_chunks, "_SLAB", 100)
    size = int(np.prod(grid)) * itemsize
    content = np.random.default_rng(0).bytes(OFFSET + size)
    with (tmp_path / "in").open("w+b") as source, (tmp_path / "out").open("w+b") as target:
        source.write(content)
        source.flush()
        os.posix_fallocate(target.fileno(), 0, OFFSET + size)
        read = Data(source.fileno(), OFFSET, grid, itemsize).read
        write = Data(target.fileno(), OFFSET, grid, itemsize).write
        array = np.frombuffer(content, f"u{itemsize}", offset=OFFSET).reshape(grid)
        for chunk in reversed(list(chunks(grid, itemsize, 3 * grid.length * itemsize))):
            part = np.empty((chunk.blocks, grid.length, chunk.columns), f"u{itemsize}")
            read(chunk, part)
            expected = array[chunk.block :, :, chunk.column :][: chunk.blocks, :, : chunk.columns]
            np.testing.assert_array_equal(part, expected)
            write(chunk, part)
    assert (tmp_path / "out").read_bytes() == bytes(OFFSET) + content[OFFSET:]


def test_data_read_and_write_in_small_portions_are_whole(tmp_path, monkeypatch):
    # As where a signal interrupts a call, or more than 2 GiB are asked for.
    pread, pwrite = os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda fd, into, at: pread(fd, [into[0][:5]], at))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:3], at))
    file = tmp_path / "file"
    file.write_bytes(struct.pack("<8I", *range(8)))
    values = np.empty((1, 8, 1), "u4")
    (chunk,) = chunks(Grid(1, 8, 1), 4, 100)
    with file.open("r+b") as stream:
        data = Data(stream.fileno(), 0, Grid(1, 8, 1), 4)
        data.read(chunk, values)
        assert values.ravel().tolist() == list(range(8))
        data.write(chunk, values + 1)
    assert struct.unpack("<8I", file.read_bytes()) == tuple(range(1, 9))


@pytest.mark.parametrize("page", [0, 4096], ids=["runs", "slabs"])
def test_data_read_past_the_end_raises(tmp_path, monkeypatch, page):
    monkeypatch.setattr(_chunks, "_PAGE", page)
    file = tmp_path / "file"
    file.write_bytes(bytes(79))
    with file.open("rb") as stream:
        data = Data(stream.fileno(), 0, Grid(2, 5, 2), 4)
        for chunk in chunks(Grid(2, 5, 2), 4, 20):
            values = np.empty((1, 5, chunk.columns), "u4")
            if (chunk.block, chunk.column) == (1, 1) or (page and chunk.block == 1):
                with pytest.raises(ValueError, match="cut short while it was read"):
                    data.read(chunk, values)
            else:
                data.read(chunk, values)
