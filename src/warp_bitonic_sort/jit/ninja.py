"""The text of build.ninja, running it, and what went wrong.

Invariant: the rule that is hashed into an artifact's key is the rule that ninja runs; what differs
between machines (folders, the compiler's command) stands in variables above it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .. import settings
from ..errors import ToolError
from ..kernels import Artifact
from ..process import messages
from . import child, toolchain
from .compiler import Compiler, plain_environment
from .toolchain import COMMANDS, DEPFILE, PRODUCTS, SOURCES, rule

__all__ = [
    "DEPFILE",
    "PRODUCTS",
    "SOURCES",
    "Failure",
    "build",
    "failed",
    "first_error",
    "rule",
    "text",
    "version",
]


_REINSTALL = "Reinstall it with: pip install --force-reinstall ninja"


class Failure(NamedTuple):
    """A build that failed: ninja's whole output and its exit status."""

    log: str
    status: int


def _escaped(path: Path | str) -> str:
    """Escape a value for ninja, and for the shell where the value needs it."""
    return shlex.quote(str(path)).replace("$", "$$")


def _build_path(path: str) -> str:
    return path.replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


def text(artifacts: Sequence[Artifact], compilers: Mapping[str, Compiler]) -> str:
    """Return the build.ninja that makes every artifact, each in the folder of its own name.

    Parameters
    ----------
    artifacts : sequence of Artifact
        What to make.
    compilers : mapping of str to Compiler
        The compiler of each kind of artifact among them.

    Raises
    ------
    ToolError
        A command or a folder has a control character.
    """
    folders: dict[str, Path] = {}
    for artifact in artifacts:
        folders.update(toolchain.include_dirs(artifact))
    for compiler in compilers.values():
        for word in compiler.command:
            name = f"the {compiler.kind} ({compiler.why!r})"
            settings.refuse_control_characters(name, word, ToolError)
    for token, path in folders.items():
        name = f"the folder of headers {token}"
        settings.refuse_control_characters(name, str(path), ToolError)
    commands = {COMMANDS[kind]: compiler.command for kind, compiler in compilers.items()}
    lines = [f"{name} = {shlex.join(words).replace('$', '$$')}" for name, words in commands.items()]
    lines += [f"{token} = {_escaped(folder)}" for token, folder in folders.items()]
    rules = {rule(artifact) for artifact in artifacts}
    statements = []
    for artifact in artifacts:
        folder = _build_path(artifact.name)
        name = rule(artifact).split()[1]
        statements.append(
            f"build {folder}/{PRODUCTS[artifact.target]}: {name} "
            f"{folder}/{SOURCES[artifact.target]}\n"
            f"  depfile = {folder}/{DEPFILE}\n"
        )
    return "\n".join(["ninja_required_version = 1.8", *lines, "", *sorted(rules), *statements])


