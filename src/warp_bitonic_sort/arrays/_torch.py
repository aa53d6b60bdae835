"""PyTorch tensors.

Invariant: only a plain tensor crosses. Subclasses, sparse and quantized tensors, tensors inside a
functorch transform and those whose gradient is asked for would cross as something else than they
mean, so they are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch

from ..dtypes import lookup
from ._base import Description, type_name, unsupported_device

__all__ = ["TorchAdapter"]

_ACCEPTED = (torch.Tensor, torch.nn.Parameter)
# A private name that every torch since 2.0 has; what it guards against would raise anyway, in
# words that help nobody.
_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class TorchAdapter:
    """Handles CPU tensors; results are CPU tensors."""

    kind = "torch"

    def __init__(self, kind: type, argument: str) -> None:
        if kind not in _ACCEPTED:
            raise TypeError(
                f"{argument}: expected a plain torch.Tensor, got its subclass "
                f"{kind.__module__}.{kind.__qualname__}; pass the tensor inside, or "
                f"x.as_subclass(torch.Tensor) where that means the same."
            )

    def key(self, x: Any) -> Hashable:
        """Return all that a prepared call depends on; refuse what can't be sorted."""
        if x.requires_grad and torch.is_grad_enabled():
            raise TypeError(
                "x: it requires a gradient, and sort has none yet; pass x.detach(), or call under "
                "torch.no_grad()."
            )
        if _is_wrapped(x):
            raise TypeError(
                "x: it is inside a torch.func transform (vmap, grad, functionalize), which sort "
                "has no rule for yet; call sort outside, or use torch.sort there."
            )
        return x.dtype, x.shape, self._strides(x), x.is_neg()

    def _strides(self, x: Any) -> tuple[int, ...]:
        if x.layout is not torch.strided:
            raise TypeError(
                f"x: expected a dense tensor, got layout {x.layout}; x.to_dense() would do."
            )
        if x.device.type != "cpu":
            name = "ROCm" if x.device.type == "cuda" and torch.version.hip else x.device.type
            raise unsupported_device("CUDA" if name == "cuda" else name, "x")
        strides: tuple[int, ...] = x.stride()
        return strides

    def regular(self, x: Any) -> Any:
        """Return x with a lazy negation carried out."""
        return x.resolve_neg() if x.is_neg() else x

    def describe(self, x: Any, argument: str) -> Description:
        """Describe a tensor."""
        dtype = lookup(str(x.dtype).removeprefix("torch."), argument)
        return Description(self.kind, dtype.name, tuple(x.shape), tuple(x.stride()))

    def allocate(self, x: Any) -> Any:
        """Allocate a buffer."""
        return torch.empty_like(x, requires_grad=False)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of what `allocate` returns."""
        return tuple(torch.empty_like(x, device="meta").stride())

    def lowering(self, x: Any) -> Callable[[Any], Any] | None:
        """Return what TVM FFI needs done to a tensor."""
        # torch refuses to export a tensor that requires a gradient, even where none is recorded.
        return torch.Tensor.detach if x.requires_grad else None

    def lower_read_only(self, x: Any) -> Any:
        """Return x: torch has no read-only tensors."""
        return x

    def bits(self, array: Any) -> Any:
        """Return the raw bits."""
        from ._numpy import raw_bits

        tensor = array.detach()
        return raw_bits(tensor.view(_WORDS[tensor.element_size()]).numpy())

    def finish(self, buffer: Any, x: Any) -> Any:
        """Return the result."""
        del x
        return buffer

    def check_out(self, out: Any, x: Any) -> bool:
        """Check out against x."""
        if type(out) is not torch.Tensor:
            raise TypeError(f"out: expected a torch.Tensor as x is, got {type_name(out)}.")
        if out.dtype != x.dtype:
            raise TypeError(f"out: expected x's dtype {x.dtype}, got {out.dtype}.")
        if out.shape != x.shape:
            raise ValueError(f"out: expected x's shape {tuple(x.shape)}, got {tuple(out.shape)}.")
        if out.device != x.device:
            raise ValueError(f"out: expected x's device {x.device}, got {out.device}.")
        if out.requires_grad and torch.is_grad_enabled():
            raise TypeError("out: it requires a gradient; pass out.detach().")
        if out.is_neg() or x.is_neg():
            return False
        if out.data_ptr() == x.data_ptr():
            return bool(out.stride() == x.stride())
        return bool(out.untyped_storage().data_ptr() != x.untyped_storage().data_ptr())

    def copy(self, result: Any, out: Any) -> None:
        """Copy a result into out."""
        out.copy_(result)
