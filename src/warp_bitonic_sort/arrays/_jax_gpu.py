"""Adapts JAX arrays on a GPU.

Invariant: JAX owns all memory, and results may be donated like all JAX arrays. A kernel writes only
to a new array that JAX has allocated and that nothing else refers to. The array is returned after
the kernel's end (`_private_stream`) and does not change from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..dtypes import lookup, unsupported
from ..fallback import Functions, Sorter
from ..quantiles import Functions as ReaderFunctions
from ..quantiles import Reader
from ._adapter import Adapter, Cut, Description, Device, ToResult
from ._checks import dense_strides
from ._private_stream import IN_PRIVATE_STREAM, exported


def x64() -> Any:
    """Return a context in which JAX does not narrow 64-bit values."""
    # Older versions of JAX have it in jax.experimental.
    module = jax if hasattr(jax, "enable_x64") else jax.experimental
    return module.enable_x64(True)


def check_dtype(x: Any, argument: str) -> None:
    """Raise TypeError for dtypes that only JAX has, such as those of random keys."""
    if not isinstance(x.dtype, np.dtype):
        raise unsupported(str(x.dtype), argument)


def out_error(argument: str) -> TypeError:
    """Return the error for a call with out."""
    return TypeError(f"{argument}: JAX arrays can't be written; make the call without out.")


def index_dtype(requested: str | None) -> str:
    """Return the dtype of indices, by default JAX's default integer; raise if JAX lacks it."""
    if jax.config.jax_enable_x64:
        return requested or "int64"
    if requested == "int64":
        raise ValueError(
            'index_dtype: JAX has int64 only with x64 enabled. Pass "int32", or call '
            'jax.config.update("jax_enable_x64", True) first.'
        )
    return "int32"


def float_dtype() -> str:
    """Return JAX's default float."""
    return "float64" if jax.config.jax_enable_x64 else "float32"


def _converted(x: Any, dtype: str) -> Any:
    if "bool" in (x.dtype.name, dtype):  # bitcast_convert_type does not accept bool
        return x.astype(dtype)
    return jax.lax.bitcast_convert_type(x, dtype)


_convert = jax.jit(_converted, static_argnums=1)


def _reinterpret(x: Any, dtype: str) -> Any:
    """Return the same bits as another dtype; x itself if it has the dtype."""
    return x if x.dtype == dtype else _convert(x, dtype)


# The output of a computation never shares memory with another array. The unused argument is kept
# because it determines the device of the output, and whether the output is committed to it.
_fresh = jax.jit(
    lambda _like, shape, dtype: jnp.zeros(shape, dtype), static_argnums=(1, 2), keep_unused=True
)


_FUNCTIONS = Functions(jnp.sort, jnp.argsort, jnp.take_along_axis, jnp.where)
# One at a time: in a computation of several, XLA may round a product and a sum only once.
_READER_FUNCTIONS = ReaderFunctions(
    astype=lambda x, name: x.astype(name),
    isnan=jnp.isnan,
    isinf=jnp.isinf,
    floor=jnp.floor,
    rint=jnp.rint,
    where=jnp.where,
    stack=jnp.stack,
    take_along_axis=jnp.take_along_axis,
    nans=lambda _like, shape, name: jnp.full(shape, jnp.nan, name),
    may_look=False,
)


@partial(jax.jit, static_argnums=1)
def _sort_fallback(x: Any, sorter: Sorter) -> Any:
    keys = _converted(x, f"int{sorter.dtype.bits}")
    outputs = zip(sorter.outputs(keys, _FUNCTIONS), sorter.roles, strict=True)
    return [
        _converted(output, sorter.dtype.name) if role == "keys" else output
        for output, role in outputs
    ]


@partial(jax.jit, static_argnums=2)
def _take(x: Any, indices: Any, axis: int) -> Any:
    shape = x.shape or (1,)
    taken = jnp.take_along_axis(x.reshape(shape), indices.reshape(shape), axis)
    return taken.reshape(x.shape)


@partial(jax.jit, static_argnums=1)
def _inverse(indices: Any, axis: int) -> Any:
    shape = indices.shape or (1,)
    places = list(jnp.ogrid[tuple(map(slice, shape))])
    positions = jnp.broadcast_to(places[axis], shape).astype(indices.dtype)
    places[axis] = indices.reshape(shape)
    result = jnp.zeros(shape, indices.dtype).at[tuple(places)].set(positions, unique_indices=True)
    return result.reshape(indices.shape)


@partial(jax.jit, static_argnums=1)
def _cut(x: Any, cut: Cut) -> Any:
    return x.reshape(x.shape or (1,))[cut.slices].reshape(cut.shape)


def _ffi_dtype(dtype: str) -> str:
    """Return the dtype to export values as: some versions of JAX do not export float8."""
    return "uint8" if dtype.startswith("float8") else dtype


