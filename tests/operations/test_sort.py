"""`sort` on NumPy arrays, against an oracle that shares no code with it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import cells, oracle, strided
from warp_bitonic_sort import explain, sort, warp_bitonic_sort
from warp_bitonic_sort.targets.cpu.layouts import MAX_REGISTER_LENGTH

# Every one is sorted by the same kernel.
TILE_LENGTHS = [
    *range(MAX_REGISTER_LENGTH + 1, 301),
    *(2**k + d for k in range(9, 13) for d in (-17, -1, 0, 1, 15)),
]
ORDERS = [(False, "largest"), (False, "last"), (True, "largest"), (True, "last")]


@pytest.mark.parametrize("name", oracle.ALL)
@pytest.mark.parametrize("access", ["rows", "columns"])
def test_sort_of_every_length_equals_the_oracle(name, access):
    """Every length to 300 and around the powers of two to 4096.

    For most of those in registers, dtypes take turns.
    """
    rng = np.random.default_rng(1)
    for length in [0, 1, *cells.register_lengths(name, access), *TILE_LENGTHS]:
        descending, nan = ORDERS[length % 4]
        # No multiple of any number of SIMD lanes, and more rows than 64 where rows are short.
        count = 1 + rng.integers(0, 150 if length < 40 else 40 if length < 301 else 9)
        axis, shape = (1, (count, length)) if access == "rows" else (0, (length, count))
        x = oracle.random(name, shape, rng)
        result = sort(x, axis=axis, descending=descending, nan=nan)
        oracle.check(x, result, axis, descending, nan)


@pytest.mark.parametrize("name", oracle.ALL)
@pytest.mark.parametrize(("descending", "nan"), ORDERS)
def test_sort_in_every_order_equals_the_oracle(name, descending, nan):
    rng = np.random.default_rng(2)
    for length in (1, *cells.FEW, 33, 100, 257):
        x = oracle.random(name, (70, length), rng)
        oracle.check(x, sort(x, descending=descending, nan=nan), -1, descending, nan)


@given(st.data(), st.sampled_from(list(oracle.ALL)), st.sampled_from(ORDERS), st.integers(0, 2**32))
def test_sort_of_any_strides_equals_the_oracle(data, name, order, seed):
    x = strided.array(data.draw, np.random.default_rng(seed), name)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    before = x.copy()
    result = sort(x, axis=axis, descending=order[0], nan=order[1])
    oracle.check(x, result, axis, *order)
    np.testing.assert_array_equal(oracle.bits(x), oracle.bits(before), "the input was written")
    assert not np.shares_memory(x, result)


@given(st.data(), st.sampled_from(list(oracle.ALL)), st.sampled_from(ORDERS), st.integers(0, 2**32))
def test_sort_into_out_of_any_strides_leaves_bytes_around_out_unchanged(data, name, order, seed):
    """The result goes into a strided window of a larger array, of which nothing else changes."""
    rng = np.random.default_rng(seed)
    x = strided.array(data.draw, rng, name)
    axis = data.draw(st.integers(0, x.ndim - 1))
    steps = [data.draw(st.sampled_from([1, 1, 2, -1])) for _ in x.shape]
    around = oracle.random(
        name, tuple(n * abs(s) + 4 for n, s in zip(x.shape, steps, strict=True)), rng
    )
    window = tuple(
        slice(2, 2 + n * s, s) if s > 0 else slice(1 + n * -s, 1, s)
        for n, s in zip(x.shape, steps, strict=True)
    )
    before = around.copy()
    out = around[window]
    assert out.shape == x.shape
    result = sort(x, axis=axis, descending=order[0], nan=order[1], out=out)
    assert result is out
    oracle.check(x, out, axis, *order)
    before[window] = out
    np.testing.assert_array_equal(oracle.bits(around), oracle.bits(before), "bytes around out")


@pytest.mark.parametrize("name", oracle.ALL)
@pytest.mark.parametrize("length", [3, 9, 32, 100, 700])
def test_sort_in_place_equals_the_oracle(name, length):
    rng = np.random.default_rng(3)
    for axis, shape in ((1, (37, length)), (0, (length, 37))):
        x = oracle.random(name, shape, rng)
        before = x.copy()
        assert sort(x, axis=axis, out=x) is x
        oracle.check(before, x, axis)


@pytest.mark.parametrize("length", [5, 40])
def test_sort_into_out_that_overlaps_x_equals_the_oracle(length):
    """An out that shares some of x's memory gets what a separate one would."""
    rng = np.random.default_rng(4)
    memory = rng.random((20, length)).astype(np.float32)
    for x, out in (
        (memory[:-1], memory[1:]),
        (memory[1:], memory[:-1]),
        (memory, memory[::-1]),
        (memory, memory[:, ::-1]),
    ):
        x_before = x.copy()
        sort(x, out=out)
        oracle.check(x_before, out)


