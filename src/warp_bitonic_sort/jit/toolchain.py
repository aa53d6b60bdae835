"""The recipes: what compilers are told, and by what the one that would be found is known.

Invariant: nothing is run here, and little is looked at. A key needs all of this, so that every
start imports it; modules that only a build or a device needs (`finders`, which finds the tools) are
imported when they are.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import settings
from ..errors import ToolError
from ..kernels import Artifact
from .cpu_targets import CPU_ARCHS, cpu_arch, lesser_cpu_archs, native_cpu_arch

__all__ = [
    "COMMANDS",
    "CPU_ARCHS",
    "DEPFILE",
    "HOST_COMPILERS",
    "INCLUDE_DIR",
    "PACKAGE",
    "PRODUCTS",
    "SOURCES",
    "WRAPPERS",
    "absolute",
    "ck_dir",
    "compile_flags",
    "cpu_arch",
    "cuda_arch",
    "cxx_options",
    "dependency_flags",
    "hip_arch",
    "hip_flags",
    "identity",
    "identity_of",
    "identity_of_program",
    "include_dirs",
    "is_plain",
    "lesser_cpu_archs",
    "libraries",
    "line",
    "native_cpu_arch",
    "nvcc",
    "require_sources",
    "rule",
    "source_files",
    "still_is",
    "toolkit_folders",
    "tvm_ffi_version",
    "which",
]

# Path.resolve() takes as long as importing a small module.
PACKAGE = Path(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120
_CSRC = PACKAGE / "csrc"
INCLUDE_DIR = _CSRC / "include"

# By the kind of an artifact.
SOURCES = {
    "cpu": "source.cc",
    "cuda": "source.cu",
    "hip": "source.hip",
    "runtime": "source.cc",
}
PRODUCTS = {
    "cpu": "library.so",
    "cuda": "kernel.cubin",
    "hip": "kernel.hsaco",
    "runtime": "library.so",
}
DEPFILE = "source.d"
# What stands for the compiler in a rule.
COMMANDS = {"cpu": "cxx", "cuda": "nvcc", "hip": "hipcc", "runtime": "cxx"}

# What is loaded is digested first, so that nothing is to be left unused of a standard library that
# some compilers link statically; and a symbol that others could have instead is looked for in all
# libraries of a process. (Every linker knows these, GNU's, gold and LLVM's.)
_SMALL = "-Wl,-Bsymbolic,--exclude-libs,ALL,--gc-sections"
_COMMON = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-shared", _SMALL)
_KERNEL = ("-O2", "-fno-exceptions", "-fno-rtti")
# The runtime is glue: what it costs a call is in the FFI, and -Og compiles a quarter faster than
# -O1, for some hundredths of a call.
_RUNTIME = ("-Og", "-pthread")
# A start reads all of it, and a third of it would be symbols.
_WITHOUT_SYMBOLS = "-s"
# Device code alone, and no host pass: a whole nvcc run takes three times as long. Nor the header
# that nvcc puts before every file: core/config.hpp defines the few names of it that kernels use.
_CUDA = ("-std=c++17", "-O3", "-cubin", "-D__CUDA_RUNTIME_H__", "-DWBS_WITHOUT_CUDA_RUNTIME")
# No header or library of ROCm's is read, so that any clang will do that knows the target.
_HIP = (
    "-std=c++17",
    "-O3",
    # hipcc, too, is to make no program of it.
    "-c",
    "-x",
    "hip",
    "--offload-device-only",
    "-nogpuinc",
    "-nogpulib",
    "--no-gpu-bundle-output",
    # Kernels look for NaNs by their bits; told that there are none, minima take one instruction.
    "-fno-honor-nans",
    # Vectors made of neighbouring registers have clang 19 keep these in scratch memory.
    "-fno-slp-vectorize",
    # An identifier of the compilation, which would be another in every folder.
    "-fuse-cuid=none",
)
# Drivers since ROCm 5 load version 5, whatever the compiler prefers; generic targets need 6.
_OBJECT_VERSION, _GENERIC_OBJECT_VERSION = 5, 6

HOST_COMPILERS = ("c++", "g++", "clang++")
# Programs that run compilers, nobody knows which.
WRAPPERS = frozenset({"ccache", "sccache", "distcc", "icecc", "hipcc", "hipcc.bin"})
# Bytes; of longer ones nobody asks what they run.
_LONGEST_SCRIPT = 4096
# What a shell takes as it stands.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")


def is_plain(word: str) -> bool:
    """Tell whether a shell takes a word as it stands."""
    return word != "" and _PLAIN.issuperset(word)


def line(words: Sequence[str]) -> str:
    """Return `shlex.join` of a command."""
    # Every start comes by, and nearly never is there anything to quote.
    if all(map(is_plain, words)):
        return " ".join(words)
    import shlex

    return shlex.join(words)


def identity_of(command: Sequence[str], *files: str | Path, found: str = "") -> str:
    """Return what stands for a command that runs these files, which may be links to them.

    Parameters
    ----------
    command : sequence of str
        The command.
    files : str or Path
        What it runs.
    found : str, optional
        Where its program is, if the command does not say: the same file may be that of several
        installations, which answer to ``--version`` each in its own way.

    Raises
    ------
    OSError
        One of them is not there.
    """
    return "|".join([line(command), found, *map(_stamp, files)])


def identity_of_program(command: Sequence[str], program: str | Path, found: str = "") -> str | None:
    """Return what stands for a command that runs a program.

    Of a script that does nothing but run another one, that counts, too, and its place is said. None
    where nobody knows what it runs: where it is another script, or cannot be read.

    Parameters
    ----------
    command, found
        As of `identity_of`.
    program : str or Path
        The program's file.
    """
    try:
        with open(program, "rb") as file:  # noqa: PTH123 - every microsecond of a start counts
            head = file.read(_LONGEST_SCRIPT)
        if not head.startswith(b"#!"):
            return identity_of(command, program, found=found)
        from .scripts import program_behind

        behind = program_behind(head) if len(head) < _LONGEST_SCRIPT else None
        own = identity_of(command, program, found=found)
        return None if behind is None else f"{own}|{behind}|{_stamp(behind)}"
    except OSError:
        return None


def _stamp(file: str | Path) -> str:
    found = os.stat(file)  # noqa: PTH116 - every microsecond of a start counts
    # Not the device: each mount of a container's layer has another.
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


def identity(kind: str) -> str | None:
    """Return the identity of the compiler that the search for one would find for a kind.

    None where that takes the search itself: for no compiler, for a command of several words, for
    NVRTC that is not where it is looked for first or has no Python to run it, for scripts of which
    nobody knows what they run, and for HIP, which is a question of the target. What it returns may
    be that of a wrapper, which nothing is remembered for. It does much less than the search, and
    every start comes by.
    """
    if kind == "hip":
        return None
    try:
        found = _program(kind)
        if found is not None:
            return identity_of_program(*found)
        return _nvrtc_identity() if kind == "cuda" else None
    except OSError:  # what was found has gone meanwhile
        return None


def still_is(kind: str, maker: str) -> bool:
    """Tell whether `identity` would return this, which it returned before, for a kind.

    It need not be read for that what is found is no script, nor what a script runs.
    """
    try:
        found = None if kind == "hip" else _program(kind)
        if found is None:
            return identity(kind) == maker
        command, program, place = found
        own = identity_of(command, program, found=place)
        if maker == own or not maker.startswith(f"{own}|"):
            return maker == own
        behind, _, was = maker[len(own) + 1 :].rpartition("|")
        return _stamp(behind) == was
    except (OSError, ValueError):  # it has gone, or is no name of a file
        return False


def _program(kind: str) -> tuple[tuple[str, ...], str, str] | None:
    """Return the command that would compile a kind, its program, and its place if need be.

    None for no compiler, for NVRTC and for a command of several words.
    """
    if kind == "cuda":
        toolkit = None if settings.run_time_compilers() else nvcc(settings.cuda_home())
        return None if toolkit is None else ((toolkit[0],), toolkit[0], "")
    asked = settings.cxx()
    if asked is None:
        found = next(filter(None, map(which, HOST_COMPILERS)), None)
        return None if found is None else ((found,), found, "")
    found = which(asked) if is_plain(asked) and not asked.startswith("-") else None
    return None if found is None else ((absolute(asked),), found, found)


def _nvrtc_identity() -> str | None:
    from . import rtc_search

    library, _, _ = rtc_search.found_nvrtc(settings.cuda_home(), toolkit_folders())
    if library is None or not sys.executable or getattr(sys, "frozen", False):
        return None
    return identity_of(rtc_search.command("nvrtc", library), library, rtc_search.PROGRAM)


def which(name: str) -> str | None:
    """Return where a program is on the PATH, as an absolute path; None where there is none."""
    found = shutil.which(name)
    return None if found is None else str(Path(found).absolute())


def absolute(word: str) -> str:
    """Return a word of a command as it is in any folder, for ninja runs in another."""
    return str(Path(word).absolute()) if os.sep in word else word


def cxx_options() -> tuple[str, ...]:
    """Return the options that ``CXX`` gives beside programs, which change what is compiled.

    Empty where it names no program: what is found needs none, and a build says what is wrong.
    """
    asked = settings.cxx()
    if asked is None or is_plain(asked):  # one word is a program, or nothing
        return ()
    from .compiler import options_in
    from .finders import words_of

    try:
        return options_in(words_of(asked))
    except ToolError:
        return ()


def nvcc(home: Path | None) -> tuple[str, str] | None:
    """Return nvcc, in ``CUDA_HOME`` alone if that is given, and how it was found."""
    if home is not None:
        program = str(home / "bin" / "nvcc")
        return (program, f"CUDA_HOME={home}") if os.access(program, os.X_OK) else None
    found = which("nvcc")
    if found is not None:
        return found, "nvcc on the PATH"
    for folder in toolkit_folders():
        program = str(folder / "bin" / "nvcc")
        if os.access(program, os.X_OK):
            return program, f"the toolkit in {folder}"
    return None


def toolkit_folders() -> Iterator[Path]:
    """Yield where installers put toolkits: the one that is linked to first, then newer ones."""
    yield Path("/usr/local/cuda")
    yield Path("/opt/cuda")
    import re

    def version(folder: Path) -> list[int]:
        return [int(number) for number in re.findall("[0-9]+", folder.name)]

    yield from sorted(Path("/usr/local").glob("cuda-[0-9]*"), key=version, reverse=True)


def cuda_arch(native: str) -> str:
    """Return the target to build for a CUDA device, as `gpu_targets.cuda_arch` does."""
    if not settings.gpu_archs():
        return native  # nearly always, and then nothing else of that module is needed
    from . import gpu_targets

    return gpu_targets.cuda_arch(native)


def hip_arch(native: str) -> str:
    """Return the target to build for an AMD GPU, as `gpu_targets.hip_arch` does."""
    from . import gpu_targets

    return gpu_targets.hip_arch(native)


def include_dirs(artifact: Artifact) -> dict[str, Path]:
    """Return the include folders of an artifact by the token that stands for each in its key."""
    folders = {"package_include": INCLUDE_DIR}
    if artifact.target == "runtime":
        folders["csrc"] = _CSRC
        folders["tvm_ffi_include"] = _tvm_ffi_include()
    elif artifact.target == "hip":
        extra = ck_dir()
        if extra is not None:
            folders["ck_dir"] = extra
            if (extra / "include").is_dir():
                folders["ck_include"] = extra / "include"
    return folders


def ck_dir() -> Path | None:
    """Return ``CK_DIR``, a folder of headers for HIP kernels beside our own, or None."""
    folder = settings.ck_dir()
    if folder is not None and not folder.is_dir():
        raise ToolError(
            f"CK_DIR: {str(folder)!r} is not a folder. Set CK_DIR to a folder of headers, or unset "
            f"it: the package needs none."
        )
    return folder


def tvm_ffi_version() -> str:
    """Return the version of tvm-ffi that this process uses, or would."""
    module = sys.modules.get("tvm_ffi")
    version = getattr(module, "__version__", None)
    if isinstance(version, str):
        return version
    # It parses a mail, so that this takes longer than all the rest of a look-up.
    from importlib import metadata

    return metadata.version("apache-tvm-ffi")


@functools.cache
def _tvm_ffi_include() -> Path:
    # Importing tvm_ffi takes a while (it imports torch where that is installed), and the compiler
    # need not wait for it.
    import importlib.util

    spec = importlib.util.find_spec("tvm_ffi")
    if spec is None or spec.origin is None:
        raise ToolError("no apache-tvm-ffi: it calls the kernels. pip install apache-tvm-ffi")
    return Path(spec.origin).absolute().parent / "include"


def compile_flags(artifact: Artifact) -> tuple[str, ...]:
    """Return the compiler's flags for an artifact, include folders left out."""
    if artifact.target == "runtime":
        # Whoever gives options may want to see into it.
        return (*_COMMON, *_RUNTIME, *([] if cxx_options() else [_WITHOUT_SYMBOLS]))
    if artifact.target == "cuda":
        return (*_CUDA, f"-arch={artifact.arch}")
    if artifact.target == "hip":
        return hip_flags(artifact.arch)
    return (*_COMMON, *_KERNEL, *CPU_ARCHS[artifact.arch])


