"""Kernels built before anybody asks: for a container's image, a cluster's layer, a wheel.

Invariant: what is built is what `sort` would ask for, by the same plans and through the same build;
no GPU is needed, and an artifact counts as there only if it was loaded here or, for a GPU, its code
object is for the target.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import settings
from .dtypes import lookup
from .errors import BuildError, CacheError, EvictedError, LockError, ToolError, TrustError
from .jit import loader
from .jit.store import layers, maintenance
from .jit.store.files import digest, write_json
from .jit.store.maintenance import MANIFEST
from .jit.store.store import Entry, Store, mark_unloadable
from .kernels import RUNTIME, Artifact, Kernel
from .operations import OPERATIONS
from .plan import Plan, plan
from .targets import recipe_of, target_of
from .targets.common.target import Target

# Any number of rows gets the same kernel.
_ROWS = 1 << 12
_MOST_AT_ONCE = 32
# Errors that are no kernel's own.
_OF_ALL = (ToolError, CacheError, LockError, TrustError)


@dataclass(frozen=True)
class Outcome:
    """What became of an artifact.

    Parameters
    ----------
    name, target, arch : str
        The artifact.
    path : str or None
        Its product; None where there is none.
    size : int
        The product's bytes.
    digest : str or None
        The BLAKE2b digest (20 bytes) of the product.
    error : str or None
        Why there is none.
    """

    name: str
    target: str
    arch: str
    path: str | None = None
    size: int = 0
    digest: str | None = None
    error: str | None = None


def kernels(
    backend: str,
    arch: str,
    dtypes: Iterable[str],
    lengths: Sequence[int],
    operations: Iterable[str] = ("sort",),
) -> list[Kernel]:
    """Return every kernel that operations may ask for on a target.

    Parameters
    ----------
    backend : str
        ``cpu``, ``cuda`` or ``hip``.
    arch : str
        The target, as in ``x86-64-avx2``, ``sm_90`` or ``gfx942``.
    dtypes : iterable of str
        The dtypes, by name.
    lengths : sequence of int
        The lengths of rows; those that need no kernel are passed over.
    operations : iterable of str, default ("sort",)
        The operations, by the names of their functions.

    Raises
    ------
    ToolError
        There are no such targets.
    """
    _check_arch(target_of(backend), arch)
    found: dict[Kernel, None] = {}
    for operation, dtype, length in itertools.product(operations, dtypes, lengths):
        for made in _plans(operation, backend, arch, dtype, length):
            if made.kernel is not None:
                found[made.kernel] = None
    return list(found)


def longest(backend: str, arch: str, dtype: str, operation: str = "sort") -> int:
    """Return the longest row of a dtype that a target's kernels take; 0 where there is none."""
    layouts = target_of(backend).layouts(arch)
    return layouts.longest(OPERATIONS[operation].payload, lookup(dtype, "dtype").bits)


def _check_arch(target: Target, arch: str) -> None:
    """Raise ToolError where a target has no kernels for an architecture, or cannot build them."""
    if not target.is_arch(arch):
        if target.is_host:
            raise ToolError(f"arch: expected one of {', '.join(target.archs)}, got {arch!r}.")
        raise ToolError(f"arch: {arch!r} is no target of the back end {target.name}.")
    buildable = target.buildable_archs()
    if buildable is not None and arch not in buildable:
        native = ", ".join(target.native_archs())
        raise ToolError(
            f"arch: this machine ({native}) does not build for {arch!r}; it builds for "
            f"{', '.join(buildable)}."
        )


def _plans(operation: str, backend: str, arch: str, dtype: str, length: int) -> Iterator[Plan]:
    """Yield the plans of all layouts in memory that are planned differently."""
    rows, columns = (_ROWS, length), (length, _ROWS)
    layouts = (
        (rows, (length, 1), 1),
        # Rows that are not contiguous.
        (rows, (length + 32, 1), 1),
        (rows, (2 * length, 2), 1),
        (columns, (_ROWS, 1), 0),
    )
    asked, target = OPERATIONS[operation], target_of(backend)
    if length > longest(backend, arch, dtype, operation):
        return
    for shape, strides, axis in layouts:
        # An output lies as x does where that is dense, else in rows.
        outputs = [(shape[1], 1)] * len(asked.outputs)
        yield plan(
            asked.selection,
            asked.payload,
            lookup(dtype, "dtype"),
            shape,
            [strides, *outputs],
            axis,
            target,
            arch,
        )


