"""Runs planned calls, each with its kernel open.

Invariant: no layout is checked here, and no file is touched after `open_run` returned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, repeat, starmap
from typing import Any, NamedTuple

from .. import arrays
from ..arrays import Adapter, Device, SortOptions
from ..dtypes import DType
from ..fallback import Sorter
from ..jit import loader
from ..kernels import OUTPUTS, Kernel, Payload
from ..plan import Plan
from ._operation import Found, Operation


class CallKind(NamedTuple):
    """What all calls of one prepared call have in common.

    Parameters
    ----------
    operation : Operation
        The operation.
    adapter : Adapter
        The adapter of the arrays.
    index_dtype : str or None
        The dtype of indices.
    arrays : sequence of arrays
        The inputs, then buffers of the outputs; other calls have arrays of equal keys.
    found : Found, optional
        What is found of each row, if not all is sorted.
    """

    operation: Operation
    adapter: Adapter
    index_dtype: str | None
    arrays: Sequence[Any]
    found: Found | None = None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of the outputs, if it is not that of the inputs."""
        return None if self.found is None else self.found.shape


# Writes the outputs for the first input into buffers. Other inputs come before the buffers.
Run = Callable[[Any, Sequence[Any]], None]


class PreparedCall:
    """A planned call of one array with its kernel open: only allocation and launch are left."""

    __slots__ = ("_adapter", "_dtypes", "_result_type", "_shape", "_to_result", "run")

    def __init__(self, kind: CallKind, run: Run) -> None:
        self._adapter = kind.adapter
        self._to_result = kind.adapter.to_result(kind.arrays[0])
        self._dtypes = output_dtypes(kind.operation, kind.index_dtype)
        self._result_type = kind.operation.result
        self._shape = kind.shape
        self.run = run

    def result(self, x: Any) -> Any:
        """Return the outputs for an array, in new arrays of the caller's kind."""
        dtypes, to_result = self._dtypes, self._to_result
        if self._result_type is None:  # nearly every call; a loop takes longer
            output = self._adapter.empty(x, dtypes[0], self._shape)
            self.run(x, (output,))
            return output if to_result is None else to_result(output, x, dtypes[0])
        empty, shape = self._adapter.empty, self._shape
        outputs = []
        for dtype in dtypes:
            outputs.append(empty(x, dtype, shape))
        self.run(x, outputs)
        if to_result is not None:
            outputs = [*map(to_result, outputs, repeat(x), dtypes)]
        return self._result_type(*outputs)

    def wrap(self, outputs: Sequence[Any], x: Any) -> Any:
        """Return what the caller gets for buffers that were written; x need not be strided."""
        to_result = self._adapter.to_result(x)
        if to_result is not None:
            outputs = [*map(to_result, outputs, repeat(x), self._dtypes)]
        return outputs[0] if self._result_type is None else self._result_type(*outputs)

    def can_write(self, x: Any, outputs: Sequence[Any]) -> bool:
        """Tell whether `run` may write to the caller's arrays, whose layouts are checked."""
        adapter = self._adapter
        if self._result_type is None:  # nearly every call; a loop takes longer
            return adapter.can_write(outputs[0], x, self._dtypes[0] is not None)
        for output, dtype in zip(outputs, self._dtypes, strict=True):
            if not adapter.can_write(output, x, dtype is not None):
                return False
        return not any(starmap(adapter.spans_overlap, combinations(outputs, 2)))


class _Runner(ABC):
    """Runs calls by one route."""

    __slots__ = ("_adapter", "_dtypes")

    def __init__(self, kind: CallKind) -> None:
        self._adapter = kind.adapter
        self._dtypes = output_dtypes(kind.operation, kind.index_dtype)

    @abstractmethod
    def run(self, x: Any, outputs: Sequence[Any]) -> None:
        """Write the outputs, as `Run` says."""


class _KernelRunner(_Runner):
    """Holds a kernel and its arguments."""

    __slots__ = ("_kernel", "_left_out", "_options", "_to_ffi")

    def __init__(
        self,
        kind: CallKind,
        payload: Payload,
        kernel: Callable[..., None],
        options: SortOptions,
    ) -> None:
        super().__init__(kind)
        self._kernel = kernel
        # Keys, which come first, if the operation returns indices alone.
        self._left_out = (None,) * (len(OUTPUTS[payload]) - len(kind.operation.outputs))
        self._options = options
        self._to_ffi = next(filter(None, map(kind.adapter.to_ffi, kind.arrays)), None)


class _HostRunner(_KernelRunner):
    """Runs a kernel in CPU memory."""

    __slots__ = ()

    def run(self, x: Any, outputs: Sequence[Any]) -> None:
        source, to_ffi = x, self._to_ffi
        if to_ffi is not None:
            source = to_ffi(x)
            outputs = [to_ffi(output) for output in outputs]
        try:
            self._kernel(source, *self._left_out, *outputs, *self._options)
        except BufferError:
            source = self._adapter.to_ffi_read_only(x)
            self._kernel(source, *self._left_out, *outputs, *self._options)


