"""Lists the entries of a store, and tells whether they are sound.

Invariant: nothing is changed, and no entry is read that another user can write. An entry may be
removed at any time: it is left out then, and so is one that this user may not read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import TrustError
from ...targets import RECIPES, arch_of, recipe_of
from . import layers
from .files import digest, paths_in, read_file, read_json
from .key import entry_key, layer_key_text
from .permissions import check_writers
from .store import LAYOUT, is_utf8, unloadable


@dataclass(frozen=True)
class EntryInfo:
    """An entry, as its folder and its manifest describe it.

    Parameters
    ----------
    root : Path
        The store that holds it.
    name, key : str
        The artifact's name, and the key among entries of that name.
    target, arch : str
        The recipe and the architecture; ``?`` where the manifest cannot be read.
    size : int
        Bytes of all its files.
    created, used : float
        When it was built, and when its product was last read, in seconds since 1970. Most file
        systems note a reading once a day.
    refused : str or None
        Why it is not loaded and was not read: another user can write it.
    """

    root: Path
    name: str
    key: str
    target: str
    arch: str
    size: int
    created: float
    used: float
    refused: str | None = None

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.root / LAYOUT / "entries" / self.name / self.key


def below(folder: Path) -> Iterator[Path]:
    """Yield all folders and files below a folder."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in folders + files)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all that lies below a folder; a link is not followed."""
    total = 0
    with contextlib.suppress(OSError):
        state = path.lstat()
        if not stat.S_ISDIR(state.st_mode):
            return state.st_size
    for inner in below(path):
        with contextlib.suppress(OSError):
            total += inner.lstat().st_size
    return total


def why_no_layer(root: Path) -> str | None:
    """Return why a folder is no layer; None where it is one, or this user may not read it."""
    try:
        if (root / LAYOUT).exists():
            return None
    except OSError:
        return None
    if root.name == LAYOUT and (root / "entries").is_dir():
        return f"{root} is the inside of a layer: name {root.parent}"
    if not root.is_dir():
        return f"{root} {'is no folder' if os.path.lexists(root) else 'does not exist'}"
    return f"{root} holds no kernels"


def entries(root: Path) -> list[EntryInfo]:
    """Return the entries of a store, by name and then by age."""
    folders = paths_in(root / LAYOUT / "entries")
    found = [entry for folder in folders for entry in _entries_in(root, folder)]
    return sorted(found, key=lambda entry: (entry.name, entry.created))


def _entries_in(root: Path, artifact: Path) -> Iterator[EntryInfo]:
    for folder in paths_in(artifact):
        with contextlib.suppress(OSError):
            if folder.is_dir():
                yield _entry_info(root, folder)


def why_unused(root: Path, name: str) -> str | None:
    """Return why no entry of an artifact in a store was taken; None where it has no entry.

    This is for messages only, for every byte of the entries is read.
    """
    found = list(_entries_in(root, root / LAYOUT / "entries" / name))
    if not found:
        return None
    reasons = [reason for entry in found if (reason := verify(entry)) is not None]
    if reasons:
        return f"damaged: {reasons[0]}; warp-bitonic-sort cache verify lists what is"
    return "made of other sources or with other flags, as by another version of this package"


def why_unreadable(root: Path, name: str) -> str | None:
    """Return which entry of an artifact cannot be read or loaded, and why, or None.

    This is for messages only: a look-up ignores an entry that it cannot read.
    """
    folder = root / LAYOUT / "entries" / name
    if not is_utf8(root):
        return f"{root} cannot be read: its name is not UTF-8"
    try:
        for entry in folder.iterdir():
            for file in entry.iterdir():
                read_file(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    for library, (_, reason) in list(unloadable.items()):
        if folder in library.parents:
            return f"{library} does not load: {reason}"
    return None


def _entry_info(root: Path, folder: Path) -> EntryInfo:
    refused = _permission_error(folder / "manifest.json", root)
    manifest = (None if refused else read_json(folder / "manifest.json")) or {}
    target, arch, created = (manifest.get(field) for field in ("target", "arch", "created"))
    state = folder.stat()
    recipe = recipe_of(target) if target in RECIPES else None
    product = folder / (recipe.product if recipe is not None else "library.so")
    refused = refused or _permission_error(product, root)
    with contextlib.suppress(OSError):
        state = product.stat()
    # A manifest may hold anything: a time that no clock shows, a name that no terminal prints.
    made = state.st_mtime
    if isinstance(created, int) and 0 <= created < 1 << 40:
        made = float(created)
    if not isinstance(arch, str) or not re.fullmatch(r"[\w.+-]{1,64}", arch, re.ASCII):
        arch = "?"
    return EntryInfo(
        root=root,
        name=folder.parent.name,
        key=folder.name,
        target="?" if recipe is None else recipe.name,
        arch=arch,
        size=size_of(folder),
        created=made,
        used=max(made, state.st_atime),
        refused=refused,
    )


def _permission_error(file: Path, root: Path) -> str | None:
    """Return why a file of an entry is not loaded, or None; the package's own layer is trusted."""
    if root != layers.PACKAGED:
        try:
            check_writers(file, root)
        except TrustError as error:
            return str(error)
    return None


def permission_error(found: Iterable[EntryInfo]) -> str | None:
    """Return why nothing is loaded from the store of some entries: another user can write there."""
    return next((entry.refused for entry in found if entry.refused is not None), None)


def verify(entry: EntryInfo) -> str | None:
    """Read every byte of an entry and return what is wrong with it, or None.

    An entry that another user can write is not read. Headers are not compared: an entry whose
    headers have changed is sound, and is not used.
    """
    if entry.refused is not None:
        return entry.refused
    manifest = read_json(entry.folder / "manifest.json")
    if manifest is None:
        return "its manifest cannot be read"
    recipe = recipe_of(entry.target) if entry.target in RECIPES else None
    if manifest.get("name") != entry.name or recipe is None:
        return "its manifest is another artifact's"
    try:
        library = _read_unused(entry.folder / recipe.product)
    except OSError as error:
        return f"its product cannot be read ({error.strerror})"
    if digest(library) != manifest.get("library"):
        return "its product is not what was published: its bytes have changed"
    # Before version 0.2, "host" stood for the machine of a runtime.
    if not recipe.is_for(library, entry.arch) and entry.arch not in ("host", "generic"):
        return f"its product is for {arch_of(library)}, not for {entry.arch}"
    try:
        if not _is_published(manifest, entry):
            return "its manifest is not what was published"
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return "its manifest is not what was published"
    return None


def _read_unused(file: Path) -> bytes:
    """Return a file's bytes without a new time of its last reading, which `prune` goes by."""
    try:
        # The system allows it for the user's own files alone.
        return read_file(file, getattr(os, "O_NOATIME", 0))
    except PermissionError:
        return read_file(file)


def _is_published(manifest: Mapping[str, Any], entry: EntryInfo) -> bool:
    """Tell whether an entry's key, which is its folder's name, is that of its manifest."""
    parts, build = manifest["text"], manifest["build"]
    text = json.dumps(parts, sort_keys=True)
    return (
        entry_key(build, manifest["compiler"], manifest["dependencies"]) == entry.key
        and build == digest(text.encode())
        and manifest["layer_build"] == digest(layer_key_text(text).encode())
        and (parts["name"], parts["arch"]) == (entry.name, entry.arch)
        and parts["rule"].startswith(f"rule {entry.target}_")
    )
