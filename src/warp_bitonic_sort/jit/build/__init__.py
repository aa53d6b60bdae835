"""Compiles what no cache has.

Invariant: `loader` alone imports this package, when the first artifact is missing.
"""

from .ninja import find as find_ninja
from .ninja import version as ninja_version
from .run import Options, can_build, ensure

__all__ = ["Options", "can_build", "ensure", "find_ninja", "ninja_version"]
