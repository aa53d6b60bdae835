"""The cache of compiled artifacts: keys, reading, publication.

Invariant: an entry is a folder that was built in private, loaded once, and then renamed into place;
from then on it is never modified. A reader trusts an entry only if everything that the compiler saw
is what it would see now, if the library's bytes are those that were published and for the target
that was asked for, and if nobody else can write them.

On disk, below the root::

    v1/entries/<artifact>/<key>/   library.so, kernel.cubin or kernel.hsaco; its source,
                                   manifest.json
    v1/locks/<artifact>.lock       held by the process that builds that artifact; .holder says which
    v1/staging/<unique>/           builds under way, each with a lock that its process holds: where
                                   nobody does, litter of a process that was killed
    v1/logs/                       the whole output of builds that failed
    v1/tools/                      what compilers answered to --version, and whether they build for
                                   an AMD GPU, by the binary's identity

The key is a digest of the *build text* (translation unit, ninja rule, target, options in CXX,
tvm-ffi's version for the launcher, CK_DIR for HIP kernels), of the compiler's version, and of every
file in the compiler's own list of dependencies. Folders that differ between machines stand in it as
tokens, so a moved installation still hits. On a machine without a compiler, any compiler's entry
will do: then its version is not asked for, nor are system headers that are not there.

A *layer* is such a folder that is only read: one that the package brings, or that somebody shares.
It was filled on another machine, so nobody asks for its compiler's version, for any
header but the package's own, nor for the release of tvm-ffi, whose C interface is stable, that the
launcher was built with.

Known gaps: a new header that would be found before one of the list, and environment variables that
change what a compiler does (CPATH, HIPCC_COMPILE_FLAGS_APPEND), are not seen.

A manifest also keeps each dependency's size, inode and times. They only spare the reading: when
they are what they were, so are the bytes; when they are not, the file is read and its digest
decides. A touched or copied header is therefore no reason to build again. Of the system's own
headers, which are nine tenths of the launcher's, first the folder is looked at: packages replace
files, which changes their folder's times, so where these are what they were, so are the headers.
That is so of root's own files, not of links, nor of what others can write: these are looked at
themselves. (Whoever edits one of the others in place, as root, is not seen until something in its
folder changes.)
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..records import Record
from . import code_object, toolchain
from .errors import BuildError, CacheError
from .files import (
    digest,
    file_digest,
    make_folder,
    protect,
    read_file,
    read_json,
    stamp,
    write_json,
)
from .spec import Artifact

__all__ = [
    "OWNER_LOCK",
    "Cache",
    "Entry",
    "build_text",
    "key_of",
    "portable",
    "reject",
    "source_digests",
]

LAYOUT = "v1"
_SCHEMA = 5
# Folders of headers that the system's packages bring, where root owns them.
_SYSTEM = ("/usr/include/", "/usr/lib/", "/usr/lib64/")
_ROOT = 0
# In a staging folder: held for as long as its build runs.
OWNER_LOCK = "owner.lock"
# Libraries that did not load in this process: what they were then, and why they did not.
_rejected: dict[str, tuple[str, str]] = {}


class Entry(Record):
    """A published artifact."""

    folder: Path
    kind: str

    @property
    def library(self) -> Path:
        """The shared library, or the code object."""
        return self.folder / toolchain.PRODUCTS[self.kind]


def build_text(artifact: Artifact, options: Sequence[str] = ()) -> str:
    """Return everything but the compiler and file contents that decides what a library is.

    Parameters
    ----------
    artifact : Artifact
        What is built.
    options : sequence of str
        The compiler's options that the user gave in ``CXX``.
    """
    parts = {
        "schema": _SCHEMA,
        "name": artifact.name,
        "arch": artifact.arch,
        "rule": toolchain.rule(artifact),
        "source": artifact.source(),
        "options": list(options),
    }
    if artifact.kind == "launcher":
        parts["tvm_ffi"] = toolchain.tvm_ffi_version()
    elif artifact.kind == "hip_kernel" and (extra := toolchain.ck_dir()) is not None:
        # Literally: headers there are nobody's we know, and may look at what lies beside them.
        parts["ck_dir"] = str(extra)
    return json.dumps(parts, sort_keys=True)


def portable(text: str) -> str:
    """Return a build text without what may differ where an entry comes from another machine."""
    parts = json.loads(text)
    if "tvm_ffi" in parts:
        # Its C interface is promised to be stable within such a series.
        parts["tvm_ffi"] = ".".join(parts["tvm_ffi"].split(".")[:2])
    return json.dumps(parts, sort_keys=True)


def key_of(build: str, compiler: str, dependencies: Sequence[tuple[str, str]]) -> str:
    """Return an entry's key.

    Parameters
    ----------
    build : str
        The digest of its build text.
    compiler : str
        The compiler's version.
    dependencies : sequence of tuple
        What the compiler read: paths, with tokens, and digests.
    """
    return digest(json.dumps([build, compiler, sorted(map(list, dependencies))]).encode())


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


class _Tokens:
    """Writes paths below known folders as ``{token}/rest``, and reads them back."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        # The longest folder first: one may lie inside another.
        self._folders = sorted(folders.items(), key=lambda item: -len(str(item[1])))

    def abstract(self, path: str) -> str:
        for token, folder in self._folders:
            if path.startswith(f"{folder}{os.sep}"):
                return f"{{{token}}}{path[len(str(folder)) :]}"
        return path

    def concrete(self, path: str) -> str:
        if not path.startswith("{"):
            return path
        for token, folder in self._folders:
            if path.startswith(f"{{{token}}}"):
                return f"{folder}{path[len(token) + 2 :]}"
        return path


