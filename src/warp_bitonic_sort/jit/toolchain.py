"""The tools: where the compilers and ninja are, what they call themselves, and what they are told.

Invariant: looking for a tool runs nothing; only `Compiler.version` and `hip_compiler.refusal` run
a compiler, once for each binary (and target), and the answers are remembered in the cache
(`cache.Cache.remember`). A key needs what is told, so that is here, and every start imports it;
modules that only a build or a device needs are imported when they are.
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import settings
from .errors import MissingToolError, ToolError
from .spec import Artifact

if TYPE_CHECKING:
    from .compiler import Compiler
    from .gpu_targets import gpu_archs, hip_arch
    from .hip_compiler import find_hip_compiler

__all__ = [
    "COMMANDS",
    "CPU_ARCHS",
    "DEPFILE",
    "INCLUDE_DIR",
    "PACKAGE",
    "PRODUCTS",
    "SOURCES",
    "WRAPPERS",
    "Compiler",
    "check_buildable",
    "ck_dir",
    "compile_flags",
    "cpu_arch",
    "cuda_arch",
    "cxx_options",
    "dependency_flags",
    "find_compiler",
    "find_cuda_compiler",
    "find_hip_compiler",
    "find_ninja",
    "find_nvcc",
    "gpu_archs",
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
    "rule",
    "source_files",
    "tvm_ffi_version",
]

if not TYPE_CHECKING:
    _ELSEWHERE = {
        "Compiler": "compiler",
        "find_hip_compiler": "hip_compiler",
        "gpu_archs": "gpu_targets",
        "hip_arch": "gpu_targets",
    }

    def __getattr__(name: str) -> Any:
        if name not in _ELSEWHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__package__}.{_ELSEWHERE[name]}"), name)


# Path.resolve() takes as long as importing a small module.
PACKAGE = Path(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120
_CSRC = PACKAGE / "csrc"
INCLUDE_DIR = _CSRC / "include"

# By the kind of an artifact.
SOURCES = {
    "cpu_kernel": "source.cc",
    "cuda_kernel": "source.cu",
    "hip_kernel": "source.hip",
    "launcher": "source.cc",
}
PRODUCTS = {
    "cpu_kernel": "library.so",
    "cuda_kernel": "kernel.cubin",
    "hip_kernel": "kernel.hsaco",
    "launcher": "library.so",
}
DEPFILE = "source.d"
# What stands for the compiler in a rule.
COMMANDS = {"cpu_kernel": "cxx", "cuda_kernel": "nvcc", "hip_kernel": "hipcc", "launcher": "cxx"}

# Explicit features, not -march=native: the same text means the same machine code on every machine
# that shares a cache, and compilers older than the x86-64-v3 names understand it.
_AVX2_FLAGS = ("-mavx2", "-mbmi2", "-mprfchw")
CPU_ARCHS: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-avx2": _AVX2_FLAGS,
    "x86-64-avx512": (*_AVX2_FLAGS, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"),
    "aarch64": (),
    "generic": (),
}
# Each runs what is built for those before it.
_LEVELS = ("x86-64", "x86-64-avx2", "x86-64-avx512")
_AVX2 = {"avx2", "bmi2"}
_AVX512 = {"avx512f", "avx512bw", "avx512vl", "avx512dq"}

_COMMON = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-shared")
_KERNEL = ("-O2", "-fno-exceptions", "-fno-rtti")
# The launcher is glue: what it costs a call is in the FFI, and -Og compiles a quarter faster than
# -O1, for some hundredths of a call.
_LAUNCHER = ("-Og", "-pthread")
# A start reads all of it, and a third of it would be symbols.
_WITHOUT_SYMBOLS = "-s"
# Device code alone, and no host pass: a whole nvcc run takes three times as long. Nor the header
# that nvcc puts before every file: base.hpp defines the few names of it that kernels use.
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


_HOST_COMPILERS = ("c++", "g++", "clang++")
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

    Of a script that does nothing but run another one, that counts, too. None where nobody knows
    what it runs: where it is another script, or cannot be read.

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
        return None if behind is None else identity_of(command, program, behind, found=found)
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
    if kind == "hip_kernel":
        return None
    return _cuda_identity() if kind == "cuda_kernel" else _host_identity()


def _host_identity() -> str | None:
    asked = settings.cxx()
    if asked is None:
        found = next(filter(None, map(shutil.which, _HOST_COMPILERS)), None)
        return None if found is None else identity_of_program((found,), found)
    found = shutil.which(asked) if is_plain(asked) and not asked.startswith("-") else None
    return None if found is None else identity_of_program((_absolute(asked),), found, found)


def _cuda_identity() -> str | None:
    home = settings.cuda_home()
    is_rtc_asked = settings.run_time_compilers()
    found = _nvcc(home)
    if found is not None and not is_rtc_asked:
        return identity_of_program((found[0],), found[0])
    from . import rtc_search

    library, _, _ = rtc_search.found_nvrtc(home, _toolkit_folders())
    if library is None or not sys.executable or getattr(sys, "frozen", False):
        return None
    return identity_of(rtc_search.command("nvrtc", library), library, rtc_search.PROGRAM)


def _absolute(word: str) -> str:
    """Return a word of a command as it is in any folder, for ninja runs in another."""
    return str(Path(word).absolute()) if os.sep in word else word


def find_compiler() -> Compiler:
    """Find the C++ compiler: ``CXX`` if set, else c++, g++ or clang++ on the PATH."""
    from .compiler import Compiler, programs_in

    asked = settings.cxx()
    if asked is not None:
        words = _words_of(asked)
        programs = programs_in(words)
        words = [_absolute(word) if word in programs else word for word in words]
        path = Path(programs[-1]).resolve()
        return Compiler(tuple(words), path, f"CXX={asked}", found=programs[-1])
    for name in _HOST_COMPILERS:
        found = shutil.which(name)
        if found is not None:
            return Compiler((found,), Path(found).resolve(), f"{name} on the PATH")
    raise MissingToolError(
        "no C++ compiler: kernels are compiled on first use, and neither c++, g++ nor clang++ is "
        "on the PATH. Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; "
        "conda: conda install cxx-compiler), or set CXX to the one to use."
    )


def _words_of(asked: str) -> list[str]:
    """Return the words of ``CXX``, the first of which is a program."""
    import shlex

    from .compiler import programs_in

    wrong = "is not a program on the PATH"
    try:
        words = shlex.split(asked)
    except ValueError as error:
        words, wrong = [], f"is no command: {error}"
    if not programs_in(words[:1]):
        raise ToolError(
            f"CXX: {asked!r} {wrong}. "
            f"Set CXX to a C++ compiler (g++ 11 or clang++ 14, or newer), or unset it."
        )
    return words


def cxx_options() -> tuple[str, ...]:
    """Return the options that ``CXX`` gives beside programs, which change what is compiled.

    Empty where it names no program: what is found needs none, and a build says what is wrong.
    """
    asked = settings.cxx()
    if asked is None or is_plain(asked):  # one word is a program, or nothing
        return ()
    from .compiler import options_in

    try:
        return options_in(_words_of(asked))
    except ToolError:
        return ()


_NVCC = "CUDA compiler"
_NVCC_REMEDY = "Set CUDA_HOME to a CUDA toolkit (12.0 or newer)."


def _nvcc(home: Path | None) -> tuple[str, str] | None:
    """Return nvcc, in ``CUDA_HOME`` alone if that is given, and how it was found."""
    if home is not None:
        program = str(home / "bin" / "nvcc")
        return (program, f"CUDA_HOME={home}") if os.access(program, os.X_OK) else None
    found = shutil.which("nvcc")
    if found is not None:
        return found, "nvcc on the PATH"
    for folder in _toolkit_folders():
        program = str(folder / "bin" / "nvcc")
        if os.access(program, os.X_OK):
            return program, f"the toolkit in {folder}"
    return None


def find_nvcc() -> Compiler:
    """Find nvcc: in ``CUDA_HOME`` if set, else on the PATH, else where installers put it."""
    from .compiler import Compiler

    home = settings.cuda_home()
    found = _nvcc(home)
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
    nvrtc, passed = find_nvrtc(home, _toolkit_folders())
    if nvrtc is None and nvcc is not None and home is not None:
        nvrtc, passed = find_nvrtc(None, _toolkit_folders())
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


def _toolkit_folders() -> Iterator[Path]:
    """Yield where installers put toolkits: the one that is linked to first, then newer ones."""
    yield Path("/usr/local/cuda")
    yield Path("/opt/cuda")
    import re

    def version(folder: Path) -> list[int]:
        return [int(number) for number in re.findall("[0-9]+", folder.name)]

    yield from sorted(Path("/usr/local").glob("cuda-[0-9]*"), key=version, reverse=True)


def find_ninja() -> Path:
    """Find ninja: the ``ninja`` package's own program, else one on the PATH."""
    try:
        import ninja
    except ImportError:
        pass
    else:
        packaged = Path(ninja.BIN_DIR) / "ninja"
        if packaged.exists():
            return packaged
    found = shutil.which("ninja")
    if found is not None:
        return Path(found)
    raise MissingToolError("no ninja: it runs the compiler. Install it with: pip install ninja")


