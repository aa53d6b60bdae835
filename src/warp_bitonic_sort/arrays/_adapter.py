"""The interface of adapters: all that the rest of the package needs of an array library.

Invariant: planning sees an array as a `Description` only. Its strides count elements, and its dtype
has NumPy's name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, NamedTuple

from ..fallback import Sorter
from ..kernels import Payload
from ..quantiles import Reader


class Device(NamedTuple):
    """Where an array lives.

    Parameters
    ----------
    backend : str
        Which kernels reach it: cpu, cuda or hip.
    number : int
        The number of the device; 0 for the CPU.
    arch : str or None
        The architecture of the device; None where the array's library does not report it.
    """

    backend: Literal["cpu", "cuda", "hip"]
    number: int
    arch: str | None


CPU_DEVICE = Device("cpu", 0, None)


class Description(NamedTuple):
    """What planning needs to know of an array.

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
        What its library can do on a device: ``sort`` keys, and ``transpose`` arrays.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device: Device = CPU_DEVICE
    capabilities: frozenset[str] = frozenset({"sort"})


class Cut(NamedTuple):
    """A range of positions along an axis, for `Adapter.cut`.

    Parameters
    ----------
    axis : int
        The axis, not negative. An array without axes counts as one row of one element.
    start, stop : int
        The first position, and the one after the last.
    shape : tuple of int
        The shape of the result, which may lack the axis if there is one position.
    """

    axis: int
    start: int
    stop: int
    shape: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        """The range as an index of an array with axes."""
        return *[slice(None)] * self.axis, slice(self.start, self.stop)


# The checked options of a call: axis, descending, nan_last. If nan_last, NaNs come last in either
# direction; else they are the largest values.
SortOptions = tuple[int, bool, bool]

# Turns a buffer for x, and its dtype as for `Adapter.empty`, into the caller's result.
ToResult = Callable[[Any, Any, str | None], Any]

Relaunch = Callable[[Payload, bool, Any, SortOptions, str | None, int | None], list[Any] | None]
RelaunchPairs = Callable[[Any, Any, SortOptions], list[Any] | None]


