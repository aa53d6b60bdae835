"""What a sorted row must be, computed without any of the package's code.

The oracle orders by value: every dtype but the 64-bit integers fits float64 exactly, and integers
are left to np.sort. It never looks at a key, a network or a pad.
"""

import ml_dtypes
import numpy as np

FLOATS = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
}
INTEGERS = {
    "bool": np.bool_,
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}").type
       for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
ALL = {**FLOATS, **INTEGERS}


def bits(x):
    """The raw bits of an array, as unsigned integers."""
    return np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}").reshape(x.shape)


def is_nan(x):
    """Where an array of floats is NaN; ml_dtypes warns of signalling ones."""
    with np.errstate(invalid="ignore"):
        return np.isnan(x.astype(np.float64))


def expected(x, axis=-1, descending=False, nan="largest"):
    """The sorted array, NaNs in any order among themselves."""
    if x.dtype.name in INTEGERS:
        result = np.sort(x, axis=axis)
        return np.flip(result, axis) if descending else result
    with np.errstate(invalid="ignore"):
        value = x.astype(np.float64)
    nans = np.isnan(value)
    # -0.0 before 0.0: the sign decides between equal values.
    order = np.lexsort((~np.signbit(value), np.where(nans, 0.0, value), nans), axis=axis)
    result = np.take_along_axis(x, order, axis)
    if not descending:
        return result
    result = np.flip(result, axis)
    if nan == "largest":
        return result
    last = np.argsort(is_nan(result), axis=axis, kind="stable")
    return np.take_along_axis(result, last, axis)


def check(x, result, axis=-1, descending=False, nan="largest"):
    """Assert that result is x sorted: in order, and a permutation of every row, bit for bit."""
    assert result.dtype == x.dtype
    assert result.shape == x.shape
    if x.ndim == 0:
        assert bits(result) == bits(x)
        return
    want = expected(x, axis, descending, nan)
    got_bits, want_bits = bits(result), bits(want)
    if x.dtype.name in FLOATS:
        nans = is_nan(want)
        np.testing.assert_array_equal(is_nan(result), nans)
        np.testing.assert_array_equal(
            np.sort(np.where(nans, got_bits, 0), axis=axis),
            np.sort(np.where(nans, want_bits, 0), axis=axis),
        )
        got_bits, want_bits = (np.where(nans, 0, b) for b in (got_bits, want_bits))
    np.testing.assert_array_equal(got_bits, want_bits)


def expected_indices(x, axis=-1, descending=False, nan="largest"):
    """The indices of the sorted array: stable in both directions, NaNs equal, -0.0 equal to 0.0."""
    if x.dtype.name in INTEGERS:
        value, nans = x, np.zeros(x.shape, bool)
    else:
        with np.errstate(invalid="ignore"):
            value = x.astype(np.float64)
        nans = np.isnan(value)
        value = np.where(nans, 0.0, value)
    # Dense ranks: equal values have one rank, whose negative orders the other way.
    rank = np.unique(value, return_inverse=True)[1].reshape(x.shape).astype(np.int64)
    rank = -rank if descending else rank
    is_first = descending and nan == "largest"
    rank[nans] = -x.size - 1 if is_first else x.size + 1
    return np.argsort(rank, axis=axis, kind="stable")


def check_indices(x, indices, values=None, axis=-1, descending=False, nan="largest"):
    """Assert that indices sort x, and that values are x's at them, bit for bit."""
    assert indices.shape == x.shape
    want = expected_indices(x, axis, descending, nan) if x.ndim else np.zeros((), np.int64)
    np.testing.assert_array_equal(indices, want)
    if values is not None:
        assert values.dtype == x.dtype
        there = np.take_along_axis(x, want, axis) if x.ndim else x
        np.testing.assert_array_equal(bits(values), bits(there))


def check_selected(x, positions, indices, values, axis=-1, descending=False, nan="largest"):
    """Assert that values and indices are at positions of the sorted rows, bit for bit.

    Positions are a slice, or an integer for results that lack the axis.
    """
    x = x.reshape(x.shape or (1,))
    order = expected_indices(x, axis, descending, nan)
    at = (slice(None),) * (axis % x.ndim) + (positions,)
    np.testing.assert_array_equal(indices, order[at], strict=True)
    assert values.dtype == x.dtype
    np.testing.assert_array_equal(
        bits(values), np.take_along_axis(bits(x), order, axis)[at], strict=True
    )


def random(name, shape, rng):
    """Random bits with many ties, NaNs of both signs, infinities, zeros and subnormals."""
    dtype = np.dtype(ALL[name])
    if name == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    width = dtype.itemsize * 8
    raw = rng.integers(0, 1 << width, shape, dtype=np.uint64, endpoint=False) if width < 64 else (
        rng.integers(0, 2**64 - 1, shape, dtype=np.uint64, endpoint=True)
    )  # fmt: skip
    raw = raw.astype(f"u{dtype.itemsize}")
    sign = 1 << (width - 1)
    special = [0, sign, 1, sign | 1, (1 << width) - 1, sign - 1]
    if name in FLOATS and "fn" not in name:
        infinity = int(bits(np.array(np.inf, dtype))[()])
        special += [infinity, sign | infinity, infinity | 1, sign | infinity | 1]
    special = np.array(special, dtype=raw.dtype)
    kind = rng.random(shape)
    raw = np.where(kind < 0.25, rng.choice(special, shape), raw)
    if np.prod(shape) > 0:
        few = rng.choice(raw.reshape(-1), 3)
        raw = np.where(kind > 0.75, rng.choice(few, shape), raw)
    return np.ascontiguousarray(raw).view(dtype).reshape(shape)
