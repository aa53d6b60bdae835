"""Raises the error for an artifact that no cache has and that cannot be built here.

Invariant: the error is raised before anything is written. It names the missing tool, says why the
caches' entries were not used, and how to get the kernel from another machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ... import settings
from ...errors import CacheError, ToolError
from ...kernels import Artifact, Runtime
from ...targets import recipe_of
from ..store import inventory
from ..store.mounts import is_noexec
from ..store.store import Store
from ..store.tools import Tools
from . import ninja


def check_noexec(absent: Sequence[Artifact], store: Store) -> None:
    """Raise CacheError if libraries would be built in a folder on a noexec file system."""
    if any(recipe_of(artifact.target).is_library for artifact in absent) and is_noexec(store.root):
        raise CacheError(
            f"the cache folder {store.root} is on a file system that is mounted noexec, so that no "
            f"library can be loaded from there. Set {store.setting} to a folder on another file "
            f"system."
        )


def check_tools(
    absent: Sequence[Artifact],
    tools: Tools,
    layers: Sequence[Store],
    stores: Sequence[Store],
    prewarm_hint: str,
) -> None:
    """Raise an error if a tool that builds the artifacts is missing or does not work.

    The error is a `MissingToolError` if a tool is not installed, else a `ToolError`.
    """
    errors = [
        (artifact, tool.error) for artifact in absent if (tool := tools.find(artifact)) is not None
    ]
    error = next((error for _, error in errors if error is not None), None)
    # All artifacts of one compiler have the same error.
    failing = [artifact for artifact, other in errors if str(other) == str(error)]
    without_ninja = _ninja_error()
    if error is None:
        error = without_ninja
    elif without_ninja is not None:
        # Report both, so that the user can install both.
        error = type(error)(f"{error} And there is {without_ninja}")
    if error is None:
        return
    caches = [*layers, *stores]
    roots = ", ".join(str(cache.root) for cache in caches if _is_dir(cache.base))
    unreadable, unused = _reasons(caches, failing)
    reasons = "; ".join([*unreadable, *unused])
    advice = (
        f"Or have another machine compile it (warp-bitonic-sort prewarm {prewarm_hint}) and name "
        f"the folder in WARP_SORT_CACHE_LAYERS."
    )
    if stores[-1].setting == "--into":
        advice = "Or fill it on another machine."
        if any(isinstance(artifact, Runtime) for artifact in absent):
            advice = (
                f"A folder that --into fills needs its own runtime, built by a C++ compiler, even "
                f"if a layer has one. {advice}"
            )
    names = " and ".join(artifact.name for artifact in failing)
    raise type(error)(
        f"{names} {'are' if len(failing) > 1 else 'is'} {'usable ' if unused else ''}in "
        f"{f'none of {roots}' if roots else 'no cache'}{f' ({reasons})' if reasons else ''}, "
        f"and cannot be compiled here: {error} {advice}"
    ) from None


def _is_dir(folder: Path) -> bool:
    """Tell whether a path is a folder; False also if this user may not look."""
    try:
        return folder.is_dir()
    except OSError:
        return False


def _ninja_error() -> ToolError | None:
    try:
        ninja.find()
    except ToolError as error:
        return error
    return None


def _reasons(caches: Sequence[Store], artifacts: Sequence[Artifact]) -> tuple[list[str], list[str]]:
    """Return which caches cannot be read, and why the entries of the others were not used."""
    unreadable: list[str] = []
    unused: list[str] = []
    for cache in caches:
        errors = [
            why
            for artifact in artifacts
            if (why := inventory.why_unreadable(cache.root, artifact.name))
        ]
        unreadable += errors
        if errors:
            continue
        if cache.is_for_gpus:
            cause = "its runtime does not load here"
            if is_noexec(cache.root):
                cause = "it is on a noexec file system"
            unused.append(f"{cache.root} is left out, for {cause}")
            continue
        for artifact in artifacts:
            why = inventory.why_unused(cache.root, artifact.name)
            if why is not None:
                if recipe_of(artifact.target).is_library and is_noexec(cache.root):
                    why = "on a file system that is mounted noexec"
                what = artifact.name if len(artifacts) > 1 else "it"
                unused.append(f"{cache.root} holds {what} {why}")
                break
    no_layers = [why for root in settings.cache_layers() if (why := inventory.why_no_layer(root))]
    unreadable = [*unreadable[:1], *(f"WARP_SORT_CACHE_LAYERS: {why}" for why in no_layers)]
    return unreadable, unused
