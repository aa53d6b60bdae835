"""From artifacts to entries: looked up in every layer, and built where none has them.

Invariant: what is found needs no tool, and in a layer no tool's version either. What is built goes
through one ninja run in a private folder, is checked there, and is then published; a failure
publishes nothing. What only a build takes is imported when there is one: most processes find all.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..records import Record
from . import settings, toolchain
from .cache import Cache, build_text, source_digests
from .errors import BuildError, CacheError, ToolError
from .spec import LAUNCHER, Artifact

if TYPE_CHECKING:
    from . import ninja

__all__ = ["Options", "ensure", "lacks"]


class Options(Record):
    """How to build.

    Parameters
    ----------
    started : callable
        Called when ninja is about to run.
    check : callable
        Called with each artifact before it is published, and with the product of every artifact,
        by name: raises if this one's is of no use.
    jobs : int, optional
        How many compilers may run at once (default: ``MAX_JOBS``, else as ninja finds best).
    is_quiet : bool, default False
        Whether a person at a terminal is not to see what is being compiled.
    order : str, default "--help"
        What tells ``prewarm`` to make what is wanted, for the error where nothing can be compiled.
    logs : Cache, optional
        Where the output of a build that fails is kept (default: where it was to go).
    """

    started: Callable[[], None]
    check: Callable[[Artifact, Mapping[str, Path]], None]
    jobs: int | None = None
    is_quiet: bool = False
    order: str = "--help"
    logs: Cache | None = None


class _Tool:
    """The compiler of some artifacts, or why there is none.

    It is looked for when it is asked for: where its version is remembered, a start needs no more.
    """

    def __init__(
        self, caches: Sequence[Cache], kind: str, find: Callable[[], toolchain.Compiler]
    ) -> None:
        self._find = find
        identity = toolchain.identity(kind)
        self.version = None if identity is None else _recall(caches, identity)
        if self.version is None and self.compiler is not None:
            identity = self.compiler.identity()
            if identity is not None:
                self.version = _recall(caches, identity)
            if self.version is None:
                self.version = self.compiler.version()
                if identity is not None:
                    caches[-1].remember(identity, self.version)

    @functools.cached_property
    def _found(self) -> tuple[toolchain.Compiler | None, ToolError | None]:
        try:
            return self._find(), None
        except ToolError as error:
            # What is in the cache needs no compiler; only building does.
            return None, error

    @property
    def compiler(self) -> toolchain.Compiler | None:
        """What runs; None where there is none."""
        return self._found[0]

    @property
    def error(self) -> ToolError | None:
        """Why there is none."""
        return self._found[1]


def _recall(caches: Sequence[Cache], identity: str) -> str | None:
    return next((said for each in caches if (said := each.recall(identity)) is not None), None)


def _tools(caches: Sequence[Cache], artifacts: Sequence[Artifact]) -> dict[str, _Tool]:
    """Return the tool of each kind of artifact."""
    kinds = {artifact.kind for artifact in artifacts}
    tools: dict[str, _Tool] = {}
    if "cuda_kernel" in kinds:
        tools["cuda_kernel"] = _Tool(caches, "cuda_kernel", toolchain.find_cuda_compiler)
    if "hip_kernel" in kinds:
        archs = sorted({artifact.arch for artifact in artifacts if artifact.kind == "hip_kernel"})
        refusal = functools.partial(_refusal, caches)
        tools["hip_kernel"] = _Tool(
            caches, "hip_kernel", lambda: toolchain.find_hip_compiler(archs, refusal)
        )
    of_host = kinds - {"cuda_kernel", "hip_kernel"}
    if of_host:
        host = _Tool(caches, "launcher", toolchain.find_compiler)
        tools.update(dict.fromkeys(of_host, host))
    return tools


def _refusal(caches: Sequence[Cache], compiler: toolchain.Compiler, arch: str) -> str:
    """Return why a compiler does not build for an AMD GPU, asking it once for each binary."""
    from . import hip_compiler

    identity = compiler.identity()
    question = None if identity is None else f"{identity}|{' '.join(toolchain.hip_flags(arch))}"
    answer = None if question is None else _recall(caches, question)
    if answer is None:
        answer = hip_compiler.refusal(compiler, arch)
        if question is not None and hip_compiler.lasts(answer):
            caches[-1].remember(question, answer)
    return answer


def ensure(
    artifacts: Sequence[Artifact],
    layers: Sequence[Cache],
    stores: Sequence[Cache],
    options: Options,
) -> dict[str, Path]:
    """Return each artifact's product by its name, building what no cache has.

    Parameters
    ----------
    artifacts : sequence of Artifact
        What is wanted.
    layers : sequence of Cache
        Caches that are only read; they are asked first.
    stores : sequence of Cache
        Caches that hold what is built here; what is missing goes into the last one.
    options : Options
        How to build.

    Raises
    ------
    ToolError, BuildError, CacheError, LockError, TrustError
        As `loader.open_kernel` does.
    """
    texts = {artifact.name: _text(artifact) for artifact in artifacts}
    found: dict[str, Path] = {}
    for layer in layers:
        found.update(_find([layer], _missing(artifacts, found), texts, {}))
    missing = _missing(artifacts, found)
    if not missing:
        return found
    tools = _tools(stores, missing)
    found.update(_find(stores, missing, texts, tools))
    missing = _missing(artifacts, found)
    _refuse_without_tools(missing, tools, layers, stores, options.order)
    if missing:
        store = stores[-1]
        with store.locked(missing):
            # Whoever held the locks before may have built what is missing here.
            found.update(_find([store], missing, texts, tools))
            missing = _missing(artifacts, found)
            if missing:
                _sweep(store)
                found.update(_build(store, tools, missing, texts, found, options))
    return found


def lacks(artifact: Artifact, caches: Sequence[Cache]) -> bool:
    """Tell whether an artifact is in no cache and cannot be built; nothing is run or written.

    Raises
    ------
    BuildError
        It is not known: a setting is wrong, or others can write where it is.
    """
    try:
        if artifact.kind == "cuda_kernel":
            toolchain.find_cuda_compiler()
        elif artifact.kind == "hip_kernel":
            toolchain.find_hip_compiler([artifact.arch], lambda *_: "")
        else:
            toolchain.find_compiler()
        toolchain.find_ninja()
    except ToolError:
        return not _find(caches, [artifact], {artifact.name: _text(artifact)}, {})
    return False


def _text(artifact: Artifact) -> str:
    of_host = artifact.kind in ("cpu_kernel", "launcher")
    return build_text(artifact, toolchain.cxx_options() if of_host else ())


def _missing(artifacts: Sequence[Artifact], found: Mapping[str, Path]) -> list[Artifact]:
    return [artifact for artifact in artifacts if artifact.name not in found]


def _find(
    caches: Sequence[Cache],
    artifacts: Sequence[Artifact],
    texts: Mapping[str, str],
    tools: Mapping[str, _Tool],
) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for artifact in artifacts:
        tool = tools.get(artifact.kind)
        version = None if tool is None else tool.version
        for cache in caches:
            entry = cache.find(artifact, texts[artifact.name], version)
            if entry is not None:
                found[artifact.name] = entry.library
                break
    return found


def _refuse_without_tools(
    missing: Sequence[Artifact],
    tools: Mapping[str, _Tool],
    layers: Sequence[Cache],
    stores: Sequence[Cache],
    order: str,
) -> None:
    """Raise what says which artifacts cannot be built, why, and how to get them.

    It is of the class of what hinders: whether a tool is wrong or is not there.
    """
    error = next((each for a in missing if (each := tools[a.kind].error) is not None), None)
    if error is None:
        return
    names = [artifact.name for artifact in missing if tools[artifact.kind].error is error]
    asked = [*layers, *stores]
    # Path.is_dir() raises where nobody may look.
    there = [cache.root for cache in asked if os.path.isdir(cache.base)]  # noqa: PTH112
    roots = ", ".join(map(str, there))
    closed, held = _reasons(asked, names)
    reasons = "; ".join([*closed, *held])
    advice = (
        f"Or have another machine compile it (warp-bitonic-sort prewarm {order}) and name the "
        f"folder in WARP_SORT_CACHE_LAYERS."
    )
    if stores[-1].setting == "--into":
        of_own = "a launcher of its own, made by a C++ compiler, whatever layers have"
        needs = f"A folder that --into fills needs {of_own}. " if LAUNCHER in missing else ""
        advice = f"{needs}Or fill it on another machine."
    raise type(error)(
        f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} {'usable ' if held else ''}in "
        f"{f'none of {roots}' if roots else 'no cache'}{f' ({reasons})' if reasons else ''}, "
        f"and cannot be compiled here: {error} {advice}"
    ) from None


def _reasons(caches: Sequence[Cache], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what cannot be read where artifacts may be, and why what is there was not taken."""
    from . import housekeeping

    closed: list[str] = []
    held: list[str] = []
    for cache in caches:
        said = [each for name in names if (each := cache.unreadable(name))]
        closed += said
        if said:
            continue
        if cache.is_for_gpus:
            held.append(f"{cache.root} is left out, for its launcher does not load here")
            continue
        for name in names:
            why = housekeeping.unused(cache.root, name)
            if why is not None:
                held.append(f"{cache.root} holds {name if len(names) > 1 else 'it'} {why}")
                break
    strays = [why for root in settings.cache_layers() if (why := housekeeping.no_layer(root))]
    closed = [*closed[:1], *(f"WARP_SORT_CACHE_LAYERS: {why}" for why in strays)]
    return closed, held


