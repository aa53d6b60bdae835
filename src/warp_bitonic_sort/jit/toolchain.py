"""The tools: where the compiler and ninja are, what they call themselves, and what they are told.

Invariant: looking for a tool runs nothing; only `Compiler.version` runs the compiler, once for each
binary, and its answer is remembered in the cache (`cache.Cache.remember`).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import settings
from .errors import ToolError
from .spec import Artifact

__all__ = [
    "CPU_ARCHS",
    "INCLUDE_DIR",
    "Compiler",
    "compile_flags",
    "cpu_arch",
    "cuda_arch",
    "find_compiler",
    "find_ninja",
    "find_nvcc",
    "gpu_archs",
    "include_dirs",
    "libraries",
    "source_files",
]

_CSRC = Path(__file__).resolve().parent.parent / "csrc"
INCLUDE_DIR = _CSRC / "include"

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
_AVX2 = {"avx2", "bmi2"}
_AVX512 = {"avx512f", "avx512bw", "avx512vl", "avx512dq"}

_WRAPPERS = {"ccache", "sccache", "distcc", "icecc"}
_COMMON = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-shared")
_KERNEL = ("-O2", "-fno-exceptions", "-fno-rtti")
# The launcher is glue: what it costs a call is in the FFI, and -O1 compiles faster than -O2.
_LAUNCHER = ("-O1", "-pthread")
# Device code alone, and no host pass: a whole nvcc run takes three times as long. Nor the header
# that nvcc puts before every file: base.hpp defines the few names of it that kernels use.
_CUDA = ("-std=c++17", "-O3", "-cubin", "-D__CUDA_RUNTIME_H__", "-DWBS_WITHOUT_CUDA_RUNTIME")


@dataclass(frozen=True)
class Compiler:
    """A compiler.

    Parameters
    ----------
    command : tuple of str
        The command that runs it; more than one word where ``CXX`` has, as in ``ccache g++``.
    path : Path
        The program behind the command's last word that names one, links resolved.
    why : str
        How it was found.
    kind : str
        What it is, for messages.
    remedy : str
        What to do about one that does not work.
    """

    command: tuple[str, ...]
    path: Path
    why: str
    kind: str = "C++ compiler"
    remedy: str = "Set CXX to a C++ compiler (g++ 11 or clang++ 14, or newer)."

    def options(self) -> tuple[str, ...]:
        """Return what ``CXX`` gives beside programs: options, which change what is compiled."""
        return tuple(word for word in self.command if shutil.which(word) is None)

    def identity(self) -> str | None:
        """Return what tells this binary from another without running it.

        None for a wrapper (ccache, a script): the compiler behind it may change while it does not.
        """
        if self.path.name in _WRAPPERS or self._is_script():
            return None
        stat = self.path.stat()
        stamp = f"{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"
        return f"{shlex.join(self.command)}|{self.path}|{stamp}"

    def _is_script(self) -> bool:
        with self.path.open("rb") as file:
            return file.read(2) == b"#!"

    def version(self) -> str:
        """Run the compiler and return the whole text of ``--version``."""
        try:
            done = subprocess.run(
                [*self.command, "--version"],
                capture_output=True,
                text=True,
                timeout=60,
                env=_plain_environment(),
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ToolError(
                f"the {self.kind} {shlex.join(self.command)!r} ({self.why}) does not run: "
                f"{error}. {self.remedy}"
            ) from error
        if done.returncode != 0 or not done.stdout.strip():
            raise ToolError(
                f"the {self.kind} {shlex.join(self.command)!r} ({self.why}) does not answer "
                f"--version (exit status {done.returncode}): "
                f"{(done.stderr or done.stdout).strip()[:300] or 'it printed nothing'}. "
                f"{self.remedy}"
            )
        return done.stdout.strip()


def _plain_environment() -> dict[str, str]:
    # Messages are parsed and versions are hashed, so they must not depend on the user's language.
    return {**os.environ, "LC_ALL": "C"}


def find_compiler() -> Compiler:
    """Find the C++ compiler: ``CXX`` if set, else c++, g++ or clang++ on the PATH."""
    asked = settings.cxx()
    if asked is not None:
        words = shlex.split(asked)
        # ninja runs in another folder.
        words = [
            str(Path(word).absolute()) if os.sep in word and shutil.which(word) else word
            for word in words
        ]
        resolved = [found for word in words if (found := shutil.which(word))]
        if not words or shutil.which(words[0]) is None:
            raise ToolError(
                f"CXX: {asked!r} is not a program on the PATH. "
                f"Set CXX to a C++ compiler (g++ 11 or clang++ 14, or newer), or unset it."
            )
        return Compiler(tuple(words), Path(resolved[-1]).resolve(), f"CXX={asked}")
    for name in ("c++", "g++", "clang++"):
        found = shutil.which(name)
        if found is not None:
            return Compiler((found,), Path(found).resolve(), f"{name} on the PATH")
    raise ToolError(
        "no C++ compiler: kernels are compiled on first use, and neither c++, g++ nor clang++ is "
        "on the PATH. Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; "
        "conda: conda install cxx-compiler), or set CXX to the one to use."
    )


_NVCC = "CUDA compiler"
_NVCC_REMEDY = "Set CUDA_HOME to a CUDA toolkit (12.0 or newer)."


def find_nvcc() -> Compiler:
    """Find nvcc: in ``CUDA_HOME`` if set, else on the PATH, else where installers put it."""
    home = settings.cuda_home()
    if home is not None:
        program = home / "bin" / "nvcc"
        if not os.access(program, os.X_OK):
            raise ToolError(
                f"CUDA_HOME: {str(home)!r} holds no bin/nvcc. {_NVCC_REMEDY} Or unset it."
            )
        return Compiler(
            (str(program),), program.resolve(), f"CUDA_HOME={home}", _NVCC, _NVCC_REMEDY
        )
    found = shutil.which("nvcc")
    if found is not None:
        return Compiler((found,), Path(found).resolve(), "nvcc on the PATH", _NVCC, _NVCC_REMEDY)
    for folder in _toolkit_folders():
        program = folder / "bin" / "nvcc"
        if os.access(program, os.X_OK):
            why = f"the toolkit in {folder}"
            return Compiler((str(program),), program.resolve(), why, _NVCC, _NVCC_REMEDY)
    raise ToolError(
        "no CUDA compiler: kernels for CUDA devices are compiled on first use, and nvcc is neither "
        "in CUDA_HOME, on the PATH, in /usr/local/cuda nor in /opt/cuda. Install the CUDA toolkit "
        "(12.0 or newer), or set CUDA_HOME to where it is."
    )


def _toolkit_folders() -> list[Path]:
    """Return where installers put toolkits: the one that is linked to first, then newer ones."""

    def version(folder: Path) -> list[int]:
        return [int(number) for number in re.findall("[0-9]+", folder.name)]

    numbered = sorted(Path("/usr/local").glob("cuda-[0-9]*"), key=version, reverse=True)
    return [Path("/usr/local/cuda"), Path("/opt/cuda"), *numbered]


def gpu_archs() -> list[str]:
    """Return the targets that ``GPU_ARCH`` lists, each checked; empty for a device's own."""
    archs = settings.gpu_archs()
    for arch in archs:
        if re.fullmatch(r"sm_[0-9]{2,}|gfx[0-9a-f]{3,}", arch) is None:
            raise ToolError(
                f"GPU_ARCH: expected native or a list such as sm_80,sm_90, got {arch!r} in it."
            )
    return archs


