"""What the package says on standard error, and whether a person watches that.

Invariant: text that cannot be printed is lost, and nothing fails for it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from .spec import Artifact, CpuKernel, GpuKernel

__all__ = ["compiling", "is_watched", "say", "write"]

_NUMBERS = {"bits": "integers", "floating": "floats", "fnuz": "floats"}


def is_watched() -> bool:
    """Tell whether a person sees standard error while this process runs."""
    # A daemon, or a program without a console, has none; what replaces it need not be a file.
    is_terminal = getattr(sys.stderr, "isatty", None)
    with contextlib.suppress(OSError, ValueError):
        return (is_terminal is not None and is_terminal()) or _is_notebook()
    return False


def _is_notebook() -> bool:
    # IPython has been imported if it runs this process; its shell in a kernel is of this class.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return any(each.__name__ == "ZMQInteractiveShell" for each in type(shell).__mro__)


def compiling(artifacts: Sequence[Artifact], folder: Path) -> str:
    """Return what to say while something is being compiled.

    Parameters
    ----------
    artifacts : sequence of Artifact
        What is being compiled.
    folder : Path
        The cache that keeps it.
    """
    kernels = [a for a in artifacts if isinstance(a, (CpuKernel, GpuKernel))]
    what = ["the launcher"] if len(kernels) < len(artifacts) else []
    what += [_described(kernels[0])] if len(kernels) == 1 else []
    what += [f"{len(kernels)} kernels"] if len(kernels) > 1 else []
    with contextlib.suppress(ValueError, RuntimeError):  # elsewhere, or there is no home
        folder = Path("~") / folder.relative_to(Path.home())
    return f"compiling {' and '.join(what)} (on first use; kept in {folder})"


def _described(kernel: CpuKernel | GpuKernel) -> str:
    """Return which rows a kernel sorts, and where."""
    is_exact = isinstance(kernel, CpuKernel)
    length = f"{'' if is_exact else 'up to '}{kernel.capacity} " if kernel.capacity else "many "
    keys = f"{_NUMBERS[kernel.codec]} of {kernel.bits} bits"
    return f"a kernel for rows of {length}{keys} on {kernel.arch}"


def say(line: str) -> None:
    """Print a line that names the package on standard error, if there is one."""
    write(f"warp_bitonic_sort: {line}\n")


def write(text: str) -> None:
    """Print text on standard error; what cannot be printed is lost, and nothing fails for it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
        sys.stderr.write(text)
        sys.stderr.flush()
