"""Describes how kernels for AMD GPUs are compiled: by hipcc, a clang or hipRTC.

Invariant: kernels use no header or library of ROCm. Therefore any clang with its lld can compile
them if it knows the architecture. The product is one code object, never a bundle.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ... import settings
from ...errors import MissingToolError, ToolError
from ..common.compiler import Compiler, is_program, newest_first, plain_environment, which
from ..common.recipe import Probe, Recipe
from ..rtc.hiprtc import hiprtc_candidates
from . import arch as _arch

_FLAGS = (
    "-std=c++17",
    "-O3",
    # Not a program, not even by hipcc.
    "-c",
    "-x",
    "hip",
    "--offload-device-only",
    "-nogpuinc",
    "-nogpulib",
    "--no-gpu-bundle-output",
    # Kernels test bits for NaN. With this flag, a minimum takes one instruction.
    "-fno-honor-nans",
    # clang 19 combines neighbouring registers into vectors, which it then keeps in scratch memory.
    "-fno-slp-vectorize",
    # No identifier of the compilation, which differs in every folder.
    "-fuse-cuid=none",
)
# Drivers since ROCm 5 load version 5, and compilers default to various ones. Families need 6.
_OBJECT_VERSION, _GENERIC_OBJECT_VERSION = 5, 6
_INSTALL = "Install clang and its lld (Debian, Ubuntu: apt install clang-19 lld-19), or ROCm"
_HINT = f"{_INSTALL}, and set ROCM_PATH to it."
# The first version of clang that knows an architecture.
_FIRST_CLANG = {"gfx942": 17, "gfx950": 20, "gfx9-4-generic": 20}
# Errors of a compiler that does not know an architecture, which no repair changes.
_PERMANENT = "invalid target ID|nknown argument|nsupported|No available targets"
_CLANG_OF_ROCM = ("llvm/bin/clang++", "lib/llvm/bin/clang++")
_EMPTY_KERNEL = 'extern "C" __attribute__((global)) void nothing() {}\n'


class HipRecipe(Recipe):
    """How kernels for AMD GPUs are compiled."""

    name = "hip"
    source = "source.hip"
    product = "kernel.hsaco"
    variable = "hipcc"
    is_library = False
    hints = (
        (
            r"invalid target ID|unsupported HIP gpu architecture|unsupported code object version",
            "this HIP compiler does not know {arch}: install a newer clang and its "
            "lld, or ROCm, and set ROCM_PATH to it",
        ),
        (
            r"Executable \"(?:ld\.)?lld\" doesn't exist",
            "the HIP compiler finds no lld, its linker: install the lld of the same version "
            "(Debian and Ubuntu: apt install lld-19 for clang-19)",
        ),
    )

    def flags(self, arch: str) -> tuple[str, ...]:
        """Return the compiler's flags for an architecture, without include folders."""
        version = _GENERIC_OBJECT_VERSION if _arch.is_generic(arch) else _OBJECT_VERSION
        return (*_FLAGS, f"-mcode-object-version={version}", f"--offload-arch={arch}")

    def dependency_flags(self, depfile: str, product: str) -> tuple[str, ...]:
        """Return the flags with which the compiler lists the files that it read."""
        # Not -MMD and -MF: clang 20 and newer ignore them where there is no host code.
        options = ("-dependency-file", depfile, "-MT", product)
        return tuple(word for option in options for word in ("-Xclang", option))

    def include_dirs(self) -> dict[str, Path]:
        """Return the include folders by the token that stands for each in a key."""
        folders = super().include_dirs()
        extra = extra_hip_include()
        if extra is not None:
            folders["ck_dir"] = extra
            if (extra / "include").is_dir():
                folders["ck_include"] = extra / "include"
        return folders

    def key_parts(self) -> dict[str, str]:
        """Return the path of ``CK_DIR``, because its headers may include files beside them."""
        extra = extra_hip_include()
        return {} if extra is None else {"ck_dir": str(extra)}

    def why_unshareable(self) -> str | None:
        """Return why artifacts compiled here cannot be shared; None if they can."""
        folder = settings.ck_dir()
        if folder is None:
            return None
        return (
            f"CK_DIR: it is set to {str(folder)!r}, and HIP kernels that were compiled with it are "
            f"not shared. Unset CK_DIR: the package needs nothing of it."
        )

    def find_compiler(self, arch: str, probe: Probe) -> Compiler:
        """Find the first compiler that builds for an architecture."""
        return find_hip_compiler(arch, probe)

    def probe_error(self, compiler: Compiler, arch: str) -> str:
        """Have a compiler build an empty kernel; return its error, empty if there is none."""
        return probe_error(compiler, arch)

    def is_permanent(self, error: str) -> bool:
        """Tell whether a result of `probe_error` stays true while the compiler is the same."""
        # Other errors may be repaired, as a missing lld or a full disk.
        return not error or re.search(_PERMANENT, error) is not None

    def arch_of(self, product: bytes) -> str | None:
        """Return the architecture that a code object is for; None for another file."""
        return _arch.arch_of(product)

    def is_for(self, product: bytes, arch: str) -> bool:
        """Tell whether a code object may be one for an architecture."""
        return _arch.is_for(product, arch)


