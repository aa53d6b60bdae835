"""Runs planned calls, each with its kernel open.

Invariant: nothing is checked here, and no file is touched after a `PreparedCall` is constructed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from .. import arrays
from ..arrays import Adapter, Device, SortOptions
from ..dtypes import DType
from ..fallback import Sorter
from ..jit import loader
from ..kernels import OUTPUTS, Kernel
from ..plan import Plan
from ._operation import Operation


class PreparedCall:
    """A planned call with its kernel open: only allocation and launch are left."""

    __slots__ = (
        "_adapter",
        "_calls_until_relaunch",
        "_dtype",
        "_dtypes",
        "_is_empty",
        "_kernel",
        "_left_out",
        "_operation",
        "_options",
        "_plan",
        "_runs_kernel",
        "_stream",
        "_to_ffi",
    )

    def __init__(
        self,
        operation: Operation,
        adapter: Adapter,
        all_arrays: Sequence[Any],
        device: Device,
        plan: Plan,
        dtype: DType,
        options: SortOptions,
        index_dtype: str | None,
        may_relaunch: bool,
    ) -> None:
        self._operation = operation
        self._adapter = adapter
        self._plan = plan
        self._dtype = dtype
        self._options = options
        self._dtypes = output_dtypes(operation, index_dtype)
        # Keys, which come first, if the operation returns indices alone.
        self._left_out = (None,) * (len(OUTPUTS[operation.payload]) - len(operation.outputs))
        self._is_empty = plan.rows * plan.length == 0
        self._runs_kernel = plan.route == "kernel" and not plan.transposes
        self._to_ffi = next(filter(None, map(adapter.to_ffi, all_arrays)), None)
        self._stream = adapter.stream(all_arrays[0])
        self._kernel = None
        if plan.kernel is not None:
            refuse = None
            if self._stream is not None:
                refuse = partial(
                    _refuse_capture, operation.argument, plan.kernel, device, self._stream
                )
            self._kernel = loader.open_kernel(
                plan.kernel, dtype.name, device.number, plan.length, refuse, operation.name
            )
        # `can_relaunch` takes as long as some calls, and many programs make each call once:
        # therefore the second call uses it.
        self._calls_until_relaunch = 2 if may_relaunch else 0

    def result(self, x: Any) -> Any:
        """Return the outputs for an array, in new arrays of the caller's kind."""
        adapter, dtypes = self._adapter, self._dtypes
        if len(dtypes) == 1:  # nearly every call; a loop takes longer
            output = adapter.empty(x, dtypes[0])
            self.run(x, (output,))
            return adapter.wrap_result(output, x, dtypes[0])
        outputs = [adapter.empty(x, dtype) for dtype in dtypes]
        self.run(x, outputs)
        return self.wrap(outputs, x)

    def wrap(self, outputs: Sequence[Any], x: Any) -> Any:
        """Return what the caller gets for buffers that were written."""
        wrap_result, result = self._adapter.wrap_result, self._operation.result
        if result is None:
            return wrap_result(outputs[0], x, self._dtypes[0])
        return result(*map(wrap_result, outputs, repeat(x), self._dtypes))

    def run(self, x: Any, outputs: Sequence[Any]) -> None:
        """Write the outputs for an array into buffers."""
        kernel = self._kernel
        if kernel is None or not self._runs_kernel:
            self._run_without_kernel(x, outputs)
            return
        source, to_ffi = x, self._to_ffi
        if to_ffi is not None:
            source = to_ffi(x)
            outputs = [to_ffi(output) for output in outputs]
        if self._stream is not None:
            calls = self._calls_until_relaunch
            remember = calls == 1 and self._adapter.can_relaunch(x)
            kernel(source, *self._left_out, *outputs, *self._options, self._stream(), remember)
            if calls > 0:
                self._calls_until_relaunch = calls - 1
            return
        try:
            kernel(source, *self._left_out, *outputs, *self._options)
        except BufferError:
            kernel(self._adapter.to_ffi_read_only(x), *self._left_out, *outputs, *self._options)

    def _run_without_kernel(self, x: Any, outputs: Sequence[Any]) -> None:
        adapter, route = self._adapter, self._plan.route
        if route == "kernel":
            adapter.sort_transposed(x, outputs, self._options[0], self._sort_last_axis)
        elif route == "fallback":
            roles = tuple(output.role for output in self._operation.outputs)
            sort = arrays.outside_torch_compile(_sort_fallback)
            sort(adapter, x, outputs, Sorter(self._dtype, *self._options, roles))
        elif not self._is_empty:
            for output, dtype in zip(outputs, self._dtypes, strict=True):
                if dtype is None:
                    adapter.copy(x, output)
                else:
                    adapter.clear(output)

    def _sort_last_axis(self, x: Any) -> Sequence[Any]:
        """Return the outputs for a dense copy on a device, which keys overwrite."""
        adapter = self._adapter
        outputs = [x if dtype is None else adapter.empty(x, dtype) for dtype in self._dtypes]
        if self._kernel is not None and self._stream is not None:
            tensors = [x, *outputs] if self._to_ffi is None else map(self._to_ffi, [x, *outputs])
            source, *written = tensors
            self._kernel(source, *self._left_out, *written, -1, *self._options[1:], self._stream())
        return outputs


def _sort_fallback(adapter: Adapter, x: Any, outputs: Sequence[Any], sorter: Sorter) -> None:
    adapter.sort_fallback(x, outputs, sorter)


def output_dtypes(operation: Operation, index_dtype: str | None) -> tuple[str | None, ...]:
    """Return the dtype of each output as adapters take it: None for keys."""
    return tuple(None if output.role == "keys" else index_dtype for output in operation.outputs)


def _refuse_capture(
    argument: str, kernel: Kernel, device: Device, stream: Callable[[], int]
) -> None:
    """Raise RuntimeError if a graph is being recorded: then no kernel can be built or loaded."""
    ffi_device = loader.device_of(device.backend, device.number)
    if loader.runtime().is_capturing(ffi_device, stream()):
        raise RuntimeError(
            f"{argument}: its kernel {kernel.name} is not loaded in this process yet, and cannot "
            f"be loaded while the stream is being captured into a {device.backend.upper()} graph. "
            f"Make the same call for an array of this dtype and length once before the capture "
            f"begins."
        )
