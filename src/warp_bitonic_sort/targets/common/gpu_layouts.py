"""Chooses the layout of a row on a GPU from tables.

Invariant: pure tables, and the arithmetic of ``memory/gpu/rows.hpp`` and ``columns.hpp``. An
architecture's layouts fit its shared memory and 1024 threads. Capacities of those that fit rise:
the first layout that holds a row is the best.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from ...kernels import MEDIANS, MOST_FOUND, VALUE_BITS, Access, Layout, Payload, Selection
from .first_layouts import FirstLayouts, is_bounded
from .layouts import WIDE_BYTES, Choice, Rows, first_fit, layouts_of, why_with_index

# Bytes of an access of columns below which a block has more warps (``memory/gpu``).
_GOOD_BYTES = 64
# Shared memory up to which a block has ``row_warps`` warps (``memory/gpu/rows.hpp``).
_ROW_WARPS_BYTES = 48 * 1024
# Bits of an entry of a key with its index, whatever the key's width (``memory/gpu``).
_INDEX_ENTRY_BITS = 32


def by_capacity(*layouts: Layout) -> tuple[Layout, ...]:
    """Return layouts by rising capacity."""
    return tuple(sorted(layouts, key=lambda layout: layout.capacity))


# For each width of an entry, the fastest layouts on an H100 (docs/notebook.md). More registers save
# steps across lanes; too many leave too few threads to hide memory latency. Capacities rise by
# small steps, not by two, for lengths at which sorting is slower than memory.
_LONG_ROWS = layouts_of(
    (32, 2, 0),
    (20, 3, 0),
    (24, 3, 0),
    (32, 3, 0),
    (20, 4, 0),
    (24, 4, 0),
    (32, 4, 0),
    (20, 5, 0),
    (24, 5, 0),
    (32, 5, 0),
    (20, 5, 1),
    (24, 5, 1),
    (32, 5, 1),
    (20, 5, 2),
    (24, 5, 2),
    (32, 5, 2),
    (24, 5, 3),
    (32, 5, 3),
    (32, 5, 4),
)
ENTRY32_ROWS = layouts_of((4, 0, 0), (8, 0, 0), (8, 1, 0), (16, 1, 0), (16, 2, 0), *_LONG_ROWS)
# Keys of 16 bits are read and written 8 bytes at a time in 28 registers, so that rows of 100 are
# not staged. Keys of 8 bits share the table.
ENTRY16_ROWS = by_capacity(*ENTRY32_ROWS, Layout(28, 2, 0))
ENTRY64_ROWS = layouts_of(
    (4, 0, 0),
    (4, 1, 0),
    (8, 1, 0),
    (8, 2, 0),
    (16, 2, 0),
    (12, 3, 0),
    (14, 3, 0),
    (16, 3, 0),
    (10, 4, 0),
    (12, 4, 0),
    (14, 4, 0),
    (16, 4, 0),
    (10, 5, 0),
    (12, 5, 0),
    (14, 5, 0),
    (16, 5, 0),
    (10, 5, 1),
    (12, 5, 1),
    (14, 5, 1),
    (16, 5, 1),
    (12, 5, 2),
    (16, 5, 2),
    (16, 5, 3),
    (16, 5, 4),
    (32, 5, 4),
)
# Short contiguous rows whose length is not a multiple of 16 bytes: one thread a row, because the
# rows are staged through shared memory in any case.
ENTRY16_UNALIGNED = layouts_of((16, 0, 0), (32, 0, 0))
ENTRY32_UNALIGNED = layouts_of((16, 0, 0), (24, 0, 0), (32, 0, 0))
ENTRY64_UNALIGNED = layouts_of((8, 0, 0), (16, 0, 0), (32, 0, 0))
# Columns of which a thread holds one each, or two of 16 bits.
ENTRY16_THREADS = layouts_of((8, 0, 0), (16, 0, 0), (32, 0, 0))
ENTRY32_THREADS = layouts_of((4, 0, 0), (8, 0, 0), (16, 0, 0), (24, 0, 0), (32, 0, 0))
ENTRY64_THREADS = layouts_of((4, 0, 0), (8, 0, 0), (16, 0, 0), (32, 0, 0))


# Rows with indices: entries of 32 bits for keys of any width. A row stays in shared memory, too;
# longer rows would leave too few warps.
INDEX_ROWS = layouts_of(
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (16, 1, 0),
    (16, 2, 0),
    (12, 3, 0),
    (16, 3, 0),
    (12, 4, 0),
    (16, 4, 0),
    (24, 4, 0),
    (16, 5, 0),
    (24, 5, 0),
    (32, 5, 0),
    (12, 5, 2),
    (16, 5, 2),
    (32, 5, 2),
)
# Keys of 64 bits need more registers beside 32 entries than there are.
INDEX64_ROWS = (*INDEX_ROWS[:12], *layouts_of((16, 5, 1), (12, 5, 2), (16, 5, 2), (16, 5, 3)))
# Columns with indices: keys stay in shared memory, so that fewer warps fit.
INDEX_COLUMNS = layouts_of(
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (24, 0, 0),
    (32, 0, 0),
    (16, 2, 0),
    (16, 3, 0),
    (16, 4, 0),
    (16, 5, 0),
    (32, 5, 0),
)
INDEX64_COLUMNS = layouts_of(
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (16, 1, 0),
    (16, 2, 0),
    (16, 3, 0),
    (16, 4, 0),
    (16, 5, 0),
)

# Medians: a compiler leaves out most of a network that lies within a thread, so that one thread
# takes longer rows.
_MEDIAN_THREADS = layouts_of(*((registers, 0, 0) for registers in (4, 8, 12, 16, 24, 28, 32)))
_MEDIAN32_THREADS = (*_MEDIAN_THREADS, *layouts_of((40, 0, 0), (48, 0, 0), (56, 0, 0)))
_MEDIAN32_ROWS = (*_MEDIAN32_THREADS, *layouts_of((32, 1, 0)))
_MEDIAN32_COLUMNS = (*_MEDIAN32_THREADS, *layouts_of((64, 0, 0)))


class Tables(NamedTuple):
    """The layouts for entries of one width: rows, short unaligned rows, and columns."""

    rows: tuple[Layout, ...]
    unaligned: tuple[Layout, ...]
    columns: tuple[Layout, ...]


# What is stored of each row: keys alone or with a payload, or their median.
Kind = Payload | Literal["median"]
TablesByEntry = dict[tuple[Kind, int], Tables]


def tables_by_entry(
    entry16: Tables, entry32: Tables, entry64: Tables, index: Tables, index64: Tables
) -> TablesByEntry:
    """Return the tables by what is stored and the bits of a key; keys of 8 bits are widened to 16.

    Values are carried along in rows only, in the layouts of rows with indices.
    """
    tables: TablesByEntry = {
        ("none", 8): entry16,
        ("none", 16): entry16,
        ("none", 32): entry32,
        ("none", 64): entry64,
    }
    for bits in (8, 16, 32, 64):
        tables["median", bits] = _median_tables(tables["none", bits], bits)
        tables["index", bits] = index64 if bits == 64 else index
        for payload in VALUE_BITS:
            tables[payload, bits] = Tables(tables["index", bits].rows, (), ())
    return tables


def _median_tables(tables: Tables, bits: int) -> Tables:
    """Return the layouts for medians: of long rows, those that sort them."""
    rows, columns = _MEDIAN32_ROWS, _MEDIAN32_COLUMNS
    if bits == 64:
        rows = columns = _MEDIAN_THREADS
    longer_rows = (each for each in tables.rows if each.capacity > rows[-1].capacity)
    longer_columns = (each for each in tables.columns if each.capacity > columns[-1].capacity)
    return Tables((*rows, *longer_rows), (), (*columns, *longer_columns))


class GpuLayouts(NamedTuple):
    """The layouts of one architecture.

    Parameters
    ----------
    tables : dict of (str, int) to Tables
        The tables by what is stored and the bits of a key.
    warp_lanes : int
        Lanes of a warp (a wave on AMD GPUs).
    shared_kib : int
        KiB of shared memory that a block may use.
    padded_kib : int
        KiB of shared memory up to which rows are padded: ``max_shared_bytes`` of the target's
        header.
    row_warps : int
        The fewest warps of a block whose rows have a whole warp or more, if 48 KiB hold them:
        ``min_row_warps`` of the target's header.
    first_layouts : FirstLayouts
        The layouts of rows of which few elements are found.
    """

    tables: TablesByEntry
    warp_lanes: int
    shared_kib: int
    padded_kib: int
    row_warps: int
    first_layouts: FirstLayouts

    def shared_bytes(
        self, layout: Layout, payload: Payload, bits: int, selection: Selection = "all"
    ) -> int:
        """Return the bytes of a block's shared memory, as ``memory/gpu`` uses it for rows."""
        warps = 1 << layout.warp_bits
        if is_bounded(layout, selection):
            return self.first_layouts.shared_bytes(layout, selection, bits)
        if payload == "none":
            stage = self._stage_bytes(layout, max(bits // 8, 4))
            has_whole_warps = self.warp_lanes == 1 << layout.lane_bits
            has_more = has_whole_warps and self.row_warps * stage <= _ROW_WARPS_BYTES
            return max(self.row_warps if has_more else 4, warps) * stage
        # With indices, the keys stay in shared memory, too, and so do values.
        team = warps * self._stage_bytes(layout, 4) + self._team_bytes(layout, bits)
        if payload in VALUE_BITS:
            positions = warps * self.warp_lanes * layout.registers
            team += positions * VALUE_BITS[payload] // 8 + WIDE_BYTES
        teams = 2 if warps == 1 else 1
        return teams * team

    def column_bytes(self, layout: Layout, payload: Payload, bits: int) -> int:
        """Return the same for columns; 0 for those of keys that lanes share, which always fit."""
        lanes, warps = 1 << layout.lane_bits, 1 << layout.warp_bits
        if payload == "none":
            entry = max(bits // 8, 4)
            return max(4, warps) * layout.registers * self.warp_lanes * entry if warps > 1 else 0
        rows = self.warp_lanes // lanes
        warps = max(4, min(8, _GOOD_BYTES * 8 // bits // rows))
        padding = lanes + 1 if bits >= 32 else (lanes * bits // 32 | 1) * 32 // bits
        if lanes == 1:
            padding = 0
        keys = rows * (layout.capacity + padding) * bits // 8
        return warps * (self._stage_bytes(layout, 4) + keys)

    def _stage_bytes(self, layout: Layout, entry: int) -> int:
        """Return the bytes of a warp's part of the stage of entries (``network/warp.hpp``)."""
        lanes = self.warp_lanes
        padding = WIDE_BYTES // entry
        all_lanes = lanes << layout.warp_bits
        if (layout.registers + padding) * all_lanes * entry > 1024 * self.padded_kib:
            padding = 0
        # Four transposed lanes need more padding against bank conflicts.
        transposed = min(1 << layout.lane_bits, layout.registers & -layout.registers)
        striped = lanes + padding * (2 if transposed == 4 else 1)
        return max(striped * layout.registers, (layout.registers + padding) * lanes) * entry

    def _team_bytes(self, layout: Layout, bits: int) -> int:
        """Return the bytes in which a team keeps its keys: a warp, or the warps of a row."""
        units = -(-layout.registers * bits // 8 // WIDE_BYTES)
        units += layout.lane_bits < 3 and units % 2 == 0
        warps = 1 << layout.warp_bits
        sums = 8 * warps if warps > 1 else 0
        return warps * self.warp_lanes * units * WIDE_BYTES + WIDE_BYTES + sums

    def _tables(self, payload: Payload, bits: int, selection: Selection) -> Tables:
        return self.tables["median" if selection in MEDIANS else payload, bits]

    def rows(self, payload: Payload, bits: int, selection: Selection = "all") -> list[Layout]:
        """Return the layouts of rows that fit the shared memory, by capacity."""
        limit = 1024 * self.shared_kib
        return [
            layout
            for layout in self._tables(payload, bits, selection).rows
            if self.shared_bytes(layout, payload, bits) <= limit
        ]

    def columns(self, payload: Payload, bits: int, selection: Selection = "all") -> list[Layout]:
        """Return the layouts of columns, by capacity."""
        layouts = self._tables(payload, bits, selection).columns
        limit = 1024 * self.shared_kib
        fitting = [each for each in layouts if self.column_bytes(each, payload, bits) <= limit]
        # Of those with the same capacity, the first one is the fastest.
        by_capacity: dict[int, Layout] = {}
        for layout in fitting:
            by_capacity.setdefault(layout.capacity, layout)
        return list(by_capacity.values())

    def cells(
        self, payload: Payload, bits: int, selection: Selection = "all"
    ) -> list[tuple[Layout, Access]]:
        """Return every layout that `choose` may return for a selection, with its access."""
        if selection in MOST_FOUND:
            return [(layout, "rows") for layout in self.first_layouts.cells(selection, bits)]
        rows = self.rows(payload, bits, selection)
        cells: list[tuple[Layout, Access]] = [(layout, "rows") for layout in rows]
        if selection == "first":
            return cells
        unaligned = self._tables(payload, bits, selection).unaligned
        cells += [(layout, "rows") for layout in unaligned if layout not in rows]
        cells += [(layout, "columns") for layout in self.columns(payload, bits, selection)]
        return cells

    def longest(self, payload: Payload, bits: int, selection: Selection = "all") -> int:
        """Return the longest row that a kernel takes."""
        if selection in ("all", "first"):
            return self.rows(payload, bits)[-1].capacity
        if selection in MEDIANS:
            return self.rows(payload, bits, selection)[-1].capacity if payload == "none" else 0
        return self.first_layouts.longest(selection, bits) if payload == "index" else 0

    def finds_medians(self, bits: int, length: int) -> bool:
        """Tell whether kernels find the medians of rows."""
        return 1 < length <= self.longest("none", bits, "median")

    def first(self, bits: int, length: int, k: int) -> Selection:
        """Return the selection of the kernel for the first k elements, with their indices."""
        selection = self.first_layouts.selection(bits, length, k)
        return selection or ("first" if length <= self.longest("index", bits) else "all")

    def choose(self, rows: Rows) -> Choice:
        """Return the layout for rows that are not longer than the longest."""
        if rows.selection in MOST_FOUND:
            return self.first_layouts.choose(rows)
        if rows.selection == "first":
            # A copy is read faster than elements that are not contiguous.
            choice = self.choose(rows._replace(selection="all", access="rows"))
            return choice._replace(transposes=rows.access != "rows")
        cell = rows.payload, rows.bits, rows.selection
        columns = None
        if rows.access == "columns":
            columns = first_fit(self.columns(*cell), rows.length)
        staged = None
        layout = columns or first_fit(self.rows(*cell), rows.length)
        assert layout is not None  # noqa: S101 - the caller compares with `longest`
        if columns is None and layout.lane_bits > 0 and rows.is_unaligned:
            staged = first_fit(self._tables(*cell).unaligned, rows.length)
        layout = staged or layout
        lanes = 1 << layout.lane_bits << layout.warp_bits
        reason = (
            f"rows of up to {layout.capacity} elements are sorted by {lanes} "
            f"thread{'s' * (lanes != 1)} each, {layout.registers} positions in the registers of "
            "each"
        )
        if rows.selection in MEDIANS:
            reason += ", and only their middle is stored"
        if rows.payload != "none":
            reason += f"; {why_with_index(rows.bits, _INDEX_ENTRY_BITS)}"
        if rows.payload in VALUE_BITS:
            reason += ", by which values are fetched from shared memory"
        transposes = rows.access == "columns" and columns is None and rows.payload == "none"
        if columns is not None:
            reason += "; rows lie side by side, so neighbouring threads load neighbouring rows"
        elif staged is not None:
            reason += (
                "; rows are contiguous, so they are staged through shared memory with "
                f"{WIDE_BYTES}-byte loads"
            )
        return Choice(layout, "rows" if columns is None else "columns", reason, transposes)
