"""Reads the variables that users set. No other Python module interprets them.

Two are also read elsewhere: Python and the compilers read TMPDIR, and the HIP driver of the runtime
reads ROCM_PATH.

Invariant: nothing is read at import, so that a test or a notebook can set a variable at any time
before the call that should use it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import BuildError

_FALSE = {"", "0", "false", "no", "off"}
_CONTROL_CHARACTERS = frozenset(map(chr, (*range(32), 127)))


def refuse_control_characters(name: str, value: str, error: type[BuildError] = BuildError) -> None:
    """Raise an error if a text contains a line break, a tab or another control character.

    The text may be written to build.ninja, a list of dependencies or a shell command. All three end
    a statement at a line break, and have no escape for it.

    Parameters
    ----------
    name : str
        The name of the text in the message, as a variable's.
    value : str
        The text.
    error : type, default BuildError
        The class of the error.
    """
    if not _CONTROL_CHARACTERS.isdisjoint(value):
        raise error(
            f"{name}: {value!r} holds a control character (a line break, a tab or the like), which "
            f"build files cannot express. Use a name without control characters."
        )


def cache_dir() -> Path:
    """Return the user's cache folder: ``WARP_SORT_CACHE_DIR``, else one below ``~/.cache``."""
    chosen = os.environ.get("WARP_SORT_CACHE_DIR")
    if chosen:
        return _expanded("WARP_SORT_CACHE_DIR", chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else _home() / ".cache"
    refuse_control_characters("XDG_CACHE_HOME" if base else "HOME", str(root))
    return root.absolute() / "warp_bitonic_sort" / "jit"


def cache_home() -> Path | None:
    """Return the home folder that contains the cache folder; None if the user chose another."""
    if os.environ.get("WARP_SORT_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME"):
        return None
    return _home()


def _home() -> Path:
    """Return the user's home folder; a folder that does not exist for a user without one."""
    try:
        return Path("~").expanduser()
    except RuntimeError:  # no HOME, and no such user in the system's list, as in many containers
        return Path("/nonexistent")


def cache_layers() -> list[Path]:
    """Return the folders of ``WARP_SORT_CACHE_LAYERS``: read-only caches, in order."""
    return _folders("WARP_SORT_CACHE_LAYERS")


def trusted_dirs() -> list[Path]:
    """Return the folders of ``WARP_SORT_TRUSTED_DIRS``: trusted though other users can write."""
    return _folders("WARP_SORT_TRUSTED_DIRS")


def library_path() -> list[Path]:
    """Return the folders of ``LD_LIBRARY_PATH``, where the system's loader searches first."""
    listed = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return [Path(folder).absolute() for folder in listed if folder]


def _folders(variable: str) -> list[Path]:
    folders = os.environ.get(variable, "").split(os.pathsep)
    return [_expanded(variable, folder) for folder in folders if folder.strip()]


def _expanded(variable: str, value: str) -> Path:
    refuse_control_characters(variable, value)
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:
        raise BuildError(f"{variable}: {value!r} does not name a folder: {error}") from None


def lock_timeout() -> float | None:
    """Return ``WARP_SORT_LOCK_TIMEOUT``, seconds to wait for a lock; None: without limit."""
    text = os.environ.get("WARP_SORT_LOCK_TIMEOUT", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise BuildError(
            f"WARP_SORT_LOCK_TIMEOUT: expected a number of seconds of at least 0, got {text!r}."
        )
    return seconds


def verbose() -> bool:
    """Tell whether ``WARP_SORT_JIT_VERBOSE`` turns on the commands and the compiler's output."""
    return os.environ.get("WARP_SORT_JIT_VERBOSE", "").strip().lower() not in _FALSE


def run_time_compilers() -> bool:
    """Tell whether ``WARP_SORT_RTC`` prefers NVRTC and hipRTC to nvcc and hipcc."""
    return os.environ.get("WARP_SORT_RTC", "").strip().lower() not in _FALSE


def max_jobs() -> int | None:
    """Return ``MAX_JOBS``, the most compilers to run at once; None leaves it to ninja."""
    text = os.environ.get("MAX_JOBS", "").strip()
    if not text:
        return None
    # int() also accepts digits of other scripts, and limits the number of digits.
    is_number = text.isascii() and text.isdecimal() and len(text) < 10
    if not is_number or int(text) < 1:
        raise BuildError(f"MAX_JOBS: expected a whole number of at least 1, got {text!r}.")
    return int(text)


def omp_num_threads() -> int | None:
    """Return ``OMP_NUM_THREADS``, the number of threads; the first one counts if it is a list."""
    text = os.environ.get("OMP_NUM_THREADS", "").strip()
    if not text:
        return None
    # OpenMP's list has a number for each level of nested threads.
    number = re.fullmatch(r"\+?0*([1-9][0-9]{0,8})\s*(,.*)?", text, re.ASCII)
    if number is None:
        raise BuildError(
            f"OMP_NUM_THREADS: expected a whole number of at least 1, or a list that begins with "
            f"one, as in 4,2; got {text!r}."
        )
    return int(number[1])


def cxx() -> str | None:
    """Return ``CXX``, the C++ compiler that the user chose, or None."""
    return os.environ.get("CXX", "").strip() or None


def cuda_home() -> Path | None:
    """Return ``CUDA_HOME``, the CUDA toolkit that the user chose, or None."""
    return _folder("CUDA_HOME")


def rocm_path() -> Path | None:
    """Return ``ROCM_PATH``, the ROCm installation that the user chose, or None."""
    return _folder("ROCM_PATH")


def hip_clang_path() -> Path | None:
    """Return ``HIP_CLANG_PATH``, the folder of the clang that hipcc runs, or None."""
    return _folder("HIP_CLANG_PATH")


def ck_dir() -> Path | None:
    """Return ``CK_DIR``, a folder of additional headers for HIP kernels, or None."""
    return _folder("CK_DIR")


def _folder(variable: str) -> Path | None:
    chosen = os.environ.get(variable, "").strip()
    return _expanded(variable, chosen) if chosen else None


def gpu_archs() -> list[str]:
    """Return the list of ``GPU_ARCH``, as in ``sm_90,gfx942``; empty for the device's own."""
    text = os.environ.get("GPU_ARCH", "")
    archs = [word.strip() for word in text.replace(";", ",").split(",") if word.strip()]
    return [] if archs == ["native"] else archs


def cpu_arch() -> str | None:
    """Return ``WARP_SORT_CPU_ARCH``, the architecture to build for instead of this machine's."""
    return os.environ.get("WARP_SORT_CPU_ARCH", "").strip() or None
