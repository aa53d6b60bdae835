"""Writes the message that people see while kernels are compiled.

Invariant: pure, but for the home folder, which the message shows as ``~``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ...kernels import VALUE_BITS, Artifact, Kernel
from ...targets import target_of

_NUMBERS = {"integer": "integers", "ieee": "floats", "fnuz": "floats"}


def compiling(artifacts: Sequence[Artifact], folder: Path) -> str:
    """Return the message.

    Parameters
    ----------
    artifacts : sequence of Artifact
        The artifacts that are being compiled.
    folder : Path
        The cache that will hold them.
    """
    kernels = [a for a in artifacts if isinstance(a, Kernel)]
    what = ["the runtime"] if len(kernels) < len(artifacts) else []
    what += [_described(kernels[0])] if len(kernels) == 1 else []
    what += [f"{len(kernels)} kernels"] if len(kernels) > 1 else []
    with contextlib.suppress(ValueError, RuntimeError):  # not in the home folder, or no home
        folder = Path("~") / folder.relative_to(Path.home())
    return f"compiling {' and '.join(what)} (on first use; kept in {folder})"


def _described(kernel: Kernel) -> str:
    """Return the rows that a kernel sorts, and the architecture."""
    capacity = kernel.layout.capacity
    up_to = "" if target_of(kernel.target).is_host else "up to "
    rows = f"rows of {up_to}{capacity}" if capacity else "long or strided rows of"
    keys = f"{_NUMBERS[kernel.codec]} of {kernel.bits} bits"
    payload = ""
    if kernel.payload == "index":
        payload = " with indices"
    elif kernel.payload in VALUE_BITS:
        payload = f" with values of {VALUE_BITS[kernel.payload]} bits"
    return f"a kernel for {rows} {keys}{payload} on {kernel.arch}"
