"""The first elements of rows that are divided among processes.

Invariant: a process sends its own first k elements and their indices, in one collective call. The
result is that of the whole rows: ties go to the lowest global index. Nothing waits for a GPU,
unless a process has fewer than k elements of a row.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..operations.top_k import first_of_rows
from ._routes import is_plain, wants_backward

# The bytes that a process sends: its header (the length of its rows, their offset), indices and
# values, filled up to whole words.
_WORD = 8
# The offset of a part that follows the one of the process before.
_FOLLOWS = -1
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def first_of_parts(
    local: Tensor,
    k: int,
    group: dist.ProcessGroup | None,
    dim: int,
    largest: bool,
    index_offset: int | None = None,
    dst: int | None = None,
    is_checked: bool = False,
) -> torch.return_types.topk | None:
    """Return what `topk` does, for arguments that are checked.

    Parameters
    ----------
    local, k, group, dim, largest, index_offset, dst
        As for `topk`.
    is_checked : bool, default False
        Whether the whole rows are known to have k elements.
    """
    rows = local.movedim(dim, -1)
    length = rows.shape[-1]
    kept = min(k, length)
    values, indices = first_of_rows(rows, kept, (-1, largest, False))
    if kept < k:
        values, indices = _padded(values, k, _worst(local.dtype, largest)), _padded(indices, k, 0)
    header = torch.full((2,), length, dtype=torch.int64, device=local.device)
    # A copy of both from the host would wait for the GPU.
    header[1] = _FOLLOWS if index_offset is None else index_offset
    parts = _collected(_packed(header, indices, values), group, dst)
    if parts is None:
        return None
    headers, indices, words = _unpacked(parts, values)
    lengths, offsets = headers.unbind(1)
    if kept < k and not is_checked and int(lengths.sum()) < k:
        raise ValueError(f"k: expected 0 to {int(lengths.sum())}, the length of rows, got {k}.")
    offsets = torch.where(offsets == _FOLLOWS, lengths.cumsum(0) - lengths, offsets)
    order = _order(k, lengths, offsets)
    offsets = offsets.view(-1, *(1,) * (indices.dim() - 1))
    words, indices = (_in_order(each, order) for each in (words, indices + offsets))
    values, positions = first_of_rows(words.view(local.dtype), k, (-1, largest, False))
    results = (values, indices.gather(-1, positions))
    return torch.return_types.topk([each.movedim(-1, dim).contiguous() for each in results])


def _padded(x: Tensor, k: int, value: Any) -> Tensor:
    """Return rows of k elements that begin with those of x."""
    missing = torch.full((*x.shape[:-1], k - x.shape[-1]), value, dtype=x.dtype, device=x.device)
    return torch.cat([x, missing], -1)


def _worst(dtype: torch.dtype, largest: bool) -> Any:
    """Return a value that no other comes after, in the order of the selection."""
    if dtype is torch.bool:
        return not largest
    if not dtype.is_floating_point:
        return torch.iinfo(dtype).min if largest else torch.iinfo(dtype).max
    if not largest:
        return torch.nan
    has_infinity = torch.tensor(torch.inf, dtype=dtype).float().isinf()
    return -torch.inf if has_infinity else torch.finfo(dtype).min


def _packed(header: Tensor, indices: Tensor, values: Tensor) -> Tensor:
    """Return tensors as bytes, whose number is a multiple of a word's."""
    parts = [each.reshape(-1).view(torch.uint8) for each in (header, indices, values)]
    rest = -parts[-1].numel() % _WORD
    return torch.cat([*parts, parts[0].new_zeros(rest)])


def _unpacked(parts: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the headers, indices and values of all processes, which are the first axis.

    The values are integers of their width, which PyTorch moves whatever the dtype is.
    """
    start = 2 * _WORD
    end = start + _WORD * values.numel()
    shape, size = (parts.shape[0], *values.shape), values.element_size()
    return (
        parts[:, :start].view(torch.int64),
        parts[:, start:end].view(torch.int64).view(shape),
        parts[:, end : end + size * values.numel()].view(_INTEGERS[size]).view(shape),
    )


def _collected(packed: Tensor, group: Any, dst: int | None) -> Tensor | None:
    """Return the bytes of all processes as rows; None if only another process gets them."""
    parts = packed.new_empty(dist.get_world_size(group), packed.numel())
    if dst is None:
        dist.all_gather([*parts], packed, group=group)
        return parts
    is_mine = dist.get_rank() == dst
    dist.gather(packed, [*parts] if is_mine else None, dst=dst, group=group)
    return parts if is_mine else None


def _order(k: int, lengths: Tensor, offsets: Tensor) -> Tensor:
    """Return the order in which equal elements of the parts come: by index, and padding last."""
    place = torch.arange(k, device=lengths.device)
    last = torch.iinfo(torch.int64).max
    # A stable sort: the places of a part stay in order.
    keys = torch.where(place >= lengths[:, None], last, offsets[:, None])
    return keys.reshape(-1).argsort(stable=True)


def _in_order(parts: Tensor, order: Tensor) -> Tensor:
    """Return rows that have the elements of all parts in an order."""
    return parts.movedim(0, -2).flatten(-2).index_select(-1, order)


def first_of_shards(x: Any, k: int, dim: int, largest: bool) -> tuple[Any, Any] | None:
    """Return the first elements of a DTensor's rows and their indices, without gathering the rows.

    None if x is no DTensor whose rows are divided, if a gradient is wanted, or if the elements are
    so many that gathering the rows sends less.

    Parameters
    ----------
    x : Tensor
        The rows, in an eager call.
    k, dim, largest
        As for `topk`.
    """
    tensors = sys.modules.get("torch.distributed.tensor")
    if tensors is None or type(x) is not tensors.DTensor or wants_backward(x):
        return None
    dim %= x.dim()
    mesh, placements = x.device_mesh, [*x.placements]
    # A subclass of Shard may divide the rows in another way.
    kinds = {type(placement) for placement in placements}
    axes = [axis for axis, each in enumerate(placements) if each == tensors.Shard(dim)]
    if len(axes) != 1 or kinds - {tensors.Shard, tensors.Replicate}:
        return None
    sent, rows = k * (x.element_size() + _WORD), x.shape[dim] * x.element_size()
    if sent * mesh.size(axes[0]) >= rows or mesh.get_coordinate() is None:
        return None
    local = x.to_local()
    if not is_plain(local):  # on its way, for example
        return None
    found: Any = first_of_parts(local, k, mesh.get_group(axes[0]), dim, largest, is_checked=True)
    shape = torch.Size([k if axis == dim else size for axis, size in enumerate(x.shape)])
    stride = torch.empty(shape, device="meta").stride()
    placements[axes[0]] = tensors.Replicate()
    values, indices = (
        tensors.DTensor.from_local(
            each, mesh, placements, run_check=False, shape=shape, stride=stride
        )
        for each in found
    )
    return values, indices
