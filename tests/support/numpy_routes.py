"""Fixtures that say whether kernels or NumPy's functions answer calls of the NumPy facade."""

import numpy as np
import pytest

from warp_bitonic_sort.numpy import _routes, _sorting
from warp_bitonic_sort.operations import order_statistics


@pytest.fixture
def kernels_answer(monkeypatch):
    """Kernels answer every call that they can, also of small arrays and of one row."""
    monkeypatch.setattr(_routes, "FEWEST_ELEMENTS", 0)
    monkeypatch.setattr(_routes, "FEWEST_ROWS", 0)


@pytest.fixture
def kernel_calls(monkeypatch):
    """A list with the name of the operation of each call that kernels answer."""
    calls = []
    for module in (_sorting, order_statistics):
        monkeypatch.setattr(module, "call", _recorded(module.call, calls))
    return calls


def _recorded(function, calls):
    def call(operation, *args, **options):
        calls.append(operation.name)
        return function(operation, *args, **options)

    return call


def outcome(function, *args, **options):
    """Return the result of a call with its type and dtype, or the type and text of its error."""
    try:
        result = function(*args, **options)
    except Exception as error:  # whatever NumPy raises
        return type(error), str(error)
    if isinstance(result, np.ma.MaskedArray):
        return type(result), result.dtype, result.tolist(), result.mask.tolist()
    array = np.asarray(result)
    return type(result), array.dtype, array.shape, array.tolist()