def extra_hip_include() -> Path | None:
    """Return ``CK_DIR``, a folder of additional headers for HIP kernels, or None."""
    folder = settings.ck_dir()
    if folder is not None and not folder.is_dir():
        raise ToolError(
            f"CK_DIR: {str(folder)!r} is not a folder. Set CK_DIR to a folder of headers, or unset "
            f"it: the package needs none."
        )
    return folder


# -- where compilers are ---------------------------------------------------------------------------


def find_hip_compiler(arch: str, probe: Probe | None = None) -> Compiler:
    """Find a compiler that builds for AMD GPUs.

    The order is: ROCm's in ``ROCM_PATH`` if set, else in /opt/rocm; hipcc or a clang on the PATH;
    hipRTC, which comes first if ``WARP_SORT_RTC`` is set. The first one that knows the architecture
    is returned. Its origin lists the compilers before it, which do not.

    Parameters
    ----------
    arch : str
        The architecture, as in ``gfx942``.
    probe : callable, optional
        Returns a compiler's error (default: `probe_error`).

    Raises
    ------
    ToolError
        There is no compiler, no compiler knows the architecture, or ``ROCM_PATH`` is wrong.
    """
    tried: set[Path] = set()
    refused: list[str] = []
    reasons: list[str] = []
    for compiler in _candidates():
        # clang++ and clang are usually two names of one program, except for a wrapper.
        program = compiler.program.resolve()
        if program in tried and compiler.identity() is not None:
            continue
        tried.add(program)
        error = (probe or probe_error)(compiler, arch)
        if not error:
            return compiler._replace(origin="; ".join([compiler.origin, *refused]))
        command = shlex.join(compiler.command)
        refused.append(f"{command} does not build for {arch}")
        reasons.append(f"{command} ({compiler.origin}) says for {arch}: {error}")
    if not tried:
        raise MissingToolError(
            "no HIP compiler: kernels for AMD GPUs are compiled on first use, and there is neither "
            "ROCm in ROCM_PATH or /opt/rocm, nor hipcc, clang++, clang or a clang with a version "
            f"on the PATH, nor hipRTC (libhiprtc.so). {_INSTALL}, or set ROCM_PATH to where ROCm "
            "is."
        )
    newest = _FIRST_CLANG.get(arch)
    since = f"; {arch} needs clang {newest} or newer" if newest else ""
    raise ToolError(f"no HIP compiler here builds for {arch}{since}: {'; '.join(reasons)}. {_HINT}")


def _candidates() -> Iterator[Compiler]:
    """Yield the compilers in the order of preference; nothing is run."""
    kinds = [_programs, _libraries]
    for kind in reversed(kinds) if settings.run_time_compilers() else kinds:
        yield from kind()


def _libraries() -> Iterator[Compiler]:
    return hiprtc_candidates(settings.rocm_path(), rocm_folders())


