"""Runs the command line as a program: ``warp-bitonic-sort`` or ``python -m warp_bitonic_sort``.

Invariant: the process belongs to the command line. `cli.main` can be called in any process, and
changes nothing in it.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import click

from .cli import main

# The command that times PyTorch's functions.
_USES_TORCH = "bench"


def run() -> None:
    """Run the command line in this process."""
    if sys.argv[1:2] != [_USES_TORCH]:
        _hide_torch()
    _open_standard_streams()
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # it takes what it needs
    main()


def _hide_torch() -> None:
    """Make ``import torch`` raise ImportError, unless it is imported already.

    tvm_ffi imports PyTorch where that is installed. No other command uses PyTorch, and its import
    takes several times as long as the rest of a short command.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("torch", None)


def _open_standard_streams() -> None:
    """Open what was closed before this process (``>&-``).

    Otherwise the next file that is opened would be standard output or error, and whatever is
    printed would go into it. Output that is closed cannot be written, which `main` reports.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _show_warning(message: Warning | str, *_: object) -> None:
    """Print a warning as a command does, without the line of Python that gave it."""
    click.echo(f"Warning: {message}", err=True)


if __name__ == "__main__":
    run()
