"""Delays forks while another thread is in the middle of a first call.

Invariant: while a thread is inside `held_off`, no other thread forks. Therefore a child inherits no
lock or pipe of a thread that does not exist in it: the locks of the loader, of an import, of a
library that is being loaded. Long waits (a compiler, another process's lock) are `allowed` to fork.
"""

from __future__ import annotations

# Imported first, because hooks before a fork run in the reverse order of their registration. The
# hooks of this module and of logging, which it imports, take locks that PyTorch's import needs: our
# hook, which waits for imports, must run before they do.
import concurrent.futures.thread  # noqa: F401
import contextlib
import os
import threading
from collections.abc import Iterator

from . import ending
from .messages import say

# Seconds. A thread that is inside for longer probably waits for the forking thread.
_LIMIT = 60.0

# Its lock is re-entrant: a signal handler or a finalizer that sorts may run at any line below.
_changed = threading.Condition()
# The number of nested `held_off` blocks that each thread is in.
_inside: dict[int, int] = {}
# The threads that wait to fork, or are forking.
_forking: list[int] = []


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Delay forks of other threads until the body ends, which must be soon."""
    ending.check()
    me = threading.get_ident()
    outer = _inside.get(me, 0)
    try:
        with _changed:
            # A fork waits for threads that are inside already, which therefore must not wait.
            if outer == 0:
                _wait_for_forks(me)
            _inside[me] = outer + 1
        yield
    finally:
        _set_depth(me, outer)


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """Let other threads fork during the body, even inside `held_off`."""
    me = threading.get_ident()
    outer = _inside.get(me, 0)
    try:
        _set_depth(me, 0)
        yield
    finally:
        with _changed:
            try:
                _wait_for_forks(me)
            finally:
                _set_depth(me, outer)


def _set_depth(me: int, depth: int) -> None:
    with _changed:
        if depth:
            _inside[me] = depth
        else:
            _inside.pop(me, None)
            _changed.notify_all()


def _wait_for_forks(me: int) -> None:
    if me not in _forking:
        _changed.wait_for(lambda: not _forking, _LIMIT)


def _before() -> None:
    me = threading.get_ident()
    with _changed:
        _forking.append(me)
        if not _changed.wait_for(lambda: _inside.keys() <= set(_forking), _LIMIT):
            say(
                f"this process forks although another thread has been loading a kernel for "
                f"{_LIMIT:.0f} s. A sort in the new process may wait forever. Sort once before the "
                f"first fork."
            )


def _after_in_parent() -> None:
    with _changed, contextlib.suppress(ValueError):
        _forking.remove(threading.get_ident())
        _changed.notify_all()


def _after_in_child() -> None:
    global _changed
    _changed = threading.Condition()
    _forking.clear()
    me = threading.get_ident()
    for thread in _inside.keys() - {me}:
        del _inside[thread]


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
