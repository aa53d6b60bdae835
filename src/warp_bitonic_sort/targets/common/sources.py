"""Finds the package's C++ sources.

Invariant: if the folder of headers is missing, as in a zip archive, `require_sources` raises.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import ToolError

PACKAGE = Path(__file__).resolve().parents[2]
CSRC = PACKAGE / "csrc"
INCLUDE_DIR = CSRC / "include"


def require_sources() -> None:
    """Raise ToolError if the package's C++ sources are not files, as in a zip archive."""
    if INCLUDE_DIR.is_dir():
        return
    archive = next((folder for folder in INCLUDE_DIR.parents if folder.is_file()), None)
    if archive is None:
        raise ToolError(
            f"the package's C++ sources are missing: there is no folder {INCLUDE_DIR}. Reinstall "
            f"warp-bitonic-sort; a frozen application must include the package's folder csrc."
        )
    raise ToolError(
        f"the package was imported from the zip archive {archive}, where neither a compiler nor "
        f"the loader finds its files. Install it into a folder (pip install warp-bitonic-sort), or "
        f"unpack the archive and put the folder on sys.path instead."
    )


def source_files() -> list[Path]:
    """Return every file of the package that a compiler may read."""
    return [file for root in {CSRC, INCLUDE_DIR} for file in root.rglob("*") if file.is_file()]
