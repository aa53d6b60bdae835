"""Locks between processes that build the same: the kernel releases them when their holder dies.

Invariant: a lock only saves work, for builds are private until they are renamed into place. So a
build goes on without a lock where the file system has none, and a file that is left of a lock
hinders no process. No other user can open a lock's file, and so hold it. A process that waits
longer than `PATIENCE` says so on standard error every time, naming the lock and its holder. The
existence of a file is never a lock: a process that dies on another host would hold it for ever.
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

import filelock

from . import LockError, forks, settings
from .files import read_json, write_json
from .notice import say

__all__ = ["PATIENCE", "held", "machine", "tried"]

# Seconds.
PATIENCE = 30.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_has_noted = False

# The files of the locks that each thread has, or is about to have. What runs on the same thread (a
# signal handler, a finalizer; a child that these fork) would wait for itself.
_of_this_thread = threading.local()


@contextlib.contextmanager
def held(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Hold the locks of several artifacts.

    Parameters
    ----------
    folder : Path
        Where locks are; it exists.
    names : iterable of str
        What is locked.

    Raises
    ------
    LockError
        ``WARP_SORT_LOCK_TIMEOUT`` has passed.
    OSError
        The folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        # Always in the same order: two builds that share an artifact can't wait for each other.
        for name in sorted(set(names)):
            stack.enter_context(_one(folder / f"{name}.lock", name))
        yield


@contextlib.contextmanager
def _one(path: Path, name: str) -> Iterator[None]:
    mine: set[Path] = _of_this_thread.__dict__.setdefault("paths", set())
    if path in mine:
        yield
        return
    mine.add(path)
    try:
        with _held(path, name):
            yield
    finally:
        mine.discard(path)


@contextlib.contextmanager
def _held(path: Path, name: str) -> Iterator[None]:
    with contextlib.suppress(OSError):
        if path.lstat().st_mode & 0o077:
            # An earlier version made it, and another user may hold it. Some file systems have no
            # modes: there it is a lock as good as any.
            path.chmod(0o600)
            if not path.lstat().st_mode & 0o077:
                path.unlink()
    lock = _lock(path)
    if not _wait(lock, path, name):
        yield
        return
    holder = path.with_suffix(".holder")
    try:
        # Beside the lock, for some versions of the library empty the file that they lock.
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
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        _release(lock)


# The library waits for forks in these three, and has forks wait for them.


@forks.allowed()
def _lock(path: Path) -> filelock.BaseFileLock:
    """Return the lock of a file, which is made so that only this user can open it."""
    return filelock.UnixFileLock(path, mode=0o600, fallback_to_soft=False)


@forks.allowed()
def _acquired(lock: filelock.BaseFileLock, timeout: float) -> bool:
    """Acquire a lock; False where there is none to be had. Raises filelock.Timeout.

    File systems without locks answer with various errors. A folder that cannot be written is told
    of by the build, which writes there next.
    """
    global _has_noted
    try:
        lock.acquire(timeout=timeout)
    except filelock.Timeout:
        raise
    except OSError as error:
        if settings.verbose() and not _has_noted:
            _has_noted = True
            say(
                f"{lock.lock_file} cannot be locked ({error.strerror or error}): kernels are built "
                f"without locks, and another process may build the same."
            )
        return False
    return True


@forks.allowed()
def _release(lock: filelock.BaseFileLock) -> None:
    with contextlib.suppress(OSError):  # it goes with the process
        lock.release()


def _wait(lock: filelock.BaseFileLock, path: Path, name: str) -> bool:
    """Acquire a lock, however long that takes; False where there is none to be had."""
    limit = settings.lock_timeout()
    start = time.monotonic()
    while True:
        left = float("inf") if limit is None else max(0.0, start + limit - time.monotonic())
        try:
            return _acquired(lock, min(PATIENCE, left))
        except filelock.Timeout:
            seconds = round(time.monotonic() - start)
            waited = f"{seconds} s for {path}, the lock of {name}, held by {_holder(path)}"
            if left <= PATIENCE:
                raise LockError(
                    f"waited {waited}; WARP_SORT_LOCK_TIMEOUT allows no more. If that process "
                    f"hangs, end it: its lock goes with it."
                ) from None
            say(f"waiting {waited}")


def _holder(path: Path) -> str:
    said = read_json(path.with_suffix(".holder")) or {}
    pid, host, since = said.get("pid"), said.get("host"), said.get("since")
    is_host = isinstance(host, str) and host.isprintable()
    if not isinstance(pid, int) or not is_host or not isinstance(since, int):
        return "a process that did not say who it is"
    ago = max(0, int(time.time()) - since)
    return f"process {pid} on {host} for {ago} s ({str(said.get('command'))[:200]!r})"


@contextlib.contextmanager
def tried(path: Path) -> Iterator[bool | None]:
    """Hold a lock for a while if no other process has it, and tell whether that was so.

    None is for file systems without locks, where no process can tell.

    Parameters
    ----------
    path : Path
        The lock's file, which is made if it is not there.
    """
    lock = _lock(path)
    try:
        is_held = _acquired(lock, 0)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True if is_held else None
    finally:
        _release(lock)


@functools.cache
def machine() -> str:
    """Return what names the running system, as letters and digits; empty where it is not known.

    Its processes see each other's locks. Some network file systems keep locks within one host.
    """
    try:
        return _BOOT.read_text("ascii").strip().replace("-", "")
    except (OSError, ValueError):
        return ""
