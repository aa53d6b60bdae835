"""CUDA code objects as nvcc writes them, without the code: all that a runtime reads, and no nvcc.

test_cuda_sort.py compares them with nvcc's own.
"""

import re
import struct
from pathlib import Path
from typing import get_args

from support import elf
from warp_bitonic_sort.kernels import Selection
from warp_bitonic_sort.targets.common import sources

_ABI = (sources.INCLUDE_DIR / "warp_bitonic_sort" / "abi.h").read_text()
ABI_VERSION = int(re.search(r"define WBS_ABI_VERSION (\d+)", _ABI)[1])
MAX_BATCH_DIMS = int(re.search(r"define WBS_MAX_BATCH_DIMS (\d+)", _ABI)[1])

# The members of wbs_gpu_kernel; the name is behind ten of four bytes.
KERNEL = "<10I104s4I"
NAME_OFFSET = 40
CODECS = ("integer", "ieee", "fnuz")
SELECTIONS = get_args(Selection)
PAYLOADS = ("none", "index", "value32", "value64")


def constant(
    *,
    name: str = "sort_cuda_of_a_test",
    codec: str = "ieee",
    bits: int = 32,
    payload: str = "none",
    selection: str = "all",
    blocks: int = 1,
    threads: int = 128,
    rows: int = 64,
    shared_bytes: int = 4096,
    capacity: int = 32,
    abi_version: int = ABI_VERSION,
) -> bytes:
    """The description of a kernel: the struct wbs_gpu_kernel."""
    access = 0
    inputs, outputs = {"none": (1, 1), "index": (1, 2)}.get(payload, (2, 2))
    return struct.pack(
        KERNEL, abi_version, SELECTIONS.index(selection), PAYLOADS.index(payload),
        CODECS.index(codec), bits, access, inputs, outputs, 1, capacity, name.encode(), blocks,
        threads, rows, shared_bytes,
    )  # fmt: skip


def cubin(
    said: bytes,
    arch: int = 80,
    *,
    function: str = "warp_bitonic_sort_rows",
    abi: int = 8,
) -> bytes:
    """A code object for an architecture; older toolkits write ABI version 7."""
    table, strings = elf.symbols(
        [
            elf.Symbol(b"warp_bitonic_sort_gpu_kernel", elf.OBJECT, 4, 0, len(said)),
            elf.Symbol(function.encode(), elf.FUNCTION, 5, 0, 8),
        ]
    )
    sections = [
        elf.Section(b".strtab", elf.STRTAB, strings),
        elf.Section(b".symtab", elf.SYMTAB, table, link=2),
        elf.Section(b".nv.constant3", elf.PROGBITS, said),
        elf.Section(b".text", elf.PROGBITS, bytes(8)),
    ]
    executable, machine = 2, 190
    flags = arch << 8 if abi == 8 else arch << 16 | arch
    identity = b"\x41\x08" if abi == 8 else b"\x33\x07"
    return elf.elf(identity, executable, machine, flags, sections)


def write(path: Path, arch: int = 80, **said: object) -> str:
    """Write a code object with a kernel of this description; return its path as text."""
    path.write_bytes(cubin(constant(**said), arch))
    return str(path)
