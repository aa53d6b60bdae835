"""Defines the back end of AMD GPUs.

Invariant: importing this package loads no driver.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ... import settings
from ...errors import BuildError
from ..common.gpu_layouts import GpuLayouts
from ..common.target import DeviceProbe, Target
from . import arch as _arch
from . import layouts as _layouts
from .compiler import HipRecipe


class HipTarget(Target):
    """AMD GPUs."""

    name = "hip"
    title = "HIP"
    platform = "rocm"
    recipe = HipRecipe()
    example = "gfx942"

    @property
    def archs(self) -> tuple[str, ...]:
        """The families of devices."""
        return _arch.FAMILIES

    def layouts(self, arch: str) -> GpuLayouts:
        """Return the layouts that its kernels have on an architecture."""
        return _layouts.layouts(arch)

    def is_arch(self, arch: str) -> bool:
        """Tell whether there are kernels for an architecture."""
        return _arch.is_hip_arch(arch)

    def arch_for(self, native: str, listed: Sequence[str]) -> str:
        """Return the architecture to build for: a device's own, or one from ``GPU_ARCH``."""
        return _arch.hip_arch(native, listed)

    def native_archs(self) -> list[str]:
        """Return the architectures of the devices that Linux lists."""
        return _arch.native_hip_archs()

    def runs_on(self, arch: str, native: str) -> bool:
        """Tell whether a kernel for an architecture runs on a device."""
        return _arch.runs_on(arch, native)

    def without_features(self, arch: str) -> str:
        """Return an architecture without its features, as in ``gfx942:sramecc+:xnack-``."""
        return _arch.without_features(arch)

    def probe(self) -> DeviceProbe:
        """Return what ``doctor`` checks."""
        home = None
        with contextlib.suppress(BuildError):  # `doctor` reports the variable
            home = settings.rocm_path()
        names = ["libamdhip64.so", *(f"libamdhip64.so.{version}" for version in (7, 6, 5))]
        folders = [*([f"{home}/lib/"] if home else []), "", "/opt/rocm/lib/"]
        return DeviceProbe(
            devices="AMD GPUs",
            driver="HIP driver (libamdhip64.so, of ROCm)",
            driver_libraries=tuple(folder + name for folder in folders for name in names),
            folders={"ROCM_PATH": settings.rocm_path, "CK_DIR": settings.ck_dir},
            archs=tuple(self.native_archs()),
        )


TARGET = HipTarget()
