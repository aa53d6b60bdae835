"""Writes into a store: the answers of compilers, staged builds, entries, logs of failed builds.

Invariant: a build is made in a private folder. An entry is renamed into place as a whole, with the
digest of every header that the compiler read. A build whose headers were changed meanwhile, or
whose product is for a different machine, is not published. A failure to write is one error,
`CacheError`, that says where and what would help.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ... import settings
from ...errors import BuildError, CacheError, EvictedError
from ...kernels import Artifact
from ...targets import arch_of, recipe_of
from ...targets.common.recipe import DEPFILE
from ...targets.common.sources import source_files
from . import locks
from .files import digest, file_digest, make_folder, protect, stamp, write_json
from .key import SCHEMA, entry_key, layer_key_text, with_token
from .permissions import check_no_links, check_writers
from .store import Entry, Store, is_utf8

# In a staging folder of a user's own store: held while its build runs.
OWNER_LOCK = "owner.lock"


def remember(store: Store, identity: str, value: str) -> None:
    """Keep a compiler's answer, which is valid as long as the compiler's identity stays the same.

    A store that cannot be written may still hold the wanted entry, so that is no error.
    """
    with contextlib.suppress(OSError, CacheError):
        _folder(store, "tools")
        write_json(store.tool_file(identity), {"identity": identity, "value": value})


@contextlib.contextmanager
def locked(store: Store, artifacts: Sequence[Artifact]) -> Iterator[None]:
    """Hold the locks of several artifacts; the kernel releases them when the holder dies.

    A store that is filled for other users has no locks, for any reader could hold them.
    """
    with contextlib.ExitStack() as stack:
        if not store.is_shared:
            with _writing(store):
                names = [artifact.name for artifact in artifacts]
                stack.enter_context(locks.acquire_all(_folder(store, "locks"), names))
        yield


def staging_prefix() -> str:
    """Return the beginning of a staging folder's name: its process and its machine."""
    return f"{os.getpid()}-{locks.machine()}-"


@contextlib.contextmanager
def staging(store: Store, files: Mapping[str, str]) -> Iterator[Path]:
    """Make a private folder of files on the store's file system; remove it at the end."""
    with contextlib.ExitStack() as stack:
        with _writing(store):
            parent = _folder(store, "staging")
            is_held: bool | None = False
            while is_held is False:  # another process may prune at this moment
                folder = Path(tempfile.mkdtemp(prefix=staging_prefix(), dir=parent))
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                is_held = None
                if not store.is_shared:
                    is_held = stack.enter_context(locks.try_acquire(folder / OWNER_LOCK))
            for name, text in files.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        yield folder


def publish(
    store: Store,
    artifact: Artifact,
    text: str,
    compiler: str,
    staged: Path,
    sources: Mapping[Path, str],
    seconds: float,
) -> Entry:
    """Add the manifest to a staged build that was loaded, and rename the build into place.

    Parameters
    ----------
    store : Store
        The store.
    artifact : Artifact
        What was built.
    text : str
        Its build text.
    compiler : str
        The version of the compiler that built it.
    staged : Path
        The folder that it was built in.
    sources : mapping of Path to str
        What `source_digests` returned before the build began.
    seconds : float
        How long the build took.

    Raises
    ------
    BuildError
        A source was changed while it was compiled, or the product is for a different machine.
    CacheError
        The store cannot be written.
    """
    product = staged / recipe_of(artifact.target).product
    library = _checked_product(artifact, product, compiler)
    dependencies = _dependencies(artifact, staged, sources)
    build = digest(text.encode())
    manifest = {
        "schema": SCHEMA,
        "name": artifact.name,
        "target": artifact.target,
        "arch": artifact.arch,
        "build": build,
        "layer_build": digest(layer_key_text(text).encode()),
        "text": json.loads(text),
        "compiler": compiler,
        "library": digest(library),
        "dependencies": dependencies,
        "seconds": round(seconds, 3),
        "created": int(time.time()),
    }
    with _writing(store):
        write_json(staged / "manifest.json", manifest)
        (staged / DEPFILE).unlink()
        for path in (staged, *staged.iterdir()):
            protect(path, store.is_shared)
        seen = stamp(product.stat())
        folder = _folder(store, "entries", artifact.name)
        entry = Entry(folder / entry_key(build, compiler, dependencies), artifact.target, seen)
        try:
            staged.rename(entry.folder)
        except OSError:
            # There is an entry: a damaged one, or that of another process under a lock that does
            # not lock, as on some network file systems.
            found = store.find(artifact, text, compiler)
            if found is not None:
                return found
            # Moved into the staging folder, it is removed with that.
            with contextlib.suppress(FileNotFoundError):
                entry.folder.rename(staged.with_name(f"{artifact.name}.replaced"))
            _folder(store, "entries", artifact.name)  # another process may have cleared it
            staged.rename(entry.folder)
    return entry


