"""The fallback with the functions of PyTorch and JAX, as on a device, but in CPU memory."""

import numpy as np
import pytest

from support import oracle
from support.covering import pairwise
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.fallback import Sorter

ORDERS = [(False, "largest"), (False, "last"), (True, "largest"), (True, "last")]
ROLES = [("keys",), ("index",), ("keys", "index")]


def torch_outputs(sorter, words):
    torch = pytest.importorskip("torch")
    from warp_bitonic_sort.arrays._torch import _FUNCTIONS

    return [each.numpy() for each in sorter.outputs(torch.from_numpy(words), _FUNCTIONS)]


def jax_outputs(sorter, words):
    jax = pytest.importorskip("jax")
    from warp_bitonic_sort.arrays._jax_gpu import _FUNCTIONS, x64

    with x64(), jax.disable_jit():
        return [np.asarray(each) for each in sorter.outputs(jax.numpy.asarray(words), _FUNCTIONS)]


def check(outputs, name, order, roles):
    x = oracle.random(name, (40, 5), np.random.default_rng(1))
    sorter = Sorter(DTYPES[name], 0, order[0], order[1] == "last", roles)
    results = dict(zip(roles, outputs(sorter, x.view(f"i{x.itemsize}")), strict=True))
    keys = results["keys"].view(x.dtype) if "keys" in roles else None
    if "index" in roles:
        oracle.check_indices(x, results["index"], keys, 0, *order)
    else:
        oracle.check(x, keys, 0, *order)


@pytest.mark.parametrize(("name", "order", "roles"), pairwise(list(oracle.ALL), ORDERS, ROLES))
def test_fallback_with_functions_of_torch_equals_the_oracle(name, order, roles):
    check(torch_outputs, name, order, roles)


@pytest.mark.stress  # JAX compiles each of its functions
@pytest.mark.parametrize(
    ("name", "order", "roles"),
    pairwise(["uint16", "float32", "float8_e4m3fnuz"], ORDERS, ROLES),
)
def test_fallback_with_functions_of_jax_equals_the_oracle(name, order, roles):
    check(jax_outputs, name, order, roles)
