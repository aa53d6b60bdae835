"""Paths on the command line, checked before a command does anything.

Invariant: a path that is refused here makes the command line wrong (exit status 2), and nothing was
printed or written. What fails later is an error of the command (exit status 1).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import click

from ._chunks import write_all
from ._common import reported
from ._replace import replacing


class SomePath(click.Path):
    """A path that is neither empty (the current folder) nor ``-`` (a stream)."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Return the path, or refuse it."""
        if not os.fspath(value):
            self.fail("expected a path, got an empty one.", param, ctx)
        if os.fspath(value) == "-":
            self.fail(
                "'-' would be standard input or output, which no command takes for a file. "
                "./- is the file of that name.",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


class OutputFile(SomePath):
    """A file to write or to replace, in a folder that exists."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, readable=False, writable=True, path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Return the path, or refuse it."""
        if os.fspath(value).endswith(os.sep):
            self.fail(f"{value!r} ends like a folder's name; expected a file's.", param, ctx)
        path: Path = super().convert(value, param, ctx)
        obstacle = _obstacle(path)
        if obstacle is not None:
            self.fail(f"{click.format_filename(path)}: {obstacle}", param, ctx)
        return path


def _obstacle(path: Path) -> str | None:
    """Return why a file cannot be written, as far as the file system tells without a try."""
    folder = path.absolute().parent
    shown = click.format_filename(folder)
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            return f"{shown} is not a folder."
        path.lstat()
    except FileNotFoundError:
        if not folder.is_dir():
            return f"there is no folder {shown}; make it first."
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"nothing can be written into the folder {shown}."
    except OSError as error:
        return f"{error.strerror}."
    return None


def write_file(target: Path, data: bytes) -> None:
    """Write a file so that it holds either all of the data or its old content.

    A device or a pipe is written in place.

    Parameters
    ----------
    target : Path
        The file.
    data : bytes
        The new content.
    """
    writing = f"{click.format_filename(target)}: cannot be written"
    if target.is_relative_to("/dev") or (target.exists() and not target.is_file()):
        with reported(writing):
            target.write_bytes(data)
        return
    with replacing(target) as descriptor, reported(writing):
        write_all(descriptor, data, 0)
