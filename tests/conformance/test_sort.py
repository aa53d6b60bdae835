"""`sort` beside the sorts of NumPy, PyTorch and JAX: equal values for the same arrays.

The tests of `tests/` compare bits with an oracle of our own. Here the libraries themselves are the
oracle, where they promise an order: NaN last, 0.0 and -0.0 equal.
"""

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from warp_bitonic_sort import sort

INTEGERS = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]
NO_TORCH = {"uint16", "uint32", "uint64"}  # torch.sort has no kernels for these on a CPU


@pytest.fixture(scope="module", autouse=True)
def wide_dtypes_of_jax():
    with jax.enable_x64(True):
        yield


@st.composite
def arrays(draw, dtype, subnormals=True):
    """An array of up to three dimensions, with equal values, NaNs and zeros of both signs."""
    shape = draw(hypothesis.extra.numpy.array_shapes(max_dims=3, min_side=0, max_side=70))
    elements = {}
    if dtype in FLOATS:
        few = st.sampled_from([np.nan, -np.nan, 0.0, -0.0, 1.0, np.inf, -np.inf])
        width = np.dtype(dtype).itemsize * 8
        elements = {"elements": few | st.floats(width=width, allow_subnormal=subnormals)}
    return draw(hypothesis.extra.numpy.arrays(dtype, shape, **elements))


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@hypothesis.given(st.data())
@hypothesis.settings(max_examples=50)
def test_sort_of_numpy_array_equals_numpy_sort(dtype, data):
    x = data.draw(arrays(dtype))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    np.testing.assert_array_equal(sort(x, axis=axis), np.sort(x, axis=axis))


@pytest.mark.parametrize("dtype", [name for name in INTEGERS + FLOATS if name not in NO_TORCH])
@hypothesis.given(st.data(), st.booleans())
@hypothesis.settings(max_examples=50)
def test_sort_of_tensor_equals_torch_sort(dtype, data, descending):
    x = torch.from_numpy(data.draw(arrays(dtype)))
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    result = sort(x, dim=dim, descending=descending)
    expected = torch.sort(x, dim=dim, descending=descending).values
    torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("descending", [False, True])
def test_sort_of_bfloat16_tensor_equals_torch_sort(descending):
    x = torch.randn(40, 100).to(torch.bfloat16)
    x[::3, ::7] = torch.nan
    expected = torch.sort(x, descending=descending).values
    torch.testing.assert_close(
        sort(x, descending=descending), expected, rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@hypothesis.given(st.data(), st.booleans())
@hypothesis.settings(max_examples=10)
def test_sort_of_jax_array_equals_jnp_sort(dtype, data, descending):
    # JAX compiles its sort for every shape: few shapes. It takes subnormal numbers for zeros.
    shape = data.draw(st.sampled_from([(25,), (6, 40), (3, 5, 7)]))
    x = jnp.asarray(np.resize(data.draw(arrays(dtype, subnormals=False)), shape))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    expected = jnp.sort(x, axis=axis, descending=descending)
    np.testing.assert_array_equal(sort(x, axis=axis, descending=descending), expected)
