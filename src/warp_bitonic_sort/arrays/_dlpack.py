"""Arrays of any other library that speaks DLPack, read and made without knowing it.

Invariant: only the protocol is used: `__dlpack__`, `__dlpack_device__`, and to make a result of the
caller's kind the `from_dlpack` of its array namespace (Array API) or of its library.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from typing import Any

from .. import framework
from ..dtypes import DTYPES, DType, lookup
from ._base import (
    CPU,
    Description,
    dense_strides,
    device_name,
    numpy_missing,
    type_name,
    unsupported_device,
)

__all__ = ["DlpackAdapter"]


class DlpackAdapter:
    """Handles CPU arrays; results are of the caller's kind, else `tvm_ffi.Tensor`."""

    kind = "dlpack"

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return what identifies the call: the exported tensor's dtype, shape and strides."""
        device_type = int(x.__dlpack_device__()[0])
        if device_type != CPU:
            raise unsupported_device(device_name(device_type), argument)
        seen = self._export(x)
        return str(seen.dtype), tuple(seen.shape), tuple(seen.strides)

    @staticmethod
    def _export(x: Any) -> Any:
        import tvm_ffi

        if isinstance(x, tvm_ffi.Tensor):
            return x
        try:
            return tvm_ffi.from_dlpack(x)
        except (BufferError, TypeError):
            # A read-only array: DLPack 1 can say so, and kernels never write their input.
            return tvm_ffi.from_dlpack(x.__dlpack__(max_version=(1, 0)))

    def regular(self, x: Any) -> Any:
        """Return x: DLPack describes nothing but regular arrays."""
        return x

    def describe(self, x: Any, argument: str) -> Description:
        """Describe an array or a buffer."""
        seen = self._export(x)
        dtype = lookup(str(seen.dtype), argument)
        return Description(self.kind, dtype.name, tuple(seen.shape), tuple(seen.strides))

    def allocate(self, x: Any) -> Any:
        """Allocate a buffer, in row-major order."""
        from ..jit import loader

        seen = self._export(x)
        return loader.launcher().empty(tuple(seen.shape), seen.dtype)

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of what `allocate` returns."""
        return dense_strides(tuple(self._export(x).shape))

    def lowering(self, x: Any) -> Callable[[Any], Any] | None:
        """Return the export."""
        del x
        return self._export

    def lower_read_only(self, x: Any) -> Any:
        """Return the export."""
        return self._export(x)

    def _bits(self, array: Any) -> Any:
        # NumPy's own DLPack knows neither bfloat16 nor float8.
        try:
            from ._numpy import alias
        except ImportError:
            raise numpy_missing() from None
        seen = self._export(array)
        size = DTYPES[str(seen.dtype)].bits // 8
        interface = {
            "version": 3,
            "typestr": f"|u{size}"
            if size == 1
            else f"{'<' if sys.byteorder == 'little' else '>'}u{size}",
            "shape": tuple(seen.shape),
            "strides": tuple(stride * size for stride in seen.strides),
        }
        return alias(interface, seen.data_ptr(), seen)

    def sort_long(
        self, x: Any, buffer: Any, dtype: DType, axis: int, descending: bool, nan_last: bool
    ) -> None:
        """Sort rows that no kernel takes."""
        source, target = self._bits(x), self._bits(buffer)
        framework.sort_into(source, target, dtype, axis, descending, nan_last)

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return None: the CPU has no streams."""
        del x
        return None

    def finish(self, buffer: Any, x: Any) -> Any:
        """Return the result as x's own library makes it."""
        import tvm_ffi

        if isinstance(x, tvm_ffi.Tensor):
            return buffer
        namespace: Any = None
        if callable(getattr(x, "__array_namespace__", None)):
            namespace = x.__array_namespace__()
        library = type(x).__module__.partition(".")[0]
        if not hasattr(namespace, "from_dlpack") and library != "__main__":
            namespace = sys.modules.get(library)
        make = getattr(namespace, "from_dlpack", None)
        return buffer if make is None else make(buffer)

    def check_out(self, out: Any, x: Any) -> bool:
        """Refuse: the protocol does not say whether an array may be written."""
        del x
        raise TypeError(
            f"out: expected a NumPy array or a torch tensor, got {type_name(out)}, which can't be "
            f"written through DLPack; call sort without out."
        )

    def copy(self, source: Any, target: Any) -> None:
        """Copy values into a buffer."""
        bits = self._bits(target)
        bits[...] = self._bits(source)

    def written(self, out: Any) -> None:
        """Never called: there is no out."""
