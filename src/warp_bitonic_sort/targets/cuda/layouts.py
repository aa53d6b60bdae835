"""Lists the layouts of NVIDIA GPUs.

Invariant: as in `common.gpu_layouts`.
"""

from __future__ import annotations

from ...kernels import Layout
from ..common import gpu_layouts as common
from ..common.first_layouts import first_layouts
from ..common.gpu_layouts import GpuLayouts, Tables, tables_by_entry
from ..common.layouts import layouts_of

# KiB of shared memory that a block may use, by compute capability (CUDA programming guide,
# technical specifications). Other capabilities have the lowest of the newer ones.
_SHARED_KIB = {"75": 64, "80": 163, "87": 163, "90": 227, "100": 227, "103": 227, "110": 227}
_LOWEST_SHARED_KIB = 99
# Capabilities whose GPUs, and parts of these, have room for a cluster of 8 blocks. Smaller GPUs may
# not (CUDA programming guide, thread block clusters).
_WITH_CLUSTERS = ("90", "100", "103")
# For rows of 32 bytes, two lanes with one access each are faster than one lane with two accesses.
# Staged through shared memory, one lane is faster.
_ENTRY32_ROWS = tuple(
    Layout(4, 1, 0) if layout == Layout(8, 0, 0) else layout for layout in common.ENTRY32_ROWS
)
# Columns of more elements than a thread has are shared by several warps: as many columns as a warp
# has lanes, of 16 bits twice as many. Of the longest, lanes share fewer, where these are as fast or
# shared memory is short.
_ENTRY16_COLUMNS = layouts_of(
    *common.ENTRY16_THREADS,
    (24, 0, 1),
    (16, 0, 2),
    (24, 0, 2),
    (32, 0, 2),
    (24, 0, 3),
    (32, 0, 3),
    (48, 0, 3),
    (32, 0, 4),
    (32, 0, 5),
    (32, 5, 0),
)
_ENTRY32_COLUMNS = layouts_of(
    *common.ENTRY32_THREADS,
    (24, 0, 1),
    (32, 0, 1),
    (48, 0, 1),
    (32, 0, 2),
    (24, 0, 3),
    (32, 0, 3),
    (48, 0, 3),
    (32, 0, 4),
    (48, 0, 4),
    (32, 5, 0),
)
_ENTRY64_COLUMNS = layouts_of(
    *common.ENTRY64_THREADS,
    (12, 0, 2),
    (16, 0, 2),
    (24, 0, 2),
    (16, 0, 3),
    (24, 0, 3),
    (16, 4, 0),
    (16, 5, 0),
)
_TABLES = tables_by_entry(
    Tables(common.ENTRY16_ROWS, common.ENTRY16_UNALIGNED, _ENTRY16_COLUMNS),
    Tables(_ENTRY32_ROWS, (Layout(8), *common.ENTRY32_UNALIGNED), _ENTRY32_COLUMNS),
    Tables(common.ENTRY64_ROWS, common.ENTRY64_UNALIGNED, _ENTRY64_COLUMNS),
    Tables(common.INDEX_ROWS, (), common.INDEX_COLUMNS),
    Tables(common.INDEX64_ROWS, (), common.INDEX64_COLUMNS),
)


def layouts(arch: str) -> GpuLayouts:
    """Return the layouts of an architecture, as in ``sm_90``."""
    capability = arch.removeprefix("sm_")
    shared_kib = _SHARED_KIB.get(capability, _LOWEST_SHARED_KIB)
    first = first_layouts(32, shared_kib, has_clusters=capability in _WITH_CLUSTERS)
    return GpuLayouts(_TABLES, 32, shared_kib, max(_SHARED_KIB.values()), 8, first)
