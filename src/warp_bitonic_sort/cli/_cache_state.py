"""What ``doctor`` knows about the cache and its layers.

Invariant: nothing raises, and nothing is written but a temporary file that tells whether the cache
can be written.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .. import settings
from ..errors import BuildError, TrustError
from ..jit.store import inventory, layers, maintenance
from ..jit.store.mounts import is_noexec, temporary_parent
from ..jit.store.permissions import check_writers
from ._problem import Facts, Problem, attempt, problem_of


def has_layer() -> bool:
    """Tell whether a layer holds kernels, which need no compiler."""
    try:
        return any(inventory.entries(layer.root) for layer in layers.all_layers())
    except BuildError:  # reported with the cache
        return False


def cache(problems: list[Problem]) -> Facts | None:
    return attempt(
        lambda: _cache_facts(settings.cache_dir(), problems),
        problems,
        "set WARP_SORT_CACHE_DIR to a folder that this user can write",
    )


def _cache_facts(root: Path, problems: list[Problem]) -> Facts:
    reason = _unwritable(root)
    if reason is not None:
        problems.append(
            Problem(
                f"the cache folder {root} cannot be written ({reason}), so that kernels are "
                "compiled anew in every process",
                "set WARP_SORT_CACHE_DIR to a folder that this user can write",
                blocking=False,
            )
        )
    if is_noexec(root):
        parent = temporary_parent()
        where = f"in {parent}, anew in every process" if parent else "nowhere"
        problems.append(
            Problem(
                f"the cache folder {root} is on a file system that is mounted noexec, so that no "
                f"library can be loaded from there and kernels are compiled {where}",
                "set WARP_SORT_CACHE_DIR to a folder on another file system",
                blocking=parent is None,
            )
        )
    # A default folder that is refused is replaced by a temporary one.
    is_named = settings.cache_home() is None
    known = len(problems)
    attempt(lambda: check_writers(root, root), problems, "chmod go-w it", is_named)
    litter: list[Path] = []
    if len(problems) == known:
        fix = "let only this user write there"
        litter = attempt(lambda: maintenance.litter(root), problems, fix, blocking=False) or []
    if litter:
        size = sum(map(inventory.size_of, litter))
        problems.append(
            Problem(
                f"{len(litter)} files and folders ({size:,} bytes) are left in the cache "
                "of builds that were killed",
                "warp-bitonic-sort cache prune",
                blocking=False,
            )
        )
    entries = inventory.entries(root)
    return {
        "path": str(root),
        "exists": root.is_dir(),
        "writable": reason is None,
        "entries": len(entries),
        "bytes": sum(entry.size for entry in entries),
        "left": [str(path) for path in litter],
        "layers": _layers(problems),
    }


def _layers(problems: list[Problem]) -> dict[str, int]:
    """Return how many artifacts each layer holds."""
    counts: dict[str, int] = {}
    for layer in layers.all_layers():
        if layer.root == layers.PACKAGED and not layer.base.is_dir():
            continue
        unreadable = _unreadable(layer.base / "entries")
        entries = inventory.entries(layer.root)
        counts[str(layer.root)] = len(entries)
        if unreadable:
            problems.append(
                Problem(
                    f"WARP_SORT_CACHE_LAYERS: {unreadable}",
                    "let its owner make it readable (chmod -R go+rX), or take it off the list",
                    blocking=False,
                )
            )
        elif (why := inventory.why_no_layer(layer.root)) is not None:
            problems.append(
                Problem(
                    f"WARP_SORT_CACHE_LAYERS: {why}",
                    "name a folder that warp-bitonic-sort prewarm --into has filled, or take it "
                    "off the list",
                    blocking=False,
                )
            )
        elif layer.root != layers.PACKAGED:
            refusal = inventory.permission_error(entries)
            if refusal is not None:
                problems.append(problem_of(TrustError(refusal), "chmod go-w it"))
            if is_noexec(layer.root):
                problems.append(
                    Problem(
                        f"WARP_SORT_CACHE_LAYERS: {layer.root} is on a file system that is mounted "
                        "noexec, so that only its kernels for GPUs are used",
                        "copy it to another file system",
                        blocking=False,
                    )
                )
    return counts


def _unreadable(folder: Path) -> str | None:
    """Return why a folder cannot be read, or None if it can be read or does not exist."""
    try:
        os.listdir(folder)  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror}"
    return None


def _unwritable(root: Path) -> str | None:
    """Return why nothing can be written below a folder that may not exist yet, or None."""
    home = settings.cache_home()
    if home is not None and not home.is_dir():
        return f"the home folder does not exist ({home})"
    parent = root
    while not os.path.lexists(parent) and parent != parent.parent:
        parent = parent.parent
    try:
        # Permissions are not enough: a disk may be full or mounted read-only.
        with tempfile.TemporaryFile(dir=parent) as file:
            file.write(b"\0")
    except OSError as error:
        return f"{error.strerror or error} ({parent})"
    return None
