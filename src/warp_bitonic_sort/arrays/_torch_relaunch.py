"""Repeats launches of PyTorch's calls from the runtime's launch cache.

Invariant: what the cache does not hold, or what PyTorch records, is left to the prepared call,
which also reports all errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

from ..kernels import Payload
from ._adapter import Relaunch, RelaunchPairs, SortOptions
from ._torch_context import is_recorded

ACCEPTED = (torch.Tensor, torch.nn.Parameter)
INDEX_DTYPES: dict[str | None, Any] = {"int32": torch.int32, "int64": torch.int64}


def relaunch_by(
    launch_keys: Callable[..., bool],
    launch_index: Callable[..., bool],
    launch_first: Callable[..., bool],
) -> Relaunch:
    """Return an adapter's `relaunch` around the functions of the launch cache."""
    empty_like, modes = torch.empty_like, forward_ad

    def relaunch(
        payload: Payload,
        wants_keys: bool,
        x: Any,
        options: SortOptions,
        index_dtype: str | None,
        k: int | None,
    ) -> list[Any] | None:
        axis, descending, nan_last = options
        if nan_last or x.requires_grad or not x.is_cuda or x.is_neg() or modes._current_level >= 0:
            return None
        if is_recorded():
            return None
        try:
            if k is not None:
                shape = list(x.shape)
                if not 0 < k <= shape[axis]:
                    return None
                shape[axis] = k
                keys = x.new_empty(shape)
                index = x.new_empty(shape, dtype=INDEX_DTYPES[index_dtype])
                found = launch_first(x, keys, index, axis, descending, False)
                return [keys, index] if found else None
            keys = empty_like(x) if wants_keys else None
            if payload == "none":
                return [keys] if launch_keys(x, keys, axis, descending, False) else None
            index = empty_like(x, dtype=INDEX_DTYPES[index_dtype])
            if not launch_index(x, keys, index, axis, descending, False):
                return None
            return [keys, index] if wants_keys else [index]
        except Exception:
            # The prepared call reports the error. Tensors inside a torch.func transform, for
            # example, have no memory of their own.
            return None

    return relaunch


def relaunch_pairs_by(launches: dict[int, Callable[..., bool]]) -> RelaunchPairs:
    """Return an adapter's `relaunch_pairs` around functions of the launch cache.

    The functions are those for values of so many bytes.
    """
    empty_like, modes = torch.empty_like, forward_ad

    def relaunch_pairs(keys: Any, values: Any, options: SortOptions) -> list[Any] | None:
        axis, descending, nan_last = options
        if type(values) not in ACCEPTED:
            return None
        if nan_last or not keys.is_cuda or modes._current_level >= 0 or is_recorded():
            return None
        try:
            if keys.requires_grad or values.requires_grad or keys.is_neg() or values.is_neg():
                return None
            launch = launches.get(values.element_size())
            if launch is None:
                return None
            results = [empty_like(keys), empty_like(values)]
            return results if launch(keys, values, *results, axis, descending, False) else None
        except Exception:
            return None  # as in `relaunch`

    return relaunch_pairs
