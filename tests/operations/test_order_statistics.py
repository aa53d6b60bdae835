"""`median` and `quantile` in CPU memory beside those of NumPy, and where they differ from these."""

import sys
import tracemalloc
import warnings

import jax
import ml_dtypes
import numpy as np
import pytest
import torch
import tvm_ffi
from hypothesis import given, settings
from hypothesis import strategies as st

from support import oracle, strided
from support.covering import pairwise
from support.libraries import LIBRARIES
from support.numpy_quantiles import (
    METHODS,
    MODES,
    NAMES,
    check,
    expected_median,
    expected_quantile,
    few,
)
from warp_bitonic_sort import arrays, explain, median, quantile, quantiles
from warp_bitonic_sort.arrays import Description, Device
from warp_bitonic_sort.operations import order_statistics

AXES = [0, 1, -1, (0, 1), (2, 0), (1, 2), None, ()]
LONG = 17000  # sorted by the fallback


def halves(x, dtype):
    """Return rows of 32 elements: two elements, each 16 times."""
    return np.repeat(np.array(x, dtype), 16, axis=-1)


@pytest.mark.parametrize("name", NAMES)
def test_results_of_random_rows_equal_numpy(name, monkeypatch):
    """The oracle sorts: kernels of every length would take long to compile."""
    monkeypatch.setattr(
        order_statistics, "call", lambda _, x, options, **_part: oracle.expected(x, options[0])
    )
    rng = np.random.default_rng(NAMES.index(name))
    for number in range(150):
        rank = rng.integers(1, 4)
        x = few(name, tuple(rng.integers(1, 12, rank)), rng)
        axis = AXES[number % len(AXES)]
        if rank < 3 and axis is not None and axis != ():
            axis = int(rng.integers(-rank, rank))
        options = {"axis": axis, "keepdims": bool(rng.integers(2))}
        nan, method = MODES[number // 5 % 2], METHODS[number % 5]
        check(x, median(x, nan=nan, **options), expected_median(x, nan=nan, **options))
        q = [rng.random(), 0.0, 1.0, 0.25, 0, 1, [0.5, rng.random()], [0.1]][rng.integers(8)]
        options["method"] = method
        check(x, quantile(x, q, nan=nan, **options), expected_quantile(x, q, nan=nan, **options))


@pytest.mark.parametrize(
    ("library", "name", "nan", "axis", "length", "method"),
    pairwise(
        list(LIBRARIES),
        ["float32", "float64", "bfloat16", "float16", "int64", "bool"],
        MODES,
        [0, -1, (0, 1), None],
        [0, 1, 9, 32],
        [*METHODS, "median"],
    ),
)
def test_results_of_every_library_equal_those_of_numpy(library, name, nan, axis, length, method):
    convert, convert_back, _ = LIBRARIES[library]
    x = few(name, (7, length) if axis == -1 else (length, 7), np.random.default_rng(1))
    options = {"axis": axis, "nan": nan}
    if method == "median":
        want, result = median(x, **options), median(convert(x), **options)
    else:
        options["method"] = method
        want = quantile(x, [0.3, 1.0], **options)
        result = quantile(convert(x), [0.3, 1.0], **options)
    assert type(result) is type(convert(x))
    if library == "jax" and name in oracle.INTEGERS:  # JAX's default float
        assert result.dtype == np.float32
        want = want.astype(np.float32)
    elif library in ("torch", "tvm_ffi"):
        result = convert_back(result).view(want.dtype)
    np.testing.assert_array_equal(oracle.is_nan(np.asarray(result)), oracle.is_nan(want))
    np.testing.assert_array_equal(
        *(np.nan_to_num(np.asarray(a, np.float64)) for a in (result, want))
    )


def test_result_of_integers_of_jax_with_x64_is_float64():
    with jax.enable_x64(True):
        result = median(jax.numpy.arange(64).reshape(2, 32))
    assert result.dtype == np.float64
    assert result.tolist() == [15.5, 47.5]


@pytest.mark.parametrize("nan", MODES)
@pytest.mark.parametrize("length", [100, LONG])
def test_results_of_longer_rows_equal_numpy(length, nan):
    rng = np.random.default_rng(2)
    x = rng.random((3, length), np.float32)
    x[1, rng.random(length) < 0.3] = np.nan
    check(x, median(x, nan=nan), expected_median(x, -1, nan))
    for method in METHODS:
        check(
            x,
            quantile(x, 0.37, nan=nan, method=method),
            expected_quantile(x, 0.37, -1, nan, method=method),
        )


@pytest.mark.parametrize("method", [*METHODS, "median"])
def test_results_without_looking_at_values_equal_the_others(method, monkeypatch):
    """The way of devices, where looking at values would wait."""
    from warp_bitonic_sort.arrays import _numpy

    x = few("float32", (40, 9), np.random.default_rng(3))
    x[:2] = [[np.nan], [1]]

    def read():
        if method == "median":
            return median(x, nan="omit")
        return quantile(x, [0.0, 0.3, 0.5, 1.0], method=method, nan="omit")

    want = read()
    functions = _numpy._READER_FUNCTIONS._replace(may_look=False)
    monkeypatch.setattr(_numpy, "_READER_FUNCTIONS", functions)
    np.testing.assert_array_equal(read(), want)


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 2), None])
@pytest.mark.parametrize("convert", [np.asarray, np.asfortranarray, torch.from_numpy])
def test_results_of_blocks_equal_those_of_the_whole(axis, convert, monkeypatch):
    x = convert(few("float32", (9, 3, 32), np.random.default_rng(5)))

    def reduced():
        for nan in MODES:
            yield median(x, axis=axis, nan=nan, keepdims=True)
            yield quantile(x, [[0.1, 0.5], [0.7, 1.0]], axis=axis, nan=nan)

    want = list(reduced())
    monkeypatch.setattr(quantiles, "_BLOCK_BYTES", 512)
    for result, whole in zip(reduced(), want, strict=True):
        assert type(result) is type(whole)
        np.testing.assert_array_equal(result, whole)