def cuda_arch(native: str) -> str:
    """Return the target to build for a device: its own, or what ``GPU_ARCH`` lists for it.

    Parameters
    ----------
    native : str
        The device's own target, as in ``sm_90``.
    """
    asked = gpu_archs()
    if not asked or native in asked:
        return native
    # A code object runs on devices of its major version whose minor version is no less.
    fitting = [arch for arch in asked if arch[:-1] == native[:-1] and arch <= native]
    if not fitting:
        raise ToolError(
            f"GPU_ARCH: none of {', '.join(asked)} runs on this device, which is "
            f"{native}; add that, or set GPU_ARCH=native."
        )
    return max(fitting)


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
    raise ToolError("no ninja: it runs the compiler. Install it with: pip install ninja")


@functools.cache
def _native_cpu_arch() -> str:
    machine = platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        return "aarch64"
    if machine not in ("x86_64", "amd64"):
        return "generic"
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "x86-64"
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    flags = set(line.partition(":")[2].split())
    if flags >= _AVX512 | _AVX2:
        return "x86-64-avx512"
    return "x86-64-avx2" if flags >= _AVX2 else "x86-64"


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
    levels = ["x86-64", "x86-64-avx2", "x86-64-avx512"]
    runs = levels[: levels.index(native) + 1] if native in levels else [native, "generic"]
    if asked not in [*runs, "generic"]:
        raise ToolError(
            f"WARP_SORT_CPU_ARCH: this machine ({native}) cannot run kernels built for {asked!r}; "
            f"it runs {', '.join(runs)}."
        )
    return asked


def include_dirs(artifact: Artifact) -> dict[str, Path]:
    """Return the include folders of an artifact by the token that stands for each in its key."""
    folders = {"package_include": INCLUDE_DIR}
    if artifact.kind == "launcher":
        folders["csrc"] = _CSRC
        folders["tvm_ffi_include"] = _tvm_ffi_include()
    return folders


@functools.cache
def _tvm_ffi_include() -> Path:
    # Importing tvm_ffi takes a while (it imports torch where that is installed), and the compiler
    # need not wait for it.
    spec = importlib.util.find_spec("tvm_ffi")
    if spec is None or spec.origin is None:
        raise ToolError("no apache-tvm-ffi: it calls the kernels. pip install apache-tvm-ffi")
    return Path(spec.origin).parent / "include"


def compile_flags(artifact: Artifact) -> tuple[str, ...]:
    """Return the compiler's flags for an artifact, include folders left out."""
    if artifact.kind == "launcher":
        return (*_COMMON, *_LAUNCHER)
    if artifact.kind == "cuda_kernel":
        return (*_CUDA, f"-arch={artifact.arch}")
    return (*_COMMON, *_KERNEL, *CPU_ARCHS[artifact.arch])


def source_files() -> list[Path]:
    """Return every file of the package that a compiler may read."""
    return [file for root in {_CSRC, INCLUDE_DIR} for file in root.rglob("*") if file.is_file()]


def libraries(artifact: Artifact) -> tuple[str, ...]:
    """Return what an artifact is linked with."""
    # Symbols of libtvm_ffi are found in the process that loads the launcher: it is loaded by it.
    return ("-ldl",) if artifact.kind == "launcher" else ()
