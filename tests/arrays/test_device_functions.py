"""What adapters compute on a device with their library's functions, in CPU memory instead."""

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest
import torch
import tvm_ffi

from support import oracle
from support.covering import pairwise
from warp_bitonic_sort import arrays
from warp_bitonic_sort.arrays import Cut, Device, _jax_gpu, _numpy, _torch
from warp_bitonic_sort.arrays._dlpack import GpuTensorAdapter
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.quantiles import Reader


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


@pytest.mark.parametrize(
    ("library", "name", "method", "axis", "omits_nan", "length"),
    pairwise(
        ["cupy", "torch", "jax"],
        ["float16", "float32", "float64", "int64"],
        ["median", "linear", "lower", "higher", "midpoint", "nearest"],
        [0, 1],
        [False, True],
        [0, 1, 9, 32],
    ),
)
def test_quantiles_without_looking_at_values_equal_those_of_numpy(
    cupy_adapter, library, name, method, axis, omits_nan, length
):
    x = oracle.random(name, (5, length) if axis else (length, 5), np.random.default_rng(3))
    if name in oracle.FLOATS and length:  # some that are not extreme, and a row of NaN
        x[:] = np.where(np.abs(x) < 1e-2, x.dtype.type(1.3), x)
        x.swapaxes(0, axis)[:, 0] = np.nan
    rows = oracle.expected(x, axis)
    points = (0.5,) if method == "median" else (0.0, 0.3, 0.75, 1.0)
    result = name if name in oracle.FLOATS else "float64"
    reader = Reader(DTYPES[name], result, axis, method, points, omits_nan)
    want = _numpy.read(rows, reader, (len(points), 5))
    if library == "cupy":
        with np.errstate(all="ignore"):  # CuPy never warns
            got = cupy_adapter.read(rows.view(OnDevice), reader, (len(points), 5))
    elif library == "torch":
        functions = _torch._READER_FUNCTIONS._replace(may_look=False)
        got = reader.read(torch.from_numpy(rows), functions).reshape(want.shape).numpy()
    else:
        with jax.enable_x64(True):
            got = reader.read(jax.numpy.asarray(rows), _jax_gpu._READER_FUNCTIONS)
            got = got.reshape(want.shape)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_reshape_of_a_cupy_array_orders_its_axes(cupy_adapter):
    x = np.random.default_rng(4).random((3, 4, 5)).view(OnDevice)
    result = cupy_adapter.reshape(x, (1, 0, 2), (4, 15))
    np.testing.assert_array_equal(result, x.swapaxes(0, 1).reshape(4, 15))


@pytest.mark.parametrize(("method", "function"), [("median", "median"), ("lower", "quantile")])
def test_quantiles_of_a_dlpack_array_on_a_device_name_libraries_that_can(method, function):
    reader = Reader(DTYPES["float32"], "float32", 1, method, (0.5,), False)
    message = rf"^x: on a device, {function} takes arrays of PyTorch, .*torch\.from_dlpack\(x\)"
    adapter = GpuTensorAdapter(Device("cuda", 0, None))
    tensor = tvm_ffi.from_dlpack(np.zeros((3, 4), np.float32))
    with pytest.raises(NotImplementedError, match=message):
        adapter.read(tensor, reader, (3,))
    with pytest.raises(NotImplementedError, match="along several axes takes"):
        adapter.reshape(tensor, (0, 1), (12,))
