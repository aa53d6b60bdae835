"""Builds kernels ahead of time: for a container's image, a cluster's layer, a wheel.

Invariant: plans and builds are those of a call, so that a later one finds the kernels. No GPU is
needed. A kernel for this machine's CPU counts as built only if it was loaded here, any other one
only if its header names the architecture.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from . import settings
from .dtypes import DType, lookup
from .errors import (
    ArchError,
    BuildError,
    CacheError,
    EvictedError,
    LockError,
    ToolError,
    TrustError,
)
from .jit import loader
from .jit.store import layers, maintenance
from .jit.store.files import digest, write_json
from .jit.store.maintenance import MANIFEST
from .jit.store.store import Entry, Store, mark_unloadable
from .kernels import (
    MACHINE,
    MEDIANS,
    MOST_FOUND,
    RUNTIME,
    VALUE_BITS,
    Artifact,
    Kernel,
    Runtime,
    Selection,
)
from .operations import OPERATIONS
from .operations._operation import Operation
from .plan import Plan, plan, value_payload
from .targets import machine_of, recipe_of, target_of
from .targets.common.layouts import FEW_ROWS, Layouts
from .targets.common.target import Target

# Many rows. A plan depends on their number only up to the last of FEW_ROWS.
_ROWS = 1 << 12
# Kernels of a build, for each compiler that runs at once. They are published together: more of them
# keep the compilers busier, fewer of them are reported earlier and lost if the process is stopped.
_AT_ONCE_PER_JOB = 4
# Errors that concern all kernels alike.
_GENERAL_ERRORS = (ToolError, CacheError, LockError, TrustError)


@dataclass(frozen=True)
class BuildResult:
    """The product of an artifact, or why it could not be built.

    Parameters
    ----------
    name, target, arch : str
        The artifact.
    path : str or None
        The product; None after an error.
    size : int
        The product's size in bytes.
    digest : str or None
        The BLAKE2b digest (20 bytes) of the product.
    error : str or None
        The error; None if the artifact was built.
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
    """Return every kernel that calls of operations may need on an architecture.

    Parameters
    ----------
    backend : str
        ``cpu``, ``cuda`` or ``hip``.
    arch : str
        The architecture, as in ``x86-64-avx2``, ``sm_90`` or ``gfx942``.
    dtypes : iterable of str
        The dtypes, by name.
    lengths : sequence of int
        The lengths of rows; those that need no kernel are skipped.
    operations : iterable of str, default ("sort",)
        The operations, by the names of their functions.

    Raises
    ------
    ArchError
        The back end does not have the architecture.
    """
    _check_arch(target_of(backend), arch)
    needed: dict[Kernel, None] = {}
    for operation, dtype, length in itertools.product(operations, dtypes, lengths):
        for call_plan in _plans(operation, backend, arch, dtype, length):
            if call_plan.kernel is not None:
                needed[call_plan.kernel] = None
    return list(needed)


def longest(backend: str, arch: str, dtype: str, operation: str = "sort") -> int:
    """Return the longest row of a dtype that a back end's kernels sort; 0 without kernels."""
    layouts, chosen = target_of(backend).layouts(arch), OPERATIONS[operation]
    info = lookup(dtype, "dtype")
    if not chosen.takes(info):
        return 0
    selections = get_args(Selection) if chosen.finds_first else [chosen.selection]
    return max(layouts.longest(chosen.payload, info.bits, selection) for selection in selections)


def _selections(
    operation: Operation, layouts: Layouts, dtype: DType, length: int
) -> list[Selection]:
    """Return the positions of the sorted rows that kernels find for rows of a length."""
    bits = dtype.bits
    if operation.finds_median and layouts.finds_medians(bits, length):
        return ["median"] if dtype.codec == "integer" else [*MEDIANS]
    if not operation.finds_first or length < 2:
        return [operation.selection]
    # The choice changes only behind the most elements that a kernel finds: of two kernels that
    # find enough, the one for fewer elements is chosen.
    numbers = (1, *(most + 1 for most in MOST_FOUND.values()), length)
    chosen = [layouts.first(bits, length, k) for k in numbers if k <= length]
    return list(dict.fromkeys(chosen))


