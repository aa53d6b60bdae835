"""Expressions of `warp_bitonic_sort.polars` beside NumPy, row by row, and beside Polars's own."""

import contextlib
import itertools

import numpy as np
import polars as pl
import polars.testing
import pyarrow as pa
import pytest

import warp_bitonic_sort.polars  # noqa: F401  (registers the namespace)
from support import children, oracle
from warp_bitonic_sort import arrays, sort

DTYPES = [name for name in oracle.ALL if not name.startswith(("bfloat", "float8"))]
if not hasattr(pl, "Float16"):  # before Polars 1.36
    DTYPES.remove("float16")
# One of each codec and width that arg_sort, top_k and median compile kernels for.
FEW_DTYPES = [name for name in ("bool", "int64", "float16", "float32") if name in DTYPES]
ENGINES = ["in-memory", "streaming"]
ORDERS = [
    {"descending": descending, "nan": nan}
    for descending in (False, True)
    for nan in ("largest", "last")
]
NULLS_ORDERS = [
    {**order, "nulls_last": nulls_last} for order in ORDERS for nulls_last in (False, True)
]
SHAPE = 60, 7


def column_of(x, present=None, row_present=None, as_list=False):
    """A column that Arrow makes of an array, with nulls where present is False."""
    flat = pa.array(x.reshape(-1), mask=None if present is None else ~present.reshape(-1))
    mask = None if row_present is None else pa.array(~row_present)
    rows = pa.FixedSizeListArray.from_arrays(flat, x.shape[1], mask=mask)
    column = pl.Series("a", pl.from_arrow(rows))
    return column.arr.to_list() if as_list else column


def elements_of(column):
    """The elements of an Array column as an array, and which of them are present."""
    assert isinstance(column.dtype, pl.Array)
    flat = column.explode(empty_as_null=False) if column.is_empty() else column.reshape((-1,))
    filled = flat.fill_null(False if flat.dtype == pl.Boolean else 0)
    shape = len(column), column.dtype.size
    return filled.to_numpy().reshape(shape), flat.is_not_null().to_numpy().reshape(shape)


def incomplete(name, seed=0):
    """Rows of a dtype, and which elements and which rows of them are present."""
    rng = np.random.default_rng(seed)
    x = oracle.random(name, SHAPE, rng)
    present = rng.random(SHAPE) < rng.choice([0, 0.5, 1], (SHAPE[0], 1))
    return x, present, rng.random(SHAPE[0]) < 0.9


def expected_order(x, present, descending, nulls_last, nan):
    """The indices of sorted rows, those of missing elements in their order at one end."""
    rows = []
    for row, is_present in zip(x, present, strict=True):
        there, missing = np.flatnonzero(is_present), np.flatnonzero(~is_present)
        order = (
            there[oracle.expected_indices(row[there], -1, descending, nan)] if len(there) else there
        )
        rows.append([*order, *missing] if nulls_last else [*missing, *order])
    return np.array(rows)


def assert_same_bits(found, expected, present):
    np.testing.assert_array_equal(
        np.where(present, oracle.bits(found), 0), np.where(present, oracle.bits(expected), 0)
    )


@pytest.mark.parametrize("name", DTYPES)
def test_sort_of_rows_without_nulls_orders_them(name):
    x = oracle.random(name, SHAPE, np.random.default_rng(1))
    for order, as_list in itertools.product(ORDERS, (False, True)):
        frame = column_of(x, as_list=as_list).to_frame()
        result = frame.select(pl.col("a").wbs.sort(**order))["a"]
        assert result.dtype == frame["a"].dtype
        found, present = elements_of(result.list.to_array(SHAPE[1]) if as_list else result)
        assert present.all()
        oracle.check(x, found, **order)


