"""Reading, digesting and writing the small files of a cache.

Invariant: a reader sees all of a file that is written here or none of it, and what cannot be read
or understood is None: nothing in a cache is ever evaluated, only parsed as JSON. Nothing that lies
there is waited for, as a pipe would be.
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

# Bytes; larger ones are mapped, and mapped anew when they turn out to be less.
_BLOCK = 1 << 16
_DIGEST = 40  # hexadecimal digits


def digest(data: bytes) -> str:
    """Return what stands for these bytes in keys and manifests."""
    # Processors have instructions for this one; each start digests all that it loads.
    return hashlib.sha256(data).hexdigest()[:_DIGEST]


def file_digest(path: str) -> str:
    """Return the digest of a file's bytes."""
    # Each header of a wheel's layer is read at a start; a file object would take as long again.
    hashed = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while block := os.read(descriptor, _BLOCK):
            hashed.update(block)
    finally:
        os.close(descriptor)
    return hashed.hexdigest()[:_DIGEST]


def stamp(found: os.stat_result) -> str:
    """Return what changes whenever a file's bytes do: its size, times and inode."""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


@contextlib.contextmanager
def opened(file: str | Path, flags: int = 0) -> Iterator[int]:
    """Open a regular file for reading, with these flags of the system's, too, for a while.

    Raises
    ------
    OSError
        It cannot be read, or is something else. (A pipe to read from opens when somebody writes.)
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(file))
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(descriptor: int) -> bytes:
    """Return all bytes of a file that was just opened."""
    parts = [os.read(descriptor, os.fstat(descriptor).st_size + 1)]
    while more := os.read(descriptor, _BLOCK):  # one read has it, unless it grows or is large
        parts.append(more)
    return b"".join(parts)


def read_file(file: str | Path, flags: int = 0) -> bytes:
    """Return the bytes of a regular file, opened with these flags of the system's, too.

    Raises
    ------
    OSError
        It cannot be read, or is something else.
    """
    with opened(file, flags) as descriptor:
        return read_all(descriptor)


def read_json(file: str | Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None where there is no such."""
    try:
        value = json.loads(read_file(file))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def make_folder(folder: Path, is_shared: bool = False) -> None:
    """Make a folder and its parents, which nobody else can write whatever the umask.

    Where it is shared, everybody can read it whatever the umask.
    """
    if not os.path.isdir(folder):  # noqa: PTH112
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
    """Take from everybody else the permission to write a file or folder.

    Where it is shared, give everybody that to read it.
    """
    mode = path.stat().st_mode
    if is_shared:
        path.chmod(0o755 if path.is_dir() else 0o644)
    else:
        path.chmod(mode & 0o755)


def write_json(file: Path, value: Mapping[str, Any], mode: int = 0o644) -> None:
    """Write a file with a mode, whatever the umask, so that a reader sees all of it or none."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(value, stream)
        os.chmod(name, mode)  # noqa: PTH101 - mkstemp makes files for their owner alone
        os.replace(name, file)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise
