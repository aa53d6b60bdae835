"""Plans a call: from an array's description to a kernel.

Invariant: nothing is compiled. The runtime is loaded only to ask for a device's architecture.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..arrays import Description, Device
from ..arrays._checks import no_functions
from ..dtypes import DType, lookup
from ..jit import loader
from ..kernels import Payload
from ..plan import Plan, plan, value_payload
from ..targets import device_arch, target_of
from ._operation import Found, Operation, Part

_MAX_INT32 = 2**31 - 1


def planned(
    operation: Operation,
    description: Description,
    other_strides: Sequence[Sequence[int]],
    axis: int,
    value_bits: int | None = None,
    found: Found | None = None,
) -> tuple[Plan, int]:
    """Return the plan of a call, and its axis counted from the first one.

    Parameters
    ----------
    operation : Operation
        The operation.
    description : Description
        The array.
    other_strides : sequence of sequence of int
        The strides of a second input, if there is one, and of each output, in elements.
    axis : int
        The axis, which may count from the end.
    value_bits : int, optional
        The width of the values that are the second input. If no kernel carries them along, the plan
        is one for indices.
    found : Found, optional
        What is found of each row, if not all is sorted.
    """
    shape, strides = description.shape, [description.strides, *other_strides]
    axis = settled_axis(axis, shape)
    if not shape:
        shape, strides = (1,), [(1,)] * len(strides)
    target = target_of(description.device.backend)
    native = native_arch(description.device)
    arch = native if target.is_host else device_arch(target.name, native)
    dtype = lookup(description.dtype, "x")
    check_dtype(operation, dtype)
    payload: Payload | None = None
    if value_bits is not None:
        layouts = target.layouts(arch)
        payload = value_payload(
            layouts, dtype.bits, value_bits, shape, strides, axis, description.capabilities
        )
    call_plan = plan(
        operation.selection if found is None else found.selection,
        payload or operation.payload,
        dtype,
        shape,
        strides,
        axis,
        target,
        arch,
        description.capabilities,
        operation.argument,
        None if found is None or not found.shape else found.shape[axis],
    )
    return call_plan, axis


def check_dtype(operation: Operation, dtype: DType) -> None:
    """Raise TypeError if an operation does not take a dtype."""
    if not operation.takes(dtype):
        raise TypeError(
            f"{operation.argument}: {operation.name} does not compute with {dtype.name}; convert "
            f"{operation.argument} to float16 or float32."
        )


def settled_axis(axis: int, shape: Sequence[int]) -> int:
    """Return an axis of a shape, counted from the first one; an array without axes has one row."""
    rank = max(len(shape), 1)
    if not -rank <= axis < rank:
        raise ValueError(
            f"axis: expected {-rank} to {rank - 1} for an array of shape {shape}, got {axis}."
        )
    return axis % rank


def native_arch(device: Device) -> str:
    """Return a device's own architecture, as its library or else its driver reports it."""
    if target_of(device.backend).is_host:
        return loader.cpu_arch()
    if device.arch is not None:
        return device.arch
    return str(loader.runtime().gpu_arch(loader.device_of(device.backend, device.number)))


def check_k(operation: Operation, k: int, length: int) -> None:
    """Raise ValueError if rows of a length have no such k."""
    lowest = operation.lowest_k
    if lowest is None or lowest <= k <= length:
        return
    if lowest > length:
        raise ValueError(
            f"k: {operation.name} returns one of the elements of each row, and rows have length "
            f"{length}; got {k}. Pass an array with longer rows."
        )
    raise ValueError(f"k: expected {lowest} to {length} for rows of length {length}, got {k}.")


def found_of(operation: Operation, description: Description, axis: int, part: Part) -> Found | None:
    """Return what is found of each row; None for whole rows in an array that is laid out like x.

    Raises
    ------
    ValueError
        The rows have no such k, or the array has no such axis.
    """
    shape = list(description.shape or (1,))
    axis = settled_axis(axis, description.shape)
    length, is_last = shape[axis], axis == len(shape) - 1
    if isinstance(part, int):
        check_k(operation, part, length)
    target = target_of(description.device.backend)
    native = native_arch(description.device)
    layouts = target.layouts(native if target.is_host else device_arch(target.name, native))
    dtype = lookup(description.dtype, operation.argument)
    bits = dtype.bits
    if not isinstance(part, int):
        if not layouts.finds_medians(bits, length):
            return None
        # Of integers, the library computes the mean of the middle two.
        has_floats = dtype.codec != "integer"
        shape[axis] = 1 if has_floats else 2 - length % 2
        return Found(part if has_floats else "median", tuple(shape))
    if part > 0 and not target.is_host and "sort" not in description.capabilities:
        raise no_functions(operation.argument, operation.name)
    # Kernels for whole columns load them faster.
    can_be_row = target.is_host or is_last or "transpose" in description.capabilities
    selection = layouts.first(bits, length, part) if length > 1 and can_be_row else "all"
    if selection == "all":
        return Found(selection, description.shape)
    shape[axis] = part
    return Found(selection, tuple(shape))


def check_index_dtype(operation: Operation, index_dtype: str | None, length: int) -> None:
    """Raise ValueError if a dtype cannot hold the indices of rows of a length."""
    if operation.payload == "index" and index_dtype == "int32" and length - 1 > _MAX_INT32:
        raise ValueError(
            f"index_dtype: int32 holds indices up to {_MAX_INT32}, and rows have length {length}. "
            f'Pass index_dtype="int64".'
        )