def version(program: Path) -> str:
    """Run ninja and return the version that it answers.

    Raises
    ------
    ToolError
        It does not run, or is another program of that name.
    """
    try:
        done = subprocess.run(
            [str(program), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(f"ninja ({program}) does not run: {error}. {_REINSTALL}") from error
    answer = done.stdout.strip()
    if done.returncode != 0 or not answer[:1].isdecimal():
        said = (answer or done.stderr.strip() or "nothing").splitlines()[-1][:200]
        raise ToolError(
            f"ninja ({program}) answers --version with {said!r} (exit status {done.returncode}): "
            f"that is no ninja, or a broken one. {_REINSTALL}"
        )
    return answer


def build(
    folder: Path,
    program: Path,
    jobs: int | None = None,
    takes_long: Callable[[], None] = lambda: None,
) -> Failure | None:
    """Run ninja in a folder that holds build.ninja; return None when everything was made.

    Parameters
    ----------
    folder : Path
        The folder.
    program : Path
        The ninja to run.
    jobs : int, optional
        How many compilers may run at once; ninja finds out if not given.
    takes_long : callable, optional
        Called once if ninja has run for a second.
    """
    command = [str(program), "-C", str(folder), "-k", "1"]
    if jobs is not None:
        command += ["-j", str(jobs)]
    shown = settings.verbose()
    if shown:
        command.append("-v")
    environment = {**plain_environment(), "NINJA_STATUS": "[%f/%t] ", "TERM": "dumb"}
    try:
        log, status = child.run(command, environment, takes_long)
    except child.NotRunError as error:
        raise ToolError(f"ninja ({program}) does not run: {error}. {_REINSTALL}") from error
    if shown:
        messages.write(log)
    return Failure(log, status) if status != 0 else None


# Compiled when it is needed: most processes build nothing.
_ERROR = (
    r"^(?P<line>.*(?:(?:\bfatal error|\berror|\bnvcc fatal)\s*:.*"
    r"|: (?:not found|Permission denied)\s*))$"
)
_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"unrecognized (?:command[- ]line option|argument).*-std=c\+\+17|invalid value 'c\+\+17'",
        "the compiler is too old: it needs C++17 (g++ 11 or clang++ 14, or newer); set CXX",
    ),
    (
        r"unrecognized command[- ]line option .*-m|unknown argument: '-m",
        "the compiler does not know this CPU's instructions; set CXX to a newer one, or "
        "WARP_SORT_CPU_ARCH to a lesser target",
    ),
    (
        r"Unsupported gpu architecture|is not defined for option 'gpu-architecture'"
        r"|invalid value for --gpu-architecture",
        "this CUDA toolkit does not know {arch}: install a newer one (or an "
        "older one, for an old device), and set CUDA_HOME to it",
    ),
    (
        r"invalid target ID|unsupported HIP gpu architecture|unsupported code object version",
        "this HIP compiler does not know {arch}: install a newer clang and its "
        "lld, or ROCm, and set ROCM_PATH to it",
    ),
    (
        r"Executable \"(?:ld\.)?lld\" doesn't exist",
        "the HIP compiler finds no lld, its linker: install the lld of the same version (Debian "
        "and Ubuntu: apt install lld-19 for clang-19)",
    ),
    (
        r"unsupported GNU version|unsupported clang version",
        "the host compiler is too new for this CUDA toolkit; set NVCC_CCBIN to an older one, or "
        "CUDA_HOME to a newer toolkit",
    ),
    (
        r"failed to open libnvrtc-builtins",
        "NVRTC misses its other library; reinstall it: "
        "pip install --force-reinstall nvidia-cuda-nvrtc",
    ),
    (
        r"No space left on device|Disk quota exceeded|Read-only file system",
        "the compiler could not write its temporary files: make room in their folder (TMPDIR, else "
        "/tmp), or set TMPDIR to one with more",
    ),
    (
        r"Killed|out of memory|Cannot allocate memory|virtual memory exhausted",
        "the compiler ran out of memory; set MAX_JOBS=1",
    ),
    (
        r"fatal error: (?:tvm/|dlpack/)",
        "apache-tvm-ffi's headers are missing; reinstall it: "
        "pip install --force-reinstall apache-tvm-ffi",
    ),
    (
        r"fatal error: (?:warp_bitonic_sort/|runtime/)",
        "the package's own sources are missing; reinstall warp-bitonic-sort",
    ),
    (
        r"fatal error: cannot execute|error trying to exec",
        "a program that the compiler runs is missing; install its binutils (Debian and Ubuntu: "
        "apt install g++ binutils)",
    ),
    (
        r"fatal error: .*(?:No such file|file not found)",
        "a system header is missing; install the C++ standard library's development files "
        "(Debian and Ubuntu: apt install g++)",
    ),
    (
        r"cannot find -l|ld: |collect2|linker command failed",
        "linking failed; the compiler's binutils or runtime libraries are incomplete",
    ),
)


def failed(log: str, names: Sequence[str]) -> list[str]:
    """Return the names of the artifacts whose compilation failed; all where none is named."""
    made = re.findall(r"^FAILED: .*?(\w+)/(?:library|kernel)\.", log, re.MULTILINE)
    return [name for name in names if name in made] or list(names)


def first_error(log: str) -> tuple[str, str]:
    """Return the first error in a build's output, and a hint at its cause."""
    found = re.search(_ERROR, log, re.MULTILINE)
    if found is not None:
        line = found["line"].strip()
    else:
        said = [line for line in log.splitlines() if line.strip() and not line.startswith("ninja:")]
        line = next((text for text in said if "FAILED" not in text and "$" not in text), "")
        line = line.strip() or (said[0].strip() if said else "the build printed nothing")
    # ninja prints the command that failed.
    asked = re.search(r"-(?:offload-)?arch=([\w-]+)", log)
    arch = f"the architecture {asked[1]}" if asked else "the device's architecture"
    for pattern, hint in _HINTS:
        if re.search(pattern, log):
            return line, hint.replace("{arch}", arch)
    return line, "see the log for the whole output; WARP_SORT_JIT_VERBOSE=1 shows the commands"
