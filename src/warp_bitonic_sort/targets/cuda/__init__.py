"""Defines the back end of NVIDIA GPUs.

Invariant: importing this package loads no driver.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ... import settings
from ..common.gpu_layouts import GpuLayouts
from ..common.target import DeviceProbe, Target
from . import arch as _arch
from . import layouts as _layouts
from .compiler import CudaRecipe


class CudaTarget(Target):
    """NVIDIA GPUs."""

    name = "cuda"
    title = "CUDA"
    platform = "cuda"
    recipe = CudaRecipe()
    example = "sm_90"

    @property
    def archs(self) -> tuple[str, ...]:
        """None: every architecture is that of a single kind of device."""
        return ()

    def layouts(self, arch: str) -> GpuLayouts:
        """Return the layouts that its kernels have on an architecture."""
        return _layouts.layouts(arch)

    def is_arch(self, arch: str) -> bool:
        """Tell whether there are kernels for an architecture."""
        return _arch.is_cuda_arch(arch)

    def arch_for(self, native: str, listed: Sequence[str]) -> str:
        """Return the architecture to build for: a device's own, or one from ``GPU_ARCH``."""
        return _arch.cuda_arch(native, listed)

    def native_archs(self) -> list[str]:
        """Return the architectures of the devices that the driver lists."""
        return _arch.native_cuda_archs()

    def runs_on(self, arch: str, native: str) -> bool:
        """Tell whether a kernel for an architecture runs on a device."""
        return _arch.runs_on(arch, native)

    def without_features(self, arch: str) -> str:
        """Return an architecture without the letter for features, as in ``sm_90a``."""
        return re.sub("^(sm_[0-9]+)[af]$", r"\1", arch)

    def probe(self) -> DeviceProbe:
        """Return what ``doctor`` checks."""
        return DeviceProbe(
            devices="CUDA devices",
            driver="NVIDIA driver (libcuda.so.1)",
            driver_libraries=("libcuda.so.1",),
            folders={"CUDA_HOME": settings.cuda_home},
            tools=("nvidia-smi",),
        )


TARGET = CudaTarget()
