"""Removing what lies in a cache: everything, what options say, or what killed processes have left.

Invariant: an entry or a staging folder goes as a whole, renamed away before it is emptied, so that
no reader sees half of it; a build under way is never disturbed, for its process holds a lock.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import CacheError, locks
from .cache import LAYOUT
from .inventory import Item, below, folders_in, items, paths_in, size_of, verify
from .publication import OWNER_LOCK

__all__ = ["MANIFEST", "abandoned", "clear", "litter", "old_logs", "prune", "remove", "tidy"]

# What prewarm leaves beside the entries.
MANIFEST = "prewarm.json"
# Seconds in which a file that is being written has its final name.
_NEWBORN = 60
# No build takes as long; seconds.
_DAY = 86400


def litter(root: Path) -> list[Path]:
    """Return what processes that were killed have left: staging folders, files half written."""
    base = root / LAYOUT
    return [
        *(folder for folder in folders_in(base / "staging") if _is_abandoned(folder)),
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
    """
    folders = folders_in(root / LAYOUT / "staging")
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
        with contextlib.suppress(OSError), locks.tried(lock) as free:
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
    CacheError
        The cache cannot be written.
    """
    freed, base = 0, root / LAYOUT
    try:
        for path in paths:
            with (
                contextlib.suppress(FileNotFoundError),  # somebody else removed it, or everything
                tempfile.TemporaryDirectory(prefix="removed-", dir=base) as away,
            ):
                bytes_there = path.lstat().st_size if not path.is_dir() else size_of(path)
                path.rename(Path(away) / path.name)
                freed += bytes_there
    except OSError as error:
        raise CacheError(
            f"{error.filename or base} cannot be removed: {error.strerror or error}. Nothing that "
            f"is left is damaged."
        ) from None
    return freed


def prune(
    root: Path,
    keep: int | None = None,
    older: float | None = None,
    max_size: int | None = None,
    damaged: bool = False,
    now: float | None = None,
) -> list[Item]:
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
    left = items(root)
    gone: list[Item] = [item for item in left if verify(item)] if damaged else []
    left = [item for item in left if item not in gone]
    if keep is not None:
        by_name: dict[str, list[Item]] = {}
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
    """Remove what only waits to be removed: locks that nobody holds, folders that are empty."""
    base = root / LAYOUT
    if not base.is_dir():
        return
    remove(_spent(root), root)
    for folder in (base / "locks", base / "staging", base / "logs"):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _spent(root: Path) -> Iterator[Path]:
    base = root / LAYOUT
    for folder in folders_in(base / "entries"):
        if not paths_in(folder) and os.access(folder, os.R_OK):
            yield folder
    for lock in paths_in(base / "locks"):
        if lock.suffix != ".lock":
            continue
        with contextlib.suppress(OSError), locks.tried(lock) as free:
            if free:
                yield from (path for path in (lock, lock.with_suffix(".holder")) if path.exists())


def clear(root: Path) -> int:
    """Remove everything that a cache holds but builds under way; return the bytes that it had."""
    base = root / LAYOUT
    if not base.is_dir():
        return 0
    kept = {folder for folder in folders_in(base / "staging") if not _is_abandoned(folder)}
    goners = [
        path
        for part in ("entries", "staging", "logs", "tools", "locks")
        for path in paths_in(base / part)
        if path not in kept and not (part == "locks" and kept)
    ]
    goners += _removed(base)
    # A list of what is gone.
    goners += [path for path in (root / MANIFEST,) if path.exists()]
    freed = remove(goners, root)
    for folder in (*paths_in(base), base):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return freed
