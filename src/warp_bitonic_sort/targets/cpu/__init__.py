"""Defines the back end of the CPU.

Invariant: its kernels are shared libraries that run in this process.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..common.target import Target
from . import arch as _arch
from . import layouts as _layouts
from .compiler import CpuRecipe


class CpuTarget(Target):
    """The CPU that runs this process."""

    name = "cpu"
    title = "CPU"
    platform = "cpu"
    recipe = CpuRecipe()
    example = "x86-64-avx2"

    @property
    def archs(self) -> tuple[str, ...]:
        """All architectures."""
        return tuple(_arch.CPU_ARCHS)

    def layouts(self, arch: str) -> _layouts.CpuLayouts:
        """Return the layouts that its kernels have on an architecture."""
        return _layouts.CpuLayouts()

    def is_arch(self, arch: str) -> bool:
        """Tell whether there are kernels for an architecture."""
        return arch in _arch.CPU_ARCHS

    def arch_for(self, native: str | None = None, listed: Sequence[str] = ()) -> str:
        """Return the architecture to build for: ``WARP_SORT_CPU_ARCH``, else the processor's."""
        return _arch.cpu_arch(native)

    def kernel_arch(self, arch: str, payload: str, access: str) -> str:
        """Return the architecture that names a kernel: one, where several have its code."""
        return _arch.kernel_arch(arch, payload, access)

    def native_archs(self) -> list[str]:
        """Return the architecture of the processor that /proc/cpuinfo lists."""
        return [_arch.native_cpu_arch()]

    def runs_on(self, arch: str, native: str) -> bool:
        """Tell whether a kernel for an architecture runs on a processor."""
        return _arch.is_runnable(arch, native)

    def lesser_archs(self, arch: str) -> tuple[str, ...]:
        """Return architectures whose kernels run wherever those of arch do, best first."""
        return _arch.lesser_cpu_archs(arch)


TARGET = CpuTarget()
