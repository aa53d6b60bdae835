"""Builds artifacts that no cache has: looks up with compilers' versions, runs ninja, publishes.

Invariant: everything is built in one private folder and checked there before any of it is
published. A failure publishes nothing; its error names the compiler, the first error and the log.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ... import settings
from ...errors import BuildError, CacheError, EvictedError, ToolError, TrustError
from ...kernels import Artifact
from ...process import messages
from ...targets import recipe_of
from ...targets.common.compiler import Compiler
from ...targets.common.recipe import DEPFILE
from ..store import maintenance, publish
from ..store.files import stamp
from ..store.key import build_text
from ..store.layers import look_up
from ..store.store import Entry, Store
from ..store.tools import Tools
from . import hints, missing, ninja, notice

_NO_SPACE = "No space left on device|Disk quota exceeded|Read-only file system"
# Bytes; more than a kernel and the compiler's temporary files take.
_ROOM = 1 << 22


class Options(NamedTuple):
    """Options of a build.

    Parameters
    ----------
    started : callable
        Called when ninja is about to run.
    check : callable
        Called before each artifact is published, with the artifact and with the entries of all
        artifacts by name. It raises if the artifact is unusable.
    built : callable
        Called with the name of each artifact that was published.
    jobs : int, optional
        How many compilers may run at once (default: ``MAX_JOBS``, else ninja's choice).
    is_quiet : bool, default False
        Whether to print no message that something is being compiled.
    prewarm_hint : str, default "--help"
        The options with which ``prewarm`` builds the artifacts, for the error if a tool is missing.
    logs : Store, optional
        The store for the output of a failed build (default: the store of the build).
    """

    started: Callable[[], None]
    check: Callable[[Artifact, Mapping[str, Entry]], None]
    built: Callable[[str], None]
    jobs: int | None = None
    is_quiet: bool = False
    prewarm_hint: str = "--help"
    logs: Store | None = None


def can_build(artifact: Artifact) -> bool:
    """Tell whether the tools that build an artifact exist; nothing is run."""
    try:
        recipe_of(artifact.target).find_compiler(artifact.arch, lambda *_: "")
        ninja.find()
    except ToolError:
        return False
    return True


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
        The artifacts.
    layers : sequence of Store
        Read-only caches, which are looked up first.
    stores : sequence of Store
        Writable caches. Missing artifacts are built into the last one.
    options : Options
        Options of the build.

    Raises
    ------
    ToolError, BuildError, CacheError, LockError, TrustError
        As `loader.open_kernel` does.
    """
    tools = Tools(stores, publish.remember)
    entries = look_up(artifacts, layers, stores, tools)
    absent = [artifact for artifact in artifacts if artifact.name not in entries]
    if not absent:
        return entries
    store = stores[-1]
    missing.check_tools(absent, tools, layers, stores, options.prewarm_hint)
    missing.check_noexec(absent, store)
    with publish.locked(store, absent):
        # The previous holder of the locks may have built the missing artifacts.
        entries.update(look_up(absent, [], [store], tools))
        absent = [artifact for artifact in absent if artifact.name not in entries]
        if absent:
            _remove_abandoned(store)
            entries.update(_build(store, tools, absent, entries, options))
    return entries


def _remove_abandoned(store: Store) -> None:
    """Remove the staging folders of killed builds."""
    with contextlib.suppress(OSError, CacheError, TrustError):
        maintenance.remove(maintenance.abandoned(store.root), store.root)


class _Job(NamedTuple):
    """An artifact to build, its compiler, the compiler's version, and the build text."""

    artifact: Artifact
    compiler: Compiler
    version: str
    text: str

    @property
    def name(self) -> str:
        return self.artifact.name

    @property
    def source(self) -> str:
        """The translation unit's path in the staging folder."""
        return f"{self.name}/{recipe_of(self.artifact.target).source}"

    @property
    def product(self) -> str:
        """The product's path in the staging folder."""
        return f"{self.name}/{recipe_of(self.artifact.target).product}"

    @property
    def depfile(self) -> str:
        """The path of the list of dependencies in the staging folder."""
        return f"{self.name}/{DEPFILE}"

    @property
    def described(self) -> str:
        """The compiler, for messages."""
        version = self.version.strip().partition("\n")[0]
        return f"{shlex.join(self.compiler.command)} ({self.compiler.origin}; {version})"


def _build(
    store: Store,
    tools: Tools,
    absent: Sequence[Artifact],
    found: Mapping[str, Entry],
    options: Options,
) -> dict[str, Entry]:
    """Build in a staging folder, check there, then publish; return the entries.

    Raises
    ------
    EvictedError
        Another process removed the staging folder.
    """
    program = ninja.find()
    ninja.version(program)  # checks that it is ninja before its errors are taken for a compiler's
    start = time.monotonic()
    sources = publish.source_digests()
    jobs = [
        _Job(artifact, tool.compiler, tool.version or "", build_text(artifact))
        for artifact in absent
        if (tool := tools.find(artifact)) is not None and tool.compiler is not None
    ]
    files = {job.source: job.artifact.source() for job in jobs}
    files["build.ninja"] = ninja.text({job.artifact: job.compiler for job in jobs})
    if settings.verbose():
        for described in dict.fromkeys(job.described for job in jobs):
            messages.say(f"compiling with {described}")

    def takes_long() -> None:
        if not (options.is_quiet or settings.verbose()) and messages.is_watched():
            messages.say(notice.compiling(absent, store.root))

    options.started()
    with publish.staging(store, files) as folder:
        entries: dict[str, Entry] = {}
        try:
            limit = settings.max_jobs() if options.jobs is None else options.jobs
            failure = ninja.run(folder, program, limit, takes_long)
            if failure is not None:
                raise _build_error(store, folder, failure, jobs, options.logs or store)
            seconds = time.monotonic() - start
            staged = {job.name: _staged(folder, job) for job in jobs}
            for job in jobs:
                options.check(job.artifact, {**found, **staged})
            for job in jobs:
                entries[job.name] = publish.publish(
                    store,
                    job.artifact,
                    job.text,
                    job.version,
                    folder / job.name,
                    sources,
                    seconds,
                )
                options.built(job.name)
        except (BuildError, OSError) as error:
            left = [name for name in files if name.partition("/")[0] not in entries]
            if all((folder / name).exists() for name in left):
                raise
            raise EvictedError(
                f"the folder {folder} was removed while kernels were compiled in it. Does another "
                f"process clear the cache again and again? Call again, or set {store.setting} to "
                f"another folder."
            ) from error
        return entries


def _staged(folder: Path, job: _Job) -> Entry:
    """Return the entry of a built artifact in the staging folder."""
    for file, what in ((job.product, "product"), (job.depfile, "list of the files that it read")):
        if not (folder / file).exists():
            raise BuildError(
                f"compiling {job.name}: {job.described} ended with status 0 but wrote no {what}. "
                f"Is it a compiler?"
            )
    return Entry(folder / job.name, job.artifact.target, stamp((folder / job.product).stat()))


def _build_error(
    store: Store, folder: Path, failure: ninja.Failure, jobs: Sequence[_Job], logs: Store
) -> BuildError:
    """Return the error of a failed build: the compiler, the log, the first error and a hint."""
    full = re.search(_NO_SPACE, failure.log)
    if full is not None and _is_store_full(folder, failure.log, jobs):
        return CacheError(
            f"the cache folder {store.root} cannot be written: {full[0]}. "
            f"Make room, or set {store.setting} to a folder with more."
        )
    names = hints.failed(failure.log, [job.name for job in jobs])
    try:
        log = str(publish.keep_log(logs, names[0], failure.log))
    except (CacheError, TrustError) as error:
        log = f"not kept: {error}"
    line, hint = hints.first_error(failure.log)
    compilers = dict.fromkeys(job.described for job in jobs if job.name in names)
    return BuildError(
        f"compiling {', '.join(names)} failed (exit status {failure.status}) with "
        f"{' and '.join(compilers)}.\n"
        f"Whole log: {log}\n"
        f"First error: {line}\n"
        f"Hint: {hint}."
    )


def _is_store_full(folder: Path, log: str, jobs: Sequence[_Job]) -> bool:
    """Tell whether the file that could not be written was in the staging folder.

    Compilers also write temporary files elsewhere, and a linker may name no file at all. Therefore
    a write into the folder is tried as well.
    """
    lines = [line for line in log.splitlines() if re.search(_NO_SPACE, line)]
    # Not the source: any error may begin with its name.
    names = [str(folder), *(name for job in jobs for name in (job.product, job.depfile))]
    if any(name in line for line in lines for name in names):
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
    except OSError:
        return True
    return False
