"""Measures cases of ``bench``: compares the answers of all ways, then times them alternately.

Invariant: a way that is timed gave this package's answer. The result of a run says of itself
whether the machine was too noisy for its figures to be quoted.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import click

from ..operations import OPERATIONS
from . import _bench_machine, _bench_peers, _bench_timing
from ._bench_devices import Device
from ._bench_peers import Case, Way

# The elements whose answers are compared: the first rows of large arrays.
_COMPARED = 1 << 20
# A call that takes less is repeated within each timing, so that the clock counts for little.
_SHORTEST = 1e-4
_REFERENCE_CALLS = 50


def measure(
    cases: Sequence[Case],
    device: Device,
    seconds: float,
    command: str,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Measure cases, and return the result, which can be written as JSON.

    Parameters
    ----------
    cases : sequence of Case
        What is measured.
    device : Device
        Where.
    seconds : float
        How long calls are timed in all. What is compiled takes time beside that.
    command : str
        The command, for the result.
    advance : callable
        Is called with 1 after each case.

    Raises
    ------
    click.ClickException
        A library returns another answer.
    """
    machine = _bench_machine.describe(command)
    machine["versions"].update(device.versions)
    if device.kind == "gpu":
        machine["gpu"] = device.name
    before = _reference(device)
    rows = []
    for case in cases:
        rows.append(_row(case, device, seconds / len(cases)))
        advance(1)
    after = _reference(device)
    threads = machine["threads"] if device.kind == "cpu" else 1
    noise = [
        *_bench_timing.noise_of_load(machine["load"], machine["cores"], threads),
        *_bench_timing.noise_of_reference(before, after),
        *_bench_timing.noise_of_spread({i: row["spread"] for i, row in enumerate(rows)}),
    ]
    return {
        "machine": machine,
        "device": device.kind,
        "quotable": not noise,
        "noise": noise,
        "reference": {"before": before, "after": after},
        "left_out": dict(device.left_out),
        "rows": rows,
    }


def _reference(device: Device) -> float:
    """Return the median seconds of a copy of a fixed array."""
    device.timer(device.copy, _REFERENCE_CALLS)
    return statistics.median(device.timer(device.copy, _REFERENCE_CALLS))


def _row(case: Case, device: Device, seconds: float) -> dict[str, Any]:
    """Return the times of a case."""
    x, payload = (device.put(each) for each in arrays_of(case))
    ours = _bench_peers.ours(case, x, payload)
    expected = [device.fetch(each) for each in ours()]
    source = device.fetch(x)
    ways, left_out = [], {}
    for way in device.ways(case, x, payload):
        try:
            answer = [device.fetch(each) for each in way.call()]
        except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            left_out[way.name] = (str(error).splitlines() or [type(error).__name__])[0]
            continue
        _check(case, way, source, expected, answer)
        ways.append(way)
    calls = {"ours": ours, **{way.name: way.call for way in ways}}
    numbers = {name: _number(device.timer(call, 1)[0]) for name, call in calls.items()}
    repeated = {name: _repeated(call, numbers[name]) for name, call in calls.items()}
    times = _bench_timing.interleaved(repeated, seconds, timer=device.timer)
    medians = {name: statistics.median(each) / numbers[name] for name, each in times.items()}
    fastest: dict[str, str] = {}
    for way in ways:
        best = fastest.setdefault(way.library, way.name)
        fastest[way.library] = min(best, way.name, key=lambda name: medians[name])
    arguments: dict[str, dict[str, float]] = {
        "top_k": {"k": case.k},
        "kthvalue": {"k": case.k},
        "quantile": {"q": case.q},
    }
    return {
        "operation": case.operation,
        "dtype": case.dtype,
        "rows": case.rows,
        "length": case.length,
        **arguments.get(case.operation, {}),
        "seconds": medians,
        "fastest": fastest,
        "spread": max(_bench_timing.spread(times[name]) for name in ("ours", *fastest.values())),
        "calls": {name: len(each) for name, each in times.items()},
        "left_out": left_out,
    }


def arrays_of(case: Case) -> tuple[Any, Any]:
    """Return the rows of a case, and what goes along with them, as arrays of NumPy.

    Floats are normal numbers, and integers are of the whole range. Where results are computed, they
    are of a quarter of it: NumPy's quantile subtracts one element from another.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    shape = case.rows, case.length
    if case.dtype == "bfloat16":
        import ml_dtypes

        x = rng.standard_normal(shape, np.float32).astype(ml_dtypes.bfloat16)
    elif case.dtype.startswith("float"):
        x = rng.standard_normal(shape, np.float32).astype(case.dtype)
    else:
        info = np.iinfo(case.dtype)
        part = 4 if OPERATIONS[case.operation].computes else 1
        x = rng.integers(info.min // part, info.max // part, shape, case.dtype, endpoint=True)
    return x, rng.standard_normal(shape, np.float32)


def _check(case: Case, way: Way, x: Any, expected: Sequence[Any], answer: Sequence[Any]) -> None:
    """Raise if a way's answer differs from this package's in the first rows."""
    import numpy as np

    rows = max(1, _COMPARED // case.length)
    operation = OPERATIONS[case.operation]
    same = len(expected) == len(answer)
    for ours, theirs, output in zip(expected, answer, operation.outputs, strict=False):
        ours, theirs = ours[:rows], theirs[:rows]
        if output.role == "index" and not way.stable and ours.shape == theirs.shape:
            # Any of equal elements will do, but each one once.
            places = [each.reshape(len(each), -1).astype("int64") for each in (ours, theirs)]
            wanted, found = (np.take_along_axis(x[:rows], each, -1) for each in places)
            same &= np.array_equal(wanted, found)
            same &= bool((np.diff(np.sort(places[1], -1), axis=-1) > 0).all())
        elif operation.computes:
            precision = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5}
            tolerance = precision.get(case.dtype, 1e-12) * float(np.abs(ours).max())
            same &= ours.shape == theirs.shape
            same = same and np.allclose(theirs, ours, rtol=0, atol=tolerance)
        else:
            same &= np.array_equal(ours, theirs)
    if not same:
        raise click.ClickException(
            f"this package and {way.name} disagree on {case.operation} of {case.rows} x "
            f"{case.length} {case.dtype}, so that nothing was timed: one of them has a bug. Please "
            f"report it with the output of: warp-bitonic-sort doctor --json"
        )


def _number(seconds: float) -> int:
    """Return how often a call of so many seconds is repeated within a timing."""
    return max(1, math.ceil(_SHORTEST / max(seconds, 1e-9)))


def _repeated(call: Callable[[], object], number: int) -> Callable[[], object]:
    if number == 1:
        return call

    def run() -> None:
        for _ in range(number):
            call()

    return run
