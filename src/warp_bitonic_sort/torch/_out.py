"""Writes results to the tensors that a caller passes as out, as PyTorch's functions do.

Invariant: PyTorch itself checks out and resizes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_copy_to = torch.ops.aten.clone.out


def _copied(result: Tensor, out: Tensor) -> Tensor:
    if result.requires_grad:
        raise RuntimeError(
            "out: expected None where a gradient is wanted: PyTorch does not differentiate a copy "
            "into out; pass input.detach(), or call under torch.no_grad()."
        )
    return _copy_to(result, out=out)


def written(result: Tensor, out: Tensor | None) -> Tensor:
    """Return a result, in out if that was given."""
    return result if out is None else _copied(result, out)


def all_written(kind: Any, results: Sequence[Tensor], out: Sequence[Tensor] | None) -> Any:
    """Return the results as PyTorch's named tuple, in out's tensors if these were given."""
    if out is None:
        return kind(results)
    return kind([_copied(*pair) for pair in zip(results, out, strict=True)])
