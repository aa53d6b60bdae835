"""`quantile` and `nanquantile` of PyTorch.

Invariant: the formula is that of `torch.quantile`, over rows that our kernels sort: the results are
its results bit for bit, and PyTorch differentiates, batches and compiles it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._out import why_not_out, written
from ._routes import LONGEST, is_direct, why_not
from ._sort import sorted_values
from ._theirs import in_place_of_torch, left_to_torch

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@in_place_of_torch
def quantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Tensor | None = None,
) -> Tensor:
    """Return quantiles along a dimension, or of all elements: `torch.quantile`.

    Parameters
    ----------
    input, q, dim, keepdim, interpolation, out
        As for `torch.quantile`.

    Returns
    -------
    Tensor
        The quantiles, which have gradients for input and q; q's dimension, if it has one, is the
        first. Where a row has a NaN, they are NaN.

    Raises
    ------
    RuntimeError, IndexError, TypeError
        As `torch.quantile` does.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, out)


@in_place_of_torch
def nanquantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    out: Tensor | None = None,
) -> Tensor:
    """Return quantiles of the elements that are not NaN: `torch.nanquantile`.

    Parameters
    ----------
    input, q, dim, keepdim, interpolation, out
        As for `torch.nanquantile`.

    Returns
    -------
    Tensor
        As for `quantile`. The quantiles of a row of NaNs are NaN.

    Raises
    ------
    RuntimeError, IndexError, TypeError
        As `torch.nanquantile` does.
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, out)


def _quantile(
    name: str, x: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, out: Any
) -> Tensor:
    reason = _why_not(x, q, dim, keepdim, interpolation, out)
    if reason:
        options = {"interpolation": interpolation, "out": out}
        result: Tensor = left_to_torch(name, reason, x, q, dim, keepdim, **options)
        return result
    rank = x.dim()
    dim = dim if rank else None  # a scalar is a row of one element
    rows = x.reshape(-1) if dim is None else x.movedim(dim, -1)
    values = sorted_values(rows, -1)
    points = q if isinstance(q, Tensor) else torch.full((), q, dtype=x.dtype, device=x.device)
    last = values.shape[-1] - 1
    # Places in each row: the shape of rows with as many places as there are points.
    flat = points.reshape(-1)
    if name == "quantile":
        has_nan = values.narrow(-1, last, 1).isnan()
        places = torch.where(has_nan, last, flat * last)
    else:
        count = values.isnan().logical_not().sum(-1, keepdim=True)
        places = (flat * (count - 1)).clamp(min=0)
    result = _read(values, places, interpolation)
    if points.dim() == 0:
        result = result.squeeze(-1)
        if keepdim:
            result = result.reshape((1,) * rank) if dim is None else result.unsqueeze(dim)
    else:
        result = result.movedim(-1, 0)
        if keepdim:
            shape = (-1, *(1,) * rank)
            result = result.reshape(shape) if dim is None else result.unsqueeze(dim % rank + 1)
    return written(result, out)


def _read(values: Tensor, places: Tensor, interpolation: str) -> Tensor:
    """Return the elements at places in sorted rows, or what lies between two."""
    if interpolation == "lower":
        places = places.floor()
    elif interpolation == "higher":
        places = places.ceil()
    elif interpolation == "nearest":
        places = places.round()
    below = places.long()
    low = values.gather(-1, below)
    if interpolation not in ("linear", "midpoint"):
        return low
    weights = torch.full_like(places, 0.5) if interpolation == "midpoint" else places - below
    return low.lerp(values.gather(-1, places.ceil().long()), weights)


def _why_not(x: Any, q: Any, dim: Any, keepdim: Any, interpolation: Any, out: Any) -> str | None:
    """Return why quantiles are left to PyTorch, or None if they are not."""
    at = -1 if dim is None else dim
    reason = why_not(x, at, any_length=True, out=out, may_be_small=False)
    reason = reason or why_not_out(out, x.dtype)
    if reason:
        return reason
    if x.dtype not in (torch.float32, torch.float64):
        return "the dtype is neither float32 nor float64"
    length = x.numel() if dim is None else (x.shape[dim] if x.dim() else 1)
    if length > LONGEST or x.numel() == 0:
        return f"there are no elements, or rows are longer than {LONGEST}"
    if type(keepdim) is not bool or interpolation not in _INTERPOLATIONS:
        return "keepdim or interpolation is unknown"
    if isinstance(q, Tensor):
        if q.dtype != x.dtype or q.dim() > 1 or q.device != x.device:
            return "q has another dtype or device, or too many dimensions"
        if torch.compiler.is_compiling():
            return None
        if not is_direct(q):
            return "q is recorded, or needs a gradient"
        is_known = not q.is_cpu or bool(((q >= 0) & (q <= 1)).all())
        return None if is_known else "q is not within 0 and 1"
    return None if type(q) in (float, int) and 0 <= q <= 1 else "q is not within 0 and 1"
