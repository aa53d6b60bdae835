"""`sort`, `argsort` and `top_k` of warp_bitonic_sort.jax: results, bit for bit, and errors."""

import inspect
import os
import subprocess
import sys
import textwrap
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from support import oracle
from support.covering import pairwise
from warp_bitonic_sort import jax as wbs
from warp_bitonic_sort.jax._primitive import _fallback, parameters

# Rows, columns, rows that lie apart; registers, and a tile in memory.
LAYOUTS = [((9, 5), -1), ((5, 9), 0), ((2, 5, 3), 1), ((3, 100), 1)]
RNG = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def wide_dtypes():
    with jax.enable_x64(True):
        yield


def check_bits(result, expected):
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    np.testing.assert_array_equal(oracle.bits(np.asarray(result)), oracle.bits(expected))


def stable_sorted(x, axis, descending):
    """The stable ascending sort; backwards if descending, as jax.numpy.sort."""
    result = np.take_along_axis(x, oracle.expected_indices(x, axis), axis)
    return np.flip(result, axis) if descending else result


@pytest.mark.parametrize(
    ("name", "layout", "descending"), pairwise([*oracle.ALL], LAYOUTS, [False, True])
)
def test_sort_and_argsort_of_every_dtype_equal_the_oracle(name, layout, descending):
    shape, axis = layout
    x = oracle.random(name, shape, RNG)
    a = jnp.asarray(x)
    check_bits(wbs.sort(a, axis, descending=descending), stable_sorted(x, axis, descending))
    unstable = wbs.sort(a, axis, stable=False, descending=descending)
    oracle.check(x, np.asarray(unstable), axis, descending)
    expected = oracle.expected_indices(x, axis, descending)
    check_bits(wbs.argsort(a, axis, descending=descending), expected)
    # One of the two orders of equal elements; jax.numpy leaves it open.
    check_bits(wbs.argsort(a, axis, stable=False, descending=descending), expected)


@pytest.mark.parametrize(("name", "layout", "k"), pairwise([*oracle.ALL], LAYOUTS, [0, 5]))
def test_top_k_of_every_dtype_equals_the_oracle(name, layout, k):
    shape, axis = layout
    x = oracle.random(name, shape, RNG)
    values, indices = wbs.top_k(jnp.asarray(x), k, axis=axis)
    assert indices.dtype == np.int32
    order = oracle.expected_indices(x, axis, descending=True)
    order = order[(slice(None),) * (axis % x.ndim) + (slice(k),)]
    np.testing.assert_array_equal(indices, order)
    check_bits(values, np.take_along_axis(x, order, axis))


@pytest.mark.parametrize("axis", [0, 1])
def test_top_k_of_many_elements_is_the_beginning_of_a_sort(axis):
    x = oracle.random("float32", (100, 100), RNG)
    values, indices = wbs.top_k(jnp.asarray(x), 60, axis=axis)
    order = oracle.expected_indices(x, axis, descending=True)
    order = order[(slice(None),) * axis + (slice(60),)]
    np.testing.assert_array_equal(indices, order)
    check_bits(values, np.take_along_axis(x, order, axis))


@pytest.mark.parametrize(
    ("name", "k", "axis"),
    pairwise(["bool", "uint16", "float32", "float8_e5m2fnuz"], [None, 3], [0, 1]),
)
def test_sort_of_codes_by_jax_equals_the_oracle(name, k, axis):
    """It sorts long rows, and all rows on platforms without kernels."""
    x = oracle.random(name, (6, 7), RNG)
    options = parameters(axis, descending=True, k=k, roles=("keys", "index"))
    values, indices = jax.jit(partial(_fallback, **options))(x)
    order = oracle.expected_indices(x, axis, descending=True)
    order = order[(slice(None),) * axis + (slice(k),)]
    np.testing.assert_array_equal(indices, order)
    check_bits(values, np.take_along_axis(x, order, axis))


@pytest.mark.parametrize("name", ["bool", "uint8", "int64", "float16", "bfloat16", "float32"])
@pytest.mark.parametrize("descending", [False, True])
def test_results_equal_those_of_jax_bit_for_bit(name, descending):
    # XLA takes subnormals for zeros where it compares floats.
    x = oracle.random(name, (4, 30), RNG)
    if name in oracle.FLOATS:
        values = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, -np.nan, 2.5], x.dtype)
        x = RNG.choice(values, x.shape)
    a = jnp.asarray(x)
    check_bits(wbs.sort(a, descending=descending), np.asarray(jnp.sort(a, descending=descending)))
    check_bits(
        wbs.argsort(a, descending=descending), np.asarray(jnp.argsort(a, descending=descending))
    )


def test_top_k_of_numbers_equals_that_of_jax():
    a = jnp.asarray(RNG.integers(-9, 9, (7, 40)).astype(np.float32))
    for result, expected in zip(wbs.top_k(a, 6), lax.top_k(a, 6), strict=True):
        check_bits(result, np.asarray(expected))


@pytest.mark.parametrize("name", ["int32", "float32", "float8_e4m3fnuz"])
@pytest.mark.parametrize("descending", [False, True])
def test_rows_longer_than_kernels_are_sorted_the_same_way(name, descending):
    x = oracle.random(name, (2, 16500), RNG)
    a = jnp.asarray(x)
    check_bits(wbs.sort(a, descending=descending), stable_sorted(x, -1, descending))
    oracle.check(x, np.asarray(wbs.sort(a, stable=False, descending=descending)), -1, descending)
    check_bits(wbs.argsort(a, descending=descending), oracle.expected_indices(x, -1, descending))
    values, indices = wbs.top_k(a, 1000)
    order = oracle.expected_indices(x, -1, descending=True)[:, :1000]
    np.testing.assert_array_equal(indices, order)
    check_bits(values, np.take_along_axis(x, order, -1))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3, 0, 4), (0,), (4, 1), (1,)])