@pytest.mark.parametrize("name", oracle.ALL)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 5), (5, 0), (3, 0, 4), (9, 1), (1, 9)])
def test_sort_of_small_shapes_equals_the_oracle(name, shape):
    x = oracle.random(name, shape, np.random.default_rng(5))
    for axis in range(-max(len(shape), 1), max(len(shape), 1)):
        result = sort(x, axis=axis)
        assert result is not x
        assert isinstance(result, np.ndarray)
        oracle.check(x, result, axis)


@pytest.mark.parametrize("name", oracle.FLOATS)
def test_sort_keeps_nan_payloads_at_both_ends(name):
    """Rows of nothing but NaNs, of both signs and with every small payload, stay what they are."""
    dtype = np.dtype(oracle.FLOATS[name])
    every = np.arange(1 << min(16, dtype.itemsize * 8), dtype=np.uint64)
    raw = (every << (dtype.itemsize * 8 - min(16, dtype.itemsize * 8))).astype(f"u{dtype.itemsize}")
    values = raw.view(dtype)
    nans = np.resize(values[oracle.is_nan(values)], (16, 32))
    numbers = np.resize(values[~oracle.is_nan(values)], (16, 32))
    x = np.concatenate([nans, numbers], axis=1)
    for descending, nan in ORDERS:
        for rows in (nans, x):
            oracle.check(rows, sort(rows, descending=descending, nan=nan), -1, descending, nan)


@pytest.mark.parametrize("name", [n for n in oracle.ALL if np.dtype(oracle.ALL[n]).itemsize == 1])
def test_sort_of_every_pattern_of_one_byte_equals_the_oracle(name):
    count = 2 if name == "bool" else 256
    values = np.arange(count, dtype=np.uint8).view(oracle.ALL[name])
    rng = np.random.default_rng(6)
    x = np.stack([rng.permutation(values) for _ in range(40)])
    for descending, nan in ORDERS:
        oracle.check(x, sort(x, descending=descending, nan=nan), -1, descending, nan)


@pytest.mark.parametrize("name", oracle.ALL)
def test_sort_of_rows_longer_than_any_kernel_falls_back(name):
    x = oracle.random(name, (2, 16385), np.random.default_rng(7))
    assert explain(x).route == "fallback"
    for descending, nan in ORDERS:
        oracle.check(x, sort(x, descending=descending, nan=nan), -1, descending, nan)
    oracle.check(x.T, sort(x.T, axis=0), 0)


@pytest.mark.parametrize("name", ["uint8", "float16", "int32", "float64"])
def test_sort_of_the_longest_native_rows_uses_a_kernel(name):
    for length in (8191, 8192, 16384):
        x = oracle.random(name, (3, length), np.random.default_rng(8))
        assert explain(x).route == "kernel"
        oracle.check(x, sort(x))


def test_sort_of_many_rows_over_threads_equals_the_oracle():
    """More work than one thread takes, in every access, with a ragged last piece."""
    rng = np.random.default_rng(9)
    for shape, axis in (((100_003, 9), 1), ((9, 100_003), 0), ((3001, 150), 1), ((50, 150, 77), 1)):
        x = oracle.random("float32", shape, rng)
        oracle.check(x, sort(x, axis=axis), axis)


@pytest.mark.parametrize("name", ["int8", "uint16", "float32", "int64"])
@pytest.mark.parametrize("length", [2, 3, 9, 32, 40])
@pytest.mark.stress
def test_sort_into_out_larger_than_the_caches_equals_numpy(name, length):
    """They may be written past the caches, line by line: at any offset, and in place."""
    rng = np.random.default_rng(12)
    kind = np.dtype(oracle.ALL[name])
    rows = (9 << 20) // (length * kind.itemsize) + 5
    x = rng.integers(0, 255, rows * length * kind.itemsize, dtype=np.uint8).view(kind)
    x = np.nan_to_num(x).reshape(rows, length)
    for offset in (0, 16, 3):
        around = np.full(x.nbytes + 256, 0xA5, np.uint8)
        inside = slice(64 + offset, 64 + offset + x.nbytes)
        out = around[inside].view(kind).reshape(x.shape)
        sort(x, out=out)
        np.testing.assert_array_equal(out, np.sort(x))
        around[inside] = 0xA5
        assert (around == 0xA5).all(), "bytes around out"
        out[...] = x
        sort(out, out=out)
        np.testing.assert_array_equal(out, np.sort(x))


def test_sort_of_more_batch_dimensions_than_a_kernel_takes_equals_the_oracle():
    rng = np.random.default_rng(10)
    base = oracle.random("int16", (3,) * 11 + (5,), rng)
    x = base[(slice(None, None, 2),) * 11].transpose([*range(0, 11, 2), *range(1, 11, 2), 11])
    oracle.check(x, sort(x))
    out = np.zeros((3,) * 11 + (5,), np.int16)[(slice(None, None, 2),) * 11]
    oracle.check(x, sort(x, out=out))


