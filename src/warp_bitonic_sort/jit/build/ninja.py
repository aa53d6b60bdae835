"""Finds ninja, writes build.ninja, and runs it.

Invariant: the rule that is part of an artifact's key is the rule that ninja runs. Folders and the
compiler's command, which differ between machines, are variables of the rule. No module called
``ninja`` is imported: other packages (django-ninja) and users have modules of that name.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from ... import settings
from ...errors import MissingToolError, ToolError
from ...kernels import Artifact
from ...process import messages
from ...targets import recipe_of
from ...targets.common.compiler import Compiler, is_program, plain_environment, which
from ...targets.common.recipe import DEPFILE
from . import child

_PROGRAMS = ("ninja", "ninja.exe")
_REINSTALL = "Reinstall it with: pip install --force-reinstall ninja"


class Failure(NamedTuple):
    """A build that failed: ninja's whole output and its exit status."""

    log: str
    status: int


# -- the program -----------------------------------------------------------------------------------


def find() -> Path:
    """Find ninja: the program of the distribution ``ninja``, else one on the PATH."""
    for program in _packaged():
        if is_program(program):
            return program.absolute()
    # Some Linux distributions call it ninja-build.
    program_on_path = which("ninja") or which("ninja-build")
    if program_on_path is None:
        raise MissingToolError("no ninja: it runs the compiler. Install it (pip install ninja).")
    return program_on_path


def _packaged() -> list[Path]:
    """Return the programs that the distribution ``ninja`` lists, the executable itself first.

    Up to 1.11.1 there are two: the executable in the package, and a script that imports ``ninja``.
    """
    try:
        distribution = metadata.distribution("ninja")
        listed = [file for file in distribution.files or () if file.name in _PROGRAMS]
        listed.sort(key=lambda file: file.parts[0] != "ninja")
        # pip install --target moves programs but does not update the list.
        names = [*map(str, listed), *(f"bin/{name}" for name in _PROGRAMS)]
        return [Path(str(distribution.locate_file(name))) for name in names]
    except Exception:  # broken metadata is treated as none
        return []


def version(program: Path) -> str:
    """Run ninja and return its version.

    Raises
    ------
    ToolError
        The program does not run, or is another one of that name.
    """
    try:
        done = subprocess.run(
            [str(program), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(f"ninja ({program}) does not run: {error}. {_REINSTALL}") from error
    answer = done.stdout.strip()
    if done.returncode != 0 or not answer[:1].isdecimal():
        line = (answer or done.stderr.strip() or "nothing").splitlines()[-1][:200]
        raise ToolError(
            f"ninja ({program}) answers --version with {line!r} (exit status {done.returncode}): "
            f"it is not ninja, or broken. {_REINSTALL}"
        )
    return answer


# -- build.ninja -----------------------------------------------------------------------------------


def text(compilers: Mapping[Artifact, Compiler]) -> str:
    """Return the build.ninja that builds artifacts, each in the folder of its name.

    Parameters
    ----------
    compilers : mapping of Artifact to Compiler
        The artifacts, and the compiler of each.

    Raises
    ------
    ToolError
        A command or a folder contains a control character.
    """
    folders: dict[str, Path] = {}
    rules: dict[str, None] = {}
    statements: list[str] = []
    for artifact, compiler in compilers.items():
        recipe = recipe_of(artifact.target)
        folders.update(recipe.include_dirs())
        rules[recipe.rule(artifact.arch)] = None
        folder = artifact.name
        statements.append(
            f"build {folder}/{recipe.product}: {recipe.rule_name(artifact.arch)} "
            f"{folder}/{recipe.source}\n"
            f"  depfile = {folder}/{DEPFILE}\n"
            f"  {recipe.variable} = {_command(compiler)}\n"
        )
    for token, path in folders.items():
        settings.refuse_control_characters(f"the folder of headers {token}", str(path), ToolError)
    variables = [f"{token} = {_escaped(shlex.quote(str(path)))}" for token, path in folders.items()]
    return "\n".join(["ninja_required_version = 1.8", *variables, "", *sorted(rules), *statements])


def _command(compiler: Compiler) -> str:
    for word in compiler.command:
        name = f"the {compiler.title} ({compiler.origin!r})"
        settings.refuse_control_characters(name, word, ToolError)
    return _escaped(shlex.join(compiler.command))


def _escaped(value: str) -> str:
    return value.replace("$", "$$")


# -- running it ------------------------------------------------------------------------------------


def run(
    folder: Path,
    program: Path,
    jobs: int | None = None,
    takes_long: Callable[[], None] = lambda: None,
) -> Failure | None:
    """Run ninja in a folder that contains build.ninja; return None if everything was built.

    Parameters
    ----------
    folder : Path
        The folder.
    program : Path
        The ninja to run.
    jobs : int, optional
        How many compilers may run at once (default: ninja's choice).
    takes_long : callable, optional
        Called once if ninja has run for a second.
    """
    command = [str(program), "-C", str(folder), "-k", "1"]
    if jobs is not None:
        command += ["-j", str(jobs)]
    if settings.verbose():
        command.append("-v")
    environment = {**plain_environment(), "NINJA_STATUS": "[%f/%t] ", "TERM": "dumb"}
    try:
        log, status = child.run(command, environment, takes_long)
    except child.NotRunError as error:
        raise ToolError(f"ninja ({program}) does not run: {error}. {_REINSTALL}") from error
    if settings.verbose():
        messages.write(log)
    return Failure(log, status) if status != 0 else None
