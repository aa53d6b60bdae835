"""PyTorch tensors.

Invariant: only a plain tensor crosses, in a call that PyTorch runs rather than records
(`_torch_context`). Subclasses, sparse and quantized tensors, tensors inside a functorch transform
and those whose gradient is asked for would cross as something else than they mean, so they are
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch.autograd import forward_ad

from ..dtypes import DType, lookup
from . import (
    CPU_DEVICE,
    Description,
    Device,
    check_distinct,
    numpy_missing,
    span,
    type_name,
    unsupported_device,
)
from ._advice import check_listed
from ._torch_context import is_recorded, is_transformed, refuse

__all__ = ["TorchAdapter"]

_ACCEPTED = (torch.Tensor, torch.nn.Parameter)
# What CUDA and HIP both call a stream of the calling thread's own.
_PER_THREAD_STREAM = 2
_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class TorchAdapter:
    """Handles tensors in CPU memory and on CUDA and ROCm devices; results are where x is."""

    kind = "torch"

    def __init__(self, kind: type, argument: str) -> None:
        self.again: Callable[[Any, int, bool], Any] | None = None
        if kind not in _ACCEPTED:
            check_listed(kind, argument)
            raise TypeError(
                f"{argument}: expected a plain torch.Tensor, got its subclass "
                f"{kind.__module__}.{kind.__qualname__}; pass the tensor inside, or "
                f"x.as_subclass(torch.Tensor) where that means the same."
            )

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on; refuse what can't be sorted."""
        if is_recorded() or is_transformed():
            refuse(argument)
        if x.requires_grad and torch.is_grad_enabled():
            raise TypeError(
                f"{argument}: it requires a gradient, and sort has none yet; pass x.detach(), or "
                f"call under torch.no_grad()."
            )
        if forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None:
            raise TypeError(
                f"{argument}: it is a dual tensor of forward-mode differentiation, and sort has no "
                f"gradient yet; pass the primal that unpack_dual returns."
            )
        strides = self._strides(x, argument)
        if not _has_memory(x):
            raise ValueError(
                f"{argument}: it has no memory (its storage was resized to nothing, it is a lazy "
                f"zero, or it comes from inside a torch.func transform); pass a tensor that holds "
                f"its values."
            )
        return x.dtype, x.shape, strides, x.is_neg(), x.requires_grad, x.device.index

    def _strides(self, x: Any, argument: str) -> tuple[int, ...]:
        if x.layout is not torch.strided:
            raise TypeError(
                f"{argument}: expected a dense tensor, got layout {x.layout}; x.to_dense() would "
                f"do."
            )
        if x.is_nested:
            raise TypeError(
                f"{argument}: expected a dense tensor, got a nested one; sort each of x.unbind()."
            )
        # What torch calls cuda is HIP where it was built for ROCm.
        if x.is_meta:
            raise NotImplementedError(
                f"{argument}: it is on a meta device, where tensors have no values; pass a tensor "
                f"on the CPU or a GPU."
            )
        if not (x.is_cpu or x.is_cuda):
            raise unsupported_device(x.device.type, argument)
        strides: tuple[int, ...] = x.stride()
        return strides

    def regular(self, x: Any) -> Any:
        """Return x with a lazy negation carried out."""
        return x.resolve_neg() if x.is_neg() else x

    def describe(self, x: Any, argument: str) -> Description:
        """Describe a tensor."""
        dtype = lookup(str(x.dtype).removeprefix("torch."), argument)
        device = CPU_DEVICE if x.device.index is None else _gpu(x.device.index)
        return Description(
            self.kind, dtype.name, tuple(x.shape), tuple(x.stride()), device, "turns"
        )

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

    def sort_long(
        self, x: Any, buffer: Any, dtype: DType, axis: int, descending: bool, nan_last: bool
    ) -> None:
        """Sort rows that no kernel takes."""
        from .. import framework

        order = (axis, descending, nan_last)
        source, target = (t.detach().view(_WORDS[t.element_size()]) for t in (x, buffer))
        if x.device.type == "cuda":
            target.copy_(framework.sort_on_device(source, dtype, *order, _sort, torch.where))
            return
        try:
            from ._numpy import raw_bits
        except ImportError:
            raise numpy_missing() from None
        framework.sort_into(raw_bits(source.numpy()), raw_bits(target.numpy()), dtype, *order)

    def sort_turned(self, x: Any, buffer: Any, axis: int, sort: Callable[[Any], None]) -> None:
        """Sort by way of a copy whose axis is the last."""
        turned = x.detach().movedim(axis, -1).clone(memory_format=torch.contiguous_format)
        sort(turned)
        buffer.detach().copy_(turned.movedim(-1, axis))

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return what tells torch's current stream."""
        index = x.device.index
        if index is None:
            return None
        # The handle alone; torch.cuda.current_stream() makes an object of it every time.
        current = torch._C._cuda_getCurrentRawStream
        return lambda: int(current(index))

    def remembers(self, x: Any) -> bool:
        """Tell whether TVM FFI can be asked for torch's current stream itself."""
        if x.device.type != "cuda" or not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
            return False
        if self.again is None:
            from ..jit import loader

            runtime = loader.runtime()
            # Some stream that is not the current one: the thread's own, for torch makes a pool of
            # them where it makes one.
            side = torch.cuda.ExternalStream(_PER_THREAD_STREAM, device=x.device)
            with torch.cuda.stream(side):
                if runtime.current_stream(x.detach()) != side.cuda_stream:
                    return False
            self.again = _again(runtime.open_launch_cache("all", "none"))
        return True

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
        if out.layout is not torch.strided:
            raise TypeError(f"out: expected a dense tensor, got layout {out.layout}.")
        check_distinct(out.shape, out.stride(), 1)
        if out.is_neg() or x.is_neg():
            return False
        if out.data_ptr() == x.data_ptr():
            return bool(out.stride() == x.stride())
        first, last = _span(x)
        low, high = _span(out)
        return last <= low or high <= first

    def copy(self, source: Any, target: Any) -> None:
        """Copy values."""
        target.copy_(source.detach())

    def written(self, out: Any) -> None:
        """Let autograd know, so that it does not take what it saved for what it was."""
        if not out.is_inference():
            torch.autograd.graph.increment_version(out)


