"""The compiler of kernels for the CPU: the host's C++ compiler, and its flags.

Invariant: a kernel neither throws nor asks for types, and needs no library.
"""

from __future__ import annotations

from ..common.host import HOST_FLAGS, HostRecipe
from .arch import CPU_ARCHS

_FLAGS = ("-O2", "-fno-exceptions", "-fno-rtti")


class CpuRecipe(HostRecipe):
    """How kernels for the CPU are compiled."""

    name = "cpu"

    def flags(self, arch: str) -> tuple[str, ...]:
        """Return the compiler's flags for an architecture, without include folders."""
        return (*HOST_FLAGS, *_FLAGS, *CPU_ARCHS[arch])
