"""Chooses the adapter of JAX arrays by their device, and adapts those on the CPU.

Invariant: JAX arrays are immutable. A kernel reads x through a NumPy view and writes a NumPy
buffer, which then becomes a JAX array and is not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import numpy as np

from ..fallback import Sorter
from ..quantiles import Reader
from ._adapter import Adapter, Cut, Description, Device, ToResult
from ._checks import CUDA, ROCM, dense_strides, type_name, unsupported_device, unsupported_type
from ._jax_gpu import JaxGpuAdapter, check_dtype, float_dtype, index_dtype, out_error, x64
from ._numpy import (
    NumpyAdapter,
    cut_positions,
    ffi_view,
    inverse,
    read,
    read_only_tensor,
    sort_rows,
    take,
)


class JaxChooser:
    """Chooses the adapter of an array by its device; raises for arrays that can't be sorted."""

    def __init__(self, x: Any, argument: str) -> None:
        if isinstance(x, jax.core.Tracer):
            raise TypeError(
                f"{argument}: it is a tracer ({type_name(x)}): this call is inside jax.jit, vmap "
                f"or grad; use the functions of warp_bitonic_sort.jax there, or call it outside on "
                f"concrete arrays."
            )
        self._cpu = JaxAdapter()
        self._gpus: dict[Any, JaxGpuAdapter] = {}

    def __call__(self, x: Any, argument: str) -> Adapter:
        """Return the adapter for x."""
        check_dtype(x, argument)
        devices = x.devices()
        if len(devices) != 1:
            raise ValueError(
                f"{argument}: expected an array on one device, got one sharded over "
                f"{len(devices)}; sort each of {argument}.addressable_shards."
            )
        (jax_device,) = devices
        if jax_device.platform == "cpu":
            return self._cpu
        if jax_device.platform != "gpu":
            raise unsupported_device(jax_device.platform, argument)
        device_type, number = map(int, x.__dlpack_device__())
        if device_type not in (CUDA, ROCM):
            raise unsupported_type(device_type, argument)
        if jax_device not in self._gpus:
            device = Device("cuda" if device_type == CUDA else "hip", number, None)
            self._gpus[jax_device] = JaxGpuAdapter(jax_device, device)
        return self._gpus[jax_device]


class JaxAdapter(Adapter):
    """Handles concrete, single-device CPU arrays; results are JAX arrays on the same device."""

    kind = "jax"

    def __init__(self) -> None:
        self._numpy = NumpyAdapter()

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on."""
        return x.dtype, x.shape, np.asarray(x).strides, *x.devices()

    def describe(self, x: Any, argument: str) -> Description:
        """Describe an array or a buffer."""
        view = self._numpy.describe(np.asarray(x), argument)
        return Description(self.kind, view.dtype, view.shape, view.strides)

    def index_dtype(self, requested: str | None) -> str:
        """Return the dtype of indices."""
        return index_dtype(requested)

    def empty(self, x: Any, dtype: str | None, shape: tuple[int, ...] | None = None) -> Any:
        """Allocate a buffer."""
        return np.empty(shape or x.shape, x.dtype if dtype is None else dtype)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of a result of `empty`."""
        return dense_strides(x.shape)

    def to_ffi(self, x: Any) -> Callable[[Any], Any] | None:
        """Return the function that passes a JAX array or a NumPy buffer to TVM FFI."""

        def to_ffi(array: Any) -> Any:
            if isinstance(array, np.ndarray):
                return ffi_view(array)
            return read_only_tensor(np.asarray(array))

        return to_ffi

    def to_ffi_read_only(self, x: Any) -> Any:
        """Return the argument of TVM FFI for an array."""
        return read_only_tensor(np.asarray(x))

    def sort_fallback(self, x: Any, outputs: Sequence[Any], sorter: Sorter) -> None:
        """Sort rows that no kernel sorts."""
        sort_rows(np.asarray(x), outputs, sorter)

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """Return the elements of x at indices along an axis."""
        return self._to_result(take(np.asarray(x), np.asarray(indices), axis), x, None)

    def inverse(self, indices: Any, axis: int) -> Any:
        """Return the inverse of each row of indices."""
        return self._to_result(inverse(np.asarray(indices), axis), indices, None)

    def cut(self, x: Any, cut: Cut) -> Any:
        """Return a new array of a range of positions."""
        return self._to_result(cut_positions(np.asarray(x), cut), x, None)

    def float_dtype(self) -> str:
        """Return the dtype of the quantiles of integers."""
        return float_dtype()

    def reshape(self, x: Any, order: Sequence[int], shape: Sequence[int]) -> Any:
        """Return x in another order of axes and another shape."""
        return self._to_result(np.asarray(x).transpose(order).reshape(shape), x, None)

    def read(self, rows: Any, reader: Reader, shape: Sequence[int]) -> Any:
        """Return what a reader reads from sorted rows."""
        return self._to_result(read(np.asarray(rows), reader, shape), rows, None)

    def to_result(self, x: Any) -> ToResult | None:
        """Return the function that makes an array of JAX."""
        return self._to_result

    def _to_result(self, buffer: Any, x: Any, dtype: str | None) -> Any:
        """Return the result, on x's device."""
        (device,) = x.devices()
        with x64():
            return jax.device_put(buffer, device if x.committed else None)

    def check_out(self, out: Any, x: Any, is_index: bool, argument: str, like: str = "x") -> bool:
        """Refuse: JAX arrays are immutable."""
        raise out_error(argument)

    def copy(self, source: Any, target: Any) -> None:
        """Copy values into a buffer."""
        target[...] = np.asarray(source)

    def clear(self, indices: Any) -> None:
        """Fill a buffer with zeros."""
        indices[...] = 0
