"""Arrays of Dask in one process: results, chunks, laziness, and errors of wrong arguments."""

import pickle

import dask
import dask.array as da
import dask.dataframe
import numpy as np
import pandas
import pytest

import warp_bitonic_sort as wbs
import warp_bitonic_sort.dask as facade
from support import oracle
from support.covering import pairwise
from support.numpy_quantiles import check as check_quantiles
from support.numpy_quantiles import expected_median, expected_quantile
from warp_bitonic_sort.dask import _blocks
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.operations.argsort import SortedWithIndices
from warp_bitonic_sort.operations.top_k import TopK

# A dtype of each kind and of some widths, and those of ml_dtypes.
DTYPES = ["bool", "int64", "bfloat16", "float32", "float8_e4m3fn", "float8_e5m2fnuz"]
# Two axes of one length share their kernels.
SHAPE = (6, 4, 6)
# Blocks of whole rows for every axis, and of none; single elements; empty ones among others.
CHUNKS = {
    "one": SHAPE,
    "rows": (2, 4, 6),
    "columns": (6, 3, 2),
    "pieces": (4, 3, 4),
    "small": (6, 4, 1),
    "empty": ((3, 0, 3), (0, 4), (2, 0, 4)),
}
AXES = [-1, 0]


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def made(name, chunks, seed=0):
    """An array of NumPy with values of every kind, and the same one of Dask."""
    x = oracle.random(name, SHAPE, np.random.default_rng(seed))
    return x, da.from_array(x, chunks=CHUNKS[chunks])


def computed(*lazy):
    """Compute arrays; what was known of each block before must be true."""
    for array in lazy:
        assert isinstance(array, da.Array)
        for place, block in np.ndenumerate(array.to_delayed()):
            value = block.compute()
            sizes = [chunks[i] for chunks, i in zip(array.chunks, place, strict=True)]
            assert [a for a, b in zip(value.shape, sizes, strict=True) if b == b and a != b] == []
            assert value.dtype == array.dtype == array._meta.dtype
            assert type(value) is type(array._meta)
        assert array._meta.ndim == array.ndim
    results = dask.compute(*lazy)
    return results if len(results) > 1 else results[0]


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "chunks", "axis", "descending", "nan"),
    pairwise(DTYPES, list(CHUNKS), AXES, [False, True], ["largest", "last"]),
)
def test_sorts_are_those_of_whole_rows(name, chunks, axis, descending, nan):
    x, lazy = made(name, chunks)
    options = {"axis": axis, "descending": descending, "nan": nan}
    oracle.check(x, computed(facade.sort(lazy, **options)), **options)
    indices = computed(facade.argsort(lazy, **options, index_dtype="int32"))
    assert indices.dtype == np.int32
    oracle.check_indices(x, indices, **options)
    both = facade.sort_with_indices(lazy, **options)
    assert type(both) is SortedWithIndices
    values, indices = computed(*both)
    assert indices.dtype == np.int64
    oracle.check_indices(x, indices, values, **options)


@pytest.mark.parametrize(
    ("name", "chunks", "axis", "k", "mode", "nan", "split_every"),
    pairwise(
        DTYPES,
        list(CHUNKS),
        AXES,
        [0, 1, 3, 6],
        ["largest", "smallest"],
        ["largest", "last"],
        [None, 2, 100],
    ),
)
def test_top_k_is_that_of_whole_rows_and_keeps_chunks(
    name, chunks, axis, k, mode, nan, split_every
):
    x, lazy = made(name, chunks)
    found = facade.top_k(lazy, k, axis=axis, mode=mode, nan=nan, split_every=split_every)
    assert type(found) is TopK
    values, indices = computed(*found)
    descending = mode == "largest"
    oracle.check_selected(x, slice(k), indices, values, axis, descending, nan)
    assert not any("rechunk" in layer for layer in found.values.dask.layers)


@pytest.mark.parametrize("k", [5, 8, 20])
@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_top_k_larger_than_a_chunk_takes_ties_in_the_order_of_the_row(k, size):
    x = np.random.default_rng(k).choice([1.0, 2.0, -0.0, 0.0, np.nan], (50, 20))
    for nan in ("largest", "last"):
        found = facade.top_k(da.from_array(x, chunks=(25, size)), k, nan=nan, split_every=3)
        values, indices = computed(*found)
        oracle.check_selected(x, slice(k), indices, values, -1, True, nan)