@pytest.mark.parametrize("name", DTYPES)
def test_sort_of_rows_with_nulls_puts_them_at_one_end(name):
    x, present, row_present = incomplete(name)
    column = column_of(x, present, row_present)
    for order in NULLS_ORDERS:
        result = column.to_frame().select(pl.col("a").wbs.sort(**order))["a"]
        assert result.dtype == column.dtype
        np.testing.assert_array_equal(result.is_not_null(), row_present)
        found, is_present = elements_of(result)
        for row in np.flatnonzero(row_present):
            count = np.count_nonzero(present[row])
            at = slice(count) if order["nulls_last"] else slice(SHAPE[1] - count, None)
            np.testing.assert_array_equal(np.flatnonzero(is_present[row]), np.arange(SHAPE[1])[at])
            options = {key: order[key] for key in ("descending", "nan")}
            oracle.check(x[row][present[row]], found[row][at], **options)


@pytest.mark.parametrize("name", FEW_DTYPES)
@pytest.mark.parametrize("as_list", [False, True])
def test_arg_sort_keeps_the_order_of_equal_elements_and_of_nulls(name, as_list):
    x, present, row_present = incomplete(name)
    for nulls in (None, (present, row_present)):
        column = column_of(x, *(nulls or ()), as_list=as_list)
        is_present, rows = nulls or (np.ones(SHAPE, bool), np.ones(SHAPE[0], bool))
        for order in NULLS_ORDERS:
            result = column.to_frame().select(pl.col("a").wbs.arg_sort(**order))["a"]
            inner = pl.UInt32
            assert result.dtype == (pl.List(inner) if as_list else pl.Array(inner, SHAPE[1]))
            np.testing.assert_array_equal(result.is_not_null(), rows)
            wanted = expected_order(x, is_present, **order)[rows]
            np.testing.assert_array_equal(np.array(result.drop_nulls().to_list()), wanted)


@pytest.mark.parametrize("name", FEW_DTYPES)
@pytest.mark.parametrize("mode", ["largest", "smallest"])
def test_top_k_takes_nulls_only_if_nothing_else_is_left(name, mode):
    x, present, row_present = incomplete(name)
    for nan, k, as_list in itertools.product(("largest", "last"), (0, 1, 3, 7), (False, True)):
        order = expected_order(x, present, mode == "largest", True, nan)[:, :k]
        wanted, is_wanted = (np.take_along_axis(each, order, -1) for each in (x, present))
        frame = column_of(x, present, row_present, as_list).to_frame()
        rows = pl.col("a").wbs
        result = frame.select(
            a=rows.top_k(k, mode=mode, nan=nan), i=rows.arg_top_k(k, mode=mode, nan=nan)
        )
        inner = column_of(x).dtype.inner
        assert result.schema == {"a": pl.Array(inner, k), "i": pl.Array(pl.UInt32, k)}
        np.testing.assert_array_equal(result["a"].is_not_null(), row_present)
        found, is_present = elements_of(result["a"])
        np.testing.assert_array_equal(is_present[row_present], is_wanted[row_present])
        assert_same_bits(found[row_present], wanted[row_present], is_wanted[row_present])
        np.testing.assert_array_equal(elements_of(result["i"])[0][row_present], order[row_present])


def quantiles_of(function, row):
    return [function(row, q, method="lower") for q in (0.0, 0.75)]


