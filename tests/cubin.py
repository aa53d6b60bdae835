"""CUDA code objects as nvcc writes them, without the code: all that a launcher reads, and no nvcc.

test_cuda_driver.py compares them with nvcc's own.
"""

import re
import struct
from pathlib import Path

from warp_bitonic_sort.jit import toolchain

_ABI = (toolchain.INCLUDE_DIR / "warp_bitonic_sort" / "gpu_abi.h").read_text()
ABI_VERSION = int(re.search(r"define WBS_GPU_ABI_VERSION (\d+)", _ABI)[1])
MAX_BATCH_DIMS = int(re.search(r"define WBS_GPU_MAX_BATCH_DIMS (\d+)", _ABI)[1])

CODECS = ("bits", "floating", "fnuz")
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_STRTAB, _SYMTAB, _PROGBITS = 3, 2, 1
_OBJECT, _FUNCTION = 1, 0x12


def constant(
    *,
    name: str = "sort_cuda_of_a_test",
    codec: str = "floating",
    bits: int = 32,
    threads: int = 128,
    rows: int = 64,
    shared_bytes: int = 4096,
    capacity: int = 32,
    abi_version: int = ABI_VERSION,
) -> bytes:
    """What a kernel says of itself: the struct wbs_gpu_kernel."""
    return struct.pack(
        "<8I96s", abi_version, bits // 8, CODECS.index(codec), threads, rows, shared_bytes, 1,
        capacity, name.encode(),
    )  # fmt: skip


def cubin(
    said: bytes,
    arch: int = 80,
    *,
    function: str = "warp_bitonic_sort_rows",
    abi: int = 8,
) -> bytes:
    """A code object for an architecture; older toolkits write ABI version 7."""
    names = b"\0.shstrtab\0.strtab\0.symtab\0.nv.constant3\0.text\0"
    strings = b"\0warp_bitonic_sort_gpu_kernel\0" + function.encode() + b"\0"
    symbols = (
        bytes(_SYMBOL.size)
        + _SYMBOL.pack(strings.index(b"warp_bitonic_sort_gpu"), _OBJECT, 0, 4, 0, len(said))
        + _SYMBOL.pack(strings.index(function.encode()), _FUNCTION, 0, 5, 0, 8)
    )
    bodies = [
        (b".shstrtab", _STRTAB, 0, names),
        (b".strtab", _STRTAB, 0, strings),
        (b".symtab", _SYMTAB, 2, symbols),
        (b".nv.constant3", _PROGBITS, 0, said),
        (b".text", _PROGBITS, 0, bytes(8)),
    ]
    sections = bytes(_SECTION.size)
    content = b""
    for name, kind, link, body in bodies:
        content += bytes(-len(content) % 8)
        at = _HEADER.size + len(content)
        entry = _SYMBOL.size if kind == _SYMTAB else 0
        sections += _SECTION.pack(
            names.index(name + b"\0"), kind, 0, 0, at, len(body), link, 0, 8, entry
        )
        content += body
    content += bytes(-len(content) % 8)
    machine, executable = 190, 2
    identity = b"\x7fELF\x02\x01\x01" + (b"\x41\x08" if abi == 8 else b"\x33\x07")
    flags = arch << 8 if abi == 8 else arch << 16 | arch
    header = _HEADER.pack(
        identity, executable, machine, 1, 0, 0, _HEADER.size + len(content), flags,
        _HEADER.size, 0, 0, _SECTION.size, len(bodies) + 1, 1,
    )  # fmt: skip
    return header + content + sections


def write(path: Path, arch: int = 80, **said: object) -> str:
    """Write a code object whose kernel says that of itself; return its path as text."""
    path.write_bytes(cubin(constant(**said), arch))
    return str(path)
