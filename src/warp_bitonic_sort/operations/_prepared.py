"""Runs planned calls, each with its kernel open.

Invariant: nothing is checked here, and no file is touched after a `PreparedCall` is constructed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import arrays
from ..arrays import Adapter, Device, SortOptions
from ..dtypes import DType
from ..fallback import Sorter
from ..jit import loader
from ..kernels import Kernel
from ..plan import Plan
from ._operation import Operation


class PreparedCall:
    """A planned call with its kernel open: only allocation and launch are left.

    The outputs of a kernel are its values and, with payload ``index``, its indices. A kernel that
    gets None for values writes indices only.
    """

    __slots__ = (
        "_adapter",
        "_calls_until_relaunch",
        "_dtype",
        "_index_dtype",
        "_is_empty",
        "_kernel",
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
        self._index_dtype = index_dtype
        self._is_empty = plan.rows * plan.length == 0
        self._runs_kernel = plan.route == "kernel" and not plan.transposes
        self._to_ffi = next(filter(None, map(adapter.to_ffi, all_arrays)), None)
        self._stream = adapter.stream(all_arrays[0])
        self._kernel = None
        if plan.kernel is not None:
            refuse = None
            if self._stream is not None:
                refuse = partial(_refuse_capture, plan.kernel, device, self._stream)
            self._kernel = loader.open_kernel(
                plan.kernel, dtype.name, device.number, plan.length, refuse, operation.name
            )
        # `can_relaunch` takes as long as some calls, and many programs make each call once:
        # therefore the second call uses it.
        self._calls_until_relaunch = 2 if may_relaunch else 0

    def result(self, x: Any) -> Any:
        """Return the outputs for an array, in new arrays of the caller's kind."""
        adapter = self._adapter
        if self._operation.payload == "none":
            values = adapter.empty(x, None)
            self.run(x, (values,))
            return adapter.wrap_result(values, x, None)
        outputs = new_outputs(self._operation, adapter, x, self._index_dtype)
        self.run(x, outputs)
        return self.wrap(outputs, x)

    def wrap(self, outputs: Sequence[Any], x: Any) -> Any:
        """Return what the caller gets for buffers that were written."""
        dtypes = (None, self._index_dtype)
        results = [
            self._adapter.wrap_result(output, x, dtype)
            for output, dtype in zip(outputs, dtypes, strict=False)
            if output is not None
        ]
        result = self._operation.result
        return results[0] if result is None else result(*results)

    def run(self, x: Any, outputs: Sequence[Any]) -> None:
        """Write the outputs for an array into buffers."""
        kernel = self._kernel
        if kernel is None or not self._runs_kernel:
            self._run_without_kernel(x, *outputs)
            return
        source, to_ffi = x, self._to_ffi
        if to_ffi is not None:
            source = to_ffi(x)
            outputs = [None if output is None else to_ffi(output) for output in outputs]
        if self._stream is not None:
            calls = self._calls_until_relaunch
            remember = calls == 1 and self._adapter.can_relaunch(x)
            kernel(source, *outputs, *self._options, self._stream(), remember)
            if calls > 0:
                self._calls_until_relaunch = calls - 1
            return
        try:
            kernel(source, *outputs, *self._options)
        except BufferError:
            kernel(self._adapter.to_ffi_read_only(x), *outputs, *self._options)

    def _run_without_kernel(self, x: Any, values: Any, indices: Any = None) -> None:
        adapter, route = self._adapter, self._plan.route
        if route == "kernel":
            adapter.sort_transposed(x, values, self._options[0], self._sort_last_axis)
        elif route == "fallback":
            sort = arrays.outside_torch_compile(adapter.sort_fallback)
            sort(x, values, indices, Sorter(self._dtype, *self._options))
        elif not self._is_empty:
            if values is not None:
                adapter.copy(x, values)
            if indices is not None:
                adapter.clear(indices)

    def _sort_last_axis(self, x: Any) -> None:
        # In place, and only on a device.
        if self._kernel is not None and self._stream is not None:
            tensor = x if self._to_ffi is None else self._to_ffi(x)
            self._kernel(tensor, tensor, -1, *self._options[1:], self._stream())


def new_outputs(
    operation: Operation, adapter: Adapter, x: Any, index_dtype: str | None
) -> list[Any]:
    """Allocate a kernel's outputs; None for values if the operation does not return them."""
    outputs = [adapter.empty(x, None) if "values" in operation.outputs else None]
    if operation.payload == "index":
        outputs.append(adapter.empty(x, index_dtype))
    return outputs


def _refuse_capture(kernel: Kernel, device: Device, stream: Callable[[], int]) -> None:
    """Raise RuntimeError if a graph is being recorded: then no kernel can be built or loaded."""
    ffi_device = loader.device_of(device.backend, device.number)
    if loader.runtime().is_capturing(ffi_device, stream()):
        raise RuntimeError(
            f"x: its kernel {kernel.name} is not loaded in this process yet, and cannot be loaded "
            f"while the stream is being captured into a {device.backend.upper()} graph. Make the "
            f"same call for an array of this dtype and length once before the capture begins."
        )
