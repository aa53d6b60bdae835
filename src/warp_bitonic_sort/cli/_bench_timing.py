"""Times calls alternately, by the clock of the host or of a GPU, and tells whether that was noisy.

Invariant: calls that are compared are timed in turns within one process, so that other work on the
machine slows all of them alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Call = Callable[[], object]
# ``timer(call, count)``: the seconds of each of so many calls, after one that is not timed.
Timer = Callable[[Call, int], list[float]]

_BURST = 3
# Beyond these, the figures of a run are noise: the part of a median within which half of the calls
# lie, and the change of the reference from before to after.
MAX_SPREAD = 0.2
MAX_DRIFT = 0.1
# The part of a core that other programs may take: that is what an idle machine does.
_IDLE_LOAD = 0.5


def time_on_host(call: Call, count: int) -> list[float]:
    """Time calls by the host's clock.

    The first call is not timed, because it finds the caches and the allocator as the previous peer
    left them.
    """
    call()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def time_by_torch(call: Call, count: int) -> list[float]:
    """Time calls by events in PyTorch's current stream, after one that waits and is not timed."""
    import torch

    events = []
    for _ in range(count + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        events.append((start, end))
    torch.cuda.synchronize()
    return [float(start.elapsed_time(end)) / 1e3 for start, end in events[1:]]


def time_by_cupy(call: Call, count: int) -> list[float]:
    """Time calls by events in CuPy's current stream, after one that waits and is not timed."""
    import cupy

    events = []
    for _ in range(count + 1):
        start, end = (cupy.cuda.Event() for _ in range(2))
        start.record()
        call()
        end.record()
        events.append((start, end))
    events[-1][1].synchronize()
    return [float(cupy.cuda.get_elapsed_time(*pair)) / 1e3 for pair in events[1:]]


def interleaved(
    calls: Mapping[str, Call],
    seconds: float,
    min_calls: int = 5,
    timer: Timer = time_on_host,
) -> dict[str, list[float]]:
    """Call peers alternately until the time is up.

    Parameters
    ----------
    calls : mapping of str to callable
        The call of each peer.
    seconds : float
        How long.
    min_calls : int, default 5
        How often each peer is timed at least.
    timer : callable
        Times a few calls.

    Returns
    -------
    dict of str to list of float
        The seconds of every timed call of each peer.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < min_calls:
        for name, call in calls.items():
            times[name].extend(timer(call, _BURST))
    return times


def spread(seconds: Sequence[float]) -> float:
    """Return the width of the middle half of some times, as a part of their median."""
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return (high - low) / median


def noise_of_load(load: float | None, cores: int, threads: int) -> list[str]:
    """Return what is wrong with a machine that other programs use.

    Parameters
    ----------
    load : float or None
        The load average of the last minute before the run, where the system knows it.
    cores, threads : int
        What the machine has, and what the run uses.
    """
    if load is None or load <= cores - threads + _IDLE_LOAD:
        return []
    return [
        f"other programs use the machine: its load average was {load:.1f} before the run, which "
        f"needs {threads} of its {cores} core{'s' * (cores != 1)}"
    ]


def noise_of_reference(before: float, after: float) -> list[str]:
    """Return what is wrong with a machine whose speed changes while it measures."""
    drift = max(before, after) / min(before, after) - 1
    if drift <= MAX_DRIFT:
        return []
    slower = "slower" if after > before else "faster"
    return [f"the same copy was {drift:.0%} {slower} after the run than before"]


def noise_of_spread(spreads: Mapping[Any, float]) -> list[str]:
    """Return what is wrong with a run whose repeated calls take different times."""
    noisy = [value for value in spreads.values() if value > MAX_SPREAD]
    if not noisy:
        return []
    return [
        f"repeated calls took different times: in {len(noisy)} of {len(spreads)} cases, the middle "
        f"half of the times spreads by more than {MAX_SPREAD:.0%} of their median"
        f" (at most {max(noisy):.0%})"
    ]
