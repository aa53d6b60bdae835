"""Runs every call: checks arrays, plans, prepares, launches.

Invariant: every argument is checked before anything is written. The first call for an operation,
options, dtype, shape and strides *prepares* later ones, which look up, allocate and launch, and use
no file or subprocess. On a device, the second call also tells whether later ones can be relaunched.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

from .. import arrays
from ..arrays import Adapter, Description, Device, SortOptions
from ..dtypes import DType, lookup
from ..fallback import Sorter
from ..jit import loader
from ..kernels import Kernel
from ..plan import Plan, plan
from ..process import ending, forks
from ..targets import target_of
from ._operation import Operation

# More shapes than a program usually has. Beyond that, all are forgotten and planned again.
_MAX_PREPARED = 4096
_MAX_INT32 = 2**31 - 1

_prepared: dict[Hashable, PreparedCall] = {}
_adapters = arrays.adapters


def call(
    operation: Operation,
    x: Any,
    options: SortOptions,
    out: Any = None,
    index_dtype: str | None = None,
) -> Any:
    """Run an operation whose arguments other than arrays are checked.

    Parameters
    ----------
    operation : Operation
        The operation.
    x : array
        The array.
    options : SortOptions
        The checked options.
    out : array or tuple of arrays, optional
        Where the outputs go: one array, or a tuple if the operation has several outputs.
    index_dtype : str, optional
        The dtype of indices, int32 or int64; by default that of the library.
    """
    adapter = _adapters.get(type(x)) or arrays.adapter_of(x)
    if operation.payload == "index" and index_dtype is None and out is None:
        index_dtype = adapter.default_index_dtype()  # which may change between calls
    if out is not None:
        return _call_into(operation, adapter, x, options, out, index_dtype)
    relaunch = adapter.relaunch
    if relaunch is not None:
        result = relaunch(operation.name, x, options)
        if result is not None:
            return result
    key = (operation.name, adapter.kind, adapter.key(x), options, index_dtype)
    prepared = _prepared.get(key)
    if prepared is None:
        return _first_call(operation, adapter, x, options, index_dtype, key)
    return prepared.result(x)


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
        index_dtype: str,
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
                plan.kernel, dtype.name, device.number, plan.length, refuse
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


def new_outputs(operation: Operation, adapter: Adapter, x: Any, index_dtype: str) -> list[Any]:
    """Allocate a kernel's outputs; None for values if the operation does not return them."""
    outputs = [adapter.empty(x, None) if "values" in operation.outputs else None]
    if operation.payload == "index":
        outputs.append(adapter.empty(x, index_dtype))
    return outputs


def planned(
    operation: Operation, description: Description, out_strides: Sequence[Sequence[int]], axis: int
) -> tuple[Plan, int]:
    """Return the plan of a call, and its axis counted from the first one.

    Parameters
    ----------
    operation : Operation
        The operation.
    description : Description
        The array.
    out_strides : sequence of sequence of int
        The strides of each output, in elements.
    axis : int
        The axis, which may count from the end.
    """
    shape, strides = description.shape, [description.strides, *out_strides]
    rank = max(len(shape), 1)
    if not -rank <= axis < rank:
        raise ValueError(
            f"axis: expected {-rank} to {rank - 1} for an array of shape {shape}, got {axis}."
        )
    if not shape:
        shape, strides = (1,), [(1,)] * len(strides)
    axis %= rank
    target = target_of(description.device.backend)
    native = native_arch(description.device)
    arch = native if target.is_host else target.arch_for(native)
    call_plan = plan(
        operation.selection,
        operation.payload,
        lookup(description.dtype, "x"),
        shape,
        strides,
        axis,
        target,
        arch,
        description.capabilities,
    )
    return call_plan, axis


def native_arch(device: Device) -> str:
    """Return a device's own architecture, as its library or else its driver reports it."""
    if target_of(device.backend).is_host:
        return loader.cpu_arch()
    if device.arch is not None:
        return device.arch
    return str(loader.runtime().gpu_arch(loader.device_of(device.backend, device.number)))


def _first_call(
    operation: Operation,
    adapter: Adapter,
    x: Any,
    options: SortOptions,
    index_dtype: str | None,
    key: Hashable,
) -> Any:
    strided = adapter.as_strided(x)
    dtype = index_dtype or adapter.default_index_dtype()
    outputs = new_outputs(operation, adapter, strided, dtype)
    prepare = arrays.outside_torch_compile(_prepare)
    # The launch cache launches with NaN as the largest value.
    may_relaunch = strided is x and not options[2]
    prepared = prepare(operation, adapter, strided, outputs, options, dtype, may_relaunch)
    if strided is x:
        _remember(key, prepared)
    prepared.run(strided, outputs)
    return prepared.wrap(outputs, x)


