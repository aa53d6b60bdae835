"""The clangs that HIP kernels are tested with: the oldest that the README accepts and the newest.

Invariant: a test names its clang by `ROCM_PATH`, as a user would, and no other one is run.
"""

import os
import re
from pathlib import Path

from warp_bitonic_sort.errors import ToolError
from warp_bitonic_sort.targets.hip import compiler as finder

OLDEST_ACCEPTED = 19


def found() -> dict[int, Path]:
    """Return the clangs of this machine that build for an AMD GPU, by version, in ascending order.

    Older ones than the README accepts are left out, unless there is no other.
    """
    clangs: dict[int, Path] = {}
    try:
        compilers = list(finder._programs())
    except ToolError:
        return clangs
    for compiler in compilers:
        # hipcc runs a clang that is found by itself.
        if compiler.program.name == "hipcc" or finder.probe_error(compiler, "gfx942"):
            continue
        version = re.search(r"clang version (\d+)", compiler.version())
        if version:
            clangs.setdefault(int(version[1]), Path(compiler.command[0]))
    accepted = {version: clangs[version] for version in clangs if version >= OLDEST_ACCEPTED}
    return dict(sorted((accepted or clangs).items()))


def unused(clangs: dict[int, Path]) -> list[str]:
    """Return the compilers that CI found (``WARP_SORT_TESTS_HIP``) and no test would run."""
    used = {path.resolve() for path in list(clangs.values())[:1] + list(clangs.values())[-1:]}
    named = filter(None, os.environ.get("WARP_SORT_TESTS_HIP", "").split(os.pathsep))
    return [path for path in named if Path(path).resolve() not in used]


def rocm_with(clang: Path, folder: Path) -> Path:
    """Make a folder that `ROCM_PATH` may name, whose compiler is that clang."""
    program = folder / "llvm" / "bin" / "clang++"
    program.parent.mkdir(parents=True)
    program.symlink_to(clang)
    return folder


# A compiler of a test: it supports the targets in KNOWN, and logs each call in the file ASKED.
_FAKE = """#!/bin/sh
echo "$@" >>{folder}/asked
case "$*" in --version) echo "{name} of a test"; exit;; esac
for word in "$@"; do
  case "$word" in --offload-arch=*) arch=${{word#*=}};; esac
  out=$word
done
case " {known} " in
  *" $arch "*) printf '\\177ELF\\2\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\3\\0\\340\\0%044d' 0 >"$out";;
  *) echo "{name}: error: {error}" >&2; exit 1;;
esac
"""


def fake(folder: Path, name: str, known: str = "gfx942", error: str = "") -> Path:
    """Write a compiler that supports some targets."""
    program = folder / name
    program.parent.mkdir(parents=True, exist_ok=True)
    error = error or "invalid target ID '$arch'; format is a processor name"
    program.write_text(_FAKE.format(folder=folder, name=program.name, known=known, error=error))
    program.chmod(0o755)
    return program
