"""Decides how a call is answered: by PyTorch, by a kernel at once, or by an operator.

Invariant: a kernel is called at once only for a plain tensor with which PyTorch does nothing, or
nothing but a backward pass. All other calls are operators, of which PyTorch itself knows whether a
gradient is wanted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..arrays._torch_context import is_recorded, is_transformed
from ..dtypes import DTYPES
from ._operators import know_dtensor

# The longest rows that kernels sort; `topk` has kernels for rows of any length.
LONGEST = 16384
# Of fewer elements in CPU memory, PyTorch finds medians and quantiles sooner.
FEWEST_ELEMENTS = 1024
_is_compiling, _is_grad_enabled = torch.compiler.is_compiling, torch.is_grad_enabled
_PLAIN = (Tensor, torch.nn.Parameter)
_SORTED = frozenset(getattr(torch, name) for name in DTYPES if hasattr(torch, name))
_DIFFERENTIABLE = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
# The dtypes whose medians PyTorch finds; quantiles are those of two.
_COMMON = (*_DIFFERENTIABLE, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def why_not(
    x: Any,
    dim: Any,
    any_length: bool = False,
    lowest_rank: int = 0,
    out: Any = None,
    may_be_small: bool = True,
) -> str | None:
    """Return why a call is left to PyTorch, or None if it is not.

    Parameters
    ----------
    x : Tensor
        What is sorted.
    dim : int
        The dimension of the rows.
    any_length : bool, default False
        Whether rows of more than `LONGEST` elements are taken.
    lowest_rank : int, default 0
        The lowest number of dimensions.
    out : optional
        What the caller passed as out.
    may_be_small : bool, default True
        Whether fewer than `FEWEST_ELEMENTS` elements in CPU memory are taken.
    """
    if not isinstance(x, Tensor):
        return "input is no tensor"
    if x.dtype not in _SORTED:
        return "the dtype is not sorted"
    if x.layout is not torch.strided or x.is_nested:
        return "input is not dense"
    if not (x.is_cpu or x.is_cuda or x.is_meta):
        return "the device has no kernels"
    rank = x.dim() or 1
    if type(dim) is not int or not -rank <= dim < rank:
        return "dim is not one of the dimensions"
    if x.dim() < lowest_rank:
        return "input has no dimensions"
    if not any_length and x.dim() and x.size(dim) > LONGEST:
        return f"rows are longer than {LONGEST}"
    if out is not None and may_need_gradient(x):
        return "out is given, and a gradient is wanted"
    is_small = not may_be_small and x.is_cpu and x.numel() < FEWEST_ELEMENTS
    if is_small and x.dtype in _COMMON and is_plain(x):
        return f"there are fewer than {FEWEST_ELEMENTS} elements"
    return None


def why_no_flag(flag: Any, other: Any = False) -> str | None:
    """Return why PyTorch has to look at one or two flags, or None if they are bools."""
    return None if type(flag) is bool and type(other) is bool else "a flag is no bool"


def is_eager() -> bool:
    """Tell whether PyTorch neither records nor transforms calls, except for their gradient."""
    return (
        not _is_compiling()
        and forward_ad._current_level < 0
        and not is_transformed()
        and not is_recorded()
    )


def is_plain(x: Tensor) -> bool:
    """Tell whether a call is eager, of a tensor that has values of its own."""
    if type(x) not in _PLAIN:
        know_dtensor()
        return False
    return is_eager() and not x.is_meta and not x._is_zerotensor()


def wants_backward(x: Tensor) -> bool:
    """Tell whether PyTorch records what a backward pass of a result needs."""
    return bool(x.requires_grad and _is_grad_enabled())


def is_direct(x: Tensor) -> bool:
    """Tell whether a call is plain, and x needs no gradient."""
    return is_plain(x) and not wants_backward(x)


def needs_gradient_alone(x: Tensor) -> bool:
    """Tell whether a call is plain, and x needs a gradient that it can have."""
    return is_plain(x) and wants_backward(x) and x.dtype in _DIFFERENTIABLE


def may_need_gradient(x: Tensor) -> bool:
    """Tell whether the result of a call may need a gradient."""
    return not is_direct(x) and x.is_floating_point()
