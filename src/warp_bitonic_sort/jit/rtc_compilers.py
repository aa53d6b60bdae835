"""Run-time compilers: the libraries NVRTC and hipRTC, run like a compiler.

Invariant: no library is loaded here; ``rtc.py`` loads it, in a process of its own, where it may
also crash.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import rtc_search
from .compiler import Compiler

__all__ = ["find_nvrtc", "hiprtc_candidates"]

_NVRTC_REMEDY = (
    "Reinstall it (pip install --force-reinstall nvidia-cuda-nvrtc), or set CUDA_HOME to a CUDA "
    "toolkit (12.0 or newer)."
)
_HIPRTC_REMEDY = "Set ROCM_PATH to a ROCm installation, or install clang and its lld."
# Before ROCm 5.3, and for programs of that time ever since, it is part of the driver.
_HIPRTC = ("libhiprtc.so", "libamdhip64.so")


def _unfit() -> str:
    """Return why this process cannot run a library as a compiler; empty if it can."""
    if not sys.executable:
        why = "this interpreter does not know its own program (sys.executable is empty)"
    elif getattr(sys, "frozen", False):
        why = f"sys.executable ({sys.executable}) is a frozen application"
    else:
        return ""
    return (
        f"is not run, for a Python has to run it, and {why}. Set sys.executable to a Python of "
        f"3.10 or newer (and unset sys.frozen) before the first call, or install nvcc or hipcc."
    )


def _compiler(kind: str, library: Path, why: str) -> Compiler:
    title, maker, remedy = (
        ("NVRTC", "CUDA", _NVRTC_REMEDY) if kind == "nvrtc" else ("hipRTC", "HIP", _HIPRTC_REMEDY)
    )
    return Compiler(
        rtc_search.command(kind, library),
        library.resolve(),
        why,
        f"{maker} run-time compiler",
        remedy,
        # What is compiled depends on how the library is told.
        behind=rtc_search.PROGRAM,
        # sys.executable may be a program that Python is a part of.
        answers=title,
        unfit=_unfit(),
    )


def find_nvrtc(home: Path | None, toolkits: Iterable[Path]) -> tuple[Compiler | None, str]:
    """Find NVRTC, the library that compiles CUDA kernels where there is no nvcc.

    In ``CUDA_HOME`` alone if that is given; else in the package nvidia-cuda-nvrtc (which torch
    brings), in toolkits, and where the loader looks. The first of version 12.0 or newer is taken.

    Parameters
    ----------
    home : Path or None
        ``CUDA_HOME``.
    toolkits : iterable of Path
        Where toolkits may be.

    Returns
    -------
    Compiler or None
        None where there is none.
    str
        What was passed over, and why; empty if nothing was.
    """
    library, why, too_old = rtc_search.found_nvrtc(home, toolkits)
    oldest = rtc_search.OLDEST_NVRTC
    passed = "; ".join(f"{old} is older than {oldest}.0" for old in too_old)
    if library is None:
        return None, passed
    found = _compiler("nvrtc", library, why())
    if found.unfit:
        return None, "; ".join(filter(None, [passed, f"{library} {found.unfit}"]))
    return found, passed


# -- hipRTC ----------------------------------------------------------------------------------------


def _hiprtc_folders(home: Path | None, installed: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    if home is not None:
        # As with hipcc, nothing but clang is looked for elsewhere.
        for folder in rtc_search.library_folders(home):
            yield folder, f"hipRTC in ROCM_PATH={home}"
        return
    for rocm in installed:
        for folder in rtc_search.library_folders(rocm):
            yield folder, f"hipRTC of ROCm in {rocm}"
    # PyTorch for ROCm has all of it; so has AMD's own package.
    for name in ("torch", "_rocm_sdk_core"):
        for package in rtc_search.package_folders(name):
            yield package / "lib", f"hipRTC of the package {name.strip('_').replace('_', '-')}"
    for folder in rtc_search.system_folders():
        yield folder, f"hipRTC in {folder}"


def hiprtc_candidates(home: Path | None, installed: Iterable[Path]) -> Iterator[Compiler]:
    """Yield the libraries that compile kernels for AMD GPUs, the most specific first.

    Parameters
    ----------
    home : Path or None
        ``ROCM_PATH``.
    installed : iterable of Path
        Where ROCm may be.
    """
    seen: set[Path] = set()
    for folder, why in _hiprtc_folders(home, installed):
        # The library of that name before the driver, which newer ones have in part only.
        for _, library in sorted(
            rtc_search.libraries(folder, _HIPRTC), key=lambda item: "libhiprtc" not in item[1].name
        ):
            real = library.resolve()
            if real not in seen:
                seen.add(real)
                yield _compiler("hiprtc", library, why)