class Adapter(ABC):
    """Handles the arrays of one library.

    A *buffer* is what `empty` returns and a kernel writes. `to_result` turns a buffer into the
    caller's result. Where the library's arrays can be written, a buffer is such an array. A dtype
    of None stands for the dtype of x; any other dtype is that of indices.

    Attributes
    ----------
    kind : str
        The library's name.
    relaunch : callable, optional
        ``relaunch(payload, wants_keys, x, options, index_dtype, k)`` answers a call from the
        runtime's launch cache, which is faster than a prepared call: it returns the outputs, or
        None if the cache does not hold the call. k tells how many of the first elements of
        rows are wanted; None stands for whole rows.
    relaunch_pairs : callable, optional
        ``relaunch_pairs(keys, values, options)`` does so for keys with one array of values.
    """

    kind: str
    relaunch: Relaunch | None = None
    relaunch_pairs: RelaunchPairs | None = None

    @abstractmethod
    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on; raise if x can't be sorted.

        Every call computes a key.
        """

    def as_strided(self, x: Any) -> Any:
        """Return x, or a copy of it if strides in whole native elements cannot describe x."""
        return x

    @abstractmethod
    def describe(self, x: Any, argument: str) -> Description:
        """Describe a result of `as_strided` or a buffer; raise TypeError for unsupported dtypes."""

    def check_no_gradient(self, x: Any, argument: str) -> None:
        """Raise TypeError if the library would record a gradient: sorted values have none."""

    def index_dtype(self, requested: str | None) -> str:
        """Return the dtype of indices for a checked index_dtype; None stands for the default.

        Raises ValueError for a dtype that the library does not support.
        """
        return requested or "int64"

    @abstractmethod
    def empty(self, x: Any, dtype: str | None, shape: tuple[int, ...] | None = None) -> Any:
        """Allocate a buffer: of x's shape and laid out like x where x is dense, or row-major."""

    @abstractmethod
    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of a result of `empty`, in elements, without using memory."""

    @abstractmethod
    def to_ffi(self, x: Any) -> Callable[[Any], Any] | None:
        """Return the function that turns arrays and buffers like x into arguments of TVM FFI.

        The function copies nothing. None means that TVM FFI accepts the arrays themselves.
        """

    def to_ffi_read_only(self, x: Any) -> Any:
        """Return the argument of TVM FFI for an input that raised BufferError."""
        return x

    @abstractmethod
    def sort_fallback(self, x: Any, outputs: Sequence[Any], sorter: Sorter) -> None:
        """Sort rows that no kernel sorts into the buffers of the outputs (`fallback`)."""

    def sort_transposed(
        self, x: Any, outputs: Sequence[Any], axis: int, sort: Callable[[Any], Sequence[Any]]
    ) -> None:
        """Copy x so that the axis is the last, call ``sort``, copy what it returns into outputs.

        Called only if the library's capabilities include ``transpose``. ``sort`` may write to the
        copy.
        """
        raise NotImplementedError

    @abstractmethod
    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """Return a new array of the elements of x at indices along an axis, bit for bit.

        All are arrays of the library, not buffers. x has any strides and a supported dtype.
        """

    @abstractmethod
    def inverse(self, indices: Any, axis: int) -> Any:
        """Return the inverse of each row of indices, a permutation along an axis.

        Both are arrays of the library, not buffers.
        """

    @abstractmethod
    def cut(self, x: Any, cut: Cut) -> Any:
        """Return a new row-major array of a range of positions, bit for bit.

        Both are arrays of the library, not buffers. The result shares no memory with x, because it
        would keep all of x alive. x has any strides and a supported dtype.
        """

    def float_dtype(self) -> str:
        """Return the dtype of the quantiles of integers."""
        return "float64"

    @abstractmethod
    def reshape(self, x: Any, order: Sequence[int], shape: Sequence[int]) -> Any:
        """Return x with its axes in another order, and then in another shape.

        Both are arrays of the library. The result is a view of x where the library has one.
        """

    @abstractmethod
    def read(self, rows: Any, reader: Reader, shape: Sequence[int]) -> Any:
        """Return a new array of what a reader reads from sorted rows, in a shape.

        Both are arrays of the library, not buffers.
        """

    def in_blocks(
        self,
        x: Any,
        axis: int,
        shape: tuple[int, ...],
        reduced: Callable[..., Any],
    ) -> Any:
        """Return ``reduced(x, shape)``, or the same of blocks of x that have whole rows.

        ``reduced`` sorts rows along the axis and reads them as `read` does. With a third argument
        that is true, it sorts a block in place.
        """
        return reduced(x, shape)

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return a function that returns the current stream on x's device; None for the CPU."""
        return None

    def can_relaunch(self, x: Any) -> bool:
        """Tell whether the runtime should keep launches for arrays like x, for `relaunch`."""
        return False

    def to_result(self, x: Any) -> ToResult | None:
        """Return the function that turns buffers into the caller's results for arrays like x.

        None means that buffers are the results.
        """
        return None

    def out_key(self, out: Any) -> Hashable:
        """Return all that `check_out` depends on, except the key of x and `can_write`.

        Every call with an out computes it, before any check: None stands for an out that
        `check_out` refuses.
        """
        return None

    @abstractmethod
    def check_out(self, out: Any, x: Any, is_index: bool, argument: str, like: str = "x") -> bool:
        """Raise if out cannot hold an output for x; else tell whether a kernel may write to it.

        Messages call x ``like``.
        """

    def can_write(self, out: Any, x: Any, is_index: bool) -> bool:
        """Tell whether a kernel may write to an out that had an accepted key.

        This is the part of `check_out` that arrays of equal keys can answer in different ways:
        whether out can be written, and whether it overlaps x.
        """
        raise NotImplementedError

    def spans_overlap(self, first: Any, second: Any) -> bool:
        """Tell whether the first and last bytes of two arrays leave room for shared memory."""
        raise NotImplementedError

    def share_memory(self, first: Any, second: Any) -> bool:
        """Tell whether two outputs whose spans overlap share memory; True if that is not known."""
        return True

    @abstractmethod
    def copy(self, source: Any, target: Any) -> None:
        """Copy values, bit for bit, from an array or buffer into a buffer or caller's out."""

    @abstractmethod
    def clear(self, indices: Any) -> None:
        """Fill a buffer of indices with zeros."""

    def mark_modified(self, out: Any) -> None:
        """Tell the library that a kernel wrote to the caller's out."""
