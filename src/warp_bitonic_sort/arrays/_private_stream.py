"""Passes arrays to a device's kernels where the streams of their library are unknown.

Invariant: the kernel runs in the runtime's private stream. The library first makes that stream wait
until x is ready, as DLPack requires; after the launch, the host waits for the kernel. Only then are
the export of x and the result released, so that whatever the library does with them comes later.

A library may reuse, donate or overwrite x's memory in any stream once the export is released. JAX
computes in a stream that its from_dlpack does not pass. Therefore no weaker order is safe.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ._adapter import Device

# The stream argument of a kernel that runs in the runtime's private stream and is waited for.
IN_PRIVATE_STREAM = -1


@cache
def _private_stream(backend: str, number: int) -> int:
    from ..jit import loader

    return int(loader.runtime().private_stream(loader.device_of(backend, number)))


def exported(x: Any, device: Device) -> Any:
    """Return x as a tensor that is ready in the runtime's private stream."""
    import tvm_ffi

    stream = _private_stream(device.backend, device.number)
    try:
        return tvm_ffi.from_dlpack(x.__dlpack__(stream=stream))
    except (BufferError, TypeError):
        # DLPack 1 also exports read-only arrays, and kernels never write their input.
        return tvm_ffi.from_dlpack(x.__dlpack__(stream=stream, max_version=(1, 0)))
