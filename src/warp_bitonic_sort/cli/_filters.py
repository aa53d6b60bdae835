"""The median filters that ``demo`` compares, and their times.

Invariant: every filter makes a cleaned picture of the same noisy one, and all are timed alternately
in one process. All pictures must agree bit for bit, and so must what this package and NumPy make of
the neighbourhoods. A time is the median of its runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from .. import explain, get_num_threads, set_num_threads
from ..jit import loader
from ..operations import order_statistics
from ..operations import sort as sorting

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

REPEATS = 5
Step = Literal["sort", "median"]


class Times(NamedTuple):
    """Seconds that a filter took.

    Parameters
    ----------
    name : str
        The library that did the work.
    threads : int
        On how many threads it worked.
    gather : float or None
        Copying the neighbourhoods; None for a filter that copies none.
    step : float or None
        Sorting the neighbourhoods, or computing their medians.
    whole : float
        From the noisy picture to the cleaned one.
    """

    name: str
    threads: int
    gather: float | None
    step: float | None
    whole: float


class Comparison(NamedTuple):
    """The results of all filters.

    Parameters
    ----------
    cleaned : numpy.ndarray
        The cleaned picture, of the dtype of the noisy one.
    step : str
        What is done with the neighbourhoods.
    first : float
        Seconds of this package's first sort, or its first medians.
    built : tuple of str
        The artifacts that it compiled.
    kernel, reason : str
        The kernel, and why it was chosen.
    times : list of Times
        One for each filter.
    left_out : list of str
        Why filters were left out.
    """

    cleaned: Array
    step: Step
    first: float
    built: tuple[str, ...]
    kernel: str
    reason: str
    times: list[Times]
    left_out: list[str]


class _Filter(NamedTuple):
    """A filter: what it is called, its threads, and a call that returns its picture and times."""

    name: str
    threads: int
    run: Callable[[], tuple[Array, list[float]]]


class _Way(NamedTuple):
    """How a noisy picture is cleaned in steps, the second of which is this package's or NumPy's.

    Parameters
    ----------
    gather : callable
        Copies the neighbourhoods of a picture, of some width and height.
    axis : int
        The axis of a neighbourhood.
    ours, numpys : callable
        What this package and NumPy do with the neighbourhoods.
    peer : str
        The name of NumPy's function.
    middles : callable
        Makes the picture's values of what they return, a new array.
    """

    gather: Callable[[Array, int], Array]
    axis: int
    ours: Callable[[Array], Array]
    numpys: Callable[[Array], Array]
    peer: str
    middles: Callable[[Array], Array]


def _way(step: Step, size: int, dtype: Any) -> _Way:
    import numpy as np

    if step == "sort":
        return _Way(
            neighbourhoods,
            1,
            lambda rows: sorting.sort(rows),
            lambda rows: np.sort(rows, axis=1),
            "np.sort",
            lambda ordered: ordered[:, size * size // 2].copy(),
        )
    return _Way(
        shifted,
        0,
        lambda stack: order_statistics.median(stack, axis=0),
        lambda stack: np.median(stack, axis=0),
        "np.median",
        lambda medians: medians.astype(dtype),
    )


def neighbourhoods(picture: Array, size: int) -> Array:
    """Return the neighbourhood of each pixel and colour as a row.

    Parameters
    ----------
    picture : numpy.ndarray
        (height, width, colours). Beyond its edges it goes on as at the edge.
    size : int
        Width and height of a neighbourhood, odd.

    Returns
    -------
    numpy.ndarray
        (height x width x colours, size x size), contiguous.
    """
    rows: Array = _windows(picture, size).reshape(-1, size * size)
    return rows


def shifted(picture: Array, size: int) -> Array:
    """Return the neighbourhood of each pixel and colour as a column: a stack of shifted pictures.

    Parameters
    ----------
    picture, size
        As for `neighbourhoods`.

    Returns
    -------
    numpy.ndarray
        (size x size, height x width x colours), contiguous.
    """
    windows = _windows(picture, size)
    stack: Array = windows.transpose(3, 4, 0, 1, 2).reshape(size * size, -1)
    return stack


def _windows(picture: Array, size: int) -> Array:
    """Return a view: the picture's axes, then the height and the width of a neighbourhood."""
    import numpy as np

    margin = size // 2
    padded = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), "edge")
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))


