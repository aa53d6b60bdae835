"""Shell scripts that do nothing but run a compiler with some options.

Invariant: nothing is run. A script is understood only where every word of it is; of any other,
nobody knows what it runs.
"""

from __future__ import annotations

import os
import shutil

from .toolchain import WRAPPERS, is_plain

__all__ = ["program_behind"]

_SHELLS = ("/bin/sh", "/usr/bin/sh", "/bin/bash", "/usr/bin/bash", "/bin/dash", "/usr/bin/dash")


def program_behind(script: bytes) -> str | None:
    """Return the program that a script runs, and never another; None where that is not known.

    Parameters
    ----------
    script : bytes
        The text of the script: a shell's name, comments, and
        ``exec /absolute/path options "$@"``.
    """
    first, *lines = script.decode(errors="surrogateescape").splitlines()
    if first.removeprefix("#!").strip() not in _SHELLS:
        return None
    commands = [words for line in lines if (words := line.split()) and words[0][0] != "#"]
    if len(commands) != 1 or len(commands[0]) < 3:
        return None
    (start, program, *words), end = commands[0][:-1], commands[0][-1]
    if start != "exec" or end not in ('"$@"', '${1+"$@"}') or not os.path.isabs(program):  # noqa: PTH117
        return None
    # What is no option may be a program that the first one runs, as env does.
    if not all(map(is_plain, [program, *words])) or any(map(shutil.which, words)):
        return None
    real = os.path.realpath(program)
    if os.path.basename(program) in WRAPPERS or os.path.basename(real) in WRAPPERS:  # noqa: PTH119
        return None
    try:
        with open(real, "rb") as file:  # noqa: PTH123 - a start comes by
            return None if file.read(2) == b"#!" else real
    except OSError:
        return None
