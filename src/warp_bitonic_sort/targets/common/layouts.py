"""What `plan` asks of a target: which kernels it has for some rows.

Invariant: pure. What is returned depends on the rows and the architecture alone.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ...kernels import Access, Layout, Payload

# Bytes of the widest access to memory.
WIDE_BYTES = 16


class Rows(NamedTuple):
    """The rows of a call, as far as the choice of a layout goes.

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
        Whether rows are contiguous and a row is no whole number of 16-byte accesses.
    """

    payload: Payload
    bits: int
    length: int
    access: Access
    is_unaligned: bool


class Choice(NamedTuple):
    """The layout that a target chose.

    Parameters
    ----------
    layout : Layout
        Where the positions of a row live.
    access : str
        The strides that the kernel is made for.
    reason : str
        Why, for people.
    transposes : bool, default False
        Whether a copy whose sorted axis is the last is worth making first.
    """

    layout: Layout
    access: Access
    reason: str
    transposes: bool = False


class Layouts(Protocol):
    """The layouts of one architecture."""

    def cells(self, payload: Payload, bits: int) -> list[tuple[Layout, Access]]:
        """Return every layout that `choose` may return, with its access."""

    def longest(self, payload: Payload, bits: int) -> int:
        """Return the longest row that a kernel takes; 0 where there is no kernel."""

    def choose(self, rows: Rows) -> Choice:
        """Return the layout for rows that are not longer than the longest."""
