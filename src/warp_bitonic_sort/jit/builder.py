"""From artifacts to entries: looked up by their compilers' versions, and built where there is none.

Invariant: what is found needs no tool, and in a layer no tool's version either. What is built goes
through one ninja run in a private folder, is checked there, and is then published; a failure
publishes nothing. Most processes find all by what made it (`layers.look_up`), and do without this
module.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ToolError
from ..kernels import Artifact
from . import toolchain
from .store.layers import look_up, text_of
from .store.store import Entry, Store

if TYPE_CHECKING:
    from .compiler import Compiler

__all__ = ["Options", "Tool", "can_build", "ensure", "holder"]


class Options(NamedTuple):
    """How to build.

    Parameters
    ----------
    started : callable
        Called when ninja is about to run.
    check : callable
        Called with each artifact before it is published, and with the entry of every artifact, by
        name: raises if this one's is of no use.
    jobs : int, optional
        How many compilers may run at once (default: ``MAX_JOBS``, else as ninja finds best).
    is_quiet : bool, default False
        Whether a person at a terminal is not to see what is being compiled.
    order : str, default "--help"
        What tells ``prewarm`` to make what is wanted, for the error where nothing can be compiled.
    logs : Store, optional
        Where the output of a build that fails is kept (default: where it was to go).
    """

    started: Callable[[], None]
    check: Callable[[Artifact, Mapping[str, Entry]], None]
    jobs: int | None = None
    is_quiet: bool = False
    order: str = "--help"
    logs: Store | None = None


class Tool:
    """The compiler of some artifacts, or why there is none.

    It is looked for when it is asked for: where its version is remembered, a look-up needs no more.

    Attributes
    ----------
    version : str or None
        What it answers to ``--version``; None where there is no compiler.
    identity : str or None
        What that is remembered by; None where it is not remembered.
    """

    def __init__(self, caches: Sequence[Store], kind: str, find: Callable[[], Compiler]) -> None:
        self._find = find
        self.identity = toolchain.identity(kind)
        self.version = None if self.identity is None else _recall(caches, self.identity)
        if self.version is None:
            compiler = self.compiler
            self.identity = None if compiler is None else compiler.identity()
            if self.identity is not None:
                self.version = _recall(caches, self.identity)
            if self.version is None and compiler is not None:
                self.version = compiler.version()
                if self.identity is not None:
                    _remember(caches, self.identity, self.version)

    @functools.cached_property
    def _found(self) -> tuple[Compiler | None, ToolError | None]:
        try:
            return self._find(), None
        except ToolError as error:
            # What is in the cache needs no compiler; only building does.
            return None, error

    @property
    def compiler(self) -> Compiler | None:
        """What runs; None where there is none."""
        return self._found[0]

    @property
    def error(self) -> ToolError | None:
        """Why there is none."""
        return self._found[1]


def _recall(caches: Sequence[Store], identity: str) -> str | None:
    return next((said for each in caches if (said := each.recall(identity)) is not None), None)


def _remember(caches: Sequence[Store], identity: str, said: str) -> None:
    from .store import publish

    publish.remember(caches[-1], identity, said)


def _tools(caches: Sequence[Store], artifacts: Sequence[Artifact]) -> dict[str, Tool]:
    """Return the tool of each kind of artifact."""
    kinds = {artifact.target for artifact in artifacts}
    tools: dict[str, Tool] = {}
    if "cuda" in kinds:
        tools["cuda"] = Tool(caches, "cuda", _cuda_compiler)
    if "hip" in kinds:
        archs = sorted({artifact.arch for artifact in artifacts if artifact.target == "hip"})
        tools["hip"] = Tool(caches, "hip", functools.partial(_hip_compiler, caches, archs))
    of_host = kinds - {"cuda", "hip"}
    if of_host:
        host = Tool(caches, "runtime", _host_compiler)
        tools.update(dict.fromkeys(of_host, host))
    return tools


def _host_compiler() -> Compiler:
    from .finders import find_compiler

    return find_compiler()


def _cuda_compiler() -> Compiler:
    from .finders import find_cuda_compiler

    return find_cuda_compiler()


def _hip_compiler(caches: Sequence[Store], archs: Sequence[str]) -> Compiler:
    from .hip_compiler import find_hip_compiler

    return find_hip_compiler(archs, functools.partial(_refusal, caches))


def _refusal(caches: Sequence[Store], compiler: Compiler, arch: str) -> str:
    """Return why a compiler does not build for an AMD GPU, asking it once for each binary."""
    from . import hip_compiler

    identity = compiler.identity()
    question = None if identity is None else f"{identity}|{' '.join(toolchain.hip_flags(arch))}"
    answer = None if question is None else _recall(caches, question)
    if answer is None:
        answer = hip_compiler.refusal(compiler, arch)
        if question is not None and hip_compiler.lasts(answer):
            _remember(caches, question, answer)
    return answer


def ensure(
    artifacts: Sequence[Artifact],
    layers: Sequence[Store],
    stores: Sequence[Store],
    options: Options,
) -> dict[str, Entry]:
    """Return each artifact's entry by its name, building what no cache has.

    Parameters
    ----------
    artifacts : sequence of Artifact
        What is wanted.
    layers : sequence of Store
        Caches that are only read; they are asked first.
    stores : sequence of Store
        Caches that hold what is built here; what is missing goes into the last one.
    options : Options
        How to build.

    Raises
    ------
    ToolError, BuildError, CacheError, LockError, TrustError
        As `loader.open_kernel` does.
    """
    texts = {artifact.name: text_of(artifact) for artifact in artifacts}
    found: dict[str, Entry] = {}
    for layer in layers:
        found.update(_find([layer], _missing(artifacts, found), texts, {}))
    missing = _missing(artifacts, found)
    if not missing:
        return found
    tools = _tools(stores, missing)
    found.update(_find(stores, missing, texts, tools))
    missing = _missing(artifacts, found)
    if missing:
        from . import building
        from .store import publish

        building.refuse_without_tools(missing, tools, layers, stores, options.order)
        store = stores[-1]
        building.refuse_noexec(missing, store)
        with publish.locked(store, missing):
            # Whoever held the locks before may have built what is missing here.
            found.update(_find([store], missing, texts, tools))
            missing = _missing(artifacts, found)
            if missing:
                building.sweep(store)
                found.update(building.build(store, tools, missing, texts, found, options))
    return found


def holder(artifact: Artifact, layers: Sequence[Store], stores: Sequence[Store]) -> Store | None:
    """Return the cache that `ensure` would take an artifact from; nothing is run or written.

    None for what another compiler of the same version made, if that version is not remembered: the
    compiler would have to be asked.

    Raises
    ------
    BuildError
        It is not known: a setting is wrong, or others can write where it is.
    """
    for each in layers:
        if look_up([artifact], [each], []):
            return each
    for each in stores:
        if look_up([artifact], [], [each]):
            return each
    version = None  # where nothing can be compiled, any version suits
    if can_build(artifact):
        identity = toolchain.identity(artifact.target)
        version = None if identity is None else _recall(stores, identity)
        if version is None:
            return None
    text = text_of(artifact)
    return next((each for each in stores if each.find(artifact, text, version)), None)


def can_build(artifact: Artifact) -> bool:
    """Tell whether the tools that build an artifact are found; nothing is run."""
    from . import finders

    try:
        finders.require(artifact)
    except ToolError:
        return False
    return True


def _missing(artifacts: Sequence[Artifact], found: Mapping[str, Entry]) -> list[Artifact]:
    return [artifact for artifact in artifacts if artifact.name not in found]


def _find(
    caches: Sequence[Store],
    artifacts: Sequence[Artifact],
    texts: Mapping[str, str],
    tools: Mapping[str, Tool],
) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for artifact in artifacts:
        tool = tools.get(artifact.target)
        version = None if tool is None else tool.version
        for cache in caches:
            entry = cache.find(artifact, texts[artifact.name], version)
            if entry is not None:
                found[artifact.name] = entry
                break
    return found
