"""Selections from rows that are divided among processes.

Invariant: the result is that of the whole rows, bit for bit, in every process that gets one.
Arguments are checked before any process sends.
"""

from __future__ import annotations

from typing import overload

import torch
import torch.distributed as dist
from torch import Tensor

from ..operations._arguments import checked_bool, checked_integer
from ._checks import check
from ._parts import first_of_parts
from ._routes import is_plain

__all__ = ["topk"]


@overload
def topk(
    local: Tensor,
    k: int,
    *,
    group: dist.ProcessGroup | None = None,
    dim: int = -1,
    largest: bool = True,
    index_offset: int | None = None,
    dst: None = None,
) -> torch.return_types.topk: ...


@overload
def topk(
    local: Tensor,
    k: int,
    *,
    group: dist.ProcessGroup | None = None,
    dim: int = -1,
    largest: bool = True,
    index_offset: int | None = None,
    dst: int,
) -> torch.return_types.topk | None: ...


def topk(
    local: Tensor,
    k: int,
    *,
    group: dist.ProcessGroup | None = None,
    dim: int = -1,
    largest: bool = True,
    index_offset: int | None = None,
    dst: int | None = None,
) -> torch.return_types.topk | None:
    """Return the k largest or smallest elements of rows that are divided among processes.

    Every process of the group calls it, with the same k, dim, largest and dst. A row's traffic is
    `k` values and indices for each process, instead of the row.

    Parameters
    ----------
    local : Tensor
        This process's part of the rows, a dense tensor of at least one dimension, of a dtype that
        `warp_bitonic_sort.top_k` takes. The parts differ in the size of `dim` alone, which may be
        0. On a GPU, the group needs NCCL.
    k : int
        How many elements of each row, from 0 to the length of the whole rows.
    group : torch.distributed.ProcessGroup, optional
        The processes; by default all.
    dim : int, default -1
        The dimension that is divided.
    largest : bool, default True
        Whether the largest elements are returned, from the largest on, or the smallest.
    index_offset : int, optional
        The index of this part's first element in the whole row. By default, the parts follow one
        another in the order of the processes.
    dst : int, optional
        The global rank of the only process that gets the result; by default all get it.

    Returns
    -------
    torch.return_types.topk or None
        The values and their indices (int64) in the whole rows; None where dst is another process.
        Of equal elements, those with the lowest indices are chosen. NaN is the largest value.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; raised before any process sends. A part that needs a gradient.
    ValueError
        The whole rows have fewer than k elements.
    RuntimeError
        torch.distributed is not initialized, or a process failed.

    Notes
    -----
    The vocabulary-parallel selection of language models: each process holds the logits of a part of
    the words.
    """
    check(local, dim, "largest", "local")
    if local.dim() == 0:
        raise ValueError("local: expected rows, got a tensor without dimensions; pass local[None].")
    if not is_plain(local):
        raise TypeError(
            f"local: expected a plain tensor outside of compilers and transforms, got "
            f"{type(local).__name__}; pass a DTensor to warp_bitonic_sort.torch.topk."
        )
    if local.requires_grad and torch.is_grad_enabled():
        raise TypeError(
            "local: the gradient would end at the other processes; pass local.detach(), or a "
            "DTensor to warp_bitonic_sort.torch.topk, which differentiates."
        )
    if checked_integer("k", k) < 0:
        raise ValueError(f"k: expected 0 or more, got {k}.")
    checked_bool("largest", largest)
    if index_offset is not None and checked_integer("index_offset", index_offset) < 0:
        raise ValueError(f"index_offset: expected 0 or more, got {index_offset}.")
    if dst is not None:
        checked_integer("dst", dst)
    return first_of_parts(local, k, group, dim, largest, index_offset, dst)
