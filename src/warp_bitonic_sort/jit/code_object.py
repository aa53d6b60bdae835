"""Which machine a compiled file is for, read from its ELF header.

Invariant: total: any bytes have an answer, and no answer is a guess. Nothing is loaded.

The fields are those of the System V ABI's ELF header; what ``e_flags`` says is NVIDIA's (the number
of the compute capability: bits 8 to 15 since ABI version 8 of CUDA 13, the low 8 bits before) and
AMD's (LLVM, User Guide for AMDGPU Backend, table of EF_AMDGPU_MACH).
"""

from __future__ import annotations

import platform
import struct

__all__ = ["arch_of", "is_for"]

_X86_64, _AARCH64, _CUDA, _AMDGPU = 62, 183, 190, 224
_CPUS = {"x86_64": "x86-64", "amd64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}
_CUDA_ABI_OF_13 = 8
# EF_AMDGPU_MACH values.
_AMD = {
    0x02C: "gfx900", 0x02D: "gfx902", 0x02E: "gfx904", 0x02F: "gfx906", 0x030: "gfx908",
    0x031: "gfx909", 0x032: "gfx90c", 0x033: "gfx1010", 0x034: "gfx1011", 0x035: "gfx1012",
    0x036: "gfx1030", 0x037: "gfx1031", 0x038: "gfx1032", 0x039: "gfx1033", 0x03D: "gfx1035",
    0x03E: "gfx1034", 0x03F: "gfx90a", 0x040: "gfx940", 0x041: "gfx1100", 0x042: "gfx1013",
    0x043: "gfx1150", 0x044: "gfx1103", 0x045: "gfx1036", 0x046: "gfx1101", 0x047: "gfx1102",
    0x048: "gfx1200", 0x049: "gfx1250", 0x04A: "gfx1151", 0x04B: "gfx941", 0x04C: "gfx942",
    0x04E: "gfx1201", 0x04F: "gfx950", 0x051: "gfx9-generic", 0x052: "gfx10-1-generic",
    0x053: "gfx10-3-generic", 0x054: "gfx11-generic", 0x055: "gfx1152", 0x058: "gfx1153",
    0x059: "gfx12-generic", 0x05F: "gfx9-4-generic",
}  # fmt: skip


def arch_of(data: bytes) -> str | None:
    """Return what a file is for, as in ``sm_90``, ``gfx942`` or ``x86-64``; None if unknown.

    Parameters
    ----------
    data : bytes
        The file, or its first 64 bytes.
    """
    machine = _machine_of(data)
    if machine is None:
        return None
    abi_version = data[8]
    (flags,) = struct.unpack_from("<I", data, 48)
    if machine == _X86_64:
        return "x86-64"
    if machine == _AARCH64:
        return "aarch64"
    if machine == _CUDA:
        number = flags >> 8 & 0xFF if abi_version >= _CUDA_ABI_OF_13 else flags & 0xFF
        return f"sm_{number}"
    if machine == _AMDGPU:
        return _AMD.get(flags & 0xFF)
    return None


def _machine_of(data: bytes) -> int | None:
    if len(data) < 64 or data[:4] != b"\x7fELF" or data[4] != 2 or data[5] != 1:
        return None  # not an ELF file of 64 bits, little-endian
    (machine,) = struct.unpack_from("<H", data, 18)
    return int(machine)


def is_for(data: bytes, arch: str) -> bool:
    """Tell whether a file may be taken for one that was built for a target.

    Parameters
    ----------
    data : bytes
        The file.
    arch : str
        The target: of a GPU; of the CPU, whose file does not say which instructions it has beyond
        the machine's first; or ``host`` or ``generic``, for which it must be this machine's.
    """
    found = arch_of(data)
    if arch.startswith("gfx") and found is None:
        # A target that is newer than the table: whatever AMD's it is, the driver will say.
        return _machine_of(data) == _AMDGPU and arch not in _AMD.values()
    if arch.startswith(("sm_", "gfx")):
        return found == arch
    if arch in ("host", "generic"):
        return found == _CPUS.get(platform.machine().lower())
    return found is not None and arch.startswith(found)
