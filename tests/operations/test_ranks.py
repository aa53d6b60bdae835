"""`ranks` in CPU memory: the inverse of the oracle's indices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import oracle, strided
from support.covering import pairwise
from support.libraries import LIBRARIES
from warp_bitonic_sort import argsort, ranks

ORDERS = [(False, "largest"), (False, "last"), (True, "largest"), (True, "last")]
LONG = 20000  # sorted by the fallback


def check(x, result, axis=-1, descending=False, nan="largest"):
    """Assert that result is the inverse of the oracle's indices, by a second argsort of these."""
    order = oracle.expected_indices(x, axis, descending, nan)
    assert result.shape == x.shape
    np.testing.assert_array_equal(result, np.argsort(order, axis=axis, kind="stable"))


@pytest.mark.parametrize(
    ("library", "name", "order", "axis", "length"),
    pairwise(list(LIBRARIES), ["float32", "bfloat16", "int64"], ORDERS, [0, -1], [0, 1, 9, 40]),
)
def test_ranks_of_every_library_equal_the_oracle(library, name, order, axis, length):
    convert, convert_back, index_dtype = LIBRARIES[library]
    x = oracle.random(name, (7, length) if axis else (length, 7), np.random.default_rng(1))
    array = convert(x)
    result = ranks(array, axis=axis, descending=order[0], nan=order[1])
    assert type(result) is type(array)
    assert convert_back(result).dtype == index_dtype
    check(x, convert_back(result), axis, *order)


@pytest.mark.parametrize("library", LIBRARIES)
def test_ranks_of_an_array_without_axes_are_zero(library):
    convert, convert_back, _ = LIBRARIES[library]
    result = convert_back(ranks(convert(np.array(2.0, np.float32))))
    assert result.shape == ()
    assert result == 0


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_ranks_of_long_rows_equal_the_oracle(index_dtype):
    x = oracle.random("float32", (2, LONG), np.random.default_rng(2))
    result = ranks(x, dim=1, index_dtype=index_dtype)
    assert result.dtype == index_dtype
    check(x, result)


@pytest.mark.stress
@given(
    st.data(),
    st.sampled_from(list(oracle.ALL)),
    st.sampled_from(ORDERS),
    st.integers(0, 2**32),
)
@settings(max_examples=50)
def test_ranks_of_any_strides_equal_the_oracle(data, name, order, seed):
    x = strided.array(data.draw, np.random.default_rng(seed), name)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    result = ranks(x, axis=axis, descending=order[0], nan=order[1])
    check(x, result, axis, *order)
    # Ranks are a permutation: they are their own ranks, and argsort inverts them.
    np.testing.assert_array_equal(ranks(result, axis=axis), result)
    np.testing.assert_array_equal(
        argsort(result, axis=axis), argsort(x, axis=axis, descending=order[0], nan=order[1])
    )


def test_ranks_of_a_tensor_that_requires_a_gradient_are_returned():
    assert ranks(torch.tensor([[2.0, 1.0]], requires_grad=True)).tolist() == [[1, 0]]


def test_ranks_of_a_jax_array_on_a_gpu_use_a_scatter_that_inverts():
    """The function for devices, in CPU memory."""
    from warp_bitonic_sort.arrays._jax_gpu import _inverse

    x = np.random.default_rng(3).permuted(np.tile(np.arange(9, dtype=np.int32), (2, 5, 1)), axis=2)
    for axis, array in [(2, x), (-2, x.swapaxes(1, 2))]:
        np.testing.assert_array_equal(_inverse(array, axis), np.argsort(array, axis=axis))
    assert _inverse(np.int32(0), 0) == 0


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"index_dtype": "int16"}, ValueError, 'index_dtype: expected "int32" or "int64"'),
        ({"axis": 2}, ValueError, "axis: expected -2 to 1"),
        ({"nan": "first"}, ValueError, "nan: expected"),
        ({"descending": 1}, TypeError, "descending: expected True or False"),
    ],
)
def test_ranks_names_the_wrong_argument(options, kind, message):
    with pytest.raises(kind, match=message):
        ranks(np.ones((3, 4), np.float32), **options)


def test_ranks_without_names_raises():
    with pytest.raises(TypeError, match=r"axis is given by name: ranks\(x, axis=1\)"):
        ranks(np.ones((2, 2)), 1)
