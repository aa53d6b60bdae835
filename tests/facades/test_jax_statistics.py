"""Medians and quantiles of warp_bitonic_sort.jax: JAX's own, with its derivatives."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from support import oracle
from support.covering import pairwise
from warp_bitonic_sort import jax as wbs

RNG = np.random.default_rng(3)
MEDIANS = ["median", "nanmedian"]
QUANTILES = ["quantile", "nanquantile", "percentile", "nanpercentile"]
DTYPES = ["uint32", "bfloat16", "float32"]
METHODS = ["linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf"]


def check_equal(result, expected):
    assert result.dtype == expected.dtype
    assert result.weak_type == expected.weak_type
    # Bit for bit, but for the sign of a zero.
    np.testing.assert_array_equal(
        oracle.bits(np.asarray(result + 0)), oracle.bits(np.asarray(expected + 0)), strict=True
    )


def rows(name, shape):
    x = RNG.integers(0, 5, shape).astype(oracle.ALL[name])
    if name in oracle.FLOATS:
        special = np.array([np.nan, -0.0, 0.0, np.inf], x.dtype)
        x = np.where(RNG.random(shape) < 0.3, RNG.choice(special, shape), x)
    return jnp.asarray(x)


@pytest.mark.parametrize(
    ("name", "dtype", "axis", "keepdims"),
    pairwise(MEDIANS, DTYPES, [None, 0, (0, 2)], [False, True]),
)
def test_median_equals_that_of_jax(name, dtype, axis, keepdims):
    a = rows(dtype, (4, 3, 9))
    own, theirs = getattr(wbs, name), getattr(jnp, name)
    check_equal(own(a, axis, keepdims=keepdims), theirs(a, axis, keepdims=keepdims))


@pytest.mark.parametrize(
    ("name", "method", "dtype", "q"),
    pairwise(
        QUANTILES,
        METHODS,
        ["int8", "bfloat16", "float32"],
        [0.3, (0.0, 0.5, 1.0)],
        # JAX itself multiplies float32 by bfloat16 there, and raises.
        allowed=lambda _name, method, dtype, _q: (method, dtype) != ("inverted_cdf", "bfloat16"),
    ),
)
def test_quantile_equals_that_of_jax(name, method, dtype, q):
    a, q = rows(dtype, (4, 9)), jnp.asarray(q) * (100 if "percentile" in name else 1)
    own, theirs = getattr(wbs, name), getattr(jnp, name)
    expected = theirs(a, q, axis=-1, method=method)
    check_equal(own(a, q, axis=-1, method=method), expected)


@pytest.mark.parametrize("name", ["quantile", "nanpercentile"])
def test_weighted_quantile_equals_that_of_jax(name):
    a, weights = rows("float32", (4, 9)), jnp.asarray(RNG.random((4, 9)), jnp.float32)
    options = {"axis": -1, "method": "inverted_cdf", "weights": weights}
    check_equal(getattr(wbs, name)(a, 0.4, **options), getattr(jnp, name)(a, 0.4, **options))


@pytest.mark.parametrize("name", ["median", "nanquantile"])
def test_derivatives_equal_those_of_jax(name):
    q = () if name == "median" else (jnp.array([0.2, 0.7]),)
    a = jnp.asarray(RNG.permutation(24).reshape(4, 6), jnp.float32)

    def loss(module):
        function = getattr(module, name)
        return lambda a: (function(jnp.sin(a), *q, axis=-1) ** 3).sum()

    check_equal(jax.jit(jax.grad(loss(wbs)))(a), jax.jit(jax.grad(loss(jnp)))(a))
    check_equal(jax.jit(jax.hessian(loss(wbs)))(a[0]), jax.jit(jax.hessian(loss(jnp)))(a[0]))
    if q:
        check_equal(
            jax.grad(lambda q: wbs.nanquantile(a, q))(0.3),
            jax.grad(lambda q: jnp.nanquantile(a, q))(0.3),
        )


@pytest.mark.parametrize("name", [*MEDIANS, *QUANTILES])
def test_signature_is_that_of_jax(name):
    assert inspect.signature(getattr(wbs, name)) == inspect.signature(getattr(jnp, name))


X = jnp.zeros((3, 9))
BAD = {
    "list": (([1.0, 2.0], 0.5), {}),
    "axis": ((X, 0.5), {"axis": 2}),
    "method": ((X, 0.5), {"method": "best"}),
    "rank of q": ((X, jnp.zeros((2, 2))), {}),
    "out": ((X, 0.5), {"out": X}),
    "overwrite_input": ((X, 0.5), {"overwrite_input": True}),
    "complex": ((X.astype("complex64"), 0.5), {}),
    "too many": ((X, 0.5, 0, None, False, "linear", False, 3), {}),
}


@pytest.mark.parametrize(("arguments", "options"), BAD.values(), ids=BAD)
def test_wrong_argument_raises_the_error_of_jax(arguments, options):
    with pytest.raises(Exception) as expected:  # noqa: PT011
        jnp.quantile(*arguments, **options)
    with pytest.raises(expected.type) as raised:
        wbs.quantile(*arguments, **options)
    assert str(raised.value) == str(expected.value)


def test_trace_has_no_sort_of_xla():
    text = jax.jit(lambda a: wbs.median(a, axis=-1)).lower(X).as_text()
    assert "stablehlo.sort" not in text
    assert "custom_call @warp_bitonic_sort." in text
