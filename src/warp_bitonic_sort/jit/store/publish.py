"""What is put into a cache: tools' answers, staged builds, entries, logs of builds that failed.

Invariant: a build is made in a private folder, and an entry is renamed into place as a whole, with
the digest of everything that the compiler says it has read; what was changed meanwhile, or is for
another machine, is not published. Whatever cannot be written is one error (`CacheError`) that says
where and what would help. Most processes write nothing, and do without this module.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ... import settings
from ...errors import BuildError, CacheError, EvictedError
from ...kernels import Artifact
from ...targets import arch_of, recipe_of
from ...targets.common import sources as _sources
from ...targets.common.recipe import DEPFILE
from . import locks
from .files import digest, file_digest, make_folder, protect, stamp, write_json
from .key import SCHEMA, Tokens, entry_key, layer_key_text
from .permissions import check_no_links, check_writers
from .store import Entry, Store, is_utf8

# In a staging folder of a user's own cache: held for as long as its build runs.
OWNER_LOCK = "owner.lock"


def remember(cache: Store, identity: str, value: str) -> None:
    """Keep a tool's answer; it is valid for as long as the tool's identity stays the same.

    A cache that cannot be written may still hold the entry that is wanted, so that is no error.
    """
    with contextlib.suppress(OSError, CacheError):
        _folder(cache, "tools")
        write_json(cache.tool_file(identity), {"identity": identity, "value": value})


@contextlib.contextmanager
def locked(cache: Store, artifacts: Sequence[Artifact]) -> Iterator[None]:
    """Hold the locks of several artifacts; the kernel releases them when the holder dies.

    In a folder that is filled for other users there are none: any reader could hold them.
    """
    with contextlib.ExitStack() as stack:
        if not cache.is_shared:
            with _writing(cache):
                folder = _folder(cache, "locks")
                names = [artifact.name for artifact in artifacts]
                stack.enter_context(locks.acquire_all(folder, names))
        yield


def staging_prefix() -> str:
    """Return how the name of a staging folder begins: with its process and its machine."""
    return f"{os.getpid()}-{locks.machine()}-"


@contextlib.contextmanager
def staging(cache: Store, files: Mapping[str, str]) -> Iterator[Path]:
    """Make a private folder of these files on the cache's own file system, for a while."""
    with contextlib.ExitStack() as stack:
        with _writing(cache):
            parent = _folder(cache, "staging")
            is_ours: bool | None = False
            while is_ours is False:  # where another process prunes in the very moment
                folder = Path(tempfile.mkdtemp(prefix=staging_prefix(), dir=parent))
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                is_ours = None
                if not cache.is_shared:
                    is_ours = stack.enter_context(locks.try_acquire(folder / OWNER_LOCK))
            for name, text in files.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        yield folder


def publish(
    cache: Store,
    artifact: Artifact,
    text: str,
    compiler: str,
    staged: Path,
    sources: Mapping[str, str],
    seconds: float,
) -> Entry:
    """Complete a staged and already loaded build with its manifest and rename it into place.

    Parameters
    ----------
    cache : Store
        Where to.
    artifact : Artifact
        What was built.
    text : str
        Its build text.
    compiler : str
        The version of the compiler that built it.
    staged : Path
        The folder it was built in.
    sources : mapping of str to str
        What `source_digests` returned before the build began.
    seconds : float
        How long the build took.

    Raises
    ------
    BuildError
        A source was changed while it was being compiled, or what came out is for another
        machine.
    CacheError
        The cache cannot be written.
    """
    recipe = recipe_of(artifact.target)
    tokens = Tokens(recipe.include_dirs())
    depfile = staged / DEPFILE
    listed = _parse_depfile(depfile.read_text(encoding="utf-8", errors="surrogateescape"))
    # A line each: "digest size mtime ctime inode path".
    dependencies: list[str] = []
    digests: list[tuple[str, str]] = []
    for path in listed:
        # The translation unit is in the build text; its own folder is about to move.
        if not path.endswith(f"{artifact.name}/{recipe.source}"):
            # Where the path is relative, it is relative to the folder that ninja ran in.
            absolute = _plain(os.path.join(staged.parent, path))  # noqa: PTH118
            try:
                state = os.stat(absolute)  # noqa: PTH116 - hundreds of files: Path costs
                found = file_digest(Path(absolute))
            except OSError as error:
                raise BuildError(
                    f"compiling {artifact.name}: {absolute} cannot be read, which the compiler "
                    f"says it has read: {error.strerror}. Call again."
                ) from error
            if sources.get(absolute, found) != found:
                raise BuildError(
                    f"compiling {artifact.name}: {absolute} was changed meanwhile, so nobody "
                    f"knows which of its contents the library is made of. Call again."
                )
            path = tokens.abstract(absolute)
            dependencies.append(f"{found} {stamp(state)} {path}")
            digests.append((path, found))
    wanted = digest(text.encode())
    library = (staged / recipe.product).read_bytes()
    if not recipe.is_for(library, artifact.arch):
        raise BuildError(
            f"compiling {artifact.name}: what the compiler made is for "
            f"{arch_of(library) or 'an unknown machine'}, not for {artifact.arch}. "
            f"Look at what it is: {compiler.splitlines()[0] if compiler else 'not known'}."
        )
    with _writing(cache):
        write_json(
            staged / "manifest.json",
            {
                "schema": SCHEMA,
                "name": artifact.name,
                "target": artifact.target,
                "arch": artifact.arch,
                "build": wanted,
                "portable": digest(layer_key_text(text).encode()),
                "text": json.loads(text),
                "compiler": compiler,
                "library": digest(library),
                "dependencies": dependencies,
                "seconds": round(seconds, 3),
                "created": int(time.time()),
            },
        )
        depfile.unlink()
        for each in (staged, *staged.iterdir()):
            # Whatever the umask is, a reader accepts it, and others read what is shared.
            protect(each, cache.is_shared)
        seen = stamp((staged / recipe.product).stat())
        folder = _folder(cache, "entries", artifact.name)
        entry = Entry(folder / entry_key(wanted, compiler, digests), artifact.target, seen)
        try:
            staged.rename(entry.folder)
        except OSError:
            # What lies there is damaged; or, under a lock that does not lock (some network
            # file systems), somebody else published the same content first.
            there = cache.find(artifact, text, compiler)
            if there is not None:
                return there
            # It goes with the staging folder, whatever it is.
            with contextlib.suppress(FileNotFoundError):
                entry.folder.rename(staged.with_name(f"{artifact.name}.replaced"))
            _folder(cache, "entries", artifact.name)  # which another process may have cleared
            staged.rename(entry.folder)
    return entry