@pytest.mark.parametrize(
    ("name", "chunks", "axis", "keepdims", "nan"),
    pairwise(
        DTYPES[:4], list(CHUNKS), [-1, 0, (0, 2), None, ()], [False, True], ["propagate", "omit"]
    ),
)
def test_medians_and_quantiles_are_those_of_whole_rows(name, chunks, axis, keepdims, nan):
    x, lazy = made(name, chunks)
    options = {"axis": axis, "keepdims": keepdims, "nan": nan}
    found = computed(facade.median(lazy, **options))
    check_quantiles(x, found, expected_median(x, axis, nan, keepdims=keepdims))
    np.testing.assert_array_equal(
        oracle.bits(found), oracle.bits(np.asarray(wbs.median(x, **options)))
    )
    for q, method in (
        (0.3, "linear"),
        ([0.25, 1], "nearest"),
        ([[0.1], [0.9]], "higher"),
        ([], "linear"),
    ):
        found = computed(facade.quantile(lazy, q, method=method, **options))
        same = np.asarray(wbs.quantile(x, q, method=method, **options))
        np.testing.assert_array_equal(oracle.bits(found), oracle.bits(same), strict=True)
        if np.size(q):
            wanted = expected_quantile(x, q, axis, nan, method=method, keepdims=keepdims)
            check_quantiles(x, found, wanted)


def test_quantile_of_integers_in_an_array_is_an_element_as_in_numpy():
    x, lazy = made("int16", "pieces")
    for q in (np.array([0, 1]), np.array([0.0, 1.0]), range(2)):
        found = computed(facade.quantile(lazy, q, axis=1))
        np.testing.assert_array_equal(found, np.quantile(x, np.asarray(q, float), axis=1))


@pytest.mark.parametrize("axis", AXES)
def test_arrays_of_unknown_chunk_sizes_are_sorted(axis):
    x, lazy = made("float32", "pieces")
    chosen = x[:, 0, 0] == x[:, 0, 0]
    x, lazy = x[chosen], lazy[da.from_array(chosen, chunks=4)]
    assert np.isnan(lazy.shape[0])
    oracle.check(x, computed(facade.sort(lazy, axis=axis)), axis)
    values, indices = computed(*facade.top_k(lazy, 2, axis=axis))
    oracle.check_selected(x, slice(2), indices, values, axis, True)
    found = computed(facade.median(lazy, axis=axis, nan="omit"))
    check_quantiles(x, found, expected_median(x, axis, "omit"))
    assert len(facade.sort(lazy, axis=axis).chunks[axis]) == 1


@pytest.mark.parametrize(("k", "index_dtype"), [(6, None), (7, "int32")])
def test_top_k_of_rows_of_unknown_length_checks_k_when_it_is_known(k, index_dtype):
    x = da.from_array(np.arange(12.0), chunks=5)
    values, indices = facade.top_k(x[x > 5], k, index_dtype=index_dtype)
    if k == 6:
        assert computed(indices).tolist() == [5, 4, 3, 2, 1, 0]
        return
    with pytest.raises(ValueError, match="k: expected 0 to 6 for rows of length 6, got 7"):
        values.compute()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("chunks", [2, -1])
def test_arrays_without_elements_have_results_without_elements(shape, chunks):
    x = da.zeros(shape, chunks=chunks, dtype="float32")
    plain = x.compute()
    np.testing.assert_array_equal(computed(facade.sort(x)), plain, strict=True)
    np.testing.assert_array_equal(computed(facade.argsort(x)), plain.astype(np.int64), strict=True)
    assert computed(facade.top_k(x, 0).values).shape == (shape[0], 0)
    np.testing.assert_array_equal(computed(facade.median(x)), wbs.median(plain), strict=True)


def test_array_without_axes_is_a_row_of_one():
    x = da.from_array(np.arange(5.0), chunks=2).sum()  # its block is a scalar of NumPy
    assert facade.sort(x).compute() == 10
    assert facade.argsort(x).compute() == 0
    assert facade.median(x).compute() == 10
    assert facade.quantile(x, [0.5]).compute().tolist() == [10]
    values, indices = computed(*facade.top_k(x, 1))
    assert (values.tolist(), indices.tolist()) == ([10], [0])


