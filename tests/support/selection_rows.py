"""Rows on which an algorithm that selects elements may go wrong, of any dtype of the oracle.

Invariant: the same arguments and random numbers give the same rows, bit for bit.
"""

import ml_dtypes
import numpy as np

from . import oracle

KINDS = ["normal", "bits", "ties", "equal", "sorted", "reversed", "masked", "all but 8 masked",
         "NaN", "zeros", "limits", "outliers", "low bits", "large first",
         "large interleaved"]  # fmt: skip
# Where a row is divided into interleaved groups, one of every so many positions is in a group.
STRIDES = (32, 64, 128, 256)


def limits(name):
    """The lowest and the highest value of a dtype; those of a float are infinite if it has such."""
    if name in oracle.INTEGERS:
        return np.iinfo(name).min, np.iinfo(name).max
    info = ml_dtypes.finfo(oracle.ALL[name])
    return (float(info.min), float(info.max)) if "fn" in name else (-np.inf, np.inf)


def normal(name, shape, rng):
    """Normal numbers, or integers of the whole range."""
    if name in oracle.FLOATS:
        return rng.standard_normal(shape).astype(oracle.ALL[name])
    return rng.integers(*limits(name), shape, name, endpoint=True)


def nans(name, shape, rng):
    """NaNs of both signs; a dtype with infinities has nearly every payload, and an infinity."""
    dtype = np.dtype(oracle.ALL[name])
    word = f"u{dtype.itemsize}"
    sign = 1 << (8 * dtype.itemsize - 1)
    if name.endswith("fnuz"):
        raw = np.full(shape, sign)
    elif name.endswith("fn"):
        raw = rng.choice([sign - 1, 2 * sign - 1], shape)
    else:
        raw = rng.integers(0, 2 * sign - 1, shape, np.uint64, endpoint=True)
        raw |= oracle.bits(np.array(np.inf, dtype)).astype(np.uint64)
    return raw.astype(word).view(dtype)


def low_bits(name, shape, rng):
    """Values that differ in their lowest bits alone."""
    width = 8 * np.dtype(oracle.ALL[name]).itemsize
    raw = (1 << (width - 2)) + rng.integers(0, 1 << width // 3, shape)
    return raw.astype(f"u{width // 8}").view(oracle.ALL[name])


def large_at(is_large, x, rng):
    """The rows with their largest elements at some positions, else in any order."""
    result = x.copy()
    for row, chosen in zip(result, is_large, strict=True):
        values = row[oracle.expected_indices(row)]
        count = len(row) - int(chosen.sum())
        row[~chosen] = rng.permutation(values[:count])
        row[chosen] = rng.permutation(values[count:])
    return result


def rows_of(kind, name, shape, rng):
    """Rows of a kind: an array of two dimensions."""
    low, high = limits(name)
    x = normal(name, shape, rng)
    count, length = shape
    if kind == "bits" or (kind in ("NaN", "zeros") and name in oracle.INTEGERS):
        return oracle.random(name, shape, rng)
    if kind == "ties":
        return rng.choice(x.reshape(-1)[:5], shape)
    if kind == "equal":
        return np.repeat(x[:, :1], length, axis=1)
    if kind in ("sorted", "reversed"):
        order = oracle.expected_indices(x, descending=kind == "reversed")
        return np.take_along_axis(x, order, -1)
    if kind == "masked":
        x[rng.random(shape) < 0.25] = low
    elif kind == "all but 8 masked":
        x[rng.random(shape).argsort(-1) >= 8] = low
    elif kind == "NaN":
        x = np.where(rng.random(shape) < 0.3, nans(name, shape, rng), x)
    elif kind == "zeros":
        x[rng.random(shape) < 0.6] = 0.0
        x[rng.random(shape) < 0.3] = -0.0
    elif kind == "limits":
        place = rng.random(shape)
        x[place < 0.3] = low
        x[place > 0.7] = high
    elif kind in ("outliers", "low bits"):
        x = low_bits(name, shape, rng)
        if kind == "outliers":
            x[:, rng.integers(length)] = low
            x[:, rng.integers(length)] = high
    elif kind == "large first":
        return large_at(np.broadcast_to(np.arange(length) < -(-length // 16), shape), x, rng)
    elif kind == "large interleaved":
        strides = np.resize(STRIDES, count)
        return large_at(np.arange(length) % strides[:, None] == 0, x, rng)
    return x
