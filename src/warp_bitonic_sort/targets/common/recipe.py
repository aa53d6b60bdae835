"""How artifacts of one target are compiled: all that the build knows of a target.

Invariant: nothing is run here but by `Recipe.probe_error`. The rule that is part of an artifact's
key is the rule that ninja runs. What differs between machines (folders, the compiler's command)
stands in variables.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from . import sources
from .compiler import Compiler

Probe = Callable[[Compiler, str], str]
DEPFILE = "source.d"


class Recipe(ABC):
    """How artifacts of one target are compiled.

    Attributes
    ----------
    name : str
        The target's name, or ``runtime``.
    source, product : str
        The names of the translation unit and of what comes of it.
    variable : str
        What stands for the compiler in a rule.
    is_library : bool
        Whether the product is a shared library, which this process loads. Else it is a code object,
        which a driver loads.
    libraries : tuple of str
        What the product is linked with.
    hints : tuple of tuple
        What a pattern in the compiler's output means: patterns and hints, in which ``{arch}``
        stands for the architecture.
    """

    name: str
    source: str
    product: str
    variable: str
    is_library: bool
    libraries: tuple[str, ...] = ()
    hints: tuple[tuple[str, str], ...] = ()

    @abstractmethod
    def flags(self, arch: str) -> tuple[str, ...]:
        """Return the compiler's flags for an architecture, without include folders."""

    @abstractmethod
    def find_compiler(self, arch: str, probe: Probe) -> Compiler:
        """Find the compiler; nothing is run but by the probe.

        Parameters
        ----------
        arch : str
            The architecture to compile for.
        probe : callable
            As `probe_error`; it is called only where several compilers may do.

        Raises
        ------
        MissingToolError
            No compiler is installed, and no variable names one.
        ToolError
            A variable names one that does not exist, or none builds for the architecture.
        """

    @abstractmethod
    def arch_of(self, product: bytes) -> str | None:
        """Return the architecture that a product is for; None for another target's product."""

    def is_for(self, product: bytes, arch: str) -> bool:
        """Tell whether a product may be taken for one that was compiled for an architecture."""
        return self.arch_of(product) == arch

    def dependency_flags(self, depfile: str, product: str) -> tuple[str, ...]:
        """Return the flags that make the compiler list what it read in a file, as make reads it.

        System headers are left out: the compiler's version stands for them, and tvm-ffi's for its
        own.
        """
        return ("-MMD", "-MF", depfile)

    def include_dirs(self) -> dict[str, Path]:
        """Return the include folders by the token that stands for each in a key."""
        return {"package_include": sources.INCLUDE_DIR}

    def options(self) -> tuple[str, ...]:
        """Return the options that the user gives beside the compiler, which are part of the key."""
        return ()

    def key_parts(self) -> dict[str, str]:
        """Return what else is part of the key, by name."""
        return {}

    def why_unshareable(self) -> str | None:
        """Return why others cannot take what is compiled here from a folder; None if they can."""
        return None

    def probe_error(self, compiler: Compiler, arch: str) -> str:
        """Have a compiler build an empty kernel; return its error, empty if there is none."""
        return ""

    def is_permanent(self, error: str) -> bool:
        """Tell whether an answer of `probe_error` stays true while the compiler is the same."""
        return True

    def rule(self, arch: str) -> str:
        """Return the ninja rule that compiles for an architecture; it is part of the key."""
        # Headers of other packages come as system headers, without their warnings.
        includes = " ".join(
            f"{'-isystem ' if name == 'tvm_ffi_include' else '-I'}${name}"
            for name in self.include_dirs()
        )
        words = [
            f"${self.variable}",
            *self.flags(arch),
            includes,
            *self.dependency_flags("$depfile", "$out"),
            "$in -o $out",
            *self.libraries,
        ]
        return f"rule {self.rule_name(arch)}\n  command = {' '.join(words)}\n"

    def rule_name(self, arch: str) -> str:
        """Return the name of the rule that compiles for an architecture."""
        return re.sub(r"\W", "_", f"{self.name}_{arch}", flags=re.ASCII)
