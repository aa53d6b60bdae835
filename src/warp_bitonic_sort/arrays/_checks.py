"""Checks of arrays, and the arithmetic of strides, which the adapters share.

Invariant: no array library is imported.
"""

from __future__ import annotations

from collections.abc import Sequence

INDEX_DTYPES = ("int32", "int64")
# Device types of DLPack.
CPU, CUDA, ROCM, CUDA_MANAGED = 1, 2, 10, 13
_PINNED = {3: "CUDA", 11: "ROCm"}
_DEVICES = {7: "Vulkan", 8: "Metal", 14: "oneAPI"}


def type_name(x: object) -> str:
    """Return the name of x's type as its users write it."""
    return f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")


def shown(value: object) -> str:
    """Return a value's type for a message, with the length of a tuple or a list."""
    name = type_name(value)
    return f"{name} of {len(value)}" if isinstance(value, (tuple, list)) else name


def possessive(argument: str) -> str:
    """Return the possessive of an argument's name: ``x's``, ``keys'``."""
    return f"{argument}'" if argument.endswith("s") else f"{argument}'s"


def check_out_like(
    argument: str,
    like: str,
    is_index: bool,
    dtypes: tuple[object, object],
    shapes: tuple[Sequence[int], Sequence[int]],
) -> None:
    """Raise if the dtype or the shape of an out does not fit.

    Parameters
    ----------
    argument : str
        The name of the out in messages.
    like : str
        The name of x in messages.
    is_index : bool
        Whether the out holds indices.
    dtypes, shapes : tuple
        Those of the out, then those of x.
    """
    dtype, x_dtype = dtypes
    if is_index:
        name = str(dtype).removeprefix("torch.")
        if name not in INDEX_DTYPES:
            raise TypeError(f"{argument}: expected {' or '.join(INDEX_DTYPES)}, got {name}.")
    elif dtype != x_dtype:
        raise TypeError(f"{argument}: expected {possessive(like)} dtype {x_dtype}, got {dtype}.")
    shape, x_shape = map(tuple, shapes)
    if shape != x_shape:
        raise ValueError(f"{argument}: expected {possessive(like)} shape {x_shape}, got {shape}.")


def check_distinct(
    shape: Sequence[int], strides: Sequence[int], item: int, argument: str = "out"
) -> None:
    """Raise ValueError for an out in which two elements may share memory.

    Strides and item have the same unit. An out whose strides do not nest is refused: an exact test
    is a hard problem, and such an out is a mistake.
    """
    if 0 in shape:
        return
    reach = item
    for stride, size in sorted((abs(t), n) for t, n in zip(strides, shape, strict=True) if n > 1):
        if stride < reach:
            raise ValueError(
                f"{argument}: two of its elements may share memory (shape {tuple(shape)}, strides "
                f"{tuple(strides)}); pass an array whose elements are all distinct."
            )
        reach += stride * (size - 1)


def span(address: int, shape: Sequence[int], strides: Sequence[int], item: int) -> tuple[int, int]:
    """Return the addresses of an array's first byte and of the one after its last.

    Strides and item are in bytes.
    """
    if 0 in shape:
        return address, address
    offsets = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
    start = address + sum(offset for offset in offsets if offset < 0)
    return start, address + sum(offset for offset in offsets if offset > 0) + item


def numpy_missing() -> RuntimeError:
    """Return the error for a call that needs NumPy where it is not installed."""
    return RuntimeError(
        "NumPy is not installed, and this call needs it. NumPy sorts rows that are longer than any "
        "kernel takes and some of one element, and serves ranks, sort_pairs, median, quantile, "
        "top_k and kthvalue of arrays that are not from PyTorch. Run pip install numpy ml_dtypes."
    )


def no_functions(argument: str, operation: str) -> NotImplementedError:
    """Return the error for an operation that needs functions of the library on a device."""
    return NotImplementedError(
        f"{argument}: on a device, {operation} takes arrays of PyTorch, CuPy and JAX only. Hand "
        f"{argument} to one of these, as in torch.from_dlpack({argument})."
    )


def unsupported_device(name: str, argument: str) -> NotImplementedError:
    """Return the error for an array on a kind of device that has no back end."""
    return NotImplementedError(
        f"{argument}: it is on a {name} device, whose back end is not built yet; arrays in CPU "
        f"memory and on CUDA and ROCm devices can be sorted. Move it to the CPU first."
    )


def unsupported_type(device_type: int, argument: str) -> NotImplementedError:
    """Return the error for an array on a DLPack device type that has no back end."""
    if device_type in _PINNED:
        name = _PINNED[device_type]
        return NotImplementedError(
            f"{argument}: it is in pinned host memory ({name}'s), which no back end takes; move it "
            f"to ordinary CPU memory or to a {name} device first."
        )
    name = _DEVICES.get(device_type, f"DLPack type {device_type}")
    return unsupported_device(name, argument)


def along(axis: int, rank: int) -> list[int]:
    """Return the shape that spreads a one-dimensional array along an axis."""
    shape = [1] * rank
    shape[axis] = -1
    return shape


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a row-major array, in elements."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