def _checked_product(artifact: Artifact, product: Path, compiler: str) -> bytes:
    """Return the bytes of a product; raise BuildError if it is for a different machine."""
    library = product.read_bytes()
    if not recipe_of(artifact.target).is_for(library, artifact.arch):
        raise BuildError(
            f"compiling {artifact.name}: what the compiler made is for "
            f"{arch_of(library) or 'an unknown machine'}, not for {artifact.arch}. Use a compiler "
            f"for {artifact.arch} (for a CPU, CXX names it). This one is: "
            f"{compiler.splitlines()[0] if compiler else 'not known'}."
        )
    return library


def _dependencies(artifact: Artifact, staged: Path, sources: Mapping[Path, str]) -> dict[str, str]:
    """Return the digests of the headers that a compiler read, by their paths with tokens."""
    recipe = recipe_of(artifact.target)
    folders = recipe.include_dirs()
    depfile = (staged / DEPFILE).read_text(encoding="utf-8", errors="surrogateescape")
    dependencies: dict[str, str] = {}
    for name in _parse_depfile(depfile):
        # The translation unit is in the build text, and its folder is about to move.
        if name.endswith(f"{artifact.name}/{recipe.source}"):
            continue
        header = staged.parent / name  # ninja runs in that folder
        try:
            found = file_digest(header)
            expected = sources.get(header.resolve(), found)
        except OSError as error:
            raise BuildError(
                f"compiling {artifact.name}: {header} cannot be read, which the compiler says it "
                f"has read: {error.strerror}. Call again."
            ) from error
        if found != expected:
            raise BuildError(
                f"compiling {artifact.name}: {header} was changed meanwhile, so which of its "
                f"contents was compiled is not known. Call again."
            )
        dependencies[with_token(header, folders)] = found
    return dependencies


def keep_log(store: Store, name: str, log: str) -> Path:
    """Keep the whole output of a failed build and return the file."""
    with _writing(store):
        folder = _folder(store, "logs")
        moment = time.strftime("%Y%m%d-%H%M%S")
        descriptor, file = tempfile.mkstemp(dir=folder, prefix=f"{name}-{moment}-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(log)
    return Path(file)


def source_digests() -> dict[Path, str]:
    """Return the digest of every file of the package that a compiler may read."""
    digests: dict[Path, str] = {}
    for file in source_files():
        with contextlib.suppress(OSError):  # the compiler will miss it and say so
            digests[file] = file_digest(file)
    return digests


def _folder(store: Store, *names: str) -> Path:
    """Return a folder of a store, making it and the root."""
    folder = store.base.joinpath(*names)
    settings.refuse_control_characters(store.setting, str(store.root), CacheError)
    if not is_utf8(store.root):
        raise OSError(errno.EILSEQ, "its name is not UTF-8, and nothing loads from there")
    # Before anything is made where another user's link may lead, or built that is not loaded.
    check_writers(folder, store.root)
    check_no_links(folder, store.root, "written to")
    if not folder.is_dir():
        if not store.root.is_dir():
            if store.home is not None and not store.home.is_dir():
                missing = "the home folder does not exist"
                raise FileNotFoundError(errno.ENOENT, missing, str(store.home))
            make_folder(store.root.parent, store.is_shared)
            if not store.is_shared:
                store.root.mkdir(0o700, exist_ok=True)
        make_folder(folder, store.is_shared)
        check_writers(folder, store.root)  # again, now that all of it exists
    return folder


@contextlib.contextmanager
def _writing(store: Store) -> Iterator[None]:
    """Turn a failure to write into the one error that says where and what would help.

    A folder that does not exist may have been removed by another process just now.
    """
    try:
        yield
    except OSError as error:
        is_gone = error.errno in (errno.ENOENT, errno.ESTALE)
        raise (EvictedError if is_gone else CacheError)(
            f"the cache folder {store.root} cannot be written: "
            f"{error.strerror or error} ({error.filename or store.root}). "
            f"Set {store.setting} to a folder that this user can write."
        ) from None


def _parse_depfile(text: str) -> list[str]:
    """Return the prerequisites that a compiler's list names in the format of make."""
    _, _, listed = text.replace("\\\n", " ").partition(": ")
    # A backslash escapes a space, a hash or a backslash; a dollar is doubled.
    words = re.findall(r"(?:\\[ #\\]|\$\S|\S)+", listed)
    return [re.sub(r"\\([ #\\])|\$(\S)", lambda found: found[1] or found[2], w) for w in words]
