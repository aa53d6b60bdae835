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

# The bytes that a process sends: its header (the length of its rows, their offset), indices and
# values, filled up to whole words.
_WORD = 8
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def first_of_parts(
    local: Tensor,
    k: int,
    group: dist.ProcessGroup | None,
    dim: int,
    largest: bool,
    index_offset: int | None = None,
    dst: int | None = None,
) -> torch.return_types.topk | None:
    """Return what `topk` does, for arguments that are checked."""
    rows = local.movedim(dim, -1)
    length = rows.shape[-1]
    kept = min(k, length)
    values, indices = first_of_rows(rows, kept, (-1, largest, False))
    if kept < k:
        values, indices = _padded(values, k, _worst(local.dtype, largest)), _padded(indices, k, 0)
    header = torch.full((2,), length, dtype=torch.int64, device=local.device)
    header[1] = index_offset or 0  # a copy of both from the host would wait for the GPU
    packed = _packed(header, indices, values)
    parts = _collected(packed, group, dst)
    if parts is None:
        return None
    headers, indices, words = _unpacked(parts, values)
    lengths, offsets = headers.unbind(1)
    if kept < k and int(lengths.sum()) < k:
        raise ValueError(f"k: expected 0 to {int(lengths.sum())}, the length of rows, got {k}.")
    if index_offset is None:
        offsets = lengths.cumsum(0) - lengths
    order = _order(k, lengths, offsets)
    offsets = offsets.view(-1, *(1,) * (indices.dim() - 1))
    words, indices = (_in_order(each, order) for each in (words, indices + offsets))
    values, positions = first_of_rows(words.view(local.dtype), k, (-1, largest, False))
    results = (values, indices.gather(-1, positions))
    return torch.return_types.topk([each.movedim(-1, dim) for each in results])


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

    None if x is no DTensor whose rows are divided, or if a gradient is wanted.

    Parameters
    ----------
    x : Tensor
        The rows, in an eager call.
    k, dim, largest
        As for `topk`.
    """
    tensors = sys.modules.get("torch.distributed.tensor")
    if tensors is None or type(x) is not tensors.DTensor:
        return None
    Replicate, Shard = tensors.Replicate, tensors.Shard  # noqa: N806 - classes
    dim %= x.dim()
    axes = [axis for axis, placement in enumerate(x.placements) if placement == Shard(dim)]
    others = [placement for placement in x.placements if placement != Shard(dim)]
    is_known = all(isinstance(placement, (Replicate, Shard)) for placement in others)
    wants_gradient = x.requires_grad and torch.is_grad_enabled()
    if len(axes) != 1 or not is_known or wants_gradient:
        return None
    group = x.device_mesh.get_group(axes[0])
    found: Any = first_of_parts(x.to_local(), k, group, dim, largest)
    shape = torch.Size([k if axis == dim else size for axis, size in enumerate(x.shape)])
    stride = torch.empty(shape, device="meta").stride()
    placements = [
        Replicate() if placement == Shard(dim) else placement for placement in x.placements
    ]
    values, indices = (
        tensors.DTensor.from_local(
            each.contiguous(),
            x.device_mesh,
            placements,
            run_check=False,
            shape=shape,
            stride=stride,
        )
        for each in found
    )
    return values, indices
