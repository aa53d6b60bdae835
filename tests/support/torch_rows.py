"""Tensors for the tests of the functions for PyTorch, on the device that they are to run on.

Invariant: `WARP_SORT_TESTS_DEVICE=cuda` moves the tests to a GPU; without it they run on the CPU.
"""

import os

import numpy as np
import torch

DEVICE = torch.device(os.environ.get("WARP_SORT_TESTS_DEVICE", "cpu"))


def distinct(*shape, dtype=torch.float64, seed=3):
    """A tensor without ties, whose elements are a permutation."""
    order = np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape)
    return (torch.from_numpy(order) / 7 - 1).to(DEVICE, dtype)


def with_ties(shape, dtype, seed=0):
    """Rows with ties and, of floats, NaNs, infinities and zeros of either sign."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 5, shape).astype(np.float64)
    if dtype.is_floating_point:
        special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, -np.nan])
        values = np.where(rng.random(shape) < 0.15, rng.choice(special, shape), values)
    elif not dtype.is_signed:
        values = abs(values)
    return torch.from_numpy(np.ascontiguousarray(values)).to(DEVICE, dtype)
