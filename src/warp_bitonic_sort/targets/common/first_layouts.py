"""Chooses the layouts in which GPUs find a few of the first elements of rows, from tables.

Invariant: as in `gpu_layouts`, with the arithmetic of ``memory/gpu/first_rows.hpp``.
"""

from __future__ import annotations

from typing import NamedTuple

from ...kernels import MOST_FOUND, Layout, Selection
from .layouts import FEW_ROWS, WIDE_BYTES, Choice, Rows, first_fit, layouts_of

# Rows whose entries are pruned: in blocks of as many registers as elements are found at most.
_PRUNED_ROWS = layouts_of((8, 1, 0), (16, 1, 0), (32, 1, 0), (32, 2, 0), (32, 3, 0))
# Of more elements, two lanes of a row would store too few bytes at once.
_PRUNED16_ROWS = layouts_of((16, 1, 0), (16, 2, 0), (32, 2, 0), (32, 3, 0))
_PRUNED32_ROWS = layouts_of((32, 2, 0), (32, 3, 0))
_PRUNED64_ROWS = layouts_of((8, 1, 0), (16, 1, 0), (16, 2, 0), (16, 3, 0))
# Lanes of a row from which on its first elements are bounded, not pruned (``kernel/gpu.hpp``).
_MIN_BOUND_LANE_BITS = 4
# Pruned rows have so many times as many elements as are found at most. Bounded rows have at
# least so many vectors for each element that is wanted.
_MIN_DROPPED = 2
_MIN_VECTORS = 2
# Units of a lane and blocks of a row, for each of FEW_ROWS: at most as many long rows leave
# multiprocessors idle, as measured on an H200. A cluster's blocks must be neighbours, so that not
# all multiprocessors are of use.
_BLOCK_THREADS = 1024
_FEW = ((4, 8), (8, 4), (8, 2), (8, 1))
_ANY = MAX_FIRST_LENGTH = 2**31 - 1


def is_bounded(layout: Layout, selection: Selection) -> bool:
    """Tell whether a kernel bounds the first elements of rows, which may have any length."""
    return selection in MOST_FOUND and layout.lane_bits >= _MIN_BOUND_LANE_BITS


