"""Where a run-time compiler may be: libraries among a folder's files, and the folders to look in.

Invariant: looking for a library loads and runs nothing, and imports none of the packages that may
bring it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ..common.compiler import Compiler

# What runs a library as a compiler.
PROGRAM = Path(__file__).with_name("program.py")


def rtc_compiler(kind: str, library: Path, origin: str, title: str, hint: str) -> Compiler:
    """Return the compiler that a library is.

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
        # Nothing of the user's environment is imported, nor looked for: half of the start.
        (sys.executable or "python", "-I", "-S", str(PROGRAM), kind, str(library)),
        library,
        origin,
        title,
        hint,
        # The product depends on how the library is called, too.
        wraps=PROGRAM,
        # sys.executable may be an application that embeds Python.
        version_prefix=name,
        unusable_because=_why_unusable(),
    )


def _why_unusable() -> str:
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


def libraries(folder: Path, *stems: str) -> list[tuple[int | None, Path]]:
    """Return a folder's libraries of some names and their major versions, newest first.

    A name without a version is usually a link to one with a version.
    """
    form = re.compile(rf"(?:{'|'.join(map(re.escape, stems))})(?:\.(\d+)(?:\.\d+)*)?")
    try:
        names = sorted(file.name for file in folder.iterdir() if form.fullmatch(file.name))
    except OSError:
        return []
    found: dict[Path, tuple[int | None, Path]] = {}
    for name in names:
        real = (folder / name).resolve()
        # Some installations have links by the names of older versions: the file's own name counts.
        version = form.fullmatch(real.name) or form.fullmatch(name)
        if real.is_file() and version is not None:
            number = None if version[1] is None else int(version[1])
            found.setdefault(real, (number, folder / name))
    return sorted(found.values(), key=lambda item: -(item[0] or 0))


def library_folders(home: Path) -> Iterator[Path]:
    """Yield the folders of libraries in a toolkit, in ROCm or in an environment."""
    yield home / "lib64"
    yield home / "lib"
    yield from sorted(home.glob("targets/*/lib"))


def system_folders() -> list[Path]:
    """Return where the loader looks, without what ldconfig was told: that takes a program."""
    listed = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    folders = [Path(folder).absolute() for folder in listed if folder]
    folders += library_folders(Path(sys.prefix))
    for root in ("/usr/local", "/usr", "/"):
        folders += [Path(root, name) for name in ("lib64", "lib")]
        folders += sorted(Path(root).glob("lib/*-linux-gnu"))
    return folders


def package_folders(name: str) -> list[Path]:
    """Return the folders of an installed package, which is not imported."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    if spec is None or spec.submodule_search_locations is None:
        return []
    return [Path(folder).absolute() for folder in spec.submodule_search_locations]
