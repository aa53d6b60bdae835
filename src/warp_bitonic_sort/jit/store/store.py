"""A folder of compiled artifacts: what is in it, and how an entry is found.

Invariant: an entry is a folder that was built in private, loaded once, and then renamed into place;
from then on it is never modified. An entry is taken only if its build text, its compiler and every
header that was compiled are what a build would use now, if its product's bytes are those that were
published and for the architecture that is wanted, and if no other user can write them.

On disk, below the root::

    v1/entries/<artifact>/<key>/   library.so, kernel.cubin or kernel.hsaco; its source;
                                   manifest.json
    v1/locks/<artifact>.lock       held by the process that builds the artifact, named in .holder
    v1/staging/<unique>/           a build under way, with a lock that its process holds
    v1/logs/                       the whole output of builds that failed
    v1/tools/                      the answers of compilers, by the binary's identity

The key is a digest of the *build text* (translation unit, ninja rule, architecture, options in CXX,
tvm-ffi's version for the runtime, CK_DIR for HIP kernels), of the compiler's version, and of every
header that the compiler lists. Install folders stand in it as tokens, so a moved installation still
hits. The compiler's version stands for the system's headers, and tvm-ffi's for its own. On a
machine without a compiler, the entry of any compiler is taken.

A *layer* is such a folder that is only read: the package's own, or one that is shared. It was
filled on another machine, so neither its compiler's version nor the release of tvm-ffi, whose C
interface is stable, has to match.

Known gaps: a new header that would be found before a listed one, environment variables that change
what a compiler does (CPATH, HIPCC_COMPILE_FLAGS_APPEND), an edited system header, and a compiler
that is replaced by one of the same size, inode and time, as in images whose files have one time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...kernels import Artifact
from ...targets import recipe_of
from .files import digest, file_stamp, open_regular, paths_in, read_all, read_file, read_json, stamp
from .key import layer_key_text, without_token
from .mounts import is_noexec
from .permissions import check_writers

# The folder of this format, below a store's root.
LAYOUT = "v1"
# The libraries that did not load in this process: the stamp of each then, and why.
unloadable: dict[Path, tuple[str, str]] = {}


class Entry(NamedTuple):
    """An artifact that was checked, in a store or in the folder where it was built.

    Parameters
    ----------
    folder : Path
        Where it lies.
    target : str
        The name of the recipe that compiled it.
    stamp : str
        The stamp of the product when it was checked. Nothing else is loaded.
    """

    folder: Path
    target: str
    stamp: str

    @property
    def library(self) -> Path:
        """The product: a shared library, or a code object."""
        return self.folder / recipe_of(self.target).product


class Store:
    """One folder of compiled artifacts.

    Parameters
    ----------
    root : Path
        The folder; it is made when something is first written.
    is_layer : bool, default False
        Whether it is a layer, filled elsewhere and only read.
    is_shared : bool, default False
        Whether other users are to read what is written. Else the folder is made for its owner
        alone.
    is_ours : bool, default False
        Whether it is part of the package, which is trusted as far as the package is.
    is_for_gpus : bool, default False
        Whether only kernels for GPUs are taken from it: its libraries do not load here.
    home : Path, optional
        A folder that has to exist for the root to be made.
    setting : str, default "WARP_SORT_CACHE_DIR"
        The variable or option that names the root, for messages.
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
        self.base = root / LAYOUT
        self.is_shared = is_shared
        self.is_for_gpus = is_for_gpus
        self.home = home
        self.setting = setting
        self._is_layer = is_layer
        self._is_ours = is_ours

    def find(self, artifact: Artifact, text: str, compiler: str | None) -> Entry | None:
        """Return the entry that a build of an artifact would make now, or None.

        Parameters
        ----------
        artifact : Artifact
            What is wanted.
        text : str
            Its build text.
        compiler : str or None
            The compiler's version; None where there is no compiler. A layer ignores it.

        Raises
        ------
        TrustError
            Other users can write the entry.
        """
        is_library = recipe_of(artifact.target).is_library
        if is_library and (self.is_for_gpus or is_noexec(self.root)):
            return None
        if not is_utf8(self.root):
            return None
        wanted = {"build": digest(text.encode())}
        if self._is_layer:
            if json.loads(text)["options"]:
                return None  # options in CXX are meant for compilers of this machine
            wanted = {"layer_build": digest(layer_key_text(text).encode())}
        elif compiler is not None:
            wanted["compiler"] = compiler
        for folder in paths_in(self.base / "entries" / artifact.name):
            entry = self._checked(folder, artifact, wanted)
            if entry is not None:
                return entry
        return None

    def _checked(self, folder: Path, artifact: Artifact, wanted: Mapping[str, str]) -> Entry | None:
        """Return the entry in a folder if it is wanted, complete, undamaged and up to date.

        The product's owner, mode, bytes and stamp are those of one open file.
        """
        recipe = recipe_of(artifact.target)
        product = folder / recipe.product
        if not self._is_ours:
            check_writers(product, self.root)
        manifest = read_json(folder / "manifest.json")
        if manifest is None or not manifest.items() >= wanted.items():
            return None
        try:
            with open_regular(product) as descriptor:
                if not self._is_ours:
                    check_writers(product, self.root, descriptor=descriptor)
                seen = stamp(os.fstat(descriptor))
                data = read_all(descriptor)
            folders = recipe.include_dirs()
            is_sound = (
                digest(data) == manifest["library"]
                and recipe.is_for(data, artifact.arch)
                and all(
                    digest(read_file(without_token(path, folders))) == expected
                    for path, expected in manifest["dependencies"].items()
                )
            )
        except (OSError, AttributeError, LookupError, TypeError, ValueError):
            return None
        # It may have been built for a different system.
        is_loadable = unloadable.get(product, ("", ""))[0] != seen
        return Entry(folder, artifact.target, seen) if is_sound and is_loadable else None

    def recall(self, identity: str) -> str | None:
        """Return the answer that was remembered for an identity, or None.

        Raises
        ------
        TrustError
            Other users can write what is remembered.
        """
        file = self.tool_file(identity)
        check_writers(file, self.root)
        report = read_json(file)
        if report is None or report.get("identity") != identity:
            return None
        value = report.get("value")
        return value if isinstance(value, str) else None

    def tool_file(self, identity: str) -> Path:
        """Return the file of the answer that is remembered for an identity."""
        # An identity has names of files, which may be any bytes.
        name = digest(identity.encode(errors="surrogateescape"))
        return self.base / "tools" / f"{name}.json"


def mark_unloadable(library: Path, reason: str) -> bool:
    """Have this process pass over an entry whose library does not load, until it is replaced.

    Its checksum matches, but it may have been built for a different system.

    Parameters
    ----------
    library : Path
        The entry's library.
    reason : str
        Why it does not load.

    Returns
    -------
    bool
        False where it was marked and replaced before, and its replacement does not load either.
    """
    seen = file_stamp(library)
    if seen is None:
        return True  # it was removed
    marked, _ = unloadable.setdefault(library, (seen, reason))
    return marked == seen  # if so, another thread may have marked it


def is_utf8(path: Path) -> bool:
    """Tell whether libraries can be loaded from a folder: tvm_ffi takes names as UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
