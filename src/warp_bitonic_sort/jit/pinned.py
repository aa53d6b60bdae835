"""Gives a name that loads exactly the file that was checked, wherever its path leads by now.

Invariant: the name leads to a file with the stamp that the check noted, by way of an open
descriptor. That of a library stays open: glibc, debuggers and backtraces know the library by that
name from then on, and what they find there must be the library.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import CacheError, EvictedError
from .cache import HOST_KINDS, Entry
from .files import opened, read_all, stamp
from .mounts import temporary_parent

__all__ = ["explained", "pinned"]

_DESCRIPTORS = "/proc/self/fd"
# Libraries whose descriptors are kept. Further ones are loaded from private copies.
_MAX_KEPT = 64
# What dlopen says where a file must not be executed.
_NOT_MAPPED = "failed to map segment from shared object"
_kept: list[contextlib.ExitStack] = []
_count = itertools.count(1)


@contextlib.contextmanager
def pinned(entry: Entry) -> Iterator[str]:
    """Open an entry's product and yield a name to load it by while the body runs.

    Raises
    ------
    EvictedError
        What lies there is not the file that was checked.
    CacheError
        The system does not let the file be executed.
    RuntimeError
        The body has raised one.
    """
    path = entry.library
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(opened(path))
            why = "it was replaced" if stamp(os.fstat(descriptor)) != entry.stamp else None
        except OSError as error:
            why = error.strerror
        if why is not None:
            raise EvictedError(
                f"{path} cannot be loaded as it was found: {why}. Does another process clear that "
                f"folder again and again? Call again, or set WARP_SORT_CACHE_DIR to another folder."
            )
        is_library = entry.kind in HOST_KINDS
        name = _name(descriptor)
        is_pinned = os.path.exists(name) and not (is_library and len(_kept) == _MAX_KEPT)  # noqa: PTH110
        if not is_pinned:
            name = stack.enter_context(_copy(descriptor, path.name))
        with explained(path, name):
            yield name
        if is_library and is_pinned:
            _kept.append(stack.pop_all())


@contextlib.contextmanager
def explained(path: Path, name: str) -> Iterator[None]:
    """Have an error of the body name the path of what it loads, and say what hinders.

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
        if _NOT_MAPPED in text:
            raise CacheError(
                f"{path} cannot be executed: {text}. Its file system may be mounted noexec. "
                f"Set WARP_SORT_CACHE_DIR to a folder on another file system."
            ) from None
        raise RuntimeError(text) from None


def _name(descriptor: int) -> str:
    # glibc takes a name that it knows for the library that it has loaded by that name. If the
    # application closes all descriptors, numbers come again: one slash more makes a new name.
    return f"{_DESCRIPTORS}{'/' * next(_count)}{descriptor}"


@contextlib.contextmanager
def _copy(descriptor: int, file: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="warp-sort-", dir=temporary_parent()) as folder:
        copy = Path(folder, file)
        copy.write_bytes(read_all(descriptor))
        yield str(copy)
