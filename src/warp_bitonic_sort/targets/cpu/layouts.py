"""Chooses the layout on the CPU: a kernel for each length of short rows, a tile for longer ones.

Invariant: pure. All architectures have the same layouts.
"""

from __future__ import annotations

from ...kernels import TILE, VALUE_BITS, Access, Layout, Payload, Selection
from ..common.layouts import Choice, Rows, why_with_index

# Rows up to this length are sorted in registers, by an unrolled kernel for each length.
MAX_REGISTER_LENGTH = 32
# Rows up to this length are sorted in the tile; docs/performance.md compares longer ones.
MAX_LENGTH = 16384
# Rows whose first elements are found. Long ones are taken one by one.
MAX_FIRST_LENGTH = 2**31 - 1
_WHY = {
    "rows": "the elements of a row are contiguous, so they are transposed in registers",
    "columns": "rows lie side by side in memory, so each SIMD lane loads its own row",
    "strided": "neither rows nor their elements are neighbours, so elements are gathered",
}
# Of rows from this length on, few elements of contiguous ones are bounded: one of so many. At most
# so many elements are kept while blocks are merged (``kernel/cpu.hpp``, ``cpu_index_tile.hpp``).
_MIN_BOUNDED_LENGTH, _ONE_OF, _MAX_MERGED = 4096, 64, 15


class CpuLayouts:
    """The layouts of every CPU."""

    def cells(
        self, payload: Payload, bits: int, selection: Selection = "all"
    ) -> list[tuple[Layout, Access]]:
        """Return every layout that `choose` may return for a selection, with its access."""
        if selection != "all":
            return [(TILE, "strided")] if selection == "first" else []
        lengths = range(2, MAX_REGISTER_LENGTH + 1)
        accesses: tuple[Access, ...] = ("rows", "columns")
        registers = [(Layout(length), access) for length in lengths for access in accesses]
        return [(TILE, "strided"), *registers]

    def longest(self, payload: Payload, bits: int, selection: Selection = "all") -> int:
        """Return the longest row that a kernel takes; no kernel carries values along."""
        if selection == "first":
            return MAX_FIRST_LENGTH if payload == "index" else 0
        return MAX_LENGTH if selection == "all" and payload not in VALUE_BITS else 0

    def first(self, bits: int, length: int, k: int) -> Selection:
        """Return the selection of the kernel for the first k elements, with their indices."""
        return "first" if length <= MAX_FIRST_LENGTH else "all"

    def finds_medians(self, bits: int, length: int) -> bool:
        """Tell whether kernels find the medians of rows."""
        return False

    def choose(self, rows: Rows) -> Choice:
        """Return the layout for rows that are not longer than the longest."""
        why = _WHY[rows.access]
        if rows.payload != "none":
            why = why_with_index(rows.bits, max(rows.bits, 32))
        if rows.selection == "first":  # one kernel for all lengths is fast enough
            return Choice(TILE, "strided", f"{_why_first(rows)}; {why}")
        if rows.length <= MAX_REGISTER_LENGTH and rows.access != "strided":
            reason = f"rows of up to {MAX_REGISTER_LENGTH} elements are sorted in registers; {why}"
            return Choice(Layout(rows.length), rows.access, reason)
        reason = f"blocks are sorted in registers and merged in a tile in memory; {why}"
        if rows.payload == "none" and rows.access == "rows":
            reason += ", but a few long rows are sorted one by one"
        return Choice(TILE, "strided", reason)


def _why_first(rows: Rows) -> str:
    """Return how the one kernel for first elements finds them, as text for people."""
    kept = rows.length if rows.kept is None else rows.kept
    are_few = rows.length >= _MIN_BOUNDED_LENGTH and kept <= rows.length // _ONE_OF
    if rows.length > MAX_LENGTH or (are_few and rows.access == "rows"):
        return (
            "rows are taken one by one: the least elements of groups bound the wanted ones, and "
            "the few within the bound are sorted"
        )
    if kept <= _MAX_MERGED:
        return "sorted blocks are merged, and only the first elements are kept"
    return "whole rows are sorted in a tile in memory, and only the first elements are stored"
