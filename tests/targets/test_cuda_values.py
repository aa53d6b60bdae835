"""Kernels with values on CUDA devices, and `sort_pairs`, which uses them.

Every test runs in a process of its own, against a double of the driver (support/cuda_double.py): no
device is needed.
"""

import itertools
from unittest import mock

import numpy as np
import pytest
import tvm_ffi

from support import cubin, driver_double, host_cupy, oracle
from support.cuda_double import LIBRARY, Driver, cuda
from support.driver_double import array, driven, memory_of
from support.host_cupy import CUDA, OnDevice
from warp_bitonic_sort import explain, ranks, sort_pairs
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.operations import _pairs
from warp_bitonic_sort.operations.sort_pairs import SORT_PAIRS

double = driver_double.fixture("fake_cuda.cc", LIBRARY)


def open_values(folder, bits, dtype="float32", **said):
    path = cubin.write(folder / f"{bits}.cubin", payload=f"value{bits}", **said)
    return loader.runtime().open_gpu_kernel(path, dtype, cuda(0))


def run(kernel, *arrays, axis=-1, descending=False, stream=0):
    kernel(*map(OnDevice, arrays), axis, descending, False, stream)


def expected(keys, values, axis=-1, descending=False):
    order = oracle.expected_indices(keys, axis, descending)
    return [np.take_along_axis(x, order, axis) for x in (keys, values)]


@driven()
def test_kernel_with_values_sorts_values_of_any_dtype_of_its_width(folder):
    kernels = {bits: open_values(folder, bits) for bits in (32, 64)}
    keys = np.round(array(5, 3, 12) * 6 + 1)  # many are equal
    for (bits, kernel), kind, descending, axis in itertools.product(
        kernels.items(), "iuf", (False, True), (-1, 1)
    ):
        values = np.arange(keys.size).reshape(keys.shape).astype(f"{kind}{bits // 8}")
        outputs = [np.zeros_like(keys), np.zeros_like(values)]
        run(kernel, keys, values, *outputs, axis=axis, descending=descending)
        for output, want in zip(outputs, expected(keys, values, axis, descending), strict=True):
            np.testing.assert_array_equal(output, want)


@driven()
def test_kernel_with_values_reads_and_writes_arrays_of_different_strides(folder):
    kernel = open_values(folder, 64)
    keys, values = array(12, 9).T, array(9, 2, 12, dtype=np.float64)[:, 0]
    outputs = [np.zeros((9, 15), np.float32)[:, 3:], np.zeros((9, 24))[:, ::2]]
    run(kernel, keys, values, *outputs)
    for output, want in zip(outputs, expected(keys, values), strict=True):
        np.testing.assert_array_equal(output, want)
    # Each output may be its own input.
    given = [keys.copy(), values.copy()]
    run(kernel, *given, *given)
    for output, want in zip(given, expected(keys, values), strict=True):
        np.testing.assert_array_equal(output, want)


@driven()
def test_kernel_with_values_of_more_dims_than_a_launch_has_sorts_all_rows(folder):
    kernel, driver = open_values(folder, 32), Driver()
    shape = (2,) * 10 + (5,)
    wide = (2,) * 10 + (6,)
    keys, values = array(*wide)[..., :5], array(*wide, dtype=np.int32)[..., :5]
    keys, values = (np.moveaxis(x, range(10), range(9, -1, -1)) for x in (keys, values))
    outputs = [np.zeros(shape, np.float32), np.zeros(shape, np.int32)]
    run(kernel, keys, values, *outputs)
    for output, want in zip(outputs, expected(keys, values), strict=True):
        np.testing.assert_array_equal(output, want)
    assert len(driver.launches()) > 1


