"""Sets the number of threads that large sorts in CPU memory use.

Invariant: the runtime uses the number that `get_num_threads` returns, whether it was set before the
runtime was loaded or later.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import threading
from collections.abc import Callable

from .. import settings
from ..errors import BuildError
from .cpu_quota import cpu_quota
from .warn import warn

_MAX = 1024

_guard = threading.RLock()  # a finalizer that sorts may run at any line
_count: int | None = None
_set_in_runtime: Callable[[int], None] | None = None


def set_num_threads(n: int) -> None:
    """Set how many threads sort large arrays in CPU memory, from the next call on.

    The number holds for the whole process and for processes that are forked from it later. It
    replaces ``OMP_NUM_THREADS``. The thread that calls `sort` counts as one.

    Parameters
    ----------
    n : int
        The number of threads, 1 to 1024.

    Raises
    ------
    TypeError
        n is not an integer.
    ValueError
        n is less than 1 or more than 1024.

    Examples
    --------
    >>> from warp_bitonic_sort import get_num_threads, set_num_threads
    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    """
    try:
        if isinstance(n, bool):
            raise TypeError
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"n: expected an integer, got {n!r} ({type(n).__name__}).") from None
    if not 1 <= count <= _MAX:
        raise ValueError(f"n: expected a number of threads from 1 to {_MAX}, got {count}.")
    global _count
    with _guard:
        _count = count
        if _set_in_runtime is not None:
            _set_in_runtime(count)


def get_num_threads() -> int:
    """Return how many threads sort large arrays in CPU memory.

    That is the number that `set_num_threads` set; else ``OMP_NUM_THREADS``; else the number of
    cores that this process may run on, but no more than the CPU quota of its control group (a
    container's limit), rounded up.

    Returns
    -------
    int
        The number of threads, at least 1.
    """
    global _count
    if _count is None:
        count, _ = default()
        try:
            settings.omp_num_threads()
        except BuildError as error:
            warn(f"{error} It is ignored: large sorts use {count} threads.")
        with _guard:
            if _count is None:
                _count = count
    return _count


def attach(set_in_runtime: Callable[[int], None]) -> None:
    """Pass the number of threads to the runtime, now and whenever it changes."""
    global _set_in_runtime
    with _guard:
        _set_in_runtime = set_in_runtime
        set_in_runtime(get_num_threads())


def default() -> tuple[int, str]:
    """Return the number of threads if none was set, and its origin."""
    chosen = None
    with contextlib.suppress(BuildError):  # `get_num_threads` warns
        chosen = settings.omp_num_threads()
    if chosen is not None:
        return min(chosen, _MAX), "OMP_NUM_THREADS"
    if hasattr(os, "sched_getaffinity"):
        cores, origin = len(os.sched_getaffinity(0)), "the cores that this process may run on"
    else:
        cores, origin = os.cpu_count() or 1, "the cores of this machine"
    quota = cpu_quota()
    if quota is not None and math.ceil(quota) < cores:
        return math.ceil(quota), f"the CPU quota of this process's control group, {quota:g} cores"
    return min(cores, _MAX), origin
