"""Removes what lies in a store: everything, entries by age or size, or what killed processes left.

Invariant: nothing is removed from a store that nothing would be loaded from, or through a symbolic
link below its root; all of it is checked before anything is removed. An entry or a staging folder
is renamed away as a whole before it is emptied, so that no reader sees half of it. A build under
way is never disturbed, for its process holds a lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import CacheError
from . import locks
from .files import paths_in
from .inventory import EntryInfo, below, entries, size_of, verify
from .permissions import check_no_links, check_writers
from .publish import OWNER_LOCK
from .store import LAYOUT

# What prewarm leaves beside the entries.
MANIFEST = "prewarm.json"
_PARTS = ("entries", "staging", "logs", "tools", "locks")
# Seconds after which a file that is being written has its final name.
_NEWBORN = 60
# Seconds: no build takes longer.
_DAY = 86400


def litter(root: Path) -> list[Path]:
    """Return what killed processes have left: staging folders, half-written files.

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
            if path.match(".*.tmp") and _is_older(path, _NEWBORN)
        ),
    ]


def abandoned(root: Path) -> list[Path]:
    """Return the staging folders of killed builds that may go while other processes build.

    A new folder is left alone: its process may not hold its lock yet.

    Raises
    ------
    TrustError, CacheError
        Another user can write there, or there is a link.
    """
    _check(root)
    folders = _folders_in(root / LAYOUT / "staging")
    return [folder for folder in folders if _is_older(folder, _NEWBORN) and _is_abandoned(folder)]


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
        The user's store.
    keep : int, optional
        Keep this many entries of each artifact, the newest.
    older : float, optional
        Remove entries that were not used for this many seconds.
    max_size : int, optional
        Then remove the least recently used until the rest has this many bytes.
    damaged : bool, default False
        First remove the entries that `verify` rejects.
    now : float, optional
        Seconds since 1970 (default: the clock's).
    """
    now = time.time() if now is None else now
    left = entries(root)
    gone = [entry for entry in left if verify(entry)] if damaged else []
    left = [entry for entry in left if entry not in gone]
    by_name: defaultdict[str, list[EntryInfo]] = defaultdict(list)
    for entry in left:
        by_name[entry.name].append(entry)
    if keep is not None:
        gone += [
            entry for group in by_name.values() for entry in group[: max(len(group) - keep, 0)]
        ]
    if older is not None:
        gone += [entry for entry in left if entry not in gone and now - entry.used > older]
    left = sorted((entry for entry in left if entry not in gone), key=lambda entry: entry.used)
    if max_size is not None:
        size = sum(entry.size for entry in left)
        for entry in left:
            if size <= max_size:
                break
            gone.append(entry)
            size -= entry.size
    return gone


def old_logs(
    root: Path, keep: int | None = None, older: float | None = None, now: float | None = None
) -> list[Path]:
    """Return the logs of failed builds that pruning removes; nothing is removed yet.

    Parameters
    ----------
    root : Path
        The user's store.
    keep : int, optional
        Keep this many logs of each artifact, the newest.
    older : float, optional
        Remove logs that were written more than this many seconds ago.
    now : float, optional
        Seconds since 1970 (default: the clock's).
    """
    now = time.time() if now is None else now
    by_name: defaultdict[str, list[tuple[float, Path]]] = defaultdict(list)
    for log in paths_in(root / LAYOUT / "logs"):
        # A log's name is the artifact's, the day, the time, and a unique end.
        with contextlib.suppress(OSError):
            by_name[log.name.split("-")[0]].append((log.lstat().st_mtime, log))
    gone = []
    for logs in by_name.values():
        for rank, (written, log) in enumerate(sorted(logs, reverse=True)):
            if (keep is not None and rank >= keep) or (older is not None and now - written > older):
                gone.append(log)
    return sorted(gone)


def remove(paths: Iterable[Path], root: Path) -> int:
    """Remove files and folders of a store and return the bytes that they had.

    Parameters
    ----------
    paths : iterable of Path
        What to remove.
    root : Path
        The store.

    Raises
    ------
    TrustError
        Another user can write the store, or a folder that something is removed from.
    CacheError
        A path is reached through a link, or cannot be removed.
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
                f"{path} cannot be removed: {error.strerror or error}. What is left is undamaged."
            ) from None
    return freed


def tidy(root: Path) -> None:
    """Remove locks that are not held and folders that are empty.

    Raises
    ------
    TrustError, CacheError
        As `remove` does.
    """
    base = root / LAYOUT
    _check(root)
    remove([folder for folder in _folders_in(base / "entries") if _is_empty(folder)], root)
    for lock in paths_in(base / "locks"):
        if lock.suffix == ".lock":
            with contextlib.suppress(OSError), locks.try_acquire(lock) as is_held:
                if is_held:
                    remove([lock, lock.with_suffix(".holder")], root)
    for folder in (base / "locks", base / "staging", base / "logs"):
        with contextlib.suppress(OSError):
            folder.rmdir()


def clear(root: Path) -> int:
    """Remove everything in a store but builds under way; return the bytes that it had.

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
    gone = [
        path
        for part in _PARTS
        for path in paths_in(base / part)
        if path not in kept and not (part == "locks" and kept)
    ]
    freed = remove([*gone, *_removed(base), root / MANIFEST], root)
    for folder in (*paths_in(base), base):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return freed


def _check(root: Path, folders: Iterable[Path] = ()) -> None:
    """Raise an error unless the folders of a store are the user's own, and no links.

    No other user can change them then, so none can put a link there afterwards.

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
    """Return the folders in a folder, without links to folders."""
    return [path for path in paths_in(parent) if _is_folder(path)]


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _is_empty(folder: Path) -> bool:
    return os.access(folder, os.R_OK) and not paths_in(folder)


def _is_older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > seconds
    except OSError:
        return False


def _removed(base: Path) -> list[Path]:
    """Return what killed removals have left."""
    return [
        path for path in paths_in(base) if path.match("removed-*") and _is_older(path, _NEWBORN)
    ]


def _is_abandoned(folder: Path) -> bool:
    """Tell whether the build of a staging folder is dead: by its lock, else by its age.

    The lock of a process on another machine may seem to be free.
    """
    lock, machine = folder / OWNER_LOCK, locks.machine()
    is_free = None
    if machine and folder.name.split("-")[1:2] == [machine] and lock.exists():
        with contextlib.suppress(OSError), locks.try_acquire(lock) as is_free:
            pass
    return _is_older(folder, _DAY) if is_free is None else is_free


def _remove(path: Path, root: Path) -> int:
    """Remove a file or folder of a store and return the bytes that it had."""
    with _open_folder(path.parent, root) as parent:
        freed = size_of(path)
        away = tempfile.mkdtemp(prefix="removed-", dir=root / LAYOUT)
        try:
            os.rename(path.name, Path(away, path.name), src_dir_fd=parent)
        finally:
            # A TemporaryDirectory before Python 3.12.1 changes the mode of a link's target.
            shutil.rmtree(away)
    return freed


@contextlib.contextmanager
def _open_folder(folder: Path, root: Path) -> Iterator[int]:
    """Open a folder of a store as a descriptor, following no link below the root.

    In a folder of root that every user can write, a link may come after the check.
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
