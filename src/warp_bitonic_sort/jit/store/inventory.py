"""What lies in a cache or layer, and whether it is sound.

Invariant: nothing is changed, and no entry is read that would not be loaded because another user
can write it. All of it may go at any time: what is gone is passed over, and so is what this user
may not read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import TrustError
from ...targets import RECIPES, arch_of
from . import layers
from .files import digest, read_file, read_json
from .key import entry_key, layer_key_text
from .permissions import check_writers
from .store import LAYOUT, is_utf8, unloadable


@dataclass(frozen=True)
class EntryInfo:
    """An entry, as its folder and its manifest describe it.

    Parameters
    ----------
    root : Path
        The cache or layer that holds it.
    name, key : str
        The artifact's name, and what tells its entry from others of that name.
    target, arch : str
        What it is, and for which target; ``?`` where its manifest cannot be read.
    size : int
        Bytes of all its files.
    created, used : float
        When it was built, and when its library was last read as far as the file system keeps that
        (most note it once a day); seconds since 1970.
    refused : str or None
        Why it is not loaded, and was not read: another user can write it.
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


def paths_in(folder: Path) -> list[Path]:
    """Return what lies in a folder, by name; nothing where it cannot be read."""
    try:
        return sorted(folder / name for name in os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []


def below(folder: Path) -> Iterator[Path]:
    """Yield all folders and files in a folder and in those."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in folders + files)


def size_of(folder: Path) -> int:
    """Return how many bytes all files in a folder have."""
    total = 0
    for path in below(folder):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def why_no_layer(root: Path) -> str | None:
    """Return why a folder that was named for a layer is none; None where it is one.

    A folder that this user may not read may be one.
    """
    try:
        os.stat(root / LAYOUT)  # noqa: PTH116 - Path is used for names here
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError:
        return None
    else:
        return None
    if root.name == LAYOUT and os.path.isdir(root / "entries"):  # noqa: PTH112
        return f"{root} is the inside of a layer: name {root.parent}"
    if not os.path.isdir(root):  # noqa: PTH112
        return f"{root} {'is no folder' if os.path.lexists(root) else 'does not exist'}"
    return f"{root} holds no kernels"


def entries(root: Path) -> list[EntryInfo]:
    """Return the entries of a cache or layer, by name and then by age."""
    found = [item for folder in paths_in(root / LAYOUT / "entries") for item in _of(root, folder)]
    return sorted(found, key=lambda item: (item.name, item.created))


def _of(root: Path, artifact: Path) -> Iterator[EntryInfo]:
    for folder in paths_in(artifact):
        with contextlib.suppress(OSError):
            if os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where none may look
                yield _item(root, folder)


def why_unused(root: Path, name: str) -> str | None:
    """Return why what a cache has of an artifact was not taken; None where it has nothing of it.

    Only for messages: every byte of it is read.
    """
    there = list(_of(root, root / LAYOUT / "entries" / name))
    if not there:
        return None
    reasons = [reason for item in there if (reason := verify(item)) is not None]
    if reasons:
        return f"damaged: {reasons[0]}; warp-bitonic-sort cache verify lists what is"
    return "made of other sources or with other flags, as by another version of this package"


def why_unreadable(root: Path, name: str) -> str | None:
    """Return what of an artifact's entries cannot be read or loaded, and why, or None.

    Only for messages: a look-up takes what it cannot read for what is not there.
    """
    folder = root / LAYOUT / "entries" / name
    if not is_utf8(root):
        return f"{root} cannot be read: its name is not UTF-8"
    try:
        for key in os.listdir(folder):  # noqa: PTH208 - as a look-up does
            for file in (folder / key).iterdir():
                read_file(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    for library, (_, reason) in list(unloadable.items()):
        if folder in Path(library).parents:
            return f"{library} does not load: {reason}"
    return None


def _item(root: Path, folder: Path) -> EntryInfo:
    refused = _refusal(folder / "manifest.json", root)
    manifest = (None if refused else read_json(folder / "manifest.json")) or {}
    target, arch, created = (manifest.get(field) for field in ("target", "arch", "created"))
    stat = folder.stat()
    recipe = RECIPES.get(target) if isinstance(target, str) else None
    product = folder / (recipe.product if recipe is not None else "library.so")
    refused = refused or _refusal(product, root)
    with contextlib.suppress(OSError):
        stat = product.stat()
    # A time that no clock shows is not believed, nor a target that no terminal prints.
    made = stat.st_mtime
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
        used=max(made, stat.st_atime),
        refused=refused,
    )


def _refusal(file: Path, root: Path) -> str | None:
    """Return why a file of an entry is not loaded, or None: what the package brings always is."""
    if root != layers.PACKAGED:
        try:
            check_writers(file, root)
        except TrustError as error:
            return str(error)
    return None


def permission_error(found: Iterable[EntryInfo]) -> str | None:
    """Return why nothing is loaded from the cache of some entries: another user can write there."""
    return next((item.refused for item in found if item.refused is not None), None)


def verify(item: EntryInfo) -> str | None:
    """Return what is wrong with an entry, every byte of which is read, or None.

    An entry that is refused is not read. Headers are not looked at: an entry whose headers have
    changed is sound, and merely not used.
    """
    if item.refused is not None:
        return item.refused
    manifest = read_json(item.folder / "manifest.json")
    if manifest is None:
        return "its manifest cannot be read"
    recipe = RECIPES.get(item.target)
    if manifest.get("name") != item.name or recipe is None:
        return "its manifest is another artifact's"
    try:
        library = _looked_at(item.folder / recipe.product)
    except OSError as error:
        return f"its product cannot be read ({error.strerror})"
    if digest(library) != manifest.get("library"):
        return "its product is not what was published: its bytes have changed"
    if not recipe.is_for(library, item.arch) and item.arch not in ("host", "generic"):
        return f"its product is for {arch_of(library)}, not for {item.arch}"
    try:
        if not _is_published(manifest, item):
            return "its manifest is not what was published"
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return "its manifest is not what was published"
    return None


def _looked_at(file: Path) -> bytes:
    """Return a file's bytes, with which it has not been used: prune goes by when it was read."""
    try:
        # Of one's own files alone.
        return read_file(file, getattr(os, "O_NOATIME", 0))
    except PermissionError:
        return read_file(file)


def _is_published(manifest: Mapping[str, Any], item: EntryInfo) -> bool:
    """Tell whether an entry's key, which is its folder's name, is that of its manifest."""
    parts, build = manifest["text"], manifest["build"]
    text = json.dumps(parts, sort_keys=True)
    lines = manifest["dependencies"]
    dependencies = [(line.split(" ", 5)[5], line.split(" ", 1)[0]) for line in lines]
    return (
        entry_key(build, manifest["compiler"], dependencies) == item.key
        and build == digest(text.encode())
        and manifest["portable"] == digest(layer_key_text(text).encode())
        and (parts["name"], parts["arch"]) == (item.name, item.arch)
        and parts["rule"].startswith(f"rule {item.target}_")
    )
