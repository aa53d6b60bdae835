"""`ranks` and `sort_pairs` beside SciPy's ordinal ranks and JAX's sort of key-value pairs."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from warp_bitonic_sort import ranks, sort_pairs


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
@hypothesis.given(st.integers(0, 2**32), st.sampled_from([0, 1, -1]))
@hypothesis.settings(max_examples=30)
def test_ranks_equal_ordinal_ranks_of_scipy(dtype, seed, axis):
    x = np.random.default_rng(seed).integers(0, 5, (13, 9)).astype(dtype)
    expected = scipy.stats.rankdata(x, "ordinal", axis=axis) - 1
    np.testing.assert_array_equal(ranks(x, axis=axis), expected)


@pytest.mark.parametrize("values", ["int8", "float32", "uint64"])
@hypothesis.given(st.integers(0, 2**32), st.sampled_from([0, 1, -1]))
@hypothesis.settings(max_examples=10)
def test_sort_pairs_equal_sort_of_pairs_of_jax(values, seed, axis):
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        keys = jnp.asarray(rng.integers(0, 5, (13, 9)).astype(np.float32))
        carried = jnp.asarray(rng.integers(0, 100, (13, 9)).astype(values))
        expected = jax.lax.sort((keys, carried), dimension=axis % 2, is_stable=True, num_keys=1)
    result = sort_pairs(keys, carried, axis=axis)
    for ours, theirs in zip(result, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
