"""Shell scripts that do nothing but run a compiler with some options.

Invariant: nothing is run. A script is understood only where every word of it is; of any other,
nobody knows what it runs.
"""

from __future__ import annotations

import os

from .toolchain import is_plain

__all__ = ["program_behind"]

_SHELLS = (b"/bin/sh", b"/usr/bin/sh", b"/bin/bash", b"/usr/bin/bash", b"/bin/dash")
# What compilers are called, between hyphens: x86_64-linux-gnu-g++-13, g++-real. Others (env,
# ccache, docker, an interpreter) run what their arguments or anything else say.
_COMPILERS = frozenset(
    {"c++", "g++", "clang", "clang++", "amdclang++", "icpc", "icpx", "nvc++", "nvcc"}
)


def program_behind(script: bytes) -> str | None:
    """Return the compiler that a script runs, and never another; None where that is not known.

    Parameters
    ----------
    script : bytes
        The text of the script: a shell's name, comments, and
        ``exec /absolute/path/to/compiler options "$@"``.
    """
    first, *lines = script.split(b"\n")
    if first.removeprefix(b"#!").strip(b" ") not in _SHELLS:
        return None
    told = [line for line in lines if line.strip(b" ") and not line.startswith(b"#")]
    try:
        words = told[0].decode("ascii").split(" ") if len(told) == 1 else []
    except UnicodeDecodeError:
        return None
    start, *command, end = [word for word in words if word] or ["", ""]
    if start != "exec" or end != '"$@"' or not command or not all(map(is_plain, command)):
        return None
    program, *options = command
    # What is neither an option nor a folder may be another program, or a script.
    if not all(option.startswith("-") or os.path.isdir(option) for option in options):  # noqa: PTH112
        return None
    real = os.path.realpath(program)
    if not os.path.isabs(program) or not (_is_compiler(program) and _is_compiler(real)):  # noqa: PTH117
        return None
    try:
        with open(real, "rb") as file:  # noqa: PTH123 - a start comes by
            # By the name that the script has: a link may lead to another one tomorrow.
            return None if file.read(2) == b"#!" else program
    except OSError:
        return None


def _is_compiler(program: str) -> bool:
    return not _COMPILERS.isdisjoint(os.path.basename(program).split("-"))  # noqa: PTH119