def _call_into(
    operation: Operation,
    adapter: Adapter,
    x: Any,
    options: SortOptions,
    out: Any,
    index_dtype: str | None,
) -> Any:
    key_of_x = adapter.key(x)
    outputs, names = _outputs_of(operation, out)
    are_direct = [
        adapter.check_out(array, x, output == "indices", name)
        for array, output, name in zip(outputs, operation.outputs, names, strict=True)
    ]
    for name, output, array in zip(names, operation.outputs, outputs, strict=True):
        if output == "indices":
            out_dtype = adapter.describe(array, name).dtype
            if index_dtype not in (None, out_dtype):
                raise TypeError(
                    f"{name}: expected index_dtype {index_dtype}, got {out_dtype}; pass only one "
                    f"of the two."
                )
            index_dtype = out_dtype
    if len(outputs) > 1 and adapter.spans_overlap(*outputs):
        if adapter.share_memory(*outputs):
            raise ValueError(
                f"out: {' and '.join(names)} share memory; pass arrays that do not overlap."
            )
        are_direct = [False]  # interleaved: the runtime compares spans only
    if not all(are_direct):
        results = call(operation, x, options, index_dtype=index_dtype)
        for result, array in zip(
            [results] if operation.result is None else results, outputs, strict=True
        ):
            adapter.copy(result, array)
    else:
        keys = [adapter.key(array, name) for array, name in zip(outputs, names, strict=True)]
        key = (operation.name, adapter.kind, key_of_x, options, *keys)
        prepared = _prepared.get(key)
        buffers = outputs if "values" in operation.outputs else [None, *outputs]
        if prepared is None:
            prepare = arrays.outside_torch_compile(_prepare)
            dtype = index_dtype or adapter.default_index_dtype()
            prepared = prepare(operation, adapter, x, buffers, options, dtype, False)
            _remember(key, prepared)
        prepared.run(x, buffers)
        for array in outputs:
            adapter.mark_modified(array)
    return out if operation.result is None else operation.result(*outputs)


def _outputs_of(operation: Operation, out: Any) -> tuple[list[Any], list[str]]:
    """Return the caller's arrays, one for each output, and their names in messages."""
    if operation.result is None:
        return [out], ["out"]
    count = len(operation.outputs)
    expected = f"a tuple of {count} arrays ({', '.join(operation.outputs)})"
    if not isinstance(out, (tuple, list)):
        raise TypeError(f"out: expected {expected}, got {arrays.type_name(out)}.")
    if len(out) != count:
        raise ValueError(f"out: expected {expected}, got {len(out)}.")
    return list(out), [f"out[{number}]" for number in range(count)]


@forks.held_off()
def _prepare(
    operation: Operation,
    adapter: Adapter,
    x: Any,
    outputs: Sequence[Any],
    options: SortOptions,
    index_dtype: str,
    may_relaunch: bool,
) -> PreparedCall:
    description = adapter.describe(x, "x")
    if "values" in operation.outputs:
        adapter.check_no_gradient(x, "x")
    written = [output for output in outputs if output is not None]
    strides = [adapter.describe(output, "out").strides for output in written]
    call_plan, axis = planned(operation, description, strides, options[0])
    check_index_dtype(operation, index_dtype, call_plan.length)
    dtype = lookup(description.dtype, "x")
    return PreparedCall(
        operation,
        adapter,
        [x, *written],
        description.device,
        call_plan,
        dtype,
        (axis, *options[1:]),
        index_dtype,
        may_relaunch,
    )


def check_index_dtype(operation: Operation, index_dtype: str, length: int) -> None:
    """Raise ValueError if a dtype cannot hold the indices of rows of a length."""
    if "indices" in operation.outputs and index_dtype == "int32" and length - 1 > _MAX_INT32:
        raise ValueError(
            f"index_dtype: int32 holds indices up to {_MAX_INT32}, and rows have length {length}. "
            f'Pass index_dtype="int64".'
        )


def _refuse_capture(kernel: Kernel, device: Device, stream: Callable[[], int]) -> None:
    """Raise RuntimeError if a graph is being recorded: then no kernel can be built or loaded."""
    ffi_device = loader.device_of(device.backend, device.number)
    if loader.runtime().is_capturing(ffi_device, stream()):
        raise RuntimeError(
            f"x: its kernel {kernel.name} is not loaded in this process yet, and cannot be loaded "
            f"while the stream is being captured into a {device.backend.upper()} graph. Make the "
            f"same call for an array of this dtype and length once before the capture begins."
        )


def _remember(key: Hashable, prepared: PreparedCall) -> None:
    if len(_prepared) >= _MAX_PREPARED:
        _prepared.clear()
    if not ending.is_ending():
        _prepared[key] = prepared


def _forget() -> None:
    _prepared.clear()
    arrays.adapters.clear()


if sys.version_info < (3, 14):  # from then on, daemon threads stop without ending
    atexit.register(ending.end, _forget)
