"""Describes how shared libraries are compiled: the C++ compiler and its flags.

Invariant: if the user chose a compiler that does not exist, that is an error; no other one is used.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from ... import settings
from ...errors import MissingToolError, ToolError
from ...kernels import MACHINE
from .compiler import Compiler, options_in, programs_in, which
from .elf import elf_header
from .recipe import Probe, Recipe

_COMPILERS = ("c++", "g++", "clang++")
# No unused code of a static standard library, because a start digests the whole library; and no
# symbols that another library may replace, because these are looked up in all libraries of a
# process. The linkers of GNU and LLVM, and gold, have these options.
_LINKING = "-Wl,-Bsymbolic,--exclude-libs,ALL,--gc-sections"
HOST_FLAGS = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-shared", _LINKING)
_MACHINES = {62: "x86-64", 183: "aarch64"}


class HostRecipe(Recipe):
    """The common part of the recipes of libraries."""

    source = "source.cc"
    product = "library.so"
    variable = "cxx"
    is_library = True
    hints = (
        (
            r"unrecognized (?:command[- ]line option|argument).*-std=c\+\+17"
            r"|invalid value 'c\+\+17'",
            "the compiler is too old: it needs C++17 (g++ 11 or clang++ 14, or newer); set CXX",
        ),
        (
            r"unrecognized command[- ]line option .*-m|unknown argument: '-m",
            "the compiler does not know this CPU's instructions; set CXX to a newer one, or "
            "WARP_SORT_CPU_ARCH to a lesser architecture",
        ),
    )

    def find_compiler(self, arch: str, probe: Probe) -> Compiler:
        """Find the C++ compiler: ``CXX`` if set, else c++, g++ or clang++ on the PATH."""
        return find_compiler()

    def options(self) -> tuple[str, ...]:
        """Return the options in ``CXX``; none if ``CXX`` is wrong."""
        chosen = settings.cxx()
        if chosen is None:
            return ()
        try:
            return options_in(_words_of(chosen))
        except ToolError:
            return ()  # a cached entry needs no compiler, and a build raises the error

    def why_unshareable(self) -> str | None:
        """Return why artifacts compiled here cannot be shared; None if they can."""
        options = self.options()
        if not options:
            return None
        return (
            f"CXX: {settings.cxx()!r} has options ({shlex.join(options)}), and kernels built with "
            f"extra options are not shared. Unset CXX, or set it to a compiler alone: a script "
            f"that adds the options will do."
        )

    def arch_of(self, product: bytes) -> str | None:
        """Return the machine that a library is for; the file does not tell its features."""
        header = elf_header(product)
        return None if header is None else _MACHINES.get(header.machine)

    def loads_here(self, arch: str) -> bool:
        """Tell whether a library for an architecture loads on this machine; it may not run."""
        return machine_of(arch) == MACHINE

    def is_for(self, product: bytes, arch: str) -> bool:
        """Tell whether a library may be one that was compiled for an architecture."""
        return (self.arch_of(product) or "generic") == machine_of(arch)


def machine_of(arch: str) -> str:
    """Return the machine of a CPU's architecture, as `MACHINE`."""
    if arch == "generic":  # whatever this machine is
        return MACHINE
    return next((machine for machine in _MACHINES.values() if arch.startswith(machine)), arch)


def find_compiler() -> Compiler:
    """Find the C++ compiler: ``CXX`` if set, else c++, g++ or clang++ on the PATH."""
    chosen = settings.cxx()
    if chosen is not None:
        words = _words_of(chosen)
        programs = programs_in(words)
        # The first word is a program. Paths become absolute, because ninja runs in another folder.
        command = [str(programs[0]), *map(_absolute_program, words[1:])]
        return Compiler(tuple(command), programs[-1], f"CXX={chosen}")
    for name in _COMPILERS:
        program = which(name)
        if program is not None:
            return Compiler((str(program),), program, f"{name} on the PATH")
    raise MissingToolError(
        "no C++ compiler: kernels are compiled on first use, and neither c++, g++ nor clang++ is "
        "on the PATH. Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; "
        "conda: conda install cxx-compiler), or set CXX to the one to use."
    )


def _absolute_program(word: str) -> str:
    """Return a word of ``CXX``; if it is the path of a program, the absolute path."""
    is_path = "/" in word and not word.startswith("-") and which(word) is not None
    return str(Path(word).absolute()) if is_path else word


def _words_of(chosen: str) -> list[str]:
    """Return the words of ``CXX``, the first of which is a program."""
    wrong = "is not a program on the PATH"
    try:
        words = shlex.split(chosen)
    except ValueError as error:
        words, wrong = [], f"is not a command: {error}"
    for word in words:
        settings.refuse_control_characters("CXX", word, ToolError)
    if not programs_in(words[:1]):
        raise ToolError(
            f"CXX: {chosen!r} {wrong}. "
            f"Set CXX to a C++ compiler (g++ 11 or clang++ 14, or newer), or unset it."
        )
    return words
