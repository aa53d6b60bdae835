"""Explains which route and kernel a call takes.

Invariant: nothing is compiled or sorted. Only the runtime may be loaded, if a device's library does
not report its architecture. A call with the same arguments takes the explained route.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from . import arrays
from .arrays import Adapter, Description
from .dtypes import lookup
from .errors import BuildError
from .jit import loader
from .jit.store import layers
from .kernels import MEDIANS, VALUE_BITS, Kernel
from .operations import OPERATIONS
from .operations._arguments import (
    checked_choice,
    checked_index_dtype,
    checked_integer,
    dtype_name,
    named_only,
    sort_options,
    unnamed_error,
)
from .operations._operation import Operation, Part
from .operations._planning import (
    check_index_dtype,
    found_of,
    native_arch,
    planned,
)
from .plan import Plan

# The width of the values that an operation is explained for, if it carries some along.
_VALUE_BITS = 32


class Explanation(NamedTuple):
    """The route and the kernel of a call, and the reason.

    Parameters
    ----------
    operation : str
        The operation, as in ``sort``.
    backend : str
        The back end where the call runs, as in ``cpu``.
    route : str
        ``kernel``, ``fallback`` (NumPy, or the array's library on a device, sorts the keys) or
        ``copy`` (nothing to sort).
    kernel : str or None
        The name of the kernel, which is also that of its folder in the cache.
    layout : str or None
        Where a row is held while it is sorted: ``registersN`` or ``tile`` on the CPU, on a device
        ``lanesL_registersN`` (without ``lanesL_`` for one lane), with ``warpsW_`` before it for
        rows of several warps.
    access : str or None
        The strides that the kernel accepts: ``rows`` (contiguous elements), ``columns`` (rows that
        lie side by side) or ``strided`` (any strides, also those of the other two).
    codec : str or None
        How a key is computed from the dtype's bits: ``integer``, ``ieee`` or ``fnuz``.
    arch : str
        The architecture of the CPU or the device.
    dtype : str
        The dtype.
    shape : tuple of int
        The shape.
    axis : int
        The axis, not negative.
    length : int
        Elements in a row.
    rows : int
        Rows in the batch.
    open : bool
        Whether this process holds the kernel open for the dtype. Then a call uses no cache.
    cached : str or None
        The folder of the layer or cache that holds the kernel. None also if that depends on a
        compiler's version that is not known yet: `explain` does not run the compiler.
    missing : bool
        Whether the kernel is in no cache and cannot be compiled here. On a CPU, a call may then use
        a kernel for a lesser architecture.
    reason : str
        Why the call takes this route.
    """

    operation: str
    backend: str
    route: str
    kernel: str | None
    layout: str | None
    access: str | None
    codec: str | None
    arch: str
    dtype: str
    shape: tuple[int, ...]
    axis: int
    length: int
    rows: int
    open: bool
    cached: str | None
    missing: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain data."""
        return self._asdict()

    def __str__(self) -> str:
        lines = [
            f"{self.operation} {self.rows} row{'s' * (self.rows != 1)} of {self.length} "
            f"{self.dtype} (shape {self.shape}, axis {self.axis}) on {self.backend} ({self.arch})"
        ]
        if self.kernel is not None:
            state = "not compiled yet, as far as is known: a call compiles it, or says why not"
            if self.missing:
                state = "not compiled, and it cannot be compiled here"
            elif self.cached is not None:
                state = f"compiled, in {self.cached}"
            if self.open:
                state = "open in this process"
            lines.append(f"  kernel: {self.kernel} ({state})")
            lines.append(f"  layout: {self.layout}, access: {self.access}, keys: {self.codec}")
        else:
            lines.append(f"  no kernel: {self.route}")
        lines.append(f"  why: {self.reason}")
        return "\n".join(lines)


@named_only
def explain(
    x_or_shape: Any,
    /,
    *unnamed: NoReturn,
    dtype: Any = None,
    axis: int = -1,
    descending: bool = False,
    stable: bool = False,
    nan: str = "largest",
    dim: int | None = None,
    operation: str = "sort",
    index_dtype: Any = None,
    k: int | None = None,
) -> Explanation:
    """Explain which kernel a call uses, and why; nothing is compiled or sorted.

    Parameters
    ----------
    x_or_shape : array or tuple of int
        The array, or the shape of a row-major one in CPU memory.
    dtype : str or dtype, optional
        The dtype for a shape, by name or as a library's dtype; float32 if not given. An array has
        its own.
    axis, descending, stable, dim
        As for `sort`. `median` and `quantile` have no descending and no stable.
    nan : str, default "largest"
        As for the operation. The default stands for that of the operation.
    operation : str, default "sort"
        The operation, by the name of its function.
    index_dtype : str or dtype, optional
        As for the operation. One that returns no indices raises TypeError.
    k : int, optional
        As for the operation: `top_k` and `kthvalue` need it. For others it raises TypeError.

    Returns
    -------
    Explanation
        The explanation as data; ``str()`` returns it as text.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As the operation does for the same arguments; ValueError for an unknown operation.

    Examples
    --------
    >>> from warp_bitonic_sort import explain
    >>> explain((1000, 9)).layout
    'registers9'
    """
    if unnamed:
        raise unnamed_error("explain", "x_or_shape", unnamed)
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise ValueError(f"operation: expected one of {', '.join(OPERATIONS)}, got {operation!r}.")
    chosen = OPERATIONS[operation]
    settled_axis = sort_options(axis, dim, descending, stable)[0]
    if nan != "largest":
        checked_choice("nan", nan, chosen.nan_modes)
    dtype_of_indices = checked_index_dtype(index_dtype)
    settled_k = _checked_k(chosen, k)
    returns_indices = chosen.payload == "index" and not chosen.carries_values
    if dtype_of_indices is not None and not returns_indices:
        raise TypeError(
            f"index_dtype: {operation} returns no indices; got index_dtype={index_dtype!r}."
        )
    if isinstance(x_or_shape, (tuple, list)):
        description = _described_shape(x_or_shape, dtype)
        out_strides: Sequence[int] = description.strides
    else:
        if dtype is not None:
            raise TypeError(f"dtype: an array has its own; got dtype={dtype!r} beside an array.")
        adapter = arrays.adapter_of(x_or_shape, "x_or_shape")
        description, out_strides = _described_array(x_or_shape, adapter, chosen)
        dtype_of_indices = adapter.index_dtype(dtype_of_indices)
    other_strides, value_bits = [out_strides] * len(chosen.outputs), None
    if chosen.carries_values:  # one array of values that is laid out like the keys
        other_strides, value_bits = [description.strides, *other_strides], _VALUE_BITS
    part: Part | None = chosen.median_part(nan == "omit") or settled_k
    found = None if part is None else found_of(chosen, description, settled_axis, part)
    plan, settled_axis = planned(
        chosen, description, other_strides, settled_axis, value_bits, found
    )
    check_index_dtype(chosen, dtype_of_indices, plan.length)
    return _explanation(chosen, description, plan, settled_axis, settled_k)


def _checked_k(operation: Operation, k: Any) -> int | None:
    """Return a checked k; raise if the operation takes none, or needs one."""
    if operation.lowest_k is None:
        if k is not None:
            raise TypeError(f"k: {operation.name} takes no k; got k={k!r}.")
        return None
    if k is None:
        raise TypeError(f"k: expected an integer, got None; {operation.name} needs a k.")
    return checked_integer("k", k)


def _described_array(
    x: Any, adapter: Adapter, operation: Operation
) -> tuple[Description, Sequence[int]]:
    """Return the description of an array, and the strides of its results."""
    adapter.key(x, "x_or_shape")
    strided = adapter.as_strided(x)
    description = adapter.describe(strided, "x_or_shape")
    if any(output.role == "keys" for output in operation.outputs):
        adapter.check_no_gradient(strided, "x_or_shape")
    return description, adapter.result_strides(strided)


def _explanation(
    operation: Operation, x: Description, plan: Plan, axis: int, k: int | None
) -> Explanation:
    kernel, cached, is_open, is_missing = plan.kernel, None, False, False
    # Whether the kernel stores what the operation returns.
    is_done = kernel is not None and (
        (operation.lowest_k == 0 and kernel.selection != "all")
        or (kernel.selection in MEDIANS and kernel.codec != "integer")
    )
    reason = plan.reason
    if kernel is not None and kernel.payload in VALUE_BITS:
        reason += f"; that holds for one array of values of {_VALUE_BITS} bits, laid out like keys"
    elif kernel is not None and kernel.selection in MEDIANS and not is_done:
        reason += "; then the array's library computes the mean of these elements"
    elif operation.afterwards is not None and plan.route != "copy" and not is_done:
        reason += f"; then the array's library {operation.afterwards.format(k=k)}"
    if kernel is not None:
        is_open = loader.is_open(kernel, x.dtype, x.device.number)
        cached, is_missing = _look_up(kernel)
    return Explanation(
        operation=operation.name,
        backend=x.device.backend,
        route=plan.route,
        kernel=None if kernel is None else kernel.name,
        layout=None if kernel is None else kernel.layout.name,
        access=None if kernel is None else kernel.access,
        codec=None if kernel is None else kernel.codec,
        arch=native_arch(x.device),
        dtype=x.dtype,
        shape=x.shape,
        axis=axis,
        length=plan.length,
        rows=plan.rows,
        open=is_open,
        cached=cached,
        missing=is_missing and not is_open,
        reason=reason,
    )


def _look_up(kernel: Kernel) -> tuple[str | None, bool]:
    """Return the folder of the cache that holds a kernel, and whether a call cannot get it."""
    try:
        cache = layers.holder(kernel, layers.all_layers(), layers.stores())
        if cache is not None:
            return str(cache.root), False
        return None, not loader.build_module().can_build(kernel)
    except BuildError:
        return None, False  # a call reports the error


def _described_shape(shape: Sequence[Any], dtype: Any) -> Description:
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise TypeError(f"x_or_shape: expected whole numbers in a shape, got {shape!r}.") from None
    if any(size < 0 for size in sizes):
        raise ValueError(f"x_or_shape: expected sizes of at least 0, got {shape!r}.")
    name = "float32" if dtype is None else lookup(dtype_name(dtype), "dtype").name
    return Description("shape", name, sizes, arrays.dense_strides(sizes))
