"""`argsort` and `sort_with_indices` beside the stable sorts of NumPy, PyTorch and JAX.

The libraries promise an order of equal elements: NaNs are equal, and so are 0.0 and -0.0. Indices
are therefore compared exactly.
"""

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from warp_bitonic_sort import argsort, sort_with_indices

INTEGERS = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]
NO_TORCH = {"uint16", "uint32", "uint64"}  # torch.sort has no kernels for these on a CPU


@pytest.fixture(scope="module", autouse=True)
def wide_dtypes_of_jax():
    with jax.enable_x64(True):
        yield


@st.composite
def arrays(draw, dtype):
    """An array of up to three dimensions with many equal elements."""
    shape = draw(hypothesis.extra.numpy.array_shapes(max_dims=3, max_side=70))
    few = (
        [0, 1]
        if dtype == "bool"
        else [0, 1, 2, np.iinfo(dtype).max]
        if dtype in INTEGERS
        else [np.nan, -np.nan, 0.0, -0.0, 1.0, np.inf, -np.inf]
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random.choice(np.array(few, dtype), shape)


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@hypothesis.given(st.data())
@hypothesis.settings(max_examples=50)
def test_argsort_of_numpy_array_equals_stable_numpy_argsort(dtype, data):
    x = data.draw(arrays(dtype))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    expected = np.argsort(x, axis=axis, kind="stable")
    np.testing.assert_array_equal(argsort(x, axis=axis), expected)
    values, indices = sort_with_indices(x, axis=axis)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, axis))


@pytest.mark.parametrize("dtype", [name for name in INTEGERS + FLOATS if name not in NO_TORCH])
@hypothesis.given(st.data(), st.booleans())
@hypothesis.settings(max_examples=50)
def test_argsort_of_tensor_equals_stable_torch_sort(dtype, data, descending):
    x = torch.from_numpy(data.draw(arrays(dtype)))
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    expected = torch.sort(x, dim=dim, descending=descending, stable=True)
    result = sort_with_indices(x, dim=dim, descending=descending)
    assert torch.equal(result.indices, expected.indices)
    torch.testing.assert_close(result.values, expected.values, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@hypothesis.given(st.data(), st.booleans())
@hypothesis.settings(max_examples=10)
def test_argsort_of_jax_array_equals_stable_jnp_argsort(dtype, data, descending):
    # JAX compiles its sort for every shape: few shapes.
    shape = data.draw(st.sampled_from([(25,), (6, 40), (3, 5, 7)]))
    x = jnp.asarray(np.resize(data.draw(arrays(dtype)), shape))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    expected = jnp.argsort(x, axis=axis, stable=True, descending=descending)
    np.testing.assert_array_equal(argsort(x, axis=axis, descending=descending), expected)
