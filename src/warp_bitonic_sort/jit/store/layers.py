"""The stores of this process: layers, the user's cache, and a temporary one.

Invariant: layers are only read, and come before the user's cache, which comes before the temporary
one. That is made only when the user's cache cannot be written, or other users can write it though
no setting names it; with one warning. It is removed when the process ends.
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

# The layer of a wheel; a source tree has none.
PACKAGED = sources.PACKAGE / "layer"

_guard = threading.RLock()  # a finalizer that sorts may run at any line
# The temporary store, by the folder that it replaces and by the process. A forked child has its own
# one, because the parent removes its store when it ends.
_temporary: dict[tuple[Path, int], Store] = {}
# Cache folders from which nothing is loaded, because other users can write them.
_foreign: set[Path] = set()
# Layers whose libraries do not load here.
_unusable: set[Path] = set()


def all_layers() -> list[Store]:
    """Return the layers: the package's own, then those of ``WARP_SORT_CACHE_LAYERS``."""
    packaged = Store(PACKAGED, is_layer=True, is_ours=True, is_for_gpus=PACKAGED in _unusable)
    shared = (
        Store(root, is_layer=True, is_for_gpus=root in _unusable)
        for root in settings.cache_layers()
    )
    return [packaged, *shared]


def user_store() -> Store:
    """Return the user's cache."""
    return Store(settings.cache_dir(), home=settings.cache_home())


def stores() -> list[Store]:
    """Return the stores of artifacts built here; missing ones are built into the last store."""
    store = user_store()
    temporary = _temporary.get((store.root, os.getpid()))
    if temporary is None:
        return [store]
    return [temporary] if store.root in _foreign else [store, temporary]


def look_up(
    artifacts: Sequence[Artifact],
    layers: Sequence[Store],
    stores: Sequence[Store],
    tools: Tools | None = None,
) -> dict[str, Entry]:
    """Return the entries of artifacts, by name, that a layer or a store has.

    Parameters
    ----------
    artifacts : sequence of Artifact
        What is wanted.
    layers : sequence of Store
        The layers, which come first.
    stores : sequence of Store
        The stores of what was built here.
    tools : Tools, optional
        The compilers, whose versions are part of the key. If not given, nothing is run: the entry
        of a compiler whose version is not remembered is not found.

    Raises
    ------
    ToolError, TrustError
        As `loader.open_kernel` does.
    """
    if any(recipe_of(artifact.target).is_library for artifact in artifacts):
        for layer in layers:
            _warn_of_noexec(layer)
    tools = Tools(stores) if tools is None else tools
    found: dict[str, Entry] = {}
    for artifact in artifacts:
        entry = _find(artifact, layers, stores, tools)
        if entry is not None:
            found[artifact.name] = entry
    return found


def _find(
    artifact: Artifact, layers: Sequence[Store], stores: Sequence[Store], tools: Tools
) -> Entry | None:
    text = build_text(artifact)
    for layer in layers:
        entry = layer.find(artifact, text, None)
        if entry is not None:
            return entry
    tool = tools.find(artifact)
    if tool is None:
        return None
    found = (store.find(artifact, text, tool.version) for store in stores)
    return next(filter(None, found), None)


def holder(artifact: Artifact, layers: Sequence[Store], stores: Sequence[Store]) -> Store | None:
    """Return the layer or store that has an artifact, as far as `look_up` finds it."""
    entry = look_up([artifact], layers, stores).get(artifact.name)
    if entry is None:
        return None
    return next(store for store in (*layers, *stores) if store.base in entry.folder.parents)


def disable_layer(library: Path, reason: str) -> bool:
    """Load no library of a layer whose runtime does not load on this machine; warn once.

    Its kernels for GPUs are still used.

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
    layer = next((layer for layer in all_layers() if layer.base in library.parents), None)
    if layer is not None:
        _disable(
            layer,
            f"the runtime in the layer {layer.root} does not load on this machine ({reason}), so "
            f"that layer is left out: only its kernels for GPUs are used.",
        )
    return layer is not None


def _warn_of_noexec(layer: Store) -> None:
    """Warn once if a layer is on a noexec file system, from which no library can be loaded."""
    if is_noexec(layer.root) and layer.base.is_dir():
        _disable(
            layer,
            f"the layer {layer.root} is on a file system that is mounted noexec, so that no "
            f"library can be loaded from there: only its kernels for GPUs are used. Copy the layer "
            f"to another file system.",
        )


def _disable(layer: Store, warning: str) -> None:
    if layer.root not in _unusable:
        _unusable.add(layer.root)
        warn(warning)


def use_temporary_store(error: CacheError | TrustError, tried: Store) -> bool:
    """Build missing artifacts into a temporary folder from now on; warn once.

    Parameters
    ----------
    error : CacheError or TrustError
        Why the user's cache cannot be written, or nothing is loaded from it.
    tried : Store
        The store that was to be written.

    Returns
    -------
    bool
        False where such a folder cannot be made, or would not help.
    """
    root = settings.cache_dir()
    key = root, os.getpid()
    if isinstance(error, TrustError):
        # If a setting names the folder, the user is told that it is not used.
        if error.root != root or settings.cache_home() is None:
            return False
        _foreign.add(root)
    elif tried.root != root:
        return False  # that was the temporary folder
    with _guard:
        if key in _temporary:
            return True  # another thread has made it
        try:
            parent = temporary_parent()
            if parent is None:
                return False
            folder = Path(tempfile.mkdtemp(prefix="warp-sort-", dir=parent))
        except OSError:
            return False
        _temporary[key] = Store(folder)
    _remove_at_exit(folder)
    warn(
        f"{str(error).rstrip('.')}. Until then kernels are compiled anew in every process, into "
        f"{folder}."
    )
    return True


def _remove_at_exit(folder: Path) -> None:
    """Have a folder removed when this process ends."""
    owner = os.getpid()

    def remove() -> None:
        # A forked child also runs this when it ends, but the folder belongs to its parent.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    processes = sys.modules.get("multiprocessing.util")
    if processes is not None:
        # Processes of multiprocessing end without running what atexit knows.
        processes.Finalize(None, remove, exitpriority=0)