def test_sort_of_foreign_byte_order_or_split_strides_equals_numpy():
    rng = np.random.default_rng(11)
    x = rng.random((7, 20)).astype(">f4")
    result = sort(x)
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(result, np.sort(x))
    records = np.zeros((7, 20), dtype=[("pad", "u1"), ("value", "f4")])
    records["value"] = rng.random((7, 20))
    np.testing.assert_array_equal(sort(records["value"]), np.sort(records["value"]))
    before = records["pad"].copy()
    sort(x.astype("f4"), out=records["value"])
    np.testing.assert_array_equal(records["value"], np.sort(x).astype("f4"))
    np.testing.assert_array_equal(records["pad"], before)


def test_sort_of_read_only_array_in_every_layout_equals_numpy():
    x = np.random.default_rng(19).random((50, 9), dtype=np.float32)
    for array in (x, np.asfortranarray(x), x.T, x[::-2, ::-1]):
        array = array.view()
        array.flags.writeable = False
        for axis in (0, 1):
            np.testing.assert_array_equal(sort(array, axis=axis), np.sort(array, axis=axis))


def test_sort_of_memory_map_returns_a_plain_array(tmp_path):
    data = np.random.default_rng(12).random((30, 17))
    np.save(tmp_path / "x.npy", data)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    result = sort(mapped)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, np.sort(data))


def test_sort_gives_the_same_values_whether_stable_or_not():
    x = oracle.random("float32", (50, 40), np.random.default_rng(13))
    np.testing.assert_array_equal(
        oracle.bits(sort(x, stable=True)), oracle.bits(sort(x, stable=False))
    )


def test_dim_is_another_name_for_axis():
    x = np.random.default_rng(14).random((8, 9))
    np.testing.assert_array_equal(sort(x, dim=0), sort(x, axis=0))


def test_warp_bitonic_sort_equals_numpy_sort():
    x = np.random.default_rng(15).random((3, 4, 200), dtype=np.float32)
    np.testing.assert_array_equal(warp_bitonic_sort(x), -np.sort(-x))
    np.testing.assert_array_equal(warp_bitonic_sort(x, is_descending=False), np.sort(x))


def test_interleaved_sorts_each_get_their_own_answer():
    """Calls that differ in one thing each, interleaved, each get their own answer."""
    rng = np.random.default_rng(16)
    arrays = [
        rng.integers(0, 9, (6, 6)).astype(t) for t in (np.int32, np.uint32, np.float32, np.int8)
    ]
    arrays += [a.T for a in arrays] + [a[::-1] for a in arrays]
    for _ in range(3):
        for x in arrays:
            for axis in (0, 1, -1):
                for descending, nan in ORDERS:
                    result = sort(x, axis=axis, descending=descending, nan=nan)
                    oracle.check(x, result, axis, descending, nan)


_ON_FOUR_THREADS = """
import multiprocessing, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from warp_bitonic_sort import sort
from warp_bitonic_sort.jit import loader

assert loader.runtime().thread_count() == 4
rng = np.random.default_rng(17)
x = rng.random((200_000, 8), dtype=np.float32)
expected = np.sort(x)
np.testing.assert_array_equal(sort(x), expected)
for shape, axis in (((100_003, 9), 1), ((9, 100_003), 0), ((3001, 150), 1), ((50, 150, 77), 1)):
    y = rng.random(shape)
    np.testing.assert_array_equal(sort(y, axis=axis), np.sort(y, axis=axis))

# A child of a process whose threads are running starts threads of its own.
with multiprocessing.get_context("fork").Pool(2) as pool:
    for result in pool.map_async(sort, [x, x, x]).get(timeout=60):
        np.testing.assert_array_equal(result, expected)

# Callers at the same time: one has the pool, the others do their own work.
arrays = [rng.random((30_000, n), dtype=np.float32) for n in (3, 8, 17, 40)] * 6
with ThreadPoolExecutor(8) as threads:
    for y, result in zip(arrays, threads.map(sort, arrays)):
        np.testing.assert_array_equal(result, np.sort(y))
print("sorted")
"""


@pytest.mark.stress
def test_sort_on_four_threads_after_a_fork_and_from_many_callers_equals_numpy():
    """On four threads whatever this machine has: OMP_NUM_THREADS is honoured."""
    done = subprocess.run(
        [sys.executable, "-c", _ON_FOUR_THREADS],
        env={**os.environ, "OMP_NUM_THREADS": "4"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "sorted", done.stderr


def test_sort_into_reversed_rows_of_a_large_array_equals_numpy():
    # Large enough for stores past the caches, which take whole rows only.
    x = np.random.default_rng(0).random((23592, 100), np.float32)
    out = np.empty_like(x)
    sort(x, out=out[:, ::-1])
    np.testing.assert_array_equal(out[:, ::-1], np.sort(x))
