"""What an entry is found by: the text of its build, and its key.

Invariant: equal keys have equal entries on every machine. Install paths stand in a key as tokens.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...kernels import Artifact
from ...targets import recipe_of
from .files import digest

SCHEMA = 8


def build_text(artifact: Artifact) -> str:
    """Return everything but the compiler and file contents that decides what a product is."""
    recipe = recipe_of(artifact.target)
    parts = {
        "schema": SCHEMA,
        "name": artifact.name,
        "arch": artifact.arch,
        "rule": recipe.rule(artifact.arch),
        "source": artifact.source(),
        "options": list(recipe.options()),
        **recipe.key_parts(),
    }
    return json.dumps(parts, sort_keys=True)


def layer_key_text(text: str) -> str:
    """Return a build text without what may differ where an entry comes from another machine."""
    parts = json.loads(text)
    if "tvm_ffi" in parts:
        # Its C interface is promised to be stable within such a series.
        parts["tvm_ffi"] = ".".join(parts["tvm_ffi"].split(".")[:2])
    return json.dumps(parts, sort_keys=True)


class Tokens:
    """Writes paths below known folders as ``{token}/rest``, and reads them back."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        # The longest folder first: one may lie inside another.
        longest = sorted(folders.items(), key=lambda item: -len(str(item[1])))
        self._folders = [(f"{{{token}}}", str(folder)) for token, folder in longest]

    def abstract(self, path: str) -> str:
        """Return a path as manifests have it."""
        for token, folder in self._folders:
            if path.startswith(f"{folder}{os.sep}"):
                return f"{token}{path[len(folder) :]}"
        return path

    def concrete(self, path: str) -> str:
        """Return where a manifest's path is on this machine."""
        if not path.startswith("{"):
            return path
        for token, folder in self._folders:
            if path.startswith(token):
                return f"{folder}{path[len(token) :]}"
        return path


def entry_key(build: str, compiler: str, dependencies: Sequence[tuple[str, str]]) -> str:
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
