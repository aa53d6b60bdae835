"""A compiler that was found: how to run it, and what tells it from another.

Invariant: only `Compiler.version` runs anything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .. import settings
from ..errors import ToolError
from .toolchain import WRAPPERS, identity_of, identity_of_program, line, which

__all__ = ["Compiler", "options_in", "plain_environment", "programs_in"]


class Compiler(NamedTuple):
    """A compiler.

    Parameters
    ----------
    command : tuple of str
        The command that runs it; more than one word where ``CXX`` has, as in ``ccache g++``.
    path : Path
        The last program that the command names before its options, links resolved.
    why : str
        How it was found.
    kind : str
        What it is, for messages.
    remedy : str
        What to do about one that does not work.
    behind : Path, optional
        The program that a wrapper is known to run, or that runs a library.
    answers : str, default ""
        What its answer to ``--version`` begins with, where anything else may have been run.
    unfit : str, default ""
        Why it cannot be run at all, though it is there.
    found : str, default ""
        Where the program is, if the command may not say.
    """

    command: tuple[str, ...]
    path: Path
    why: str
    kind: str = "C++ compiler"
    remedy: str = "Set CXX to a C++ compiler (g++ 11 or clang++ 14, or newer)."
    behind: Path | None = None
    answers: str = ""
    unfit: str = ""
    found: str = ""

    def identity(self) -> str | None:
        """Return what tells this binary from another without running it.

        None for a wrapper (ccache, most scripts) around nobody knows what: the compiler behind it
        may change while it does not. What may be run and not read may be a script.
        """
        if self.behind is not None:
            return identity_of(self.command, self.path, self.behind)
        if self.path.name in WRAPPERS or self._may_run_another():
            return None
        return identity_of_program(self.command, self.path, self.found)

    def _may_run_another(self) -> bool:
        """Tell whether an option is followed by a program, as in ``env -u NAME g++``."""
        return any(map(shutil.which, self.command[_options_at(self.command) :]))

    def version(self) -> str:
        """Run the compiler and return the whole text of ``--version``."""
        if self.unfit:
            raise ToolError(f"the {self.kind} {self.path} ({self.why}) {self.unfit}")
        try:
            done = subprocess.run(
                [*self.command, "--version"],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=60,
                env=plain_environment(),
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ToolError(
                f"the {self.kind} {line(self.command)!r} ({self.why}) does not run: "
                f"{error}. {self.remedy}"
            ) from error
        if done.returncode != 0 or not done.stdout.strip():
            raise ToolError(
                f"the {self.kind} {line(self.command)!r} ({self.why}) does not answer "
                f"--version (exit status {done.returncode}): "
                f"{_first_line(done.stderr or done.stdout) or 'it printed nothing'}\n"
                f"Hint: {self.remedy}"
            )
        said = done.stdout.strip()
        if not said.startswith(self.answers):
            raise ToolError(
                f"the {self.kind} {line(self.command)!r} ({self.why}) answers --version with "
                f"{said.partition(chr(10))[0][:100]!r}, not with {self.answers}: "
                f"{self.command[0]} is no Python that runs it. Set sys.executable to one of 3.10 "
                f"or newer before the first call, or install nvcc or hipcc."
            )
        return said


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def programs_in(words: Sequence[str]) -> list[str]:
    """Return the programs that a command names, as they are found: before its first option.

    What follows one is no program, though there may be one of its name: ``-D test``.
    """
    return [found for word in words[: _options_at(words)] if (found := which(word))]


def options_in(words: Sequence[str]) -> tuple[str, ...]:
    """Return what a command has beside programs."""
    start = _options_at(words)
    return (*(word for word in words[:start] if shutil.which(word) is None), *words[start:])


def _options_at(words: Sequence[str]) -> int:
    return next((at for at, word in enumerate(words) if word.startswith("-")), len(words))


def plain_environment() -> dict[str, str]:
    """Return this process's environment, but in English and with the folders of PATH absolute.

    Raises
    ------
    ToolError
        The folder for temporary files, which compilers name to each other, has a control character.
    """
    for variable in ("TMPDIR", "TMP", "TEMP"):
        settings.refuse_control_characters(variable, os.environ.get(variable, ""), ToolError)
    # Messages are parsed and versions are hashed, so they must not depend on the user's language.
    environment = {**os.environ, "LC_ALL": "C"}
    if environment.get("PATH"):
        # Compilers run in another folder than this process does. An empty entry is the current one.
        folders = environment["PATH"].split(os.pathsep)
        with contextlib.suppress(FileNotFoundError):  # the current folder was removed
            environment["PATH"] = os.pathsep.join(str(Path(each).absolute()) for each in folders)
    return environment