@functools.cache
def _native_cpu_arch() -> str:
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return "aarch64"
    if machine not in ("x86_64", "amd64"):
        return "generic"
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as file:  # noqa: PTH123
            # One read has the first processor, and of few others: the kernel asks each of them how
            # it is, for a file of a quarter megabyte where there are a hundred.
            text = file.read(1 << 13).decode("latin-1")
    except OSError:
        return "x86-64"
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    flags = set(line.partition(":")[2].split())
    if flags >= _AVX512 | _AVX2:
        return "x86-64-avx512"
    return "x86-64-avx2" if flags >= _AVX2 else "x86-64"


def native_cpu_arch() -> str:
    """Return the CPU target that uses most of this machine's instructions."""
    return _native_cpu_arch()


def cpu_arch() -> str:
    """Return the CPU target to build for: ``WARP_SORT_CPU_ARCH``, else this machine's."""
    asked = settings.cpu_arch()
    native = _native_cpu_arch()
    if asked is None or asked == "native":
        return native
    known = list(CPU_ARCHS)
    if asked not in known:
        raise ToolError(
            f"WARP_SORT_CPU_ARCH: expected one of {', '.join(known)} or native, got {asked!r}."
        )
    runs = [native, "generic"]
    if native in _LEVELS:
        runs = list(_LEVELS[: _LEVELS.index(native) + 1])
    if asked not in [*runs, "generic"]:
        raise ToolError(
            f"WARP_SORT_CPU_ARCH: this machine ({native}) cannot run kernels built for {asked!r}; "
            f"it runs {', '.join(runs)}."
        )
    return asked


