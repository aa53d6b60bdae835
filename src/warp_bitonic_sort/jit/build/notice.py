"""What a person is told while kernels are compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ...kernels import Artifact, Kernel
from ...targets import target_of

_NUMBERS = {"integer": "integers", "ieee": "floats", "fnuz": "floats"}


def compiling(artifacts: Sequence[Artifact], folder: Path) -> str:
    """Return what to say while something is being compiled.

    Parameters
    ----------
    artifacts : sequence of Artifact
        What is being compiled.
    folder : Path
        The cache that keeps it.
    """
    kernels = [a for a in artifacts if isinstance(a, Kernel)]
    what = ["the runtime"] if len(kernels) < len(artifacts) else []
    what += [_described(kernels[0])] if len(kernels) == 1 else []
    what += [f"{len(kernels)} kernels"] if len(kernels) > 1 else []
    with contextlib.suppress(ValueError, RuntimeError):  # elsewhere, or there is no home
        folder = Path("~") / folder.relative_to(Path.home())
    return f"compiling {' and '.join(what)} (on first use; kept in {folder})"


def _described(kernel: Kernel) -> str:
    """Return which rows a kernel sorts, and where."""
    capacity = kernel.layout.capacity
    up_to = "" if target_of(kernel.target).is_host else "up to "
    length = f"{up_to}{capacity} " if capacity else "many "
    keys = f"{_NUMBERS[kernel.codec]} of {kernel.bits} bits"
    return f"a kernel for rows of {length}{keys} on {kernel.arch}"
