"""Defines the errors of building, caching and opening kernels.

Invariant: every message says what happened, to which kernel, file or variable, and what helps.
Errors of arguments are Python's own (TypeError, ValueError, NotImplementedError).
"""

from __future__ import annotations

from pathlib import Path


class BuildError(RuntimeError):
    """A kernel could not be built or opened."""


class ToolError(BuildError):
    """A tool that the build needs (compiler, ninja) is missing or does not run."""


class ArchError(ToolError):
    """Kernels cannot be built for an architecture on this machine.

    Parameters
    ----------
    argument : str
        The argument that named the architecture.
    reason : str
        What is wrong, and what would do.
    """

    def __init__(self, argument: str, reason: str) -> None:
        super().__init__(f"{argument}: {reason}")
        self.argument = argument
        self.reason = reason

    def __reduce__(self) -> tuple[type[ArchError], tuple[str, str]]:
        """Tell pickle how to make the error again: engines send errors between processes."""
        return type(self), (self.argument, self.reason)


class MissingToolError(ToolError):
    """A tool is not installed, and no variable names one."""


class CacheError(BuildError):
    """The cache folder cannot be used."""


class EvictedError(CacheError):
    """Another process removed or replaced a cache entry that this process was using."""


class LockError(BuildError):
    """Another process builds the same kernel for longer than ``WARP_SORT_LOCK_TIMEOUT``."""


class TrustError(BuildError):
    """Other users can write a file or folder that would be loaded.

    Parameters
    ----------
    message : str
        What other users can write, and what helps.
    root : Path, optional
        The cache or layer that the file or folder belongs to.
    """

    def __init__(self, message: str, root: Path | None = None) -> None:
        super().__init__(message)
        self.root = root
