"""JAX arrays on a GPU.

Invariant: JAX owns all memory. A kernel writes to an array that JAX has just made, by a computation
of its own, and that nobody else has seen: for JAX it is immutable from the moment that it is
handed out, after the kernel's end (`_private_stream`). Results are like any other JAX array: from
JAX's own pool of memory, and free to be donated.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..dtypes import lookup, unsupported
from ..fallback import Sorter
from ._adapter import Adapter, Description, Device
from ._checks import dense_strides
from ._private_stream import IN_PRIVATE_STREAM, exported


def x64() -> Any:
    """Return a context outside of which 64-bit values would be narrowed."""
    # Older versions have it elsewhere.
    home = jax if hasattr(jax, "enable_x64") else jax.experimental
    return home.enable_x64(True)


def check_dtype(x: Any, argument: str) -> None:
    """Raise TypeError for JAX's dtypes that are none of NumPy's, such as those of random keys."""
    if not isinstance(x.dtype, np.dtype):
        raise unsupported(str(x.dtype), argument)


def refuse_out(argument: str) -> TypeError:
    """Return the error for a call with out."""
    return TypeError(f"{argument}: JAX arrays can't be written; make the call without out.")


def index_dtype() -> str:
    """Return the name of JAX's default integer."""
    return "int64" if jax.config.jax_enable_x64 else "int32"


def _converted(x: Any, dtype: str) -> Any:
    if "bool" in (x.dtype.name, dtype):  # whose bits JAX does not reinterpret
        return x.astype(dtype)
    return jax.lax.bitcast_convert_type(x, dtype)


_convert = jax.jit(_converted, static_argnums=1)


def _reinterpret(x: Any, dtype: str) -> Any:
    """Return the same bits as another dtype, x itself if it has that."""
    return x if x.dtype == dtype else _convert(x, dtype)


# An output of a computation never shares memory with anything else. The unused argument is kept
# because it says on which device the output is, and whether it is committed there.
_fresh = jax.jit(lambda x, dtype: jnp.zeros(x.shape, dtype), static_argnums=1, keep_unused=True)


@partial(jax.jit, static_argnums=1)
def _sort_fallback(x: Any, sorter: Sorter) -> Any:
    keys = _converted(x, f"int{sorter.dtype.bits}")
    keys = sorter.sorted_on_device(keys, jnp.sort, jnp.where)
    return _converted(keys, sorter.dtype.name)


def _crossing(dtype: str) -> str:
    """Return the dtype as which values cross: not all versions export float8."""
    return "uint8" if dtype.startswith("float8") else dtype


class _Buffer:
    """A result to be, made by whatever route writes it."""

    def __init__(self, like: Any, dtype: str) -> None:
        self.like = like
        self.dtype = dtype
        self.array: Any = None


class JaxGpuAdapter(Adapter):
    """Handles the arrays of one device; results are JAX arrays there."""

    kind = "jax"

    def __init__(self, place: Any, device: Device) -> None:
        self._place = place
        self._device = device

    @contextmanager
    def _here(self) -> Iterator[None]:
        # Arrays that are not committed to their device would be moved to the default one. Concrete
        # arrays inside jax.jit are sorted at once: a traced result has no memory to write to.
        with x64(), jax.default_device(self._place), jax.ensure_compile_time_eval():
            yield

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on."""
        return x.dtype, x.shape, self._device

    def describe(self, x: Any, argument: str) -> Description:
        """Describe an array or a buffer."""
        array, dtype = (x.like, x.dtype) if isinstance(x, _Buffer) else (x, x.dtype.name)
        name = lookup(dtype, argument).name
        # Planned as the row-major array that nearly all are; a kernel is right for whatever strides
        # the export has.
        return Description(self.kind, name, array.shape, dense_strides(array.shape), self._device)

    def default_index_dtype(self) -> str:
        """Return JAX's default integer."""
        return index_dtype()

    def empty(self, x: Any, dtype: str | None) -> Any:
        """Return a buffer without memory yet."""
        return _Buffer(x, dtype or x.dtype.name)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of a result."""
        return dense_strides(x.shape)

    def to_ffi(self, x: Any) -> Callable[[Any], Any] | None:
        """Return what exports an array, or makes a buffer's memory and exports that."""
        return self._lower

    def _lower(self, array: Any) -> Any:
        with self._here():
            if isinstance(array, _Buffer):
                array.array = crossing = _fresh(array.like, _crossing(array.dtype))
            else:
                crossing = _reinterpret(array, _crossing(array.dtype.name))
            return self._exported(crossing)

    def _exported(self, array: Any) -> Any:
        return exported(array, self._device)

    def to_ffi_read_only(self, x: Any) -> Any:
        """Return the export."""
        return self._lower(x)

    def sort_fallback(self, x: Any, values: Any, indices: Any, sorter: Sorter) -> None:
        """Sort rows that no kernel takes, without waiting for the device."""
        with self._here():
            values.array = _sort_fallback(x, sorter)

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return what tells the runtime's own stream."""
        return lambda: IN_PRIVATE_STREAM

    def wrap_result(self, buffer: Any, x: Any, dtype: str | None) -> Any:
        """Return the result, on x's device."""
        name = dtype or x.dtype.name
        with self._here():
            if buffer.array is None:  # there was nothing to write
                return _fresh(x, name)
            return _reinterpret(buffer.array, name)

    def check_out(self, out: Any, x: Any, is_index: bool, argument: str) -> bool:
        """Refuse: JAX arrays are immutable."""
        raise refuse_out(argument)

    def copy(self, source: Any, target: Any) -> None:
        """Copy values into a buffer."""
        with self._here():
            target.array = jnp.array(source, copy=True)

    def clear(self, indices: Any) -> None:
        """Fill a buffer with zeros."""
        with self._here():
            indices.array = _fresh(indices.like, indices.dtype)
