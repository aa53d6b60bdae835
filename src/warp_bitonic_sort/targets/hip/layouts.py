"""Lists the layouts of AMD GPUs, by the lanes of a warp (a wave).

Invariant: as in `common.gpu_layouts`.
"""

from __future__ import annotations

from ...kernels import Layout
from ..common import gpu_layouts as common
from ..common.first_layouts import first_layouts
from ..common.gpu_layouts import GpuLayouts, Tables, tables_by_entry
from ..common.layouts import layouts_of

# KiB of shared memory of every AMD GPU; gfx950 and gfx1250 have more.
_SHARED_KIB = 64
# Chosen as for CUDA, but not measured on a GPU. Exchanges within 16 lanes are cheap (DPP), those
# between halves of a warp are not; therefore rows of up to 512 stay within 16 lanes. The longest
# rows fill the shared memory, and a thread has at most 16 keys of 64 bits.
_WARP64_ROWS = layouts_of(
    *common.ENTRY32_ROWS[:5],
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
    (20, 6, 0),
    (24, 6, 0),
    (32, 6, 0),
    (20, 6, 1),
    (24, 6, 1),
    (32, 6, 1),
    (24, 6, 2),
    (32, 6, 2),
    (24, 6, 3),
    (32, 6, 3),
)
_WARP64_ENTRY16_ROWS = common.by_capacity(*_WARP64_ROWS, Layout(28, 2, 0))
_WARP64_ENTRY64_ROWS = layouts_of(
    *common.ENTRY64_ROWS[:5],
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
    (10, 6, 0),
    (12, 6, 0),
    (14, 6, 0),
    (16, 6, 0),
    (12, 6, 1),
    (16, 6, 1),
    (12, 6, 2),
    (16, 6, 2),
    (16, 6, 3),
)
# Longer columns than a thread has: few lanes a row, so that one access covers more rows.
_LANES16 = layouts_of((8, 3, 0), (16, 3, 0), (16, 4, 0))
_ENTRY16_COLUMNS = (*common.ENTRY16_THREADS, *_LANES16, *layouts_of((32, 4, 0), (32, 5, 0)))
_WARP64_ENTRY16_COLUMNS = (*common.ENTRY16_THREADS, *_LANES16, *layouts_of((16, 5, 0), (16, 6, 0)))
_ENTRY32_COLUMNS = layouts_of(
    *common.ENTRY32_THREADS,
    (16, 2, 0),
    (16, 3, 0),
    (32, 3, 0),
    (32, 4, 0),
    (32, 5, 0),
)
_WARP64_ENTRY32_COLUMNS = layouts_of(
    *common.ENTRY32_THREADS,
    (16, 2, 0),
    (16, 3, 0),
    (32, 3, 0),
    (32, 4, 0),
    (16, 6, 0),
)
_ENTRY64_UNALIGNED = layouts_of((8, 0, 0), (16, 0, 0))
_ENTRY64_COLUMNS = layouts_of(
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (8, 2, 0),
    (8, 3, 0),
    (8, 4, 0),
    (16, 4, 0),
    (16, 5, 0),
)
_WARP64_INDEX_ROWS = layouts_of(
    *common.INDEX_ROWS[:9],
    (12, 5, 0),
    (16, 5, 0),
    (12, 6, 0),
    (16, 6, 0),
    (12, 6, 1),
    (16, 6, 1),
    (12, 6, 2),
    (16, 6, 2),
)
# A compiler loads the vectors of all units of a lane at once. More of them exceed its registers.
_MAX_UNITS = 16
# Warps of 32 lanes have CUDA's layouts of rows that fit the shared memory. Rows in 10, 14, 20 and
# 28 registers were not measured on a GPU. Lanes share columns: warps that share them were not
# measured on a GPU, either.
_TABLES = {
    32: tables_by_entry(
        Tables(common.ENTRY16_ROWS, common.ENTRY16_UNALIGNED, _ENTRY16_COLUMNS),
        Tables(common.ENTRY32_ROWS, common.ENTRY32_UNALIGNED, _ENTRY32_COLUMNS),
        Tables(common.ENTRY64_ROWS, _ENTRY64_UNALIGNED, _ENTRY64_COLUMNS),
        Tables(common.INDEX_ROWS, (), common.INDEX_COLUMNS),
        Tables(common.INDEX64_ROWS, (), common.INDEX64_COLUMNS),
    ),
    64: tables_by_entry(
        Tables(_WARP64_ENTRY16_ROWS, common.ENTRY16_UNALIGNED, _WARP64_ENTRY16_COLUMNS),
        Tables(_WARP64_ROWS, common.ENTRY32_UNALIGNED, _WARP64_ENTRY32_COLUMNS),
        Tables(_WARP64_ENTRY64_ROWS, _ENTRY64_UNALIGNED, _ENTRY64_COLUMNS),
        Tables(_WARP64_INDEX_ROWS, (), common.INDEX_COLUMNS),
        Tables(_WARP64_INDEX_ROWS, (), common.INDEX64_COLUMNS),
    ),
}


def warp_lanes(arch: str) -> int:
    """Return the lanes of a warp: 64 on gfx9, 32 on later architectures."""
    number, is_generic, _ = arch.removeprefix("gfx").partition("-")
    # The last two digits are the minor version and the stepping.
    major = int(number if is_generic else number[:-2])
    return 64 if major < 10 else 32


def layouts(arch: str) -> GpuLayouts:
    """Return the layouts of an architecture, as in ``gfx942`` or ``gfx11-generic``."""
    lanes = warp_lanes(arch)
    first = first_layouts(lanes, _SHARED_KIB, _MAX_UNITS)
    return GpuLayouts(_TABLES[lanes], lanes, _SHARED_KIB, _SHARED_KIB, 4, first)
