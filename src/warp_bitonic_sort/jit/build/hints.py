"""Finds the first error in a build's output, and a hint at its cause.

Invariant: pure. Any output has an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...targets import RECIPES, recipe_of

_ERROR = (
    r"^(?P<line>.*(?:(?:\bfatal error|\berror|\bnvcc fatal)\s*:.*"
    r"|: (?:not found|Permission denied)\s*))$"
)
# Hints for all compilers. The hints of recipes come first.
_HINTS: tuple[tuple[str, str], ...] = (
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
    """Return the names of the artifacts whose compilation failed; all if the log names none."""
    logged = re.findall(r"^FAILED: .*?(\w+)/[^/\s]+\s*$", log, re.MULTILINE)
    return [name for name in names if name in logged] or list(names)


def first_error(log: str) -> tuple[str, str]:
    """Return the first error in a build's output, and a hint at its cause."""
    error = re.search(_ERROR, log, re.MULTILINE)
    if error is not None:
        line = error["line"].strip()
    else:
        lines = [text for text in log.splitlines() if text.strip() and text[:6] != "ninja:"]
        of_compiler = (text for text in lines if "FAILED" not in text and "$" not in text)
        line = next(of_compiler, lines[0] if lines else "the build printed nothing").strip()
    # ninja prints the command that failed.
    flag = re.search(r"-(?:offload-)?arch=([\w-]+)", log)
    arch = f"the architecture {flag[1]}" if flag else "the device's architecture"
    hints = [hint for recipe in map(recipe_of, RECIPES) for hint in recipe.hints]
    for pattern, hint in (*hints, *_HINTS):
        if re.search(pattern, log):
            return line, hint.replace("{arch}", arch)
    return line, "see the log for the whole output; WARP_SORT_JIT_VERBOSE=1 shows the commands"
