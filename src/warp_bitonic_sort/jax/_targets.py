"""Plans the kernels of traced sorts, and registers each as a target of XLA.

Invariant: this happens while a program is lowered, never while it runs. A kernel is registered once
for each dtype, under a name that depends on both alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax_tvm_ffi

from ..arrays import Description, Device, dense_strides
from ..jit import loader
from ..kernels import OUTPUTS, Role
from ..operations import OPERATIONS
from ..operations._planning import found_of, planned
from ..plan import Plan
from ..targets import target_of

# The back end and the platform of jax_tvm_ffi for each platform of JAX that has kernels.
# jax_tvm_ffi calls the devices of ROCm CUDA devices, which the runtime refuses.
PLATFORMS: dict[str, tuple[Literal["cpu", "cuda"], str]] = {
    "cpu": ("cpu", "cpu"),
    "cuda": ("cuda", "gpu"),
}

_registered: set[str] = set()
_guard = threading.Lock()


class Call(NamedTuple):
    """How the rows of an array are sorted.

    Parameters
    ----------
    route : str
        ``kernel``, ``fallback`` or ``copy``, as in a `Plan`.
    transposes : bool
        Whether the axis is to be moved to the end first.
    target : str
        The name of the target, for route ``kernel``.
    outputs : tuple of str
        What the target writes.
    """

    route: str
    transposes: bool = False
    target: str = ""
    outputs: tuple[Role, ...] = ()


def call_for(
    platform: str,
    dtype: str,
    shape: tuple[int, ...],
    axis: int,
    k: int | None,
    roles: Sequence[Role],
) -> Call:
    """Plan a sort, and register its kernel, which is built if no cache has it.

    Parameters
    ----------
    platform : str
        A platform of JAX that has kernels.
    dtype : str
        The dtype of the keys.
    shape : tuple of int
        The shape of the array, whose memory is row-major.
    axis : int
        The axis, not negative.
    k : int or None
        How many of the first elements of each row are wanted; None for all.
    roles : sequence of str
        The wanted outputs.
    """
    backend, _ = PLATFORMS[platform]
    name = _operation_for(k, roles)
    operation = OPERATIONS[name]
    device = Device(backend, _device_numbers(platform)[0], None)
    capabilities = frozenset({"sort", "transpose"})
    description = Description("jax", dtype, shape, dense_strides(shape), device, capabilities)
    found = None if k is None else found_of(operation, description, axis, k)
    kept = shape if found is None else found.shape
    others = [dense_strides(kept)] * len(operation.outputs)
    plan, _ = planned(operation, description, others, axis, found=found)
    if plan.kernel is None:
        return Call(plan.route)
    written = OUTPUTS[plan.kernel.payload]
    outputs = tuple(roles) if "index" in roles else written
    target = _target_of(plan, dtype, platform, name, written != outputs)
    return Call("kernel", plan.transposes, target, outputs)


def _operation_for(k: int | None, roles: Sequence[Role]) -> str:
    """Return the name of the operation that has the wanted outputs."""
    if k is not None:
        return "top_k"
    if "index" not in roles:
        return "sort"
    return "sort_with_indices" if "keys" in roles else "argsort"


def _target_of(plan: Plan, dtype: str, platform: str, operation: str, leaves_out_keys: bool) -> str:
    """Return the name of the target of a kernel for a dtype; register it if it is new."""
    kernel = plan.kernel
    assert kernel is not None  # noqa: S101
    name = f"warp_bitonic_sort.{kernel.name}.{dtype}"
    if leaves_out_keys:
        name += ".index"
    if name in _registered:
        return name
    arguments = ["args", "rets", "attrs.axis", "attrs.descending", "attrs.nan_last"]
    if not target_of(kernel.target).is_host:
        arguments.append("ctx.stream")
    numbers = _device_numbers(platform)
    functions: list[Any] = [None] * (max(numbers) + 1)
    for number in numbers:
        functions[number] = loader.open_kernel(
            kernel, dtype, number, plan.length, operation=operation
        )
    function = loader.runtime().dispatch_by_device(functions, leaves_out_keys)
    with _guard:
        if name not in _registered:
            _, registers_for = PLATFORMS[platform]
            jax_tvm_ffi.register_ffi_target(name, function, arguments, platform=registers_for)
            jax.ffi.register_ffi_target_as_batch_partitionable(name)
            _registered.add(name)
    return name


def _device_numbers(platform: str) -> list[int]:
    """Return the numbers of this process's devices, by which XLA and the driver know them."""
    if target_of(PLATFORMS[platform][0]).is_host:
        return [0]
    return [device.local_hardware_id for device in jax.local_devices(backend=platform)]
