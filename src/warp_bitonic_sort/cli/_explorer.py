"""Makes the explorer: a page of HTML in which values travel through a sorting network.

Invariant: the page is one file that loads nothing. Its networks are those of `_network_data`, and
its layouts those of the back ends; what the page does with them is in the folder ``explorer``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..targets import target_of
from ..targets.common.layouts import Rows
from ._network_data import LEAF_BITS, Comparator, kernel_steps, layers, leaf, network_steps

MAX_LENGTH = 64
_FOLDER = Path(__file__).parent / "explorer"
_MAX_BITS = MAX_LENGTH.bit_length() - 1
# Rows of a batch that is large enough for every layout.
_ROWS = 4096
# A GPU of a few lanes and warps, so that short rows are divided as long ones are on real ones.
_SMALL = {"registers": 4, "lanes": 4}

# What a step costs for 32-bit entries, by the place of its exchanges. The sources are
# target/cuda/target.hpp, target/amdgcn/target.hpp, target/simd/target.hpp and network/tile.hpp.
_CUDA = {
    "register": "A minimum and a maximum (VIMNMX twice). In leaves, every second comparator has a "
    "minimum and two IMAD instead: they keep another pipe busy.",
    "lane": "For each value: a shuffle (SHFL.BFLY), a comparison (ISETP) and a move under a "
    "condition (IMAD.MOV). Merges of several such steps go through shared memory at once: then "
    "each step is a minimum and a maximum again.",
    "warp": "For each value: a store to shared memory (STS), a barrier (BAR.SYNC), a load (LDS), "
    "and a minimum or a maximum.",
}
_AMD = {
    "register": "A minimum and a maximum (v_min, v_max).",
    "lane": "For each value: a comparison and a selection. The other lane's value is an operand "
    "(DPP) within 16 lanes, at no cost on most steps; farther lanes take ds_swizzle_b32, "
    "ds_bpermute_b32 or v_permlanex16_b32.",
    "warp": "For each value: a store to local memory (ds_write), a barrier (s_barrier), a load "
    "(ds_read), and a minimum or a maximum.",
}
_AVX512 = {
    "register": "A minimum and a maximum of 16 rows at once (vpminud, vpmaxud).",
    "tile": "Two loads from the L1 cache, a minimum and a maximum of 16 rows at once (vpminud, "
    "vpmaxud), and two stores. Several steps share the loads and stores.",
}
_TARGETS = (
    ("cuda", "NVIDIA GPU (CUDA)", "cuda", "sm_90", _CUDA),
    ("amd", "AMD GPU (HIP)", "hip", "gfx942", _AMD),
    ("avx512", "CPU (AVX-512)", "cpu", "x86-64-avx512", _AVX512),
)


def explorer_html(length: int = 16) -> str:
    """Return the page.

    Parameters
    ----------
    length : int, default 16
        How many values it begins with, 2 to `MAX_LENGTH`.
    """
    page = (_FOLDER / "page.html").read_text()
    # Within a script, "</" would end it.
    data = json.dumps(explorer_data(length), separators=(",", ":")).replace("</", "<\\/")
    parts = {
        "/* STYLE */": (_FOLDER / "style.css").read_text(),
        "/* DATA */": data,
        "/* SCRIPT */": (_FOLDER / "explorer.js").read_text(),
    }
    for mark, text in parts.items():
        page = page.replace(mark, text)
    return page


def explorer_data(length: int) -> dict[str, Any]:
    """Return what the page shows: networks, targets, and the length that it begins with.

    Parameters
    ----------
    length : int
        As for `explorer_html`.
    """
    bitonic = {
        bits: _flat(step.comparators for step in network_steps(1 << bits))
        for bits in range(1, _MAX_BITS + 1)
    }
    smallest = {bits: _flat(layers(leaf(bits))) for bits in LEAF_BITS}
    merged = {
        f"{bits},{leaf_bits}": _flat(kernel_steps(bits, leaf_bits))
        for bits in range(min(LEAF_BITS) + 1, _MAX_BITS + 1)
        for leaf_bits in LEAF_BITS
        if leaf_bits < bits
    }
    targets = [
        {"id": name, "title": title, "layouts": _layouts(target, arch), "costs": costs}
        for name, title, target, arch, costs in _TARGETS
    ]
    small = {
        "id": "small",
        "title": "A small GPU: 4 registers, 4 lanes",
        "layouts": [{"longest": MAX_LENGTH, **_SMALL, "rest": "warp"}],
        "costs": _CUDA,
    }
    return {
        "length": length,
        "longest": MAX_LENGTH,
        "bitonic": bitonic,
        "smallest": smallest,
        "merged": merged,
        "targets": [*targets, small],
    }


def _flat(steps: Iterable[Sequence[Comparator]]) -> list[list[int]]:
    """Return the positions of the comparators of each step, one behind the other."""
    return [[position for pair in step for position in pair] for step in steps]


def _layouts(target: str, arch: str) -> list[dict[str, Any]]:
    """Return where positions live, for rows of float32 with indices, by the longest row of each."""
    back_end = target_of(target)
    found: list[dict[str, Any]] = []
    for length in range(2, MAX_LENGTH + 1):
        rows = Rows("index", 32, length, "rows", False, _ROWS)
        layout = back_end.layouts(arch).choose(rows).layout
        # A CPU has a kernel for each short row, all of whose positions are registers. Longer rows
        # are sorted in blocks of registers, which are merged in a tile.
        registers = layout.registers
        if back_end.is_host:
            registers = 32 if layout.registers else 16
        place = {
            "registers": registers,
            "lanes": 1 << layout.lane_bits,
            "rest": "tile" if back_end.is_host else "warp",
        }
        if found and {**found[-1], "longest": 0} == {"longest": 0, **place}:
            found[-1]["longest"] = length
        else:
            found.append({"longest": length, **place})
    return found
