"""Handles the architectures of CUDA devices, as in ``sm_90``.

Invariant: a cubin runs on devices of the same major version and the same or a higher minor version.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Sequence

from ..common.elf import elf_header
from ..common.gpu_arch import fitting_archs

_CUDA_MACHINE = 190
# Since CUDA 13, the compute capability is in bits 8 to 15 of the flags; before, in the low 8 bits.
_CUDA_ABI_OF_13 = 8
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_MAJOR_AND_MINOR = (75, 76)


def is_cuda_arch(arch: str) -> bool:
    """Tell whether a name has the form of an architecture's."""
    return re.fullmatch("sm_[0-9]{2,}", arch) is not None


def cuda_arch(native: str, listed: Sequence[str]) -> str:
    """Return the architecture to build for: a device's own, or the best one of ``GPU_ARCH``."""
    return max(fitting_archs(native, listed, runs_on))


def runs_on(arch: str, native: str) -> bool:
    """Tell whether a cubin for an architecture runs on a device."""
    is_known = is_cuda_arch(arch) and is_cuda_arch(native)
    return is_known and arch[:-1] == native[:-1] and arch <= native


def arch_of(product: bytes) -> str | None:
    """Return the architecture that a cubin is for; None for another file."""
    header = elf_header(product)
    if header is None or header.machine != _CUDA_MACHINE:
        return None
    shift = 8 if header.abi_version >= _CUDA_ABI_OF_13 else 0
    return f"sm_{header.flags >> shift & 0xFF}"


def native_cuda_archs() -> list[str]:
    """Return the architectures of the CUDA devices that the driver lists."""
    archs = set()
    with contextlib.suppress(OSError, AttributeError):  # no driver, or another library
        driver = ctypes.CDLL("libcuda.so.1")
        device, number = ctypes.c_int(), 0
        is_ready = driver.cuInit(0) == 0
        while is_ready and driver.cuDeviceGet(ctypes.byref(device), number) == 0:
            version = (ctypes.c_int * 2)()
            for place, attribute in enumerate(_MAJOR_AND_MINOR):
                target = ctypes.byref(version, place * ctypes.sizeof(ctypes.c_int))
                driver.cuDeviceGetAttribute(target, attribute, device)
            archs.add(f"sm_{version[0]}{version[1]}")
            number += 1
    return sorted(archs)
