"""Warns the caller of the package.

Invariant: a warning points to the caller's line, and no fork waits while it is shown.
"""

from __future__ import annotations

import sys
import warnings

from . import forks


def warn(text: str) -> None:
    """Warn the caller of the package."""
    # The warning may be logged, and logging also waits for forks.
    with forks.allowed():
        warnings.warn(text, RuntimeWarning, stacklevel=_caller_level())


def _caller_level() -> int:
    """Return the stacklevel, in the calling function, of the line that called the package."""
    level, frame = 1, sys._getframe(1)
    # Some functions of the package have decorators, which run in frames of contextlib.
    skipped = (__name__.partition(".")[0], "contextlib")
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in skipped:
        level, frame = level + 1, frame.f_back
    return level
