"""Where NVRTC and hipRTC are: the libraries among a folder's files, and the folders to look in.

Invariant: looking for a library loads and runs nothing, and imports none of the packages that may
bring it. A start that finds its kernels in the cache comes by, so there is no regular expression
here, which would have to be compiled.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path

__all__ = [
    "OLDEST_NVRTC",
    "PROGRAM",
    "command",
    "found_nvrtc",
    "libraries",
    "library_folders",
    "package_folders",
    "system_folders",
]

# What runs a library as a compiler.
PROGRAM = Path(__file__).with_name("rtc.py")
OLDEST_NVRTC = 12
_NVRTC = ("libnvrtc.so",)
_NUMBERS = frozenset(".0123456789")


def command(kind: str, library: Path) -> tuple[str, ...]:
    """Return what runs a library, ``nvrtc`` or ``hiprtc``, like a compiler."""
    # Nothing of the user's environment is imported, nor looked for: half of the start.
    return (sys.executable or "python", "-I", "-S", str(PROGRAM), kind, str(library))


# -- folders ---------------------------------------------------------------------------------------


def _is_version(text: str) -> bool:
    """Tell whether this follows a library's name: nothing, or ``.13``, ``.13.0.88``."""
    return not text or (text[0] == "." and text[1:2].isdecimal() and _NUMBERS.issuperset(text))


def _major(name: str, stems: tuple[str, ...]) -> int | None:
    """Return the major version in the name of a library; None where it has none."""
    for stem in stems:
        rest = name.removeprefix(stem)
        if rest != name and rest and _is_version(rest):
            return int(rest[1:].partition(".")[0])
    return None


def libraries(folder: Path, stems: tuple[str, ...]) -> list[tuple[int | None, Path]]:
    """Return a folder's libraries of some names and their major versions, newest first.

    A name without a version is a link to another as a rule, which says what version it is.
    """
    try:
        # A toolkit has hundreds; every microsecond of a start counts.
        there = sorted(name for name in os.listdir(folder) if name.startswith(stems))  # noqa: PTH208
    except OSError:
        return []
    # By the file itself, as links lead to it: asking where they do takes as long as all the rest.
    found: dict[tuple[int, int], list[str]] = {}
    for name in there:
        if any(name.startswith(stem) and _is_version(name.removeprefix(stem)) for stem in stems):
            try:
                seen = os.stat(folder / name)  # noqa: PTH116
            except OSError:
                continue
            if stat.S_ISREG(seen.st_mode):
                found.setdefault((seen.st_dev, seen.st_ino), []).append(name)
    numbered = []
    for names in found.values():
        number, *others = {_major(name, stems) for name in names} - {None} or {None}
        if number is None or others:  # some installations have links by the names of older ones
            real = os.path.realpath(folder / names[0])
            number = _major(os.path.basename(real), stems)  # noqa: PTH119
        numbered.append((number, folder / names[0]))
    return sorted(numbered, key=lambda item: -(item[0] or 0))


def library_folders(home: Path) -> Iterator[Path]:
    """Yield the folders of libraries in a toolkit, in ROCm or in an environment."""
    yield home / "lib64"
    yield home / "lib"
    yield from sorted(home.glob("targets/*/lib"))


def system_folders() -> list[Path]:
    """Return where the loader looks, but for what ldconfig was told: that takes a program."""
    asked = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    folders = [Path(folder).absolute() for folder in asked if folder]
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


# -- NVRTC -----------------------------------------------------------------------------------------


_Why = Callable[[], str]


def _packaged_nvrtc() -> Iterator[tuple[Path, _Why]]:
    """Yield the folders of NVIDIA's packages, newest first, and what tells what to call each."""
    found: list[tuple[int, Path, Path]] = []
    for root in package_folders("nvidia"):
        try:
            names = sorted(os.listdir(root))  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            if name.startswith("c"):
                folder = root / name / "lib"
                found += [(major or 0, root, folder) for major, _ in libraries(folder, _NVRTC)[:1]]
    if len(found) > 1:
        # Their names do not say which of two is the newer: what is installed does.
        found.sort(key=lambda item: _installed(item[1], item[0])[0], reverse=True)
    for major, root, folder in found:
        yield folder, partial(_named, root, major, folder)


def _installed(root: Path, major: int) -> tuple[list[int], str]:
    """Return the version, and the name with it, of a package that lies beside a folder."""
    found: tuple[list[int], str] = [major], ""
    for metadata in root.parent.glob("nvidia_cuda_nvrtc*.dist-info"):
        package, _, version = metadata.name.removesuffix(".dist-info").partition("-")
        digits = ("".join(takewhile(str.isdecimal, part)) for part in version.split("."))
        numbers = [int(number) for number in digits if number]
        if (numbers or [0])[0] == major:
            found = numbers, f"{package.replace('_', '-')} {version}"
    return found


def _named(root: Path, major: int, folder: Path) -> str:
    _, package = _installed(root, major)
    return f"NVRTC of the package {package}" if package else f"NVRTC in {folder}"


def _nvrtc_folders(home: Path | None, toolkits: Iterable[Path]) -> Iterator[tuple[Path, _Why]]:
    if home is not None:
        for folder in library_folders(home):
            yield folder, partial(str, f"NVRTC in CUDA_HOME={home}")
        return
    yield from _packaged_nvrtc()
    for toolkit in toolkits:
        for folder in library_folders(toolkit):
            yield folder, partial(str, f"NVRTC of the toolkit in {toolkit}")
    for folder in system_folders():
        yield folder, partial(str, f"NVRTC in {folder}")


def found_nvrtc(
    home: Path | None, toolkits: Iterable[Path]
) -> tuple[Path | None, Callable[[], str], list[Path]]:
    """Find NVRTC in ``CUDA_HOME`` alone if that is given, else wherever it may be.

    Parameters
    ----------
    home : Path or None
        ``CUDA_HOME``.
    toolkits : iterable of Path
        Where toolkits may be.

    Returns
    -------
    Path or None
        The first library that is of version 12.0 or newer.
    callable
        What tells where that was found.
    list of Path
        Those before it, which are older.
    """
    too_old: list[Path] = []
    for folder, why in _nvrtc_folders(home, toolkits):
        for version, library in libraries(folder, _NVRTC):
            if version is None or version >= OLDEST_NVRTC:
                return library, why, too_old
            too_old.append(library)
    return None, str, too_old
