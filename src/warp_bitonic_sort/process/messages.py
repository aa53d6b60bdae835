"""Prints messages on standard error.

Invariant: a message that cannot be printed is dropped and raises nothing.
"""

from __future__ import annotations

import contextlib
import sys


def is_watched() -> bool:
    """Tell whether a person sees standard error while this process runs."""
    # sys.stderr may be None (no console), or an object that is not a file.
    is_terminal = getattr(sys.stderr, "isatty", None)
    with contextlib.suppress(OSError, ValueError):
        return (is_terminal is not None and is_terminal()) or _is_notebook()
    return False


def _is_notebook() -> bool:
    # A notebook's process has imported IPython, and its shell has this class.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__)


def say(line: str) -> None:
    """Print a line on standard error, after the package's name."""
    write(f"warp_bitonic_sort: {line}\n")


def write(text: str) -> None:
    """Print text on standard error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed or None
        sys.stderr.write(text)
        sys.stderr.flush()