def compare(noisy: Array, size: int, step: Step = "sort") -> Comparison:
    """Clean a picture with every filter, alternately, and compare results and times.

    Parameters
    ----------
    noisy : numpy.ndarray
        (height, width, colours).
    size : int
        Width and height of a neighbourhood, odd.
    step : {"sort", "median"}, default "sort"
        Whether the neighbourhoods are sorted, or their medians computed.

    Raises
    ------
    click.ClickException
        Two results differ.
    """
    way = _way(step, size, noisy.dtype)
    gathered = way.gather(noisy, size)
    start = time.perf_counter()
    result = way.ours(gathered)
    first = time.perf_counter() - start
    built = tuple(sorted(loader.built()))
    plan = explain(gathered, axis=way.axis, operation=step)
    _check(way.peer, result, way.numpys(gathered), plan.shape)
    del gathered, result  # each run makes its own

    left_out: list[str] = []
    filters = [
        *_by_steps(noisy, size, way),
        *_of_scipy(noisy, size, left_out),
        *_of_opencv(noisy, size, left_out),
    ]
    runs: list[list[list[float]]] = [[] for _ in filters]
    cleaned: Array | None = None
    threads = get_num_threads()
    try:
        for _ in range(REPEATS):
            for index, filter_ in enumerate(filters):
                set_num_threads(filter_.threads)
                result, seconds = filter_.run()
                runs[index].append(seconds)
                cleaned = result if cleaned is None else cleaned
                _check(filter_.name, cleaned, result, plan.shape)
    finally:
        set_num_threads(threads)
    assert cleaned is not None  # noqa: S101 - there are filters, and runs
    times = [_times(filter_, taken) for filter_, taken in zip(filters, runs, strict=True)]
    kernel = plan.kernel or plan.route
    return Comparison(cleaned, step, first, built, kernel, plan.reason, times, left_out)


def _check(name: str, ours: Array, others: Array, shape: tuple[int, ...]) -> None:
    """Raise if a result differs from this package's."""
    if ours.tobytes() != others.tobytes():
        raise click.ClickException(
            f"this package and {name} disagree on an array of shape {shape}, with results of dtype "
            f"{ours.dtype}: that is a bug. Please report it with the output of: "
            f"warp-bitonic-sort doctor --json"
        )


def _times(of: _Filter, runs: list[list[float]]) -> Times:
    *parts, whole = (statistics.median(column) for column in zip(*runs, strict=True))
    gather, step = parts or (None, None)
    return Times(of.name, of.threads, gather, step, whole)


def _by_steps(noisy: Array, size: int, way: _Way) -> Iterator[_Filter]:
    """Yield this package's filters and NumPy's, which copy every neighbourhood first."""

    def filter_of(name: str, threads: int, work: Callable[[Array], Array]) -> _Filter:
        def run() -> tuple[Array, list[float]]:
            start = time.perf_counter()
            given = way.gather(noisy, size)
            gathered = time.perf_counter()
            result = work(given)
            worked = time.perf_counter()
            cleaned = way.middles(result).reshape(noisy.shape)
            return cleaned, [gathered - start, worked - gathered, time.perf_counter() - start]

        return _Filter(name, threads, run)

    for threads in sorted({1, get_num_threads()}):
        yield filter_of("warp_bitonic_sort", threads, way.ours)
    yield filter_of(way.peer, 1, way.numpys)


def _of_scipy(noisy: Array, size: int, left_out: list[str]) -> Iterator[_Filter]:
    """Yield SciPy's median filter, or append why it is left out."""
    name = "scipy.ndimage.median_filter"
    try:
        from scipy import ndimage
    except ImportError:
        left_out.append(f"{name} is left out: SciPy is not installed.")
        return

    def run() -> tuple[Array, list[float]]:
        start = time.perf_counter()
        cleaned = ndimage.median_filter(noisy, size=(size, size, 1), mode="nearest")
        return cleaned, [time.perf_counter() - start]

    try:
        ndimage.median_filter(noisy[:3, :3], size=(3, 3, 1))
    except (RuntimeError, TypeError) as error:  # SciPy takes no float16
        left_out.append(f"{name} is left out: of {noisy.dtype} it says: {error}.")
        return
    yield _Filter(name, 1, run)


def _of_opencv(noisy: Array, size: int, left_out: list[str]) -> Iterator[_Filter]:
    """Yield OpenCV's median filter, which uses one thread, or append why it is left out."""
    name = "cv2.medianBlur"
    try:
        import cv2
    except ImportError:
        left_out.append(f"{name} is left out: OpenCV is not installed.")
        return

    def run() -> tuple[Array, list[float]]:
        start = time.perf_counter()
        cleaned = cv2.medianBlur(noisy, size)
        return cleaned, [time.perf_counter() - start]

    try:
        cv2.medianBlur(noisy[:3, :3], size)
    except cv2.error:
        left_out.append(f"{name} is left out: it does not filter {noisy.dtype} by {size} x {size}.")
        return
    yield _Filter(name, 1, run)
