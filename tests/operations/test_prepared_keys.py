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
from warp_bitonic_sort import argsort, sort, sort_with_indices
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
            _call.prepared_calls.clear()
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
                _call.prepared_calls.clear()
                for name in (first, second, first):
                    try:
                        check(x, axis, makes[name](np.zeros_like(BASE)))
                    except Exception as error:
                        message = f"{source} into {name}, after {first}: {error}"
                        raise AssertionError(message) from error


def out_of_no_memory():
    out = torch.empty(9, 9)
    out.untyped_storage().resize_(0)
    return out


# Each has the dtype, the shape and the strides of an out that was accepted before.
REFUSED = {
    "read-only": (BASE, lambda: read_only(BASE), ValueError, "can be written"),
    "masked": (BASE, lambda: np.ma.masked_array(BASE.copy()), TypeError, "masked array"),
    "of another library": (BASE, lambda: torch.empty(9, 9), TypeError, "expected a numpy.ndarray"),
    "tensor without memory": (to_tensor(BASE), out_of_no_memory, ValueError, "has no memory"),
    "tensor with a gradient": (
        to_tensor(BASE),
        lambda: torch.empty(9, 9, requires_grad=True),
        TypeError,
        "requires a gradient",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_out_that_is_like_an_accepted_one_and_is_refused_raises(name):
    x, make, error, message = REFUSED[name]
    sort(x, out=x * 0)
    with pytest.raises(error, match=f"^out: .*{message}"):
        sort(x, out=make())


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_out_that_overlaps_x_after_one_that_does_not_is_right(convert):
    for distance in (10, 0, 1, 5):  # in rows; x has five
        memory = np.random.default_rng(distance).random((15, 9))
        expected = np.sort(memory[:5])
        x, out = convert(memory[:5]), convert(memory[distance : distance + 5])
        assert sort(x, out=out) is out
        np.testing.assert_array_equal(np.asarray(out), expected)


def test_outs_that_overlap_after_outs_that_do_not_raise():
    memory = np.zeros((18, 9), np.int64)
    x = np.arange(81).reshape(9, 9)[:, ::-1].copy()
    sort_with_indices(x, out=(memory[:9], memory[9:]))
    with pytest.raises(ValueError, match=r"^out: out\[0\] and out\[1\] share memory"):
        sort_with_indices(x, out=(memory[:9], memory[8:17]))


def test_index_dtype_other_than_that_of_an_accepted_out_raises():
    out = np.empty(BASE.shape, np.int64)
    argsort(BASE, out=out)
    with pytest.raises(TypeError, match="^out: expected index_dtype int32, got int64"):
        argsort(BASE, out=out, index_dtype="int32")