def test_array_in_foreign_byte_order_keeps_it_in_blocks_of_whole_rows():
    x = np.array([[3, 1, 2], [9, 7, 8]], ">f4")
    lazy = da.from_array(x, chunks=(1, 3))
    assert computed(facade.sort(lazy)).tolist() == [[1, 2, 3], [7, 8, 9]]
    assert computed(facade.median(lazy)).tolist() == [2, 8]
    assert facade.sort(lazy).dtype == x.dtype
    values, indices = computed(*facade.top_k(da.from_array(x, chunks=(1, 2)), 2))
    assert (values.tolist(), indices.tolist()) == ([[3, 2], [9, 8]], [[0, 2], [0, 2]])


def test_quantiles_are_those_of_the_call_and_equal_ones_have_equal_names():
    x = da.from_array(np.arange(10.0).reshape(2, 5), chunks=(1, 5))
    q = [[0.25], [0.75]]
    lazy = facade.quantile(x, q)
    assert lazy.name == facade.quantile(x, np.array(q)).name
    q[0][0] = 0.5
    np.testing.assert_array_equal(lazy.compute(), wbs.quantile(x.compute(), [[0.25], [0.75]]))
    assert facade.quantile(x, np.zeros((2, 0))).compute().shape == (2, 0, 2)


# -- the graph -------------------------------------------------------------------------------------

CALLS = {
    "sort": lambda x: [facade.sort(x)],
    "argsort": lambda x: [facade.argsort(x, descending=True)],
    "sort_with_indices": facade.sort_with_indices,
    "top_k": lambda x: facade.top_k(x, 3),
    "median": lambda x: [facade.median(x, axis=(0, 1))],
    "quantile": lambda x: [facade.quantile(x, [0.1, 0.9], axis=0)],
}


def fail(_):
    raise AssertionError("a block was computed")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("chunks", CHUNKS)
def test_calls_compute_nothing(call, chunks):
    x = da.from_array(np.zeros(SHAPE, np.float32), chunks=CHUNKS[chunks])
    for lazy in CALLS[call](x.map_blocks(fail, dtype=x.dtype, meta=x._meta)):
        with pytest.raises(AssertionError, match="a block was computed"):
            lazy.compute()


@pytest.mark.parametrize("call", CALLS)
def test_equal_calls_have_equal_names(call):
    _, x = made("float32", "pieces")
    names = [array.name for array in CALLS[call](x)]
    assert names == [array.name for array in CALLS[call](x)]
    assert not set(names) & {array.name for array in CALLS[call](x + 1)}


def test_other_options_have_other_names():
    _, x = made("float32", "pieces")
    options = [{}, {"axis": 0}, {"descending": True}, {"nan": "last"}, {"axis": 1}]
    assert len({facade.sort(x, **each).name for each in options}) == len(options)
    assert facade.sort(x, axis=2).name == facade.sort(x, axis=-1).name


@pytest.mark.parametrize("call", ["sort_with_indices", "top_k"])
def test_values_and_indices_are_computed_together(call, monkeypatch):
    """Each block is sorted once for both."""
    calls = []
    monkeypatch.setattr(_blocks, "on_array", lambda f, block: calls.append(1) or f(block))
    _, x = made("float32", "rows")
    dask.compute(*CALLS[call](x))
    assert len(calls) == 3 * x.npartitions  # once in three is a sort


@pytest.mark.parametrize("call", CALLS)
def test_graph_is_small_and_holds_no_code(call):
    x = da.zeros((1000, 1000, 10), chunks=(1, 1000, 10))
    for lazy in CALLS[call](x):
        layers = [layer for name, layer in lazy.dask.layers.items() if "-" in name]
        assert len(pickle.dumps(layers)) < 2_000_000


