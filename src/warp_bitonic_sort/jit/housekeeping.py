"""What lies in a cache, whether it is sound, and removing it.

Invariant: an entry or a staging folder goes as a whole, renamed away before it is emptied, so that
no reader sees half of it; a build under way is never disturbed, for its process holds a lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import CacheError, TrustError, code_object, locks, ninja
from .cache import LAYOUT, is_utf8, portable, rejected
from .files import digest, read_file, read_json
from .publication import OWNER_LOCK, key_of
from .trust import refuse_foreign

__all__ = [
    "MANIFEST",
    "Item",
    "abandoned",
    "clear",
    "items",
    "litter",
    "no_layer",
    "old_logs",
    "prune",
    "refusal",
    "remove",
    "tidy",
    "unreadable",
    "unused",
    "verify",
]

# What prewarm leaves beside the entries.
MANIFEST = "prewarm.json"
# Seconds in which a file that is being written has its final name.
_NEWBORN = 60
# No build takes as long; seconds.
_DAY = 86400


@dataclass(frozen=True)
class Item:
    """An entry, as its folder and its manifest describe it.

    Parameters
    ----------
    root : Path
        The cache or layer that holds it.
    name, key : str
        The artifact's name, and what tells its entry from others of that name.
    kind, arch : str
        What it is, and for which target; ``?`` where its manifest cannot be read.
    size : int
        Bytes of all its files.
    created, used : float
        When it was built, and when its library was last read as far as the file system keeps that
        (most note it once a day); seconds since 1970.
    """

    root: Path
    name: str
    key: str
    kind: str
    arch: str
    size: int
    created: float
    used: float

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.root / LAYOUT / "entries" / self.name / self.key


# All of it may go at any time: what is gone is passed over, as what nobody may read is.


def _paths(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []


def _folders(parent: Path) -> list[Path]:
    return [path for path in _paths(parent) if os.path.isdir(path)]  # noqa: PTH112


def _below(folder: Path) -> Iterator[Path]:
    """Yield all folders and files in a folder and in those."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in folders + files)


def _size(folder: Path) -> int:
    total = 0
    for path in _below(folder):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def no_layer(root: Path) -> str | None:
    """Return why a folder that was named for a layer is none; None where it is one.

    One that nobody may look into may be one.
    """
    try:
        os.stat(root / LAYOUT)  # noqa: PTH116 - Path is used for names here
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError:
        return None
    else:
        return None
    if root.name == LAYOUT and os.path.isdir(root / "entries"):  # noqa: PTH112
        return f"{root} is the inside of a layer: name {root.parent}"
    if not os.path.isdir(root):  # noqa: PTH112
        return f"{root} {'is no folder' if os.path.lexists(root) else 'does not exist'}"
    return f"{root} holds no kernels"


def items(root: Path) -> list[Item]:
    """Return the entries of a cache or layer, by name and then by age."""
    found = [item for folder in _folders(root / LAYOUT / "entries") for item in _of(root, folder)]
    return sorted(found, key=lambda item: (item.name, item.created))


def _of(root: Path, artifact: Path) -> Iterator[Item]:
    for folder in _folders(artifact):
        with contextlib.suppress(OSError):
            yield _item(root, folder)


def unused(root: Path, name: str) -> str | None:
    """Return why what a cache has of an artifact was not taken; None where it has nothing of it.

    Only for messages: every byte of it is read.
    """
    there = list(_of(root, root / LAYOUT / "entries" / name))
    if not there:
        return None
    reasons = [reason for item in there if (reason := verify(item)) is not None]
    if reasons:
        return f"damaged: {reasons[0]}; warp-bitonic-sort cache verify lists what is"
    return "made of other sources or with other flags, as by another version of this package"


