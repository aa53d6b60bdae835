"""Gives a name that loads exactly the file that was checked, wherever its path leads by now.

Invariant: the name leads to a file with the stamp that the check noted, by way of an open
descriptor, and no other file is ever loaded by the same name.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import EvictedError
from .cache import Entry
from .files import opened, read_all, stamp

__all__ = ["pinned"]

_DESCRIPTORS = "/proc/self/fd"
_count = itertools.count(1)


@contextlib.contextmanager
def pinned(entry: Entry) -> Iterator[str]:
    """Open an entry's product and yield a name to load it by, for as long as the body runs.

    Raises
    ------
    EvictedError
        What lies there is not the file that was checked.
    RuntimeError
        The body has raised one: its text, with the path in place of the name.
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
        name = stack.enter_context(_name(descriptor, path.name))
        try:
            yield name
        except RuntimeError as error:
            raise RuntimeError(str(error).replace(name, str(path))) from None


@contextlib.contextmanager
def _name(descriptor: int, file: str) -> Iterator[str]:
    # glibc takes a name that it knows for the library that it has loaded by that name, and numbers
    # of descriptors come again. One slash more makes each name a new one.
    name = f"{_DESCRIPTORS}{'/' * next(_count)}{descriptor}"
    if os.path.exists(name):  # noqa: PTH110 - Path drops the slashes
        yield name
        return
    # There is no /proc, or the name is too long by now: a private copy does as well.
    with tempfile.TemporaryDirectory(prefix="warp-sort-") as folder:
        copy = Path(folder, file)
        copy.write_bytes(read_all(descriptor))
        yield str(copy)
