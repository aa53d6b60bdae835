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
_AVX512_FLAGS = (*_AVX2_FLAGS, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
CPU_ARCHS: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-avx2": _AVX2_FLAGS,
    "x86-64-avx512": _AVX512_FLAGS,
    # The same instructions; rows of keys without a payload have vectors of 256 bits.
    "x86-64-avx512-256": (*_AVX512_FLAGS, "-DWARP_BITONIC_SORT_ROW_SIMD_BYTES=32"),
    "aarch64": (),
    "generic": (),
}
# The other architectures that a processor of each one runs, the best first. The two of AVX-512 run
# each other's kernels.
_ALSO_RUNS: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-avx2": ("x86-64",),
    "x86-64-avx512": ("x86-64-avx512-256", "x86-64-avx2", "x86-64"),
    "x86-64-avx512-256": ("x86-64-avx512", "x86-64-avx2", "x86-64"),
}
_AVX2 = {"avx2", "bmi2"}
_AVX512 = {"avx512f", "avx512bw", "avx512vl", "avx512dq"}
# Vendor and family of Zen 4, whose units have 256 bits.
_ZEN4 = ("AuthenticAMD", "25")
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
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    processor = {name.strip(): value.strip() for name, _, value in lines}
    if "flags" not in processor:  # this process is emulated on an Arm processor
        return None
    flags = set(processor["flags"].split())
    if flags >= _AVX512 | _AVX2:
        is_zen4 = (processor.get("vendor_id"), processor.get("cpu family")) == _ZEN4
        return "x86-64-avx512-256" if is_zen4 else "x86-64-avx512"
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
    best = known or "x86-64-avx512"
    if not is_runnable(chosen, best):
        runs = [*lesser_cpu_archs(best)[::-1], *dict.fromkeys((best, "generic"))]
        raise ToolError(
            f"WARP_SORT_CPU_ARCH: this machine ({best}) cannot run kernels built for {chosen!r}; "
            f"it runs {', '.join(runs)}."
        )
    return chosen


def kernel_arch(arch: str, payload: str, access: str) -> str:
    """Return the architecture that names a kernel: one, where several have its code."""
    has_short_rows = payload == "none" and access != "columns"
    return "x86-64-avx512" if arch == "x86-64-avx512-256" and not has_short_rows else arch


def lesser_cpu_archs(arch: str) -> tuple[str, ...]:
    """Return the architectures whose kernels run wherever those of arch do, the best first."""
    return _ALSO_RUNS.get(arch, ())
