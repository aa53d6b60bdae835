"""Where entries are looked for, and where new ones go.

Invariant: a look-up runs nothing. Layers are only read, and come before the user's cache, which
comes before this process's temporary folder. That one is made only when the user's cache cannot be
written, or other users can write it though he did not name it, with one warning, and goes with the
process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from ... import settings
from ...errors import CacheError, TrustError
from ...kernels import Artifact
from ...process.warn import warn
from ...targets import recipe_of
from ...targets.common import sources
from .key import build_text
from .mounts import is_noexec, temporary_parent
from .store import Entry, Store
from .tools import Tools

# What a wheel brings; a source tree has none.
PACKAGED = sources.PACKAGE / "layer"

_guard = threading.RLock()  # a finalizer that sorts may run in the midst
# The temporary folder, by the cache folder that it stands in for and by the process: what is forked
# has its own, for its parent's goes with that.
_temporary: dict[tuple[Path, int], Store] = {}
# Store folders from which nothing is loaded, for other users can write them.
_foreign: set[Path] = set()
# Layers whose libraries do not load here.
_unusable: set[Path] = set()


def all_layers() -> list[Store]:
    """Return the layers: the package's own, then those of ``WARP_SORT_CACHE_LAYERS``."""
    found = [Store(PACKAGED, is_layer=True, is_ours=True, is_for_gpus=PACKAGED in _unusable)]
    for folder in settings.cache_layers():
        found.append(Store(folder, is_layer=True, is_for_gpus=folder in _unusable))
    return found


def disable_layer(library: Path, reason: str) -> bool:
    """Load no library of a layer, for the runtime in it does not load on this machine; warn.

    What it has for GPUs is as good as ever.

    Parameters
    ----------
    library : Path
        The runtime.
    reason : str
        Why it does not load.

    Returns
    -------
    bool
        False where no layer holds it.
    """
    for layer in all_layers():
        if layer.base in library.parents:
            if layer.root in _unusable:
                return True  # another thread was told
            _unusable.add(layer.root)
            warn(
                f"the runtime in the layer {layer.root} does not load on this machine ({reason}), "
                f"so that layer is left out: only its kernels for GPUs are used."
            )
            return True
    return False


def user_store() -> Store:
    """Return the user's cache."""
    return Store(settings.cache_dir(), home=settings.cache_home())


def stores() -> list[Store]:
    """Return the caches that hold what was built here; what is built goes into the last."""
    cache = user_store()
    instead = _temporary.get((cache.root, os.getpid())) if _temporary else None
    if instead is None:
        return [cache]
    return [instead] if cache.root in _foreign else [cache, instead]


def look_up(
    artifacts: Sequence[Artifact],
    layers: Sequence[Store],
    caches: Sequence[Store],
    tools: Tools | None = None,
) -> dict[str, Entry]:
    """Return the entries of artifacts, by name, that a layer or a cache has.

    Parameters
    ----------
    artifacts : sequence of Artifact
        What is wanted.
    layers : sequence of Store
        Caches that are only read; they are looked at first.
    caches : sequence of Store
        Caches that hold what is built here.
    tools : Tools, optional
        The compilers, whose versions are part of the key. If not given, nothing is run: an entry of
        a compiler whose version is not remembered is not found.

    Raises
    ------
    ToolError, TrustError
        As `loader.open_kernel` does.
    """
    if any(recipe_of(artifact.target).is_library for artifact in artifacts):
        for layer in layers:
            _warn_of_noexec(layer)
    tools = Tools(caches, may_run=False) if tools is None else tools
    found: dict[str, Entry] = {}
    for artifact in artifacts:
        entry = _find(artifact, layers, caches, tools)
        if entry is not None:
            found[artifact.name] = entry
    return found


def _find(
    artifact: Artifact, layers: Sequence[Store], caches: Sequence[Store], tools: Tools
) -> Entry | None:
    text = build_text(artifact)
    for layer in layers:
        entry = layer.find(artifact, text, None)
        if entry is not None:
            return entry
    tool = tools.find(artifact)
    if tool is None:
        return None
    found = (cache.find(artifact, text, tool.version) for cache in caches)
    return next(filter(None, found), None)


def holder(artifact: Artifact, layers: Sequence[Store], caches: Sequence[Store]) -> Store | None:
    """Return the layer or cache that has an artifact, as far as `look_up` finds it."""
    entry = look_up([artifact], layers, caches).get(artifact.name)
    if entry is None:
        return None
    return next(each for each in (*layers, *caches) if each.base in entry.folder.parents)


def _warn_of_noexec(layer: Store) -> None:
    """Warn once that no library is loaded from a layer, for it is on a noexec file system."""
    if layer.root not in _unusable and is_noexec(layer.root) and layer.base.is_dir():
        _unusable.add(layer.root)
        warn(
            f"the layer {layer.root} is on a file system that is mounted noexec, so that no "
            f"library can be loaded from there: only its kernels for GPUs are used. Copy the layer "
            f"to another file system."
        )


def use_temporary_store(error: CacheError | TrustError, tried: Store) -> bool:
    """Have what is built go into a temporary folder from now on, and warn once.

    Parameters
    ----------
    error : CacheError or TrustError
        Why the user's cache cannot be written, or nothing is loaded from it.
    tried : Store
        Where what is built was to go.

    Returns
    -------
    bool
        False where there can be no such folder, or it would not help. (Another thread may have made
        it just now.)
    """
    root = settings.cache_dir()
    owner = root, os.getpid()
    if isinstance(error, TrustError):
        # Nobody asked for that folder. Whoever names one is told that it is not used.
        if error.root != root or settings.cache_home() is None:
            return False
        _foreign.add(root)
    elif tried.root != root:
        return False  # that was the temporary folder
    with _guard:
        if owner in _temporary:
            return True
        try:
            parent = temporary_parent()
            if parent is None:
                return False
            folder = Path(tempfile.mkdtemp(prefix="warp-sort-", dir=parent))
        except OSError:
            return False
        _temporary[owner] = Store(folder)
    _at_exit(folder, os.getpid())
    warn(
        f"{str(error).rstrip('.')}. Until then kernels are compiled anew in every process, into "
        f"{folder}."
    )
    return True


def _at_exit(folder: Path, owner: int) -> None:
    """Have a folder removed when this process ends."""
    atexit.register(_remove, folder, owner)
    processes = sys.modules.get("multiprocessing.util")
    if processes is not None:
        # Its children end without what atexit knows.
        processes.Finalize(None, _remove, args=(folder, owner), exitpriority=0)


def _remove(folder: Path, owner: int) -> None:
    # A process that this one forked ends, too, and the folder is not its own.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
