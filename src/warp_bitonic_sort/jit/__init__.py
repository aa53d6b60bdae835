"""From a specification to an open kernel: compiled once, cached by content, never at import.

Arrows run downwards only: loader -> layers -> cache -> toolchain -> spec. What only a build needs
(builder, and what that takes) stands beside these, and is imported when there is one.

Here is what can go wrong on that way: every message says what happened, to which artifact, and what
would help.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "BuildError",
    "CacheError",
    "EvictedError",
    "LockError",
    "MissingToolError",
    "ToolError",
    "TrustError",
]


class BuildError(RuntimeError):
    """A kernel could not be built or opened."""


class ToolError(BuildError):
    """A tool that the build needs (compiler, ninja) is missing or does not run."""


class MissingToolError(ToolError):
    """A tool is not there, and nobody has said where it should be."""


class CacheError(BuildError):
    """The cache folder cannot be used."""


class EvictedError(CacheError):
    """Another process removed or replaced what this one was using in a cache."""


class LockError(BuildError):
    """Another process builds the same, and took longer than was to be waited for."""


class TrustError(BuildError):
    """Others can write what would be loaded.

    Parameters
    ----------
    message : str
        What they can write, and what would help.
    root : Path, optional
        The cache or layer that it belongs to.
    """

    def __init__(self, message: str, root: Path | None = None) -> None:
        super().__init__(message)
        self.root = root