class Cache:
    """One cache folder.

    Parameters
    ----------
    root : Path
        The folder; it is made when something is first written.
    is_layer : bool, default False
        Whether it is a layer, filled elsewhere and only read.
    is_shared : bool, default False
        Whether others are to read what is written: else the folder is made for its owner alone.
    is_ours : bool, default False
        Whether it is part of the package, which is trusted as far as the package is.
    is_for_gpus : bool, default False
        Whether nothing is found in it but kernels for GPUs: its libraries do not load here.
    home : Path, optional
        A folder that has to be there already for the root to be made.
    setting : str, default "WARP_SORT_CACHE_DIR"
        What names the root, for messages.
    """

    def __init__(
        self,
        root: Path,
        *,
        is_layer: bool = False,
        is_shared: bool = False,
        is_ours: bool = False,
        is_for_gpus: bool = False,
        home: Path | None = None,
        setting: str = "WARP_SORT_CACHE_DIR",
    ) -> None:
        self.root = root
        self.setting = setting
        self.base = root / LAYOUT
        self._is_layer = is_layer
        self._is_shared = is_shared
        self._is_ours = is_ours
        self.is_for_gpus = is_for_gpus
        self._home = home

    # -- reading ------------------------------------------------------------------------------

    def find(self, artifact: Artifact, text: str, compiler: str | None) -> Entry | None:
        """Return the entry of an artifact that is what building it now would make, or None.

        Parameters
        ----------
        artifact : Artifact
            What is wanted.
        text : str
            Its build text.
        compiler : str or None
            The compiler's version; None where there is no compiler, which any entry then suits.
            (A layer's entries suit any.)

        Raises
        ------
        TrustError
            Other users can write the entry.
        """
        if self.is_for_gpus and artifact.kind in ("cpu_kernel", "launcher"):
            return None
        # Every microsecond of a start counts: names are put together as text, not as paths.
        folder = os.path.join(self.base, "entries", artifact.name)  # noqa: PTH118
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208
        except OSError:
            return None
        if not _is_utf8(self.root):
            return None
        tokens = _Tokens(toolchain.include_dirs(artifact))
        wanted = ("build", digest(text.encode()))
        if self._is_layer:
            if json.loads(text)["options"]:
                return None  # whoever gives options wants them applied here
            wanted = ("portable", digest(portable(text).encode()))
        for name in names:
            library = f"{folder}/{name}/{toolchain.PRODUCTS[artifact.kind]}"
            if not self._is_ours:
                _refuse_foreign(library, self.root)
            manifest = read_json(f"{folder}/{name}/manifest.json")
            if (
                manifest is not None
                and self._holds(library, artifact, manifest, wanted, compiler, tokens)
                and not _is_rejected(library)
            ):
                return Entry(Path(folder, name), artifact.kind)
        return None

    def _holds(
        self,
        file: str,
        artifact: Artifact,
        manifest: Mapping[str, Any],
        wanted: tuple[str, str],
        compiler: str | None,
        tokens: _Tokens,
    ) -> bool:
        """Tell whether an entry is complete, undamaged, and made of what is there now."""
        field, value = wanted
        dependencies = manifest.get("dependencies")
        if manifest.get(field) != value or not isinstance(dependencies, list):
            return False
        is_exact = compiler is not None and not self._is_layer
        if is_exact and manifest.get("compiler") != compiler:
            return False
        try:
            library = read_file(file)
            if digest(library) != manifest.get("library"):
                return False
            for line in dependencies:
                if not self._is_current(line, is_exact, tokens):
                    return False
            for folder, (was, *lines) in {} if self._is_layer else manifest["system"].items():
                if not _is_as_it_was(folder, was):
                    for line in lines:
                        if not self._is_current(line, is_exact, tokens):
                            return False
        except (OSError, AttributeError, LookupError, TypeError, ValueError):
            return False
        return code_object.is_for(library, artifact.arch)

    def _is_current(self, line: str, is_exact: bool, tokens: _Tokens) -> bool:
        """Tell whether a dependency is what it was."""
        # Hundreds of lines at every start: nothing is made of one that is not needed.
        was, _, _, _, _, path = line.split(" ", 5)
        if self._is_layer and not path.startswith(("{package_include}", "{csrc}")):
            return True
        real = tokens.concrete(path)
        if not is_exact and real == path and not os.path.exists(real):  # noqa: PTH110
            return True
        found = f"{stamp(os.stat(real))} "  # noqa: PTH116
        return line.startswith(found, len(was) + 1) or file_digest(real) == was

    def unreadable(self, name: str) -> str | None:
        """Return what of an artifact's entries cannot be read or loaded, and why, or None.

        Only for messages: a look-up takes what it cannot read for what is not there.
        """
        folder = self.base / "entries" / name
        if not _is_utf8(self.root):
            return f"{self.root} cannot be read: its name is not UTF-8"
        try:
            for key in os.listdir(folder):  # noqa: PTH208 - as a look-up does
                for file in (folder / key).iterdir():
                    read_file(file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return f"{error.filename} cannot be read: {error.strerror}"
        for library, (_, reason) in list(_rejected.items()):
            if folder in Path(library).parents:
                return f"{library} does not load: {reason}"
        return None

    def recall(self, identity: str) -> str | None:
        """Return what was remembered for an identity, or None.

        Raises
        ------
        TrustError
            Other users can write what is remembered.
        """
        file = self._tool_file(identity)
        _refuse_foreign(file, self.root)
        manifest = read_json(file)
        if manifest is None or manifest.get("identity") != identity:
            return None
        value = manifest.get("value")
        return value if isinstance(value, str) else None

    # -- writing ------------------------------------------------------------------------------

    def remember(self, identity: str, value: str) -> None:
        """Keep a tool's answer; it is valid for as long as the tool's identity stays the same.

        A cache that cannot be written may still hold the entry that is wanted, so that is no error.
        """
        with contextlib.suppress(OSError, CacheError):
            self._folder("tools")
            write_json(self._tool_file(identity), {"identity": identity, "value": value})

    @contextlib.contextmanager
    def locked(self, artifacts: Sequence[Artifact]) -> Iterator[None]:
        """Hold the locks of several artifacts; the kernel releases them when the holder dies."""
        from . import locks

        with contextlib.ExitStack() as stack:
            with self._writing():
                folder = self._folder("locks")
                names = [artifact.name for artifact in artifacts]
                stack.enter_context(locks.held(folder, names))
            yield

    @contextlib.contextmanager
    def staging(self, files: Mapping[str, str]) -> Iterator[Path]:
        """Make a private folder of these files on the cache's own file system, for a while."""
        from . import locks

        with contextlib.ExitStack() as stack:
            with self._writing():
                parent = self._folder("staging")
                is_ours: bool | None = False
                while is_ours is False:  # where somebody prunes in the very moment
                    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
                    stack.callback(shutil.rmtree, folder, ignore_errors=True)
                    is_ours = stack.enter_context(locks.tried(folder / OWNER_LOCK))
                for name, text in files.items():
                    (folder / name).parent.mkdir(exist_ok=True)
                    (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
            yield folder

    def publish(
        self,
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
        tokens = _Tokens(toolchain.include_dirs(artifact))
        depfile = staged / toolchain.DEPFILE
        listed = _parse_depfile(depfile.read_text(encoding="utf-8", errors="surrogateescape"))
        # A line each, "digest size mtime ctime inode path", not a list each: hundreds of new
        # containers would set off the garbage collector in a process that merely starts.
        dependencies: list[str] = []
        system: dict[str, list[str]] = {}
        digests: list[tuple[str, str]] = []
        for path in listed:
            # The translation unit is in the build text; its own folder is about to move.
            if not path.endswith(f"{artifact.name}/{toolchain.SOURCES[artifact.kind]}"):
                # Where the path is relative, it is relative to the folder that ninja ran in.
                absolute = _plain(os.path.join(staged.parent, path))  # noqa: PTH118
                try:
                    state = os.stat(absolute)  # noqa: PTH116 - hundreds of files: Path costs
                    found = file_digest(absolute)
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
                lines = dependencies
                if path.startswith(_SYSTEM) and _is_roots_alone(path):
                    lines = _lines_of(path.rpartition("/")[0], system) or dependencies
                lines.append(f"{found} {stamp(state)} {path}")
                digests.append((path, found))
        wanted = digest(text.encode())
        library = (staged / toolchain.PRODUCTS[artifact.kind]).read_bytes()
        if not code_object.is_for(library, artifact.arch):
            raise BuildError(
                f"compiling {artifact.name}: what the compiler made is for "
                f"{code_object.arch_of(library) or 'an unknown machine'}, not for {artifact.arch}. "
                f"Look at what it is: {compiler.splitlines()[0] if compiler else 'not known'}."
            )
        with self._writing():
            write_json(
                staged / "manifest.json",
                {
                    "schema": _SCHEMA,
                    "name": artifact.name,
                    "kind": artifact.kind,
                    "arch": artifact.arch,
                    "build": wanted,
                    "portable": digest(portable(text).encode()),
                    "text": json.loads(text),
                    "compiler": compiler,
                    "library": digest(library),
                    "dependencies": dependencies,
                    "system": system,
                    "seconds": round(seconds, 3),
                    "created": int(time.time()),
                },
            )
            depfile.unlink()
            for each in (staged, *staged.iterdir()):
                # Whatever the umask is, a reader accepts it, and others read what is shared.
                protect(each, self._is_shared)
            folder = self._folder("entries", artifact.name)
            entry = Entry(folder / key_of(wanted, compiler, digests), artifact.kind)
            try:
                staged.rename(entry.folder)
            except OSError:
                # What lies there is damaged; or, under a lock that does not lock (some network
                # file systems), somebody else published the same content first.
                if self.find(artifact, text, compiler) is None:
                    # It goes with the staging folder, whatever it is.
                    with contextlib.suppress(FileNotFoundError):
                        entry.folder.rename(staged.with_name(f"{artifact.name}.replaced"))
                    self._folder("entries", artifact.name)  # which somebody may have cleared
                    staged.rename(entry.folder)
        return entry

    def keep_log(self, name: str, log: str) -> Path:
        """Keep the whole output of a failed build and return the file."""
        with self._writing():
            folder = self._folder("logs")
            moment = time.strftime("%Y%m%d-%H%M%S")
            descriptor, file = tempfile.mkstemp(
                dir=folder, prefix=f"{name}-{moment}-", suffix=".log"
            )
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(log)
        return Path(file)

    # -- inside -------------------------------------------------------------------------------

    def _tool_file(self, identity: str) -> Path:
        return self.base / "tools" / f"{digest(identity.encode())}.json"

    def _folder(self, *names: str) -> Path:
        """Return a folder of the cache, making it and the root."""
        folder = self.base.joinpath(*names)
        if not _is_utf8(self.root):
            raise OSError(errno.EILSEQ, "its name is not UTF-8, and nothing loads from there")
        # Before anything is made where another user's link may lead, or built that could not be
        # loaded.
        _refuse_foreign(folder, self.root)
        if not folder.is_dir():
            if not self.root.is_dir():
                if self._home is not None and not self._home.is_dir():
                    missing = "the home folder does not exist"
                    raise FileNotFoundError(errno.ENOENT, missing, str(self._home))
                make_folder(self.root.parent, self._is_shared)
                if not self._is_shared:
                    self.root.mkdir(0o700, exist_ok=True)
            make_folder(folder, self._is_shared)
            _refuse_foreign(folder, self.root)  # as it is now that all of it is there
        return folder

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a failure to write into the one error that says where and what would help."""
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"the cache folder {self.root} cannot be written: "
                f"{error.strerror or error} ({error.filename or self.root}). "
                f"Set {self.setting} to a folder that this user can write."
            ) from None


def reject(library: Path, reason: str) -> bool:
    """Have this process pass over an entry whose library does not load, until it is replaced.

    It was found to be what was published, but may be for another system than this one.

    Parameters
    ----------
    library : Path
        The entry's library.
    reason : str
        Why it does not load.

    Returns
    -------
    bool
        False where it was replaced already, and what is there now does not load either.
    """
    try:
        found = stamp(library.stat())
    except OSError:
        return True  # it has gone
    was, _ = _rejected.setdefault(str(library), (found, reason))
    return was == found  # if so, another thread may have been told


def _refuse_foreign(path: str | Path, root: Path) -> None:
    """Raise TrustError if another user can write a path."""
    from .trust import refuse_foreign  # a start that has all of a wheel's layer does without

    refuse_foreign(path, root)


def _is_rejected(library: str) -> bool:
    """Tell whether a library is what was rejected; most processes reject none, and ask nobody."""
    was, _ = _rejected.get(library, ("", ""))
    return was != "" and _is_as_it_was(library, was)


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


def _lines_of(folder: str, system: dict[str, list[str]]) -> list[str] | None:
    """Return where a manifest has the headers of a system's folder; None for anybody else's.

    What the folder is comes first there.
    """
    if folder not in system:
        found = os.stat(folder)  # noqa: PTH116
        if found.st_uid != _ROOT:
            return None
        system[folder] = [stamp(found)]
    return system[folder]


def _is_roots_alone(path: str) -> bool:
    """Tell whether a file changes only with its folder, by root: no link, and no one else's."""
    found = os.lstat(path)
    is_open = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISREG(found.st_mode) and found.st_uid == _ROOT and not is_open


def _is_as_it_was(path: str, was: str) -> bool:
    """Tell whether a file or folder has the stamp that it had; False where it is not there."""
    try:
        return stamp(os.stat(path)) == was  # noqa: PTH116
    except OSError:
        return False


def _is_utf8(path: Path) -> bool:
    """Tell whether libraries can be loaded from a folder: tvm_ffi takes names as UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def source_digests() -> dict[str, str]:
    """Return the digest of every file that the package compiles, by path."""
    digests: dict[str, str] = {}
    for file in map(str, sorted(toolchain.source_files())):
        with contextlib.suppress(OSError):  # what has gone, the compiler will miss and say so
            digests[file] = file_digest(file)
    return digests
