"""Objects of xarray: results, and all that xarray's own functions keep or drop beside them."""

import inspect
import subprocess
import sys

import dask
import numpy as np
import pandas
import pytest
import xarray as xr

import warp_bitonic_sort as wbs
import warp_bitonic_sort.xarray as facade
from support import oracle
from support.covering import pairwise
from support.numpy_routes import kernel_calls  # noqa: F401
from warp_bitonic_sort.xarray._objects import is_of_dask

CHUNKS = {"none": None, "of space": {"lat": 2}, "of time": {"time": 4, "lon": 2}}


def cube(dtype="float32"):
    """An array with missing values, whole rows of them, and all that may hang on an array."""
    rng = np.random.default_rng(3)
    x = rng.normal(280, 10, (9, 4, 3)).astype(dtype)
    if np.issubdtype(dtype, np.floating):
        x[rng.random(x.shape) < 0.2] = np.nan
        x[:, 1, 2] = np.nan
    cells = np.arange(12.0).reshape(4, 3)
    array = xr.DataArray(
        x,
        dims=("time", "lat", "lon"),
        name="t2m",
        attrs={"units": "K"},
        coords={
            "time": pandas.date_range("2000", periods=9),
            "lat": ("lat", np.arange(4.0), {"axis": "Y"}),
            "lon": np.arange(3.0),
            "land": (("lat", "lon"), cells),
            "month": ("time", np.arange(9)),
            "run": 3,
        },
    )
    array.encoding = {"dtype": "int16", "scale_factor": 0.1}
    array["lat"].encoding = {"zlib": True}
    return array


def table():
    """A Dataset of variables with other dimensions and dtypes."""
    array = cube()
    dataset = xr.Dataset(
        {
            "t2m": array,
            "height": array.isel(time=0, drop=True).astype("float64"),
            "count": ("time", np.arange(9)),
            "zero": ((), 5.0),
            "level": ("lat", np.arange(4, dtype="int16"), {"long_name": "level"}),
        },
        attrs={"title": "a table"},
    )
    dataset.encoding = {"unlimited_dims": {"time"}}
    return dataset


def as_table(obj):
    return obj.to_dataset(name="values") if isinstance(obj, xr.DataArray) else obj


def described(obj):
    """All that belongs to an object beside its values."""
    dataset = as_table(obj)
    variables = {
        name: (each.dims, each.dtype, each.attrs, each.encoding, bool(each.chunks))
        for name, each in dataset.variables.items()
    }
    names = list(dataset.data_vars), set(dataset.coords), set(dataset.xindexes)
    beside = obj.name if isinstance(obj, xr.DataArray) else (obj.attrs, obj.encoding)
    return variables, names, dict(dataset.sizes), beside


def check_same(found, own):
    """Compare with the result of xarray's own function; of lazy ones not the last bits."""
    assert type(found) is type(own)
    assert described(found) == described(own)
    if any(each.chunks for each in as_table(own).variables.values()):
        xr.testing.assert_allclose(found, own, rtol=1e-6)
    else:
        xr.testing.assert_identical(found, own)


# -- median and quantile ---------------------------------------------------------------------------

CALLS = {
    "median": lambda obj, dim, skipna, keep: (
        facade.median(obj, dim, skipna=skipna, keep_attrs=keep),
        obj.median(dim, skipna=skipna, keep_attrs=keep),
    ),
    **{
        f"quantile {q}": lambda obj, dim, skipna, keep, q=q: (
            facade.quantile(obj, q, dim, skipna=skipna, keep_attrs=keep),
            obj.quantile(q, dim, skipna=skipna, keep_attrs=keep),
        )
        for q in (0.3, 1, [0.1, 0.9], [0, 1])
    },
}
DIMS = ["time", "lat", ("time", "lon"), ("lon", "time"), None, ...]


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("call", "kind", "chunks", "dim", "skipna", "keep"),
    pairwise(
        list(CALLS),
        ["array", "table"],
        list(CHUNKS),
        DIMS,
        [None, True, False],
        [None, True, False],
        # Dask has no quantiles of all axes in several chunks.
        allowed=lambda *case: case[2] == "none" or case[3] not in (None, ...),
    ),
)
def test_statistics_are_xarrays(call, kind, chunks, dim, skipna, keep):
    # Dask has no nanmedian of one axis alone in several chunks.
    obj = cube() if kind == "array" else table().drop_vars("count")
    obj = obj.chunk(CHUNKS[chunks]) if CHUNKS[chunks] else obj
    check_same(*CALLS[call](obj, dim, skipna, keep))
    with xr.set_options(keep_attrs=not keep):
        check_same(*CALLS[call](obj, dim, skipna, None))


