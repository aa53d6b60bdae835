"""Checks the arguments of functions that PyTorch does not have.

Invariant: an error names the argument, what came, and what would do.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..operations._arguments import checked_bool, checked_choice, checked_integer
from ._routes import why_not


def check(
    x: Any,
    dim: Any,
    nan: Any,
    name: str = "input",
    descending: Any = False,
) -> None:
    """Raise if a tensor, its dimension, a flag or the place of NaNs is not accepted.

    Parameters
    ----------
    x : Tensor
        The tensor.
    dim : int
        The dimension of its rows.
    nan : str
        The place of NaNs.
    name : str, default "input"
        The name of x.
    descending : bool, default False
        The direction.

    Raises
    ------
    TypeError, ValueError
        An argument of a wrong type or value.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}.")
    rank = x.dim() or 1
    if not -rank <= checked_integer("dim", dim) < rank:
        raise ValueError(
            f"dim: expected {-rank} to {rank - 1} for a tensor of shape {tuple(x.shape)}, got "
            f"{dim}."
        )
    reason = why_not(x, dim, any_length=True)
    if reason:
        raise TypeError(
            f"{name}: expected a dense tensor of a dtype that warp_bitonic_sort.sort takes, on a "
            f"CPU or a GPU, got {x.dtype}, layout {x.layout}, on {x.device}: {reason}."
        )
    checked_bool("descending", descending)
    checked_choice("nan", nan, ("largest", "last"))
