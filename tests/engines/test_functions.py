"""Engines that call `sort` for the blocks, columns or rows that they hold."""

import dask.array
import numpy as np
import pandas
import polars
import pytest
import xarray

from warp_bitonic_sort import sort

ROWS = np.random.default_rng(2).random((64, 25)).astype(np.float32)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_dask_map_blocks_with_scheduler_sorts_every_chunk(scheduler):
    x = dask.array.from_array(ROWS, chunks=(16, 25))
    result = x.map_blocks(sort, axis=-1).compute(scheduler=scheduler)
    np.testing.assert_array_equal(result, np.sort(ROWS))


def test_dask_map_overlap_with_median_of_sorted_neighbours_filters():
    x = dask.array.from_array(ROWS, chunks=(16, 25))

    def filter_rows(block):
        neighbours = np.lib.stride_tricks.sliding_window_view(block, 3, axis=0)
        return np.pad(sort(neighbours)[..., 1], ((1, 1), (0, 0)))

    result = x.map_overlap(
        filter_rows, depth={0: 1, 1: 0}, boundary="reflect", dtype=x.dtype, meta=ROWS[:0]
    ).compute()
    padded = np.pad(ROWS, ((1, 1), (0, 0)), mode="symmetric")
    expected = np.median([padded[:-2], padded[1:-1], padded[2:]], axis=0)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("chunks", [None, {"row": 16}])
def test_xarray_apply_ufunc_keeps_coordinates(chunks):
    x = xarray.DataArray(ROWS, dims=("row", "sample"), coords={"row": np.arange(64)})
    if chunks:
        x = x.chunk(chunks)
    result = xarray.apply_ufunc(
        sort,
        x,
        input_core_dims=[["sample"]],
        output_core_dims=[["sample"]],
        dask="parallelized",
        output_dtypes=[x.dtype],
    )
    np.testing.assert_array_equal(result.to_numpy(), np.sort(ROWS))
    np.testing.assert_array_equal(result["row"], np.arange(64))


def test_polars_map_batches_sorts_a_column():
    frame = polars.DataFrame({"a": ROWS[:, 0]})
    column = polars.col("a").map_batches(lambda x: polars.Series(sort(x.to_numpy())))
    np.testing.assert_array_equal(frame.select(column)["a"].to_numpy(), np.sort(ROWS[:, 0]))


def test_polars_array_column_sorts_rows():
    column = polars.Series(ROWS)
    result = polars.Series(sort(column.to_numpy()))
    assert result.dtype == column.dtype
    np.testing.assert_array_equal(result.to_numpy(), np.sort(ROWS))


def test_pandas_apply_of_raw_rows_sorts_each():
    frame = pandas.DataFrame(ROWS)
    result = frame.apply(sort, axis=1, raw=True)
    np.testing.assert_array_equal(result.to_numpy(), np.sort(ROWS))
