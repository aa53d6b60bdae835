"""What a person at a terminal sees: a progress bar, and warnings in one line.

Invariant: nothing is drawn where standard error is no terminal, or one that cannot move its cursor.
A bar never takes more than one line of the terminal.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import click

__all__ = ["is_terminal", "progress_bar"]

# Columns of a bar beside its label and its own: spaces, brackets, "100%", and a time of three days.
_ROOM = 24
_WIDEST_BAR = 36
_NARROWEST_BAR = 8


def is_terminal() -> bool:
    """Tell whether standard error is a terminal that can draw over a line."""
    stream = sys.stderr
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _columns() -> int:
    # Not shutil.get_terminal_size, which asks standard output: that may be a file.
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


@contextlib.contextmanager
def progress_bar(
    total: int, label: str, show_count: bool = False
) -> Iterator[Callable[[int], None]]:
    """Give what is to be called with how much was done since; draw that on a terminal.

    Parameters
    ----------
    total : int
        How much there is to do.
    label : str
        What is done.
    show_count : bool, default False
        Whether to show how much was done beside the percentage.
    """
    columns = _columns() if is_terminal() else 0
    counted = 2 * len(str(total)) + 3 if show_count else 0
    width = min(columns - _ROOM - len(label) - counted, _WIDEST_BAR)
    is_short = width < _NARROWEST_BAR  # then the bar and its percentage have to do
    if is_short:
        width = columns - len("  []  100% ")
    if width < _NARROWEST_BAR:
        yield lambda _: None
        return
    with click.progressbar(
        length=max(total, 1),
        label="" if is_short else label,
        show_eta=not is_short,
        show_pos=show_count and not is_short,
        show_percent=True,
        width=width,
        file=sys.stderr,
    ) as bar:
        yield bar.update
