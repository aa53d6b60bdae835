"""What the rest of the package knows of an array, and what adapters have in common.

Invariant: strides count elements, device types are DLPack's, dtypes have NumPy's names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..records import Record

__all__ = [
    "CPU",
    "CPU_DEVICE",
    "CUDA",
    "CUDA_MANAGED",
    "ROCM",
    "Adapter",
    "Description",
    "Device",
    "Plain",
    "check_distinct",
    "dense_strides",
    "numpy_missing",
    "span",
    "type_name",
    "unsupported_device",
    "unsupported_type",
]

CPU, CUDA, ROCM, CUDA_MANAGED = 1, 2, 10, 13
_PINNED = {3: "CUDA", 11: "ROCm"}
_DEVICES = {7: "Vulkan", 8: "Metal", 14: "oneAPI"}


class Device(Record):
    """Where an array lives.

    Parameters
    ----------
    backend : str
        Which kernels reach it: cpu, cuda or hip.
    number : int
        The number of the device; 0 for the CPU.
    arch : str or None
        The compiler's target for the device, where the array's library tells it.
    """

    backend: Literal["cpu", "cuda", "hip"]
    number: int
    arch: str | None


CPU_DEVICE = Device("cpu", 0, None)


class Description(Record):
    """An array, as far as planning goes.

    Parameters
    ----------
    kind : str
        The library it is from: numpy, torch, cupy, jax, tvm_ffi or dlpack.
    dtype : str
        Its dtype's name.
    shape : tuple of int
        Its shape.
    strides : tuple of int
        Its strides, in elements.
    device : Device
        Where it lives.
    library : str
        What its library can be asked for on a device: ``none`` where it is not known here,
        ``sorts`` rows that no kernel takes, and ``turns`` the sorted axis into the last one, too.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device: Device = CPU_DEVICE
    library: Literal["none", "sorts", "turns"] = "sorts"


# Nothing that runs needs it, and no start is to read it.
if TYPE_CHECKING:
    from ._adapter import Adapter
else:
    Adapter = object


class Plain:
    """What an adapter does without: to sort `again`, and to turn arrays."""

    again: Callable[[Any, int, bool], Any] | None = None

    def sort_turned(self, x: Any, buffer: Any, axis: int, sort: Callable[[Any], None]) -> None:
        """Never called: the library is not asked to turn arrays."""

    def remembers(self, x: Any) -> bool:
        """Return False."""
        del x
        return False


def type_name(x: object) -> str:
    """Return the name of x's type as its users write it."""
    return f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")


def check_distinct(shape: Sequence[int], strides: Sequence[int], item: int) -> None:
    """Raise ValueError for an out in which two elements may share memory.

    Strides and item in one unit. As everywhere, that is refused when strides do not nest: telling
    for sure is a hard problem, and nobody makes such an array on purpose.
    """
    if 0 in shape:
        return
    reach = item
    for stride, size in sorted((abs(t), n) for t, n in zip(strides, shape, strict=True) if n > 1):
        if stride < reach:
            raise ValueError(
                f"out: two of its elements may share memory (shape {tuple(shape)}, strides "
                f"{tuple(strides)}); pass an array whose elements are all distinct."
            )
        reach += stride * (size - 1)


def span(address: int, shape: Sequence[int], strides: Sequence[int], item: int) -> tuple[int, int]:
    """Return the addresses of an array's first byte and of the one after its last.

    Strides and item in bytes.
    """
    if 0 in shape:
        return address, address
    reach = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
    low = address + sum(each for each in reach if each < 0)
    return low, address + sum(each for each in reach if each > 0) + item


def numpy_missing() -> RuntimeError:
    """Return the error for a call that takes NumPy where it is not installed."""
    return RuntimeError(
        "x: sorting it takes NumPy, which is not installed (for rows longer than any kernel sorts, "
        "and some of one element); pip install numpy ml_dtypes."
    )


def unsupported_device(name: str, argument: str) -> NotImplementedError:
    """Return the error for an array that no back end reaches."""
    return NotImplementedError(
        f"{argument}: it is on a {name} device, whose back end is not built yet; arrays in CPU "
        f"memory and on CUDA and ROCm devices can be sorted. Move it to the CPU first."
    )


def unsupported_type(device_type: int, argument: str) -> NotImplementedError:
    """Return the error for an array on a DLPack device type that no back end reaches."""
    if device_type in _PINNED:
        name = _PINNED[device_type]
        return NotImplementedError(
            f"{argument}: it is in pinned host memory ({name}'s), which no back end takes; move it "
            f"to ordinary CPU memory or to a {name} device first."
        )
    name = _DEVICES.get(device_type, f"DLPack type {device_type}")
    return unsupported_device(name, argument)


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a row-major array, in elements."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))
