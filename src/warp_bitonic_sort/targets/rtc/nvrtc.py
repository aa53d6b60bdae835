"""NVRTC, the library that compiles CUDA kernels where there is no nvcc, and where it is.

Invariant: the library is not loaded here. ``program.py`` loads it, in a process of its own, where
it may also crash.
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

    In ``CUDA_HOME`` alone if that is given; else in the package nvidia-cuda-nvrtc (which torch
    brings), in toolkits, and where the loader looks.

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
    passed: list[str] = []
    for folder, origin in _folders(home, toolkits):
        for version, library in _search.libraries(folder, _NAME):
            if version is not None and version < _OLDEST:
                passed.append(f"{library} is older than {_OLDEST}.0")
                continue
            found = _search.rtc_compiler("nvrtc", library, origin, "CUDA run-time compiler", _HINT)
            if found.unusable_because:
                return None, "; ".join([*passed, f"{library} {found.unusable_because}"])
            return found, "; ".join(passed)
    return None, "; ".join(passed)


def _folders(home: Path | None, toolkits: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the folders to look in, and the origin of what is found there."""
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
    """Yield the folders of NVIDIA's packages, newest first, and what each is called."""
    found: list[tuple[list[int], Path, str]] = []
    for root in _search.package_folders("nvidia"):
        for folder in sorted(root.glob("c*/lib")):
            for major, _ in _search.libraries(folder, _NAME)[:1]:
                version, package = _installed(root, major or 0)
                origin = f"NVRTC of the package {package}" if package else f"NVRTC in {folder}"
                found.append((version, folder, origin))
    # The folders' names do not say which is the newer: the packages' versions do.
    found.sort(key=lambda item: item[0], reverse=True)
    for _, folder, origin in found:
        yield folder, origin


def _installed(root: Path, major: int) -> tuple[list[int], str]:
    """Return the version of a package that lies beside a folder, and its name with the version."""
    found: tuple[list[int], str] = [major], ""
    for metadata in root.parent.glob("nvidia_cuda_nvrtc*.dist-info"):
        package, _, version = metadata.name.removesuffix(".dist-info").partition("-")
        numbers = [int(number) for number in re.findall(r"(?:^|\.)(\d+)", version)]
        if numbers[:1] == [major]:
            found = numbers, f"{package.replace('_', '-')} {version}"
    return found