def _check_arch(target: Target, arch: str) -> None:
    """Raise ArchError if a back end lacks an architecture."""
    if not target.is_arch(arch):
        if target.is_host:
            raise ArchError("arch", f"expected one of {', '.join(target.archs)}, got {arch!r}.")
        raise ArchError("arch", f"{arch!r} is not an architecture of {target.name}.")


def _plans(operation: str, backend: str, arch: str, dtype: str, length: int) -> Iterator[Plan]:
    """Yield the plans for arrays of all memory layouts that plans distinguish."""
    rows, columns = (_ROWS, length), (length, _ROWS)
    contiguous = (
        (rows, (length, 1), 1),
        *(((few, length), (length, 1), 1) for few in FEW_ROWS),
        (rows, (length + 32, 1), 1),
    )
    apart = ((rows, (2 * length, 2), 1), (columns, (_ROWS, 1), 0))
    chosen, target = OPERATIONS[operation], target_of(backend)
    info, table = lookup(dtype, "dtype"), target.layouts(arch)
    if length > longest(backend, arch, dtype, operation):
        return
    selections = _selections(chosen, table, info, length)
    cells = [*itertools.product(selections, contiguous + apart)]
    if chosen.finds_first and not target.is_host:
        # JAX makes no copy with the axis last; whole rows are sorted instead.
        cells += itertools.product([chosen.selection], apart)
    for selection, (shape, strides, axis) in cells:
        if length > table.longest(chosen.payload, info.bits, selection):
            continue
        # An output has x's strides if these are dense, else it is row-major.
        all_strides = [strides, *[(shape[1], 1)] * len(chosen.outputs)]
        payloads = [chosen.payload]
        if chosen.carries_values:
            carried = (
                value_payload(table, info.bits, value_bits, shape, all_strides, axis)
                for value_bits in VALUE_BITS.values()
            )
            payloads += filter(None, carried)
        for payload in payloads:
            yield plan(
                selection,
                payload,
                lookup(dtype, "dtype"),
                shape,
                all_strides,
                axis,
                target,
                arch,
            )