def build(
    wanted: Sequence[Kernel],
    into: Path | None = None,
    jobs: int | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> list[Outcome]:
    """Build kernels, and the runtime, and return what became of each.

    Parameters
    ----------
    wanted : sequence of Kernel
        The kernels.
    into : Path, optional
        The folder that is to hold all of them; if not given, the user's cache is to hold what no
        layer has.
    jobs : int, optional
        How many compilers may run at once (default: ``MAX_JOBS``, else as ninja finds best).
    done : callable, optional
        Called with the number of artifacts that have been finished since the last call.

    Raises
    ------
    ToolError
        Whoever reads the folder would take nothing of it, for ``CXX`` or ``CK_DIR`` changes what
        is compiled; or the folder's name has a control character. Nothing was written.
    """
    if into is not None:
        settings.refuse_control_characters("into", str(into), ToolError)
        _check_shareable(wanted)
    store = None if into is None else Store(into, is_shared=True, setting="--into")
    outcomes: list[Outcome] = []
    # One target and architecture at a time: what one compiler cannot build, another may.
    groups: dict[tuple[str, str], list[Kernel]] = {}
    for kernel in wanted:
        groups.setdefault((kernel.target, kernel.arch), []).append(kernel)
    runtime: list[Sequence[Kernel]] = [[]]
    chunks = [
        group[start : start + _MOST_AT_ONCE]
        for group in groups.values()
        for start in range(0, len(group), _MOST_AT_ONCE)
    ]
    for chunk in runtime + chunks:
        if outcomes and outcomes[0].error is not None:
            # Without the runtime none can be used, and each try would build it again.
            reason = "it was not tried, for the runtime could not be built"
            outcomes += [Outcome(each.name, each.target, each.arch, error=reason) for each in chunk]
        else:
            outcomes += _chunk(chunk, store, jobs)
        done(len(chunk) or 1)
    if into is not None:
        # What hinders that has hindered the builds.
        with contextlib.suppress(CacheError, TrustError):
            maintenance.tidy(into)
    return outcomes


def _check_shareable(wanted: Sequence[Kernel]) -> None:
    """Raise ToolError where a setting changes what is compiled: no reader would take it."""
    for name in dict.fromkeys([RUNTIME.target, *(kernel.target for kernel in wanted)]):
        why = recipe_of(name).why_unshareable()
        if why is not None:
            raise ToolError(why)


def _chunk(chunk: Sequence[Kernel], store: Store | None, jobs: int | None) -> list[Outcome]:
    """Build some kernels at once; where compiling fails, one by one, to tell which ones fail."""
    try:
        if store is None:
            # A temporary folder would be gone when it is asked for.
            found = loader.build(chunk or [RUNTIME], jobs, is_quiet=True, may_be_temporary=False)
        else:
            found = loader.build_into(chunk, store, jobs, is_quiet=True)
    except BuildError as error:
        # What hinders all would hinder each; a wait for a lock would be waited for each, too.
        if len(chunk) <= 1 or isinstance(error, _OF_ALL):
            failed: Sequence[Artifact] = chunk or [RUNTIME]
            return [Outcome(each.name, each.target, each.arch, error=str(error)) for each in failed]
        return [outcome for kernel in chunk for outcome in _chunk([kernel], store, jobs)]
    if not chunk:
        return [_outcome(RUNTIME, found[RUNTIME.name])]
    return [_verified(kernel, found[kernel.name], store, jobs) for kernel in chunk]


def _verified(kernel: Kernel, entry: Entry, store: Store | None, jobs: int | None) -> Outcome:
    if target_of(kernel.target).is_host:
        # What was found, and not built just now, is to be loaded, too, or it is built now. (A GPU's
        # was verified to be for its target when it was found.)
        try:
            loader.try_cpu_kernel(entry)
        except EvictedError as error:
            return Outcome(kernel.name, kernel.target, kernel.arch, error=str(error))
        except RuntimeError as error:
            if mark_unloadable(entry.library, str(error)):
                return _chunk([kernel], store, jobs)[0]
            return Outcome(kernel.name, kernel.target, kernel.arch, error=str(error))
    return _outcome(kernel, entry)


def _outcome(artifact: Artifact, entry: Entry) -> Outcome:
    path = entry.library
    try:
        data = path.read_bytes()
    except OSError as error:
        why = f"{path} cannot be read again: {error.strerror}"
        return Outcome(artifact.name, artifact.target, artifact.arch, error=why)
    return Outcome(
        artifact.name, artifact.target, artifact.arch, str(path), len(data), digest(data)
    )


def write_manifest(outcomes: Sequence[Outcome], file: Path, follows_links: bool = True) -> None:
    """Write what became of each artifact as JSON; a reader sees all of it or none.

    A device or a pipe is written as it is.

    Parameters
    ----------
    outcomes : sequence of Outcome
        What became of them.
    file : Path
        Where to.
    follows_links : bool, default True
        Whether a link stays, and what it leads to is written. Else the link is replaced, as any in
        a cache.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    complete = all(outcome.error is None for outcome in outcomes)
    said = {"complete": complete, "artifacts": [asdict(each) for each in outcomes]}
    if not follows_links:
        write_json(file, said)
    elif file.exists() and not (file.is_file() or file.is_dir()):
        with file.open("w", encoding="utf-8") as stream:
            stream.write(f"{json.dumps(said)}\n")
    else:
        write_json(Path(os.path.realpath(file)), said)


def default_manifest(into: Path | None) -> Path | None:
    """Return where the manifest goes: beside the entries, if any had to be made."""
    root = layers.user_store().root if into is None else into
    return root / MANIFEST if root.is_dir() else None
