"""Programs and libraries in C++ that tests run, compiled once.

Invariant: what was compiled from the same text by the same command is taken from the folder, in
this session and, where the cache is kept, in later ones.
"""

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

from warp_bitonic_sort.targets.common import sources

SOURCES = Path(__file__).resolve().parents[1] / "cpp"
# The variable that names the folder, for the tests' own processes, too; conftest.py sets it.
VARIABLE = "WARP_SORT_TESTS_PROGRAMS"


def build(source: str | Path, *flags: str) -> Path:
    """Compile a file of tests/cpp, or another one, with our headers and return the product."""
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{sources.INCLUDE_DIR}", f"-I{SOURCES}", *flags, str(SOURCES / source)]
    version = _run([command[0], "--version"])
    text = _run([*command, "-E", "-P"])
    key = hashlib.sha256("\0".join([version, *flags, text]).encode()).hexdigest()
    folder = Path(os.environ[VARIABLE])
    folder.mkdir(parents=True, exist_ok=True)
    product = folder / f"{Path(source).stem}-{key[:32]}"
    with product.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not product.exists():
            staged = product.with_suffix(".part")
            _run([*command, "-o", str(staged)])
            staged.rename(product)
    return product


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stderr}"
    return done.stdout
