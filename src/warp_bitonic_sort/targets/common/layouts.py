"""Defines the interface through which `plan` chooses a target's layout for rows.

Invariant: pure. Results depend only on the rows and the architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ...kernels import Access, Layout, Payload, Selection

# Bytes of the widest access to memory.
WIDE_BYTES = 16
# Numbers of rows up to which a layout may depend on their number.
FEW_ROWS = (8, 16, 64, 128)


def layouts_of(*places: tuple[int, int, int]) -> tuple[Layout, ...]:
    """Return layouts of (registers, lane bits, warp bits)."""
    return tuple(Layout(*place) for place in places)


def first_fit(layouts: Sequence[Layout], length: int) -> Layout | None:
    """Return the first layout that holds rows of a length, or None."""
    return next((layout for layout in layouts if layout.capacity >= length), None)


def why_with_index(bits: int, word_bits: int) -> str:
    """Return what a word holds, for keys of so many bits with an index that has 16 at most."""
    key = "a key" if bits + 16 <= word_bits else "a prefix of a key"
    return f"each word of {word_bits} bits holds {key} and its index"


class Rows(NamedTuple):
    """The properties of rows that the choice of a layout depends on.

    Parameters
    ----------
    payload : str
        What travels with each key.
    bits : int
        The width of an element.
    length : int
        Elements in a row; at least 2.
    access : str
        How the elements lie in memory: ``rows``, ``columns`` or ``strided``.
    is_unaligned : bool
        Whether rows are contiguous and a row's length is not a multiple of 16 bytes.
    rows : int
        The number of rows.
    selection : str, default "all"
        The positions of the sorted row that are wanted.
    kept : int, optional
        How many elements of each row are wanted, if not all.
    """

    payload: Payload
    bits: int
    length: int
    access: Access
    is_unaligned: bool
    rows: int
    selection: Selection = "all"
    kept: int | None = None


class Choice(NamedTuple):
    """The layout that a target chose.

    Parameters
    ----------
    layout : Layout
        Where the positions of a row live.
    access : str
        The strides that the kernel accepts.
    reason : str
        The reason, as text for people.
    transposes : bool, default False
        Whether sorting is faster after a copy that makes the sorted axis the last.
    """

    layout: Layout
    access: Access
    reason: str
    transposes: bool = False


class Layouts(Protocol):
    """The layouts of one architecture."""

    def cells(
        self, payload: Payload, bits: int, selection: Selection = "all"
    ) -> list[tuple[Layout, Access]]:
        """Return every layout that `choose` may return for a selection, with its access."""

    def longest(self, payload: Payload, bits: int, selection: Selection = "all") -> int:
        """Return the longest row that a kernel takes; 0 without kernels for the payload."""

    def first(self, bits: int, length: int, k: int) -> Selection:
        """Return the selection of the kernel for the first k elements, with their indices.

        It is ``all`` where the kernels of a sort with indices are taken, and the rest is cut off.
        """

    def finds_medians(self, bits: int, length: int) -> bool:
        """Tell whether kernels find the medians of rows."""

    def choose(self, rows: Rows) -> Choice:
        """Return the layout for rows that are not longer than the longest."""
