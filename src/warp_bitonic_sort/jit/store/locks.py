"""Locks between processes that build the same artifacts.

Invariant: a lock only saves work, for builds are private until they are renamed into place. On a
file system without locks a build goes on without one, and a lock's file that is left behind hinders
no process. A process that waits longer than `PATIENCE` says so on standard error every time, naming
the lock and its holder.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ... import settings
from ...errors import LockError
from ...process.messages import say
from .files import read_json, write_json
from .flock import FileLock

# Seconds.
PATIENCE = 30.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_has_noted = False
# The files of the locks that each thread has, or is about to have. A signal handler or a finalizer
# on the same thread, or a child that it forks, would wait for itself.
_of_this_thread = threading.local()


@contextlib.contextmanager
def acquire_all(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Hold the locks of several artifacts.

    Parameters
    ----------
    folder : Path
        The folder of locks; it exists.
    names : iterable of str
        The artifacts.

    Raises
    ------
    LockError
        ``WARP_SORT_LOCK_TIMEOUT`` has passed.
    OSError
        The folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        # In a fixed order, so that two builds that share artifacts cannot wait for each other.
        for name in sorted(set(names)):
            stack.enter_context(_acquire(folder / f"{name}.lock", name))
        yield


@contextlib.contextmanager
def _acquire(path: Path, name: str) -> Iterator[None]:
    held: set[Path] = _of_this_thread.__dict__.setdefault("paths", set())
    if path in held:
        yield
        return
    with contextlib.ExitStack() as stack:
        held.add(path)
        stack.callback(held.discard, path)
        lock = FileLock(path)
        stack.callback(lock.release)
        if _wait(lock, path, name):
            holder = path.with_suffix(".holder")
            stack.callback(_unlink, holder)
            with contextlib.suppress(OSError):
                write_json(
                    holder,
                    {
                        "pid": os.getpid(),
                        "host": socket.gethostname(),
                        "since": int(time.time()),
                        "command": " ".join(sys.argv)[:200],
                    },
                    mode=0o600,
                )
        yield


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _try_for(lock: FileLock, path: Path, timeout: float) -> bool | None:
    """Acquire a lock; False if another process holds it for too long, None if there are no locks.

    A file system without locks answers with various errors. So does a folder that cannot be
    written: the build, which writes there next, raises that.
    """
    global _has_noted
    try:
        return lock.acquire(timeout)
    except OSError as error:
        if settings.verbose() and not _has_noted:
            _has_noted = True
            say(
                f"{path} cannot be locked ({error.strerror or error}): kernels are built without "
                f"locks, and another process may build the same."
            )
        return None


def _wait(lock: FileLock, path: Path, name: str) -> bool:
    """Acquire a lock, however long that takes; return False if there are no locks."""
    limit = settings.lock_timeout()
    start = time.monotonic()
    while True:
        left = float("inf") if limit is None else max(0.0, start + limit - time.monotonic())
        is_held = _try_for(lock, path, min(PATIENCE, left))
        if is_held is not False:
            return bool(is_held)
        seconds = round(time.monotonic() - start)
        waited = f"{seconds} s for {path}, the lock of {name}, held by {_holder(path)}"
        if left <= PATIENCE:
            raise LockError(
                f"waited {waited}; WARP_SORT_LOCK_TIMEOUT allows no more. If that process hangs, "
                f"end it: its lock goes with it."
            )
        say(f"waiting {waited}")


def _holder(path: Path) -> str:
    report = read_json(path.with_suffix(".holder")) or {}
    pid, host, since = report.get("pid"), report.get("host"), report.get("since")
    is_host = isinstance(host, str) and host.isprintable()
    if not isinstance(pid, int) or not is_host or not isinstance(since, int):
        return "a process that did not say who it is"
    seconds = max(0, int(time.time()) - since)
    return f"process {pid} on {host} for {seconds} s ({str(report.get('command'))[:200]!r})"


@contextlib.contextmanager
def try_acquire(path: Path) -> Iterator[bool | None]:
    """Hold a lock unless another process has it, and yield whether it is held.

    On a file system without locks None is yielded.

    Parameters
    ----------
    path : Path
        The lock's file, which is made if it does not exist.
    """
    lock = FileLock(path)
    try:
        yield _try_for(lock, path, 0)
    finally:
        lock.release()


@functools.cache
def machine() -> str:
    """Return what names the running system, as letters and digits; empty where it is not known.

    Processes of one system see each other's locks. Some network file systems keep locks within one
    host.
    """
    try:
        return _BOOT_ID.read_text("ascii").strip().replace("-", "")
    except (OSError, ValueError):
        return ""
