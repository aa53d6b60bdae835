"""Prints messages on standard error.

Invariant: a message that cannot be printed is lost; nothing fails for it.
"""

from __future__ import annotations

import contextlib
import sys


def is_watched() -> bool:
    """Tell whether a person sees standard error while this process runs."""
    # A daemon, or a program without a console, has none. Its replacement need not be a file.
    is_terminal = getattr(sys.stderr, "isatty", None)
    with contextlib.suppress(OSError, ValueError):
        return (is_terminal is not None and is_terminal()) or _is_notebook()
    return False


def _is_notebook() -> bool:
    # If IPython runs this process, it is imported. In a notebook its shell is of this class.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__)


def say(line: str) -> None:
    """Print a line that names the package on standard error, if there is one."""
    write(f"warp_bitonic_sort: {line}\n")


def write(text: str) -> None:
    """Print text on standard error, if there is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
        sys.stderr.write(text)
        sys.stderr.flush()