def _programs() -> Iterator[Compiler]:
    home = settings.rocm_path()
    if home is not None:
        compilers = list(_of_rocm(home, f"ROCM_PATH={home}"))
        if not compilers and next(_libraries(), None) is None:
            raise ToolError(
                f"ROCM_PATH: {str(home)!r} holds neither bin/hipcc nor "
                f"{' nor '.join(_CLANG_OF_ROCM)} nor lib/libhiprtc.so. Set ROCM_PATH to a "
                f"ROCm installation, or unset it to use a clang on the PATH."
            )
        yield from compilers
    else:
        for folder in rocm_folders():
            yield from _of_rocm(folder, f"ROCm in {folder}")
        hipcc = which("hipcc")
        if hipcc is not None:
            yield _hipcc(hipcc, "hipcc on the PATH")
    for name in _clang_names():
        clang = which(name)
        if clang is not None:
            yield _compiler(clang, f"{name} on the PATH")


def rocm_folders() -> list[Path]:
    """Return the folders of installed ROCm: the default one first, then the newest first."""
    return [Path("/opt/rocm"), *newest_first(Path("/opt"), "rocm-[0-9]*")]


def _of_rocm(folder: Path, origin: str) -> Iterator[Compiler]:
    hipcc = folder / "bin" / "hipcc"
    if is_program(hipcc):
        yield _hipcc(hipcc, origin)
    clang = _clang_of(folder)
    if clang is not None:
        yield _compiler(clang, origin)


def _clang_of(rocm: Path) -> Path | None:
    return next((rocm / name for name in _CLANG_OF_ROCM if is_program(rocm / name)), None)


def _hipcc(program: Path, origin: str) -> Compiler:
    """Describe hipcc, a wrapper around the clang of ROCm or of ``HIP_CLANG_PATH``."""
    chosen = settings.hip_clang_path()
    if chosen is not None:
        names = (chosen / name for name in ("clang++", "clang"))
        clang = next(filter(is_program, names), None)
    else:
        clang = _clang_of(program.parent.parent) or _clang_of(program.resolve().parent.parent)
    return _compiler(program, origin, wraps=clang)


def _compiler(program: Path, origin: str, wraps: Path | None = None) -> Compiler:
    program = program.absolute()
    return Compiler((str(program),), program, origin, "HIP compiler", _HINT, wraps=wraps)


def _clang_names() -> Iterator[str]:
    """Yield the names of clang on the PATH: without a version, then the newest first."""
    yield "clang++"
    yield "clang"
    numbers: set[int] = set()
    for folder in os.get_exec_path():
        try:
            names = [file.name for file in Path(folder).iterdir()]
        except OSError:
            continue
        numbers.update(int(name[6:]) for name in names if re.fullmatch("clang-[0-9]+", name))
    for number in sorted(numbers, reverse=True):
        yield f"clang-{number}"


# -- what a compiler builds for --------------------------------------------------------------------


def probe_error(compiler: Compiler, arch: str) -> str:
    """Have a compiler build an empty kernel for an architecture.

    Returns
    -------
    str
        The first line of the compiler's error; empty if it succeeds.
    """
    if compiler.unusable_because:
        return compiler.unusable_because
    if compiler.version_prefix:
        try:
            compiler.version()  # checks the program before it may write a file
        except ToolError as error:
            return str(error)
    try:
        with tempfile.TemporaryDirectory(prefix="warp-sort-") as folder:
            return _probe_error_in(Path(folder), compiler, arch)
    except (OSError, subprocess.SubprocessError) as error:
        return f"it cannot be run: {error}"


def _probe_error_in(folder: Path, compiler: Compiler, arch: str) -> str:
    source, product = folder / "source.hip", folder / "kernel.hsaco"
    source.write_text(_EMPTY_KERNEL)
    done = subprocess.run(
        [*compiler.command, *HipRecipe().flags(arch), str(source), "-o", str(product)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        env=plain_environment(),
        check=False,
    )
    if done.returncode == 0:
        is_code_object = product.is_file() and _arch.is_amdgpu(product.read_bytes())
        return "" if is_code_object else "its output is not a code object"
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    line = next((line for line in lines if "error" in line), "".join(lines[:1]))
    if "lld" in line and "exist" in line:
        return "it finds no lld, its linker"
    return line.partition("; ")[0][:200] or f"it ends with status {done.returncode}"
