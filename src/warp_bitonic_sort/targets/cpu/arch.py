"""Lists the CPU's architectures, the flags of each, and which of them a processor runs.

Invariant: no program is run. Under valgrind, qemu-user or Rosetta, /proc/cpuinfo lists another
processor than the one that runs this process. The runtime, once loaded, asks the right one.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

from ... import settings
from ...errors import ToolError

# Not -march=native, so that equal flags mean equal code on all machines that share a cache. Not
# x86-64-v3, which older compilers do not know. csrc/driver/cpu_arch.hpp tests for the features that
# these flags imply: change both.
_AVX2_FLAGS = ("-mavx2", "-mbmi2", "-mprfchw")
CPU_ARCHS: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-avx2": _AVX2_FLAGS,
    "x86-64-avx512": (*_AVX2_FLAGS, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"),
    "aarch64": (),
    "generic": (),
}
# A processor of a level also runs kernels for the levels before it.
_LEVELS = ("x86-64", "x86-64-avx2", "x86-64-avx512")
_AVX2 = {"avx2", "bmi2"}
_AVX512 = {"avx512f", "avx512bw", "avx512vl", "avx512dq"}
_CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def _listed_cpu_arch() -> str | None:
    """Return the architecture of the processor in /proc/cpuinfo; None if it is unknown."""
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return "aarch64"
    if machine not in ("x86_64", "amd64"):
        return "generic"
    try:
        with _CPUINFO.open("rb", buffering=0) as file:
            # One read contains the first processor. For a whole file, Linux queries every one.
            text = file.read(1 << 13).decode("latin-1")
    except OSError:
        return None
    line = next((line for line in text.splitlines() if line.startswith("flags")), None)
    if line is None:  # this process is emulated on an Arm processor
        return None
    flags = set(line.partition(":")[2].split())
    if flags >= _AVX512 | _AVX2:
        return "x86-64-avx512"
    return "x86-64-avx2" if flags >= _AVX2 else "x86-64"


def native_cpu_arch() -> str:
    """Return the best architecture of the processor in /proc/cpuinfo."""
    return _listed_cpu_arch() or "x86-64"


def is_runnable(arch: str, native: str) -> bool:
    """Tell whether a processor whose best architecture is native runs kernels for arch."""
    return arch in (native, "generic", *lesser_cpu_archs(native))


def cpu_arch(native: str | None = None) -> str:
    """Return the architecture to build for: ``WARP_SORT_CPU_ARCH``, else the processor's best.

    Parameters
    ----------
    native : str, optional
        The processor's best architecture (default: that of the processor in /proc/cpuinfo).

    Raises
    ------
    ToolError
        ``WARP_SORT_CPU_ARCH`` is not an architecture, or the processor does not run it.
    """
    known = native or _listed_cpu_arch()
    chosen = settings.cpu_arch()
    if chosen is None or chosen == "native":
        return known or "x86-64"
    if chosen not in CPU_ARCHS:
        raise ToolError(
            f"WARP_SORT_CPU_ARCH: expected one of {', '.join(CPU_ARCHS)} or native, got {chosen!r}."
        )
    # If the processor is unknown, the variable counts until the runtime is loaded.
    best = known or _LEVELS[-1]
    if not is_runnable(chosen, best):
        runs = [*lesser_cpu_archs(best)[::-1], *dict.fromkeys((best, "generic"))]
        raise ToolError(
            f"WARP_SORT_CPU_ARCH: this machine ({best}) cannot run kernels built for {chosen!r}; "
            f"it runs {', '.join(runs)}."
        )
    return chosen


def lesser_cpu_archs(arch: str) -> tuple[str, ...]:
    """Return the architectures whose kernels run wherever those of arch do, the best first."""
    return _LEVELS[: _LEVELS.index(arch)][::-1] if arch in _LEVELS else ()


def buildable_cpu_archs() -> list[str]:
    """Return the architectures that this machine's compiler builds for."""
    native = native_cpu_arch()
    return [*(_LEVELS if native in _LEVELS else [native]), "generic"]
