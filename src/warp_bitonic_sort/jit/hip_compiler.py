"""The compiler of kernels for AMD GPUs: hipcc, a clang or hipRTC, and where it is.

Invariant: no header or library of ROCm's is read, so that any clang that knows the target and has
its lld will do; what comes out is one code object, never a bundle of them.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .. import settings
from ..errors import ToolError
from .compiler import Compiler, plain_environment
from .rtc_compilers import hiprtc_candidates
from .toolchain import hip_flags, which

__all__ = ["find_hip_compiler", "lasts", "refusal"]

_INSTALL = "Install clang and its lld (Debian, Ubuntu: apt install clang-19 lld-19), or ROCm"
_REMEDY = f"{_INSTALL}, and set ROCM_PATH to it."
# The first LLVM that knows targets which widespread ones do not.
_FIRST_CLANG = {"gfx942": 17, "gfx950": 20, "gfx9-4-generic": 20}
# What compilers say that will never know a target.
_LASTING = "invalid target ID|nknown argument|nsupported|No available targets"
_CLANG_OF_ROCM = ("llvm/bin/clang++", "lib/llvm/bin/clang++")


def _compiler(program: Path, why: str, behind: Path | None = None) -> Compiler:
    program = program.absolute()
    return Compiler((str(program),), program.resolve(), why, "HIP compiler", _REMEDY, behind=behind)


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _clang_of(rocm: Path) -> Path | None:
    return next((rocm / name for name in _CLANG_OF_ROCM if _is_program(rocm / name)), None)


def _hipcc(program: Path, why: str) -> Compiler:
    """Describe hipcc, a wrapper around the clang of ROCm or of ``HIP_CLANG_PATH``."""
    chosen = settings.hip_clang_path()
    if chosen is not None:
        clang = next((chosen / name for name in ("clang++", "clang")
                      if _is_program(chosen / name)), None)  # fmt: skip
    else:
        clang = _clang_of(program.parent.parent) or _clang_of(program.resolve().parent.parent)
    return _compiler(program, why, behind=None if clang is None else clang.resolve())


def _of_rocm(folder: Path, why: str) -> Iterator[Compiler]:
    hipcc = folder / "bin" / "hipcc"
    if _is_program(hipcc):
        yield _hipcc(hipcc, why)
    clang = _clang_of(folder)
    if clang is not None:
        yield _compiler(clang, why)


def _rocm_folders() -> list[Path]:
    """Return where installers put ROCm: the one that is linked to first, then newer ones."""

    def version(folder: Path) -> list[int]:
        return [int(number) for number in re.findall("[0-9]+", folder.name)]

    numbered = sorted(Path("/opt").glob("rocm-[0-9]*"), key=version, reverse=True)
    return [Path("/opt/rocm"), *numbered]


def _candidates() -> Iterator[Compiler]:
    """Yield the compilers there are, the most specific first; nothing is run.

    hipRTC is the last, for it needs all of ROCm, where a clang needs nothing; it is the first where
    ``WARP_SORT_RTC`` asks for it.
    """
    kinds = [_programs, _libraries]
    for kind in reversed(kinds) if settings.run_time_compilers() else kinds:
        yield from kind()


def _libraries() -> Iterator[Compiler]:
    return hiprtc_candidates(settings.rocm_path(), _rocm_folders())


def _programs() -> Iterator[Compiler]:
    home = settings.rocm_path()
    if home is not None:
        there = list(_of_rocm(home, f"ROCM_PATH={home}"))
        if not there and next(_libraries(), None) is None:
            raise ToolError(
                f"ROCM_PATH: {str(home)!r} holds neither bin/hipcc nor "
                f"{' nor '.join(_CLANG_OF_ROCM)} nor lib/libhiprtc.so. Set ROCM_PATH to a "
                f"ROCm installation, or unset it to use a clang on the PATH."
            )
        yield from there
    else:
        for folder in _rocm_folders():
            yield from _of_rocm(folder, f"ROCm in {folder}")
        hipcc = which("hipcc")
        if hipcc is not None:
            yield _hipcc(Path(hipcc), "hipcc on the PATH")
    for name in _clang_names():
        found = which(name)
        if found is not None:
            yield _compiler(Path(found), f"{name} on the PATH")


def _clang_names() -> Iterator[str]:
    """Yield what clang is called on the PATH: plainly, then with its version, newest first."""
    yield "clang++"
    yield "clang"
    numbers: set[int] = set()
    for folder in os.get_exec_path():
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - every millisecond of a start counts
        except OSError:
            continue
        numbers.update(int(name[6:]) for name in names if re.fullmatch("clang-[0-9]+", name))
    for number in sorted(numbers, reverse=True):
        yield f"clang-{number}"


def refusal(compiler: Compiler, arch: str) -> str:
    """Return why a compiler builds nothing for a target, having it build an empty kernel.

    Returns
    -------
    str
        In the compiler's own words, one line; empty if it builds what it should.
    """
    if compiler.unfit:
        return compiler.unfit
    if compiler.answers:
        try:
            compiler.version()  # before it is given a file to write
        except ToolError as error:
            return str(error)
    try:
        with tempfile.TemporaryDirectory(prefix="warp-sort-") as folder:
            return _refusal_in(Path(folder), compiler, arch)
    except (OSError, subprocess.SubprocessError) as error:
        return f"it cannot be asked: {error}"


def _refusal_in(folder: Path, compiler: Compiler, arch: str) -> str:
    source, product = folder / "source.hip", folder / "kernel.hsaco"
    source.write_text('extern "C" __attribute__((global)) void nothing() {}\n')
    done = subprocess.run(
        [*compiler.command, *hip_flags(arch), str(source), "-o", str(product)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        env=plain_environment(),
        check=False,
    )
    if done.returncode == 0:
        return "" if _is_code_object(product) else "what it makes is no code object"
    said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    line = next((line for line in said if "error" in line), "".join(said[:1]))
    if "lld" in line and "exist" in line:
        return "it finds no lld, which links what it compiles"
    return line.partition("; ")[0][:200] or f"it ends with status {done.returncode}"


def _is_code_object(file: Path) -> bool:
    """Tell whether a file is what the driver loads, and no bundle of such."""
    machine_at, amd_gpu = 18, 224
    try:
        head = file.read_bytes()[:20]
    except OSError:
        return False
    return head[:4] == b"\x7fELF" and int.from_bytes(head[machine_at:], "little") == amd_gpu


def lasts(answer: str) -> bool:
    """Tell whether an answer of `refusal` stays true for as long as the compiler is the same.

    A missing lld may be installed, a full disk emptied.
    """
    return not answer or re.search(_LASTING, answer) is not None


def find_hip_compiler(
    archs: Sequence[str], refuses: Callable[[Compiler, str], str] = refusal
) -> Compiler:
    """Find a compiler that builds for AMD GPUs.

    ROCm's in ``ROCM_PATH`` if set, else in /opt/rocm; hipcc or a clang on the PATH; hipRTC, which
    comes first where ``WARP_SORT_RTC`` asks for it. The first that
    knows every target is taken, and says so in its ``why`` where that is not the first there is.

    Parameters
    ----------
    archs : sequence of str
        The targets, as in ``gfx942``.
    refuses : callable, default refusal
        Answers why a compiler does not build for a target, or with an empty string.

    Raises
    ------
    ToolError
        There is none, none that knows the targets, or ``ROCM_PATH`` is wrong.
    """
    asked: set[Path] = set()
    refused: list[str] = []
    reasons: list[str] = []
    for compiler in _candidates():
        # clang++ and clang are two names of one program, unless they are a wrapper's.
        if compiler.path in asked and compiler.identity() is not None:
            continue
        asked.add(compiler.path)
        for arch in archs:
            reason = refuses(compiler, arch)
            if reason:
                command = shlex.join(compiler.command)
                refused.append(f"{command} does not build for {arch}")
                reasons.append(f"{command} ({compiler.why}) says for {arch}: {reason}")
                break
        else:
            why = "; ".join([compiler.why, *refused])
            return compiler._replace(why=why)
    if not asked:
        raise ToolError(
            "no HIP compiler: kernels for AMD GPUs are compiled on first use, and there is neither "
            "ROCm in ROCM_PATH or /opt/rocm, nor hipcc, clang++, clang or a clang with a version "
            f"on the PATH, nor hipRTC (libhiprtc.so). {_INSTALL}, or set ROCM_PATH to where ROCm "
            "is."
        )
    wanted = ", ".join(archs)
    newest = max((_FIRST_CLANG.get(arch, 0) for arch in archs), default=0)
    since = f"; {wanted} needs clang {newest} or newer" if newest else ""
    raise ToolError(
        f"no HIP compiler here builds for {wanted}{since}: {'; '.join(reasons)}. {_REMEDY}"
    )
