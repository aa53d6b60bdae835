"""Describes how kernels for the CPU are compiled: by the host's C++ compiler.

Invariant: kernels use neither exceptions nor run-time type information, and need no library.
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
