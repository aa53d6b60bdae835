"""What can be built: a specification, its name, and the text of its translation unit.

Invariant: pure. A specification is a value; its name and its text depend on nothing else, so that
equal specifications share one cache entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

__all__ = [
    "LAUNCHER",
    "Access",
    "Artifact",
    "CpuKernel",
    "CudaKernel",
    "GpuKernel",
    "HipKernel",
    "Kernel",
    "Launcher",
]


# Making a protocol or a Literal takes as long as importing a small module; every start would pay.
if TYPE_CHECKING:
    Access = Literal["rows", "columns", "any"]

    class Artifact(Protocol):
        """One thing that the build makes: a translation unit and the library that comes of it."""

        @property
        def name(self) -> str:
            """The name of its folder in the cache; letters, digits and underscores."""

        @property
        def kind(self) -> Literal["cpu_kernel", "cuda_kernel", "hip_kernel", "launcher"]:
            """Which of the toolchain's recipes builds it."""

        @property
        def arch(self) -> str:
            """The target it is built for."""

        def source(self) -> str:
            """Return the translation unit."""

else:
    Access = str
    Artifact = object


class CpuKernel(NamedTuple):
    """A sorting kernel for the CPU.

    Parameters
    ----------
    codec : str
        The class of its keys, as ``key.hpp`` names it: bits, floating or fnuz.
    bits : int
        The width of a key: 8, 16, 32 or 64.
    capacity : int
        The row length that it is unrolled for, held in registers; 0 for a kernel that takes any
        length and sorts in an L1 tile.
    access : str
        What it may assume of the strides: ``rows`` and ``columns`` for register kernels, ``any``.
    arch : str
        The target, one of `toolchain.CPU_ARCHS`.
    """

    codec: Literal["bits", "floating", "fnuz"]
    bits: int
    capacity: int
    access: Access
    arch: str

    @property
    def kind(self) -> Literal["cpu_kernel"]:
        """Which of the toolchain's recipes builds it."""
        return "cpu_kernel"

    @property
    def layout(self) -> str:
        """Where the positions of a row live while it is sorted."""
        return f"registers{self.capacity}" if self.capacity else "tile"

    @property
    def name(self) -> str:
        """The name of its folder in the cache."""
        arch = self.arch.replace("-", "_")
        return f"sort_cpu_{self.codec}{self.bits}_{self.layout}_{self.access}_{arch}"

    def source(self) -> str:
        """Return the translation unit: one macro of ``cpu_kernel.hpp``."""
        if self.capacity:
            call = (
                f'WARP_BITONIC_SORT_CPU_REGISTERS("{self.name}", '
                f"{self.codec}, {self.bits}, {self.capacity}, {self.access})"
            )
        else:
            call = f'WARP_BITONIC_SORT_CPU_TILE("{self.name}", {self.codec}, {self.bits})'
        return f"#include <warp_bitonic_sort/cpu_kernel.hpp>\n\n{call}\n"


class GpuKernel(NamedTuple):
    """What sorting kernels for devices have in common, whoever makes the devices.

    Parameters
    ----------
    codec : str
        The class of its keys, as ``key.hpp`` names it: bits, floating or fnuz.
    bits : int
        The width of a key: 8, 16, 32 or 64.
    registers : int
        Positions of a row that each lane holds.
    lane_bits, wave_bits : int
        A row is held by 2^lane_bits lanes of each of 2^wave_bits waves (warps).
    access : str
        What it is quick at, for it takes any strides: ``rows`` whose elements are neighbours, or
        ``columns``, rows that are neighbours.
    arch : str
        The target, as in ``sm_90`` or ``gfx942``.
    """

    codec: Literal["bits", "floating", "fnuz"]
    bits: int
    registers: int
    lane_bits: int
    wave_bits: int
    access: Literal["rows", "columns"]
    arch: str

    @property
    def backend(self) -> Literal["cuda", "hip"]:
        """Whose devices it is for."""
        return "hip" if self.arch.startswith("gfx") else "cuda"

    @property
    def capacity(self) -> int:
        """The longest row that it sorts; shorter ones are padded in registers."""
        return self.registers << self.lane_bits << self.wave_bits

    @property
    def layout(self) -> str:
        """Where the positions of a row live while it is sorted."""
        waves = f"waves{1 << self.wave_bits}_" if self.wave_bits else ""
        return f"{waves}lanes{1 << self.lane_bits}_registers{self.registers}"

    def source(self) -> str:
        """Return the translation unit: one macro of ``gpu_kernel.hpp``."""
        return (
            "#include <warp_bitonic_sort/gpu_kernel.hpp>\n\n"
            f'WARP_BITONIC_SORT_GPU_KERNEL("{self.name}", {self.access}, {self.codec}, '
            f"{self.bits}, {self.registers}, {self.lane_bits}, {self.wave_bits})\n"
        )

    @property
    def name(self) -> str:
        """The name of its folder in the cache."""
        # Generic targets have hyphens, as in gfx11-generic.
        arch = self.arch.replace("-", "_")
        return f"sort_{self.backend}_{self.codec}{self.bits}_{self.layout}_{self.access}_{arch}"


class CudaKernel(GpuKernel):
    """A sorting kernel for CUDA devices of one architecture, as in ``sm_90``."""

    @property
    def kind(self) -> Literal["cuda_kernel"]:
        """Which of the toolchain's recipes builds it."""
        return "cuda_kernel"


class HipKernel(GpuKernel):
    """A sorting kernel for AMD GPUs of one architecture, as in ``gfx942``, or of a family of them.

    Its lanes are 64 to a wave on gfx9, 32 on later ones (`plan.wave_lanes`).
    """

    @property
    def kind(self) -> Literal["hip_kernel"]:
        """Which of the toolchain's recipes builds it."""
        return "hip_kernel"


Kernel = CpuKernel | CudaKernel | HipKernel


class Launcher:
    """The library through which Python and C++ call the kernels; one for a machine."""

    @property
    def arch(self) -> str:
        """The target: this machine."""
        return "host"

    @property
    def kind(self) -> Literal["launcher"]:
        """Which of the toolchain's recipes builds it."""
        return "launcher"

    @property
    def name(self) -> str:
        """The name of its folder in the cache."""
        return "launcher"

    def source(self) -> str:
        """Return the translation unit: the package's own ``tvm_api.cc``."""
        return "#include <tvm_api.cc>\n"


LAUNCHER = Launcher()
