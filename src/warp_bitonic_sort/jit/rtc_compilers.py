"""Run-time compilers: where the libraries NVRTC and hipRTC are, and how they run like a compiler.

Invariant: looking for a library loads and runs nothing, and imports none of the packages that may
bring it; ``rtc.py`` loads it, in a process of its own, where it may also crash.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .compiler import Compiler

__all__ = ["find_nvrtc", "hiprtc_candidates"]

_PROGRAM = Path(__file__).with_name("rtc.py")
_OLDEST_NVRTC = 12
_NVRTC_REMEDY = (
    "Reinstall it (pip install --force-reinstall nvidia-cuda-nvrtc), or set CUDA_HOME to a CUDA "
    "toolkit (12.0 or newer)."
)
_HIPRTC_REMEDY = "Set ROCM_PATH to a ROCm installation, or install clang and its lld."
_NVRTC = r"libnvrtc\.so(?:\.([0-9]+)[0-9.]*)?"
# Before ROCm 5.3, and for programs of that time ever since, it is part of the driver.
_HIPRTC = r"(?:libhiprtc|libamdhip64)\.so(?:\.([0-9]+)[0-9.]*)?"


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
        # Nothing of the user's environment is imported, nor looked for: half of the start.
        (sys.executable or "python", "-I", "-S", str(_PROGRAM), kind, str(library)),
        library.resolve(),
        why,
        f"{maker} run-time compiler",
        remedy,
        # What is compiled depends on how the library is told.
        behind=_PROGRAM,
        # sys.executable may be a program that Python is a part of.
        answers=title,
        unfit=_unfit(),
    )


# -- folders ---------------------------------------------------------------------------------------


def _libraries(folder: Path, names: str) -> list[tuple[int | None, Path]]:
    """Return a folder's libraries of some names and their major versions, newest first.

    A name without a version is a link to another as a rule, which says what version it is.
    """
    try:
        there = sorted(os.listdir(folder))  # noqa: PTH208 - every millisecond of a start counts
    except OSError:
        return []
    found: dict[Path, tuple[int | None, Path]] = {}
    for name in there:
        match = re.fullmatch(names, name)
        if match is not None:
            real = (folder / name).resolve()
            number = match[1] or ((of_real := re.fullmatch(names, real.name)) and of_real[1])
            if real.is_file():
                found.setdefault(real, (int(number) if number else None, folder / name))
    return sorted(found.values(), key=lambda item: -(item[0] or 0))


def _library_folders(home: Path) -> list[Path]:
    """Return the folders of libraries in a toolkit, in ROCm or in an environment."""
    return [home / "lib64", home / "lib", *sorted(home.glob("targets/*/lib"))]


def _system_folders() -> list[Path]:
    """Return where the loader looks, but for what ldconfig was told: that takes a program."""
    asked = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    folders = [Path(folder) for folder in asked if folder]
    folders += _library_folders(Path(sys.prefix))
    for root in ("/usr/local", "/usr", "/"):
        folders += [Path(root, name) for name in ("lib64", "lib")]
        folders += sorted(Path(root).glob("lib/*-linux-gnu"))
    return folders


def _package_folders(name: str) -> list[Path]:
    """Return the folders of an installed package, which is not imported."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    if spec is None or spec.submodule_search_locations is None:
        return []
    return [Path(folder) for folder in spec.submodule_search_locations]


# -- NVRTC -----------------------------------------------------------------------------------------


def _packaged_nvrtc() -> Iterator[tuple[Path, str]]:
    """Yield the folders of NVIDIA's packages, newest first, and what to call each."""
    found: list[tuple[list[int], Path, str]] = []
    for root in _package_folders("nvidia"):
        versions = {}
        for metadata in root.parent.glob("nvidia_cuda_nvrtc*.dist-info"):
            package, _, version = metadata.name.removesuffix(".dist-info").partition("-")
            numbers = [int(number) for number in re.findall("[0-9]+", version)]
            versions[numbers[0] if numbers else 0] = (numbers, package.replace("_", "-"), version)
        for folder in sorted(root.glob("c*/lib")):
            for major, _ in _libraries(folder, _NVRTC)[:1]:
                numbers, package, version = versions.get(major or 0, ([major or 0], "", ""))
                why = (
                    f"NVRTC of the package {package} {version}" if package else f"NVRTC in {folder}"
                )
                found.append((numbers, folder, why))
    for _, folder, why in sorted(found, key=lambda item: item[0], reverse=True):
        yield folder, why


def _nvrtc_folders(home: Path | None, toolkits: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    if home is not None:
        for folder in _library_folders(home):
            yield folder, f"NVRTC in CUDA_HOME={home}"
        return
    yield from _packaged_nvrtc()
    for toolkit in toolkits:
        for folder in _library_folders(toolkit):
            yield folder, f"NVRTC of the toolkit in {toolkit}"
    for folder in _system_folders():
        yield folder, f"NVRTC in {folder}"


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
    too_old: list[str] = []

    def passed() -> str:
        return "; ".join(f"{old} is older than {_OLDEST_NVRTC}.0" for old in too_old)

    for folder, why in _nvrtc_folders(home, toolkits):
        for version, library in _libraries(folder, _NVRTC):
            if version is None or version >= _OLDEST_NVRTC:
                found = _compiler("nvrtc", library, why)
                if found.unfit:
                    return None, "; ".join(filter(None, [passed(), f"{library} {found.unfit}"]))
                return found, passed()
            too_old.append(str(library))
    return None, passed()


# -- hipRTC ----------------------------------------------------------------------------------------


def _hiprtc_folders(home: Path | None, installed: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    if home is not None:
        # As with hipcc, nothing but clang is looked for elsewhere.
        for folder in _library_folders(home):
            yield folder, f"hipRTC in ROCM_PATH={home}"
        return
    for rocm in installed:
        for folder in _library_folders(rocm):
            yield folder, f"hipRTC of ROCm in {rocm}"
    # PyTorch for ROCm has all of it; so has AMD's own package.
    for name in ("torch", "_rocm_sdk_core"):
        for package in _package_folders(name):
            yield package / "lib", f"hipRTC of the package {name.strip('_').replace('_', '-')}"
    for folder in _system_folders():
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
            _libraries(folder, _HIPRTC), key=lambda item: "libhiprtc" not in item[1].name
        ):
            real = library.resolve()
            if real not in seen:
                seen.add(real)
                yield _compiler("hiprtc", library, why)
