"""`top_k` and `kthvalue` beside the selections of PyTorch, JAX and NumPy.

Only JAX promises which of equal elements it returns. The others are compared by value.
"""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from warp_bitonic_sort import kthvalue, top_k


@pytest.fixture(scope="module", autouse=True)
def wide_dtypes_of_jax():
    with jax.enable_x64(True):
        yield


def random(dtype, seed, shape=(13, 9)):
    """Random rows with equal elements; those of floats have infinities."""
    x = np.random.default_rng(seed).integers(0, 6, shape).astype(dtype)
    if x.dtype.kind == "f":
        x[x == 0] = -np.inf
        x[x == 5] = np.inf
    return x


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
@hypothesis.given(
    st.integers(0, 2**32), st.sampled_from([0, 1, -1]), st.integers(0, 9), st.booleans(),
    st.floats(0, 1),
)  # fmt: skip
@hypothesis.settings(max_examples=30)
def test_top_k_values_equal_those_of_torch_topk(dtype, seed, dim, k, is_largest, part_nan):
    x = random(dtype, seed)
    if x.dtype.kind == "f":
        x[np.random.default_rng(seed).random(x.shape) < part_nan] = np.nan
    expected = torch.topk(torch.from_numpy(x), k, dim, is_largest).values
    mode = "largest" if is_largest else "smallest"
    result = top_k(torch.from_numpy(x), k, dim=dim, mode=mode)
    torch.testing.assert_close(result.values, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
@hypothesis.given(
    st.integers(0, 2**32), st.sampled_from([0, 1, -1]), st.integers(1, 9), st.booleans()
)
@hypothesis.settings(max_examples=30)
def test_kthvalue_values_equal_those_of_torch_kthvalue(dtype, seed, dim, k, keepdims):
    x = torch.from_numpy(random(dtype, seed))
    expected = torch.kthvalue(x, k, dim, keepdims).values
    assert torch.equal(kthvalue(x, k, dim=dim, keepdims=keepdims).values, expected)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
@hypothesis.given(st.integers(0, 2**32), st.sampled_from([1, 4, 9]))
@hypothesis.settings(max_examples=10)
def test_top_k_equals_top_k_of_jax(dtype, seed, k):
    x = jnp.asarray(random(dtype, seed))
    for ours, theirs in zip(top_k(x, k), jax.lax.top_k(x, k), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@hypothesis.given(st.integers(0, 2**32), st.integers(1, 9))
@hypothesis.settings(max_examples=30)
def test_top_k_unsorted_has_the_values_of_numpy_partition(seed, k):
    x = random("float32", seed)
    expected = np.partition(x, k - 1, axis=-1)[:, :k]
    result = top_k(x, k, mode="smallest", sorted=False)
    np.testing.assert_array_equal(np.sort(result.values), np.sort(expected))
