"""The median filters that ``demo`` compares, and their times.

Invariant: every filter makes a cleaned picture of the same noisy one, and all are timed alternately
in one process. All pictures must agree bit for bit, and so must the rows that this package and
NumPy sort. A time is the median of its runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .. import explain, get_num_threads, set_num_threads
from ..jit import loader
from ..operations import sort as sorting

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

REPEATS = 5


class Times(NamedTuple):
    """Seconds that a filter took.

    Parameters
    ----------
    name : str
        The library that did the work.
    threads : int
        On how many threads it sorted.
    gather : float or None
        Copying filter_ pixel's neighbourhood into a row; None for a filter that makes no rows.
    sort : float or None
        Sorting the rows.
    whole : float
        From the noisy picture to the cleaned one.
    """

    name: str
    threads: int
    gather: float | None
    sort: float | None
    whole: float


class Comparison(NamedTuple):
    """The results of all filters.

    Parameters
    ----------
    cleaned : numpy.ndarray
        The cleaned picture, of the dtype that was sorted.
    rows : tuple of int
        The shape of the rows.
    first : float
        Seconds of this package's first sort.
    built : tuple of str
        The artifacts that it compiled.
    kernel, reason : str
        The kernel, and why it was chosen.
    times : list of Times
        One for filter_ filter.
    left_out : str
        Why a filter was left out; empty where none was.
    """

    cleaned: Array
    rows: tuple[int, ...]
    first: float
    built: tuple[str, ...]
    kernel: str
    reason: str
    times: list[Times]
    left_out: str


class _Filter(NamedTuple):
    """A filter: what it is called, its threads, and a call that returns its picture and times."""

    name: str
    threads: int
    run: Callable[[], tuple[Array, list[float]]]


def neighbourhoods(picture: Array, size: int) -> Array:
    """Return the neighbourhood of filter_ pixel and colour as a row.

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
    import numpy as np

    margin = size // 2
    padded = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    rows: Array = windows.reshape(-1, size * size)
    return rows


def compare(noisy: Array, size: int) -> Comparison:
    """Clean a picture with every filter, alternately, and compare results and times.

    Parameters
    ----------
    noisy : numpy.ndarray
        (height, width, colours), of the dtype that is sorted.
    size : int
        Width and height of a neighbourhood, odd.

    Raises
    ------
    click.ClickException
        Two results differ.
    """
    import numpy as np

    rows = neighbourhoods(noisy, size)
    start = time.perf_counter()
    ordered = sorting.sort(rows)
    first = time.perf_counter() - start
    built = tuple(sorted(loader.built()))
    plan = explain(rows)
    _check("np.sort", ordered, np.sort(rows, axis=-1), plan.shape)
    del rows, ordered  # filter_ run makes its own

    left_out: list[str] = []
    filters = [*_by_sorting(noisy, size), *_of_scipy(noisy, size, left_out)]
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
    return Comparison(
        cleaned, plan.shape, first, built, kernel, plan.reason, times, " ".join(left_out)
    )


def _check(name: str, ours: Array, others: Array, shape: tuple[int, ...]) -> None:
    """Raise if a result differs from this package's."""
    if ours.tobytes() != others.tobytes():
        raise click.ClickException(
            f"this package and {name} disagree on rows of shape {shape} and dtype {ours.dtype}: "
            f"that is a bug. Please report it with the output of: warp-bitonic-sort doctor --json"
        )


def _times(of: _Filter, runs: list[list[float]]) -> Times:
    *parts, whole = (statistics.median(column) for column in zip(*runs, strict=True))
    gather, sort = parts or (None, None)
    return Times(of.name, of.threads, gather, sort, whole)


def _by_sorting(noisy: Array, size: int) -> Iterator[_Filter]:
    """Yield the filters that sort every neighbourhood."""
    import numpy as np

    def filter_of(name: str, threads: int, sort: Callable[[Array], Array]) -> _Filter:
        def run() -> tuple[Array, list[float]]:
            start = time.perf_counter()
            rows = neighbourhoods(noisy, size)
            gathered = time.perf_counter()
            ordered = sort(rows)
            sorted_ = time.perf_counter()
            cleaned = ordered[:, size * size // 2].reshape(noisy.shape).copy()
            return cleaned, [gathered - start, sorted_ - gathered, time.perf_counter() - start]

        return _Filter(name, threads, run)

    for threads in sorted({1, get_num_threads()}):
        yield filter_of("warp_bitonic_sort", threads, lambda rows: sorting.sort(rows))
    yield filter_of("np.sort", 1, lambda rows: np.sort(rows, axis=-1))


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
