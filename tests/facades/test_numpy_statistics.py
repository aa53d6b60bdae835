"""`median`, `quantile` and their kin of the NumPy facade: NumPy's results, bit for bit."""

import itertools
import warnings
from fractions import Fraction

import numpy as np
import pytest

import warp_bitonic_sort.numpy as facade
from support import oracle
from support.covering import pairwise
from support.numpy_quantiles import few
from support.numpy_routes import kernel_calls, kernels_answer, outcome  # noqa: F401
from warp_bitonic_sort.numpy import _statistics

NAMES = [
    name for name in oracle.ALL if not name.startswith(("float8", "bfloat16")) and name != "bool"
]
MEDIANS = ["median", "nanmedian"]
QUANTILES = ["quantile", "nanquantile", "percentile", "nanpercentile"]
METHODS = ["linear", "lower", "higher", "midpoint", "nearest"]
SHAPES = [(5, 4), (4, 25), (5, 5, 4), (25, 2), (4, 70)]
AXES = [None, -1, 0, (0, 1), (1,)]
POINTS = {
    "float": 0.3,
    "upper": 0.9,
    "integer": 1,
    "one": 1.0,
    "list": [0.1, 0.5, 0.75],
    "integers": [0, 1],
    "scalar": np.float64(0.3),
    "array": np.array([0.25, 0.5]),
    "0-d": np.array(0.7),
}


def array(name, shape, seed):
    """Values of every kind, in half of the rows NaNs, and no signalling ones, of which NumPy warns.

    All zeros have one sign: NumPy does not order those of different signs.
    """
    rng = np.random.default_rng(seed)
    x = few(name, shape, rng)
    if x.dtype.kind == "f":
        x[np.isnan(x)] = np.nan
        x[x == 0] = rng.choice([0.0, -0.0])
        x[..., 1:][rng.random(shape)[..., 1:] < 0.2] = np.nan
        if rng.random() < 0.3:
            x[0] = np.nan
    return x