class FirstLayouts(NamedTuple):
    """The layouts of rows of which few elements are found.

    Parameters
    ----------
    warp_lanes, shared_kib : int
        As in `GpuLayouts`.
    pruned : dict of (str, bool) to tuple of Layout
        Layouts for short rows, by the selection and whether keys have 64 bits.
    bounded : dict of str to tuple of (int, Layout)
        Layouts for longer rows by the selection, with the most vectors of 16 bytes of a row that
        each is for. Registers stand for units, of one vector or several. The last layout is for
        longer rows, too.
    few : tuple of (int, Layout)
        Layouts that take the place of the last bounded one, with the most rows that each is for.
        Layouts of more threads than a block has are for clusters of blocks.
    """

    warp_lanes: int
    shared_kib: int
    pruned: dict[tuple[Selection, bool], tuple[Layout, ...]]
    bounded: dict[Selection, tuple[tuple[int, Layout], ...]]
    few: tuple[tuple[int, Layout], ...]

    def shared_bytes(self, layout: Layout, selection: Selection, bits: int) -> int:
        """Return the bytes of the pairs of a block that bounds the elements of its rows."""
        lanes, blocks = 1 << layout.lane_bits, _blocks(layout)
        warps = (1 << layout.warp_bits) // blocks
        kept = MOST_FOUND[selection] * (2 if warps > 2 else 3)
        pairs = kept + WIDE_BYTES * 8 // bits * lanes + (blocks > 1)
        buffers = warps if warps > 1 else 4 * self.warp_lanes // lanes
        sums = 16 * warps if warps > 1 else 0
        return buffers * pairs * (16 if bits == 64 else 8) + sums

    def pruned_for(self, selection: Selection, bits: int) -> tuple[Layout, ...]:
        """Return the layouts of rows whose other elements are pruned, by capacity."""
        return self.pruned.get((selection, bits == 64), ())

    def bounded_for(self, selection: Selection, bits: int) -> list[tuple[int, Layout]]:
        """Return the layouts of bounded rows that fit the shared memory, as `bounded` has them."""
        layouts = self.bounded.get(selection, ())
        return [each for each in layouts if self._fits(each[1], selection, bits)]

    def cells(self, selection: Selection, bits: int) -> list[Layout]:
        """Return every layout that `choose` may return."""
        cells = [*self.pruned_for(selection, bits)]
        bounded = self.bounded_for(selection, bits)
        cells += [layout for _, layout in bounded]
        if bounded:
            cells += [each for _, each in self.few if self._fits(each, selection, bits)]
        return list(dict.fromkeys(cells))

    def longest(self, selection: Selection, bits: int) -> int:
        """Return the longest row that a kernel takes."""
        if self.bounded_for(selection, bits):
            return MAX_FIRST_LENGTH
        pruned = self.pruned_for(selection, bits)
        return pruned[-1].capacity if pruned else 0

    def selection(self, bits: int, length: int, k: int) -> Selection | None:
        """Return the selection of the kernel for the first k elements; None if none is fast."""
        if length > MAX_FIRST_LENGTH:
            return None
        vectors = length * bits // 8 // WIDE_BYTES
        for selection, most in MOST_FOUND.items():
            if k > most:
                continue
            pruned = self.pruned_for(selection, bits)
            if pruned and length <= pruned[-1].capacity:
                # Fewer lanes would store few bytes at once.
                if length > pruned[0].capacity // 2 and length >= _MIN_DROPPED * most:
                    return selection
                continue
            # Groups are made of whole vectors.
            if vectors >= _MIN_VECTORS * k and self.bounded_for(selection, bits):
                return selection
        return None

    def choose(self, rows: Rows) -> Choice:
        """Return the layout for rows that are not longer than the longest."""
        # A copy is read faster than elements that are not contiguous.
        transposes = rows.access != "rows"
        found = f"up to {MOST_FOUND[rows.selection]} elements of each row are found by"
        layout = first_fit(self.pruned_for(rows.selection, rows.bits), rows.length)
        if layout is not None:
            reason = (
                f"{found} {1 << layout.lane_bits} threads, {layout.registers} positions in the "
                "registers of each, which drop the others while they sort"
            )
            return Choice(layout, "rows", reason, transposes)
        vectors = -(-rows.length * rows.bits // 8 // WIDE_BYTES)
        layout = self._bounded_layout(rows, vectors)
        threads, blocks = 1 << layout.lane_bits << layout.warp_bits, _blocks(layout)
        reason = (
            f"{found} {threads} threads: the least elements of groups bound them, and the few "
            "within the bound are sorted"
        )
        if blocks > 1:
            reason += f"; the rows are few and long, so {blocks} blocks in a cluster share each"
        return Choice(layout, "rows", reason, transposes)

    def _bounded_layout(self, rows: Rows, vectors: int) -> Layout:
        """Return the layout for rows of so many vectors whose first elements are bounded."""
        layouts = self.bounded_for(rows.selection, rows.bits)
        layout = next((each for most, each in layouts if vectors <= most), layouts[-1][1])
        if layout != layouts[-1][1]:
            return layout
        few = (
            each
            for most, each in self.few
            if rows.rows <= most and self._fits(each, rows.selection, rows.bits)
        )
        return next(few, layout)

    def _fits(self, layout: Layout, selection: Selection, bits: int) -> bool:
        """Tell whether a block's pairs fit the shared memory."""
        return self.shared_bytes(layout, selection, bits) <= 1024 * self.shared_kib


def _blocks(layout: Layout) -> int:
    """Return how many blocks have a row."""
    return max(1, (1 << layout.lane_bits << layout.warp_bits) // _BLOCK_THREADS)


def first_layouts(
    warp_lanes: int, shared_kib: int, max_units: int = 32, has_clusters: bool = False
) -> FirstLayouts:
    """Return the layouts for warps of so many lanes, of which each has so many units at most."""
    full = warp_lanes.bit_length() - 1
    short: tuple[Selection, ...] = ("first1", "first2", "first4", "first8")
    pruned: dict[tuple[Selection, bool], tuple[Layout, ...]] = {
        **dict.fromkeys(((selection, False) for selection in short), _PRUNED_ROWS),
        **dict.fromkeys(((selection, True) for selection in short), _PRUNED64_ROWS),
        ("first16", False): _PRUNED16_ROWS,
        ("first16", True): _PRUNED64_ROWS[1:],
        ("first32", False): _PRUNED32_ROWS,
    }
    # Measured: units of two vectors are better than twice as many of one.
    some = (
        (64, Layout(4, 4)),
        (128, Layout(8, 4)),
        (256, Layout(8, 5)),
        (512, Layout(16, full)),
        (1024, Layout(8, full, 1)),
        (2048, Layout(16, full, 1)),
        (8192, Layout(16, full, 2)),
        (_ANY, Layout(max_units, full, 2)),
    )
    bounded: dict[Selection, tuple[tuple[int, Layout], ...]] = {
        "first16": some,
        "first32": some,
        "first64": some[1:],
        "first128": some[2:],
        "first256": some[4:],
    }
    few = tuple(
        (most, Layout(units, full, (_BLOCK_THREADS * blocks).bit_length() - 1 - full))
        for most, (units, blocks) in zip(FEW_ROWS, _FEW, strict=True)
        if has_clusters or blocks == 1
    )
    return FirstLayouts(warp_lanes, shared_kib, pruned, bounded, few)
