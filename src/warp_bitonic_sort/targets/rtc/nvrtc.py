"""Finds NVRTC, the library that compiles CUDA kernels without nvcc.

Invariant: the library is not loaded here. ``program.py`` loads it in a process of its own, where a
crash does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..common.compiler import Compiler
from . import libraries as _search

_OLDEST = 12
_NAME = "libnvrtc.so"
_HINT = (
    "Reinstall it (pip install --force-reinstall nvidia-cuda-nvrtc), or set CUDA_HOME to a CUDA "
    "toolkit (12.0 or newer)."
)


def find_nvrtc(home: Path | None, toolkits: Iterable[Path]) -> tuple[Compiler | None, str]:
    """Find the first NVRTC of version 12.0 or newer.

    Only ``CUDA_HOME`` is searched if it is given; else the package nvidia-cuda-nvrtc (which torch
    installs), the toolkits, and the loader's folders.

    Parameters
    ----------
    home : Path or None
        ``CUDA_HOME``.
    toolkits : iterable of Path
        Folders of installed toolkits.

    Returns
    -------
    Compiler or None
        NVRTC; None if there is none.
    str
        The libraries that were skipped, and why; empty if none were.
    """
    skipped: list[str] = []
    for folder, origin in _folders(home, toolkits):
        for version, library in _search.libraries(folder, _NAME):
            if version is not None and version < _OLDEST:
                skipped.append(f"{library} is older than {_OLDEST}.0")
                continue
            title = "CUDA run-time compiler"
            compiler = _search.rtc_compiler("nvrtc", library, origin, title, _HINT)
            if compiler.unusable_because:
                return None, "; ".join([*skipped, f"{library} {compiler.unusable_because}"])
            return compiler, "; ".join(skipped)
    return None, "; ".join(skipped)


def _folders(home: Path | None, toolkits: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the folders to search, with the origin of a library in each."""
    if home is not None:
        for folder in _search.library_folders(home):
            yield folder, f"NVRTC in CUDA_HOME={home}"
        return
    yield from _packaged()
    for toolkit in toolkits:
        for folder in _search.library_folders(toolkit):
            yield folder, f"NVRTC of the toolkit in {toolkit}"
    for folder in _search.system_folders():
        yield folder, f"NVRTC in {folder}"


def _packaged() -> Iterator[tuple[Path, str]]:
    """Yield the folders of NVIDIA's packages, newest first, with the origin of each."""
    packages: list[tuple[list[int], Path, str]] = []
    for root in _search.package_folders("nvidia"):
        for folder in sorted(root.glob("c*/lib")):
            for major, _ in _search.libraries(folder, _NAME)[:1]:
                version, package = _installed(root, major or 0)
                origin = f"NVRTC of the package {package}" if package else f"NVRTC in {folder}"
                packages.append((version, folder, origin))
    # Only the packages' versions, not the names of the folders, tell which one is newer.
    packages.sort(key=lambda item: item[0], reverse=True)
    for _, folder, origin in packages:
        yield folder, origin


def _installed(root: Path, major: int) -> tuple[list[int], str]:
    """Return the version of the package beside a folder, and its name with the version."""
    installed: tuple[list[int], str] = [major], ""
    for metadata in root.parent.glob("nvidia_cuda_nvrtc*.dist-info"):
        package, _, version = metadata.name.removesuffix(".dist-info").partition("-")
        numbers = [int(number) for number in re.findall(r"(?:^|\.)(\d+)", version)]
        if numbers[:1] == [major]:
            installed = numbers, f"{package.replace('_', '-')} {version}"
    return installed
