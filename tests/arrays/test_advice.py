"""Objects that no adapter takes: each error gives advice, by library."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from warp_bitonic_sort import sort


def make(path, *bases, **members):
    """An object of a class that a library might define."""
    module, _, name = path.rpartition(".")
    return type(name, bases, {"__module__": module, **members})()


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("dask.array.core.Array", "warp_bitonic_sort.dask.sort(x, axis=axis)"),
        ("dask.dataframe.dask_expr._collection.Series", "x.to_dask_array(lengths=True)"),
        ("xarray.core.dataarray.DataArray", "warp_bitonic_sort.xarray.sort(x, dim)"),
        ("xarray.core.dataset.Dataset", "warp_bitonic_sort.xarray.sort(x, dim)"),
        ("polars.series.series.Series", "x.to_numpy() has the values, without column names"),
        ("polars.lazyframe.frame.LazyFrame", "x.collect()"),
        ("polars.dataframe.frame.DataFrame", "polars.all().wbs.sort()"),
        ("ray.data.dataset.MaterializedDataset", 'warp_bitonic_sort.ray.sort(x, "name")'),
        ("pyspark.sql.classic.dataframe.DataFrame", "x.mapInArrow(function, schema)"),
        ("pandas.core.frame.DataFrame", "x.to_numpy() has the values, without index"),
        ("pandas.arrays.IntegerArray", "missing values become NaN"),
        ("cudf.core.series.Series", "x.to_cupy()"),
        ("pyarrow.lib.Table", 'x["name"].to_numpy()'),
        ("pyarrow.lib.Array", "pyarrow.array(sort(x.to_numpy(zero_copy_only=False)))"),
        ("pyarrow.lib.Tensor", "x.to_numpy()"),
        ("scipy.sparse._csr.csr_array", "x.toarray()"),
        ("sparse.numba_backend._coo.core.COO", "x.todense()"),
        ("PIL.Image.Image", "(height, width, channels)"),
        ("h5py._hl.dataset.Dataset", "x[...] reads all of it"),
        ("zarr.core.array.Array", "x[...] reads all of it"),
        ("tensorflow.python.framework.ops.EagerTensor", "sort(x.numpy())"),
        ("mlx.core.array", "mlx.core.array(sort(numpy.asarray(x)))"),
        ("pint.Quantity", "sort(x.magnitude) * x.units"),
    ],
)
@pytest.mark.parametrize("is_derived", [False, True])
def test_sort_of_an_array_of_a_known_library_advises_what_would_do(path, advice, is_derived):
    x = make(path, __dlpack__=None, __dlpack_device__=None, __array__=None, to_numpy=None)
    if is_derived:
        x = make("user.module.Mine", type(x))
    with pytest.raises(TypeError, match=f"^x: .*{re.escape(advice)}"):
        sort(x)


@pytest.mark.parametrize("path", ["pandasticated.Series", "mine.pandas.Series", "sparse_mine.COO"])
def test_sort_of_an_array_of_an_unknown_library_has_no_advice_of_another(path):
    with pytest.raises(TypeError, match=r"^x: expected an array .*; pass numpy\.asarray\(x\)"):
        sort(make(path, __array__=None))


def test_sort_of_an_array_with_functions_of_its_own_raises():
    """As arrays with units or masks have: their results would have neither."""

    class Quantity(np.ndarray):
        def __array_function__(self, *arguments):
            return NotImplemented

    x = np.arange(12.0).reshape(3, 4)
    with pytest.raises(TypeError, match=r"^x: .*Quantity cannot .*x\.view\(numpy\.ndarray\)"):
        sort(x.view(Quantity))
    with pytest.raises(TypeError, match=r"^out: .*Quantity cannot"):
        sort(x, out=x.view(Quantity))


@pytest.mark.parametrize("kind", [np.matrix, np.memmap, type("Plain", (np.ndarray,), {})])
def test_sort_of_a_plain_subclass_gives_a_plain_array(kind):
    x = np.arange(12.0)[::-1].reshape(3, 4).copy()
    result = sort(x.view(kind))
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, np.sort(x))


@pytest.mark.parametrize(
    ("make_x", "advice"),
    [
        (lambda: jax.random.key(0), r"dtype key<fry> .*jax\.random\.key_data\(x\)"),
        (lambda: jax.random.split(jax.random.key(0), 3), r"jax\.random\.key_data\(x\)"),
        (lambda: jax.ShapeDtypeStruct((3,), jnp.float32), r"explain\(x\.shape, dtype=x\.dtype\)"),
        (lambda: torch.masked.masked_tensor(torch.ones(2), torch.ones(2) > 0), r"x\.to_tensor"),
        (lambda: torch.nn.UninitializedParameter(), "it has no values before its module"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8), r"x\.int_repr"),
        (lambda: [np.ones(3), np.ones(3)], r"pass numpy\.asarray\(x\)"),
        (lambda: memoryview(b"abc"), r"pass numpy\.asarray\(x\)"),
    ],
)
def test_sort_of_what_has_other_values_advises_what_would_do(make_x, advice):
    with pytest.raises(TypeError, match=f"^x: .*{advice}"):
        sort(make_x())


@pytest.mark.parametrize("kind", [np.ndarray, torch.Tensor, jax.Array])
def test_sort_of_a_class_of_arrays_raises(kind):
    with pytest.raises(TypeError, match=r"^x: expected an array .*got \S+\.$"):
        sort(kind)


def test_sort_of_a_tensor_without_a_device_says_that_it_has_no_values():
    with pytest.raises(NotImplementedError, match=r"x: it is on a meta device.*no values"):
        sort(torch.empty(3, 4, device="meta"))
