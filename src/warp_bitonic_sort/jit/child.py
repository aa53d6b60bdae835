"""Runs ninja so that no build outlives the process that asked for it.

Invariant: ninja ends the compilers that it runs when it gets SIGTERM, so SIGTERM is what it gets:
from the kernel when this process dies, from here when the build is interrupted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["run"]

# Seconds that ninja has to end its compilers.
_GRACE = 5.0

# What the program below prints before the number of an error of exec.
_NOT_RUN = "warp_bitonic_sort: not run: "
# A program of its own, not a preexec_fn, which may hang in a process with threads.
# The parent may have died before the call of prctl; 0 is a parent in another PID namespace.
_TETHER = f"""
import os, signal, sys
parent, *command = sys.argv[1:]
try:
    import ctypes
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
except (AttributeError, ImportError, OSError):
    pass  # compilers then outlive a killed process, and that is all
if os.getppid() in (int(parent), 0):
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit({_NOT_RUN!r} + str(error.errno))
"""


def run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[str, int]:
    """Run ninja and return its output and exit status.

    Parameters
    ----------
    command : sequence of str
        The path of ninja, and its arguments.
    environment : mapping of str to str
        Its environment variables.

    Raises
    ------
    OSError
        It does not run.
    """
    with subprocess.Popen(
        [*_tether(), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            _end(process)
            raise
    if output.startswith(_NOT_RUN):
        number = int(output.removeprefix(_NOT_RUN))
        raise OSError(number, os.strerror(number), command[0])
    return output, process.returncode


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _tether() -> list[str]:
    """Return the command before one that is to end when the thread that runs it does.

    It is empty where Python is embedded: ``sys.executable`` may then be the application, or need
    ``PYTHONHOME``.
    """
    executable = sys.executable or ""
    is_python = re.match(r"python|pypy", Path(executable).name) is not None
    if not is_python or "PYTHONHOME" in os.environ:
        return []
    return [executable, "-I", "-S", "-c", _TETHER, str(os.getpid())]