def with_warnings(function, *args, **options):
    """Return the result of a call and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as log:
        warnings.simplefilter("always")
        result = outcome(function, *args, **options)
    return repr(result), sorted(f"{each.category.__name__}: {each.message}" for each in log)


def check_equal(name, x, *args, **options):
    """Compare the functions of a name: types, dtypes, values, the signs of zeros, and warnings."""
    expected = with_warnings(getattr(np, name), x.copy(), *args, **options)
    assert with_warnings(getattr(facade, name), x, *args, **options) == expected


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize(
    ("function", "name", "shape", "axis", "keepdims"),
    pairwise(MEDIANS, [*NAMES, "bool"], SHAPES, AXES, [False, True]),
)
def test_medians_are_numpys(function, name, shape, axis, keepdims):
    for seed in range(3):
        x = array(name, shape, seed)
        check_equal(function, x, axis=axis, keepdims=keepdims)


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize(
    ("function", "name", "shape", "axis", "points", "method", "keepdims"),
    pairwise(QUANTILES, NAMES, SHAPES, AXES, list(POINTS), METHODS, [False, True]),
)
def test_quantiles_are_numpys(function, name, shape, axis, points, method, keepdims):
    q = POINTS[points]
    if "percentile" in function:
        q = [100 * each for each in q] if isinstance(q, list) else 100 * q
    for seed in range(2):
        x = array(name, shape, seed)
        check_equal(function, x, q, axis=axis, method=method, keepdims=keepdims)


@pytest.mark.parametrize("function", [*MEDIANS, *QUANTILES])
def test_kernels_read_rows_without_infinities(function, kernel_calls):  # noqa: F811
    x = np.random.default_rng(0).random((60, 20), np.float32)
    x[::3, 4] = np.nan
    q = () if "median" in function else ([0.25, 0.5],)
    check_equal(function, x, *q, axis=1)
    assert len(kernel_calls) == 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("axis", [0, (0, 2), -1])
def test_kernels_read_rows_of_which_the_first_has_only_nans(monkeypatch, dtype, axis):
    """Then NumPy rounds the quantiles of all rows to the dtype of the array."""
    x = np.random.default_rng(0).random((60, 20, 5)).astype(dtype)
    x[:, 0] = np.nan
    expected = with_warnings(np.nanquantile, x, [0.25, 0.5], axis=axis)
    monkeypatch.setattr(_statistics, "_nanquantile", None)
    assert with_warnings(facade.nanquantile, x, [0.25, 0.5], axis=axis) == expected


ROWS = np.array([[3.0, 1.0, 2.0, 9.0], [5.0, 8.0, 7.0, 6.0]])
UNUSUAL = {
    "empty": (np.empty((0, 3)), {"axis": 1}),
    "empty rows": (np.empty((3, 0)), {"axis": 1}),
    "0-d": (np.array(3.0), {}),
    "list": ([[3, 1], [2, 5]], {"axis": 1}),
    "complex": (ROWS + 1j, {"axis": 1}),
    "str": (np.array([["a", "b"]]), {"axis": 1}),
    "object": (ROWS.astype(object), {"axis": 1}),
    "datetime": (ROWS.astype("timedelta64[s]"), {"axis": 1}),
    "longdouble": (ROWS.astype(np.longdouble), {"axis": 1}),
    "masked": (np.ma.masked_array(ROWS, ROWS > 8), {"axis": 1}),
    "matrix": (ROWS.view(np.matrix), {"axis": 1}),
    "one element": (np.full((3, 1), -0.0), {"axis": 1}),
    "axis in a list": (ROWS, {"axis": [1]}),
    "axis out of range": (ROWS, {"axis": 2}),
    "axis twice": (ROWS, {"axis": (0, -2)}),
    "no axis": (ROWS, {"axis": ()}),
    "axis of a wrong type": (ROWS, {"axis": 0.5}),
    "keepdims of another type": (ROWS, {"axis": 1, "keepdims": 1}),
}


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize("case", UNUSUAL)
@pytest.mark.parametrize("function", [*MEDIANS, "quantile", "nanpercentile"])
def test_unusual_calls_are_numpys(function, case):
    x, options = UNUSUAL[case]
    q = () if "median" in function else (0.5,)
    expected = with_warnings(getattr(np, function), x, *q, **options)
    assert with_warnings(getattr(facade, function), x, *q, **options) == expected


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize(
    ("q", "options"),
    [
        (1.5, {}),
        (-0.1, {}),
        (np.nan, {}),
        ("a", {}),
        (None, {}),
        ([], {}),
        (True, {}),
        ([[0.1, 0.2], [0.3, 0.4]], {}),
        ([0.1, [0.2]], {}),
        (np.float32(0.3), {}),
        (np.array([0.3], np.float32), {}),
        (Fraction(1, 4), {}),
        (0.4, {"method": "hazen"}),
        (0.4, {"method": "inverted_cdf"}),
        (0.4, {"method": "linearly"}),
        (0.4, {"method": None}),
        (0.4, {"weights": [1.0, 2, 3, 4]}),
        (0.4, {"weights": [1.0, 2, 3, 4], "method": "inverted_cdf"}),
    ],
)
@pytest.mark.parametrize("function", QUANTILES)
def test_unusual_quantiles_are_numpys(function, q, options):
    expected = with_warnings(getattr(np, function), ROWS, q, axis=1, **options)
    assert with_warnings(getattr(facade, function), ROWS, q, axis=1, **options) == expected


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize("function", QUANTILES)
def test_quantile_of_bools_is_numpys(function):
    x = ROWS > 4
    for method in METHODS:
        check_equal(function, x, 0.5, axis=1, method=method)


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize(
    ("function", "keepdims"), list(itertools.product([*MEDIANS, *QUANTILES], [0, 1]))
)
def test_out_receives_result(function, keepdims):
    x = ROWS.astype(np.float32)
    q = () if "median" in function else (0.3,)
    options = {"axis": 1, "keepdims": bool(keepdims)}
    expected = getattr(np, function)(x, *q, **options)
    for dtype in ("float32", "float64"):
        out, theirs = np.empty((2, *expected.shape), dtype)
        result = getattr(facade, function)(x, *q, out=out, **options)
        assert result is out
        np.testing.assert_array_equal(out, getattr(np, function)(x, *q, out=theirs, **options))
    for bad in (np.empty((3, 3), "float32"), np.broadcast_to(np.float32(0), expected.shape), [1]):
        raised = outcome(getattr(np, function), x, *q, out=bad, **options)
        assert issubclass(raised[0], Exception)
        assert outcome(getattr(facade, function), x, *q, out=bad, **options) == raised


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize("function", ["nanmedian", "nanquantile", "nanpercentile"])
def test_warning_of_nans_names_line_of_caller(function):
    q = () if "median" in function else ([0.3, 0.5],)
    x = np.full((4, 4), np.nan)
    x[0, 1] = 1
    with pytest.warns(RuntimeWarning, match="All-NaN slice encountered") as log:
        getattr(facade, function)(x, *q, axis=1)
    assert [each.filename for each in log] == [__file__] * 3


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize("length", [3, 4, 700])
@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
@pytest.mark.parametrize("function", [*MEDIANS, "quantile", "nanquantile"])
def test_overflow_is_numpys(function, name, length):
    highest = np.finfo(name).max
    x = np.full((3, length), highest, name)
    x[1] *= np.where(np.arange(length) < length // 2, 1, -1)
    x[2, 0] = np.nan
    q = () if "median" in function else (0.3,)
    check_equal(function, x, *q, axis=1)


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "uint8", "uint64"])
def test_differences_of_integers_wrap_around_as_numpys(name):
    info = np.iinfo(name)
    x = np.array([[info.min, info.max], [info.max, info.max - 3]], name)
    for q in (0.3, [0.3, 0.9]):
        check_equal("quantile", x, q, axis=1)
        check_equal("nanquantile", x, q, axis=1)


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
@pytest.mark.parametrize("row", [0, 1])
def test_row_of_nans_decides_dtype_as_numpys(name, row):
    x = np.random.default_rng(0).random((3, 8)).astype(name)
    x[row] = np.nan
    for q in (0.3, [0.3], np.float64(0.3)):
        check_equal("nanquantile", x, q, axis=1)


def test_median_of_zeros_is_positive():
    x = np.full((300, 3), -0.0, np.float32)
    assert not np.signbit(facade.median(x, axis=1)).any()


@pytest.mark.parametrize(
    ("shape", "function", "is_answered"),
    [
        ((128, 8), "median", True),
        ((127, 8), "median", False),
        ((2, 3), "quantile", True),
        ((2, 3), "nanmedian", True),
        ((1, 1000), "quantile", False),
        ((1000,), "nanmedian", False),
        ((2, 16385), "median", False),
    ],
)
def test_kernels_answer_where_they_are_fast(shape, function, is_answered, kernel_calls):  # noqa: F811
    q = () if "median" in function else (0.3,)
    getattr(facade, function)(np.ones(shape), *q, axis=-1)
    assert bool(kernel_calls) == is_answered


def test_blocks_of_large_array_are_joined():
    x = np.random.default_rng(0).random((120_000, 25), np.float32)
    np.testing.assert_array_equal(
        facade.quantile(x, [0.1, 0.5], axis=1), np.quantile(x, [0.1, 0.5], axis=1), strict=True
    )
    np.testing.assert_array_equal(facade.median(x, axis=1), np.median(x, axis=1), strict=True)
