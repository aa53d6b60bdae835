"""Describes a compiler: how it is run, and how it is identified without running it.

Invariant: only `Compiler.version` runs a program.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ... import settings
from ...errors import ToolError

# Programs that run a compiler, which may change while they stay the same.
_WRAPPERS = frozenset({"ccache", "sccache", "distcc", "icecc", "hipcc", "hipcc.bin"})


class Compiler(NamedTuple):
    """A compiler.

    Parameters
    ----------
    command : tuple of str
        The command that runs it. ``CXX`` may have several words, as in ``ccache g++``.
    program : Path
        The last program before the options of the command, as an absolute path.
    origin : str
        Where it was found, for messages.
    title : str
        Its kind, for messages.
    hint : str
        Advice for the error if it does not work.
    wraps : Path, optional
        The program that a wrapper runs, or that runs a library, if it is known.
    version_prefix : str, default ""
        The beginning of its output for ``--version``, if another program may run in its place.
    unusable_because : str, default ""
        Why it cannot be run, although it exists.
    """

    command: tuple[str, ...]
    program: Path
    origin: str
    title: str = "C++ compiler"
    hint: str = "Set CXX to a C++ compiler (g++ 11 or clang++ 14, or newer)."
    wraps: Path | None = None
    version_prefix: str = ""
    unusable_because: str = ""

    def identity(self) -> str | None:
        """Return a text that identifies the binary without running it, or None for a wrapper.

        The compiler that a wrapper (ccache, a script) runs may change while the wrapper does not.
        """
        try:
            files = [self.program]
            if self.wraps is not None:
                files.append(self.wraps)
            elif self._may_run_another():
                return None
            stamps = [_stamp(file) for file in files]
        except OSError:
            return None
        return "|".join([shlex.join(self.command), str(self.program), *stamps])

    def _may_run_another(self) -> bool:
        if self.program.resolve().name in _WRAPPERS:
            return True
        # An option may be followed by a program, as in ``env -u NAME g++``.
        if any(map(shutil.which, self.command[_first_option(self.command) :])):
            return True
        with self.program.open("rb") as file:
            return file.read(2) == b"#!"

    def version(self) -> str:
        """Run the compiler and return its whole output for ``--version``."""
        named = f"the {self.title} {shlex.join(self.command)!r} ({self.origin})"
        if self.unusable_because:
            raise ToolError(
                f"the {self.title} {self.program} ({self.origin}) {self.unusable_because}"
            )
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
            raise ToolError(f"{named} does not run: {error}. {self.hint}") from error
        answer = done.stdout.strip()
        if done.returncode != 0 or not answer:
            raise ToolError(
                f"{named} does not answer --version (exit status {done.returncode}): "
                f"{_first_line(done.stderr or done.stdout) or 'it printed nothing'}\n"
                f"Hint: {self.hint}"
            )
        if not answer.startswith(self.version_prefix):
            raise ToolError(
                f"{named} answers --version with {_first_line(answer)[:100]!r}, not with "
                f"{self.version_prefix}: {self.command[0]} is not a Python that can run it. Set "
                f"sys.executable to a Python of 3.10 or newer before the first call, or install "
                f"nvcc or hipcc."
            )
        return answer


def _stamp(file: Path) -> str:
    state = file.stat()
    # Not the device number, which differs between mounts of a container's layer.
    return f"{state.st_ino} {state.st_size} {state.st_mtime_ns}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def which(name: str) -> Path | None:
    """Return the absolute path of a program on the PATH, or None."""
    program = shutil.which(name)
    return None if program is None else Path(program).absolute()


def is_program(path: Path) -> bool:
    """Tell whether a path is a file that this user can run."""
    return path.is_file() and os.access(path, os.X_OK)


def newest_first(folder: Path, pattern: str) -> list[Path]:
    """Return the paths that match a pattern, the highest version in a name first."""

    def version(path: Path) -> list[int]:
        return [int(number) for number in re.findall("[0-9]+", path.name)]

    return sorted(folder.glob(pattern), key=version, reverse=True)


def programs_in(words: Sequence[str]) -> list[Path]:
    """Return the programs that a command names before its first option.

    A word after an option does not count, even if a program has that name: ``-D test``.
    """
    return [program for word in words[: _first_option(words)] if (program := which(word))]


def options_in(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a command other than its programs."""
    start = _first_option(words)
    return (*(word for word in words[:start] if which(word) is None), *words[start:])


def _first_option(words: Sequence[str]) -> int:
    return next((at for at, word in enumerate(words) if word.startswith("-")), len(words))


def plain_environment() -> dict[str, str]:
    """Return this process's environment, but in English and with absolute folders in PATH.

    Raises
    ------
    ToolError
        The folder of temporary files, which compilers pass to each other, has a control character.
    """
    for variable in ("TMPDIR", "TMP", "TEMP"):
        settings.refuse_control_characters(variable, os.environ.get(variable, ""), ToolError)
    # Messages are parsed and versions are hashed, so they must not depend on the user's language.
    environment = {**os.environ, "LC_ALL": "C"}
    if environment.get("PATH"):
        # Compilers run in another folder than this process. An empty entry is the current folder.
        folders = environment["PATH"].split(os.pathsep)
        with contextlib.suppress(FileNotFoundError):  # the current folder was removed
            environment["PATH"] = os.pathsep.join(str(Path(name).absolute()) for name in folders)
    return environment