@pytest.mark.parametrize("name", ["float32", "int8", "float64", ">f4"])
@pytest.mark.parametrize("block", [1 << 11, 1 << 22])
@pytest.mark.parametrize("make_strided", [lambda x: x, lambda x: x[::-1], lambda x: x[:, ::2]])
def test_rows_whose_elements_lie_far_apart_are_sorted_in_copies(
    name, block, make_strided, monkeypatch
):
    for limit, value in (("_FEWEST_PAGES", 9), ("_PAGE_BYTES", 64), ("_BLOCK_BYTES", block)):
        monkeypatch.setattr(quantiles, limit, value)
    native = "float32" if name == ">f4" else name
    plain = make_strided(few(native, (25, 8, 40), np.random.default_rng(7)))
    x = make_strided(few(native, (25, 8, 40), np.random.default_rng(7)).astype(name))
    before = x.tobytes()
    for nan in MODES:
        check(plain, median(x, axis=0, nan=nan), expected_median(plain, 0, nan))
        result = quantile(x, [0.3, 0.9], axis=0, nan=nan, method="nearest")
        check(plain, result, expected_quantile(plain, [0.3, 0.9], 0, nan, method="nearest"))
    assert x.tobytes() == before


def test_median_of_a_large_array_needs_memory_for_one_block(monkeypatch):
    monkeypatch.setattr(quantiles, "_BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr(quantiles, "get_num_threads", lambda: 1)
    x = np.random.default_rng(6).random((9, 1 << 17), np.float32)
    median(x, axis=0)
    tracemalloc.start()
    median(x, axis=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.nbytes / 2


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("nan", MODES)
def test_results_of_the_highest_numbers_are_finite(name, nan):
    dtype = np.dtype(oracle.ALL[name])
    highest = ml_dtypes.finfo(dtype).max
    x = halves([[highest, highest], [-highest, highest], [-highest, -highest]], dtype)
    want = np.array([highest, 0, -highest], dtype)
    np.testing.assert_array_equal(median(x, nan=nan), want)
    np.testing.assert_array_equal(quantile(x, 0.5, nan=nan), want)
    np.testing.assert_array_equal(quantile(x, [0.0, 1.0], nan=nan), [x[:, 0], x[:, -1]])


def test_median_of_the_smallest_numbers_is_exact():
    assert median(halves([5e-324, 5e-324], np.float64)) == 5e-324
    assert median(halves([5e-324, 1.5e-323], np.float64)) == 1e-323


@pytest.mark.parametrize("name", ["int8", "uint64", "int64"])
def test_quantile_of_the_extreme_integers_does_not_overflow(name):
    limits = np.iinfo(name)
    x = halves([limits.min, limits.max], name)
    middle = (float(limits.min) + float(limits.max)) / 2
    assert median(x) == quantile(x, 0.5) == quantile(x, 0.5, method="midpoint") == middle


@pytest.mark.parametrize("nan", MODES)
@pytest.mark.parametrize("name", ["float32", "int16"])
def test_result_of_no_elements_is_nan_without_a_warning(name, nan):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = median(np.empty((2, 0), name), nan=nan)
        assert quantile(np.empty((0, 2), name), [0.1, 0.2], axis=0, nan=nan).shape == (2, 2)
    np.testing.assert_array_equal(result, [np.nan, np.nan])
    assert median(np.empty((0, 3), name), nan=nan).shape == (0,)
    assert quantile(np.ones((2, 3), name), [], nan=nan).shape == (0, 2)


@pytest.mark.parametrize("nan", MODES)
def test_result_of_rows_of_nan_is_nan_without_a_warning(nan):
    x = np.array([[np.nan] * 3, [1, 2, np.nan]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = [1.5, 1.0] if nan == "omit" else [np.nan, np.nan]
        np.testing.assert_array_equal(median(x, nan=nan), [np.nan, first[0]])
        np.testing.assert_array_equal(quantile(x, 0.0, nan=nan), [np.nan, first[1]])


@pytest.mark.parametrize(
    "q", [0.3, np.float64(0.3), np.array(0.3), [0.3], (0.3, 0.7), np.array([[0.1], [0.2]]), []]
)
@pytest.mark.parametrize("keepdims", [False, True])
def test_shape_of_quantiles_begins_with_that_of_q(q, keepdims):
    x = np.ones((8, 3, 4), np.float32)
    kept = {1: [(8, 4), (8, 1, 4)], (0, 2): [(3,), (1, 3, 1)], None: [(), (1, 1, 1)]}
    for axis, shapes in kept.items():
        result = quantile(x, q, axis=axis, keepdims=keepdims)
        assert result.shape == np.shape(q) + shapes[keepdims]


def test_result_of_an_array_without_axes_is_its_element():
    for axis in (-1, 0, None, ()):
        assert median(np.array(3.0), axis=axis) == quantile(np.array(3.0), 0.7, axis=axis) == 3
        assert median(np.array(3, np.int8), axis=axis, keepdims=True).shape == ()


def test_result_shares_no_memory_with_sorted_rows():
    for result in (median(np.ones((5, 9))), quantile(np.ones((5, 9), int), 0.5, method="lower")):
        while result.base is not None:
            result = result.base
        assert result.size == 5


def test_input_is_not_written_by_median():
    x = np.random.default_rng(4).random((9, 3, 32))
    x.flags.writeable = False
    before = x.copy()
    for axis in (0, 2, (0, 2), None):
        median(x, dim=axis)
    np.testing.assert_array_equal(x, before)


@pytest.mark.stress
@given(st.data(), st.sampled_from(NAMES), st.sampled_from(MODES), st.integers(0, 2**32))
@settings(max_examples=50)
def test_median_of_any_strides_equals_numpy(data, name, nan, seed):
    x = strided.array(data.draw, np.random.default_rng(seed), name)
    axis = data.draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    check(x, median(x, axis=axis, nan=nan), np.asarray(expected_median(x, axis, nan)))


def test_median_of_foreign_byte_order_is_native():
    result = median(np.array([[3, 1, 2.5]], ">f4"))
    assert result.dtype == np.float32
    assert result.tolist() == [2.5]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"axis": 2}, ValueError, "axis: expected -2 to 1"),
        ({"axis": (0, 3)}, ValueError, "axis: expected -2 to 1"),
        ({"axis": (0, -2)}, ValueError, "axis: expected distinct axes"),
        ({"axis": 0.5}, TypeError, "axis: expected an integer"),
        ({"axis": 1, "dim": 0}, TypeError, "dim: it is another name for axis"),
        ({"nan": "last"}, ValueError, 'nan: expected "propagate" or "omit"'),
        ({"keepdims": 1}, TypeError, "keepdims: expected True or False"),
        ({"method": "hazen"}, ValueError, 'method: expected "linear"'),
        ({"q": 1.5}, ValueError, "q: expected numbers from 0 to 1, got 1.5"),
        ({"q": [0.5, float("nan")]}, ValueError, "q: expected numbers from 0 to 1, got nan"),
        ({"q": True}, TypeError, "q: expected a number from 0 to 1"),
        ({"q": torch.tensor(0.5)}, TypeError, r"q: expected.*torch.Tensor; pass q.tolist\(\)"),
        ({"q": [[0.1], [0.2, 0.3]]}, ValueError, "q: expected sequences of one length"),
    ],
)
def test_quantile_names_the_wrong_argument(options, kind, message):
    q = options.pop("q", 0.5)
    with pytest.raises(kind, match=message):
        quantile(np.ones((3, 4), np.float32), q, **options)


def test_statistics_without_names_raise():
    with pytest.raises(TypeError, match=r"axis is given by name: median\(x, axis=1\)"):
        median(np.ones((2, 2)), 1)
    with pytest.raises(TypeError, match=r"axis is given by name: quantile\(x, q, axis=1\)"):
        quantile(np.ones((2, 2)), 0.5, 1)


@pytest.mark.parametrize("call", [median, lambda x: explain(x, operation="median")])
def test_median_of_float8_raises(call):
    x = np.ones((2, 3), ml_dtypes.float8_e5m2)
    with pytest.raises(TypeError, match="float8_e5m2; convert x to float16 or float32"):
        call(x)


def test_median_of_a_tensor_that_requires_a_gradient_raises():
    with pytest.raises(TypeError, match="x: it requires a gradient"):
        median(torch.ones(2, 3, requires_grad=True))


def test_explain_of_median_checks_its_nan_modes():
    said = explain((7, 9), operation="median", nan="omit")
    assert "then the array's library reads the middle of each sorted row" in said.reason
    with pytest.raises(ValueError, match='nan: expected "propagate" or "omit"'):
        explain((7, 9), operation="median", nan="last")


@pytest.fixture
def explain_on_gpu(monkeypatch):
    """Explains a median of a row-major array on a GPU, which is only described."""

    def explained(shape, dtype, nan):
        x = Description(
            "torch", dtype, shape, arrays.dense_strides(shape), Device("cuda", 0, "sm_90"),
            frozenset({"sort", "transpose"}),
        )  # fmt: skip
        module = sys.modules["warp_bitonic_sort.explain"]
        monkeypatch.setattr(module, "_described_shape", lambda *_: x)
        return explain(shape, operation="median", nan=nan)

    return explained


@pytest.mark.parametrize(("nan", "selection"), [("propagate", "median"), ("omit", "nanmedian")])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_explain_of_median_of_floats_on_a_gpu_ends_with_the_kernel(
    explain_on_gpu, dtype, nan, selection
):
    for length in (9, 32, 100, 5000):
        said = explain_on_gpu((1000, length), dtype, nan)
        assert said.kernel.startswith(f"cuda_{selection}_none_ieee")
        assert said.kernel.endswith("_rows_sm_90")
        assert said.reason.startswith("rows of up to")
        assert "only their middle is stored" in said.reason
        assert "library" not in said.reason
    said = explain_on_gpu((1000, LONG), dtype, nan)
    assert said.route == "fallback"
    assert said.reason.endswith("; then the array's library reads the middle of each sorted row")


@pytest.mark.parametrize("nan", MODES)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "int64"])
def test_explain_of_median_of_integers_on_a_gpu_names_the_mean(explain_on_gpu, dtype, nan):
    for length in (9, 32, 100, 5000):
        said = explain_on_gpu((1000, length), dtype, nan)
        assert said.kernel.startswith("cuda_median_none_integer")
        assert said.reason.endswith(
            "only their middle is stored; then the array's library computes the mean of these "
            "elements"
        )


def test_median_of_a_tensor_needs_no_numpy(monkeypatch):
    x = torch.rand(3, 9)
    median(tvm_ffi.from_dlpack(x))
    monkeypatch.setitem(sys.modules, "warp_bitonic_sort.arrays._numpy", None)
    assert torch.equal(median(x, nan="omit"), x.median(-1).values)
    assert torch.equal(quantile(x, [0, 1], axis=(1,)), torch.stack([x.amin(1), x.amax(1)]))
    with pytest.raises(RuntimeError, match="NumPy is not installed.*median, quantile"):
        median(tvm_ffi.from_dlpack(x))