def keep_log(cache: Store, name: str, log: str) -> Path:
    """Keep the whole output of a failed build and return the file."""
    with _writing(cache):
        folder = _folder(cache, "logs")
        moment = time.strftime("%Y%m%d-%H%M%S")
        descriptor, file = tempfile.mkstemp(dir=folder, prefix=f"{name}-{moment}-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(log)
    return Path(file)


def source_digests() -> dict[str, str]:
    """Return the digest of every file that the package compiles, by path."""
    digests: dict[str, str] = {}
    for file in map(str, sorted(_sources.source_files())):
        with contextlib.suppress(OSError):  # what has gone, the compiler will miss and say so
            digests[file] = file_digest(Path(file))
    return digests


def _folder(cache: Store, *names: str) -> Path:
    """Return a folder of the cache, making it and the root."""
    folder = cache.base.joinpath(*names)
    settings.refuse_control_characters(cache.setting, str(cache.root), CacheError)
    if not is_utf8(cache.root):
        raise OSError(errno.EILSEQ, "its name is not UTF-8, and nothing loads from there")
    # Before anything is made where another user's link may lead, or built that could not be
    # loaded.
    check_writers(folder, cache.root)
    check_no_links(folder, cache.root, "written to")
    if not folder.is_dir():
        if not cache.root.is_dir():
            if cache.home is not None and not cache.home.is_dir():
                missing = "the home folder does not exist"
                raise FileNotFoundError(errno.ENOENT, missing, str(cache.home))
            make_folder(cache.root.parent, cache.is_shared)
            if not cache.is_shared:
                cache.root.mkdir(0o700, exist_ok=True)
        make_folder(folder, cache.is_shared)
        check_writers(folder, cache.root)  # as it is now that all of it is there
    return folder


@contextlib.contextmanager
def _writing(cache: Store) -> Iterator[None]:
    """Turn a failure to write into the one error that says where and what would help.

    A folder that is not there may have been removed by another process just now.
    """
    try:
        yield
    except OSError as error:
        is_gone = error.errno in (errno.ENOENT, errno.ESTALE)
        raise (EvictedError if is_gone else CacheError)(
            f"the cache folder {cache.root} cannot be written: "
            f"{error.strerror or error} ({error.filename or cache.root}). "
            f"Set {cache.setting} to a folder that this user can write."
        ) from None


def _parse_depfile(text: str) -> list[str]:
    """Return the prerequisites that a compiler's Makefile-style list names."""
    _, _, listed = text.replace("\\\n", " ").partition(": ")
    paths: list[str] = []
    word = ""
    characters = iter(listed.strip())
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            # make escapes spaces and hashes with a backslash; any other backslash is itself
            word += following if following in " #\\" else character + following
        elif character == "$":
            word += next(characters, "")  # and a dollar with another
        elif character.isspace():
            if word:
                paths.append(word)
            word = ""
        else:
            word += character
    return [*paths, word] if word else paths


def _plain(path: str) -> str:
    """Return a path without ``..``, where that is another name of the same file."""
    plain = os.path.normpath(path)
    if ".." in path:
        try:
            # What comes after a link is below the folder that this leads to.
            return plain if os.path.samefile(plain, path) else path  # noqa: PTH121
        except OSError:
            return path
    return plain