def hip_flags(arch: str) -> tuple[str, ...]:
    """Return the flags that compile a kernel for an AMD GPU's target, as in ``gfx942``."""
    from .gpu_targets import is_generic

    version = _GENERIC_OBJECT_VERSION if is_generic(arch) else _OBJECT_VERSION
    return (*_HIP, f"-mcode-object-version={version}", f"--offload-arch={arch}")


def dependency_flags(artifact: Artifact, depfile: str, product: str) -> tuple[str, ...]:
    """Return the flags that make the compiler list what it read in a file, as make reads it.

    System headers are left out: the compiler's version stands for them, and tvm-ffi's for its own.
    """
    if artifact.target == "hip":
        # Those of the driver (-MMD -MF) are for the host's part of a translation unit, which there
        # is none of: clang 20 and newer ignore them.
        words = ("-dependency-file", depfile, "-MT", product)
        return tuple(each for word in words for each in ("-Xclang", word))
    return ("-MMD", "-MF", depfile)


def require_sources() -> None:
    """Raise ToolError if the package's C++ sources are no files, as in a zip archive."""
    if INCLUDE_DIR.is_dir():
        return
    archive = next((folder for folder in INCLUDE_DIR.parents if folder.is_file()), None)
    if archive is None:
        raise ToolError(
            f"the package's C++ sources are missing: there is no folder {INCLUDE_DIR}. Reinstall "
            f"warp-bitonic-sort; a frozen application has to bring the package's folder csrc."
        )
    raise ToolError(
        f"the package was imported from the zip archive {archive}, where neither a compiler nor "
        f"the loader finds its files. Install it into a folder (pip install warp-bitonic-sort), or "
        f"unpack the archive and put the folder on sys.path instead."
    )


def source_files() -> list[Path]:
    """Return every file of the package that a compiler may read."""
    return [file for root in {_CSRC, INCLUDE_DIR} for file in root.rglob("*") if file.is_file()]


def libraries(artifact: Artifact) -> tuple[str, ...]:
    """Return what an artifact is linked with."""
    # Symbols of libtvm_ffi are found in the process that loads the runtime: it is loaded by it.
    return ("-ldl",) if artifact.target == "runtime" else ()


def rule(artifact: Artifact) -> str:
    """Return the ninja rule that compiles an artifact; this text is part of its key."""
    # Headers that are not ours come as system headers: nobody here can mend their warnings.
    includes = " ".join(
        f"{'-isystem ' if name == 'tvm_ffi_include' else '-I'}${name}"
        for name in include_dirs(artifact)
    )
    words = [
        f"${COMMANDS[artifact.target]}",
        *compile_flags(artifact),
        includes,
        *dependency_flags(artifact, "$depfile", "$out"),
        "$in -o $out",
    ]
    words += libraries(artifact)
    # Every start comes by: no regular expression, which would have to be compiled.
    target = "".join(each if each.isalnum() else "_" for each in artifact.arch)
    return f"rule {artifact.target}_{target}\n  command = {' '.join(words)}\n"
