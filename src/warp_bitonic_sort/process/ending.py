"""Stops daemon threads that sort when the interpreter ends.

Invariant: once `end` has returned, no daemon thread is inside a call of tvm_ffi. Up to Python 3.13,
the interpreter terminates a daemon thread that waits for the interpreter's lock; in C++ that aborts
the process. `check` raises SystemExit in the thread instead, which releases its locks.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

# Seconds that running calls have to end.
_LIMIT = 10.0
_PERIOD = 0.001

_is_ending = False


def is_ending() -> bool:
    """Tell whether the interpreter is ending: prepared calls must not be kept then."""
    return _is_ending


def check() -> None:
    """Raise SystemExit in a daemon thread if the interpreter is ending."""
    if _is_ending and threading.current_thread().daemon:
        raise SystemExit


def end(forget: Callable[[], None]) -> None:
    """Wait until no daemon thread is in a call, at most some seconds.

    Parameters
    ----------
    forget : callable
        Called once; forgets prepared calls, so that every further call runs `check`.
    """
    global _is_ending
    _is_ending = True
    forget()
    limit = time.monotonic() + _LIMIT
    while _any_daemon_calls() and time.monotonic() < limit:
        time.sleep(_PERIOD)


def _any_daemon_calls() -> bool:
    """Tell whether a daemon thread's innermost frame belongs to this package or to tvm_ffi."""
    callers = (__name__.partition(".")[0], "tvm_ffi")
    frames = sys._current_frames()
    return any(
        str(frames[thread.ident].f_globals.get("__name__")).partition(".")[0] in callers
        for thread in threading.enumerate()
        if thread.daemon and thread.ident in frames
    )
