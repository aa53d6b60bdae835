"""Plans the kernels of traced sorts, and registers each as a target of XLA.

Invariant: this happens while a program is lowered, never while it runs. A kernel is registered once
for each dtype, under a name that depends on both alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax_tvm_ffi

from ..arrays import Description, Device, dense_strides
from ..jit import loader
from ..kernels import OUTPUTS, Kernel, Role
from ..operations import OPERATIONS
from ..operations._planning import found_of, planned
from ..targets import target_of

# The back end and the platform of jax_tvm_ffi for each platform of JAX that has kernels.
# jax_tvm_ffi calls the devices of ROCm CUDA devices, which the runtime refuses.
PLATFORMS = {"cpu": ("cpu", "cpu"), "cuda": ("cuda", "gpu")}

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
        What the target writes, which may be more than is wanted.
    finds_first : bool
        Whether the target writes the first k elements of each row only.
    """

    route: str
    transposes: bool = False
    target: str = ""
    outputs: tuple[Role, ...] = ()
    finds_first: bool = False


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
    name = "sort" if "index" not in roles else "sort_with_indices" if k is None else "top_k"
    operation = OPERATIONS[name]
    strides, capabilities = dense_strides(shape), frozenset({"sort", "transpose"})
    device = Device("cpu" if backend == "cpu" else "cuda", 0, None)
    description = Description("jax", dtype, shape, strides, device, capabilities)
    found = None if k is None else found_of(operation, description, axis, k)
    kept = shape if found is None else found.shape
    others = [dense_strides(kept)] * len(operation.outputs)
    plan, _ = planned(operation, description, others, axis, found=found)
    if plan.kernel is None:
        return Call(plan.route)
    target = _target_of(plan.kernel, dtype, platform, plan.length, name)
    finds_first = found is not None and found.selection != "all"
    return Call("kernel", plan.transposes, target, OUTPUTS[plan.kernel.payload], finds_first)


def _target_of(kernel: Kernel, dtype: str, platform: str, length: int, operation: str) -> str:
    """Return the name of the target of a kernel for a dtype; register it if it is new."""
    name = f"warp_bitonic_sort.{kernel.name}.{dtype}"
    if name in _registered:
        return name
    backend, registers_for = PLATFORMS[platform]
    function = loader.open_kernel(kernel, dtype, length=length, operation=operation)
    arguments = ["args", "rets", "attrs.axis", "attrs.descending", "attrs.nan_last"]
    if not target_of(backend).is_host:
        arguments.append("ctx.stream")
    with _guard:
        if name not in _registered:
            _register(name, function, arguments, registers_for)
            _registered.add(name)
    return name


def _register(name: str, function: Any, arguments: list[str], platform: str) -> None:
    jax_tvm_ffi.register_ffi_target(name, function, arguments, platform=platform)
    jax.ffi.register_ffi_target_as_batch_partitionable(name)
