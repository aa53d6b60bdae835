"""Real objects of engines: `sort` refuses each, and the code in the error sorts its values."""

import dask.array
import dask.dataframe
import numpy as np
import pandas
import polars
import pyarrow
import pytest
import xarray

import warp_bitonic_sort.dask
import warp_bitonic_sort.xarray
from warp_bitonic_sort import sort

ROWS = np.random.default_rng(1).random((6, 25)).astype(np.float32)
COLUMN = np.array([3, 1, 2], np.int64)
ARROW = "pyarrow.array(sort(x.to_numpy(zero_copy_only=False)))"
FRAME = {"a": [3, 1, 2]}


def evaluate(code, x):
    names = {"sort": sort, "pyarrow": pyarrow, "warp_bitonic_sort": warp_bitonic_sort}
    return eval(code, {**names, "x": x, "axis": -1, "dim": "dim_1"})  # noqa: S307


@pytest.mark.parametrize(
    ("x", "advice", "expected"),
    [
        # Of arrays, the code sorts.
        (
            dask.array.from_array(ROWS, chunks=(2, 10)),
            "warp_bitonic_sort.dask.sort(x, axis=axis)",
            np.sort(ROWS),
        ),
        (xarray.DataArray(ROWS), "warp_bitonic_sort.xarray.sort(x, dim)", np.sort(ROWS)),
        (xarray.DataArray(ROWS), "x.to_numpy()", ROWS),
        (pyarrow.array(COLUMN), ARROW, [1, 2, 3]),
        (pyarrow.chunked_array([COLUMN, COLUMN]), ARROW, [1, 1, 2, 2, 3, 3]),
        (pyarrow.array([3.0, None, 1.0]), ARROW, [1, 3, np.nan]),
        (pyarrow.array([3, None, 1]), ARROW, [1, 3, np.nan]),
        # Of tables, the code gives values to sort.
        (dask.dataframe.from_dict(FRAME, 1), "x.to_dask_array(lengths=True)", COLUMN[:, None]),
        (polars.DataFrame(FRAME), "x.to_numpy()", COLUMN[:, None]),
        (polars.LazyFrame(FRAME), "x.collect()", COLUMN[:, None]),
        (polars.Series([3, None, 1]), "x.to_numpy()", [3, np.nan, 1]),
        (pandas.DataFrame(FRAME), "x.to_numpy()", COLUMN[:, None]),
        (pandas.Series(COLUMN), "x.to_numpy()", COLUMN),
        (pandas.Index(COLUMN), "x.to_numpy()", COLUMN),
        (pyarrow.table({"name": COLUMN}), 'x["name"].to_numpy()', COLUMN),
        (pyarrow.record_batch({"name": COLUMN}), "x.column(0).to_numpy()", COLUMN),
        (pyarrow.Tensor.from_numpy(ROWS), "x.to_numpy()", ROWS),
        (
            pyarrow.FixedShapeTensorArray.from_numpy_ndarray(ROWS),
            "x.to_numpy_ndarray()",
            ROWS,
        ),
    ],
    ids=lambda value: type(value).__module__ + "." + type(value).__name__,
)
def test_sort_of_engine_object_advises_code_that_runs(x, advice, expected):
    with pytest.raises(TypeError) as caught:
        sort(x)
    assert advice in str(caught.value)
    np.testing.assert_array_equal(np.asarray(evaluate(advice, x)), expected)
