"""Finds the libraries of run-time compilers: the folders to search, and the versions in a folder.

Invariant: the search loads and runs nothing, and imports no package that may contain a library.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ... import settings
from ..common.compiler import Compiler

# The program that runs a library as a compiler.
PROGRAM = Path(__file__).with_name("program.py")


def rtc_compiler(kind: str, library: Path, origin: str, title: str, hint: str) -> Compiler:
    """Return the compiler that runs a library.

    Parameters
    ----------
    kind : str
        ``nvrtc`` or ``hiprtc``.
    library : Path
        The library.
    origin, title, hint : str
        As of `Compiler`.
    """
    name = {"nvrtc": "NVRTC", "hiprtc": "hipRTC"}[kind]
    return Compiler(
        # Isolated, and without site-packages, which take half of a start.
        (sys.executable or "python", "-I", "-S", str(PROGRAM), kind, str(library)),
        library,
        origin,
        title,
        hint,
        # The product also depends on the program that calls the library.
        wraps=PROGRAM,
        # sys.executable may be an application that embeds Python.
        version_prefix=name,
        unusable_because=_why_unusable(),
    )


def _why_unusable() -> str:
    """Return why this process cannot run a library as a compiler; empty if it can."""
    if not sys.executable:
        why = "sys.executable is empty"
    elif getattr(sys, "frozen", False):
        why = f"sys.executable ({sys.executable}) is a frozen application"
    else:
        return ""
    return (
        f"cannot be run: a Python has to run it, and {why}. Set sys.executable to a Python of 3.10 "
        f"or newer (and unset sys.frozen) before the first call, or install nvcc or hipcc."
    )


def libraries(folder: Path, *stems: str) -> list[tuple[int | None, Path]]:
    """Return a folder's libraries of some names, with their major versions, newest first.

    A name without a version is usually a link to a name with one.
    """
    form = re.compile(rf"(?:{'|'.join(map(re.escape, stems))})(?:\.(\d+)(?:\.\d+)*)?")
    try:
        names = sorted(file.name for file in folder.iterdir() if form.fullmatch(file.name))
    except OSError:
        return []
    by_file: dict[Path, tuple[int | None, Path]] = {}
    for name in names:
        real = (folder / name).resolve()
        # Links may have the names of older versions. Therefore the name of the file itself counts.
        version = form.fullmatch(real.name) or form.fullmatch(name)
        if real.is_file() and version is not None:
            number = None if version[1] is None else int(version[1])
            by_file.setdefault(real, (number, folder / name))
    return sorted(by_file.values(), key=lambda item: -(item[0] or 0))


def library_folders(home: Path) -> Iterator[Path]:
    """Yield the folders of libraries of a toolkit, of ROCm or of an environment."""
    yield home / "lib64"
    yield home / "lib"
    yield from sorted(home.glob("targets/*/lib"))


def system_folders() -> list[Path]:
    """Return the loader's folders, except those that only ldconfig lists."""
    folders = [*settings.library_path(), *library_folders(Path(sys.prefix))]
    for root in ("/usr/local", "/usr", "/"):
        folders += [Path(root, name) for name in ("lib64", "lib")]
        folders += sorted(Path(root).glob("lib/*-linux-gnu"))
    return folders


def package_folders(name: str) -> list[Path]:
    """Return the folders of an installed package without importing it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    if spec is None or spec.submodule_search_locations is None:
        return []
    return [Path(folder).absolute() for folder in spec.submodule_search_locations]
