"""What an adapter is: all that the rest of the package asks of an array library.

Invariant: an array is described once, then handled as a `Description`, whose strides count elements
and whose dtype has NumPy's name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, Literal, NamedTuple

from ..fallback import Sorter


class Device(NamedTuple):
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


class Description(NamedTuple):
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
    capabilities : frozenset of str
        What its library does on a device: ``sort`` keys, and ``transpose`` arrays.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device: Device = CPU_DEVICE
    capabilities: frozenset[str] = frozenset({"sort"})


# The checked arguments of a call beside its arrays: the axis, whether the largest value comes
# first, and whether NaNs come last in either direction (else they are the largest values).
SortOptions = tuple[int, bool, bool]


class Adapter(ABC):
    """Handles the arrays of one library.

    A *buffer* is what `empty` returns and kernels write; `wrap_result` makes the caller's result of
    it. Where the library's arrays can be written, a buffer is such an array. A dtype of None stands
    for the dtype of x; any other is that of indices.

    Attributes
    ----------
    kind : str
        The library's name.
    relaunch : callable, optional
        ``relaunch(operation, x, options)`` answers a call from the runtime's cache of launches,
        which takes less than a prepared call, or returns None where that holds no such call.
    """

    kind: str
    relaunch: Callable[[str, Any, SortOptions], Any] | None = None

    @abstractmethod
    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on, cheaply; raise if x can't be sorted."""

    def as_strided(self, x: Any) -> Any:
        """Return x, or a copy of its values if x's memory is not a regular grid of elements."""
        return x

    @abstractmethod
    def describe(self, x: Any, argument: str) -> Description:
        """Describe a regular array or a buffer; raise TypeError for an unsupported dtype."""

    def check_no_gradient(self, x: Any, argument: str) -> None:
        """Raise TypeError if the library would record a gradient, which values have none of."""

    def default_index_dtype(self) -> str:
        """Return the dtype of indices where the caller names none."""
        return "int64"

    @abstractmethod
    def empty(self, x: Any, dtype: str | None) -> Any:
        """Allocate a buffer of x's shape, laid out like x where x is dense."""

    @abstractmethod
    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of what `empty` returns, in elements, without the memory."""

    @abstractmethod
    def to_ffi(self, x: Any) -> Callable[[Any], Any] | None:
        """Return what turns arrays and buffers like x into arguments of TVM FFI.

        None: they are taken as they are. Nothing is copied.
        """

    def to_ffi_read_only(self, x: Any) -> Any:
        """Return the argument of TVM FFI for an input that raised BufferError."""
        return x

    @abstractmethod
    def sort_fallback(self, x: Any, values: Any, indices: Any, sorter: Sorter) -> None:
        """Sort rows that no kernel takes into buffers; either may be None (`fallback`)."""

    def sort_transposed(self, x: Any, buffer: Any, axis: int, sort: Callable[[Any], None]) -> None:
        """Sort through a copy whose axis is the last one, which ``sort`` sorts in place.

        Called only where the library's capabilities include it.
        """
        raise NotImplementedError

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return what tells the caller's current stream on x's device; None for the CPU."""
        return None

    def can_relaunch(self, x: Any) -> bool:
        """Tell whether the runtime is to keep launches for arrays like x, for `relaunch`."""
        return False

    @abstractmethod
    def wrap_result(self, buffer: Any, x: Any, dtype: str | None) -> Any:
        """Return the result that the caller gets for x."""

    @abstractmethod
    def check_out(self, out: Any, x: Any, is_index: bool, argument: str) -> bool:
        """Raise if out can't take an output for x; else tell whether a kernel may write to it."""

    def overlap(self, first: Any, second: Any) -> bool:
        """Tell whether two outputs that `check_out` let through may share memory."""
        raise NotImplementedError

    @abstractmethod
    def copy(self, source: Any, target: Any) -> None:
        """Copy values, bit for bit, from an array or buffer into a buffer or caller's out."""

    @abstractmethod
    def clear(self, indices: Any) -> None:
        """Fill a buffer of indices with zeros."""

    def mark_modified(self, out: Any) -> None:
        """Tell the library that a kernel wrote to the caller's out."""
