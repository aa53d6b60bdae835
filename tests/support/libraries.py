"""Arrays of other libraries made of NumPy's, and back."""

import jax
import numpy as np
import torch
import tvm_ffi

from . import oracle


def to_torch(x):
    """Return a tensor of the bits of an array, also of a dtype of ml_dtypes."""
    return torch.from_numpy(oracle.bits(x).view(f"i{x.itemsize}")).view(
        getattr(torch, x.dtype.name)
    )


def from_torch(tensor):
    """Return the bits of a tensor."""
    return tensor.view(getattr(torch, f"int{8 * tensor.element_size()}")).numpy()


def to_jax(x):
    """Return a JAX array, without narrowing."""
    with jax.enable_x64(True):
        return jax.numpy.asarray(x)


# For each library, how to make one of its arrays, how to return the bits, and its default index.
LIBRARIES = {
    "numpy": (lambda x: x, np.asarray, "int64"),
    "torch": (to_torch, from_torch, "int64"),
    "jax": (to_jax, np.asarray, "int32"),
    "tvm_ffi": (
        lambda x: tvm_ffi.from_dlpack(to_torch(x)),
        lambda x: from_torch(torch.from_dlpack(x)),
        "int64",
    ),
}
