"""The number of threads that large sorts in CPU memory use.

Invariant: the runtime uses the number that `get_num_threads` returns, whether that was set before
the runtime was loaded or after.
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
_tell_runtime: Callable[[int], None] | None = None


def set_num_threads(n: int) -> None:
    """Set how many threads large sorts in CPU memory are spread over, from the next call on.

    It holds for the whole process, whatever ``OMP_NUM_THREADS`` says, and for processes that are
    forked from it later. The thread that calls `sort` counts as one.

    Parameters
    ----------
    n : int
        The number of threads, 1 to 1024.

    Raises
    ------
    TypeError
        n is no integer.
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
        if _tell_runtime is not None:
            _tell_runtime(count)


def get_num_threads() -> int:
    """Return how many threads large sorts in CPU memory are spread over.

    That is what `set_num_threads` set; else ``OMP_NUM_THREADS``; else the number of cores that this
    process may run on, or what the quota of its control group (a container's limit) comes to,
    rounded up, where that is less.

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


def attach(tell_runtime: Callable[[int], None]) -> None:
    """Tell the runtime the number of threads, now and whenever it changes."""
    global _tell_runtime
    with _guard:
        _tell_runtime = tell_runtime
        tell_runtime(get_num_threads())


def default() -> tuple[int, str]:
    """Return the number of threads where none was set, and why."""
    chosen = None
    with contextlib.suppress(BuildError):  # `get_num_threads` warns
        chosen = settings.omp_num_threads()
    if chosen is not None:
        return min(chosen, _MAX), "OMP_NUM_THREADS"
    if hasattr(os, "sched_getaffinity"):
        cores, why = len(os.sched_getaffinity(0)), "the cores that this process may run on"
    else:
        cores, why = os.cpu_count() or 1, "the cores of this machine"
    quota = cpu_quota()
    if quota is not None and math.ceil(quota) < cores:
        return math.ceil(quota), f"the CPU quota of this process's control group, {quota:g} cores"
    return min(cores, _MAX), why