@pytest.mark.parametrize("dim", ["time", ("time", "lon")])
@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
def test_lazy_statistics_have_the_bits_of_eager_ones(dim):
    x = cube()
    for chunks in CHUNKS.values():
        lazy = x.chunk(chunks or -1)
        xr.testing.assert_identical(facade.median(lazy, dim).compute(), x.median(dim))
        quantiles = facade.quantile(lazy, [0.1, 0.7], dim)
        assert quantiles.dtype == np.float64
        xr.testing.assert_identical(quantiles.compute(), x.quantile([0.1, 0.7], dim))


@pytest.mark.parametrize("skipna", [None, True, False])
@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint64", "bool", "complex64"])
def test_statistics_of_other_dtypes_are_xarrays(dtype, skipna):
    x = xr.DataArray(np.random.default_rng(0).integers(0, 9, (8, 5)).astype(dtype), dims=("a", "b"))
    for call in CALLS.values():
        try:
            own = call(x, "a", skipna, None)[1]
        except TypeError:  # NumPy's, of bools
            continue
        check_same(call(x, "a", skipna, None)[0], own)


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
def test_kernels_compute_the_statistics(kernel_calls):  # noqa: F811
    x = cube()
    facade.median(x, "time")
    facade.quantile(x, [0.2, 0.4], ("time", "lon"))
    assert kernel_calls == ["median", "quantile"]
    with dask.config.set(scheduler="synchronous"):
        facade.quantile(x.chunk(lat=2), 0.2, "time").compute()
    assert kernel_calls == ["median", "quantile", "quantile", "quantile"]


@pytest.mark.parametrize("method", ["nearest", "hazen", "inverted_cdf"])
@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
def test_quantile_methods_are_xarrays(method):
    x = cube()
    found = facade.quantile(x, [0.3, 0.6], "time", method=method)
    xr.testing.assert_identical(found, x.quantile([0.3, 0.6], "time", method=method))