@driven()
def test_kernel_with_values_refuses_arrays_before_it_launches(folder):
    kernel, driver = open_values(folder, 32), Driver()
    keys, values = array(10, 8), array(10, 8, dtype=np.int32)
    outputs = [np.zeros_like(keys), np.zeros_like(values)]
    unaligned = np.zeros(321, np.uint8)[1:].view(np.int32).reshape(10, 8)
    memory = np.zeros(200, np.int32)
    windows = [memory[at : at + 80].reshape(10, 8) for at in (0, 8)]
    cases = [
        (TypeError, "keys: expected dtype float32", (values, values, *outputs)),
        (TypeError, "out_keys: expected dtype float32", (keys, values, values, outputs[1])),
        (TypeError, "values: expected a dtype of 32 bits, .*; got int64",
         (keys, values.astype(np.int64), *outputs)),
        (TypeError, "out_values: expected a dtype of 32 bits",
         (keys, values, outputs[0], np.zeros((10, 8), np.int8))),
        (ValueError, r"values: expected the shape of keys, \(10, 8\)",
         (keys, values[1:], *outputs)),
        (ValueError, "out_values: expected the shape of keys",
         (keys, values, outputs[0], outputs[1][:, 1:])),
        (ValueError, "values: expected an address", (keys, unaligned, *outputs)),
        (ValueError, "out_values: expected an address", (keys, values, outputs[0], unaligned)),
        (ValueError, "out_keys: it overlaps values in memory; pass memory of its own",
         (keys, values, values.view(np.float32), outputs[1])),
        (ValueError, "out_values: it overlaps keys in memory; pass memory of its own",
         (keys, values, outputs[0], keys.view(np.int32))),
        (ValueError, "out_values: it overlaps out_keys", (keys, values, outputs[0],
                                                          outputs[0].view(np.int32))),
        (ValueError, "out_values: it overlaps values in memory without being values itself",
         (keys, windows[0], outputs[0], windows[1])),
        (ValueError, "keys: expected rows of 1 to 32 elements",
         (np.zeros((2, 40), np.float32),) * 2 + (np.ones((2, 40), np.float32),
                                                np.zeros((2, 40), np.float32))),
        (ValueError, "axis: expected -2 to 1", (keys, values, *outputs)),
    ]  # fmt: skip
    for error, text, arrays in cases:
        with pytest.raises(error, match=f"^{text}"):
            run(kernel, *arrays, axis=2 if text.startswith("axis") else -1)
    with pytest.raises(ValueError, match="values: expected a tensor on"):
        kernel(OnDevice(keys), OnDevice(values, 1), *map(OnDevice, outputs), -1, False, False, 0)
    signature = r"sort_rows\(keys: Tensor, values: Tensor, out_keys: Tensor, out_values: Tensor, "
    with pytest.raises(TypeError, match=signature):
        kernel(OnDevice(keys), OnDevice(outputs[0]), -1, False, False, 0)
    with pytest.raises(TypeError, match=signature):
        kernel(OnDevice(keys), None, *map(OnDevice, outputs), -1, False, False, 0)
    assert driver.launches() == []
    assert not outputs[0].any()
    assert not outputs[1].any()


@driven()
def test_launch_cache_relaunches_equal_pairs_only(folder):
    kernels = {bits: open_values(folder, bits) for bits in (32, 64)}
    driver, runtime = Driver(), loader.runtime()
    again = {bits: runtime.open_launch_cache("all", f"value{bits}") for bits in (32, 64)}
    keys, values = array(10, 8), array(10, 8, dtype=np.int32)
    outputs = [np.zeros_like(keys), np.zeros_like(values)]

    def relaunch(*arrays, bits=32, axis=1, descending=False):
        return again[bits](*map(OnDevice, arrays), axis, descending, False)

    assert not relaunch(keys, values, *outputs)
    kernels[32](*map(OnDevice, (keys, values, *outputs)), -1, False, False, 0, True)
    for output in outputs:
        output[:] = 0
    assert relaunch(keys, values, *outputs)
    for output, want in zip(outputs, expected(keys, values), strict=True):
        np.testing.assert_array_equal(output, want)
    given = [keys.copy(), values.copy()]
    assert relaunch(*given, *given)  # each output is its own input
    for output, want in zip(given, expected(keys, values), strict=True):
        np.testing.assert_array_equal(output, want)
    assert relaunch(keys, keys.view(np.int32), *outputs)  # inputs may overlap

    launches = len(driver.launches())
    assert not relaunch(keys, values, *outputs, bits=64)
    assert not relaunch(keys, values, *outputs, descending=True)
    assert not relaunch(keys, values, *outputs, axis=0)
    assert not relaunch(keys, values.view(np.float32), outputs[0], outputs[1].view(np.float32))
    assert not relaunch(keys, values.astype(np.int64), outputs[0], np.zeros((10, 8), np.int64))
    # Outputs that overlap something else.
    assert not relaunch(keys, values, values.view(np.float32), outputs[1])
    assert not relaunch(keys, values, outputs[0], keys.view(np.int32))
    assert not relaunch(keys, values, outputs[0], outputs[0].view(np.int32))
    unaligned = np.zeros(321, np.uint8)[1:].view(np.int32).reshape(10, 8)
    assert not relaunch(keys, unaligned, *outputs)
    assert len(driver.launches()) == launches

    # Keys that are raw bits are not remembered; values of any dtype are.
    kernels[64](OnDevice(keys.view(np.uint32)), *map(OnDevice, (
        values.astype(np.float64), outputs[0].view(np.uint32), np.zeros((10, 8)))),
        -1, False, False, 0, True)  # fmt: skip
    assert not relaunch(keys.view(np.uint32), values.astype(np.float64),
                        outputs[0].view(np.uint32), np.zeros((10, 8)), bits=64)  # fmt: skip
    wide = [keys, values.astype(np.float64), outputs[0], np.zeros((10, 8))]
    kernels[64](*map(OnDevice, wide), -1, False, False, 0, True)
    assert relaunch(*wide, bits=64)
    with pytest.raises(ValueError, match="payload: expected none, index, value32 or value64"):
        runtime.open_launch_cache("all", "value16")


