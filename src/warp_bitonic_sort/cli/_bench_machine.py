"""Describes the machine, the versions and the command of a measurement.

Invariant: what cannot be found out is left out or "not installed"; no library is imported.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__, get_num_threads
from ..targets import HOST

_LIBRARIES = ("numpy", "torch", "cupy", "triton", "apache-tvm-ffi")


def describe(command: str, libraries: Sequence[str] = _LIBRARIES) -> dict[str, Any]:
    """Return the date, the command, the processor, the threads and the versions.

    Parameters
    ----------
    command : str
        The command, as a user types it.
    libraries : sequence of str
        The packages whose versions count.
    """
    versions = {"warp-bitonic-sort": __version__}
    versions.update({name: _version(name) for name in libraries})
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": command,
        "cpu": processor(),
        "cores": os.cpu_count() or 1,
        "threads": get_num_threads(),
        "load": load(),
        "arch": HOST.arch_for(),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """Return the name of the processor, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def load() -> float | None:
    """Return the load average of the last minute, where the system knows it."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _version(name: str) -> str:
    # The packages of CuPy are named by the version of CUDA.
    module = sys.modules.get(name)
    if module is not None and isinstance(getattr(module, "__version__", None), str):
        return str(module.__version__)
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