@pytest.mark.parametrize(
    "x",
    [
        table()["count"],  # one row
        xr.DataArray(np.zeros((3, 0)), dims=("a", "b")),
        xr.DataArray(np.zeros((0, 3)), dims=("a", "b")),
        xr.DataArray(np.zeros((3, 20_000), "f4"), dims=("a", "b")),  # longer than kernels take
        xr.DataArray(np.array([[1.5, None]], object), dims=("a", "b")),
        xr.DataArray(np.arange(6).reshape(2, 3).astype("m8[s]"), dims=("a", "b")),
    ],
    ids=["one row", "empty rows", "no rows", "long rows", "objects", "time deltas"],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_kernels_do_not_take_is_left_to_xarray(x):
    dim = x.dims[-1]
    for call in ("median", "quantile"):
        q = [[0.5, 0.9]] if call == "quantile" else []
        try:
            own = getattr(x, call)(*q, dim=dim)
        except Exception as error:  # whatever xarray raises
            with pytest.raises(type(error)):
                getattr(facade, call)(x, *q, dim=dim)
        else:
            check_same(getattr(facade, call)(x, *q, dim=dim), own)


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
def test_median_of_table_leaves_out_what_is_not_numeric():
    dataset = table().assign(text=("time", ["a"] * 9))
    check_same(facade.median(dataset, "time"), dataset.median("time"))
    with pytest.raises(TypeError):
        dataset.quantile(0.5, "time")
    with pytest.raises(TypeError):
        facade.quantile(dataset, 0.5, "time")


# -- sort, argsort and top_k -----------------------------------------------------------------------


def data_of(obj, name="t2m"):
    return (obj if isinstance(obj, xr.DataArray) else obj[name]).to_numpy()


@pytest.mark.parametrize(
    ("kind", "chunks", "dim", "descending", "nan"),
    pairwise(["array", "table"], list(CHUNKS), ["time", "lon"], [False, True], ["largest", "last"]),
)
def test_sorts_are_those_of_each_row(kind, chunks, dim, descending, nan):
    x = cube()
    obj = x if kind == "array" else table()
    obj = obj.chunk(CHUNKS[chunks]) if CHUNKS[chunks] else obj
    options = {"descending": descending, "nan": nan}
    found = facade.sort(obj, dim, **options)
    indices = facade.argsort(obj, dim, **options)
    first = facade.top_k(obj, 2, dim, mode="largest" if descending else "smallest", nan=nan)
    for each in (found, indices, *first):
        assert type(each) is type(obj)
        assert bool(each.chunks) == (chunks != "none")
    axis = x.get_axis_num(dim)
    oracle.check(x.to_numpy(), data_of(found), axis, **options)
    oracle.check_indices(x.to_numpy(), data_of(indices), None, axis, **options)
    taken = data_of(first.indices), data_of(first.values)
    oracle.check_selected(x.to_numpy(), slice(2), *taken, axis, **options)


@pytest.mark.parametrize("keep", [None, True, False])
def test_sorted_array_keeps_what_sortby_keeps_but_labels_of_rows(keep):
    x = cube()
    own = x.sortby("time", ascending=False).drop_vars(["time", "month"])
    found = facade.sort(x, "time", keep_attrs=keep)
    assert found.coords.identical(own.coords)
    assert (found.name, found.dims, found.encoding) == (own.name, own.dims, own.encoding)
    assert found.attrs == ({} if keep is False else x.attrs)
    assert found["lat"].encoding == x["lat"].encoding
    assert described(facade.top_k(x, 2, "time", keep_attrs=keep).values)[0] == described(found)[0]


@pytest.mark.parametrize("keep", [None, True, False])
def test_indices_have_the_attributes_of_xarrays_argsort_and_no_encoding(keep):
    x = cube()
    own = x.argsort(axis=0, keep_attrs=keep)
    for found in (
        facade.argsort(x, "time", keep_attrs=keep),
        facade.top_k(x, 9, "time", mode="smallest", keep_attrs=keep).indices,
    ):
        assert (found.name, found.dims, found.attrs) == (own.name, own.dims, own.attrs)
        assert (found.encoding, found.dtype) == ({}, np.int64)


def test_sorted_table_keeps_variables_without_the_dimension():
    dataset = table()
    found = facade.sort(dataset, "time")
    assert list(found.data_vars) == list(dataset.data_vars)
    assert (found.attrs, found.encoding) == (dataset.attrs, dataset.encoding)
    assert facade.sort(dataset, "time", keep_attrs=False).attrs == {}
    for name in ("height", "zero", "level"):
        xr.testing.assert_identical(found[name], dataset[name])
    assert set(dataset.coords) - set(found.coords) == {"time", "month"}
    assert list(facade.argsort(dataset, "time").data_vars) == ["t2m", "count"]
    values, indices = facade.top_k(dataset, 2, "time", index_dtype="int32")
    assert list(values.data_vars) == list(dataset.data_vars)
    assert list(indices.data_vars) == ["t2m", "count"]
    assert values.sizes["time"] == indices.sizes["time"] == 2
    assert indices["count"].dtype == np.int32


def test_indices_choose_elements_with_their_coordinates():
    x = cube()
    chosen = x.isel(time=facade.argsort(x, "time"))
    np.testing.assert_array_equal(chosen, facade.sort(x, "time"))
    assert chosen["time"].dims == x.dims
    values, indices = facade.top_k(x, 2, "time", nan="last")
    when = x["time"][indices]
    cell = {"lat": 0, "lon": 1}
    best = int(x.isel(cell).argmax("time"))
    assert when.isel(cell)[0] == x["time"][best]
    assert values.isel(cell)[0] == x.isel(cell)[best]


def test_index_of_several_levels_along_the_dimension_is_left_out():
    x = cube().stack(cell=("lat", "lon"))
    assert set(facade.sort(x, "cell").coords) == {"time", "month", "run"}
    assert set(facade.sort(x, "time").xindexes) == {"cell", "lat", "lon"}
    check_same(facade.median(x, "time"), x.median("time"))
    check_same(facade.quantile(x, 0.5, "cell", skipna=True), x.quantile(0.5, "cell", skipna=True))


def test_objects_without_a_name_or_with_the_name_of_a_coordinate_keep_it():
    x = cube()
    assert facade.sort(x.rename(None), "time").name is None
    assert facade.sort(x["month"], "time").name == "month"
    assert facade.quantile(x["month"], 0.5, "time").name == "month"


# -- laziness, the accessor, wrong arguments -------------------------------------------------------


def fail(_):
    raise AssertionError("a block was computed")


LAZY_CALLS = {
    "sort": lambda x: [facade.sort(x, "time")],
    "argsort": lambda x: [facade.argsort(x, "lat")],
    "top_k": lambda x: facade.top_k(x, 2, "time"),
    "median": lambda x: [facade.median(x, "time")],
    "quantile": lambda x: [facade.quantile(x, 0.3, ("lat", "lon"))],
}


@pytest.mark.parametrize("call", LAZY_CALLS)
@pytest.mark.parametrize("kind", ["array", "table"])
def test_calls_compute_no_array_of_dask(call, kind):
    lazy = cube().chunk(time=4)
    lazy = lazy.copy(data=lazy.data.map_blocks(fail, dtype=lazy.dtype, meta=lazy.data._meta))
    for found in LAZY_CALLS[call](lazy if kind == "array" else lazy.to_dataset()):
        with pytest.raises(AssertionError, match="a block was computed"):
            found.compute()


def test_top_k_of_chunks_along_the_dimension_does_not_rechunk():
    lazy = cube().chunk(time=2)
    values, _ = facade.top_k(lazy, 3, "time")
    assert not any("rechunk" in layer for layer in values.data.dask.layers)


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
@pytest.mark.parametrize("obj", [cube(), table()], ids=["array", "table"])
def test_accessor_has_the_functions_as_methods(obj):
    for name, arguments in (
        ("sort", ("time",)),
        ("argsort", ("lat",)),
        ("median", ("time",)),
        ("quantile", ([0.1, 0.5], "lat")),
    ):
        found = getattr(obj.wbs, name)(*arguments)
        xr.testing.assert_identical(found, getattr(facade, name)(obj, *arguments))
        assert getattr(facade.Accessor, name).__doc__ == getattr(facade, name).__doc__
    for found, same in zip(obj.wbs.top_k(2, "time"), facade.top_k(obj, 2, "time"), strict=True):
        xr.testing.assert_identical(found, same)
    assert str(inspect.signature(facade.Accessor.top_k)).startswith("(self: 'Any', k: 'int', dim")


X = cube()
DATED = xr.Dataset({"date": X["time"], "t2m": X})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: facade.sort(np.zeros(3), "a"), TypeError, "obj: expected an xarray.DataArray or"),
        (lambda: facade.median([1.0]), TypeError, "obj: expected an xarray.DataArray or"),
        (lambda: facade.sort(X, "tme"), ValueError, "dim: expected a dimension of obj .*'tme'"),
        (lambda: facade.sort(X, ["time"]), ValueError, "dim: expected a dimension of obj"),
        (lambda: facade.median(X, ("time", "tme")), ValueError, "dim: expected a dimension of obj"),
        (lambda: facade.quantile(X, 0.5, "tme"), ValueError, "dim: expected a dimension of obj"),
        (lambda: facade.sort(X["run"], "time"), ValueError, "none, for it has no dimension"),
        (lambda: facade.sort(X, "time", nan="first"), ValueError, 'nan: expected "largest" or'),
        (lambda: facade.sort(X, "time", descending=2), TypeError, "descending: expected True or"),
        (lambda: facade.sort(X, "time", keep_attrs=1), TypeError, "keep_attrs: expected True or"),
        (lambda: facade.sort(X["time"], "time"), TypeError, "obj: dtype datetime64.* cannot be"),
        (
            lambda: facade.argsort(
                DATED.assign(text=("time", ["a"] * 9)).drop_vars("date"), "time"
            ),
            TypeError,
            r"obj\['text'\]: dtype str cannot be sorted",
        ),
        (
            lambda: facade.argsort(X, "time", index_dtype="int8"),
            ValueError,
            "index_dtype: expected",
        ),
        (
            lambda: facade.top_k(X, 10, "time"),
            ValueError,
            "k: expected 0 to 9 for rows of length 9",
        ),
        (lambda: facade.top_k(X, 2.0, "time"), TypeError, "k: expected an integer"),
        (
            lambda: facade.top_k(X, 2, "time", mode="best"),
            ValueError,
            'mode: expected "largest" or',
        ),
        (
            lambda: facade.median(X, "time", skipna="no"),
            TypeError,
            "skipna: expected True or False",
        ),
        (lambda: facade.quantile(X, 1.5, "time"), ValueError, "q: expected numbers from 0 to 1"),
        (
            lambda: facade.quantile(X, [[0.5]], "time"),
            ValueError,
            "q: expected a number or a sequence",
        ),
    ],
)
def test_wrong_argument_raises(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_import_of_functions_does_not_import_dask():
    code = "import sys, warp_bitonic_sort.xarray; print('dask.array' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("skipna", [None, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantiles_of_chunks_do_not_depend_on_a_first_row_of_nans(dtype, skipna):
    """NumPy rounds the quantiles of all rows then, and so does xarray for arrays in memory."""
    whole = cube(dtype).fillna(7)
    corner = whole.copy(deep=True)
    corner[:, 0, 0] = np.nan
    corner[:, 2, 0] = np.nan  # a chunk begins with it
    exact = whole.quantile([0.3, 0.6], "time").where(corner.notnull().all("time"))
    for size in (4, 2, 1):
        lazy = facade.quantile(corner.chunk(lat=size), [0.3, 0.6], "time", skipna=skipna)
        assert lazy.dtype == lazy.compute().dtype == "float64"
        np.testing.assert_array_equal(lazy.compute(), exact)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("dim", [None, ["lat", "lon"]])
def test_median_of_chunks_along_all_dimensions_is_that_of_the_loaded_object(dim, missing):
    """Dask has no such median; one variable of two dimensions is whole where others are not."""
    dataset = table()
    if missing:
        dataset["height"] = dataset["height"] * np.nan
    expected = dataset.median(dim)
    found = facade.median(dataset.chunk(lat=2, lon=1, time=4), dim)
    assert all(is_of_dask(found[name].data) for name in ("t2m", "height"))
    xr.testing.assert_identical(found.compute(), expected)
    assert found.dtypes == expected.dtypes


def test_median_of_integers_without_dimensions_is_a_float_as_xarrays():
    dataset = table().assign(crs=((), 7))
    for dim in (None, "time"):
        found, expected = facade.median(dataset, dim), dataset.median(dim)
        assert found.dtypes == expected.dtypes
    assert found["crs"].dtype == "float64"


def test_groups_are_reduced_by_map():
    groups = cube().assign_coords(month=("time", [0, 1, 2] * 3)).groupby("month")
    with pytest.raises(TypeError, match=r"obj: expected an xarray.DataArray .*obj.map\(function"):
        facade.median(groups, "time")
    with pytest.raises(TypeError, match=r"x.map\(function\) calls one"):
        wbs.sort(groups)
    found = groups.map(facade.quantile, q=0.3, dim="time")
    xr.testing.assert_identical(found, groups.quantile(0.3, "time"))
