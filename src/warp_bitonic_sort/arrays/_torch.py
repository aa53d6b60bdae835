"""Adapts PyTorch tensors.

Invariant: a kernel gets plain tensors only, in calls that PyTorch runs and does not record
(`_torch_context`). Subclasses, sparse and quantized tensors, tensors inside a functorch transform
and tensors that require a gradient mean more than their memory holds: they raise an error.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from ..dtypes import lookup
from ..fallback import Functions, Sorter
from ..quantiles import Functions as ReaderFunctions
from ..quantiles import Reader, in_blocks
from ._adapter import (
    CPU_DEVICE,
    Adapter,
    Cut,
    Description,
    Device,
)
from ._advice import check_listed
from ._checks import (
    along,
    check_distinct,
    check_out_like,
    numpy_missing,
    possessive,
    span,
    type_name,
    unsupported_device,
)
from ._torch_context import is_below_autograd, is_recorded, is_transformed, refuse
from ._torch_relaunch import ACCEPTED, INDEX_DTYPES, relaunch_by, relaunch_pairs_by

# The handle of the calling thread's default stream, in CUDA and in HIP.
_PER_THREAD_STREAM = 2
_CAPABILITIES = frozenset({"sort", "transpose"})
_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_FUNCTIONS = Functions(
    sort=lambda keys, axis: keys.sort(axis).values,
    argsort=lambda keys, axis: keys.sort(dim=axis, stable=True).indices,
    take_along_axis=lambda array, indices, axis: array.gather(axis, indices),
    where=torch.where,
)
_READER_FUNCTIONS = ReaderFunctions(
    astype=lambda x, name: x.to(getattr(torch, name)),
    isnan=torch.isnan,
    isinf=torch.isinf,
    floor=torch.floor,
    rint=torch.round,
    where=torch.where,
    stack=torch.stack,
    take_along_axis=lambda array, indices, axis: array.gather(axis, indices),
    nans=lambda like, shape, name: torch.full(
        shape, float("nan"), dtype=getattr(torch, name), device=like.device
    ),
    may_look=True,
)


class TorchAdapter(Adapter):
    """Handles tensors in CPU memory and on CUDA and ROCm devices; results are where x is."""

    kind = "torch"

    def __init__(self, kind: type, argument: str) -> None:
        if kind not in ACCEPTED:
            check_listed(kind, argument)
            raise TypeError(
                f"{argument}: expected a plain torch.Tensor, got its subclass "
                f"{kind.__module__}.{kind.__qualname__}; pass the tensor inside, or "
                f"{argument}.as_subclass(torch.Tensor) where that means the same."
            )

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on; raise if x can't be sorted."""
        if is_recorded() or is_transformed():
            refuse(argument)
        strides = self._strides(x, argument)
        if not _has_memory(x):
            raise _no_memory(argument)
        requires_grad = x.requires_grad
        has_gradient = (requires_grad and _records_gradients()) or _is_dual(x)
        return x.dtype, x.shape, strides, x.is_neg(), requires_grad, has_gradient, x.device.index

    def check_no_gradient(self, x: Any, argument: str) -> None:
        """Raise TypeError if PyTorch would record a gradient."""
        if x.requires_grad and _records_gradients():
            raise TypeError(
                f"{argument}: it requires a gradient, which this function does not record; use "
                f"the functions of warp_bitonic_sort.torch, pass {argument}.detach(), or call "
                f"under torch.no_grad()."
            )
        if _is_dual(x):
            raise TypeError(
                f"{argument}: it is a dual tensor of forward-mode differentiation, which this "
                f"function does not record; use the functions of warp_bitonic_sort.torch, or pass "
                f"the primal that unpack_dual returns."
            )

    def _strides(self, x: Any, argument: str) -> tuple[int, ...]:
        if x.layout is not torch.strided:
            raise TypeError(
                f"{argument}: expected a dense tensor, got layout {x.layout}; pass "
                f"{argument}.to_dense()."
            )
        if x.is_nested:
            raise TypeError(
                f"{argument}: expected a dense tensor, got a nested one; sort each of "
                f"{argument}.unbind()."
            )
        if x.is_meta:
            raise NotImplementedError(
                f"{argument}: it is on a meta device, where tensors have no values; pass a tensor "
                f"on the CPU or a GPU."
            )
        if not (x.is_cpu or x.is_cuda):  # builds for ROCm call HIP devices cuda, too
            raise unsupported_device(x.device.type, argument)
        strides: tuple[int, ...] = x.stride()
        return strides

    def as_strided(self, x: Any) -> Any:
        """Return x with a lazy negation carried out."""
        return x.resolve_neg() if x.is_neg() else x

    def describe(self, x: Any, argument: str) -> Description:
        """Describe a tensor."""
        dtype = lookup(str(x.dtype).removeprefix("torch."), argument)
        device = CPU_DEVICE if x.device.index is None else _gpu(x.device.index)
        return Description(
            self.kind, dtype.name, tuple(x.shape), tuple(x.stride()), device, _CAPABILITIES
        )

    def empty(self, x: Any, dtype: str | None, shape: tuple[int, ...] | None = None) -> Any:
        """Allocate a buffer."""
        if shape is not None:
            return x.new_empty(shape, dtype=INDEX_DTYPES.get(dtype), requires_grad=False)
        if dtype is None:
            return torch.empty_like(x)
        return torch.empty_like(x, dtype=INDEX_DTYPES[dtype])

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of a result of `empty`."""
        return tuple(torch.empty_like(x, device="meta").stride())

    def to_ffi(self, x: Any) -> Callable[[Any], Any] | None:
        """Return a function that detaches a tensor, if it requires a gradient."""
        # PyTorch does not export a tensor that requires a gradient, even under torch.no_grad().
        return torch.Tensor.detach if x.requires_grad else None

    def sort_fallback(self, x: Any, outputs: Sequence[Any], sorter: Sorter) -> None:
        """Sort rows that no kernel sorts."""
        source, targets = _words(x), [_words(output) for output in outputs]
        if x.device.type == "cuda":
            for target, result in zip(targets, sorter.outputs(source, _FUNCTIONS), strict=True):
                target.copy_(result)
            return
        try:
            from ._numpy import sort_rows
        except ImportError:
            raise numpy_missing() from None
        sort_rows(source.numpy(), [target.numpy() for target in targets], sorter)

    def sort_transposed(
        self, x: Any, outputs: Sequence[Any], axis: int, sort: Callable[[Any], Sequence[Any]]
    ) -> None:
        """Sort through a copy whose axis is the last one."""
        transposed = x.detach().movedim(axis, -1).clone(memory_format=torch.contiguous_format)
        for output, result in zip(outputs, sort(transposed), strict=True):
            output.detach().copy_(result.movedim(-1, axis))

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """Return the elements of x at indices along an axis."""
        return _words(x.resolve_neg()).gather(axis, indices.long()).view(x.dtype)

    def inverse(self, indices: Any, axis: int) -> Any:
        """Return the inverse of each row of indices."""
        shape = indices.shape or (1,)
        positions = torch.arange(shape[axis], dtype=indices.dtype, device=indices.device)
        positions = positions.view(along(axis, len(shape))).expand(shape)
        result = torch.empty_like(indices)
        result.view(shape).scatter_(axis, indices.view(shape).long(), positions)
        return result

    def cut(self, x: Any, cut: Cut) -> Any:
        """Return a new tensor of a range of positions."""
        rows = x.detach().view(x.shape or (1,)).narrow(cut.axis, cut.start, cut.stop - cut.start)
        return rows.view(cut.shape).clone(memory_format=torch.contiguous_format)

    def reshape(self, x: Any, order: Sequence[int], shape: Sequence[int]) -> Any:
        """Return x in another order of axes and another shape."""
        return x.permute(*order).reshape(shape)

    def read(self, rows: Any, reader: Reader, shape: Sequence[int]) -> Any:
        """Return what a reader reads from sorted rows, without waiting for a device."""
        functions = _READER_FUNCTIONS
        if rows.is_cuda:
            functions = functions._replace(may_look=False)
        return reader.read(rows, functions).reshape(shape)

    def in_blocks(
        self,
        x: Any,
        axis: int,
        shape: tuple[int, ...],
        reduced: Callable[..., Any],
    ) -> Any:
        """Return what is reduced of x, of a large one in CPU memory in blocks."""
        if not x.is_cpu:
            return reduced(x, shape)
        split, strides = torch.Tensor.tensor_split, x.stride()
        return in_blocks(x, x.nbytes, strides, axis, shape, reduced, split, torch.cat)

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return a function that returns PyTorch's current stream."""
        index = x.device.index
        if index is None:
            return None
        # The public torch.cuda.current_stream() wraps the handle in a new object at every call.
        current = torch._C._cuda_getCurrentRawStream
        return lambda: int(current(index))

    def can_relaunch(self, x: Any) -> bool:
        """Tell whether TVM FFI knows PyTorch's current stream, which the launch cache uses."""
        if x.device.type != "cuda" or not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
            return False
        if self.relaunch is None:
            from ..jit import loader

            runtime = loader.runtime()
            # Compare with a stream that is not the current one. The thread's default stream exists
            # already; torch.cuda.Stream() would create a whole pool.
            side = torch.cuda.ExternalStream(_PER_THREAD_STREAM, device=x.device)
            with torch.cuda.stream(side):
                if runtime.current_stream(x.detach()) != side.cuda_stream:
                    return False
            self.relaunch = relaunch_by(
                runtime.open_launch_cache("all", "none"),
                runtime.open_launch_cache("all", "index"),
                runtime.open_launch_cache("first", "index"),
            )
            self.relaunch_pairs = relaunch_pairs_by(
                {
                    4: runtime.open_launch_cache("all", "value32"),
                    8: runtime.open_launch_cache("all", "value64"),
                }
            )
        return True

    def out_key(self, out: Any) -> Hashable:
        """Return all that `check_out` depends on; None for a sparse tensor and other types."""
        if type(out) is not torch.Tensor or out.layout is not torch.strided:
            return None
        requires_grad, strides = out.requires_grad, out.stride()
        has_gradient = requires_grad and torch.is_grad_enabled()
        return out.dtype, out.shape, strides, out.is_neg(), requires_grad, has_gradient, out.device

    def check_out(self, out: Any, x: Any, is_index: bool, argument: str, like: str = "x") -> bool:
        """Check out against x."""
        if type(out) is not torch.Tensor:
            raise TypeError(
                f"{argument}: expected a torch.Tensor as {like} is, got {type_name(out)}."
            )
        check_out_like(argument, like, is_index, (out.dtype, x.dtype), (out.shape, x.shape))
        if out.device != x.device:
            raise ValueError(
                f"{argument}: expected {possessive(like)} device {x.device}, got {out.device}."
            )
        if out.requires_grad and torch.is_grad_enabled():
            raise TypeError(f"{argument}: it requires a gradient; pass {argument}.detach().")
        if out.layout is not torch.strided:
            raise TypeError(f"{argument}: expected a dense tensor, got layout {out.layout}.")
        check_distinct(out.shape, out.stride(), 1, argument)
        if not _has_memory(out):
            raise _no_memory(argument)
        return not (out.is_neg() or x.is_neg()) and self.can_write(out, x, is_index)

    def can_write(self, out: Any, x: Any, is_index: bool) -> bool:
        """Tell whether out has memory, and either is x itself or does not overlap it."""
        if not _has_memory(out):
            return False
        if out.data_ptr() == x.data_ptr() and not is_index:
            return bool(out.stride() == x.stride())
        return not self.spans_overlap(out, x)

    def spans_overlap(self, first: Any, second: Any) -> bool:
        """Tell whether the spans of two tensors overlap."""
        (start, end), (other_start, other_end) = _span(first), _span(second)
        return start < other_end and other_start < end

    def share_memory(self, first: Any, second: Any) -> bool:
        """Tell whether two outputs in CPU memory share memory."""
        try:
            import numpy as np
        except ImportError:
            return True
        return first.is_cuda or np.shares_memory(*(_words(t).numpy() for t in (first, second)))

    def copy(self, source: Any, target: Any) -> None:
        """Copy values."""
        target.copy_(source.detach())

    def clear(self, indices: Any) -> None:
        """Fill a buffer with zeros."""
        indices.zero_()

    def mark_modified(self, out: Any) -> None:
        """Tell autograd, which then raises if it has saved the old values."""
        if not out.is_inference():
            torch.autograd.graph.increment_version(out)