def _sweep(cache: Cache) -> None:
    """Remove the staging folders that killed builds have left, so that they do not pile up."""
    staging = cache.base / "staging"
    with contextlib.suppress(OSError, CacheError):
        if os.listdir(staging):  # noqa: PTH208 - most often there is nothing, and no look at it
            from . import housekeeping

            housekeeping.remove(housekeeping.abandoned(cache.root), cache.root)


def _build(
    cache: Cache,
    tools: Mapping[str, _Tool],
    missing: Sequence[Artifact],
    texts: Mapping[str, str],
    found: Mapping[str, Path],
    options: Options,
) -> dict[str, Path]:
    """Build in a staging folder, check there, then publish; return the products."""
    from . import ninja

    program = toolchain.find_ninja()
    jobs = settings.max_jobs() if options.jobs is None else options.jobs
    start = time.monotonic()
    sources = source_digests()
    files = {f"{a.name}/{ninja.SOURCES[a.kind]}": a.source() for a in missing}
    compilers = {
        kind: tool.compiler
        for kind, tool in tools.items()
        if tool.compiler is not None and any(a.kind == kind for a in missing)
    }
    files["build.ninja"] = ninja.text(missing, compilers)
    if settings.verbose():
        for said in dict.fromkeys(_described(tools[a.kind]) for a in missing):
            sys.stderr.write(f"warp_bitonic_sort: compiling with {said}\n")
    options.started()
    with cache.staging(files) as folder:
        failure = ninja.build(folder, missing, program, jobs, options.is_quiet)
        if failure is not None:
            raise _told(cache, folder, failure, missing, tools, options.logs or cache)
        seconds = time.monotonic() - start
        staged = {a.name: folder / a.name / ninja.PRODUCTS[a.kind] for a in missing}
        for artifact in missing:
            for file, what in (
                (ninja.PRODUCTS[artifact.kind], "nothing"),
                (ninja.DEPFILE, "no list of what it read"),
            ):
                if not (folder / artifact.name / file).exists():
                    raise BuildError(
                        f"compiling {artifact.name}: {_described(tools[artifact.kind])} ended "
                        f"with status 0 and made {what}. Is that a compiler?"
                    )
        for artifact in missing:
            options.check(artifact, {**found, **staged})
        return {
            artifact.name: cache.publish(
                artifact,
                texts[artifact.name],
                tools[artifact.kind].version or "",
                folder / artifact.name,
                sources,
                seconds,
            ).library
            for artifact in missing
        }


