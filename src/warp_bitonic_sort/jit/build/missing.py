"""Why an artifact that no cache has cannot be built here.

Invariant: the error is raised before anything is written. It names what is missing, why the caches'
entries were not taken, and how to get the kernel from elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ... import settings
from ...errors import CacheError, ToolError
from ...kernels import RUNTIME, Artifact
from ...targets import recipe_of
from ..store import inventory
from ..store.mounts import is_noexec
from ..store.store import Store
from ..store.tools import Tools
from . import ninja


def check_noexec(absent: Sequence[Artifact], store: Store) -> None:
    """Raise CacheError where libraries would be built in a folder that none can be loaded from."""
    if any(recipe_of(each.target).is_library for each in absent) and is_noexec(store.root):
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
    """Raise an error where a tool that builds the artifacts is wrong or missing.

    Its class says which: `ToolError` or `MissingToolError`.
    """
    errors = [(each, tool.error) for each in absent if (tool := tools.find(each)) is not None]
    error = next((error for _, error in errors if error is not None), None)
    # All artifacts of one compiler fail alike.
    stuck = [each for each, why in errors if str(why) == str(error)]
    without_ninja = _ninja_error()
    if error is None:
        error = without_ninja
    elif without_ninja is not None:
        # A user who mends one of two learns of the other now.
        error = type(error)(f"{error} And there is {without_ninja}")
    if error is None:
        return
    caches = [*layers, *stores]
    # Path.is_dir() raises where this user may not look.
    roots = ", ".join(str(cache.root) for cache in caches if os.path.isdir(cache.base))  # noqa: PTH112
    closed, held = _reasons(caches, stuck)
    reasons = "; ".join([*closed, *held])
    advice = (
        f"Or have another machine compile it (warp-bitonic-sort prewarm {prewarm_hint}) and name "
        f"the folder in WARP_SORT_CACHE_LAYERS."
    )
    if stores[-1].setting == "--into":
        own = "a runtime of its own, made by a C++ compiler, whatever layers have"
        needs = f"A folder that --into fills needs {own}. " if RUNTIME in absent else ""
        advice = f"{needs}Or fill it on another machine."
    names = " and ".join(artifact.name for artifact in stuck)
    raise type(error)(
        f"{names} {'are' if len(stuck) > 1 else 'is'} {'usable ' if held else ''}in "
        f"{f'none of {roots}' if roots else 'no cache'}{f' ({reasons})' if reasons else ''}, "
        f"and cannot be compiled here: {error} {advice}"
    ) from None


def _ninja_error() -> ToolError | None:
    try:
        ninja.find()
    except ToolError as error:
        return error
    return None


def _reasons(caches: Sequence[Store], artifacts: Sequence[Artifact]) -> tuple[list[str], list[str]]:
    """Return which caches cannot be read, and why the entries of the others were not taken."""
    closed: list[str] = []
    held: list[str] = []
    for cache in caches:
        unreadable = [
            why for each in artifacts if (why := inventory.why_unreadable(cache.root, each.name))
        ]
        closed += unreadable
        if unreadable:
            continue
        if cache.is_for_gpus:
            cause = "its runtime does not load here"
            if is_noexec(cache.root):
                cause = "it is on a noexec file system"
            held.append(f"{cache.root} is left out, for {cause}")
            continue
        for artifact in artifacts:
            why = inventory.why_unused(cache.root, artifact.name)
            if why is not None:
                if recipe_of(artifact.target).is_library and is_noexec(cache.root):
                    why = "on a file system that is mounted noexec"
                what = artifact.name if len(artifacts) > 1 else "it"
                held.append(f"{cache.root} holds {what} {why}")
                break
    strays = [why for root in settings.cache_layers() if (why := inventory.why_no_layer(root))]
    closed = [*closed[:1], *(f"WARP_SORT_CACHE_LAYERS: {why}" for why in strays)]
    return closed, held
