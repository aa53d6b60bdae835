"""`topk`, `kthvalue`, `median` and `nanmedian` of PyTorch, and `top_k` of ours.

Invariant: as in `_sort`. Of equal elements, `topk` and `top_k` choose those with the lowest
indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ..operations._arguments import Nan, checked_choice, checked_integer
from ..operations.top_k import TopK, first_of_rows
from ._checks import check
from ._operators import TOPK
from ._out import all_written, why_not_out
from ._parts import first_of_shards
from ._routes import (
    LONGEST,
    is_direct,
    is_eager,
    may_need_gradient,
    needs_gradient_alone,
    why_no_flag,
    why_not,
)
from ._sort import sorted_with_indices
from ._theirs import in_place_of_torch, left_to_torch


def _first(
    x: Tensor, k: int, dim: int, largest: bool, nan: Nan = "largest"
) -> tuple[Tensor, Tensor]:
    """Return the first k elements of sorted rows, which have a gradient, and their indices."""
    options = (dim, largest, nan == "last")
    if is_direct(x):
        return first_of_rows(x, k, options)
    if needs_gradient_alone(x):
        indices = first_of_rows(x.detach(), k, options)[1]
        return x.gather(dim, indices), indices
    if nan == "largest" and is_eager():
        found = first_of_shards(x, k, dim, largest)
        if found is not None:
            return found
    values, indices = TOPK(x, k, *options)
    return values, indices


def _last(first: Tensor, dim: int) -> Tensor:
    """Return the last of the first elements, which it does not keep in memory."""
    return first.select(dim, -1).clone(memory_format=torch.contiguous_format)


def _why_not_k(x: Any, k: Any, dim: Any, lowest: int, out: Any, is_topk: bool = True) -> str | None:
    """Return why the selection of k elements is left to PyTorch, or None if it is not."""
    reason = why_not(x, dim, is_topk, lowest_rank=1, out=out, may_be_small=is_topk)
    reason = reason or why_not_out(out, x.dtype, torch.int64)
    if reason:
        return reason
    if type(k) is not int and not isinstance(k, torch.SymInt):
        return "k is no integer"
    return None if lowest <= k <= x.shape[dim] else "k is out of range"


@in_place_of_torch
def topk(
    input: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    *,
    out: tuple[Tensor, Tensor] | None = None,
) -> torch.return_types.topk:
    """Return the k largest or smallest elements along a dimension: `torch.topk`.

    Parameters
    ----------
    input, k, dim, largest, out
        As for `torch.topk`.
    sorted : bool, default True
        Accepted; the elements are always in order.

    Returns
    -------
    torch.return_types.topk
        The values, which have a gradient, and their indices (int64). Of equal elements, those with
        the lowest indices are chosen.

    Raises
    ------
    RuntimeError, IndexError, TypeError
        As `torch.topk` does.
    warp_bitonic_sort.BuildError
        The kernel could not be built.

    Examples
    --------
    >>> import torch
    >>> from warp_bitonic_sort.torch import topk
    >>> topk(torch.tensor([[3.0, 1.0, 2.0]]), 2).indices
    tensor([[0, 2]])
    """
    reason = _why_not_k(input, k, dim, 0, out)
    reason = reason or why_no_flag(largest, sorted)
    if reason:
        return left_to_torch("topk", reason, input, k, dim, largest, sorted, out=out)
    return all_written(torch.return_types.topk, _first(input, k, dim, largest), out)


def top_k(
    input: Tensor,
    k: int,
    dim: int = -1,
    *,
    mode: Literal["largest", "smallest"] = "largest",
    nan: Nan = "largest",
) -> TopK:
    """Return the k largest or smallest elements along a dimension, with a choice about NaNs.

    Parameters
    ----------
    input : Tensor
        A dense tensor of at least one dimension, of a dtype that `warp_bitonic_sort.top_k` takes.
    k : int
        How many elements of each row, from 0 to the length of a row.
    dim : int, default -1
        The dimension of the rows.
    mode : {"largest", "smallest"}, default "largest"
        Which elements, and which come first.
    nan : {"largest", "last"}, default "largest"
        Whether NaNs count as the largest value, as in `topk`, or are taken only if nothing else is
        left.

    Returns
    -------
    TopK
        The values, which have a gradient, and their indices (int64).

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `warp_bitonic_sort.top_k` does.
    """
    check(input, dim, nan)
    if input.dim() == 0:
        raise ValueError("input: expected rows, got a tensor without dimensions; pass input[None].")
    length = input.shape[dim]
    if not isinstance(k, torch.SymInt):
        checked_integer("k", k)
    if not 0 <= k <= length:
        raise ValueError(
            f"k: expected 0 to {length} for a tensor of shape {tuple(input.shape)}, got {k}."
        )
    checked_choice("mode", mode, ("largest", "smallest"))
    return TopK(*_first(input, k, dim, mode == "largest", nan))


@in_place_of_torch
def kthvalue(
    input: Tensor,
    k: int,
    dim: int = -1,
    keepdim: bool = False,
    *,
    out: tuple[Tensor, Tensor] | None = None,
) -> torch.return_types.kthvalue:
    """Return the k-th smallest element along a dimension, counted from 1: `torch.kthvalue`.

    Parameters
    ----------
    input, k, dim, keepdim, out
        As for `torch.kthvalue`.

    Returns
    -------
    torch.return_types.kthvalue
        The values, which have a gradient, and their indices (int64). Of equal elements, the index
        of any is returned.

    Raises
    ------
    RuntimeError, IndexError, TypeError
        As `torch.kthvalue` does.
    """
    reason = _why_not_k(input, k, dim, 1, out, is_topk=False)
    reason = reason or why_no_flag(keepdim)
    if reason:
        return left_to_torch("kthvalue", reason, input, k, dim, keepdim, out=out)
    found = [_last(first, dim) for first in _first(input, k, dim, False)]
    return all_written(torch.return_types.kthvalue, _shaped(found, dim, keepdim), out)


@in_place_of_torch
def median(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return the lower median along a dimension, or of all elements: `torch.median`.

    Parameters
    ----------
    input, dim, keepdim, out
        As for `torch.median`. Without a dim, PyTorch answers for more than 16384 elements, and
        where a gradient is wanted: it shares the gradient among equal elements.

    Returns
    -------
    Tensor or torch.return_types.median
        The median of all elements; or with a dim, the medians, which have a gradient, and their
        indices (int64). Where a row has a NaN, it is the median.

    Raises
    ------
    RuntimeError, IndexError, TypeError
        As `torch.median` does.
    """
    return _median("median", input, dim, keepdim, out)


