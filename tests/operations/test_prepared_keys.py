"""Prepared calls serve only arrays that are alike: a sort is right after any other."""

import itertools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
import tvm_ffi
from jax.sharding import SingleDeviceSharding

from support import oracle
from warp_bitonic_sort import sort
from warp_bitonic_sort.operations import _call

BASE = np.random.default_rng(20).integers(-100, 100, (9, 9)).astype(np.float32)


def strided(x):
    """The same values in every second element of a wider array."""
    wide = np.zeros((9, 18), x.dtype)
    wide[:, ::2] = x
    return wide[:, ::2]


def misaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)
    memory[1:] = x.view(np.uint8).reshape(-1)
    return memory[1:].view(x.dtype).reshape(x.shape)


def split(x):
    """The same values with strides that are no whole number of elements."""
    records = np.zeros(x.shape, [("pad", "i1"), ("value", x.dtype)])
    records["value"] = x
    return records["value"]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "row-major": np.ascontiguousarray,
    "column-major": np.asfortranarray,
    "strided": strided,
    "strided columns": lambda x: strided(x.T).T,
    "reversed": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
}
MEMORY = {"read-only": read_only, "misaligned": misaligned}
DTYPES = {
    name: lambda x, name=name: x.astype(name)
    for name in ("int32", "uint32", "float64", "float16", "int16", ml_dtypes.bfloat16)
}
SHAPES = {
    "(8, 9)": lambda x: x[:8],
    "(9,)": lambda x: x[0],
    "(1, 9)": lambda x: x[:1],
    "(9, 9, 1)": lambda x: x[..., None],
}

NUMPY = {
    **LAYOUTS,
    **MEMORY,
    **DTYPES,
    **SHAPES,
    "split": split,
    "big-endian": lambda x: x.astype(">f4"),
    "big-endian integers": lambda x: x.astype(">i4"),
    "with metadata": lambda x: x.astype(np.dtype("f4", metadata={"of": "tests"})),
    "matrix": np.matrix,
}


def to_tensor(x):
    """A tensor with the strides of an array."""
    if x.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def negated(x):
    tensor = torch.complex(torch.zeros(x.shape), to_tensor(-x)).conj().imag
    assert tensor.is_neg()
    return tensor


TORCH = {
    **{
        name: lambda x, change=change: to_tensor(change(x))
        for name, change in {**LAYOUTS, **DTYPES, **SHAPES, "misaligned": misaligned}.items()
        if name not in ("reversed", "repeated")  # torch takes neither from NumPy
    },
    "expanded": lambda x: to_tensor(x)[:1].expand(9, 9),
    "negated": negated,
    "with a gradient": lambda x: to_tensor(x).clone().requires_grad_(),
    "parameter": lambda x: torch.nn.Parameter(to_tensor(x)),
    "inference": torch.inference_mode()(lambda x: to_tensor(x).clone()),
}


def to_jax(x):
    """An array with the layout of an array; JAX has no strides but those of a dense one."""
    return jax.dlpack.from_dlpack(to_tensor(x))


def in_memory_of(kind):
    return lambda x: jax.device_put(
        x, SingleDeviceSharding(jax.devices("cpu")[0], memory_kind=kind)
    )


JAX = {
    "row-major": jnp.asarray,
    "column-major": lambda x: to_jax(np.asfortranarray(x)),
    "columns of planes": lambda x: to_jax(np.asfortranarray(np.stack([x, x]))),
    "planes": lambda x: jnp.stack([x, x]),
    "committed": lambda x: jax.device_put(x, jax.devices("cpu")[0]),
    "unpinned": in_memory_of("unpinned_host"),
    **{
        name: lambda x, change=change: jnp.asarray(change(x))
        for name, change in {**DTYPES, **SHAPES}.items()
        if name != "float64"
    },
}


class Foreign:
    """An array of a library that is not known."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


Foreign.__module__ = "nowhere"
DLPACK = {
    name: lambda x, change=change: Foreign(change(x))
    for name, change in {**LAYOUTS, **MEMORY, **DTYPES, **SHAPES}.items()
    if name is not ml_dtypes.bfloat16
}
TVM_FFI = {
    name: lambda x, change=change: tvm_ffi.from_dlpack(change(x))
    for name, change in {**LAYOUTS, **DTYPES, **SHAPES}.items()
    if name not in (ml_dtypes.bfloat16, "repeated")
}


def to_numpy(array):
    if isinstance(array, Foreign):
        return array.array
    if isinstance(array, tvm_ffi.Tensor):
        return np.from_dlpack(array)
    if isinstance(array, torch.Tensor):
        array = array.detach().resolve_neg()
        if array.dtype == torch.bfloat16:
            return array.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return array.numpy()
    return np.asarray(array)


def check(array, axis, out=None):
    before = to_numpy(array).copy()
    options = {} if out is None else {"out": out}
    result = to_numpy(sort(array, axis=axis, **options))
    native = before.dtype.newbyteorder("=")
    oracle.check(before.astype(native), result.astype(native), axis)


@pytest.mark.parametrize(
    "variants", [NUMPY, TORCH, JAX, DLPACK, TVM_FFI], ids=["numpy", "torch", "jax", "dlpack", "ffi"]
)
@pytest.mark.parametrize("axis", [0, -1])
def test_sort_after_a_sort_of_a_similar_array_is_right(variants, axis):
    arrays = {name: make(BASE) for name, make in variants.items()}
    with torch.no_grad():
        for first, second in itertools.permutations(arrays, 2):
            _call._prepared.clear()
            for name in (first, second, first):
                try:
                    check(arrays[name], axis)
                except Exception as error:
                    raise AssertionError(f"{name}, sorted after {first}: {error}") from error


OUTS = {
    "numpy": {
        name: change
        for name, change in {**LAYOUTS, "misaligned": misaligned, "split": split}.items()
        if name != "repeated"
    },
    "torch": {
        name: TORCH[name]
        for name in ("row-major", "column-major", "strided", "negated", "with a gradient")
    },
}


@pytest.mark.parametrize("library", OUTS)
@pytest.mark.parametrize("axis", [0, -1])
def test_sort_into_an_out_after_a_sort_into_a_similar_one_is_right(library, axis):
    makes = OUTS[library]
    with torch.no_grad():
        for source in makes:
            x = makes[source](BASE)
            for first, second in itertools.permutations(makes, 2):
                _call._prepared.clear()
                for name in (first, second, first):
                    try:
                        check(x, axis, makes[name](np.zeros_like(BASE)))
                    except Exception as error:
                        message = f"{source} into {name}, after {first}: {error}"
                        raise AssertionError(message) from error
