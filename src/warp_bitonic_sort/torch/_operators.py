"""The operators of PyTorch that the functions of this package call where PyTorch records a call.

Invariant: the values of an operator have every gradient: where one is wanted, PyTorch's dispatcher
calls `_with_gradient`, which gathers from the input. Below that, an operator computes, outside of
every mode and transform, so that kernels get plain tensors. The operators
``torch.ops.warp_bitonic_sort`` are private.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..operations import argsort as _argsorts
from ..operations import sort as _sorts
from ..operations._call import call
from ..operations.top_k import first_of_rows

_NAMESPACE = "warp_bitonic_sort"
# PyTorch forgets the operators when this object is gone.
_library = torch.library.Library(_NAMESPACE, "DEF")


def _plain(x: Tensor) -> Tensor:
    """Return a tensor without its subclass, which PyTorch gives back to the results."""
    return x if type(x) is Tensor else x.as_subclass(Tensor)


def _sort_values(x: Tensor, dim: int, descending: bool, nan_last: bool) -> Any:
    return call(_sorts.SORT, _plain(x), (dim, descending, nan_last))


def _sort(x: Tensor, dim: int, descending: bool, nan_last: bool) -> Any:
    return call(_argsorts.SORT_WITH_INDICES, _plain(x), (dim, descending, nan_last))


def _argsort(x: Tensor, dim: int, descending: bool, nan_last: bool) -> Any:
    return call(_argsorts.ARGSORT, _plain(x), (dim, descending, nan_last))


def _topk(x: Tensor, k: int, dim: int, largest: bool, nan_last: bool) -> Any:
    return first_of_rows(_plain(x), k, (dim, largest, nan_last))


def _like_x(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)


def _indices_like_x(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, dtype=torch.int64)


def _both_like_x(x: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return _like_x(x), _indices_like_x(x)


def _both_of_length_k(x: Tensor, k: int, dim: int, *_: Any) -> tuple[Tensor, Tensor]:
    shape = list(x.shape)
    shape[dim] = k
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)


def _position_of_dim(operator: Any) -> int:
    return [argument.name for argument in operator._schema.arguments].index("dim")


def _define(
    schema: str,
    compute: Callable[..., Any],
    allocate: Callable[..., Any],
) -> Any:
    """Define an operator: what it computes, and what it allocates where tensors have no values."""
    name = schema.partition("(")[0]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for key in ("CPU", "CUDA"):  # builds for ROCm call it CUDA, too
        _library.impl(name, compute, key)
    qualified = f"{_NAMESPACE}::{name}"
    torch.library.register_fake(qualified, allocate, lib=_library)
    operator = getattr(getattr(torch.ops, _NAMESPACE), name).default
    at = _position_of_dim(operator)

    def batched(_: Any, in_dims: Sequence[Any], x: Tensor, *rest: Any) -> tuple[Any, Any]:
        """Sort a batch of tensors, whose first axis counts them."""
        x = x.movedim(in_dims[0], 0)
        arguments = list(rest)
        is_scalar = x.ndim == 1
        if is_scalar:
            x, arguments[at - 1] = x.unsqueeze(-1), -1
        elif arguments[at - 1] >= 0:
            arguments[at - 1] += 1
        results = operator(x, *arguments)
        is_single = isinstance(results, Tensor)
        outputs = [results] if is_single else [*results]
        if is_scalar:
            outputs = [output.squeeze(-1) for output in outputs]
        return (outputs[0], 0) if is_single else (tuple(outputs), (0,) * len(outputs))

    torch.library.register_vmap(qualified, batched, lib=_library)
    return operator


_OPTIONS = "int dim, bool descending, bool nan_last"
SORT_VALUES = _define(f"sort_values(Tensor x, {_OPTIONS}) -> Tensor", _sort_values, _like_x)
SORT = _define(f"sort(Tensor x, {_OPTIONS}) -> (Tensor, Tensor)", _sort, _both_like_x)
ARGSORT = _define(f"argsort(Tensor x, {_OPTIONS}) -> Tensor", _argsort, _indices_like_x)
TOPK = _define(
    "topk(Tensor x, SymInt k, int dim, bool largest, bool nan_last) -> (Tensor, Tensor)",
    _topk,
    _both_of_length_k,
)


def _wants_gradient(x: Tensor) -> bool:
    """Tell whether a result for x has to have a gradient, or a tangent of forward mode."""
    if not x.dtype.is_floating_point:
        return False
    is_recorded = x.requires_grad and torch.is_grad_enabled()
    return is_recorded or torch._VF._unpack_dual(x, level=0)[1] is not None


def _give_gradient(operator: Any, indices_of: Callable[..., Tensor]) -> None:
    """Let an operator's values be gathered at indices where a gradient is wanted."""
    at = _position_of_dim(operator) - 1
    returns_values_only = len(operator._schema.returns) == 1

    def _with_gradient(x: Tensor, *rest: Any) -> Any:
        if not _wants_gradient(x):
            with torch._C._AutoDispatchBelowAutograd():
                return operator(x, *rest)
        indices = indices_of(x.detach(), *rest)
        values = x.gather(rest[at], indices)
        return values if returns_values_only else (values, indices)

    _library.impl(operator._schema.name.partition("::")[2], _with_gradient, "Autograd")


_give_gradient(SORT_VALUES, ARGSORT)
_give_gradient(SORT, ARGSORT)
_give_gradient(TOPK, lambda x, *rest: TOPK(x, *rest)[1])

_knows_dtensor = False


def know_dtensor() -> None:
    """Tell DTensor which dimensions may be sharded, once it is imported: all but the sorted one."""
    global _knows_dtensor
    if _knows_dtensor or "torch.distributed.tensor" not in sys.modules:
        return
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.experimental import register_sharding

    for operator in (SORT_VALUES, SORT, ARGSORT, TOPK):
        register_sharding(operator)(_placements_for(operator, Replicate, Shard))
    _knows_dtensor = True


# Run, and not traced, by torch.compile: as torch.compiler.assume_constant_result does, which
# imports the whole compiler.
know_dtensor._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _placements_for(operator: Any, replicate: Any, shard: Any) -> Callable[..., Any]:
    """Return the rule of an operator: the placements of its results and arguments."""
    at, outputs = _position_of_dim(operator) - 1, len(operator._schema.returns)

    def placements(x: Any, *rest: Any) -> list[tuple[list[Any], list[Any]]]:
        rank = len(x.shape)
        free = [shard(axis) for axis in range(rank) if axis != rest[at] % rank]
        others = [None] * len(rest)
        return [([each] * outputs, [each, *others]) for each in (replicate(), *free)]

    return placements
