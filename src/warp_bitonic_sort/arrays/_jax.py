"""JAX arrays on the CPU.

Invariant: a JAX array is immutable; it is read through a NumPy view of its memory, the kernel
writes a NumPy buffer, and that buffer is handed to JAX for good.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from .. import framework
from ..dtypes import DType
from ._base import Description, dense_strides, type_name, unsupported_device
from ._numpy import NumpyAdapter, raw_bits, read_only_tensor

__all__ = ["JaxAdapter"]


class JaxAdapter:
    """Handles concrete, single-device CPU arrays; results are JAX arrays on the same device."""

    kind = "jax"

    def __init__(self, x: Any, argument: str) -> None:
        self._numpy = NumpyAdapter()
        if isinstance(x, jax.core.Tracer):
            raise TypeError(
                f"{argument}: it is a tracer ({type_name(x)}): sort is called inside jax.jit, vmap "
                f"or grad, which is not supported yet; call it outside on concrete arrays, or use "
                f"jax.numpy.sort there."
            )

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on; refuse what can't be sorted."""
        devices = x.devices()
        if len(devices) != 1:
            raise ValueError(
                f"{argument}: expected an array on one device, got one sharded over "
                f"{len(devices)}; sort each of x.addressable_shards."
            )
        (device,) = devices
        if device.platform != "cpu":
            name = "CUDA or ROCm" if device.platform == "gpu" else device.platform
            raise unsupported_device(name, argument)
        return x.dtype, x.shape, device

    def regular(self, x: Any) -> Any:
        """Return x."""
        return x

    def describe(self, x: Any, argument: str) -> Description:
        """Describe an array or a buffer."""
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended):
            raise TypeError(f"{argument}: dtype {x.dtype} cannot be sorted here.")
        seen = self._numpy.describe(np.asarray(x), argument)
        return Description(self.kind, seen.dtype, seen.shape, seen.strides)

    def allocate(self, x: Any) -> Any:
        """Allocate a buffer."""
        return np.empty(x.shape, x.dtype)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of what `allocate` returns."""
        return dense_strides(x.shape)

    def lowering(self, x: Any) -> Callable[[Any], Any] | None:
        """Return what makes a JAX array or a NumPy buffer a tensor of raw bits."""
        del x

        def lower(array: Any) -> Any:
            if isinstance(array, np.ndarray):
                return raw_bits(array)
            return read_only_tensor(np.asarray(array))

        return lower

    def lower_read_only(self, x: Any) -> Any:
        """Return what TVM FFI takes for an array."""
        return read_only_tensor(np.asarray(x))

    def sort_long(
        self, x: Any, buffer: Any, dtype: DType, axis: int, descending: bool, nan_last: bool
    ) -> None:
        """Sort rows that no kernel takes."""
        source, target = raw_bits(np.asarray(x)), raw_bits(buffer)
        framework.sort_into(source, target, dtype, axis, descending, nan_last)

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return None: the CPU has no streams."""
        del x
        return None

    def finish(self, buffer: Any, x: Any) -> Any:
        """Return the result, on x's device."""
        (device,) = x.devices()
        # Outside of it, 64-bit values would be narrowed. Older versions have it elsewhere.
        home = jax if hasattr(jax, "enable_x64") else jax.experimental
        with home.enable_x64(True):
            return jax.device_put(buffer, device if x.committed else None)

    def check_out(self, out: Any, x: Any) -> bool:
        """Refuse: JAX arrays are immutable."""
        del out, x
        raise TypeError("out: JAX arrays can't be written; call sort without out.")

    def copy(self, source: Any, target: Any) -> None:
        """Copy values into a buffer."""
        target[...] = np.asarray(source)

    def written(self, out: Any) -> None:
        """Never called: there is no out."""
