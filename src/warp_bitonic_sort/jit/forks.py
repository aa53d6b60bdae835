"""Lets a process fork only where the child can go on: no thread is half-way through a first call.

Invariant: while a thread is inside `held_off`, no other thread forks. The child therefore inherits
no lock of a thread that it lacks: not the loader's, not an import's (tvm_ffi's takes seconds), not
one in a library that is being loaded; nor a pipe's end. What takes long is `allowed`: waiting for
compilers, and for a lock of another process.
"""

from __future__ import annotations

# It imports logging, and PyTorch imports it. Both hold a lock of their own during a fork, but must
# not while our hook waits for PyTorch's import: what is registered first runs last.
import concurrent.futures.thread  # noqa: F401
import contextlib
import os
import threading
from collections.abc import Iterator

from . import ending

__all__ = ["allowed", "held_off"]

# Seconds. A thread that is inside for longer waits for something that the forking thread has.
_LIMIT = 60.0

# Its lock is re-entrant: a signal handler or a finalizer that sorts may run at any line below.
_changed = threading.Condition()
# By thread: how many `held_off` it is in.
_inside: dict[int, int] = {}
# The threads that wait to fork, or are forking.
_forking: list[int] = []


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Have forks of other threads wait for the end of the body, which must be short."""
    ending.park()
    me = threading.get_ident()
    with _changed:
        # A thread that is inside already is waited for, and must not wait in turn.
        if me not in _inside:
            _wait_for_forks(me)
        _inside[me] = _inside.get(me, 0) + 1
    try:
        yield
    finally:
        with _changed:
            _inside[me] -= 1
            if _inside[me] == 0:
                del _inside[me]
                _changed.notify_all()


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """Let other threads fork during the body, whatever `held_off` this thread is in."""
    me = threading.get_ident()
    with _changed:
        depth = _inside.pop(me, 0)
        _changed.notify_all()
    try:
        yield
    finally:
        with _changed:
            _wait_for_forks(me)
            if depth:
                _inside[me] = depth


def _wait_for_forks(me: int) -> None:
    if me not in _forking:
        _changed.wait_for(lambda: not _forking, _LIMIT)


def _before() -> None:
    me = threading.get_ident()
    with _changed:
        _forking.append(me)
        _changed.wait_for(lambda: _inside.keys() <= set(_forking), _LIMIT)


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
