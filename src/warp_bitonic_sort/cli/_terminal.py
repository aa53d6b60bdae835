"""Draws progress bars at a terminal.

Invariant: nothing is drawn unless standard error is a terminal that can move its cursor.
A bar never takes more than one line of the terminal.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import click

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
    """Yield a function to call with the progress since its last call, and draw it on a terminal.

    Parameters
    ----------
    total : int
        The amount of work.
    label : str
        The name of the work.
    show_count : bool, default False
        Whether to show the amount beside the percentage.
    """
    columns = _columns() if is_terminal() else 0
    count_width = 2 * len(str(total)) + 3 if show_count else 0
    width = min(columns - _ROOM - len(label) - count_width, _WIDEST_BAR)
    is_short = width < _NARROWEST_BAR  # then only the bar and its percentage are drawn
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
