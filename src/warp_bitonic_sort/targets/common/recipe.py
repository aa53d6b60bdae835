"""Defines how artifacts of one target are compiled: all that the build knows of a target.

Invariant: only `Recipe.probe_error` runs a program. The rule that is part of an artifact's key is
the rule that ninja runs. Folders and the compiler's command, which differ between machines, are
variables of the rule.
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
        The file names of the translation unit and of the product.
    variable : str
        The name of the compiler's variable in a rule.
    is_library : bool
        Whether the product is a shared library, which this process loads. Else it is a code object,
        which a driver loads.
    libraries : tuple of str
        The options for the libraries that the product is linked with.
    hints : tuple of tuple
        Patterns in the compiler's output, each with its hint, in which ``{arch}`` stands for the
        architecture.
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
        """Find the compiler; only the probe runs a program.

        Parameters
        ----------
        arch : str
            The architecture to compile for.
        probe : callable
            As `probe_error`; it is called only if there may be several compilers.

        Raises
        ------
        MissingToolError
            No compiler is installed, and no variable names one.
        ToolError
            A variable names a compiler that does not exist, or no compiler builds for the
            architecture.
        """

    @abstractmethod
    def arch_of(self, product: bytes) -> str | None:
        """Return the architecture that a product is for; None for another target's product."""

    def loads_here(self, arch: str) -> bool:
        """Tell whether a product for an architecture is a library that loads on this machine."""
        return False

    def is_for(self, product: bytes, arch: str) -> bool:
        """Tell whether a product may be one that was compiled for an architecture."""
        return self.arch_of(product) == arch

    def dependency_flags(self, depfile: str, product: str) -> tuple[str, ...]:
        """Return the flags with which the compiler lists the files that it read, as for make.

        System headers are left out: the versions of the compiler and of tvm-ffi stand for them.
        """
        return ("-MMD", "-MF", depfile)

    def include_dirs(self) -> dict[str, Path]:
        """Return the include folders by the token that stands for each in a key."""
        return {"package_include": sources.INCLUDE_DIR}

    def options(self) -> tuple[str, ...]:
        """Return the user's options of the compiler, which are part of the key."""
        return ()

    def key_parts(self) -> dict[str, str]:
        """Return the further parts of the key, by name."""
        return {}

    def why_unshareable(self) -> str | None:
        """Return why artifacts compiled here cannot be shared; None if they can."""
        return None

    def probe_error(self, compiler: Compiler, arch: str) -> str:
        """Have a compiler build an empty kernel; return its error, empty if there is none."""
        return ""

    def is_permanent(self, error: str) -> bool:
        """Tell whether a result of `probe_error` stays true while the compiler is the same."""
        return True

    def rule(self, arch: str) -> str:
        """Return the ninja rule that compiles for an architecture; it is part of the key."""
        # Headers of other packages are included as system headers, without warnings.
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
