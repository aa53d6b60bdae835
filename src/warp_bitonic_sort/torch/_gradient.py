"""Sorts and selections with a gradient, in eager calls that PyTorch does not transform.

Invariant: the backward pass needs the indices alone, as PyTorch's own does. Every other call with a
gradient is one of an operator: see `_operators`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _Selection(torch.autograd.Function):  # type: ignore[misc]
    """The values and indices that a function returns for a tensor.

    A value's gradient is that of the element at its index. It is formed by operations that PyTorch
    differentiates again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, select: Callable[[Tensor], Any]) -> Any:
        values, indices = select(x)
        ctx.shape, ctx.dim = x.shape, dim
        ctx.save_for_backward(indices)
        ctx.mark_non_differentiable(indices)
        return values, indices

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Any:
        (indices,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.shape).scatter(ctx.dim, indices, gradient), None, None


def with_gradient(select: Callable[[Tensor], Any], x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the values and indices that a function selects along a dimension.

    Parameters
    ----------
    select : callable
        A function of x that returns values and their indices, int64.
    x : Tensor
        A plain tensor that requires a gradient.
    dim : int
        The dimension of the rows.
    """
    values, indices = _Selection.apply(x, dim, select)
    return values, indices
