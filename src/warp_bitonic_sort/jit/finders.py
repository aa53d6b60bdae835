"""Where the tools of a build are: the compilers of hosts and of CUDA devices, and ninja.

Invariant: looking for a tool runs nothing, and what is not there is an error that says where it was
looked for and how to get it. Only `Compiler.version` and `hip_compiler.refusal` run a compiler,
once for each binary (and target), and the answers are remembered in the cache
(`publish.remember`) by what `toolchain.identity` knows it by: most starts do without this
module.
"""

from __future__ import annotations

import os
import shlex
from importlib import metadata
from pathlib import Path

from .. import settings
from ..errors import MissingToolError, ToolError
from ..kernels import Artifact
from . import toolchain
from .compiler import Compiler, programs_in

__all__ = [
    "find_compiler",
    "find_cuda_compiler",
    "find_ninja",
    "find_nvcc",
    "require",
    "words_of",
]


def find_compiler() -> Compiler:
    """Find the C++ compiler: ``CXX`` if set, else c++, g++ or clang++ on the PATH."""
    asked = settings.cxx()
    if asked is not None:
        words = words_of(asked)
        programs = programs_in(words)
        # A word with a slash is a path, which is another one in the folder that ninja runs in.
        places = {word: toolchain.absolute(word) for word in words}
        words = [places[word] if places[word] in programs else word for word in words]
        path = Path(programs[-1]).resolve()
        return Compiler(tuple(words), path, f"CXX={asked}", found=programs[-1])
    for name in toolchain.HOST_COMPILERS:
        found = toolchain.which(name)
        if found is not None:
            return Compiler((found,), Path(found).resolve(), f"{name} on the PATH")
    raise MissingToolError(
        "no C++ compiler: kernels are compiled on first use, and neither c++, g++ nor clang++ is "
        "on the PATH. Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; "
        "conda: conda install cxx-compiler), or set CXX to the one to use."
    )


def words_of(asked: str) -> list[str]:
    """Return the words of ``CXX``, the first of which is a program."""
    wrong = "is not a program on the PATH"
    try:
        words = shlex.split(asked)
    except ValueError as error:
        words, wrong = [], f"is no command: {error}"
    for word in words:
        settings.refuse_control_characters("CXX", word, ToolError)
    if not programs_in(words[:1]):
        raise ToolError(
            f"CXX: {asked!r} {wrong}. "
            f"Set CXX to a C++ compiler (g++ 11 or clang++ 14, or newer), or unset it."
        )
    return words


_NINJA = ("ninja", "ninja.exe")
_NVCC = "CUDA compiler"
_NVCC_REMEDY = "Set CUDA_HOME to a CUDA toolkit (12.0 or newer)."


def find_nvcc() -> Compiler:
    """Find nvcc: in ``CUDA_HOME`` if set, else on the PATH, else where installers put it."""
    home = settings.cuda_home()
    found = toolchain.nvcc(home)
    if found is not None:
        program, why = found
        return Compiler((program,), Path(program).resolve(), why, _NVCC, _NVCC_REMEDY)
    if home is not None:
        raise ToolError(f"CUDA_HOME: {str(home)!r} holds no bin/nvcc. {_NVCC_REMEDY} Or unset it.")
    raise ToolError(
        "no CUDA compiler: kernels for CUDA devices are compiled on first use, and nvcc is neither "
        "in CUDA_HOME, on the PATH, in /usr/local/cuda nor in /opt/cuda. Install the CUDA toolkit "
        "(12.0 or newer), or set CUDA_HOME to where it is."
    )


def find_cuda_compiler() -> Compiler:
    """Find nvcc, or NVRTC where there is none; NVRTC first where ``WARP_SORT_RTC`` asks for it."""
    home = settings.cuda_home()
    asked = settings.run_time_compilers()
    try:
        nvcc: Compiler | None = find_nvcc()
    except ToolError:
        nvcc = None
    if nvcc is not None and not asked:
        return nvcc
    from .rtc_compilers import find_nvrtc

    # A CUDA_HOME that is wrong is not made up for; one without NVRTC need not be wrong.
    nvrtc, passed = find_nvrtc(home, toolchain.toolkit_folders())
    if nvrtc is None and nvcc is not None and home is not None:
        nvrtc, passed = find_nvrtc(None, toolchain.toolkit_folders())
    reasons = [passed] if passed else []
    if nvrtc is not None:
        reasons.append("there is no nvcc" if nvcc is None else "WARP_SORT_RTC asks for it")
        return nvrtc._replace(why="; ".join([nvrtc.why, *reasons]))
    if nvcc is not None:
        reasons.append("WARP_SORT_RTC is set, but there is no NVRTC")
        return nvcc._replace(why="; ".join([nvcc.why, *reasons]))
    older = f" ({passed})" if passed else ""
    if home is not None:
        raise ToolError(
            f"CUDA_HOME: {str(home)!r} holds no bin/nvcc, nor NVRTC (libnvrtc.so.12 or newer, in "
            f"lib64 or lib){older}. {_NVCC_REMEDY} Or unset it."
        )
    raise ToolError(
        "no CUDA compiler: kernels for CUDA devices are compiled on first use, and there is "
        "neither nvcc (in CUDA_HOME, on the PATH, in /usr/local/cuda or in /opt/cuda) nor NVRTC "
        f"(in the package nvidia-cuda-nvrtc, there, or where libraries are){older}. "
        "Install the CUDA toolkit (12.0 or newer), or NVRTC alone (pip install nvidia-cuda-nvrtc; "
        "for drivers of CUDA 12: nvidia-cuda-nvrtc-cu12), or set CUDA_HOME to where either is."
    )


def find_ninja() -> Path:
    """Find ninja: the program of the distribution ``ninja``, else one on the PATH.

    No module called ``ninja`` is imported: django-ninja has one, too, and so may the user.
    """
    for program in _packaged_ninjas():
        if program.is_file() and os.access(program, os.X_OK):
            return program.absolute()
    # Some distributions of Linux call it ninja-build.
    found = toolchain.which("ninja") or toolchain.which("ninja-build")
    if found is not None:
        return Path(found)
    raise MissingToolError("no ninja: it runs the compiler. Install it (pip install ninja).")


def _packaged_ninjas() -> list[Path]:
    """Return where the distribution ``ninja`` says that its program is, the program itself first.

    Up to 1.11.1 there are two: a program inside the package, and a script that imports ``ninja``.
    """
    try:
        distribution = metadata.distribution("ninja")
        listed = [file for file in distribution.files or () if file.name in _NINJA]
        listed.sort(key=lambda file: file.parts[0] != "ninja")
        # pip's --target moves programs and leaves the list of them as it was.
        names = [*map(str, listed), *(f"bin/{name}" for name in _NINJA)]
        return [Path(str(distribution.locate_file(name))) for name in names]
    except Exception:  # broken metadata is as good as none
        return []


def require(artifact: Artifact) -> None:
    """Raise ToolError if a tool that builds an artifact is not there."""
    if artifact.target == "cuda":
        find_cuda_compiler()
    elif artifact.target == "hip":
        from .hip_compiler import find_hip_compiler

        find_hip_compiler([artifact.arch], lambda *_: "")
    else:
        find_compiler()
    find_ninja()
