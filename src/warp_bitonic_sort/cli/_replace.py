"""Replaces a file by a new one, all or nothing.

Invariant: the file is either what it was or the whole new one. A new file gives no other user more
rights than an old one of the same owner did. The new one grows under a hidden name in the same
folder, and is locked meanwhile. A file of such a name without a lock was left by a killed process;
the next run removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import click

from ._common import reported

__all__ = ["replacing"]

_SUFFIX = ".warp-bitonic-sort.tmp"
_MAX_LINKS = 40  # as Linux has it
_MAX_TRIES = 100
_ACL = "system.posix_acl_access"


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[int]:
    """Give a new file's descriptor; put the new file into target's place if all goes well.

    Parameters
    ----------
    target : Path
        The file to replace, which need not be there. A link stays a link: the file that it leads to
        is replaced.

    Yields
    ------
    int
        The new file, empty, open for reading and writing.
    """
    named = click.format_filename(target)
    with reported(named):
        final = _resolved(target)
    old = _replaceable(final, named)
    _remove_abandoned(final)
    with contextlib.ExitStack() as stack:
        with reported(f"{named}: cannot be written"):
            temporary, descriptor = _create(final, old, stack)
            if old is not None:
                _copy_access(descriptor, final, old)
        yield descriptor
        with reported(f"{named}: cannot be written"):
            os.fsync(descriptor)
            temporary.replace(final)


# -- which file -----------------------------------------------------------------------------------


def _resolved(target: Path) -> Path:
    """Follow every link as the kernel does where fs.protected_symlinks is set.

    In a sticky folder that everybody may write, another user's link could lead to any file of ours.
    """
    here = Path("/")
    parts = [*reversed((Path.cwd() / target).parts)]
    links = 0
    while parts:
        part = parts.pop()
        if part == "..":
            here = here.parent
            continue
        step = here / part  # "/" alone where the part is "/"
        try:
            link = step.readlink()
        except OSError:  # no link, or nothing there
            here = step
            continue
        if re.fullmatch(r"/proc/.+/fd", str(here)):
            raise ValueError("expected a file to replace, got a stream or an open file.")
        _check_link(step, here)
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        parts.extend(reversed(link.parts))
    return here


def _check_link(link: Path, folder: Path) -> None:
    holder = folder.stat()
    shared = stat.S_ISVTX | stat.S_IWOTH
    if holder.st_mode & shared == shared and link.lstat().st_uid not in (
        os.geteuid(),
        holder.st_uid,
    ):
        raise ValueError(
            f"{link} is a link of another user in a sticky folder that everybody may write; it is "
            f"not followed. Name the file that it leads to."
        )


def _replaceable(final: Path, named: str) -> os.stat_result | None:
    """Check the file to replace; return its status, or None where there is none of ours."""
    try:
        status = final.lstat()
        holder = final.parent.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise click.ClickException(f"{named}: expected a regular file or none, to be replaced.")
    if not os.access(final, os.W_OK):
        raise click.ClickException(f"{named}: the file is there and may not be written.")
    # Known now rather than when the work is done.
    if holder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, status.st_uid, holder.st_uid):
        raise click.ClickException(
            f"{named}: the file is another user's, and only its owner may replace it in a folder "
            f"with the sticky bit. Choose another name or folder."
        )
    return status if status.st_uid == os.geteuid() else None


# -- the new file ---------------------------------------------------------------------------------


def _prefix(final: Path) -> str:
    # Cut, so that the longest name leaves room for the rest. Two files may share a prefix.
    return f".{final.name[:48]}."


def _create(
    final: Path, old: os.stat_result | None, stack: contextlib.ExitStack
) -> tuple[Path, int]:
    """Create a file of a new name and lock it; what undoes both is left on a stack."""
    # The old file's group and others come when the new one has its group.
    mode = 0o666 if old is None else old.st_mode & 0o700
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for _ in range(_MAX_TRIES):
        temporary = final.with_name(f"{_prefix(final)}{secrets.token_hex(8)}{_SUFFIX}")
        stack.callback(_unlink, temporary)  # before it is there: a signal may come at any time
        descriptor = os.open(temporary, flags, mode)
        stack.callback(os.close, descriptor)
        if _hold(descriptor):
            return temporary, descriptor
    raise FileExistsError(errno.EEXIST, "other processes hold every temporary file")


def _hold(descriptor: int) -> bool:
    """Lock a new file, and tell whether it is still there."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another run has just taken it for abandoned
        return False
    except OSError:  # without locks on a file system nothing there is taken for abandoned
        return True
    return os.fstat(descriptor).st_nlink > 0


def _remove_abandoned(final: Path) -> None:
    """Remove what runs that were killed left of the same file."""
    pattern = re.escape(_prefix(final)) + "[0-9a-f]{16}" + re.escape(_SUFFIX)
    with contextlib.suppress(OSError):  # a folder that cannot be listed
        for path in final.parent.iterdir():
            if re.fullmatch(pattern, path.name):
                _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
        stack.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _copy_access(descriptor: int, final: Path, old: os.stat_result) -> None:
    """Give a new file the permissions and the group of an old one, without set-id bits."""
    mode = old.st_mode & 0o777
    try:
        os.fchown(descriptor, -1, old.st_gid)
        _copy_acl(descriptor, final)
    except OSError:
        # The group is another: both it and everybody get only what group and others had.
        both = mode & mode >> 3 & 0o007
        mode = mode & 0o700 | both << 3 | both
    with contextlib.suppress(OSError):  # some file systems have no modes
        os.fchmod(descriptor, mode)


def _copy_acl(descriptor: int, final: Path) -> None:
    """Copy an access control list, of which the mode's group bits are the mask."""
    absent = (errno.ENODATA, errno.ENOTSUP)
    try:
        acl = os.getxattr(final, _ACL, follow_symlinks=False)
    except OSError as error:
        if error.errno not in absent:
            raise
        acl = None
    if acl is not None:
        os.setxattr(descriptor, _ACL, acl)
        return
    try:
        os.removexattr(descriptor, _ACL)  # that of the folder's new files
    except OSError as error:
        if error.errno not in absent:
            raise
