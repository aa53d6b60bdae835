"""Building what no cache has: the ninja run, what came of it, and why nothing can be built.

Invariant: everything is built in one private folder and checked there before any of it is
published; a failure publishes nothing, and its error says with which compiler, what went wrong
first, and where the whole log is. Most processes find all that they want, and do without this
module.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import settings
from ..errors import BuildError, CacheError, EvictedError, ToolError, TrustError
from ..kernels import RUNTIME, Artifact
from ..process import messages
from . import finders, ninja, notice, toolchain
from .store import publish
from .store.files import stamp
from .store.key import HOST_KINDS
from .store.mounts import is_noexec
from .store.store import Entry, Store

if TYPE_CHECKING:
    from .builder import Options, Tool

__all__ = ["build", "built", "refuse_noexec", "refuse_without_tools", "sweep"]

_built: list[str] = []


def built() -> list[str]:
    """Return the names of the artifacts that this process has built, wherever it put them."""
    return list(_built)


def refuse_without_tools(
    missing: Sequence[Artifact],
    tools: Mapping[str, Tool],
    layers: Sequence[Store],
    stores: Sequence[Store],
    order: str,
) -> None:
    """Raise what says which artifacts cannot be built, why, and how to get them.

    It is of the class of what hinders: whether a tool is wrong or is not there.
    """
    error = next((each for a in missing if (each := tools[a.target].error) is not None), None)
    stuck = [artifact for artifact in missing if tools[artifact.target].error is error]
    names = [artifact.name for artifact in stuck]
    without_ninja = _ninja_error() if missing else None
    if error is None:
        error = without_ninja
    elif without_ninja is not None:
        # Whoever mends one of two learns of the other now.
        error = type(error)(f"{error} And there is {without_ninja}")
    if error is None:
        return
    asked = [*layers, *stores]
    # Path.is_dir() raises where nobody may look.
    there = [cache.root for cache in asked if os.path.isdir(cache.base)]  # noqa: PTH112
    roots = ", ".join(map(str, there))
    closed, held = _reasons(asked, stuck)
    reasons = "; ".join([*closed, *held])
    advice = (
        f"Or have another machine compile it (warp-bitonic-sort prewarm {order}) and name the "
        f"folder in WARP_SORT_CACHE_LAYERS."
    )
    if stores[-1].setting == "--into":
        of_own = "a runtime of its own, made by a C++ compiler, whatever layers have"
        needs = f"A folder that --into fills needs {of_own}. " if RUNTIME in missing else ""
        advice = f"{needs}Or fill it on another machine."
    raise type(error)(
        f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} {'usable ' if held else ''}in "
        f"{f'none of {roots}' if roots else 'no cache'}{f' ({reasons})' if reasons else ''}, "
        f"and cannot be compiled here: {error} {advice}"
    ) from None


def refuse_noexec(missing: Sequence[Artifact], store: Store) -> None:
    """Raise CacheError where libraries would be built in a folder that none can be loaded from."""
    if any(artifact.target in HOST_KINDS for artifact in missing) and is_noexec(store.root):
        raise CacheError(
            f"the cache folder {store.root} is on a file system that is mounted noexec, so that no "
            f"library can be loaded from there. Set {store.setting} to a folder on another file "
            f"system."
        )


def _ninja_error() -> ToolError | None:
    try:
        finders.find_ninja()
    except ToolError as error:
        return error
    return None


def _reasons(caches: Sequence[Store], artifacts: Sequence[Artifact]) -> tuple[list[str], list[str]]:
    """Return what cannot be read where artifacts may be, and why what is there was not taken."""
    from .store import inventory

    closed: list[str] = []
    held: list[str] = []
    for cache in caches:
        said = [each for a in artifacts if (each := inventory.why_unreadable(cache.root, a.name))]
        closed += said
        if said:
            continue
        if cache.is_for_gpus:
            cause = "its runtime does not load here"
            if is_noexec(cache.root):
                cause = "it is on a noexec file system"
            held.append(f"{cache.root} is left out, for {cause}")
            continue
        for artifact in artifacts:
            name = artifact.name
            why = inventory.why_unused(cache.root, name)
            if why is not None:
                if artifact.target in HOST_KINDS and is_noexec(cache.root):
                    why = "on a file system that is mounted noexec"
                held.append(f"{cache.root} holds {name if len(artifacts) > 1 else 'it'} {why}")
                break
    strays = [why for root in settings.cache_layers() if (why := inventory.why_no_layer(root))]
    closed = [*closed[:1], *(f"WARP_SORT_CACHE_LAYERS: {why}" for why in strays)]
    return closed, held


def sweep(cache: Store) -> None:
    """Remove the staging folders that killed builds have left, so that they do not pile up."""
    staging = cache.base / "staging"
    with contextlib.suppress(OSError, CacheError, TrustError):
        if os.listdir(staging):  # noqa: PTH208 - most often there is nothing, and no look at it
            from .store import maintenance

            maintenance.remove(maintenance.abandoned(cache.root), cache.root)


def build(
    cache: Store,
    tools: Mapping[str, Tool],
    missing: Sequence[Artifact],
    texts: Mapping[str, str],
    found: Mapping[str, Entry],
    options: Options,
) -> dict[str, Entry]:
    """Build in a staging folder, check there, then publish; return the entries.

    Raises
    ------
    EvictedError
        Another process removed the staging folder.
    """
    program = finders.find_ninja()
    ninja.version(program)  # what a build of another program said would be taken for a compiler's
    jobs = settings.max_jobs() if options.jobs is None else options.jobs
    start = time.monotonic()
    sources = publish.source_digests()
    files = {f"{a.name}/{ninja.SOURCES[a.target]}": a.source() for a in missing}
    compilers = {
        kind: tool.compiler
        for kind, tool in tools.items()
        if tool.compiler is not None and any(a.target == kind for a in missing)
    }
    files["build.ninja"] = ninja.text(missing, compilers)
    if settings.verbose():
        for said in dict.fromkeys(_described(tools[a.target]) for a in missing):
            messages.say(f"compiling with {said}")

    def takes_long() -> None:
        if not (options.is_quiet or settings.verbose()) and messages.is_watched():
            messages.say(notice.compiling(missing, cache.root))

    options.started()
    with publish.staging(cache, files) as folder:
        entries: dict[str, Entry] = {}
        try:
            failure = ninja.build(folder, program, jobs, takes_long)
            if failure is not None:
                raise _told(cache, folder, failure, missing, tools, options.logs or cache)
            seconds = time.monotonic() - start
            staged = {a.name: _staged(folder, a, tools[a.target]) for a in missing}
            for artifact in missing:
                options.check(artifact, {**found, **staged})
            # As it is now that all is compiled: a process that waits for locks may find another.
            makers = {kind: _maker(kind, tools[kind]) for kind in {a.target for a in missing}}
            for artifact in missing:
                entries[artifact.name] = publish.publish(
                    cache,
                    artifact,
                    texts[artifact.name],
                    tools[artifact.target].version or "",
                    folder / artifact.name,
                    sources,
                    seconds,
                    makers[artifact.target],
                )
        except (BuildError, OSError) as error:
            left = [name for name in files if name.partition("/")[0] not in entries]
            if all((folder / name).exists() for name in left):
                raise
            raise EvictedError(
                f"the folder {folder} was removed while kernels were compiled in it. Does another "
                f"process clear the cache again and again? Call again, or set {cache.setting} to "
                f"another folder."
            ) from error
        _built.extend(entries)
        return entries


def _staged(folder: Path, artifact: Artifact, tool: Tool) -> Entry:
    """Return what a build has made of an artifact, in its private folder."""
    made = folder / artifact.name
    for file, what in (
        (ninja.PRODUCTS[artifact.target], "nothing"),
        (ninja.DEPFILE, "no list of what it read"),
    ):
        if not (made / file).exists():
            raise BuildError(
                f"compiling {artifact.name}: {_described(tool)} ended with status 0 and made "
                f"{what}. Is that a compiler?"
            )
    return Entry(made, artifact.target, stamp((made / ninja.PRODUCTS[artifact.target]).stat()))


def _maker(kind: str, tool: Tool) -> str | None:
    """Return the identity of what has compiled a kind, if that is what would be found now, too."""
    identity = tool.identity
    return identity if identity is not None and toolchain.still_is(kind, identity) else None


_NO_SPACE = "No space left on device|Disk quota exceeded|Read-only file system"
# Bytes: more than a kernel and what a compiler makes on the way to it.
_ROOM = 1 << 22


def _is_cache_full(folder: Path, log: str, missing: Sequence[Artifact]) -> bool:
    """Tell whether what could not be written was in the staging folder.

    Compilers write temporary files elsewhere, too, and a linker may name no file at all: then the
    folder is tried.
    """
    lines = [line for line in log.splitlines() if re.search(_NO_SPACE, line)]
    # (The source is named in front of any error.)
    named = [str(folder), *(f"{a.name}/{ninja.PRODUCTS[a.target]}" for a in missing)]
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
    cache: Store,
    folder: Path,
    failure: ninja.Failure,
    missing: Sequence[Artifact],
    tools: Mapping[str, Tool],
    logs: Store,
) -> BuildError:
    """Return the error that says what of a failed build a person needs to know."""
    full = re.search(_NO_SPACE, failure.log)
    if full is not None and _is_cache_full(folder, failure.log, missing):
        return CacheError(
            f"the cache folder {cache.root} cannot be written: {full[0]}. "
            f"Make room, or set {cache.setting} to a folder with more."
        )
    names = ninja.failed(failure.log, [artifact.name for artifact in missing])
    try:
        log = str(publish.keep_log(logs, names[0], failure.log))
    except (CacheError, TrustError) as error:
        log = f"not kept: {error}"
    line, hint = ninja.first_error(failure.log)
    used = dict.fromkeys(_described(tools[a.target]) for a in missing if a.name in names)
    return BuildError(
        f"compiling {', '.join(names)} failed (exit status {failure.status}) with "
        f"{' and '.join(used)}.\n"
        f"Whole log: {log}\n"
        f"First error: {line}\n"
        f"Hint: {hint}."
    )


def _described(tool: Tool) -> str:
    if tool.compiler is None:
        return "no compiler"
    version = (tool.version or "").strip().partition("\n")[0]
    return f"{shlex.join(tool.compiler.command)} ({tool.compiler.why}; {version})"
