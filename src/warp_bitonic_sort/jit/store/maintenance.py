"""Removing what lies in a cache: everything, what options say, or what killed processes have left.

Invariant: nothing is touched in a cache that would not be loaded from, nor through a symbolic link
below its root; all of it is checked before anything goes. An entry or a staging folder goes as a
whole, renamed away before it is emptied, so that no reader sees half of it. A build under way is
never disturbed, for its process holds a lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import CacheError
from . import locks
from .inventory import EntryInfo, below, entries, paths_in, size_of, verify
from .permissions import check_no_links, check_writers
from .publish import OWNER_LOCK
from .store import LAYOUT

# What prewarm leaves beside the entries.
MANIFEST = "prewarm.json"
_PARTS = ("entries", "staging", "logs", "tools", "locks")
# Seconds in which a file that is being written has its final name.
_NEWBORN = 60
# No build takes as long; seconds.
_DAY = 86400


def _check(root: Path, folders: Iterable[Path] = ()) -> None:
    """Refuse a cache, and folders in it, that are not the user's own, or are links below its root.

    What passes can be changed by no other user, so that none can put a link there afterwards.

    Raises
    ------
    TrustError, CacheError
        Another user can write there, or there is a link.
    """
    if os.path.lexists(root / LAYOUT):
        for folder in (*(root / LAYOUT / part for part in _PARTS), *folders):
            check_writers(folder, root, "removed from")
            check_no_links(folder, root, "removed from")


def _folders_in(parent: Path) -> list[Path]:
    """Return the folders in a folder that are no links to one."""
    return [path for path in paths_in(parent) if _is_folder(path)]


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def litter(root: Path) -> list[Path]:
    """Return what processes that were killed have left: staging folders, files half written.

    Raises
    ------
    TrustError, CacheError
        Another user can write there, or there is a link.
    """
    _check(root)
    base = root / LAYOUT
    return [
        *(folder for folder in _folders_in(base / "staging") if _is_abandoned(folder)),
        *_removed(base),
        *(
            path
            for part in ("entries", "tools", "locks")
            for path in below(base / part)
            if path.match(".*.tmp") and _is_old(path)
        ),
    ]


def abandoned(root: Path) -> list[Path]:
    """Return the staging folders of killed builds that may go while others begin to build.

    The lock of a folder that was made just now is not held yet: a new folder is left alone.

    Raises
    ------
    TrustError, CacheError
        Another user can write there, or there is a link.
    """
    _check(root)
    folders = _folders_in(root / LAYOUT / "staging")
    return [folder for folder in folders if _is_old(folder) and _is_abandoned(folder)]


def _removed(base: Path) -> list[Path]:
    """Return what removals that were killed have left."""
    return [path for path in paths_in(base) if path.match("removed-*") and _is_old(path)]


def _is_old(path: Path, seconds: float = _NEWBORN) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > seconds
    except OSError:
        return False


def _is_abandoned(folder: Path) -> bool:
    """Tell whether the build of a staging folder is dead: by its lock, else by its age.

    A lock that a process on another machine holds may seem to be free.
    """
    lock, machine = folder / OWNER_LOCK, locks.machine()
    free = None
    if machine and folder.name.split("-")[1:2] == [machine] and lock.exists():
        with contextlib.suppress(OSError), locks.try_acquire(lock) as free:
            pass
    return _is_old(folder, _DAY) if free is None else free


def remove(paths: Iterable[Path], root: Path) -> int:
    """Remove files and folders of a cache and return the bytes that they had.

    Parameters
    ----------
    paths : iterable of Path
        What to remove.
    root : Path
        The cache.

    Raises
    ------
    TrustError
        Another user can write the cache, or a folder that something is removed from.
    CacheError
        One of these is reached through a link, or cannot be written.
    """
    paths = list(paths)
    _check(root, {path.parent for path in paths})
    freed = 0
    for path in paths:
        try:
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                freed += _remove(path, root)
        except OSError as error:
            raise CacheError(
                f"{path} cannot be removed: {error.strerror or error}. Nothing that is left is "
                f"damaged."
            ) from None
    return freed


def _remove(path: Path, root: Path) -> int:
    """Remove a file or folder of a cache and return the bytes that it had."""
    with _opened(path.parent, root) as parent:
        freed = size_of(path) if _is_folder(path) else path.lstat().st_size
        away = tempfile.mkdtemp(prefix="removed-", dir=root / LAYOUT)
        try:
            os.rename(path.name, Path(away, path.name), src_dir_fd=parent)
        finally:
            # Not by a TemporaryDirectory: before Python 3.12.1 that changes the mode of what a
            # link leads to, where it may not remove the link.
            shutil.rmtree(away)
    return freed


@contextlib.contextmanager
def _opened(folder: Path, root: Path) -> Iterator[int]:
    """Open a folder of a cache as a descriptor, following no link below the root.

    Where every user can write a folder of root, a link may come after the check.
    """
    flags = os.O_PATH | os.O_DIRECTORY
    descriptor = os.open(root, flags)
    try:
        for name in folder.relative_to(root).parts:
            above, descriptor = descriptor, os.open(name, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(above)
        yield descriptor
    finally:
        os.close(descriptor)


def prune(
    root: Path,
    keep: int | None = None,
    older: float | None = None,
    max_size: int | None = None,
    damaged: bool = False,
    now: float | None = None,
) -> list[EntryInfo]:
    """Return the entries that pruning removes; nothing is removed yet.

    Parameters
    ----------
    root : Path
        The user's cache.
    keep : int, optional
        Keep so many entries of each artifact, the newest.
    older : float, optional
        Remove what was not used for so many seconds.
    max_size : int, optional
        Then remove what was not used for longest until the rest has so many bytes.
    damaged : bool, default False
        First of all remove what `verify` says something of.
    now : float, optional
        Seconds since 1970; the clock's if not given.
    """
    now = time.time() if now is None else now
    left = entries(root)
    gone: list[EntryInfo] = [item for item in left if verify(item)] if damaged else []
    left = [item for item in left if item not in gone]
    if keep is not None:
        by_name: dict[str, list[EntryInfo]] = {}
        for item in left:
            by_name.setdefault(item.name, []).append(item)
        gone += [item for group in by_name.values() for item in group[: max(len(group) - keep, 0)]]
    if older is not None:
        gone += [item for item in left if item not in gone and now - item.used > older]
    left = sorted((item for item in left if item not in gone), key=lambda item: item.used)
    if max_size is not None:
        size = sum(item.size for item in left)
        for item in left:
            if size <= max_size:
                break
            gone.append(item)
            size -= item.size
    return gone


def old_logs(
    root: Path, keep: int | None = None, older: float | None = None, now: float | None = None
) -> list[Path]:
    """Return the logs of failed builds that pruning removes; nothing is removed yet.

    Parameters
    ----------
    root : Path
        The user's cache.
    keep : int, optional
        Keep so many logs of each artifact, the newest.
    older : float, optional
        Remove what was written more than so many seconds ago.
    now : float, optional
        Seconds since 1970; the clock's if not given.
    """
    now = time.time() if now is None else now
    by_name: dict[str, list[tuple[float, Path]]] = {}
    for log in paths_in(root / LAYOUT / "logs"):
        # The name of the artifact, the day, the time of the day, and what tells it from others.
        with contextlib.suppress(OSError):
            by_name.setdefault(log.name.split("-")[0], []).append((log.lstat().st_mtime, log))
    gone = []
    for logs in by_name.values():
        for rank, (written, log) in enumerate(sorted(logs, reverse=True)):
            if (keep is not None and rank >= keep) or (older is not None and now - written > older):
                gone.append(log)
    return sorted(gone)


def tidy(root: Path) -> None:
    """Remove what only waits to be removed: locks that are not held, folders that are empty.

    Raises
    ------
    TrustError, CacheError
        As `remove` does.
    """
    base = root / LAYOUT
    _check(root)
    empty = [folder for folder in _folders_in(base / "entries") if _is_empty(folder)]
    remove(empty, root)
    for lock in paths_in(base / "locks"):
        if lock.suffix == ".lock":
            with contextlib.suppress(OSError), locks.try_acquire(lock) as free:
                if free:
                    remove([lock, lock.with_suffix(".holder")], root)
    for folder in (base / "locks", base / "staging", base / "logs"):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _is_empty(folder: Path) -> bool:
    return os.access(folder, os.R_OK) and not paths_in(folder)


def clear(root: Path) -> int:
    """Remove everything that a cache holds but builds under way; return the bytes that it had.

    Raises
    ------
    TrustError, CacheError
        As `remove` does.
    """
    base = root / LAYOUT
    _check(root)
    if not _is_folder(base):
        return 0
    kept = {folder for folder in _folders_in(base / "staging") if not _is_abandoned(folder)}
    goners = [
        path
        for part in _PARTS
        for path in paths_in(base / part)
        if path not in kept and not (part == "locks" and kept)
    ]
    goners += _removed(base)
    # A list of what is gone.
    goners += [root / MANIFEST]
    freed = remove(goners, root)
    for folder in (*paths_in(base), base):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return freed
