"""Gives a name that loads exactly the file that was checked, wherever its path leads by now.

Invariant: the name leads through an open descriptor to a file with the stamp that the check noted.
The descriptor of a library stays open: glibc, debuggers and backtraces know the library by that
name from then on, and must find the library there.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...errors import CacheError, EvictedError
from ...targets import recipe_of
from .files import open_regular, read_all, stamp
from .mounts import temporary_parent
from .store import Entry

_DESCRIPTORS = "/proc/self/fd"
# Libraries whose descriptors are kept. Further ones are loaded from private copies.
_MAX_KEPT = 64
# The message of dlopen where a file must not be executed.
_NOT_MAPPED = "failed to map segment from shared object"
_NO_MEMORY = os.strerror(errno.ENOMEM)
_kept: list[int] = []
_count = itertools.count(1)


@contextlib.contextmanager
def pinned(entry: Entry) -> Iterator[str]:
    """Open an entry's product and yield a name to load it by while the body runs.

    Raises
    ------
    EvictedError
        The file is not the one that was checked.
    CacheError
        The system does not let the file be executed.
    RuntimeError
        The body has raised one.
    """
    path = entry.library
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(open_regular(path))
            reason = "it was replaced" if stamp(os.fstat(descriptor)) != entry.stamp else None
        except OSError as error:
            reason = error.strerror
        if reason is not None:
            raise EvictedError(
                f"{path} cannot be loaded as it was found: {reason}. Does another process clear "
                f"that folder again and again? Call again, or set WARP_SORT_CACHE_DIR to another "
                f"folder."
            )
        failed = stack.enter_context(contextlib.ExitStack())
        name = _name(descriptor)
        is_library = recipe_of(entry.target).is_library
        if not os.path.exists(name) or (is_library and len(_kept) >= _MAX_KEPT):  # noqa: PTH110
            name = stack.enter_context(_copy(descriptor, path.name))
        elif is_library:
            # Never closed after a load: by the end of the process its number may be another file's.
            kept = os.dup(descriptor)
            _kept.append(kept)
            failed.callback(_forget, kept)
            name = _name(kept)
        with explain_load_errors(path, name):
            yield name
        failed.pop_all()


@contextlib.contextmanager
def explain_load_errors(path: Path, name: str) -> Iterator[None]:
    """Have an error of the body name the file that it loads, and say what would help.

    Raises
    ------
    CacheError
        The system does not let the file be executed.
    RuntimeError
        The body has raised one.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).replace(name, str(path))
        if _NOT_MAPPED in text and _NO_MEMORY not in text:
            raise CacheError(
                f"{path} cannot be executed: {text}. Its file system may be mounted noexec. "
                f"Set WARP_SORT_CACHE_DIR to a folder on another file system."
            ) from None
        raise RuntimeError(text) from None


def _forget(kept: int) -> None:
    _kept.remove(kept)
    os.close(kept)


def _name(descriptor: int) -> str:
    # By a known name glibc returns the library that it has loaded by that name. If the application
    # closes all descriptors, numbers come again: one more slash makes a new name.
    return f"{_DESCRIPTORS}{'/' * next(_count)}{descriptor}"


@contextlib.contextmanager
def _copy(descriptor: int, file: str) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            parent = tempfile.TemporaryDirectory(prefix="warp-sort-", dir=temporary_parent())
            copy = Path(stack.enter_context(parent), file)
            copy.write_bytes(read_all(descriptor))
        except OSError as error:
            raise CacheError(
                f"{file} is loaded from a private copy, and that cannot be written: "
                f"{error.strerror or error} ({error.filename or tempfile.gettempdir()}). "
                f"Set TMPDIR to a folder that this user can write."
            ) from None
        yield str(copy)
