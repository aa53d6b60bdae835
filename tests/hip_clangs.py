"""The clangs that HIP kernels are tested with: the oldest that the README accepts and the newest.

Invariant: a test names its clang by `ROCM_PATH`, as a user would, and no other one is run.
"""

import os
import re
from pathlib import Path

from warp_bitonic_sort.jit import ToolError
from warp_bitonic_sort.jit import hip_compiler as finder

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
        if compiler.path.name == "hipcc" or finder.refusal(compiler, "gfx942"):
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