def build(
    wanted: Sequence[Kernel],
    into: Path | None = None,
    jobs: int | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> list[BuildResult]:
    """Build kernels, and the runtimes that call them; return a result for each.

    Parameters
    ----------
    wanted : sequence of Kernel
        The kernels.
    into : Path, optional
        The folder to put all of them into. By default, kernels that no layer has are put into the
        user's cache.
    jobs : int, optional
        How many compilers may run at once (default: ``MAX_JOBS``, else ninja's choice).
    done : callable, optional
        Called with the number of artifacts that were finished since the last call.

    Raises
    ------
    ArchError
        A kernel is for another machine's CPU, and no folder is named. Nothing was written.
    ToolError
        ``CXX`` or ``CK_DIR`` changes how kernels are compiled, and kernels in the folder could not
        be shared; or the folder's name has a control character. Nothing was written.
    BuildError
        ``MAX_JOBS`` is not a number. Nothing was written.
    """
    if into is not None:
        settings.refuse_control_characters("into", str(into), ToolError)
        _check_shareable(wanted)
    elif foreign := [runtime.arch for runtime in runtimes(wanted) if runtime != RUNTIME]:
        raise ArchError(
            "arch",
            f"kernels for {', '.join(foreign)} do not load on this machine ({MACHINE}), so the "
            f"user's cache does not take them. Name a folder for them with --into.",
        )
    store = None if into is None else Store(into, is_shared=True, setting="--into")
    # One target and architecture of a device at a time, because each may have another compiler.
    groups: dict[tuple[Runtime, str, str], list[Kernel]] = {}
    for kernel in wanted:
        arch = "" if target_of(kernel.target).is_host else kernel.arch
        groups.setdefault((_runtime_of(kernel), kernel.target, arch), []).append(kernel)
    built: dict[Runtime, BuildResult] = {}
    for runtime in runtimes(wanted):
        (built[runtime],) = _chunk(runtime, [], store, jobs)
        done(1)
    results = list(built.values())
    at_once = _AT_ONCE_PER_JOB * (jobs or settings.max_jobs() or os.cpu_count() or 1)
    for (runtime, *_), group in groups.items():
        for start in range(0, len(group), at_once):
            chunk = group[start : start + at_once]
            if built[runtime].error is not None:
                # Kernels need the runtime, and each build would build it again.
                reason = "it was not tried, for the runtime could not be built"
                results += [_failure(kernel, reason) for kernel in chunk]
            else:
                results += _chunk(runtime, chunk, store, jobs)
            done(len(chunk))
    if into is not None:
        # The same error has already failed the builds.
        with contextlib.suppress(CacheError, TrustError):
            maintenance.tidy(into)
    return results


def runtimes(wanted: Sequence[Kernel]) -> list[Runtime]:
    """Return the runtimes that call kernels: one for each machine, this one's if there are none."""
    return list(dict.fromkeys(map(_runtime_of, wanted))) or [RUNTIME]


def _runtime_of(kernel: Kernel) -> Runtime:
    """Return the runtime that calls a kernel. For a GPU's, that is this machine's."""
    return Runtime(machine_of(kernel.arch)) if target_of(kernel.target).is_host else RUNTIME


def _check_shareable(wanted: Sequence[Kernel]) -> None:
    """Raise ToolError if a setting changes how kernels are compiled: these are not shared."""
    for name in dict.fromkeys([RUNTIME.target, *(kernel.target for kernel in wanted)]):
        why = recipe_of(name).why_unshareable()
        if why is not None:
            raise ToolError(why)


def _chunk(
    runtime: Runtime, chunk: Sequence[Kernel], store: Store | None, jobs: int | None
) -> list[BuildResult]:
    """Build some kernels at once; if compiling fails, one by one, to find the failing ones.

    Without kernels, build the runtime.
    """
    try:
        if store is None:
            # A temporary folder would not outlive this process.
            entries = loader.build(chunk or [runtime], jobs, is_quiet=True, may_be_temporary=False)
        else:
            entries = loader.build_into(runtime, chunk, store, jobs, is_quiet=True)
    except BuildError as error:
        # A general error would recur for each kernel, as would the wait for a lock.
        if len(chunk) <= 1 or isinstance(error, _GENERAL_ERRORS):
            failed: Sequence[Artifact] = chunk or [runtime]
            return [_failure(artifact, str(error)) for artifact in failed]
        return [result for kernel in chunk for result in _chunk(runtime, [kernel], store, jobs)]
    if not chunk:
        return [_result(runtime, entries[runtime.name])]
    return [_verified(kernel, entries[kernel.name], store, jobs) for kernel in chunk]


def _verified(kernel: Kernel, entry: Entry, store: Store | None, jobs: int | None) -> BuildResult:
    if recipe_of(kernel.target).loads_here(kernel.arch):
        # An entry that was in the cache may not load here; then it is built again. (The look-up has
        # compared the architecture of other entries.)
        try:
            loader.try_cpu_kernel(entry)
        except EvictedError as error:
            return _failure(kernel, str(error))
        except RuntimeError as error:
            if mark_unloadable(entry.library, str(error)):
                return _chunk(RUNTIME, [kernel], store, jobs)[0]
            return _failure(kernel, str(error))
    return _result(kernel, entry)


def _result(artifact: Artifact, entry: Entry) -> BuildResult:
    path = entry.library
    try:
        data = path.read_bytes()
    except OSError as error:
        return _failure(artifact, f"{path} cannot be read again: {error.strerror}")
    return BuildResult(
        artifact.name, artifact.target, artifact.arch, str(path), len(data), digest(data)
    )


def _failure(artifact: Artifact, error: str) -> BuildResult:
    return BuildResult(artifact.name, artifact.target, artifact.arch, error=error)


def write_manifest(results: Sequence[BuildResult], file: Path, follows_links: bool = True) -> None:
    """Write results as JSON, atomically; a device or a pipe is written in place.

    Parameters
    ----------
    results : sequence of BuildResult
        The results.
    file : Path
        The file to write.
    follows_links : bool, default True
        Whether the target of a symbolic link is written. Else the link is replaced, as in a cache.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    complete = all(result.error is None for result in results)
    manifest = {"complete": complete, "artifacts": [asdict(result) for result in results]}
    if not follows_links:
        write_json(file, manifest)
    elif file.exists() and not (file.is_file() or file.is_dir()):
        with file.open("w", encoding="utf-8") as stream:
            stream.write(f"{json.dumps(manifest)}\n")
    else:
        write_json(Path(os.path.realpath(file)), manifest)


def default_manifest(into: Path | None) -> Path | None:
    """Return the path of the manifest, in the folder of the entries; None without a folder."""
    root = layers.user_store().root if into is None else into
    return root / MANIFEST if root.is_dir() else None
