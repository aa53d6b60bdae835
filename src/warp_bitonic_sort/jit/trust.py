"""Who may write what this process is about to load.

Invariant: a file is loaded only if nobody but its reader and root can put another in its place,
by its own permissions or those of any folder on the way to it, or if the user said that he trusts
the folder (``WARP_SORT_TRUSTED_DIRS``). For folders of root, root answers, whoever can write them.
Permissions alone are looked at; what lists of access
control entries add to them is not.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from . import settings
from .errors import TrustError

__all__ = ["refuse_foreign"]

# Folders and files that were looked at in this process, which asks for each of them once.
_sound: set[str] = set()

_ANOTHER = (
    ", who may have put anything there. Choose another folder, or, if you trust that user, add "
    "{root} to WARP_SORT_TRUSTED_DIRS."
)
_CLOSE = (
    ", so what lies there may be anybody's. Take that permission away (chmod go-w), or, if you "
    "trust everybody who has it, add {root} to WARP_SORT_TRUSTED_DIRS."
)


def refuse_foreign(path: Path, root: Path) -> None:
    """Raise TrustError if another user can write a path or a folder on the way to it.

    Parameters
    ----------
    path : Path
        A file or folder that may be loaded from; it and its parents need not exist.
    root : Path
        The cache or layer that it belongs to, for the message.
    """
    # Where links lead to, and where they stand.
    for goal in dict.fromkeys((os.path.realpath(path), str(path.absolute()))):
        _refuse(goal, root)


def _refuse(goal: str, root: Path) -> None:
    trusted = {
        name
        for folder in settings.trusted_dirs()
        for name in (os.path.realpath(folder), str(folder))
    }
    # With all that is in it, whosever that is.
    if any(f"{goal}/".startswith(os.path.join(folder, "")) for folder in trusted):  # noqa: PTH118
        return
    here = goal
    while here not in _sound:
        reason = _reason(here, is_goal=here == goal)
        if reason is not None:
            raise TrustError(f"nothing is loaded from {root}: {here} {reason.format(root=root)}")
        parent = os.path.dirname(here)  # noqa: PTH120 - every microsecond of a start counts
        if parent == here:
            break
        here = parent
    if os.path.lexists(goal):
        _sound.add(goal)


def _reason(path: str, is_goal: bool) -> str | None:
    """Return why others can write a path, and what to do about it; or None."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None  # what is not there is nobody's yet; who makes it is in the folder above
    if found.st_uid == 0:
        # Root answers for his folders, and for who may write there.
        open_file = stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IWOTH
        return f"can be written by everybody{_CLOSE}" if open_file else None
    if found.st_uid != os.geteuid():
        if not is_goal and found.st_uid == os.stat("/").st_uid:  # noqa: PTH116
            # Whoever has the root folder can replace all that is below. In a container whose users
            # are not the system's that is root, who goes by another number there.
            return None
        return f"belongs to another user (number {found.st_uid}){_ANOTHER}"
    if found.st_mode & stat.S_ISVTX and not is_goal:
        return None  # nobody can replace another one's files in it
    if found.st_mode & stat.S_IWOTH:
        return f"can be written by everybody{_CLOSE}"
    if found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid):
        return f"can be written by a group (number {found.st_gid}){_CLOSE}"
    return None


def _is_own_group(number: int) -> bool:
    """Tell whether a group is the user's private one, which many systems make for each user."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    return (
        user.pw_gid == number
        and group.gr_name == user.pw_name
        and not (set(group.gr_mem) - {user.pw_name})
    )
