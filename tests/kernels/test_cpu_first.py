"""CPU kernels for the first elements of rows, on data that prefixes do not tell apart."""

import numpy as np
import pytest

from support import oracle
from warp_bitonic_sort import explain, top_k
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.kernels import TILE, Kernel
from warp_bitonic_sort.targets import HOST


def outlier(x):
    x[:, x.shape[1] // 2] = 1e6


def rows_of_low_bits(x):
    x[:] = 1 + np.floor(abs(x) * 300) * 2.0**-23
    x[:, [0, -1]] = 1e30, -1e30


def mostly_infinite(x):
    x[abs(x) < 1.5] = -np.inf


def a_few_nans(x):
    x[x > 2] = np.nan


def nans_of_all_kinds(x):
    bits = np.arange(x.size, dtype=np.uint32).reshape(x.shape)
    x.view(np.uint32)[:, ::2] = (bits << 31 | 0x7F800001 + bits % 99)[:, ::2]


def only_nans(x):
    nans_of_all_kinds(x)
    x[:, 1::2] = -np.nan


def zeros_of_both_signs(x):
    x[x < 0.5] = 0.0
    x[x == 0] *= np.where(np.arange((x == 0).sum()) % 3, 1, -1)


DATA = [
    outlier,
    rows_of_low_bits,
    mostly_infinite,
    a_few_nans,
    nans_of_all_kinds,
    only_nans,
    zeros_of_both_signs,
    lambda x: x.sort(1),
    lambda x: x.fill(1),
]
ORDERS = [("smallest", "largest"), ("largest", "largest"), ("largest", "last")]


@pytest.mark.parametrize("length", [16, 17, 100, 1000, 4100, 20001])
def test_first_elements_of_rows_equal_the_oracle_whatever_the_rows_hold(length):
    rng = np.random.default_rng(length)
    for number, change in enumerate(DATA):
        x = rng.standard_normal((3 if length > 1000 else 37, length)).astype(np.float32)
        change(x)
        for k in (1, 8, 15, min(100, length), length // 2):
            mode, nan = ORDERS[(number + k) % 3]
            values, indices = top_k(x, k, mode=mode, nan=nan)
            order = oracle.expected_indices(x, -1, mode == "largest", nan)[:, :k]
            np.testing.assert_array_equal(indices, order)
            expected = np.take_along_axis(x, order, -1)
            np.testing.assert_array_equal(values.view(np.int32), expected.view(np.int32))
    assert "_first_" in explain(x, operation="top_k", k=15).kernel


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_first_elements_of_any_layout_are_contiguous(axis):
    x = np.random.default_rng(axis).random((40, 35, 33), np.float32).transpose(2, 0, 1)
    values, indices = top_k(x, 2, axis=axis)
    assert values.flags.c_contiguous
    assert indices.flags.c_contiguous
    order = oracle.expected_indices(x, axis, True).take([0, 1], axis)
    np.testing.assert_array_equal(indices, order)
    said = explain(x, operation="top_k", k=2, axis=axis)
    assert said.kernel in loader.open_kernels()


def test_kernel_for_first_elements_refuses_outputs_of_another_shape():
    arch = HOST.arch_for()
    kernel = Kernel("cpu", arch, "first", "index", "ieee", 32, TILE, "strided")
    run = loader.open_kernel(kernel, "float32", 0)
    x = np.zeros((4, 40), np.float32)

    def outputs(*shape, indices=None):
        return np.ones(shape, np.float32), np.ones(indices or shape, np.int32)

    wrong = [((4, 41), None), ((3, 8), None), ((4, 8), (4, 7)), ((4,), None)]
    for shape, indices in wrong:
        with pytest.raises(ValueError, match=r"the shape of x, \(4, 40\), with at most 40"):
            run(x, *outputs(*shape, indices=indices), -1, False, False)
    for shape in ((0,), (1,), (5,)):
        with pytest.raises(ValueError, match=r"the shape of x, \(\), with at most 1"):
            run(np.float32([1]).reshape(()), *outputs(*shape), -1, False, False)
    with pytest.raises(ValueError, match="overlaps x in memory"):
        run(x, x[:, :8], np.ones((4, 8), np.int32), -1, False, False)
    values, indices = outputs(4, 8)
    run(x, values, indices, 1, False, False)
    assert indices.tolist() == [list(range(8))] * 4
    run(x, *outputs(4, 0), 1, False, False)
