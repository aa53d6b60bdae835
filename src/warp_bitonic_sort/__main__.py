"""Runs the command line as a program: ``warp-bitonic-sort`` or ``python -m warp_bitonic_sort``.

Invariant: the process belongs to the command line. `cli.main` can be called in any process, and
hides nothing from it.
"""

from __future__ import annotations

import sys
from typing import Any

from .cli import main

__all__ = ["run"]


def run() -> None:
    """Run the command line in this process, without PyTorch."""
    _hide_torch()
    main()


def _hide_torch() -> None:
    """Make ``import torch`` raise ImportError in this process, unless it is imported already.

    tvm_ffi imports PyTorch where that is installed. No command uses PyTorch, and its import takes
    several times as long as the rest of a short command.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("torch", None)


if __name__ == "__main__":
    run()