_NO_SPACE = "No space left on device|Disk quota exceeded|Read-only file system"
# Bytes: more than a kernel and what a compiler makes on the way to it.
_ROOM = 1 << 22


def _is_cache_full(folder: Path, log: str, missing: Sequence[Artifact]) -> bool:
    """Tell whether what could not be written was in the staging folder.

    Compilers write temporary files elsewhere, too, and a linker may name no file at all: then the
    folder is tried.
    """
    import re
    import tempfile

    from . import ninja

    lines = [line for line in log.splitlines() if re.search(_NO_SPACE, line)]
    # (The source is named in front of any error.)
    named = [str(folder), *(f"{a.name}/{ninja.PRODUCTS[a.kind]}" for a in missing)]
    named += [f"{artifact.name}/{ninja.DEPFILE}" for artifact in missing]
    if any(name in line for line in lines for name in named):
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
    except OSError:
        return True
    return False


def _told(
    cache: Cache,
    folder: Path,
    failure: ninja.Failure,
    missing: Sequence[Artifact],
    tools: Mapping[str, _Tool],
    logs: Cache,
) -> BuildError:
    """Return the error that says what of a failed build a person needs to know."""
    import re

    from . import ninja

    full = re.search(_NO_SPACE, failure.log)
    if full is not None and _is_cache_full(folder, failure.log, missing):
        return CacheError(
            f"the cache folder {cache.root} cannot be written: {full[0]}. "
            f"Make room, or set {cache.setting} to a folder with more."
        )
    names = ninja.failed(failure.log, [artifact.name for artifact in missing])
    try:
        log = str(logs.keep_log(names[0], failure.log))
    except CacheError as error:
        log = f"not kept: {error}"
    line, hint = ninja.first_error(failure.log)
    used = dict.fromkeys(_described(tools[a.kind]) for a in missing if a.name in names)
    return BuildError(
        f"compiling {', '.join(names)} failed (exit status {failure.status}) with "
        f"{' and '.join(used)}.\n"
        f"Whole log: {log}\n"
        f"First error: {line}\n"
        f"Hint: {hint}."
    )


def _described(tool: _Tool) -> str:
    if tool.compiler is None:
        return "no compiler"
    import shlex

    version = (tool.version or "").strip().partition("\n")[0]
    return f"{shlex.join(tool.compiler.command)} ({tool.compiler.why}; {version})"
