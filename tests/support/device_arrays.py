"""Tensors on a CUDA device and the oracle's arrays, converted into each other bit for bit.

A dtype crosses as integers of its width: NumPy has not all of torch's, nor torch all of CUDA's.
"""

import numpy as np
import pytest

from support import oracle

torch = pytest.importorskip("torch")

TORCH = {name: getattr(torch, name) for name in oracle.ALL if hasattr(torch, name)}
WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits_to_device(x, device="cuda"):
    """The bits of an array as a tensor of signed integers."""
    bits = np.ascontiguousarray(x).view(f"i{x.dtype.itemsize}").reshape(x.shape)
    return torch.from_numpy(bits.copy()).to(device)


def to_device(x, device="cuda"):
    return bits_to_device(x, device).view(TORCH[x.dtype.name])


def to_host(tensor, dtype):
    return tensor.view(WORDS[tensor.element_size()]).cpu().numpy().view(dtype)


def check(x, result, axis=-1, descending=False, nan="largest"):
    """As `oracle.check`, of a result on a device."""
    oracle.check(x, to_host(result, x.dtype), axis, descending, nan)
