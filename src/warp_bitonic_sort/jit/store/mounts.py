"""Tells where libraries can be loaded from: nowhere on a file system that is mounted noexec.

Invariant: nothing is written or made. A folder that is not there is judged by the next one above.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Where temporary folders may be if the system's own folder for them is mounted noexec.
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
    """Return the folder for temporary files, or another such that libraries can be loaded from.

    None is where all are mounted noexec.

    Raises
    ------
    OSError
        There is no folder for temporary files.
    """
    usual = tempfile.gettempdir()
    if not is_noexec(usual):
        return usual
    usable = (each for each in _OTHERS if os.access(each, os.W_OK | os.X_OK))
    return next((each for each in usable if not is_noexec(each)), None)
