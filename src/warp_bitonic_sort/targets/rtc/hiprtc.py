"""Finds hipRTC, the library of ROCm that compiles kernels for AMD GPUs.

Invariant: the library is not loaded here. ``program.py`` loads it in a process of its own, where a
crash does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..common.compiler import Compiler
from . import libraries as _search

_HINT = "Set ROCM_PATH to a ROCm installation, or install clang and its lld."
# Before ROCm 5.3, hipRTC was part of the driver, which still has it for old programs.
_NAMES = ("libhiprtc.so", "libamdhip64.so")


def hiprtc_candidates(home: Path | None, installed: Iterable[Path]) -> Iterator[Compiler]:
    """Yield the libraries that compile kernels for AMD GPUs, the most specific first.

    Parameters
    ----------
    home : Path or None
        ``ROCM_PATH``; if given, the only folder that is searched.
    installed : iterable of Path
        Folders of installed ROCm.
    """
    yielded: set[Path] = set()
    for folder, origin in _folders(home, installed):
        libraries = [library for _, library in _search.libraries(folder, *_NAMES)]
        # hipRTC itself before the driver, which contains only a part of newer versions.
        for library in sorted(libraries, key=lambda path: not path.name.startswith(_NAMES[0])):
            real = library.resolve()
            if real not in yielded:
                yielded.add(real)
                title = "HIP run-time compiler"
                yield _search.rtc_compiler("hiprtc", library, origin, title, _HINT)


def _folders(home: Path | None, installed: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the folders to search, with the origin of a library in each."""
    if home is not None:
        for folder in _search.library_folders(home):
            yield folder, f"hipRTC in ROCM_PATH={home}"
        return
    for rocm in installed:
        for folder in _search.library_folders(rocm):
            yield folder, f"hipRTC of ROCm in {rocm}"
    # PyTorch for ROCm and AMD's package contain all of ROCm.
    for name in ("torch", "_rocm_sdk_core"):
        for package in _search.package_folders(name):
            yield package / "lib", f"hipRTC of the package {name.strip('_').replace('_', '-')}"
    for folder in _search.system_folders():
        yield folder, f"hipRTC in {folder}"
