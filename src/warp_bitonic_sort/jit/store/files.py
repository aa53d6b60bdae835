"""Reads, digests and writes the small files of a store.

Invariant: a reader sees all of a file that is written here, or none of it. A file that cannot be
read or parsed is None: nothing in a store is evaluated. No read waits, as that of a pipe would.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_DIGEST = 40  # hexadecimal digits


def digest(data: bytes) -> str:
    """Return what stands for these bytes in keys and manifests."""
    return hashlib.sha256(data).hexdigest()[:_DIGEST]


def file_digest(path: Path) -> str:
    """Return the digest of a file's bytes."""
    return digest(path.read_bytes())


def stamp(state: os.stat_result) -> str:
    """Return what changes whenever a file's bytes do: its size, times and inode."""
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino}"


def file_stamp(path: Path) -> str | None:
    """Return the stamp of a file; None where there is none."""
    try:
        return stamp(path.stat())
    except OSError:
        return None


@contextlib.contextmanager
def open_regular(file: Path, flags: int = 0) -> Iterator[int]:
    """Open a regular file for reading, with further flags of ``os.open``; close it at the end.

    Raises
    ------
    OSError
        It cannot be read, or is no regular file.
    """
    # Without O_NONBLOCK a pipe opens when another process writes into it.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(file))
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(descriptor: int) -> bytes:
    """Return all bytes of a file that was just opened."""
    with open(descriptor, "rb", closefd=False) as stream:
        return stream.read()


def read_file(file: Path, flags: int = 0) -> bytes:
    """Return the bytes of a regular file, opened with further flags of ``os.open``.

    Raises
    ------
    OSError
        It cannot be read, or is no regular file.
    """
    with open_regular(file, flags) as descriptor:
        return read_all(descriptor)


def read_json(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None where there is none."""
    try:
        value = json.loads(read_file(file))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_json(file: Path, value: Mapping[str, Any], mode: int = 0o644) -> None:
    """Write a file with a mode, whatever the umask; a reader sees all of it or none."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(value, stream)
        temporary.chmod(mode)
        temporary.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def paths_in(folder: Path) -> list[Path]:
    """Return the contents of a folder, by name; nothing where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def make_folder(folder: Path, is_shared: bool = False) -> None:
    """Make a folder and its parents, which no other user can write, whatever the umask.

    Everybody can read a shared one, whatever the umask.
    """
    # Path.is_dir() raises where this user may not look.
    if os.path.isdir(folder):  # noqa: PTH112
        return
    make_folder(folder.parent, is_shared)
    try:
        folder.mkdir(0o755)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        if is_shared:
            folder.chmod(0o755)


def protect(path: Path, is_shared: bool = False) -> None:
    """Take from other users the permission to write a file or folder.

    Everybody can read a shared one.
    """
    if is_shared:
        path.chmod(0o755 if path.is_dir() else 0o644)
    else:
        path.chmod(path.stat().st_mode & 0o755)