class _DeviceRunner(_KernelRunner):
    """Runs a kernel in a device's stream."""

    __slots__ = ("_calls_until_relaunch", "_stream")

    def __init__(
        self,
        kind: CallKind,
        payload: Payload,
        kernel: Callable[..., None],
        options: SortOptions,
        stream: Callable[[], int],
        may_relaunch: bool,
    ) -> None:
        super().__init__(kind, payload, kernel, options)
        self._stream = stream
        # `can_relaunch` takes as long as some calls, and many programs make each call once:
        # therefore the second call uses it.
        self._calls_until_relaunch = 2 if may_relaunch else 0

    def run(self, x: Any, outputs: Sequence[Any]) -> None:
        calls = self._calls_until_relaunch
        self._launch(x, outputs, self._options, calls == 1 and self._adapter.can_relaunch(x))
        if calls > 0:
            self._calls_until_relaunch = calls - 1

    def _launch(self, x: Any, outputs: Sequence[Any], options: SortOptions, remember: bool) -> None:
        to_ffi = self._to_ffi
        if to_ffi is not None:
            x, outputs = to_ffi(x), [to_ffi(output) for output in outputs]
        self._kernel(x, *self._left_out, *outputs, *options, self._stream(), remember)


class _TransposedRunner(_DeviceRunner):
    """Runs a kernel on a copy whose last axis is the sorted one."""

    __slots__ = ("_shape",)

    def __init__(self, kind: CallKind, *args: Any) -> None:
        super().__init__(kind, *args)
        self._shape = kind.shape

    def run(self, x: Any, outputs: Sequence[Any]) -> None:
        self._adapter.sort_transposed(x, outputs, self._options[0], self._sort_last_axis)

    def _sort_last_axis(self, x: Any) -> Sequence[Any]:
        """Return the outputs for a copy, which sorted keys overwrite."""
        empty, shape = self._adapter.empty, self._shape
        if shape is None:
            outputs = [x if dtype is None else empty(x, dtype) for dtype in self._dtypes]
        else:
            shape = (*x.shape[:-1], shape[self._options[0]])
            outputs = [empty(x, dtype, shape) for dtype in self._dtypes]
        self._launch(x, outputs, (-1, *self._options[1:]), False)
        return outputs


class _FallbackRunner(_Runner):
    """Runs the sort of NumPy or of the array's library."""

    __slots__ = ("_sorter",)

    def __init__(
        self,
        kind: CallKind,
        sorter: Sorter,
    ) -> None:
        super().__init__(kind)
        self._sorter = sorter

    def run(self, x: Any, outputs: Sequence[Any]) -> None:
        sort = arrays.outside_torch_compile(_sort_fallback)
        sort(self._adapter, x, outputs, self._sorter)


class _CopyRunner(_Runner):
    """Copies rows of one element."""

    __slots__ = ()

    def run(self, x: Any, outputs: Sequence[Any]) -> None:
        for output, dtype in zip(outputs, self._dtypes, strict=True):
            if dtype is None:
                self._adapter.copy(x, output)
            else:
                self._adapter.clear(output)


class _EmptyRunner(_Runner):
    """Does nothing: there are no elements."""

    __slots__ = ()

    def run(self, x: Any, outputs: Sequence[Any]) -> None:
        pass


def open_run(
    kind: CallKind,
    device: Device,
    plan: Plan,
    dtype: DType,
    options: SortOptions,
    may_relaunch: bool,
) -> Run:
    """Open the kernel of a planned call, for later calls with arrays of equal keys.

    Parameters
    ----------
    kind : CallKind
        What these calls have in common.
    device : Device
        The device of the arrays.
    plan : Plan
        The plan of the call.
    dtype : DType
        The dtype of the first input.
    options : SortOptions
        The options, with an axis that counts from the first one.
    may_relaunch : bool
        Whether the launch cache may answer later calls.
    """
    operation = kind.operation
    if plan.kernel is None:
        if plan.route == "fallback":
            roles = tuple(output.role for output in operation.outputs)
            return _FallbackRunner(kind, Sorter(dtype, *options, roles)).run
        is_empty = plan.rows * plan.length == 0 or 0 in (kind.shape or ())
        return (_EmptyRunner if is_empty else _CopyRunner)(kind).run
    stream = kind.adapter.stream(kind.arrays[0])
    refuse = None
    if stream is not None:
        refuse = partial(_refuse_capture, operation.argument, plan.kernel, device, stream)
    kernel = loader.open_kernel(
        plan.kernel, dtype.name, device.number, plan.length, refuse, operation.name
    )
    payload = plan.kernel.payload
    if stream is None:
        return _HostRunner(kind, payload, kernel, options).run
    runner = _TransposedRunner if plan.transposes else _DeviceRunner
    return runner(kind, payload, kernel, options, stream, may_relaunch).run


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
