"""A lock on a file, which the kernel releases when its holder dies (flock).

Invariant: the file is open for its owner alone, for any process that can open it can hold the lock.
A forked child inherits no lock, and releases none of its parent's. The existence of a file is never
a lock: a process that dies on another host would hold it for ever.

The library filelock does not do: from 3.30 on it has forks wait for its own locks, and a fork
during its import waits for that import, which waits for the fork.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from ...process import forks

# Seconds between two tries.
_PERIOD = 0.05
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class FileLock:
    """A lock that is not acquired yet.

    Parameters
    ----------
    path : Path
        The file, which is made if it does not exist. A process that holds the lock may remove it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, timeout: float) -> bool:
        """Acquire the lock; return False if another process or thread holds it for too long.

        Parameters
        ----------
        timeout : float
            Seconds to wait.

        Raises
        ------
        OSError
            The file cannot be opened, or its file system has no locks.
        """
        end = time.monotonic() + timeout
        while not self._try():
            left = end - time.monotonic()
            if left <= 0:
                return False
            with forks.allowed():
                time.sleep(min(_PERIOD, left))
        return True

    def release(self) -> None:
        """Release the lock, unless it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        _open.discard(self)
        if descriptor is not None:
            try:
                # Closing alone would leave it to a process that has a copy of the descriptor.
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)

    def _try(self) -> bool:
        descriptor = self._descriptor = os.open(self._path, _FLAGS, 0o600)
        _open.add(self)
        is_held = False
        try:
            # Whatever the umask. Some file systems have no modes.
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file, and a third process made another.
            is_held = os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            if not is_held:
                self.release()
        return is_held

    def _forget(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


# Locks that have a descriptor.
_open: set[FileLock] = set()


def _after_in_child() -> None:
    while _open:
        _open.pop()._forget()


os.register_at_fork(after_in_child=_after_in_child)