def _words(x: Any) -> Any:
    """Return a tensor's bits as signed integers of their width."""
    return x.detach().view(_WORDS[x.element_size()])


def _records_gradients() -> bool:
    """Tell whether PyTorch records gradients of tensors that require one."""
    return torch.is_grad_enabled() and not is_below_autograd()


def _is_dual(x: Any) -> bool:
    """Tell whether a tensor has a tangent of forward-mode differentiation."""
    if forward_ad._current_level < 0 or is_below_autograd():
        return False
    return forward_ad.unpack_dual(x).tangent is not None


def _no_memory(argument: str) -> ValueError:
    return ValueError(
        f"{argument}: it has no memory (its storage was resized to nothing, it is a lazy zero, or "
        f"it comes from inside a torch.func transform); pass a tensor that holds its values."
    )


def _has_memory(x: Any) -> bool:
    try:
        return bool(x.data_ptr()) or x.numel() == 0
    except RuntimeError:  # a tensor inside a torch.func transform
        return False


def _gpu(index: int) -> Device:
    if torch.version.hip:
        # An architecture with features, as in gfx90a:sramecc+:xnack-.
        arch = getattr(torch.cuda.get_device_properties(index), "gcnArchName", "")
        return Device("hip", index, arch.partition(":")[0] or None)
    major, minor = torch.cuda.get_device_capability(index)
    return Device("cuda", index, f"sm_{major}{minor}")


def _span(x: Any) -> tuple[int, int]:
    size = x.element_size()
    return span(x.data_ptr(), x.shape, [stride * size for stride in x.stride()], size)