def cuda_arch(native: str) -> str:
    """Return the target to build for a CUDA device, as `gpu_targets.cuda_arch` does."""
    if not settings.gpu_archs():
        return native  # nearly always, and then nothing else of that module is needed
    from . import gpu_targets

    return gpu_targets.cuda_arch(native)


def lesser_cpu_archs(arch: str) -> tuple[str, ...]:
    """Return the CPU targets whose kernels run wherever a target's do, the best first."""
    return _LEVELS[: _LEVELS.index(arch)][::-1] if arch in _LEVELS else ()


def check_buildable(arch: str) -> None:
    """Raise ToolError if this machine's compiler builds nothing for a CPU target."""
    if arch not in CPU_ARCHS:
        raise ToolError(f"arch: expected one of {', '.join(CPU_ARCHS)}, got {arch!r}.")
    native = _native_cpu_arch()
    family = [each for each in CPU_ARCHS if each.startswith("x86-64")]
    builds = family if native in family else [native]
    if arch not in [*builds, "generic"]:
        raise ToolError(
            f"arch: this machine ({native}) does not build for {arch!r}; it builds for "
            f"{', '.join(builds)}."
        )


def include_dirs(artifact: Artifact) -> dict[str, Path]:
    """Return the include folders of an artifact by the token that stands for each in its key."""
    folders = {"package_include": INCLUDE_DIR}
    if artifact.kind == "launcher":
        folders["csrc"] = _CSRC
        folders["tvm_ffi_include"] = _tvm_ffi_include()
    elif artifact.kind == "hip_kernel":
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
    return Path(spec.origin).parent / "include"


def compile_flags(artifact: Artifact) -> tuple[str, ...]:
    """Return the compiler's flags for an artifact, include folders left out."""
    if artifact.kind == "launcher":
        # Whoever gives options may want to see into it.
        return (*_COMMON, *_LAUNCHER, *([] if cxx_options() else [_WITHOUT_SYMBOLS]))
    if artifact.kind == "cuda_kernel":
        return (*_CUDA, f"-arch={artifact.arch}")
    if artifact.kind == "hip_kernel":
        return hip_flags(artifact.arch)
    return (*_COMMON, *_KERNEL, *CPU_ARCHS[artifact.arch])


def hip_flags(arch: str) -> tuple[str, ...]:
    """Return the flags that compile a kernel for an AMD GPU's target, as in ``gfx942``."""
    from .gpu_targets import is_generic

    version = _GENERIC_OBJECT_VERSION if is_generic(arch) else _OBJECT_VERSION
    return (*_HIP, f"-mcode-object-version={version}", f"--offload-arch={arch}")


def dependency_flags(artifact: Artifact, depfile: str, product: str) -> tuple[str, ...]:
    """Return the flags that make the compiler list what it read in a file, as make reads it."""
    if artifact.kind == "hip_kernel":
        # Those of the driver (-MD -MF) are for the host's part of a translation unit, which there
        # is none of: clang 20 and newer ignore them.
        words = ("-dependency-file", depfile, "-MT", product, "-sys-header-deps")
        return tuple(each for word in words for each in ("-Xclang", word))
    return ("-MD", "-MF", depfile)


def source_files() -> list[Path]:
    """Return every file of the package that a compiler may read."""
    return [file for root in {_CSRC, INCLUDE_DIR} for file in root.rglob("*") if file.is_file()]


def libraries(artifact: Artifact) -> tuple[str, ...]:
    """Return what an artifact is linked with."""
    # Symbols of libtvm_ffi are found in the process that loads the launcher: it is loaded by it.
    return ("-ldl",) if artifact.kind == "launcher" else ()


def rule(artifact: Artifact) -> str:
    """Return the ninja rule that compiles an artifact; this text is part of its key."""
    # Headers that are not ours come as system headers: nobody here can mend their warnings.
    includes = " ".join(
        f"{'-isystem ' if name == 'tvm_ffi_include' else '-I'}${name}"
        for name in include_dirs(artifact)
    )
    words = [
        f"${COMMANDS[artifact.kind]}",
        *compile_flags(artifact),
        includes,
        *dependency_flags(artifact, "$depfile", "$out"),
        "$in -o $out",
    ]
    words += libraries(artifact)
    # Every start comes by: no regular expression, which would have to be compiled.
    target = "".join(each if each.isalnum() else "_" for each in artifact.arch)
    return f"rule {artifact.kind}_{target}\n  command = {' '.join(words)}\n"
