"""Locks between processes that build the same: the kernel releases them when their holder dies.

Invariant: a lock only saves work, for builds are private until they are renamed into place. So a
build goes on without a lock where the file system has none, and a file that is left of a lock
hinders no process. A process that waits longer than `PATIENCE` says so on standard error every
time, naming the lock and its holder.
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
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_has_noted = False

# The files of the locks that each thread has, or is about to have. What runs on the same thread (a
# signal handler, a finalizer; a child that these fork) would wait for itself.
_of_this_thread = threading.local()


@contextlib.contextmanager
def acquire_all(folder: Path, names: Iterable[str]) -> Iterator[None]:
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
    holder = path.with_suffix(".holder")
    lock = FileLock(path)
    with contextlib.ExitStack() as stack:
        stack.callback(lock.release)
        if _wait(lock, path, name):
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


def _acquired(lock: FileLock, path: Path, timeout: float) -> bool | None:
    """Acquire a lock: False if it is held for too long, None where there is none to be had.

    File systems without locks answer with various errors. A folder that cannot be written is told
    of by the build, which writes there next.
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
    """Acquire a lock, however long that takes; False where there is none to be had."""
    limit = settings.lock_timeout()
    start = time.monotonic()
    while True:
        left = float("inf") if limit is None else max(0.0, start + limit - time.monotonic())
        is_held = _acquired(lock, path, min(PATIENCE, left))
        if is_held is not False:
            return bool(is_held)
        seconds = round(time.monotonic() - start)
        waited = f"{seconds} s for {path}, the lock of {name}, held by {_holder(path)}"
        if left <= PATIENCE:
            raise LockError(
                f"waited {waited}; WARP_SORT_LOCK_TIMEOUT allows no more. If that process "
                f"hangs, end it: its lock goes with it."
            )
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
def try_acquire(path: Path) -> Iterator[bool | None]:
    """Hold a lock for a while if no other process has it, and tell whether that was so.

    None is for file systems without locks, where no process can tell.

    Parameters
    ----------
    path : Path
        The lock's file, which is made if it is not there.
    """
    lock = FileLock(path)
    try:
        yield _acquired(lock, path, 0)
    finally:
        lock.release()


@functools.cache
def machine() -> str:
    """Return what names the running system, as letters and digits; empty where it is not known.

    Its processes see each other's locks. Some network file systems keep locks within one host.
    """
    try:
        return _BOOT.read_text("ascii").strip().replace("-", "")
    except (OSError, ValueError):
        return ""
