"""Handles the architectures of AMD GPUs, as ``gfx942``, and their families, as ``gfx11-generic``.

Invariant: an architecture's name has no features (``:xnack-``). Code that is compiled without them
runs with any features of the device.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import ToolError
from ..common.elf import elf_header
from ..common.gpu_arch import fitting_archs

# The devices that each of LLVM's generic targets runs on (LLVM, User Guide for AMDGPU Backend,
# generic processors).
_GENERIC = {
    "gfx9-generic": ("gfx900", "gfx902", "gfx904", "gfx906", "gfx909", "gfx90c"),
    "gfx9-4-generic": ("gfx940", "gfx941", "gfx942", "gfx950"),
    "gfx10-1-generic": ("gfx1010", "gfx1011", "gfx1012", "gfx1013"),
    "gfx10-3-generic": tuple(f"gfx103{stepping}" for stepping in range(7)),
    "gfx11-generic": tuple(
        f"gfx11{number}" for number in ("00", "01", "02", "03", "50", "51", "52", "53")
    ),
    "gfx12-generic": ("gfx1200", "gfx1201"),
}
FAMILIES = tuple(_GENERIC)
_AMDGPU_MACHINE = 224
# EF_AMDGPU_MACH values (LLVM, User Guide for AMDGPU Backend).
_MACHINES = {
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
_KFD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")


def is_generic(arch: str) -> bool:
    """Tell whether an architecture is a family of devices, as ``gfx11-generic`` is."""
    return arch in _GENERIC


def is_hip_arch(arch: str) -> bool:
    """Tell whether there are kernels for an architecture: gfx9 and newer."""
    return is_generic(arch) or re.fullmatch("gfx(?:9|1[0-9])[0-9a-f]{2}", arch) is not None


def without_features(arch: str) -> str:
    """Return an architecture without its features, as in ``gfx942:sramecc+:xnack-``."""
    return arch.partition(":")[0]


def hip_arch(native: str, listed: Sequence[str]) -> str:
    """Return the architecture to build for: a device's own, or the first of ``GPU_ARCH``."""
    arch = without_features(native)
    if not is_hip_arch(arch):
        raise ToolError(
            f"x: it is on a device of architecture {arch}, and kernels exist only for gfx9 and "
            f"newer. Move x to the CPU and sort it there."
        )
    return fitting_archs(arch, listed, runs_on)[0]


def runs_on(arch: str, native: str) -> bool:
    """Tell whether a code object for an architecture, or for a family, runs on a device."""
    native = without_features(native)
    return arch == native or native in _GENERIC.get(arch, ())


def is_amdgpu(product: bytes) -> bool:
    """Tell whether a file is a single code object, not a bundle."""
    header = elf_header(product)
    return header is not None and header.machine == _AMDGPU_MACHINE


def arch_of(product: bytes) -> str | None:
    """Return the architecture that a code object is for; None for another file or a new one."""
    header = elf_header(product)
    if header is None or header.machine != _AMDGPU_MACHINE:
        return None
    return _MACHINES.get(header.flags & 0xFF)


def is_for(product: bytes, arch: str) -> bool:
    """Tell whether a code object may be one for an architecture.

    If the table does not list the architecture, any AMD code object may be, and the driver checks.
    """
    product_arch = arch_of(product)
    if product_arch is None:
        return is_amdgpu(product) and arch not in _MACHINES.values()
    return product_arch == arch


def native_hip_archs(nodes: Path = _KFD_NODES) -> list[str]:
    """Return the architectures of the AMD GPUs that Linux lists."""
    archs = set()
    for file in nodes.glob("*/properties"):
        with contextlib.suppress(OSError):
            version = re.search(r"^gfx_target_version (\d+)$", file.read_text(), re.MULTILINE)
            # CPUs are nodes, too, with version 0.
            if version and int(version[1]) > 0:
                major, rest = divmod(int(version[1]), 10000)
                minor, stepping = divmod(rest, 100)
                archs.add(f"gfx{major}{minor:x}{stepping:x}")
    return sorted(archs)