class _Buffer:
    """A future result: the route that writes it allocates the array."""

    def __init__(self, like: Any, shape: tuple[int, ...], dtype: str) -> None:
        self.like = like
        self.shape = shape
        self.dtype = dtype
        self.array: Any = None

    def fresh(self, dtype: str) -> Any:
        """Return a new array of a dtype."""
        return _fresh(self.like, self.shape, dtype)


class JaxGpuAdapter(Adapter):
    """Handles the arrays of one device; results are JAX arrays on it."""

    kind = "jax"

    def __init__(self, jax_device: Any, device: Device) -> None:
        self._jax_device = jax_device
        self._device = device

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        # JAX moves arrays that are not committed to a device to the default one. Concrete arrays
        # inside jax.jit are sorted at once: a traced result has no memory to write to.
        with x64(), jax.default_device(self._jax_device), jax.ensure_compile_time_eval():
            yield

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on."""
        return x.dtype, x.shape, self._device

    def describe(self, x: Any, argument: str) -> Description:
        """Describe an array or a buffer."""
        name = lookup(x.dtype if isinstance(x, _Buffer) else x.dtype.name, argument).name
        # JAX reports no strides, and nearly all arrays are row-major. A kernel sorts correctly if
        # the export has other strides.
        return Description(self.kind, name, x.shape, dense_strides(x.shape), self._device)

    def index_dtype(self, requested: str | None) -> str:
        """Return the dtype of indices."""
        return index_dtype(requested)

    def empty(self, x: Any, dtype: str | None, shape: tuple[int, ...] | None = None) -> Any:
        """Return a buffer without memory yet."""
        return _Buffer(x, x.shape if shape is None else shape, dtype or x.dtype.name)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of a result."""
        return dense_strides(x.shape)

    def to_ffi(self, x: Any) -> Callable[[Any], Any] | None:
        """Return the function that exports an array, or a buffer, whose memory it allocates."""
        return self._to_ffi

    def _to_ffi(self, array: Any) -> Any:
        with self._on_device():
            if isinstance(array, _Buffer):
                array.array = source = array.fresh(_ffi_dtype(array.dtype))
            else:
                source = _reinterpret(array, _ffi_dtype(array.dtype.name))
            return self._exported(source)

    def _exported(self, array: Any) -> Any:
        return exported(array, self._device)

    def to_ffi_read_only(self, x: Any) -> Any:
        """Return the export."""
        return self._to_ffi(x)

    def sort_fallback(self, x: Any, outputs: Sequence[Any], sorter: Sorter) -> None:
        """Sort rows that no kernel sorts, without waiting for the device."""
        with self._on_device():
            for output, result in zip(outputs, _sort_fallback(x, sorter), strict=True):
                output.array = result.astype(output.dtype)

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """Return the elements of x at indices along an axis, without waiting for the device."""
        with self._on_device():
            return _take(x, indices, axis)

    def inverse(self, indices: Any, axis: int) -> Any:
        """Return the inverse of each row of indices, without waiting for the device."""
        with self._on_device():
            return _inverse(indices, axis)

    def cut(self, x: Any, cut: Cut) -> Any:
        """Return a new array of a range of positions, without waiting for the device."""
        with self._on_device():
            return _cut(x, cut)

    def float_dtype(self) -> str:
        """Return the dtype of the quantiles of integers."""
        return float_dtype()

    def reshape(self, x: Any, order: Sequence[int], shape: Sequence[int]) -> Any:
        """Return x in another order of axes and another shape, without waiting for the device."""
        with self._on_device():
            return x.transpose(order).reshape(shape)

    def read(self, rows: Any, reader: Reader, shape: Sequence[int]) -> Any:
        """Return what a reader reads from sorted rows, without waiting for the device."""
        with self._on_device():
            return reader.read(rows, _READER_FUNCTIONS).reshape(shape)

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return a function that returns the runtime's private stream."""
        return lambda: IN_PRIVATE_STREAM

    def to_result(self, x: Any) -> ToResult | None:
        """Return the function that makes an array of JAX."""
        return self._to_result

    def _to_result(self, buffer: Any, x: Any, dtype: str | None) -> Any:
        """Return the result, on x's device."""
        name = dtype or x.dtype.name
        with self._on_device():
            if buffer.array is None:  # x has no elements
                return buffer.fresh(name)
            return _reinterpret(buffer.array, name)

    def check_out(self, out: Any, x: Any, is_index: bool, argument: str, like: str = "x") -> bool:
        """Refuse: JAX arrays are immutable."""
        raise out_error(argument)

    def copy(self, source: Any, target: Any) -> None:
        """Copy values into a buffer."""
        with self._on_device():
            target.array = jnp.array(source, copy=True)

    def clear(self, indices: Any) -> None:
        """Fill a buffer with zeros."""
        with self._on_device():
            indices.array = indices.fresh(indices.dtype)