@driven()
def test_description_of_values_with_one_input_is_refused(folder):
    said = bytearray(cubin.constant(payload="value32"))
    said[24:28] = (1).to_bytes(4, "little")  # inputs
    path = folder / "kernel.cubin"
    path.write_bytes(cubin.cubin(bytes(said)))
    with pytest.raises(RuntimeError, match="expected 2 inputs and 2 outputs, got 1 and 2"):
        loader.runtime().open_gpu_kernel(str(path), "float32", cuda(0))


@pytest.mark.usefixtures("nvcc")
@driven()
def test_sort_pairs_of_cupy_arrays_from_build_to_result_equals_the_oracle(folder):
    """In one launch, of the kernel that `explain` names."""
    del folder
    driver, cupy = Driver(), host_cupy.install()
    rng = np.random.default_rng(3)
    x = rng.permuted(np.arange(9 * 20, dtype=np.float32).reshape(9, 20) // 3, axis=1)
    for values in (x.astype(np.int32) * 7, rng.random(x.shape)):
        inputs = [cupy.ndarray(each.copy(), 1) for each in (x, values)]
        for descending, out in ((False, None), (True, None), (True, inputs), (True, inputs)):
            for each, host in zip(inputs, (x, values), strict=True):
                each.array[...] = host
            done = len(driver.launches())
            result = sort_pairs(*inputs, descending=descending, out=out)
            want = expected(x, values, descending=descending)
            for got, host in zip(result, want, strict=True):
                assert type(got) is cupy.ndarray
                np.testing.assert_array_equal(got.array, host)
            assert out is None or [*result] == out
            assert len(driver.launches()) == done + 1
            bits = 8 * values.dtype.itemsize
            assert f"_value{bits}_" in driver.launches()[-1]["kernel"]
    assert (
        explain(inputs[0], operation="sort_pairs").kernel.replace("32_ieee", "64_ieee")
        == (driver.launches()[-1]["kernel"])
    )


@pytest.mark.usefixtures("nvcc")
@driven()
def test_sort_pairs_of_dlpack_arrays_uses_a_kernel_with_values(folder):
    """Their libraries have no functions here that take values at indices."""
    del folder
    keys, values = array(6, 50), array(6, 50, dtype=np.float64)
    for axis in (-1, 0):  # rows, and columns
        result = sort_pairs(OnDevice(keys), OnDevice(values), axis=axis)
        for got, want in zip(result, expected(keys, values, axis), strict=True):
            assert isinstance(got, tvm_ffi.Tensor)
            assert got.__dlpack_device__() == (CUDA, 0)
            np.testing.assert_array_equal(memory_of(got, want), want)


@driven()
def test_pairs_that_no_kernel_carries_are_checked_and_planned_once(folder):
    """Columns, and values of 16 bits, which need no plan."""
    del folder
    cupy = host_cupy.install()
    keys = cupy.ndarray(array(6, 50), 1)
    for dtype, axis, plans in ((np.int32, 0, 1), (np.int16, -1, 0)):
        values = cupy.ndarray(array(6, 50, dtype=dtype), 1)
        check = mock.Mock()
        with mock.patch.object(_pairs, "planned", wraps=_pairs.planned) as planned:
            for _ in range(3):
                options = (axis, False, False)
                assert _pairs.call(SORT_PAIRS, (keys, values), options, (), check) is None
        assert (check.call_count, planned.call_count) == (1, plans)


@driven()
def test_operations_of_empty_dlpack_arrays_return_empty_arrays(folder):
    del folder
    for shape, dtype in itertools.product([(0, 5), (5, 0)], (np.int16, np.int32)):
        keys, values = OnDevice(np.zeros(shape, np.float32)), OnDevice(np.zeros(shape, dtype))
        several = sort_pairs(keys, (values, values))
        for result in (*sort_pairs(keys, values), several.keys, *several.values, ranks(keys)):
            assert tuple(result.shape) == shape


if __name__ == "__main__":
    driver_double.run_body(globals())
