"""The operations: rules for arguments, then plan -> kernel -> launch.

Invariant: every argument is checked before anything is written. A call that was made once for a
dtype, shape and layout is *prepared*: the next one is a look-up, an allocation and a launch, and
touches no file or subprocess. (The second one on a device also asks its library and the runtime
whether later ones can do with less.)
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, NoReturn

from . import arrays
from .arguments import Nan, expected_bool, named_only, unnamed_error, validated
from .arrays import Adapter, Description, Device
from .dtypes import DType, lookup
from .jit import loader
from .kernels import Kernel
from .plan import Plan, plan_gpu_sort, plan_sort
from .process import ending, forks
from .targets import target_of

__all__ = ["native_arch", "planned", "sort", "warp_bitonic_sort"]

# Enough for any program's shapes; forgetting them all costs one planning each.
_MOST_PREPARED = 4096


# The validated arguments of a sort but for the arrays: the axis, whether descending, and whether
# NaNs come last.
_Request = tuple[int, bool, bool]


class _Prepared:
    """A planned call with its kernel open: all that is left is to allocate and launch."""

    __slots__ = (
        "_adapter",
        "_calls_until_remembered",
        "_copies",
        "_dtype",
        "_is_empty",
        "_kernel",
        "_lower",
        "_request",
        "_stream",
        "_turned",
    )

    def __init__(
        self,
        adapter: Adapter,
        x: Any,
        buffer: Any,
        device: Device,
        plan: Plan,
        dtype: DType,
        request: _Request,
        may_remember: bool,
    ) -> None:
        self._adapter = adapter
        # The fields of a plan are properties that torch.compile, in older versions, cannot follow.
        self._copies, self._turned = plan.route == "copy", plan.turned
        self._is_empty = plan.rows * plan.length == 0
        self._dtype = dtype
        self._request = request
        self._lower = adapter.lowering(x) or adapter.lowering(buffer)
        self._stream = adapter.stream(x)
        self._kernel = None
        if plan.kernel is not None:
            refuse = None
            if self._stream is not None:
                refuse = partial(_refuse_capture, plan.kernel, device, self._stream)
            self._kernel = loader.open_kernel(
                plan.kernel, dtype.name, device.number, plan.length, refuse
            )
        # Asking whether a sort can be remembered takes as long as some sorts: the second one asks,
        # for many a program starts for one of each.
        self._calls_until_remembered = 2 if may_remember else 0

    def __call__(self, x: Any, buffer: Any) -> Any:
        request, kernel, lower = self._request, self._kernel, self._lower
        if kernel is None:
            self._without_kernel(x, buffer)
            return buffer
        if self._turned:
            self._adapter.sort_turned(x, buffer, request[0], self._sort_last_axis)
            return buffer
        source, target = (x, buffer) if lower is None else (lower(x), lower(buffer))
        if self._stream is not None:
            calls = self._calls_until_remembered
            remember = calls == 1 and self._adapter.remembers(x)
            kernel(source, target, *request, self._stream(), remember)
            if calls > 0:
                self._calls_until_remembered = calls - 1
            return buffer
        try:
            kernel(source, target, *request)
        except BufferError:
            kernel(self._adapter.lower_read_only(x), target, *request)
        return buffer

    def _sort_last_axis(self, x: Any) -> None:
        # In place; only on a device.
        if self._kernel is not None and self._stream is not None:
            lowered = x if self._lower is None else self._lower(x)
            self._kernel(lowered, lowered, -1, *self._request[1:], self._stream())

    def _without_kernel(self, x: Any, buffer: Any) -> None:
        if not self._copies:
            self._adapter.sort_long(x, buffer, self._dtype, *self._request)
        elif not self._is_empty:
            self._adapter.copy(x, buffer)


def _refuse_capture(kernel: Kernel, device: Device, stream: Callable[[], int]) -> None:
    """Raise if a kernel would have to be built or loaded while a graph is recorded."""
    there = loader.device_of(device.backend, device.number)
    if loader.runtime().is_capturing(there, stream()):
        raise RuntimeError(
            f"x: its kernel {kernel.name} is not loaded in this process yet, and the stream is "
            f"being captured into a {device.backend.upper()} graph, where nothing can be loaded. "
            f"Sort an array of this dtype and length once before the capture begins."
        )


_prepared: dict[Hashable, _Prepared] = {}
_adapters = arrays.adapters


@arrays.between_torch_graphs
@named_only
def sort(
    x: Any,
    /,
    *unnamed: NoReturn,
    axis: int = -1,
    descending: bool = False,
    stable: bool = False,
    nan: Nan = "largest",
    out: Any = None,
    dim: int | None = None,
) -> Any:
    """Sort an array along an axis; return values only, without indices.

    Parameters
    ----------
    x : array
        A NumPy, PyTorch, CuPy or JAX array, or any other with ``__dlpack__``, in CPU memory or on a
        CUDA or ROCm device, of bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32,
        float64 or float8 (e4m3fn, e5m2, e4m3fnuz, e5m2fnuz). Any shape and strides, and, in CPU
        memory, any address (on a device only those of whole elements, as there usually are); it
        may be read-only and is never written.
    axis : int, default -1
        The axis to sort along. A 0-d array counts as one row of one element.
    descending : bool, default False
        Whether the largest value comes first.
    stable : bool, default False
        Accepted for the sake of code written for other libraries. Values that compare equal are
        the same bits, but for -0.0 and 0.0: these are always ordered, -0.0 before 0.0 (after it
        when descending), so a values-only result is the same whether stable or not.
    nan : {"largest", "last"}, default "largest"
        Where NaNs of either sign go: they count as the largest value (last ascending, first
        descending), or come last in either direction. Their bits survive.
    out : array, optional
        Where the result goes: an array of x's kind, shape and dtype that can be written, whose
        strides nest so that no two elements share memory. It may be x, or overlap it.
    dim : int, optional
        Another name for axis.

    Returns
    -------
    array
        The sorted values, one array of x's kind (a plain `numpy.ndarray` for its subclasses, a
        `tvm_ffi.Tensor` for a library that makes no array of its own from DLPack): a permutation of
        each row, bit for bit. It is `out` where that was given. No indices come with it.

    Raises
    ------
    TypeError
        An argument of the wrong type, or a dtype that cannot be sorted.
    ValueError
        An axis out of range, an unknown `nan`, an out of another shape.
    NotImplementedError
        x is on a device whose back end is not built yet, or its rows are longer than a kernel sorts
        and it is on a device and of a library that is not named above.
    MemoryError
        There is no memory for the result (libraries that make it themselves raise what they do).
    RuntimeError
        The kernel could not be built; the message ends with the first error and a hint.

    Notes
    -----
    On a device, PyTorch's and CuPy's arrays (and `tvm_ffi.Tensor`) are sorted in the stream that is
    current in their library, without waiting. A sort of JAX's arrays, and of other libraries', is
    ordered behind what makes x on the device too, but the call returns when the kernel is done:
    they do not say which of their streams would have to wait for it.

    Rows of up to 16384 elements are sorted by bitonic networks [1]_ whose leaves are the smallest
    known networks of up to 32 keys [2]_, many rows at once; longer ones by np.sort, or
    the array's library on a device, on keys that make the same promises. `explain` says which.

    .. [1] K. E. Batcher, "Sorting networks and their applications", AFIPS 1968.
    .. [2] D. E. Knuth, "The Art of Computer Programming", vol. 3, section 5.3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import sort
    >>> sort(np.array([[3.0, 1.0, 2.0], [1.0, float("nan"), 0.0]]), descending=True)
    array([[ 3.,  2.,  1.],
           [nan,  1.,  0.]])
    """
    if unnamed:
        raise unnamed_error("sort", "x", unnamed)
    adapter = _adapters.get(type(x)) or arrays.adapter_of(x)
    if (
        type(axis) is int
        and type(descending) is bool
        and type(stable) is bool
        and type(nan) is str
        and nan == "largest"
        and dim is None
    ):
        # What nearly every call has; equal values of other types (True for an axis, 1 for True)
        # must not slip through by being equal.
        again = adapter.again
        if again is not None and out is None:
            result = again(x, axis, descending)
            if result is not None:
                return result
        request = (axis, descending, False)
    else:
        request = validated(axis, dim, descending, stable, nan)
    key = (adapter.kind, adapter.key(x), request)
    if out is not None:
        return _sorted_into(adapter, x, request, key, out)
    prepared = _prepared.get(key)
    if prepared is None:
        return _sorted(adapter, x, request, key)
    return adapter.finish(prepared(x, adapter.allocate(x)), x)


@arrays.between_torch_graphs
def warp_bitonic_sort(x: Any, is_descending: bool = True) -> Any:
    """Sort the last axis of an array, largest first unless told otherwise; return values only.

    The historical entry of this package; `sort` does the same and more.

    Parameters
    ----------
    x : array
        As for `sort`.
    is_descending : bool, default True
        Whether the largest value comes first.

    Returns
    -------
    array
        The sorted values, an array of x's kind.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, RuntimeError
        As `sort` does.
    """
    if type(is_descending) is not bool:
        raise TypeError(
            f"{expected_bool('is_descending', is_descending)} The axis is always the last one "
            f"here: sort(x, axis=...) takes another."
        )
    return sort(x, descending=is_descending)


def _sorted(adapter: Adapter, x: Any, request: _Request, key: Hashable) -> Any:
    regular = adapter.regular(x)
    buffer = adapter.allocate(regular)
    prepared = arrays.outside_torch_compile(_prepare)(
        adapter, regular, buffer, request, may_remember=regular is x
    )
    if regular is x:
        _keep(key, prepared)
    return adapter.finish(prepared(regular, buffer), x)


def _sorted_into(adapter: Adapter, x: Any, request: _Request, key: Hashable, out: Any) -> Any:
    if not adapter.check_out(out, x):
        adapter.copy(_sorted(adapter, x, request, key), out)
        return out
    key = (key, adapter.key(out, "out"))
    prepared = _prepared.get(key)
    if prepared is None:
        prepared = arrays.outside_torch_compile(_prepare)(
            adapter, x, out, request, may_remember=False
        )
        _keep(key, prepared)
    prepared(x, out)
    adapter.written(out)
    return out


def _keep(key: Hashable, prepared: _Prepared) -> None:
    if len(_prepared) >= _MOST_PREPARED:
        _prepared.clear()
    if not ending.is_ending():
        _prepared[key] = prepared


def _forget() -> None:
    _prepared.clear()
    arrays.adapters.clear()


if sys.version_info < (3, 14):  # from then on, daemon threads stop without ending
    atexit.register(ending.end, _forget)


@forks.held_off()
def _prepare(
    adapter: Adapter, x: Any, buffer: Any, request: _Request, may_remember: bool
) -> _Prepared:
    seen = adapter.describe(x, "x")
    axis, descending, nan_last = request
    plan, axis = planned(seen, adapter.describe(buffer, "out").strides, axis)
    dtype = lookup(seen.dtype, "x")
    if plan.route == "framework":
        from . import framework  # noqa: F401 - what sorts will find it imported

    settled = (axis, descending, nan_last)
    # What is sorted again is sorted with NaN as the largest value.
    may_remember = may_remember and not nan_last
    return _Prepared(adapter, x, buffer, seen.device, plan, dtype, settled, may_remember)


def planned(seen: Description, out_strides: Sequence[int], axis: int) -> tuple[Plan, int]:
    """Return the plan of a sort, and its axis counted from the first one.

    Parameters
    ----------
    seen : Description
        The array.
    out_strides : sequence of int
        The strides of the result, in elements.
    axis : int
        The axis, which may count from the end.
    """
    shape, x_strides = seen.shape, seen.strides
    rank = max(len(shape), 1)
    if not -rank <= axis < rank:
        raise ValueError(
            f"axis: expected {-rank} to {rank - 1} for an array of shape {shape}, got {axis}."
        )
    if not shape:
        shape, x_strides, out_strides = (1,), (1,), (1,)
    axis %= rank
    dtype = lookup(seen.dtype, "x")
    backend = seen.device.backend
    if backend != "cpu":
        arch = target_of(backend).arch_for(native_arch(seen.device))
        plan = plan_gpu_sort(
            backend, dtype, shape, x_strides, out_strides, axis, arch, seen.library
        )
        return plan, axis
    return plan_sort(dtype, shape, x_strides, out_strides, axis, loader.cpu_arch()), axis


def native_arch(device: Device) -> str:
    """Return a device's own target, as its library or else its driver tells it."""
    if device.arch is not None:
        return device.arch
    return str(loader.runtime().gpu_arch(loader.device_of(device.backend, device.number)))
