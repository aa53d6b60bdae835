"""Where the positions of a row live on a device: the layouts of each capacity, by target.

Invariant: pure tables and the arithmetic of ``gpu_rows.hpp``. Every layout that a target has fits
its shared memory and 1024 threads; capacities rise, so that the first that fits is the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

__all__ = [
    "WIDE_BYTES",
    "Tables",
    "capacity",
    "cuda_layouts",
    "first_fit",
    "hip_layouts",
    "row_layouts",
    "shared_bytes",
    "tables_of",
    "wave_lanes",
]

_Layout = tuple[int, int, int]
_Layouts = tuple[_Layout, ...]
# (registers, lane bits, wave bits) of each capacity on CUDA, as measured fastest on an H100
# (docs/performance.md). Registers hold a row's neighbouring positions, so more of them save steps
# across lanes; too many leave too few threads to hide the memory's latency. Capacities go up by
# thirds and halves where sorting costs more than moving.
_LONG_ROWS = (
    (32, 2, 0),
    (24, 3, 0),
    (32, 3, 0),
    (24, 4, 0),
    (32, 4, 0),
    (24, 5, 0),
    (32, 5, 0),
    (24, 5, 1),
    (32, 5, 1),
    (24, 5, 2),
    (32, 5, 2),
    (24, 5, 3),
    (32, 5, 3),
    (32, 5, 4),
)
_SINGLE_ROWS = ((4, 0, 0), (8, 0, 0), (8, 1, 0), (16, 1, 0), (16, 2, 0), *_LONG_ROWS)
_DOUBLE_ROWS = (
    (4, 0, 0),
    (4, 1, 0),
    (8, 1, 0),
    (8, 2, 0),
    (16, 2, 0),
    (12, 3, 0),
    (16, 3, 0),
    (12, 4, 0),
    (16, 4, 0),
    (12, 5, 0),
    (16, 5, 0),
    (12, 5, 1),
    (16, 5, 1),
    (12, 5, 2),
    (16, 5, 2),
    (16, 5, 3),
    (16, 5, 4),
    (32, 5, 4),
)
# Short rows that adjoin but are no whole number of 16-byte accesses: a thread each, for they come
# to the threads through shared memory anyway.
_PAIR_ODD = ((16, 0, 0), (32, 0, 0))
_SINGLE_ODD = ((16, 0, 0), (24, 0, 0), (32, 0, 0))
_DOUBLE_ODD = ((8, 0, 0), (16, 0, 0), (32, 0, 0))
# Rows that are neighbours in memory: fewer lanes a row, so that more of them make one access.
_PAIR_COLUMNS = (
    (8, 0, 0),
    (16, 0, 0),
    (32, 0, 0),
    (8, 3, 0),
    (16, 3, 0),
    (16, 4, 0),
    (32, 4, 0),
    (32, 5, 0),
)
_SINGLE_COLUMNS = (
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (24, 0, 0),
    (32, 0, 0),
    (16, 2, 0),
    (16, 3, 0),
    (32, 3, 0),
    (32, 4, 0),
    (32, 5, 0),
)
_DOUBLE_COLUMNS = (
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (32, 0, 0),
    (8, 3, 0),
    (8, 4, 0),
    (16, 4, 0),
    (16, 5, 0),
)
# On AMD's GPUs, which nobody has measured yet: the same ideas. Exchanges within 16 lanes are cheap
# (DPP), those between halves of a wave are not, so rows of up to 512 stay within 16 lanes. Rows end
# where the shared memory does, and a thread has no more than 16 keys of 64 bits.
_WAVE64_ROWS = (
    *_SINGLE_ROWS[:5],
    (32, 2, 0),
    (24, 3, 0),
    (32, 3, 0),
    (24, 4, 0),
    (32, 4, 0),
    (24, 5, 0),
    (32, 5, 0),
    (24, 6, 0),
    (32, 6, 0),
    (24, 6, 1),
    (32, 6, 1),
    (24, 6, 2),
    (32, 6, 2),
    (24, 6, 3),
    (32, 6, 3),
)
_WAVE64_DOUBLE_ROWS = (
    *_DOUBLE_ROWS[:5],
    (12, 3, 0),
    (16, 3, 0),
    (12, 4, 0),
    (16, 4, 0),
    (12, 5, 0),
    (16, 5, 0),
    (12, 6, 0),
    (16, 6, 0),
    (12, 6, 1),
    (16, 6, 1),
    (12, 6, 2),
    (16, 6, 2),
    (16, 6, 3),
)
_WAVE64_PAIR_COLUMNS = (
    (8, 0, 0),
    (16, 0, 0),
    (32, 0, 0),
    (8, 3, 0),
    (16, 3, 0),
    (16, 4, 0),
    (16, 5, 0),
    (16, 6, 0),
)
_WAVE64_SINGLE_COLUMNS = (
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (24, 0, 0),
    (32, 0, 0),
    (16, 2, 0),
    (16, 3, 0),
    (32, 3, 0),
    (32, 4, 0),
    (16, 6, 0),
)
_HIP_DOUBLE_ODD = ((8, 0, 0), (16, 0, 0))
_HIP_DOUBLE_COLUMNS = (
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (8, 2, 0),
    (8, 3, 0),
    (8, 4, 0),
    (16, 4, 0),
    (16, 5, 0),
)
WIDE_BYTES = 16
# KiB of shared memory that a block may ask for, by compute capability (CUDA programming guide,
# technical specifications); the least of the newer ones where a capability is not known.
_SHARED_KIB = {"75": 64, "80": 163, "87": 163, "90": 227, "100": 227, "103": 227, "110": 227}
_LEAST_SHARED_KIB = 99
# Every AMD GPU has this much; gfx950 and gfx1250 have more.
_HIP_SHARED_KIB = 64


class Tables(NamedTuple):
    """The layouts for keys of one width: of rows, of short rows that adjoin, and of columns."""

    rows: _Layouts
    odd: _Layouts
    columns: _Layouts


def _by_width(pair: Tables, single: Tables, double: Tables) -> dict[int, Tables]:
    return {8: pair, 16: pair, 32: single, 64: double}


# Two lanes a row of 32 bytes, each with one access to it, are quicker than one lane with two; but
# where such rows come through shared memory, one is.
_CUDA_SINGLE_ROWS = tuple((4, 1, 0) if row == (8, 0, 0) else row for row in _SINGLE_ROWS)
_CUDA = _by_width(
    Tables(_SINGLE_ROWS, _PAIR_ODD, _PAIR_COLUMNS),
    Tables(_CUDA_SINGLE_ROWS, ((8, 0, 0), *_SINGLE_ODD), _SINGLE_COLUMNS),
    Tables(_DOUBLE_ROWS, _DOUBLE_ODD, _DOUBLE_COLUMNS),
)
# By the lanes of a wave. Waves of 32 lanes take what CUDA's warps do, as far as memory allows.
_HIP = {
    32: _by_width(
        Tables(_SINGLE_ROWS, _PAIR_ODD, _PAIR_COLUMNS),
        Tables(_SINGLE_ROWS, _SINGLE_ODD, _SINGLE_COLUMNS),
        Tables(_DOUBLE_ROWS, _HIP_DOUBLE_ODD, _HIP_DOUBLE_COLUMNS),
    ),
    64: _by_width(
        Tables(_WAVE64_ROWS, _PAIR_ODD, _WAVE64_PAIR_COLUMNS),
        Tables(_WAVE64_ROWS, _SINGLE_ODD, _WAVE64_SINGLE_COLUMNS),
        Tables(_WAVE64_DOUBLE_ROWS, _HIP_DOUBLE_ODD, _HIP_DOUBLE_COLUMNS),
    ),
}


def _is_hip(arch: str) -> bool:
    return arch.startswith("gfx")


def wave_lanes(arch: str) -> int:
    """Return the lanes of a wave (a warp) of a target: sm_90, gfx942, gfx11-generic."""
    if not _is_hip(arch):
        return 32
    number, is_generic, _ = arch.removeprefix("gfx").partition("-")
    # Behind the major version are a digit each of the minor one and the stepping.
    major = int(number if is_generic else number[:-2])
    return 64 if major < 10 else 32


def tables_of(bits: int, arch: str) -> Tables:
    """Return the layouts of a target for keys of a width."""
    return (_HIP[wave_lanes(arch)] if _is_hip(arch) else _CUDA)[bits]


if TYPE_CHECKING:
    _AccessedLayouts = tuple[tuple[int, int, int, Literal["rows", "columns"]], ...]


def _accessed(rows: Sequence[_Layout], layouts: Tables) -> _AccessedLayouts:
    return (
        *((*layout, "rows") for layout in rows),
        *((*layout, "rows") for layout in layouts.odd if layout not in rows),
        *((*layout, "columns") for layout in layouts.columns),
    )


def cuda_layouts(bits: int) -> _AccessedLayouts:
    """Return every layout for keys of a width: (registers, lane bits, wave bits, access)."""
    return _accessed(_CUDA[bits].rows, _CUDA[bits])


def hip_layouts(bits: int, arch: str) -> _AccessedLayouts:
    """Return every layout that an AMD GPU has for keys of a width, as `cuda_layouts` does."""
    return _accessed(row_layouts(bits, arch), tables_of(bits, arch))


def shared_bytes(layout: _Layout, bits: int, arch: str) -> int:
    """Return the shared memory of a block that sorts rows, as ``gpu_rows.hpp`` lays it out."""
    registers, _, warp_bits = layout
    lanes, waves = wave_lanes(arch), 1 << warp_bits
    key = max(bits // 8, 4)
    padding = WIDE_BYTES // key
    if (registers + padding) * lanes * waves * key > 1024 * _padded_kib(arch):
        padding = 0
    stage = max((lanes + padding) * registers, (registers + padding) * lanes)
    return max(4, waves) * stage * key


def _padded_kib(arch: str) -> int:
    """Return the KiB up to which rows are padded: ``most_shared_bytes`` of the target's header."""
    return _HIP_SHARED_KIB if _is_hip(arch) else max(_SHARED_KIB.values())


def row_layouts(bits: int, arch: str) -> list[_Layout]:
    """Return the layouts that an architecture has the shared memory for, by capacity."""
    if _is_hip(arch):
        most = _HIP_SHARED_KIB
    else:
        most = _SHARED_KIB.get(arch.removeprefix("sm_"), _LEAST_SHARED_KIB)
    rows = tables_of(bits, arch).rows
    return [layout for layout in rows if shared_bytes(layout, bits, arch) <= 1024 * most]


def capacity(layout: _Layout) -> int:
    """Return the longest row that a layout holds."""
    registers, lane_bits, warp_bits = layout
    return registers << lane_bits << warp_bits


def first_fit(layouts: Sequence[_Layout], length: int) -> _Layout | None:
    """Return the first layout that holds rows of a length, or None."""
    return next((each for each in layouts if capacity(each) >= length), None)
