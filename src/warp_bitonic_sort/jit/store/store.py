"""The cache of compiled artifacts: what is in it, and what it is found by.

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
tvm-ffi's version for the runtime, CK_DIR for HIP kernels), of the compiler's version, and of every
file in the compiler's own list of dependencies. Folders that differ between machines stand in it as
tokens, so a moved installation still hits. On a machine without a compiler, any compiler's entry
will do.

A *layer* is such a folder that is only read: one that the package brings, or that somebody shares.
It was filled on another machine, so nobody asks for its compiler's version, for any
header but the package's own, nor for the release of tvm-ffi, whose C interface is stable, that the
runtime was built with.

Known gaps: a new header that would be found before one of the list, and environment variables that
change what a compiler does (CPATH, HIPCC_COMPILE_FLAGS_APPEND), are not seen. Neither is an edited
system header where the compiler stays the same, nor a compiler of the same size, inode and time as
the one that was at its place before, as in images that have all files of one time.

A manifest also keeps each dependency's size, inode and times. They only spare the reading: when
they are what they were, so are the bytes; when they are not, the file is read and its digest
decides. A touched or copied header is therefore no reason to build again. System headers are not
listed: the compiler's version stands for them, and tvm-ffi's version for its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...kernels import Artifact
from ...targets import recipe_of
from .files import digest, file_digest, file_stamp, open_regular, read_all, read_json, stamp
from .key import Tokens, layer_key_text
from .mounts import is_noexec
from .permissions import check_writers

# The folder of this format, below a store's root.
LAYOUT = "v1"
# Libraries that did not load in this process: what they were then, and why they did not.
unloadable: dict[str, tuple[str, str]] = {}


class Entry(NamedTuple):
    """An artifact that was checked, in a cache or in the folder where it was built.

    Parameters
    ----------
    folder : Path
        Where it lies.
    target : str
        The recipe that it was compiled by.
    stamp : str
        The stamp of the file that was checked: by it what is loaded is known to be that file.
    """

    folder: Path
    target: str
    stamp: str

    @property
    def library(self) -> Path:
        """The shared library, or the code object."""
        return self.folder / recipe_of(self.target).product


class Store:
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
        self.is_shared = is_shared
        self._is_ours = is_ours
        self.is_for_gpus = is_for_gpus
        self.home = home

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
        recipe = recipe_of(artifact.target)
        if recipe.is_library and (self.is_for_gpus or is_noexec(self.root)):
            return None
        folder = self.base / "entries" / artifact.name
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208
        except OSError:
            return None
        if not is_utf8(self.root):
            return None
        tokens = Tokens(recipe.include_dirs())
        wanted = {"build": digest(text.encode())}
        if self._is_layer:
            if json.loads(text)["options"]:
                return None  # whoever gives options wants them applied here
            wanted = {"portable": digest(layer_key_text(text).encode())}
        elif compiler is not None:
            wanted["compiler"] = compiler
        for name in names:
            library = folder / name / recipe.product
            if not self._is_ours:
                check_writers(library, self.root)
            manifest = read_json(folder / name / "manifest.json")
            if manifest is not None and manifest.items() >= wanted.items():
                seen = self._checked(library, artifact, manifest, tokens)
                if seen is not None and not _is_unloadable(library):
                    return Entry(folder / name, artifact.target, seen)
        return None

    def _checked(
        self,
        file: Path,
        artifact: Artifact,
        manifest: Mapping[str, Any],
        tokens: Tokens,
    ) -> str | None:
        """Return the stamp of an entry's library; None unless all of the entry is sound.

        That is, if it is complete, undamaged, and made of what is there now. The library's owner,
        mode, bytes and stamp are those of one open file.
        """
        dependencies = manifest.get("dependencies")
        if not isinstance(dependencies, list):
            return None
        try:
            with open_regular(file) as descriptor:
                if not self._is_ours:
                    check_writers(file, self.root, descriptor=descriptor)
                seen = stamp(os.fstat(descriptor))
                library = read_all(descriptor)
            if digest(library) != manifest.get("library"):
                return None
            for line in dependencies:
                if not self._is_current(line, tokens):
                    return None
        except (OSError, AttributeError, LookupError, TypeError, ValueError):
            return None
        return seen if recipe_of(artifact.target).is_for(library, artifact.arch) else None

    def _is_current(self, line: str, tokens: Tokens) -> bool:
        """Tell whether a dependency is what it was."""
        was, _, _, _, _, path = line.split(" ", 5)
        if self._is_layer and not path.startswith(("{package_include}", "{csrc}")):
            return True
        real = Path(tokens.concrete(path))
        found = f"{stamp(real.stat())} "
        return line.startswith(found, len(was) + 1) or file_digest(real) == was

    def recall(self, identity: str) -> str | None:
        """Return what was remembered for an identity, or None.

        Raises
        ------
        TrustError
            Other users can write what is remembered.
        """
        file = self.tool_file(identity)
        check_writers(file, self.root)
        manifest = read_json(file)
        if manifest is None or manifest.get("identity") != identity:
            return None
        value = manifest.get("value")
        return value if isinstance(value, str) else None

    def tool_file(self, identity: str) -> Path:
        """Return where what was remembered for an identity is."""
        name = digest(identity.encode(errors="surrogateescape"))  # of files, which may be any bytes
        return self.base / "tools" / f"{name}.json"


def mark_unloadable(library: Path, reason: str) -> bool:
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
    was, _ = unloadable.setdefault(str(library), (found, reason))
    return was == found  # if so, another thread may have been told


def _is_unloadable(library: Path) -> bool:
    """Tell whether a library is one that did not load."""
    was, _ = unloadable.get(str(library), ("", ""))
    return was != "" and was == file_stamp(library)


def is_utf8(path: Path) -> bool:
    """Tell whether libraries can be loaded from a folder: tvm_ffi takes names as UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
