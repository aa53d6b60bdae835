"""The compilers of artifacts, and what is remembered of them.

Invariant: a compiler is asked for its version once for each binary, and for each architecture if
several compilers may do. Answers are remembered in the store by the binary's identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...errors import ToolError
from ...kernels import Artifact
from ...targets import recipe_of
from ...targets.common.compiler import Compiler
from ...targets.common.recipe import Recipe
from .store import Store


class Tool(NamedTuple):
    """The compiler of an artifact, or why there is none.

    Parameters
    ----------
    compiler : Compiler or None
        None where there is none.
    version : str or None
        What it answers to ``--version``; None where there is none.
    error : ToolError or None
        Why there is none.
    """

    compiler: Compiler | None
    version: str | None
    error: ToolError | None = None


class _NotRememberedError(Exception):
    """A compiler would have to be run."""


class Tools:
    """Finds the compilers of artifacts, each once.

    Parameters
    ----------
    stores : sequence of Store
        Where answers are remembered; new ones go into the last.
    remember : callable, optional
        `publish.remember`. If not given, no compiler is run.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        remember: Callable[[Store, str, str], None] | None = None,
    ) -> None:
        self._stores = stores
        self._write = remember
        self._found: dict[tuple[str, str], Tool] = {}
        self._versions: dict[tuple[str, ...], str] = {}

    def find(self, artifact: Artifact) -> Tool | None:
        """Return the compiler of an artifact; None where that takes running a compiler.

        Raises
        ------
        ToolError
            There is a compiler, and it does not answer.
        TrustError
            Other users can write what is remembered.
        """
        key = artifact.target, artifact.arch
        if key not in self._found:
            try:
                self._found[key] = self._find(recipe_of(artifact.target), artifact.arch)
            except _NotRememberedError:
                return None
        return self._found[key]

    def _find(self, recipe: Recipe, arch: str) -> Tool:
        def probe(compiler: Compiler, arch: str) -> str:
            return self._probe_error(recipe, compiler, arch)

        try:
            compiler = recipe.find_compiler(arch, probe)
        except ToolError as error:
            # What is in the cache needs no compiler; only building does.
            return Tool(None, None, error)
        if compiler.command not in self._versions:
            self._versions[compiler.command] = self._version(compiler)
        return Tool(compiler, self._versions[compiler.command])

    def _version(self, compiler: Compiler) -> str:
        identity = compiler.identity()
        version = self._recall(identity)
        if version is None:
            version = compiler.version()
            self._remember(identity, version)
        return version

    def _probe_error(self, recipe: Recipe, compiler: Compiler, arch: str) -> str:
        identity = compiler.identity()
        question = None if identity is None else f"{identity}|{' '.join(recipe.flags(arch))}"
        error = self._recall(question)
        if error is None:
            error = recipe.probe_error(compiler, arch)
            if recipe.is_permanent(error):
                self._remember(question, error)
        return error

    def _recall(self, question: str | None) -> str | None:
        """Return a remembered answer; None where the compiler is to be asked."""
        if question is not None:
            for store in self._stores:
                answer = store.recall(question)
                if answer is not None:
                    return answer
        if self._write is None:
            raise _NotRememberedError
        return None

    def _remember(self, question: str | None, answer: str) -> None:
        if question is not None and self._write is not None:
            self._write(self._stores[-1], question, answer)
