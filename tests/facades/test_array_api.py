"""The functions of the array API standard, over arrays of several libraries."""

import inspect

import array_api_strict
import numpy as np
import pytest
import torch

from support import oracle
from support.covering import pairwise
from warp_bitonic_sort import array_api

NAMESPACES = {"strict": array_api_strict, "numpy": np, "torch": torch}
# The standard's dtypes that are real; PyTorch's CPU tensors have few functions for wide uints.
NAMES = [*oracle.INTEGERS, "float32", "float64"]


def as_numpy(x):
    return np.from_dlpack(x) if not isinstance(x, np.ndarray) else x


@pytest.mark.parametrize(
    ("library", "name", "axis", "descending", "stable"),
    pairwise(list(NAMESPACES), NAMES, [-1, 0, 1], [False, True], [False, True]),
)
def test_sorts_keep_promises(library, name, axis, descending, stable):
    x = oracle.random(name, (5, 7, 5), np.random.default_rng(0))
    given = NAMESPACES[library].asarray(x)
    options = {"axis": axis, "descending": descending, "stable": stable}
    values, indices = array_api.sort(given, **options), array_api.argsort(given, **options)
    assert type(values) is type(given)
    assert type(indices) is type(given)
    oracle.check_indices(x, as_numpy(indices), axis=axis, descending=descending)
    if stable:
        expected = np.take_along_axis(x, as_numpy(indices), axis)
        np.testing.assert_array_equal(oracle.bits(as_numpy(values)), oracle.bits(expected))
    else:
        oracle.check(x, as_numpy(values), axis, descending)


@pytest.mark.parametrize("library", NAMESPACES)
@pytest.mark.parametrize("mode", ["largest", "smallest"])
def test_top_k_returns_first_elements(library, mode):
    x = oracle.random("float32", (6, 30), np.random.default_rng(0))
    given = NAMESPACES[library].asarray(x)
    result = array_api.top_k(given, 4, mode=mode)
    assert [type(each) for each in result] == [type(given)] * 2
    values, indices = map(as_numpy, (result.values, result.indices))
    oracle.check_selected(x, slice(4), indices, values, descending=mode == "largest")


def test_signatures_are_those_of_standard():
    for name in ("sort", "argsort"):
        ours = inspect.signature(getattr(array_api, name)).parameters.values()
        theirs = inspect.signature(getattr(array_api_strict, name)).parameters.values()
        assert [(p.name, p.kind, p.default) for p in ours] == [
            (p.name, p.kind, p.default) for p in theirs
        ]
    # In the draft of the standard.
    assert list(inspect.signature(array_api.top_k).parameters) == ["x", "k", "axis", "mode"]


@pytest.mark.parametrize("function", [array_api.sort, array_api.argsort])
def test_bad_arguments_raise(function):
    x = array_api_strict.asarray([1.0, 2.0])
    with pytest.raises(ValueError, match="axis"):
        function(x, axis=1)
    with pytest.raises(TypeError, match="descending"):
        function(x, descending=1)
    with pytest.raises(TypeError, match="stable"):
        function(x, stable=None)
    with pytest.raises(TypeError, match="complex"):
        function(np.array([1j]))
