"""Which target to build for a device: its own, or what ``GPU_ARCH`` lists for it.

Invariant: what is returned runs on the device; a list that holds nothing for it is an error, and
what it holds for other makers' devices does no harm.
"""

from __future__ import annotations

import re
from typing import Literal

from .. import settings
from ..errors import ToolError

__all__ = ["FAMILIES", "backend_of", "cuda_arch", "gpu_archs", "hip_arch", "is_generic", "runs_on"]

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
# Families of AMD GPUs, each of which is a target.
FAMILIES = tuple(_GENERIC)


def is_generic(arch: str) -> bool:
    """Tell whether a target is a family of AMD GPUs, as ``gfx11-generic`` is."""
    return arch in _GENERIC


def gpu_archs() -> list[str]:
    """Return the targets that ``GPU_ARCH`` lists, each checked; empty for a device's own."""
    archs = settings.gpu_archs()
    for arch in archs:
        if arch not in _GENERIC and re.fullmatch(r"sm_[0-9]{2,}|gfx[0-9a-f]{3,}", arch) is None:
            raise ToolError(
                f"GPU_ARCH: expected native or a list such as sm_90,gfx942 (without features, as "
                f"in :xnack-), got {arch!r} in it."
            )
    return archs


def cuda_arch(native: str) -> str:
    """Return the target to build for a device: its own, or what ``GPU_ARCH`` lists for it.

    Parameters
    ----------
    native : str
        The device's own target, as in ``sm_90``.
    """
    asked = gpu_archs()
    if not asked or native in asked:
        return native
    fitting = [arch for arch in asked if runs_on(arch, native)]
    if not fitting:
        raise _none_runs(asked, native)
    return max(fitting)


def backend_of(arch: str) -> Literal["cuda", "hip"] | None:
    """Return whose GPUs a target is of; None for none that there are kernels for."""
    if re.fullmatch(r"sm_[0-9]{2,}", arch):
        return "cuda"
    is_hip = arch in _GENERIC or re.fullmatch(r"gfx(?:9|1[0-9])[0-9a-f]{2}", arch)
    return "hip" if is_hip else None


def runs_on(arch: str, native: str) -> bool:
    """Tell whether a code object for a target runs on a device.

    Parameters
    ----------
    arch : str
        The target that it was built for, as in ``sm_80`` or ``gfx11-generic``.
    native : str
        The device's own target, as in ``sm_90`` or ``gfx942:sramecc+:xnack-``.
    """
    native = native.partition(":")[0]
    if arch.startswith("sm_") and native.startswith("sm_"):
        # On devices of its major version whose minor version is no less.
        return arch[:-1] == native[:-1] and arch <= native
    return arch == native or native in _GENERIC.get(arch, ())


def hip_arch(native: str) -> str:
    """Return the target to build for an AMD GPU: its own, or what ``GPU_ARCH`` lists for it.

    Parameters
    ----------
    native : str
        The device's own target, as in ``gfx942:sramecc+:xnack-``. Its features are dropped: code
        that is built without them runs whatever they are.
    """
    native = native.partition(":")[0]
    if re.fullmatch(r"gfx(?:9|1[0-9])[0-9a-f]{2}", native) is None:
        raise ToolError(
            f"x: it is on a device of target {native}, and there are kernels for gfx9 and newer "
            f"ones only. Move x to the CPU and sort it there."
        )
    asked = gpu_archs()
    if not asked or native in asked:
        return native
    fitting = [arch for arch in asked if runs_on(arch, native)]
    if not fitting:
        raise _none_runs(asked, native)
    return fitting[0]


def _none_runs(asked: list[str], native: str) -> ToolError:
    return ToolError(
        f"GPU_ARCH: none of {', '.join(asked)} runs on this device, which is "
        f"{native}; add that, or set GPU_ARCH=native."
    )
