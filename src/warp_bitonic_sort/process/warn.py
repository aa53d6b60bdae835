"""Warns the caller of the package.

Invariant: a warning names the caller's own line, and no fork waits while it is shown.
"""

from __future__ import annotations

import sys
import warnings

from . import forks


def warn(text: str) -> None:
    """Warn whoever called the package."""
    with forks.allowed():  # who is told may log it, and logging waits for forks, too
        warnings.warn(text, RuntimeWarning, stacklevel=_callers())


def _callers() -> int:
    """Return the stacklevel, for whoever calls this, of the line that called the package."""
    level, frame = 1, sys._getframe(1)
    # The decorators of the package's functions run in frames of contextlib.
    ours = (__name__.partition(".")[0], "contextlib")
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in ours:
        level, frame = level + 1, frame.f_back
    return level
