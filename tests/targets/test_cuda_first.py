"""Kernels for the first elements of rows on CUDA devices, and `top_k`, which uses them.

Every test runs in a process of its own, against a double of the driver (support/cuda_double.py): no
device is needed, and no compiler.
"""

import itertools
from unittest import mock

import numpy as np
import pytest

from support import cubin, driver_double, host_cupy, oracle
from support.cuda_double import LIBRARY, Driver, cuda
from support.driver_double import array, driven
from support.host_cupy import OnDevice
from warp_bitonic_sort import arrays, top_k
from warp_bitonic_sort.jit import loader

double = driver_double.fixture("fake_cuda.cc", LIBRARY)


def open_first(folder, selection="first8", number=0, **said):
    path = folder / f"{selection}_{number}.cubin"
    arch = int(host_cupy.ARCHS[number])
    cubin.write(path, arch, payload="index", selection=selection, capacity=2**31 - 1, **said)
    return loader.runtime().open_gpu_kernel(str(path), "float32", cuda(number))


def on_device(arrays):
    return [None if each is None else OnDevice(each) for each in arrays]


def outputs_like(x, k, index=np.int64, axis=-1):
    shape = list(x.shape)
    shape[axis] = k
    return [np.zeros(shape, x.dtype), np.zeros(shape, index)]


@driven()
def test_kernel_for_first_elements_writes_as_many_as_the_outputs_hold(folder):
    kernel = open_first(folder)
    x = np.round(array(5, 3, 12) * 6 + 1)  # many are equal
    for k, index, axis, descending in itertools.product(
        (1, 3, 8), (np.int32, np.int64), (1, -1), (False, True)
    ):
        values, indices = outputs_like(x, min(k, x.shape[axis]), index, axis)
        for outputs in ((values, indices), (None, indices)):
            kernel(*on_device((x, *outputs)), axis, descending, False, 0)
        k = values.shape[axis]
        oracle.check_selected(x, slice(k), indices.astype(np.int64), values, axis, descending)
    # A part of a larger array.
    around = np.full((7, 3, 20), -1, np.float32)
    values, indices = outputs_like(x, 8)
    kernel(*on_device((x, around[1:6, :, 4:12], indices)), -1, True, False, 0)
    np.testing.assert_array_equal(around[1:6, :, 4:12], -np.sort(-x)[..., :8])
    around[1:6, :, 4:12] = -1
    assert (around == -1).all()


@driven()
def test_kernel_for_first_elements_refuses_outputs_of_other_shapes(folder):
    kernel, driver = open_first(folder), Driver()
    x = array(5, 12)
    for shapes in (((5, 9), (5, 9)), ((5, 3), (5, 4)), ((4, 3), (4, 3)), ((5,), (5,))):
        outputs = np.zeros(shapes[0], np.float32), np.zeros(shapes[1], np.int64)
        with pytest.raises(ValueError, match="expected the shape of x, .* with at most 8 elements"):
            kernel(*on_device((x, *outputs)), -1, False, False, 0)
    assert driver.launches() == []


@driven()
def test_launch_cache_relaunches_searches_for_as_many_elements_only(folder):
    kernel, driver, runtime = open_first(folder), Driver(), loader.runtime()
    caches = {name: runtime.open_launch_cache(name, "index") for name in ("all", "first")}
    x = array(10, 20)
    outputs = outputs_like(x, 5)

    def relaunch(x, outputs, selection="first", axis=1, descending=True):
        return caches[selection](*on_device((x, *outputs)), axis, descending, False)

    assert not relaunch(x, outputs)
    kernel(*on_device((x, *outputs)), -1, True, False, 0, True)
    other = array(10, 20) + 1
    assert relaunch(other, outputs)
    oracle.check_selected(other, slice(5), outputs[1], outputs[0], descending=True)
    launches = len(driver.launches())
    assert not relaunch(x, outputs, "all")
    assert not relaunch(x, outputs, axis=0)
    assert not relaunch(x, outputs, descending=False)
    assert not relaunch(x, outputs_like(x, 5, np.int32))
    assert not relaunch(x, [None, outputs[1]])
    assert not relaunch(x[:9], outputs_like(x[:9], 5))
    for k in (1, 4, 6, 20):
        assert not relaunch(x, outputs_like(x, k))
    assert not relaunch(x, [x.reshape(-1)[:50].reshape(10, 5), outputs[1]])  # in x
    assert len(driver.launches()) == launches
    around = array(10, 20)
    kernel(*on_device((x, around[:, :5], outputs[1])), -1, True, False, 0, True)
    assert relaunch(x, [around[:, :5], outputs[1]])
    launches = len(driver.launches())
    assert not relaunch(x, [x[:, :5], outputs[1]])  # the beginning of x itself
    assert len(driver.launches()) == launches


@driven()
def test_top_k_of_equal_arguments_is_answered_by_the_launch_cache(folder):
    """From the third call on. Another k, mode or dtype of indices is another call."""
    driver, cupy = Driver(), host_cupy.install()
    answered = []
    launch = loader.runtime().open_launch_cache("first", "index")

    # As in PyTorch's adapter.
    def relaunch(payload, wants_keys, x, options, index_dtype, k):
        assert (payload, wants_keys) == ("index", True)
        if not 0 < k <= x.shape[-1] or options[0] != -1:
            return None
        shape = (*x.shape[:-1], k)
        outputs = [cupy.empty_like(x, dtype, shape=shape) for dtype in (None, index_dtype)]
        answered.append(launch(x, *outputs, *options))
        return outputs if answered[-1] else None

    def check(x, k, is_cached, mode="largest", index_dtype="int64"):
        answered.clear()
        done = len(driver.launches())
        values, indices = top_k(cupy.ndarray(x, 1), k, mode=mode, index_dtype=index_dtype)
        assert answered == [is_cached]
        assert len(driver.launches()) == done + 1
        assert indices.array.dtype == index_dtype
        wide = indices.array.astype(np.int64)
        oracle.check_selected(x, slice(k), wide, values.array, -1, mode == "largest")

    adapter = arrays.adapter_of(cupy.ndarray(array(1), 1))
    fakes = {"relaunch": relaunch, "can_relaunch": lambda _: True, "to_ffi": lambda _: None}
    with (
        mock.patch.multiple(adapter, **fakes),
        mock.patch.object(
            loader, "open_kernel", lambda kernel, *_: open_first(folder, kernel.selection, 1)
        ),
    ):
        for turn in range(4):
            check(array(40, 100) + turn, 8, turn >= 2)
        for k in (7, 9, 1):
            for turn in range(3):
                check(array(40, 100), k, turn >= 2)
        check(array(40, 100), 8, False, "smallest")
        check(array(40, 100), 8, False, index_dtype="int32")
        check(array(41, 100), 8, False)
        check(array(40, 100), 8, True)
        x = cupy.ndarray(array(40, 100), 1)
        done = len(driver.launches())
        for k in (101, -1, 10**15):
            answered.clear()
            with pytest.raises(ValueError, match=f"k: expected 0 to 100 .*got {k}"):
                top_k(x, k)
            assert answered == []
        with pytest.raises(ValueError, match="axis: expected -2 to 1"):
            top_k(x, 8, axis=2)
        assert len(driver.launches()) == done
        turned = cupy.ndarray(np.transpose(array(6, 40, 100), (1, 0, 2)), 1)
        assert all(result.array.flags.c_contiguous for result in top_k(turned, 3))


if __name__ == "__main__":
    driver_double.run_body(globals())
