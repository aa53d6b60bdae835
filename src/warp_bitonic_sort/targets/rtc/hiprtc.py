"""hipRTC, the library of ROCm that compiles kernels for AMD GPUs, and where it is.

Invariant: the library is not loaded here. ``program.py`` loads it, in a process of its own, where
it may also crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..common.compiler import Compiler
from . import libraries as _search

_HINT = "Set ROCM_PATH to a ROCm installation, or install clang and its lld."
# Before ROCm 5.3, and for programs of that time ever since, it is part of the driver.
_NAMES = ("libhiprtc.so", "libamdhip64.so")


def hiprtc_candidates(home: Path | None, installed: Iterable[Path]) -> Iterator[Compiler]:
    """Yield the libraries that compile kernels for AMD GPUs, the most specific first.

    Parameters
    ----------
    home : Path or None
        ``ROCM_PATH``; hipRTC is looked for there alone if it is given.
    installed : iterable of Path
        Where ROCm may be.
    """
    seen: set[Path] = set()
    for folder, origin in _folders(home, installed):
        found = [library for _, library in _search.libraries(folder, *_NAMES)]
        # The library of that name before the driver, which newer ones have in part only.
        for library in sorted(found, key=lambda each: not each.name.startswith(_NAMES[0])):
            real = library.resolve()
            if real not in seen:
                seen.add(real)
                title = "HIP run-time compiler"
                yield _search.rtc_compiler("hiprtc", library, origin, title, _HINT)


def _folders(home: Path | None, installed: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the folders to look in, and the origin of what is found there."""
    if home is not None:
        for folder in _search.library_folders(home):
            yield folder, f"hipRTC in ROCM_PATH={home}"
        return
    for rocm in installed:
        for folder in _search.library_folders(rocm):
            yield folder, f"hipRTC of ROCm in {rocm}"
    # PyTorch for ROCm has all of it; so has AMD's own package.
    for name in ("torch", "_rocm_sdk_core"):
        for package in _search.package_folders(name):
            yield package / "lib", f"hipRTC of the package {name.strip('_').replace('_', '-')}"
    for folder in _search.system_folders():
        yield folder, f"hipRTC in {folder}"
