"""The cache of compiled artifacts: keys, locks, publication.

Invariant: an entry is a folder that was built in private, loaded once, and then renamed into place;
from then on it is never modified. A reader trusts an entry only if everything that the compiler saw
is what it would see now, and if the library's bytes are those that were published.

On disk, below the root::

    v1/entries/<artifact>/<key>/   library.so, kernel.cubin or kernel.hsaco; its source,
                                   manifest.json
    v1/locks/<artifact>.lock       held by the process that builds that artifact
    v1/staging/<unique>/           builds under way; litter only of processes that were killed
    v1/logs/                       the whole output of builds that failed
    v1/tools/                      what compilers answered to --version, and whether they build for
                                   an AMD GPU, by the binary's identity

The key is a digest of the *build text* (translation unit, ninja rule, target, options in CXX,
tvm-ffi's version for the launcher, CK_DIR for HIP kernels), of the compiler's version, and of every
file in the compiler's own list of dependencies. Folders that differ between machines stand in it as
tokens, so a moved installation still hits. On a machine without a compiler, any compiler's entry
will do: then its version is not asked for, nor are system headers that are not there.

Known gaps: a new header that would be found before one of the list, and environment variables that
change what a compiler does (CPATH, HIPCC_COMPILE_FLAGS_APPEND), are not seen.

A manifest also keeps each dependency's size, inode and times. They only spare the reading: when
they are what they were, so are the bytes; when they are not, the file is read and its digest
decides. A touched or copied header is therefore no reason to build again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import ninja, toolchain
from .errors import BuildError, CacheError
from .spec import Artifact

__all__ = ["Cache", "Entry", "build_text", "source_digests"]

_LAYOUT = "v1"
_SCHEMA = 3


@dataclass(frozen=True)
class Entry:
    """A published artifact."""

    folder: Path
    kind: str

    @property
    def library(self) -> Path:
        """The shared library, or the code object."""
        return self.folder / ninja.PRODUCTS[self.kind]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()


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
        "rule": ninja.rule(artifact),
        "source": artifact.source(),
        "options": list(options),
    }
    if artifact.kind == "launcher":
        from importlib.metadata import version

        parts["tvm_ffi"] = version("apache-tvm-ffi")
    elif artifact.kind == "hip_kernel" and (extra := toolchain.ck_dir()) is not None:
        # Literally: headers there are nobody's we know, and may look at what lies beside them.
        parts["ck_dir"] = str(extra)
    return json.dumps(parts, sort_keys=True)


def _stamp(stat: os.stat_result) -> str:
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


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
        for token, folder in self._folders:
            if path.startswith(f"{{{token}}}"):
                return f"{folder}{path[len(token) + 2 :]}"
        return path


class Cache:
    """One cache folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = root / _LAYOUT

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
        """
        folder = self._base / "entries" / artifact.name
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208 - every millisecond of a start counts
        except OSError:
            return None
        tokens = _Tokens(toolchain.include_dirs(artifact))
        wanted = _digest(text.encode())
        for name in names:
            entry = Entry(folder / name, artifact.kind)
            manifest = _read_json(entry.folder / "manifest.json")
            if manifest is not None and _holds(entry, manifest, wanted, compiler, tokens):
                return entry
        return None

    def recall(self, identity: str) -> str | None:
        """Return what was remembered for an identity, or None."""
        manifest = _read_json(self._tool_file(identity))
        if manifest is None or manifest.get("identity") != identity:
            return None
        value = manifest.get("value")
        return value if isinstance(value, str) else None

    # -- writing ------------------------------------------------------------------------------

    def remember(self, identity: str, value: str) -> None:
        """Keep a tool's answer; it is valid for as long as the tool's identity stays the same.

        A cache that cannot be written may still hold the entry that is wanted, so that is no error.
        """
        file = self._tool_file(identity)
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_json(file, {"identity": identity, "value": value})

    @contextlib.contextmanager
    def locked(self, artifacts: list[Artifact]) -> Iterator[None]:
        """Hold the locks of several artifacts; the kernel releases them when the holder dies."""
        import filelock

        folder = self._base / "locks"
        with contextlib.ExitStack() as stack:
            with self._writing():
                folder.mkdir(parents=True, exist_ok=True)
            # Always in the same order: two builds that share an artifact can't wait for each other.
            for name in sorted({artifact.name for artifact in artifacts}):
                with self._writing():
                    stack.enter_context(filelock.FileLock(folder / f"{name}.lock"))
            yield

    @contextlib.contextmanager
    def staging(self, files: Mapping[str, str]) -> Iterator[Path]:
        """Make a private folder of these files on the cache's own file system, for a while."""
        with self._writing():
            parent = self._base / "staging"
            parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
        try:
            with self._writing():
                for name, text in files.items():
                    (folder / name).parent.mkdir(exist_ok=True)
                    (folder / name).write_text(text, encoding="utf-8")
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

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
            A source was changed while it was being compiled.
        CacheError
            The cache cannot be written.
        """
        tokens = _Tokens(toolchain.include_dirs(artifact))
        listed = _parse_depfile((staged / ninja.DEPFILE).read_text(encoding="utf-8"))
        # A line each, "digest size mtime ctime inode path", not a list each: hundreds of new
        # containers would set off the garbage collector in a process that merely starts.
        dependencies: list[str] = []
        digests: list[tuple[str, str]] = []
        for path in listed:
            # The translation unit is in the build text; its own folder is about to move.
            if not path.endswith(f"{artifact.name}/{ninja.SOURCES[artifact.kind]}"):
                # Where the path is relative, it is relative to the folder that ninja ran in.
                absolute = os.path.normpath(staged.parent / path)
                stat = os.stat(absolute)  # noqa: PTH116 - hundreds of files: Path costs
                digest = _file_digest(absolute)
                if sources.get(absolute, digest) != digest:
                    raise BuildError(
                        f"compiling {artifact.name}: {absolute} was changed meanwhile, so nobody "
                        f"knows which of its contents the library is made of. Call again."
                    )
                dependencies.append(f"{digest} {_stamp(stat)} {tokens.abstract(absolute)}")
                digests.append((tokens.abstract(absolute), digest))
        wanted = _digest(text.encode())
        library = (staged / ninja.PRODUCTS[artifact.kind]).read_bytes()
        key = _digest(json.dumps([wanted, compiler, sorted(digests)]).encode())
        with self._writing():
            _write_json(
                staged / "manifest.json",
                {
                    "schema": _SCHEMA,
                    "name": artifact.name,
                    "arch": artifact.arch,
                    "build": wanted,
                    "text": json.loads(text),
                    "compiler": compiler,
                    "library": _digest(library),
                    "dependencies": dependencies,
                    "seconds": round(seconds, 3),
                    "created": int(time.time()),
                },
            )
            (staged / ninja.DEPFILE).unlink()
            folder = self._base / "entries" / artifact.name
            folder.mkdir(parents=True, exist_ok=True)
            entry = Entry(folder / key, artifact.kind)
            try:
                staged.rename(entry.folder)
            except OSError:
                # What lies there is damaged; or, under a lock that does not lock (some network
                # file systems), somebody else published the same content first.
                if self.find(artifact, text, compiler) is None:
                    shutil.rmtree(entry.folder, ignore_errors=True)
                    staged.rename(entry.folder)
        return entry

    def keep_log(self, name: str, log: str) -> Path:
        """Keep the whole output of a failed build and return the file."""
        with self._writing():
            folder = self._base / "logs"
            folder.mkdir(parents=True, exist_ok=True)
            stamp = time.strftime("%Y%m%d-%H%M%S")
            descriptor, file = tempfile.mkstemp(
                dir=folder, prefix=f"{name}-{stamp}-", suffix=".log"
            )
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(log)
        return Path(file)

    # -- inside -------------------------------------------------------------------------------

    def _tool_file(self, identity: str) -> Path:
        return self._base / "tools" / f"{_digest(identity.encode())}.json"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a failure to write into the one error that says where and what would help."""
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"the cache folder {self.root} cannot be written: "
                f"{error.strerror or error} ({error.filename or self.root}). "
                f"Set WARP_SORT_CACHE_DIR to a folder that this user can write."
            ) from None


