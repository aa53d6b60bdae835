"""Selections from rows that are divided among processes.

Invariant: the result is that of the whole rows, bit for bit, in every process that gets one.
Arguments are checked before any process sends.
"""

from __future__ import annotations

from typing import Any, overload

import torch
import torch.distributed as dist
from torch import Tensor

from ..operations._arguments import checked_bool, checked_integer
from ._checks import check
from ._parts import first_of_parts
from ._routes import is_plain, wants_backward

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

    Every process of the group calls it, with the same k, dim, largest and dst, and a part of the
    same dtype. A row's traffic is `k` values and indices for each process, instead of the row.

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
        The index of this part's first element in the whole row. By default, the part follows those
        of the processes before.
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
        The whole rows have fewer than k elements. With dst, it is raised there alone.
    RuntimeError
        torch.distributed is not initialized, or a process failed.

    Notes
    -----
    The vocabulary-parallel selection of language models: each process holds the logits of a part of
    the words.
    """
    dim = checked_integer("dim", dim) if isinstance(local, Tensor) else dim
    check(local, dim, "largest", "local")
    if local.dim() == 0:
        raise ValueError("local: expected rows, got a tensor without dimensions; pass local[None].")
    if not is_plain(local):
        raise TypeError(
            f"local: expected a plain tensor outside of compilers and transforms, got "
            f"{type(local).__name__}; pass a DTensor to warp_bitonic_sort.torch.topk."
        )
    if wants_backward(local):
        raise TypeError(
            "local: the gradient would end at the other processes; pass local.detach(), or a "
            "DTensor to warp_bitonic_sort.torch.topk, which differentiates."
        )
    k = checked_integer("k", k)
    if k < 0:
        raise ValueError(f"k: expected 0 or more, got {k}.")
    largest = checked_bool("largest", largest)
    if index_offset is not None:
        index_offset = checked_integer("index_offset", index_offset)
        if index_offset < 0:
            raise ValueError(f"index_offset: expected 0 or more, got {index_offset}.")
    _check_processes(group, dst)
    return first_of_parts(local, k, group, dim, largest, index_offset, dst)


def _check_processes(group: Any, dst: Any) -> None:
    """Raise if this process, or the one that gets the result, is not one of the group."""
    if group is not None and not isinstance(group, dist.ProcessGroup):
        raise TypeError(
            f"group: expected a torch.distributed.ProcessGroup of which this process is one, got "
            f"{type(group).__name__}; of a DeviceMesh, pass mesh.get_group()."
        )
    ranks = dist.get_process_group_ranks(group or dist.group.WORLD)
    if dist.get_rank() not in ranks:
        raise ValueError(f"group: expected one with this process {dist.get_rank()}, got {ranks}.")
    if dst is not None and checked_integer("dst", dst) not in ranks:
        raise ValueError(f"dst: expected a rank of the group, one of {ranks}, got {dst}.")