@pytest.mark.parametrize("axis", [0, -1, None])
def test_rows_without_work_keep_their_shape_and_dtype(shape, axis):
    x = RNG.random(shape).astype(np.float32)
    a = jnp.asarray(x)
    check_bits(wbs.sort(a, axis), np.sort(x, axis))
    check_bits(wbs.argsort(a, axis), np.argsort(x, axis, kind="stable"))


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("dtype", [None, "int16", "uint32", "int64", "float32"])
def test_argsort_has_the_dtype_of_jax(x64, dtype):
    options = {} if dtype is None else {"dtype": dtype}
    with jax.enable_x64(x64):
        a = jnp.asarray(RNG.random((3, 9)), jnp.float32)
        check_bits(wbs.argsort(a, **options), np.asarray(jnp.argsort(a, **options)))


def test_axis_none_sorts_all_elements_as_one_row():
    x = oracle.random("float32", (4, 5), RNG)
    check_bits(wbs.sort(jnp.asarray(x), None), stable_sorted(x.ravel(), 0, False))
    check_bits(wbs.argsort(jnp.asarray(x), axis=None), oracle.expected_indices(x.ravel()))


def test_arrays_of_numpy_and_of_other_dtypes_are_sorted_as_by_jax():
    x = RNG.random((3, 9))
    assert isinstance(wbs.sort(x), jax.Array)
    check_bits(wbs.sort(x), np.sort(x))
    for dtype in ("complex64", "int4", "float8_e4m3b11fnuz"):
        a = jnp.asarray(RNG.integers(0, 7, (3, 9)).astype(np.float32)).astype(dtype)
        assert (wbs.sort(a) == jnp.sort(a)).all()
        assert (wbs.argsort(a) == jnp.argsort(a)).all()


@pytest.mark.parametrize(
    ("own", "function"), [(wbs.sort, jnp.sort), (wbs.argsort, jnp.argsort), (wbs.top_k, lax.top_k)]
)
def test_signature_is_that_of_jax(own, function):
    assert inspect.signature(own) == inspect.signature(function)


X = jnp.zeros((3, 9))
BAD_SORTS = {
    "list": ([3, 1, 2],),
    "0-d": (jnp.float32(3),),
    "axis": (X, 2),
    "no axis": (X, 1.5),
    "string": ("text",),
    "random key": (jax.random.key(0),),
}


@pytest.mark.parametrize("name", ["sort", "argsort"])
@pytest.mark.parametrize("arguments", BAD_SORTS.values(), ids=BAD_SORTS)
def test_wrong_argument_raises_the_error_of_jax(name, arguments):
    with pytest.raises(Exception) as expected:  # noqa: PT011
        getattr(jnp, name)(*arguments)
    with pytest.raises(expected.type) as raised:
        getattr(wbs, name)(*arguments)
    # Tracebacks name the traced function, and where it is.
    assert (
        str(raised.value).split(" at 0x")[0].replace("_" + name, name)
        == (str(expected.value).split(" at 0x")[0])
    )


@pytest.mark.parametrize("name", ["sort", "argsort"])
@pytest.mark.parametrize("options", [{"kind": "stable"}, {"order": "a"}, {"unknown": 1}])
def test_option_that_jax_lacks_raises_its_error(name, options):
    with pytest.raises(TypeError) as expected:
        getattr(jnp, name)(X, **options)
    with pytest.raises(TypeError) as raised:
        getattr(wbs, name)(X, **options)
    assert str(raised.value) == str(expected.value)


BAD_TOP_KS = {
    "too large": (X, 10, {}),
    "negative": (X, -1, {}),
    "no integer": (X, 2.5, {}),
    "axis": (X, 1, {"axis": 2}),
    "0-d": (jnp.float32(1), 1, {}),
    "list": ([3, 1, 2], 1, {}),
    "complex": (X.astype("complex64"), 1, {}),
    "option": (X, 1, {"unknown": 1}),
    "too long": (jax.ShapeDtypeStruct((2**31 + 1,), "bfloat16"), 1, {}),
}


def called(function, x, k, options):
    """Call a function, or have JAX only trace it for an array that is too large."""
    if isinstance(x, jax.ShapeDtypeStruct):
        return jax.eval_shape(lambda x: function(x, k, **options), x)
    return function(x, k, **options)


@pytest.mark.parametrize(("x", "k", "options"), BAD_TOP_KS.values(), ids=BAD_TOP_KS)
def test_wrong_argument_of_top_k_raises_the_error_of_jax(x, k, options):
    with pytest.raises(Exception) as expected:  # noqa: PT011
        called(lax.top_k, x, k, options)
    with pytest.raises(expected.type) as raised:
        called(wbs.top_k, x, k, options)
    assert str(raised.value) == str(expected.value)


def import_without(statement):
    """Import the package in a process of its own, after a statement; return what it printed."""
    code = f"""
        import sys
        {statement}
        try:
            import warp_bitonic_sort.jax
        except ImportError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ
    ).stdout


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("sys.modules['jax'] = None", "needs JAX;"),
        ("sys.modules['jax_tvm_ffi'] = None", "needs jax-tvm-ffi"),
        ("import jax; jax.__version__ = '0.9.0.1'", "needs JAX 0.9.1 or newer, got 0.9.0.1;"),
    ],
)
def test_import_without_what_it_needs_says_how_to_install_it(statement, says):
    printed = import_without(statement)
    assert says in printed
    assert "pip install 'warp-bitonic-sort[jax]'" in printed