def _file_digest(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123 - hundreds of files: Path costs
        return _digest(file.read())


def source_digests() -> dict[str, str]:
    """Return the digest of every file that the package compiles, by path."""
    return {str(file): _file_digest(str(file)) for file in sorted(toolchain.source_files())}


def _holds(
    entry: Entry, manifest: Mapping[str, Any], wanted: str, compiler: str | None, tokens: _Tokens
) -> bool:
    """Tell whether an entry is complete, undamaged, and made of what is there now."""
    dependencies = manifest.get("dependencies")
    if manifest.get("build") != wanted or not isinstance(dependencies, list):
        return False
    if compiler is not None and manifest.get("compiler") != compiler:
        return False
    try:
        if _file_digest(str(entry.library)) != manifest.get("library"):
            return False
        for line in dependencies:
            digest, rest = line.split(" ", 1)
            size, mtime, ctime, inode, path = rest.split(" ", 4)
            stamp = f"{size} {mtime} {ctime} {inode}"
            real = tokens.concrete(path)
            if compiler is None and real == path and not os.path.exists(real):  # noqa: PTH110
                continue
            if _stamp(os.stat(real)) != stamp and _file_digest(real) != digest:  # noqa: PTH116
                return False
    except (OSError, AttributeError, TypeError, ValueError):
        return False
    return True


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a file so that a reader sees all of it or none."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(value, stream)
        os.replace(name, file)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise
