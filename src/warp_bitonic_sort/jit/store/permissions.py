"""Who may write what this process is about to load.

Invariant: a file is loaded only if nobody but its reader and root can put another in its place,
by its own permissions or those of any folder on the way to it, by way of symbolic links, too, none
of which anybody else can have lead elsewhere; or if the user said that he trusts
the folder (``WARP_SORT_TRUSTED_DIRS``). For folders of root, root answers, whoever can write them.
An access control list (POSIX) counts where it can give another user write permission. The lists of
NFSv4 are not read.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ... import settings
from ...errors import CacheError, TrustError

# What was found sound in this process, which looks at it once: paths that were asked for and links,
# and, with a slash behind, folders on the way to them.
_sound: set[str] = set()
# More links than the system follows.
_MOST_LINKS = 40

_ANOTHER = (
    ", who may have put anything there. Choose another folder, or, if you trust that user, add "
    "{root} to WARP_SORT_TRUSTED_DIRS."
)
_CLOSE = (
    ", so what lies there may be anybody's. Take that permission away ({remedy}), or, if you "
    "trust everybody who has it, add {root} to WARP_SORT_TRUSTED_DIRS."
)


def check_writers(
    path: str | Path, root: Path, action: str = "loaded from", descriptor: int | None = None
) -> None:
    """Raise TrustError if another user can write a path or a folder on the way to it.

    Parameters
    ----------
    path : str or Path
        A file or folder that may be loaded from; it and its parents need not exist.
    root : Path
        The cache or layer that it belongs to, for the message.
    action : str, default "loaded from"
        What is not done then, for the message.
    descriptor : int, optional
        The file that was opened by that path. It is checked too: another file may lie there by now.
    """
    seen: dict[str, os.stat_result] = {}
    text = os.fspath(path)
    if not os.path.isabs(text):  # noqa: PTH117 - every microsecond of a start counts
        text = os.path.join(os.getcwd(), text)  # noqa: PTH109, PTH118
    goals = _walk(text, seen)
    if descriptor is None and all(goal in _sound for goal in goals):
        return
    trusted = [name for folder in settings.trusted_dirs() for name in _walk(str(folder), {})]
    for goal in goals:
        # A trusted folder is trusted with its contents, regardless of their owners.
        if any(f"{goal}/".startswith(os.path.join(name, "")) for name in trusted):  # noqa: PTH118
            continue
        _refuse(goal, seen, root, action)
        if descriptor is not None and goal == goals[-1]:
            reason = _reason(descriptor, os.fstat(descriptor), is_goal=True)
            if reason is not None:
                raise _error(goal, reason, root, action)


def check_no_links(folder: Path, root: Path, action: str) -> None:
    """Raise CacheError if a folder of a cache is reached through a symbolic link below the root.

    A link at the root or above leads to the whole cache, where its user wants it.

    Parameters
    ----------
    folder : Path
        The folder; it and its parents need not exist.
    root : Path
        The cache that it is in.
    action : str
        What is not done then, for the message.
    """
    here = root
    for name in folder.relative_to(root).parts:
        here /= name
        if here.is_symlink():
            raise CacheError(
                f"nothing is {action} {root}: {here} is a symbolic link, and what it leads to is "
                f"no part of the cache. Remove the link; to keep kernels elsewhere, make {root} "
                f"itself a link."
            )


def _walk(path: str, seen: dict[str, os.stat_result]) -> list[str]:
    """Return every link that leads to where a path does, in turn, and that place itself.

    None of them has a link among its parents. What is not there leads nowhere else.

    Parameters
    ----------
    path : str
        An absolute path.
    seen : dict
        Gets what lstat says of everything on the way that is not known to be sound.
    """
    links: list[str] = []
    here, left = "/", path.split("/")[::-1]
    while left:
        name = left.pop()
        if name == "..":
            here = os.path.dirname(here)  # noqa: PTH120 - every microsecond of a start counts
        elif name not in ("", "."):
            here = f"{here}/{name}" if here != "/" else f"/{name}"
            if f"{here}/" in _sound:
                continue  # a folder
            try:
                found = seen[here] = os.lstat(here)
                is_link = stat.S_ISLNK(found.st_mode) and len(links) < _MOST_LINKS
                target = os.readlink(here) if is_link else ""  # noqa: PTH115
            except OSError:
                continue
            if target:
                links.append(here)
                left += target.split("/")[::-1]
                here = os.path.dirname(here) if left[-1] else "/"  # noqa: PTH120
    return [*links, here]


def _refuse(goal: str, seen: dict[str, os.stat_result], root: Path, action: str) -> None:
    """Raise TrustError if another user can write a path, without links in it, or its parents."""
    if goal in _sound:
        return
    here, passed = goal, []
    while f"{here}/" not in _sound or here == goal:
        found = seen.get(here) or _lstat(here)
        if found is not None:
            reason = _reason(here, found, is_goal=here == goal)
            if reason is not None:
                raise _error(here, reason, root, action)
            passed.append(here if here == goal else f"{here}/")
        # What is not there is nobody's yet; who makes it is in the folder above.
        parent = os.path.dirname(here)  # noqa: PTH120
        if parent == here:
            break
        here = parent
    _sound.update(passed)


def _error(here: str, reason: str, root: Path, action: str) -> TrustError:
    is_inside = f"{here}/".startswith(f"{root}/")
    remedy = f"chmod -R go-w {root}" if is_inside else "chmod go-w"
    why = reason.format(root=root, remedy=remedy)
    return TrustError(f"nothing is {action} {root}: {here} {why}", root)


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _reason(path: str | int, found: os.stat_result, is_goal: bool) -> str | None:
    """Return why others can write a path or an open file, and what to do about it; or None."""
    is_link = stat.S_ISLNK(found.st_mode)
    if found.st_uid == 0:
        # Root answers for his folders, and for who may write there.
        open_file = stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IWOTH
        return f"can be written by everybody{_CLOSE}" if open_file else None
    if found.st_uid != os.geteuid():
        if (is_link or not is_goal) and found.st_uid == os.lstat("/").st_uid:
            # Whoever has the root folder can replace all that is below. In a container whose users
            # are not the system's that is root, who goes by another number there.
            return None
        return f"belongs to another user (number {found.st_uid}){_ANOTHER}"
    if is_link:
        return None  # nobody changes a link; who may replace it is in the folder above
    if found.st_mode & stat.S_ISVTX and not is_goal:
        return None  # nobody can replace another one's files in it
    if found.st_mode & stat.S_IWOTH:
        return f"can be written by everybody{_CLOSE}"
    # Without this bit no entry of a list can write either: the bits of the group are its mask.
    if found.st_mode & stat.S_IWGRP:
        if not _is_own_group(found.st_gid):
            return f"can be written by a group (number {found.st_gid}){_CLOSE}"
        if _has_access_list(path):
            return f"can be written by the users in its access control list{_CLOSE}"
    return None


def _has_access_list(path: str | int) -> bool:
    """Tell whether a file or folder has an access control list, or one that cannot be read.

    A folder's default list needs no check: what is made there gets a list of its own from it.
    """
    try:
        is_open = isinstance(path, int)
        os.getxattr(path, "system.posix_acl_access", follow_symlinks=is_open)
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.ENOTSUP)
    return True


def _is_own_group(number: int) -> bool:
    """Tell whether a group is the user's private one, which many systems make for each user.

    Users whom the system does not list, as some directories of users do not, cannot be looked at.
    """
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
        # Whoever has it for his first group need not be listed in it.
        and all(each.pw_uid == user.pw_uid for each in pwd.getpwall() if each.pw_gid == number)
    )