@in_place_of_torch
def nanmedian(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None
) -> Any:
    """Return the lower median of the elements that are not NaN: `torch.nanmedian`.

    Parameters
    ----------
    input, dim, keepdim, out
        As for `median`, and `torch.nanmedian`.

    Returns
    -------
    Tensor or torch.return_types.nanmedian
        As for `median`. The median of a row of NaNs is NaN.

    Raises
    ------
    RuntimeError, IndexError, TypeError
        As `torch.nanmedian` does.
    """
    return _median("nanmedian", input, dim, keepdim, out)


def _median(name: str, x: Tensor, dim: int | None, keepdim: bool, out: Any) -> Any:
    if dim is None and (keepdim is not False or out is not None):
        return left_to_torch(name, "keepdim or out without dim", x, keepdim=keepdim, out=out)
    reason = _why_no_median(x, dim, out)
    reason = reason or why_no_flag(keepdim)
    if reason:
        return left_to_torch(name, reason, x, *(() if dim is None else (dim, keepdim)), out=out)
    rows, at = (x.reshape(-1), 0) if dim is None else (x, dim)
    found = _lower_median(rows, at) if name == "median" else _median_of_numbers(rows, at)
    if dim is None:
        return found[0]
    return all_written(getattr(torch.return_types, name), _shaped(found, at, keepdim), out)


def _shaped(results: Sequence[Tensor], dim: int, keepdim: bool) -> Sequence[Tensor]:
    """Return results with a dimension of one element, if they are to have it."""
    return [each.unsqueeze(dim) for each in results] if keepdim else results


def _lower_median(x: Tensor, dim: int) -> Sequence[Tensor]:
    """Return the medians and their indices; of a row with NaNs, the first of these.

    From the largest element on, NaNs come first and the lower median of the others last.
    """
    first = _first(x, x.shape[dim] // 2 + 1, dim, True)
    if not x.is_floating_point():
        return [_last(each, dim) for each in first]
    largest = [each.select(dim, 0) for each in first]
    has_nan = largest[0].isnan()
    medians = (each.select(dim, -1) for each in first)
    return [torch.where(has_nan, *pair) for pair in zip(largest, medians, strict=True)]


def _median_of_numbers(x: Tensor, dim: int) -> Sequence[Tensor]:
    """Return the medians of what is not NaN, and their indices."""
    results = sorted_with_indices(x, dim)
    last = x.shape[dim] - 1 - results[0].isnan().sum(dim, keepdim=True)
    place = last.clamp(min=0) // 2
    return [each.gather(dim, place).squeeze(dim) for each in results]


def _why_no_median(x: Any, dim: Any, out: Any) -> str | None:
    """Return why a median is left to PyTorch, or None if it is not."""
    if dim is not None:
        reason = why_not(x, dim, lowest_rank=1, out=out, may_be_small=False)
        reason = reason or why_not_out(out, x.dtype, torch.int64)
        return "rows are empty" if not reason and x.shape[dim] == 0 else reason
    reason = why_not(x, -1, any_length=True, may_be_small=False)
    if reason:
        return reason
    if not 0 < x.numel() <= LONGEST:
        return f"there are no elements, or more than {LONGEST}"
    return "the gradient is shared among equal elements" if may_need_gradient(x) else None
