"""Writes results to the tensors that a caller passes as out, as PyTorch's functions do.

Invariant: PyTorch itself checks out and resizes it. No result that has a gradient comes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_copy_to = torch.ops.aten.clone.out


def why_not_out(out: Any, *dtypes: torch.dtype) -> str | None:
    """Return why a call with an out is left to PyTorch, or None if it is not."""
    if out is None:
        return None
    given = out if isinstance(out, (tuple, list)) else [out]
    if len(given) != len(dtypes) or isinstance(out, Tensor) != (len(dtypes) == 1):
        return "out is not what the function returns"
    for each, dtype in zip(given, dtypes, strict=True):
        if not isinstance(each, Tensor) or each.dtype != dtype or each.requires_grad:
            return "out has another dtype, or needs a gradient"
    return "out is the same twice" if len(given) == 2 and given[0] is given[1] else None


def written(result: Tensor, out: Tensor | None) -> Tensor:
    """Return a result, in out if that was given."""
    return result if out is None else _copy_to(result, out=out)


def all_written(kind: Any, results: Sequence[Tensor], out: Sequence[Tensor] | None) -> Any:
    """Return the results as PyTorch's named tuple, in out's tensors if these were given."""
    if out is None:
        return kind(results)
    return kind([_copy_to(result, out=each) for result, each in zip(results, out, strict=True)])
