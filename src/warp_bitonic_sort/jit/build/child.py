"""Runs ninja so that no build outlives the process that started it.

Invariant: ninja gets SIGTERM, on which it ends its compilers: from the kernel when this process
dies, from this module when the build is interrupted.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...process import forks

# Seconds that ninja has to end its compilers.
_GRACE = 5.0
# Seconds after which `takes_long` is called, and between checks for a signal handler's exception.
_PERIOD = 1.0

# The program below prints this, and the system's reason, if the command cannot be run.
_NOT_RUN = "warp_bitonic_sort: not run: "
# Not a preexec_fn, which may hang in a process with threads. The parent may have died before the
# call of prctl; getppid() is 0 if the parent is in another PID namespace.
_TETHER = f"""
import os, signal, sys
parent, *command = sys.argv[1:]
try:
    import ctypes
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
except (AttributeError, ImportError, OSError):
    pass  # then compilers outlive a killed process
if os.getppid() in (int(parent), 0):
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit({_NOT_RUN!r} + str(error))
"""


class NotRunError(Exception):
    """Ninja cannot be run; the message is the system's reason."""


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    takes_long: Callable[[], None] = lambda: None,
) -> tuple[str, int]:
    """Run ninja and return its output and exit status.

    Parameters
    ----------
    command : sequence of str
        The path of ninja, and its arguments.
    environment : mapping of str to str
        Its environment variables.
    takes_long : callable, optional
        Called once if ninja has run for a second.

    Raises
    ------
    NotRunError
        Ninja cannot be run.
    """
    try:
        process = subprocess.Popen(
            [*_tether(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
    except OSError as error:
        raise NotRunError(error) from error
    with process:
        try:
            # Forks are not allowed above: the child would inherit the pipe's write end. It might
            # wait for this build, while this process waits for the end of the pipe.
            with forks.allowed():
                output = _output(process, takes_long)
        except BaseException:
            _end(process)
            raise
    if output.startswith(_NOT_RUN):
        raise NotRunError(output.removeprefix(_NOT_RUN).strip())
    return output, process.returncode


def _output(process: subprocess.Popen[str], takes_long: Callable[[], None]) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=_PERIOD)[0]
    takes_long()
    # A signal that arrives just before a read does not interrupt it, so the read has a timeout.
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_PERIOD)[0]


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _tether() -> list[str]:
    """Return the command that runs another one, which then ends with the thread that started it.

    It is empty if Python is embedded: ``sys.executable`` may then be the application, or need
    ``PYTHONHOME``.
    """
    executable = sys.executable or ""
    is_python = re.fullmatch(r"(python|pypy)[0-9.]*[dt]*", Path(executable).name) is not None
    # A virtual environment may have been removed since this process began.
    if not is_python or not os.access(executable, os.X_OK) or "PYTHONHOME" in os.environ:
        return []
    return [executable, "-I", "-S", "-c", _TETHER, str(os.getpid())]
