"""Tells which folders libraries can be loaded from: none on a file system mounted noexec.

Invariant: nothing is written. A folder that does not exist is judged by its nearest parent.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Tried where the system's own folder for temporary files is mounted noexec.
_OTHERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - mkdtemp makes folders there


def is_noexec(folder: str | Path) -> bool:
    """Tell whether a folder is, or would be, on a file system that is mounted noexec."""
    here = Path(folder).absolute()
    for place in (here, *here.parents):
        try:
            return bool(os.statvfs(place).f_flag & os.ST_NOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            break
    return False  # loading will tell


def temporary_parent() -> str | None:
    """Return a folder for temporary files that libraries can be loaded from, or None.

    Raises
    ------
    OSError
        There is no folder for temporary files.
    """
    usual = tempfile.gettempdir()
    others = (folder for folder in _OTHERS if os.access(folder, os.W_OK | os.X_OK))
    return next((folder for folder in (usual, *others) if not is_noexec(folder)), None)