def _again(launch: Callable[..., bool]) -> Callable[[Any, int, bool], Any]:
    """Return an adapter's `again`: every look-up that can be made before a call is made here."""
    empty_like, modes = torch.empty_like, forward_ad

    def again(x: Any, axis: int, descending: bool) -> Any:
        if x.requires_grad or not x.is_cuda or x.is_neg() or modes._current_level >= 0:
            return None
        if is_recorded():
            return None
        try:
            buffer = empty_like(x)
            return buffer if launch(x, buffer, axis, descending, False) else None
        except Exception:
            # The ordinary way says what is wrong, as with tensors in a torch.func transform: they
            # have no memory of their own to launch with.
            return None

    return again


def _has_memory(x: Any) -> bool:
    try:
        return bool(x.data_ptr()) or x.numel() == 0
    except RuntimeError:  # as a tensor of a torch.func transform has it
        return False


def _sort(keys: Any, axis: int) -> Any:
    return torch.sort(keys, axis).values


def _gpu(index: int) -> Device:
    if torch.version.hip:
        # As in gfx90a:sramecc+:xnack-.
        arch = getattr(torch.cuda.get_device_properties(index), "gcnArchName", "")
        return Device("hip", index, arch.partition(":")[0] or None)
    major, minor = torch.cuda.get_device_capability(index)
    return Device("cuda", index, f"sm_{major}{minor}")


def _span(x: Any) -> tuple[int, int]:
    size = x.element_size()
    return span(x.data_ptr(), x.shape, [stride * size for stride in x.stride()], size)
