"""Warns the caller of the package.

Invariant: a warning names the caller's own line, and no fork waits while it is shown.
"""

from __future__ import annotations

import sys
import warnings

from . import forks


def warn(text: str) -> None:
    """Warn the caller of the package."""
    # The warning may be logged, and logging waits for forks, too.
    with forks.allowed():
        warnings.warn(text, RuntimeWarning, stacklevel=_caller_level())


def _caller_level() -> int:
    """Return the stacklevel, in the calling function, of the line that called the package."""
    level, frame = 1, sys._getframe(1)
    # The decorators of the package's functions run in frames of contextlib.
    own = (__name__.partition(".")[0], "contextlib")
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in own:
        level, frame = level + 1, frame.f_back
    return level
