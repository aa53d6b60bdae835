"""Replaces files by new ones, all or nothing.

Invariant: the file is either the old one or the whole new one. A new file gives no other user more
rights than an old file of the same owner did. The new file grows under a hidden name in the same
folder and is locked. A killed process leaves such a file without a lock, and the next run removes
it. Of several files, all are replaced or none, unless the process is killed between two renames.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from ._common import reported

_SUFFIX = ".warp-bitonic-sort.tmp"
_MAX_LINKS = 40  # as Linux has it
_MAX_TRIES = 100
_ACL = "system.posix_acl_access"


class _NewFile(NamedTuple):
    """A file that grows, and what it will replace.

    Parameters
    ----------
    named : str
        The target in messages.
    final, temporary : Path
        The path of the target, and of the new file beside it.
    descriptor : int
        The new file.
    """

    named: str
    final: Path
    temporary: Path
    descriptor: int


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[int]:
    """Yield the descriptor of a new file, which replaces target if no error is raised.

    Parameters
    ----------
    target : Path
        The file to replace, which need not exist. A link stays a link: its target is replaced.

    Yields
    ------
    int
        The new file, empty, open for reading and writing.
    """
    with replacing_all([target]) as (descriptor,):
        yield descriptor


@contextlib.contextmanager
def replacing_all(targets: Sequence[Path]) -> Iterator[list[int]]:
    """Yield the descriptors of new files, which replace all targets if no error is raised.

    Parameters
    ----------
    targets : sequence of Path
        Different files, each as for `replacing`.

    Yields
    ------
    list of int
        The new files.
    """
    with contextlib.ExitStack() as stack:
        files = [_new_file(target, stack) for target in targets]
        yield [file.descriptor for file in files]
        for file in files:
            with reported(f"{file.named}: cannot be written"):
                os.fsync(file.descriptor)
        with contextlib.ExitStack() as undo:
            for file in files:
                with reported(f"{file.named}: cannot be written"):
                    if len(files) > 1:
                        _keep_old(file.final, stack, undo)
                    file.temporary.replace(file.final)
            undo.pop_all()


def _new_file(target: Path, stack: contextlib.ExitStack) -> _NewFile:
    """Create the new file of a target. The stack removes and closes it."""
    named = click.format_filename(target)
    with reported(named):
        final = _resolved(target)
    old = _replaceable(final, named)
    _remove_abandoned(final)
    with reported(f"{named}: cannot be written"):
        temporary, descriptor = _create(final, old, stack)
        if old is not None:
            _copy_access(descriptor, final, old)
    return _NewFile(named, final, temporary, descriptor)


def _keep_old(final: Path, stack: contextlib.ExitStack, undo: contextlib.ExitStack) -> None:
    """Give an old file a second name, from which ``undo`` brings it back."""
    kept = _hidden(final)
    stack.callback(_unlink, kept)  # first, because a signal may come at any time
    try:
        os.link(final, kept)
    except FileNotFoundError:
        undo.callback(_unlink, final)
    else:
        undo.callback(_bring_back, kept, final)


def _bring_back(kept: Path, final: Path) -> None:
    with contextlib.suppress(OSError):
        kept.replace(final)


# -- which file -----------------------------------------------------------------------------------


def _resolved(target: Path) -> Path:
    """Follow every link as the kernel does where fs.protected_symlinks is set.

    In a sticky folder that all users can write, a link of another user could lead to any of our
    files.
    """
    folder = Path("/")
    parts = [*reversed((Path.cwd() / target).parts)]
    links = 0
    while parts:
        part = parts.pop()
        if part == "..":
            folder = folder.parent
            continue
        step = folder / part  # just "/" if the part is "/"
        try:
            link = step.readlink()
        except OSError:  # not a link, or it does not exist
            folder = step
            continue
        if re.fullmatch(r"/proc/.+/fd", str(folder)):
            raise ValueError("expected a file to replace, got a stream or an open file.")
        _check_link(step, folder)
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        parts.extend(reversed(link.parts))
    return folder


def _check_link(link: Path, folder: Path) -> None:
    folder_status = folder.stat()
    sticky = stat.S_ISVTX | stat.S_IWOTH
    if folder_status.st_mode & sticky == sticky and link.lstat().st_uid not in (
        os.geteuid(),
        folder_status.st_uid,
    ):
        raise ValueError(
            f"{link} is a link of another user in a sticky folder that everybody may write; it is "
            f"not followed. Name the file that it leads to."
        )


def _replaceable(final: Path, named: str) -> os.stat_result | None:
    """Check the file to replace. Return its status, or None if this user owns no such file."""
    try:
        status = final.lstat()
        folder_status = final.parent.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise click.ClickException(f"{named}: expected a regular file or none, to be replaced.")
    if not os.access(final, os.W_OK):
        raise click.ClickException(f"{named}: the file is there and may not be written.")
    # Fail now rather than after the work.
    if folder_status.st_mode & stat.S_ISVTX and os.geteuid() not in (
        0,
        status.st_uid,
        folder_status.st_uid,
    ):
        raise click.ClickException(
            f"{named}: the file is another user's, and only its owner may replace it in a folder "
            f"with the sticky bit. Choose another name or folder."
        )
    return status if status.st_uid == os.geteuid() else None


# -- the new file ---------------------------------------------------------------------------------


def _prefix(final: Path) -> str:
    # Cut to leave room for the suffix. Two files may share a prefix.
    return f".{final.name[:48]}."


def _hidden(final: Path) -> Path:
    return final.with_name(f"{_prefix(final)}{secrets.token_hex(8)}{_SUFFIX}")


def _create(
    final: Path, old: os.stat_result | None, stack: contextlib.ExitStack
) -> tuple[Path, int]:
    """Create and lock a file with a new name. The stack removes and closes it."""
    # Rights of the group and of others are added once the new file has the old one's group.
    mode = 0o666 if old is None else old.st_mode & 0o700
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for _ in range(_MAX_TRIES):
        temporary = _hidden(final)
        stack.callback(_unlink, temporary)  # first, because a signal may come at any time
        descriptor = os.open(temporary, flags, mode)
        stack.callback(os.close, descriptor)
        if _lock(descriptor):
            return temporary, descriptor
    raise FileExistsError(errno.EEXIST, "other processes hold every temporary file")


def _lock(descriptor: int) -> bool:
    """Lock a new file, and tell whether it still exists."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another run is removing it as abandoned
        return False
    except OSError:  # without locks no run removes anything
        return True
    return os.fstat(descriptor).st_nlink > 0


def _remove_abandoned(final: Path) -> None:
    """Remove the hidden files that killed runs left for the same file."""
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
        # The group differs: it and others get only the rights that both had.
        both = mode & mode >> 3 & 0o007
        mode = mode & 0o700 | both << 3 | both
    with contextlib.suppress(OSError):  # some file systems have no modes
        os.fchmod(descriptor, mode)


def _copy_acl(descriptor: int, final: Path) -> None:
    """Copy an access control list. The group bits of the mode are its mask."""
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
        os.removexattr(descriptor, _ACL)  # the default list of the folder
    except OSError as error:
        if error.errno not in absent:
            raise
