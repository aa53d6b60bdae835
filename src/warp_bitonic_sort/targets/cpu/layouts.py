"""Chooses the layout on the CPU: a kernel for each length of short rows, a tile for longer ones.

Invariant: pure. All architectures have the same layouts.
"""

from __future__ import annotations

from ...kernels import TILE, VALUE_BITS, Access, Layout, Payload
from ..common.layouts import Choice, Rows, why_with_index

# Rows up to this length are sorted in registers, by an unrolled kernel for each length.
MAX_REGISTER_LENGTH = 32
# Rows up to this length are sorted in the tile; docs/performance.md compares longer ones.
MAX_LENGTH = 16384
# The first elements of a row that are found by blocks: one less than a block has.
MAX_FIRST = 15
_WHY = {
    "rows": "the elements of a row are contiguous, so they are transposed in registers",
    "columns": "rows lie side by side in memory, so each SIMD lane loads its own row",
    "strided": "neither rows nor their elements are neighbours, so elements are gathered",
}


class CpuLayouts:
    """The layouts of every CPU."""

    def cells(self, payload: Payload, bits: int) -> list[tuple[Layout, Access]]:
        """Return every layout that `choose` may return, with its access."""
        lengths = range(2, MAX_REGISTER_LENGTH + 1)
        accesses: tuple[Access, ...] = ("rows", "columns")
        registers = [(Layout(length), access) for length in lengths for access in accesses]
        return [(TILE, "strided"), *registers]

    def longest(self, payload: Payload, bits: int) -> int:
        """Return the longest row that a kernel sorts; no kernel carries values along."""
        return 0 if payload in VALUE_BITS else MAX_LENGTH

    def most_first(self, payload: Payload) -> int:
        """Return how many of the first elements of a row kernels for these write."""
        return MAX_FIRST if payload == "index" else 0

    def choose(self, rows: Rows) -> Choice:
        """Return the layout for rows that are not longer than the longest."""
        why = _WHY[rows.access]
        if rows.payload != "none":
            why = why_with_index(rows.bits, max(rows.bits, 32))
        if rows.length <= MAX_REGISTER_LENGTH and rows.access != "strided":
            reason = f"rows of up to {MAX_REGISTER_LENGTH} elements are sorted in registers; {why}"
            return Choice(Layout(rows.length), rows.access, reason)
        merged = "merged in a tile in memory"
        if rows.selection == "first":
            merged = "merged with the first elements of those before"
        return Choice(TILE, "strided", f"blocks are sorted in registers and {merged}; {why}")
