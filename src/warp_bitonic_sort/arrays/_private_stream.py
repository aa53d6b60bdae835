"""How arrays of a library whose streams are not known here cross to a device's kernels.

Invariant: the kernel runs in the runtime's own stream. Before it, the library makes that stream
wait until x is ready, as DLPack has it; after it, the host waits, and only then are x's export and
the result let go. So whatever the library does with either of them afterwards, in whatever stream,
comes after the kernel. Nothing less is safe: a library may reuse x's memory once its export is
released, or donate or overwrite it, in a stream that nobody tells; JAX computes in another stream
than the one that its from_dlpack passes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ._adapter import Device

# What a kernel takes for a stream to run in the runtime's own and wait for its end.
IN_PRIVATE_STREAM = -1


@cache
def _private_stream(backend: str, number: int) -> int:
    from ..jit import loader

    return int(loader.runtime().private_stream(loader.device_of(backend, number)))


def exported(x: Any, device: Device) -> Any:
    """Return x as a tensor that is ready in the runtime's stream."""
    import tvm_ffi

    stream = _private_stream(device.backend, device.number)
    try:
        return tvm_ffi.from_dlpack(x.__dlpack__(stream=stream))
    except (BufferError, TypeError):
        # A read-only array: DLPack 1 can say so, and kernels never write their input.
        return tvm_ffi.from_dlpack(x.__dlpack__(stream=stream, max_version=(1, 0)))
