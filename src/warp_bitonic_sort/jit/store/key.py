"""What an entry is found by: the text of its build, and its key.

Invariant: equal keys have equal entries on every machine. Install paths stand in them as tokens,
``{token}/rest``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ...kernels import Artifact
from ...targets import recipe_of
from .files import digest

SCHEMA = 9


def build_text(artifact: Artifact) -> str:
    """Return all that decides what a product is, but the compiler and the contents of headers."""
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
    """Return the part of a build text that an entry from another machine has in common."""
    parts = json.loads(text)
    if "tvm_ffi" in parts:
        # tvm-ffi promises a stable C interface within such a series.
        parts["tvm_ffi"] = ".".join(parts["tvm_ffi"].split(".")[:2])
    return json.dumps(parts, sort_keys=True)


def entry_key(build: str, compiler: str, dependencies: Mapping[str, str]) -> str:
    """Return an entry's key.

    Parameters
    ----------
    build : str
        The digest of its build text.
    compiler : str
        The compiler's version.
    dependencies : mapping of str to str
        The digests of the headers that the compiler read, by their paths with tokens.
    """
    return digest(json.dumps([build, compiler, sorted(dependencies.items())]).encode())


def with_token(path: Path, folders: Mapping[str, Path]) -> str:
    """Return a path with the token of the folder that it is in, as manifests have it."""
    tokens = [token for token, folder in folders.items() if path.is_relative_to(folder)]
    if not tokens:
        return str(path)
    # A folder may lie inside another.
    token = max(tokens, key=lambda token: len(folders[token].parts))
    return f"{{{token}}}/{path.relative_to(folders[token])}"


def without_token(text: str, folders: Mapping[str, Path]) -> Path:
    """Return where a manifest's path is on this machine."""
    token, _, rest = text.partition("/")
    folder = folders.get(token[1:-1]) if token.startswith("{") else None
    return Path(text) if folder is None else folder / rest