def test_auto_rechunk_keeps_other_axes_unless_a_block_becomes_too_large():
    x = da.zeros((40, 30, 20), chunks=(10, 15, 4), dtype="float64")
    assert facade.sort(x).chunks == ((10,) * 4, (15,) * 2, (20,))
    assert facade.median(x, axis=(1, 2)).chunks == ((10,) * 4,)
    with dask.config.set({"array.chunk-size": "8 kB"}):
        chunks = facade.sort(x).chunks
    assert chunks[2] == (20,)
    assert max(chunks[0]) * max(chunks[1]) * 20 * 8 <= 8192
    whole = x.rechunk({2: -1})
    assert facade.sort(whole).chunks == whole.chunks


# -- wrong arguments -------------------------------------------------------------------------------

LAZY = da.zeros((6, 20), chunks=(2, 7), dtype="float32").map_blocks(
    fail, dtype="float32", meta=np.zeros((0, 0), "f4")
)
WHOLE = da.zeros((6, 20), chunks=(2, 20))


def of_dtype(dtype):
    return da.from_array(np.zeros((4, 4), dtype), chunks=4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: facade.sort(np.zeros(3)),
            TypeError,
            "x: expected a dask.array.Array, got numpy.*warp_bitonic_sort.sort takes",
        ),
        (
            lambda: facade.top_k([1, 2], 1),
            TypeError,
            "x: expected a dask.array.Array, got list; dask.array.from_array",
        ),
        (
            lambda: facade.median(dask.dataframe.from_pandas(pandas.DataFrame({"a": [1.0]}))),
            TypeError,
            "to_dask_array",
        ),
        (
            lambda: facade.sort(da.ma.masked_array(WHOLE, WHOLE > 0)),
            TypeError,
            "masked array would lose its mask",
        ),
        (
            lambda: facade.sort(of_dtype("complex64")),
            TypeError,
            "x: dtype complex64 cannot be sorted",
        ),
        (lambda: facade.argsort(of_dtype("datetime64[ns]")), TypeError, "x: dtype datetime64"),
        (
            lambda: facade.median(of_dtype(oracle.ALL["float8_e5m2"])),
            TypeError,
            "x: median does not compute with float8",
        ),
        (lambda: facade.quantile(of_dtype(object), 0.5), TypeError, "x: dtype object"),
        (lambda: facade.sort(LAZY, -1), TypeError, r"axis is given by name: sort\(x, axis=-1\)"),
        (lambda: facade.sort(LAZY, axis=2), ValueError, "axis: expected -2 to 1"),
        (lambda: facade.sort(LAZY, axis=1.0), TypeError, "axis: expected an integer"),
        (lambda: facade.sort(LAZY, axis=None), TypeError, r"pass x\.reshape\(-1\)"),
        (lambda: facade.sort(LAZY, axis=0, dim=1), TypeError, "dim: it is another name for axis"),
        (
            lambda: facade.sort(LAZY, nan="lst"),
            ValueError,
            'nan: expected "largest" or "last", got',
        ),
        (lambda: facade.sort(LAZY, descending=1), TypeError, "descending: expected True or False"),
        (
            lambda: facade.sort(LAZY, rechunk=True),
            ValueError,
            'rechunk: expected "auto" or "raise"',
        ),
        (
            lambda: facade.sort(WHOLE, rechunk="no"),
            ValueError,
            'rechunk: expected "auto" or "raise"',
        ),
        (
            lambda: facade.sort(LAZY[0, 0], rechunk="no"),
            ValueError,
            'rechunk: expected "auto" or "raise"',
        ),
        (
            lambda: facade.sort(LAZY, rechunk="raise"),
            ValueError,
            r"rechunk: .*axis 1 has 3.*x\.rechunk\(\{1: -1\}\)",
        ),
        (
            lambda: facade.quantile(LAZY, 0.5, axis=(0, 1), rechunk="raise"),
            ValueError,
            "axis 0 has 3, axis 1 has 3",
        ),
        (lambda: facade.argsort(LAZY, index_dtype="int16"), ValueError, "index_dtype: expected"),
        (lambda: facade.sort_with_indices(LAZY, stable=None), TypeError, "stable: expected"),
        (
            lambda: facade.argsort(da.zeros((1, 2**31 + 1), dtype="i1"), index_dtype="int32"),
            ValueError,
            "index_dtype: int32 holds",
        ),
        (
            lambda: facade.top_k(da.zeros((1, 2**31 + 1), dtype="i1"), 1, index_dtype="int32"),
            ValueError,
            "index_dtype: int32 holds",
        ),
        (
            lambda: facade.top_k(LAZY, 21),
            ValueError,
            "k: expected 0 to 20 for rows of length 20, got 21",
        ),
        (lambda: facade.top_k(LAZY, -1), ValueError, "k: expected 0 to 20"),
        (
            lambda: facade.top_k(WHOLE[WHOLE[:, 0] > 1], -1, axis=0),
            ValueError,
            "k: expected a number of at least 0, got -1",
        ),
        (lambda: facade.top_k(LAZY, 2.0), TypeError, "k: expected an integer"),
        (lambda: facade.top_k(LAZY, 2, mode="max"), ValueError, 'mode: expected "largest" or'),
        (lambda: facade.top_k(LAZY, 2, sorted=None), TypeError, "sorted: expected True or False"),
        (
            lambda: facade.top_k(LAZY, 2, split_every=1),
            ValueError,
            "split_every: expected a number of at least 2, got 1",
        ),
        (
            lambda: facade.top_k(LAZY, 2, split_every=2.5),
            TypeError,
            "split_every: expected an integer",
        ),
        (lambda: facade.median(LAZY, axis=(0, 0)), ValueError, "axis: expected distinct axes"),
        (lambda: facade.median(LAZY, axis=(0, 2)), ValueError, "axis: expected -2 to 1"),
        (
            lambda: facade.median(LAZY, nan="last"),
            ValueError,
            'nan: expected "propagate" or "omit"',
        ),
        (lambda: facade.median(LAZY, keepdims=0), TypeError, "keepdims: expected True or False"),
        (lambda: facade.quantile(LAZY, 2), ValueError, "q: expected numbers from 0 to 1, got 2"),
        (lambda: facade.quantile(LAZY, "a"), TypeError, "q: expected a number from 0 to 1"),
        (lambda: facade.quantile(LAZY, 0.5, method="hazen"), ValueError, "method: expected"),
    ],
)
def test_wrong_argument_raises_before_a_block_is_computed(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_raise_accepts_rows_in_one_chunk():
    np.testing.assert_array_equal(facade.sort(WHOLE, rechunk="raise").compute(), np.zeros((6, 20)))
    np.testing.assert_array_equal(facade.median(WHOLE.T, axis=0, rechunk="raise"), np.zeros(6))


# -- WarmUp ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_open")
def test_warm_up_opens_the_kernels_of_later_calls():
    facade.WarmUp(np.float32, [9], ["sort", "top_k", "median"]).open_kernels()
    opened = set(loader._opened)
    assert opened
    rows = np.random.default_rng(0).random((100, 9), np.float32)
    for x, axis in ((rows, 1), (rows.T, 0), (np.ascontiguousarray(rows.T), 0), (rows[:1], 1)):
        lazy = da.from_array(x)
        dask.compute(
            facade.sort(lazy, axis=axis),
            facade.top_k(lazy, 3, axis=axis),
            facade.median(lazy, axis=axis, nan="omit"),
        )
    assert set(loader._opened) == opened


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("complex64", 9), TypeError, "dtypes: dtype complex64 cannot be sorted"),
        ((["float32", None], 9), TypeError, "dtypes: dtype None"),
        (("float32", "9"), TypeError, "lengths: expected an integer, got '9'"),
        (("float32", [3, 2.5]), TypeError, "lengths: expected an integer, got 2.5"),
        (("float32", -1), ValueError, "lengths: expected lengths of at least 0, got -1"),
        (("float32", 9, "sorts"), ValueError, "operations: expected some of sort, .*got 'sorts'"),
        ((["int8", "float8_e5m2"], 9, ["sort", "median"]), TypeError, "median does not compute"),
    ],
)
def test_warm_up_with_wrong_argument_raises(arguments, error, message):
    with pytest.raises(error, match=message):
        facade.WarmUp(*arguments)


def test_warm_ups_have_equal_names_if_they_open_the_same():
    names = [facade.WarmUp("float32", lengths).name for lengths in ([2, 3], range(2, 4), [2, 4])]
    assert names[0] == names[1] != names[2]
