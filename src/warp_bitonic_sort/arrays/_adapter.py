"""What an adapter is: the arrays of one library, for all that the rest of the package does.

Invariant: for type checkers and readers alone; nothing that runs imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from ..dtypes import DType
from . import Description

__all__ = ["Adapter"]


class Adapter(Protocol):
    """Handles the arrays of one library.

    A *buffer* is what `allocate` returns and kernels write; `finish` makes the caller's result
    of it. Where the library's arrays can be written, a buffer is such an array.
    """

    kind: str
    # Sorts x along an axis as the runtime remembers, which takes less than a prepared call,
    # and returns None where it remembers no such sort. None itself where the library can't.
    again: Callable[[Any, int, bool], Any] | None

    def key(self, x: Any, argument: str = "x") -> Hashable:
        """Return all that a prepared call depends on, cheaply; raise if x can't be sorted."""

    def regular(self, x: Any) -> Any:
        """Return x, or a copy of its values if x's memory is not a regular grid of elements."""

    def describe(self, x: Any, argument: str) -> Description:
        """Describe a regular array or a buffer; raise TypeError for a dtype out of reach."""

    def allocate(self, x: Any) -> Any:
        """Allocate a buffer of x's shape and dtype, laid out like x where x is dense."""

    def result_strides(self, x: Any) -> tuple[int, ...]:
        """Return the strides of what `allocate` returns, without the memory."""

    def lowering(self, x: Any) -> Callable[[Any], Any] | None:
        """Return what turns arrays and buffers like x into what TVM FFI takes.

        None: they are taken as they are. Nothing is copied.
        """

    def lower_read_only(self, x: Any) -> Any:
        """Return what TVM FFI takes for an input whose lowering raised BufferError."""

    def sort_long(
        self, x: Any, buffer: Any, dtype: DType, axis: int, descending: bool, nan_last: bool
    ) -> None:
        """Sort rows that no kernel takes into a buffer or the caller's out (`framework`)."""

    def sort_turned(self, x: Any, buffer: Any, axis: int, sort: Callable[[Any], None]) -> None:
        """Sort by way of a copy whose axis is the last, which `sort` sorts in place."""

    def stream(self, x: Any) -> Callable[[], int] | None:
        """Return what tells the caller's current stream on x's device; None for the CPU."""

    def remembers(self, x: Any) -> bool:
        """Tell whether the runtime is to remember sorts of arrays like x, for `again`."""

    def finish(self, buffer: Any, x: Any) -> Any:
        """Return the result that the caller gets for x."""

    def check_out(self, out: Any, x: Any) -> bool:
        """Raise if out can't take x's result; else tell whether a kernel may write to it."""

    def copy(self, source: Any, target: Any) -> None:
        """Copy values, bit for bit, from an array or buffer into a buffer or caller's out."""

    def written(self, out: Any) -> None:
        """Tell the library that a kernel wrote to the caller's out."""
