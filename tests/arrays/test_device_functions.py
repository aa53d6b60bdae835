"""What adapters compute on a device with their library's functions, in CPU memory instead."""

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from support import oracle
from warp_bitonic_sort import arrays


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


def test_cupy_functions_of_arrays_without_axes_return_them(cupy_adapter):
    zero = np.zeros((), np.int64).view(OnDevice)
    assert cupy_adapter.take(np.array(2.5).view(OnDevice), zero, 0) == 2.5
    assert cupy_adapter.inverse(zero, -1) == 0