# A statistic of Polars rows, and NumPy's for a row with NaNs and for one without.
STATISTICS = {
    "median": (lambda rows, nan: rows.median(nan=nan), np.median, np.nanmedian),
    "quantile": (
        lambda rows, nan: rows.quantile(0.3, nan=nan),
        lambda row: np.quantile(row, 0.3),
        lambda row: np.nanquantile(row, 0.3),
    ),
    "quantiles": (
        lambda rows, nan: rows.quantile([0, 0.75], method="lower", nan=nan),
        lambda row: quantiles_of(np.quantile, row),
        lambda row: quantiles_of(np.nanquantile, row),
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, for rows of infinities or NaNs
@pytest.mark.parametrize("name", ["bool", "uint64", "float16", "float32", "float64"])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_statistics_leave_nulls_out(name, statistic):
    x, present, row_present = incomplete(name)
    if name == "float16":  # NumPy's interpolation overflows for large ones
        x = np.where(np.isfinite(x), np.clip(x, -100, 100), x)
    floats = x.astype(np.float64) if x.dtype.kind in "bu" else x
    everything = np.ones(SHAPE, bool), np.ones(SHAPE[0], bool)
    expression, *references = STATISTICS[statistic]
    inner = column_of(floats).dtype.inner
    for nulls, as_list, nan in itertools.product(
        (everything, (present, row_present)), (False, True), ("propagate", "omit")
    ):
        frame = column_of(x, *nulls, as_list).to_frame()
        result = frame.select(expression(pl.col("a").wbs, nan))["a"]
        assert result.dtype == (pl.Array(inner, 2) if statistic == "quantiles" else inner)
        for row, (is_present, is_row) in enumerate(zip(*nulls, strict=True)):
            elements = floats[row][is_present]
            if not is_row:
                assert result[row] is None
            elif not len(elements):
                assert pl.Series([result[row]]).explode().null_count() >= 1
            else:
                expected = references[nan == "omit"](elements)
                np.testing.assert_array_equal(np.asarray(result[row], floats.dtype), expected)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("nulls_last", [False, True])
def test_sort_and_median_equal_those_of_polars_for_numbers_and_nulls(descending, nulls_last):
    order = {"descending": descending, "nulls_last": nulls_last}
    rng = np.random.default_rng(2)
    x = rng.integers(-3, 3, SHAPE).astype(np.float32) + np.float32(0.5)
    column = column_of(x, rng.random(SHAPE) < 0.7, rng.random(SHAPE[0]) < 0.8)
    frame = pl.DataFrame({"a": column, "l": column.arr.to_list()})
    polars.testing.assert_frame_equal(
        frame.select(pl.all().wbs.sort(**order)),
        frame.select(pl.col("a").arr.sort(**order), pl.col("l").list.sort(**order)),
    )
    polars.testing.assert_frame_equal(
        frame.select(pl.all().wbs.median()),
        frame.select(pl.col("a").arr.median(), pl.col("l").list.median()),
        check_exact=True,
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_lazy_query_has_declared_schema_and_results_of_one_call(engine):
    x = np.random.default_rng(3).random((300_000, 5), np.float32)
    rows = pl.col("a", "b").wbs
    frame = pl.DataFrame({"a": x, "b": pl.Series(x[:, :3]).arr.to_list()}).lazy()
    for expression in (
        rows.sort(descending=True),
        rows.arg_sort(),
        rows.top_k(2),
        rows.arg_top_k(2),
        rows.median(),
        rows.quantile([0.1, 0.9]),
        rows.sort().wbs.median(),
    ):
        query = frame.select(expression)
        assert query.collect(engine=engine).schema == query.collect_schema()
    found = frame.select(rows.sort()).collect(engine=engine)
    np.testing.assert_array_equal(found["a"].to_numpy(), sort(x))
    np.testing.assert_array_equal(found["b"].list.to_array(3).to_numpy(), sort(x[:, :3]))


def test_rows_of_slices_and_chunks_are_sorted():
    x = np.random.default_rng(4).random(SHAPE, np.float32)
    present = x > 0.3
    for nulls in ((), (present,)):
        whole = column_of(x, *nulls)
        parts = pl.concat([whole[3:10], whole[:3], whole[40:]], rechunk=False)
        assert parts.n_chunks() == 3
        for column in (parts, parts[2:20], parts.arr.to_list()[2:20]):
            found = column.to_frame().select(pl.col("a").wbs.sort())["a"]
            for before, after in zip(column, found, strict=True):
                assert after.to_list() == before.sort().to_list()


def test_column_in_groups_and_in_filters_is_sorted():
    frame = pl.DataFrame({"g": [1, 2, 1], "a": column_of(np.array([[3, 1], [2, 1], [0, -1]]))})
    groups = frame.group_by("g", maintain_order=True).agg(pl.col("a").wbs.sort())
    assert groups["a"].to_list() == [[[1, 3], [-1, 0]], [[1, 2]]]
    kept = frame.lazy().with_columns(m=pl.col("a").wbs.median()).filter(pl.col("m") > 1)
    assert kept.collect()["m"].to_list() == [2.0, 1.5]


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("case", ["no rows", "empty rows", "null rows"])
def test_column_without_elements_gives_such_columns(case, as_list):
    x = np.zeros({"no rows": (0, 3), "empty rows": (2, 0), "null rows": (2, 3)}[case], np.float32)
    rows = np.zeros(2, bool) if case == "null rows" else None
    column = pl.Series("a", [None] * len(x) if rows is not None else x.tolist(),
                       dtype=pl.Array(pl.Float32, x.shape[1]))  # fmt: skip
    column = column.arr.to_list() if as_list else column
    frame = column.to_frame().lazy()
    for engine in ENGINES:
        sorts = frame.select(pl.col("a").wbs.sort()).collect(engine=engine)
        polars.testing.assert_frame_equal(sorts, column.to_frame())
        medians = frame.select(pl.col("a").wbs.median()).collect(engine=engine)["a"]
        assert medians.dtype == pl.Float32
        assert medians.to_list() == [None] * len(x)
        order = frame.select(pl.col("a").wbs.arg_sort()).collect(engine=engine)["a"]
        assert order.to_list() == ([None] * len(x) if rows is not None else x.tolist())


def test_rows_reach_the_kernel_without_a_copy(monkeypatch):
    seen = []
    adapter = arrays.adapter_of(np.empty(0))
    describe = type(adapter).key
    monkeypatch.setattr(
        type(adapter), "key", lambda self, x: (seen.append(x), describe(self, x))[1]
    )
    rows = pl.Series("a", np.random.default_rng(5).random((1000, 9), np.float32))
    memory = rows.reshape((-1,)).to_numpy(allow_copy=False)
    for column in (rows, rows.arr.to_list()):  # these lists have the same memory
        del seen[:]
        result = column.to_frame().select(pl.col("a").wbs.sort())["a"]
        assert seen
        assert all(np.shares_memory(each, memory) for each in seen)
        np.testing.assert_array_equal(np.array(result.to_list()), np.sort(rows.to_numpy()))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [pl.List(pl.Float64), pl.Array(pl.Float64, 3)])
@pytest.mark.parametrize("rows", [[], [None, None]])
def test_first_elements_of_batch_without_a_row_that_is_not_null(rows, dtype, engine):
    frame = pl.LazyFrame({"a": rows}, schema={"a": dtype})
    for make in (lambda a: a.top_k(2), lambda a: a.arg_top_k(2)):
        result = frame.select(make(pl.col("a").wbs)).collect(engine=engine)["a"]
        assert result.to_list() == rows
        assert result.dtype.size == 2


@pytest.mark.usefixtures("nothing_open")
def test_schema_of_query_is_found_without_a_kernel(fresh_cache):
    frame = pl.LazyFrame({"a": np.zeros((4, 6), np.float32), "l": [[1, 2]] * 4})
    rows = pl.all().wbs
    for expression, dtypes in (
        (rows.sort(), [pl.Array(pl.Float32, 6), pl.List(pl.Int64)]),
        (rows.arg_sort(), [pl.Array(pl.UInt32, 6), pl.List(pl.UInt32)]),
        (rows.top_k(2), [pl.Array(pl.Float32, 2), pl.Array(pl.Int64, 2)]),
        (rows.median(), [pl.Float32, pl.Float64]),
        (rows.quantile([0.5]), [pl.Array(pl.Float32, 1), pl.Array(pl.Float64, 1)]),
    ):
        assert frame.select(expression).collect_schema().dtypes() == dtypes
    assert children.entries(fresh_cache) == []
    frame.select(pl.col("a").wbs.median()).collect()
    assert children.entries(fresh_cache)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda rows: rows.sort(descending=1), TypeError, "descending: expected True or False"),
        (lambda rows: rows.sort(nan="lst"), ValueError, 'nan: expected "largest" or "last"'),
        (lambda rows: rows.arg_sort(nulls_last=None), TypeError, "nulls_last: expected True or"),
        (lambda rows: rows.top_k(-1), ValueError, "k: expected 0 or more, got -1"),
        (lambda rows: rows.top_k(1.5), TypeError, "k: expected an integer, got 1.5"),
        (lambda rows: rows.arg_top_k(1, mode="least"), ValueError, "mode: expected"),
        (lambda rows: rows.median(nan="last"), ValueError, 'nan: expected "propagate" or "omit"'),
        (lambda rows: rows.quantile(50), ValueError, "q: expected numbers from 0 to 1, got 50"),
        (lambda rows: rows.quantile([[0.5]]), ValueError, "q: expected a number or a flat"),
        (lambda rows: rows.quantile(0.5, method="mid"), ValueError, "method: expected"),
    ],
)
def test_wrong_argument_raises_where_the_expression_is_made(make, error, text):
    with pytest.raises(error, match=text):
        make(pl.col("a").wbs)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("column", "make", "error", "text"),
    [
        ([1, 2], lambda rows: rows.sort(), TypeError, "column 'a': expected rows.* got Int64"),
        ([1, 2], lambda rows: rows.median(), TypeError, "got Int64; Expr.sort of Polars"),
        ([["b"]], lambda rows: rows.arg_sort(), TypeError, r"got List\(String\); cast"),
        ([[[1]]], lambda rows: rows.sort(), TypeError, r"got List\(List\(Int64\)\); cast"),
        (
            pl.Series([[0]], dtype=pl.Array(pl.Date, 1)),
            lambda rows: rows.sort(),
            TypeError,
            r"got Array\(Date.*Expr.to_physical\(\)",
        ),
        ([[1], [2, 3]] * 99, lambda rows: rows.sort(), ValueError, "got lengths from 1 to 2"),
        ([[1, 2]], lambda rows: rows.top_k(3), ValueError, "k: expected 0 to 2 for rows of length"),
        ([[1, None]], lambda rows: rows.arg_top_k(3), ValueError, "k: expected 0 to 2 for rows of"),
    ],
)  # fmt: skip
def test_unfit_column_raises_when_it_is_computed(column, make, error, text, engine):
    query = pl.LazyFrame({"a": column}).select(make(pl.all().wbs))
    with pytest.raises(error, match=text):
        query.collect(engine=engine)