def unreadable(root: Path, name: str) -> str | None:
    """Return what of an artifact's entries cannot be read or loaded, and why, or None.

    Only for messages: a look-up takes what it cannot read for what is not there.
    """
    folder = root / LAYOUT / "entries" / name
    if not is_utf8(root):
        return f"{root} cannot be read: its name is not UTF-8"
    try:
        for key in os.listdir(folder):  # noqa: PTH208 - as a look-up does
            for file in (folder / key).iterdir():
                read_file(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    for library, (_, reason) in list(rejected.items()):
        if folder in Path(library).parents:
            return f"{library} does not load: {reason}"
    return None


def _item(root: Path, folder: Path) -> Item:
    manifest = read_json(folder / "manifest.json") or {}
    kind, arch, created = (manifest.get(field) for field in ("kind", "arch", "created"))
    stat = folder.stat()
    product = folder / ninja.PRODUCTS.get(str(kind), "library.so")
    with contextlib.suppress(OSError):
        stat = product.stat()
    # A time that no clock shows is not believed, nor a target that no terminal prints.
    made = stat.st_mtime
    if isinstance(created, int) and 0 <= created < 1 << 40:
        made = float(created)
    if not isinstance(arch, str) or not re.fullmatch(r"[\w.+-]{1,64}", arch, re.ASCII):
        arch = "?"
    return Item(
        root=root,
        name=folder.parent.name,
        key=folder.name,
        kind=kind if isinstance(kind, str) and kind in ninja.PRODUCTS else "?",
        arch=arch,
        size=_size(folder),
        created=made,
        used=max(made, stat.st_atime),
    )


def refusal(found: Iterable[Item]) -> str | None:
    """Return why nothing is loaded from the cache of some entries, for others can write there."""
    for item in found:
        try:
            refuse_foreign(item.folder / ninja.PRODUCTS.get(item.kind, "library.so"), item.root)
        except TrustError as error:
            return str(error)
    return None


def verify(item: Item) -> str | None:
    """Return what is wrong with an entry, every byte of which is read, or None.

    Headers are not looked at: an entry whose headers have changed is sound, and merely not used.
    """
    manifest = read_json(item.folder / "manifest.json")
    if manifest is None:
        return "its manifest cannot be read"
    if manifest.get("name") != item.name or item.kind == "?":
        return "its manifest is another artifact's"
    try:
        library = _looked_at(item.folder / ninja.PRODUCTS[item.kind])
    except OSError as error:
        return f"its product cannot be read ({error.strerror})"
    if digest(library) != manifest.get("library"):
        return "its product is not what was published: its bytes have changed"
    if not code_object.is_for(library, item.arch) and item.arch not in ("host", "generic"):
        return f"its product is for {code_object.arch_of(library)}, not for {item.arch}"
    try:
        if not _is_published(manifest, item):
            return "its manifest is not what was published"
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return "its manifest is not what was published"
    return None


def _looked_at(file: Path) -> bytes:
    """Return a file's bytes, with which it has not been used: prune goes by when it was read."""
    try:
        # Of one's own files alone.
        return read_file(file, getattr(os, "O_NOATIME", 0))
    except PermissionError:
        return read_file(file)


def _is_published(manifest: Mapping[str, Any], item: Item) -> bool:
    """Tell whether an entry's key, which is its folder's name, is that of its manifest."""
    parts, build = manifest["text"], manifest["build"]
    text = json.dumps(parts, sort_keys=True)
    of_system = [line for _, *lines in manifest["system"].values() for line in lines]
    lines = [*manifest["dependencies"], *of_system]
    dependencies = [(line.split(" ", 5)[5], line.split(" ", 1)[0]) for line in lines]
    return (
        key_of(build, manifest["compiler"], dependencies) == item.key
        and build == digest(text.encode())
        and manifest["portable"] == digest(portable(text).encode())
        and (parts["name"], parts["arch"]) == (item.name, item.arch)
        and parts["rule"].startswith(f"rule {item.kind}_")
    )


def litter(root: Path) -> list[Path]:
    """Return what processes that were killed have left: staging folders, files half written."""
    base = root / LAYOUT
    return [
        *(folder for folder in _folders(base / "staging") if _is_abandoned(folder)),
        *_removed(base),
        *(
            path
            for part in ("entries", "tools", "locks")
            for path in _below(base / part)
            if path.match(".*.tmp") and _is_old(path)
        ),
    ]


def abandoned(root: Path) -> list[Path]:
    """Return the staging folders of killed builds that may go while others begin to build.

    The lock of a folder that was made just now is not held yet: a new folder is left alone.
    """
    folders = _folders(root / LAYOUT / "staging")
    return [folder for folder in folders if _is_old(folder) and _is_abandoned(folder)]


def _removed(base: Path) -> list[Path]:
    """Return what removals that were killed have left."""
    return [path for path in _paths(base) if path.match("removed-*") and _is_old(path)]


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
                bytes_there = path.lstat().st_size if not path.is_dir() else _size(path)
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
    for log in _paths(root / LAYOUT / "logs"):
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
    for folder in _folders(base / "entries"):
        if not _paths(folder) and os.access(folder, os.R_OK):
            yield folder
    for lock in _paths(base / "locks"):
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
    kept = {folder for folder in _folders(base / "staging") if not _is_abandoned(folder)}
    goners = [
        path
        for part in ("entries", "staging", "logs", "tools", "locks")
        for path in _paths(base / part)
        if path not in kept and not (part == "locks" and kept)
    ]
    goners += _removed(base)
    # A list of what is gone.
    goners += [path for path in (root / MANIFEST,) if path.exists()]
    freed = remove(goners, root)
    for folder in (*_paths(base), base):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return freed
