"""Checks which users can replace a file that this process is about to load.

Invariant: a file is loaded only if no user but its reader and root can put another in its place:
by its own permissions, by those of any folder on the way to it, or by those of a symbolic link on
the way. Folders owned by root are trusted, and so are those of ``WARP_SORT_TRUSTED_DIRS``. An
access control list (POSIX) counts where it can give another user write permission. The lists of
NFSv4 are not read.
"""

from __future__ import annotations

import errno
import functools
import grp
import os
import pwd
import stat
from pathlib import Path

from ... import settings
from ...errors import CacheError, TrustError

# More links than the system follows.
_MAX_LINKS = 40

_ANOTHER = (
    ", who may have put anything there. Choose another folder, or, if you trust that user, add "
    "{root} to WARP_SORT_TRUSTED_DIRS."
)
_OPEN = (
    ", so any of them may have put anything there. Take that permission away ({remedy}), or, if "
    "you trust all who have it, add {root} to WARP_SORT_TRUSTED_DIRS."
)


def check_writers(
    path: Path, root: Path, action: str = "loaded from", descriptor: int | None = None
) -> None:
    """Raise TrustError if another user can write a path or a folder on the way to it.

    Parameters
    ----------
    path : Path
        A file or folder of a store; it and its parents need not exist.
    root : Path
        The store, for the message.
    action : str, default "loaded from"
        What is refused, for the message.
    descriptor : int, optional
        The file that was opened by that path. It is checked too, for the path may lead to another
        file by now.
    """
    trusted = [place for folder in settings.trusted_dirs() for place in _places(folder)]
    places = _places(path)
    for place in places:
        # A trusted folder is trusted recursively. The owner of its contents does not matter.
        if any(place.is_relative_to(folder) for folder in trusted):
            continue
        for depth, here in enumerate((place, *place.parents)):
            state = _lstat(here)
            # A path that does not exist has no owner; the folder above tells who can make it.
            if state is not None:
                _check(here, here, state, root, action, is_end=depth == 0)
        if descriptor is not None and place == places[-1]:
            _check(place, descriptor, os.fstat(descriptor), root, action, is_end=True)


def check_no_links(folder: Path, root: Path, action: str) -> None:
    """Raise CacheError if a folder of a store is reached through a symbolic link below the root.

    A link at the root or above leads to the whole store, where its user wants it.

    Parameters
    ----------
    folder : Path
        The folder; it and its parents need not exist.
    root : Path
        The store.
    action : str
        What is refused, for the message.
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


def _places(path: Path) -> list[Path]:
    """Return every symbolic link on the way to a path, and the place that the path leads to.

    None of them has a link among its parents.
    """
    links: list[Path] = []
    here, names = Path("/"), [*reversed(path.absolute().parts[1:])]
    while names:
        name = names.pop()
        if name == "..":
            here = here.parent
            continue
        here /= name
        try:
            target = here.readlink()
        except OSError:
            continue  # no link, or nothing
        if len(links) < _MAX_LINKS:
            links.append(here)
            names += reversed(target.parts[target.is_absolute() :])
            here = Path("/") if target.is_absolute() else here.parent
    return [*links, here]


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _check(
    here: Path, file: Path | int, state: os.stat_result, root: Path, action: str, is_end: bool
) -> None:
    """Raise TrustError if another user can write a path, or the open file that it led to."""
    reason = _reason(file, state, is_end)
    if reason is not None:
        remedy = f"chmod -R go-w {root}" if here.is_relative_to(root) else f"chmod go-w {here}"
        why = reason.format(root=root, remedy=remedy)
        raise TrustError(f"nothing is {action} {root}: {here} {why}", root)


def _reason(file: Path | int, state: os.stat_result, is_end: bool) -> str | None:
    """Return why another user can write a path or an open file, and what helps; or None.

    Parameters
    ----------
    file : Path or int
        The path, or the open file.
    state : os.stat_result
        Its state; a link's is that of the link.
    is_end : bool
        Whether it is what the path leads to, not a folder on the way.
    """
    is_link = stat.S_ISLNK(state.st_mode)
    everybody = f"can be written by everybody{_OPEN}"
    if state.st_uid == 0:
        is_open_file = stat.S_ISREG(state.st_mode) and state.st_mode & stat.S_IWOTH
        return everybody if is_open_file else None
    if state.st_uid != os.geteuid():
        # The owner of / can replace everything. In some containers that is root by another number.
        if (is_link or not is_end) and state.st_uid == os.lstat("/").st_uid:
            return None
        return f"belongs to another user (number {state.st_uid}){_ANOTHER}"
    # A link cannot be changed, and files of a sticky folder cannot be replaced by other users.
    if is_link or (state.st_mode & stat.S_ISVTX and not is_end):
        return None
    if state.st_mode & stat.S_IWOTH:
        return everybody
    # Without this bit no access control list gives write permission: the bit is the list's mask.
    if state.st_mode & stat.S_IWGRP:
        if not _is_own_group(state.st_gid, os.geteuid()):
            return f"can be written by a group of users (number {state.st_gid}){_OPEN}"
        if _has_access_list(file):
            return f"can be written by the users in its access control list{_OPEN}"
    return None


def _has_access_list(file: Path | int) -> bool:
    """Tell whether a file or folder has an access control list, or one that cannot be read.

    A folder's default list needs no check: what is made there gets a list of its own from it.
    """
    try:
        os.getxattr(file, "system.posix_acl_access", follow_symlinks=isinstance(file, int))
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.ENOTSUP)
    return True


@functools.cache
def _is_own_group(group_id: int, user_id: int) -> bool:
    """Tell whether a group is the user's private one, which many systems make for each user.

    A directory service may not list its users: then other members are not known.
    """
    try:
        user, group = pwd.getpwuid(user_id), grp.getgrgid(group_id)
    except KeyError:
        return False
    return (
        user.pw_gid == group_id
        and group.gr_name == user.pw_name
        and not (set(group.gr_mem) - {user.pw_name})
        # A user whose first group it is need not be listed in it.
        and all(other.pw_uid == user_id for other in pwd.getpwall() if other.pw_gid == group_id)
    )
