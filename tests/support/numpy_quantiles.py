"""What `median` and `quantile` must return: NumPy's results, except where NumPy's overflow."""

import warnings

import ml_dtypes
import numpy as np

from . import oracle

METHODS = ["linear", "lower", "higher", "midpoint", "nearest"]
MODES = ["propagate", "omit"]
NAMES = [name for name in oracle.ALL if not name.startswith("float8")]


def few(name, shape, rng):
    """Random bits, or in half of the cases few values with NaNs and infinities."""
    if name not in oracle.FLOATS or rng.random() < 0.5:
        return oracle.random(name, shape, rng)
    values = [1.5, -2.25, 3, 0.0, -0.0, 1e-3, *rng.permutation([np.nan, np.inf, -np.inf])[:2]]
    return rng.choice(np.array(values, oracle.ALL[name]), shape)


def with_arithmetic(x):
    """Return an array with which NumPy computes as `median` promises: without overflow."""
    if x.dtype.kind in "biu":
        return x.astype(np.float64)
    if x.dtype == ml_dtypes.bfloat16:
        return x.astype(np.float32)
    return x


def check(x, result, expected):
    """Assert that a result is NumPy's, except where NumPy's sums and differences overflow."""
    assert result.shape == expected.shape
    assert result.dtype == (np.float64 if x.dtype.kind in "biu" else x.dtype)
    with np.errstate(all="ignore"):  # NumPy's result for bfloat16 is float32
        result, expected = (with_arithmetic(a.astype(result.dtype)) for a in (result, expected))
    agree = (result == expected) | (np.isnan(result) & np.isnan(expected))
    if x.dtype.name in oracle.FLOATS:
        with np.errstate(invalid="ignore"):
            x = with_arithmetic(x)
        size = np.max(np.abs(x), initial=0, where=np.isfinite(x))
        if size > np.finfo(x.dtype).max / 4:
            agree |= ~np.isfinite(expected) & np.isfinite(result)
    assert agree.all(), (x, result, expected)


def expected_median(x, axis, nan, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function = np.median if nan == "propagate" else np.nanmedian
        return np.asarray(function(with_arithmetic(x), axis=axis, **options))


def expected_quantile(x, q, axis, nan, **options):
    """The result of NumPy for each number of q, in x's precision."""
    function = np.quantile if nan == "propagate" else np.nanquantile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if np.ndim(q) == 0:
            return np.asarray(function(with_arithmetic(x), q, axis=axis, **options))
        return np.stack([expected_quantile(x, each, axis, nan, **options) for each in q])
