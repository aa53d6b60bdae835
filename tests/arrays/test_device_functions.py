"""What adapters compute on a device with their library's functions, in CPU memory instead."""

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tvm_ffi

from support import oracle
from warp_bitonic_sort import arrays
from warp_bitonic_sort.arrays import Cut, Device
from warp_bitonic_sort.arrays._dlpack import GpuTensorAdapter


class OnDevice(np.ndarray):
    """An array with the attribute of CuPy's that the adapter uses as a context."""

    device = contextlib.nullcontext()


@pytest.fixture
def cupy_adapter(monkeypatch):
    """The adapter of CuPy with functions of NumPy."""
    cupy = ModuleType("cupy")
    cupy.__dict__.update(np.__dict__)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    path = Path(arrays.__file__).with_name("_cupy.py")
    spec = importlib.util.spec_from_file_location(f"{arrays.__name__}._cupy_of_numpy", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CupyAdapter()


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_cupy_functions_of_indices_equal_those_of_numpy(cupy_adapter, axis, index_dtype):
    x = oracle.random("float32", (4, 5, 6), np.random.default_rng(1)).view(OnDevice)
    order = oracle.expected_indices(np.asarray(x), axis).astype(index_dtype).view(OnDevice)
    taken = cupy_adapter.take(x, order, axis)
    np.testing.assert_array_equal(
        oracle.bits(np.asarray(taken)), np.take_along_axis(oracle.bits(np.asarray(x)), order, axis)
    )
    inverse = cupy_adapter.inverse(order, axis)
    assert inverse.dtype == index_dtype
    np.testing.assert_array_equal(inverse, np.argsort(order, axis))


@pytest.mark.parametrize("is_fortran", [False, True])
def test_cupy_cut_equals_a_contiguous_copy_of_a_slice(cupy_adapter, is_fortran):
    x = np.random.default_rng(2).random((4, 5, 6))
    array = (np.asfortranarray(x) if is_fortran else x).view(OnDevice)
    for cut, expected in [
        (Cut(1, 0, 3, (4, 3, 6)), x[:, :3]),
        (Cut(0, 2, 3, (5, 6)), x[2]),
        (Cut(2, 5, 6, (4, 5, 1)), x[..., 5:]),
        (Cut(2, 0, 0, (4, 5, 0)), x[..., :0]),
    ]:
        result = cupy_adapter.cut(array, cut)
        np.testing.assert_array_equal(result, expected)
        assert result.flags.c_contiguous
        assert not np.shares_memory(result, array)


def test_cupy_functions_of_arrays_without_axes_return_them(cupy_adapter):
    zero = np.zeros((), np.int64).view(OnDevice)
    assert cupy_adapter.take(np.array(2.5).view(OnDevice), zero, 0) == 2.5
    assert cupy_adapter.inverse(zero, -1) == 0
    assert cupy_adapter.cut(zero, Cut(0, 0, 1, (1,))).tolist() == [0]
    assert cupy_adapter.cut(zero, Cut(0, 0, 1, ())) == 0


def test_cut_of_a_dlpack_array_on_a_device_names_libraries_that_can():
    tensor = tvm_ffi.from_dlpack(np.zeros((3, 4), np.float32))
    message = (
        r"^x: on a device, top_k or kthvalue takes arrays of PyTorch, .*torch\.from_dlpack\(x\)"
    )
    with pytest.raises(NotImplementedError, match=message):
        GpuTensorAdapter(Device("cuda", 0, None)).cut(tensor, Cut(1, 0, 2, (3, 2)))