def test_sort_of_a_frame_advises_an_expression_that_sorts_it():
    x = np.random.default_rng(6).random((5, 4))
    for frame in (pl.DataFrame({"a": x}), pl.LazyFrame({"a": x}), pl.Series(x)):
        with pytest.raises(TypeError, match=r"polars\.all\(\)\.wbs\.sort\(\), sort the rows"):
            sort(frame)
        query = (frame.to_frame() if isinstance(frame, pl.Series) else frame).lazy()
        found = query.select(pl.all().wbs.sort()).collect().to_series()
        np.testing.assert_array_equal(found.to_numpy(), np.sort(x))


def test_advice_on_dates_runs():
    dates = pl.Series("a", [[3, 1, 2]], dtype=pl.Array(pl.Int32, 3)).cast(pl.Array(pl.Date, 3))
    column = pl.col("a").to_physical().wbs.sort().cast(dates.dtype)
    assert dates.to_frame().select(column).equals(dates.to_frame().select(pl.col("a").arr.sort()))


def test_expression_of_one_dtype_never_gives_wrong_results_for_another():
    """Polars keeps the dtype of an expression's first use, and refuses others."""
    narrow = pl.DataFrame({"a": np.array([[3, 1, 2]])})
    wide = pl.DataFrame({"a": np.array([[4.5, 1, 2, 3]])})
    expression = pl.col("a").wbs.sort()
    assert narrow.select(expression)["a"].to_list() == [[1, 2, 3]]
    with contextlib.suppress(pl.exceptions.SchemaError):
        assert wide.select(expression)["a"].to_list() == [[1, 2, 3, 4.5]]
    assert wide.select(pl.col("a").wbs.sort())["a"].to_list() == [[1, 2, 3, 4.5]]
