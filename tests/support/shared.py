"""Folders that one of the session's processes fills, and the others use."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path


def filled_once(tmp_path_factory, name: str, fill: Callable[[Path], None]) -> Path:
    """Return a folder of the session; the first process that asks for it fills it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # a worker's own is in the session's
    folder = root / name
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Filled where it stays: a manifest holds the paths of its files.
        filled = root / f"{name}.filled"
        if not filled.exists():
            fill(folder)
            filled.touch()
    return folder
