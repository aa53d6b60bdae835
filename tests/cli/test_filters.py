"""The median filters of the demo: what is compared, and on how many threads."""

import sys
from types import SimpleNamespace

import click
import numpy as np
import pytest
from scipy import ndimage

from warp_bitonic_sort import get_num_threads, set_num_threads
from warp_bitonic_sort.cli._filters import compare, neighbourhoods, shifted
from warp_bitonic_sort.operations import order_statistics
from warp_bitonic_sort.operations import sort as sorting

PICTURE = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


@pytest.fixture
def four_threads():
    before = get_num_threads()
    set_num_threads(4)
    yield
    set_num_threads(before)


class Cv2Error(Exception):
    pass


def median_blur(picture, size):
    """What OpenCV does, with its limits."""
    if picture.dtype != np.uint8 and size > 5:
        raise Cv2Error
    return ndimage.median_filter(picture, size=(size, size, 1), mode="nearest")


@pytest.fixture
def opencv(monkeypatch):
    """A stand-in for OpenCV."""
    module = SimpleNamespace(medianBlur=median_blur, error=Cv2Error)
    monkeypatch.setitem(sys.modules, "cv2", module)
    return module


def test_neighbourhoods_are_those_that_scipy_filters():
    rows = neighbourhoods(PICTURE, 5)
    assert rows.shape == (9 * 7 * 3, 25)
    medians = np.median(rows, axis=1).reshape(PICTURE.shape)
    expected = ndimage.median_filter(PICTURE, size=(5, 5, 1), mode="nearest")
    np.testing.assert_array_equal(medians, expected)


def test_shifted_pictures_have_the_neighbourhoods_as_columns():
    np.testing.assert_array_equal(shifted(PICTURE, 5), neighbourhoods(PICTURE, 5).T)


@pytest.mark.usefixtures("four_threads", "opencv")
@pytest.mark.parametrize(("step", "peer"), [("sort", "np.sort"), ("median", "np.median")])
def test_compare_times_one_thread_and_all_of_them(step, peer):
    compared = compare(PICTURE, 3, step)
    assert [(each.name, each.threads) for each in compared.times] == [
        ("warp_bitonic_sort", 1),
        ("warp_bitonic_sort", 4),
        (peer, 1),
        ("scipy.ndimage.median_filter", 1),
        ("cv2.medianBlur", 1),
    ]
    for each in compared.times[:3]:
        assert 0 < max(each.gather, each.step) < each.whole
    assert compared.times[3].step is None
    assert compared.left_out == []
    expected = ndimage.median_filter(PICTURE, size=(3, 3, 1), mode="nearest")
    np.testing.assert_array_equal(compared.cleaned, expected, strict=True)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int16"])
def test_compare_with_opencv_agrees_with_it(dtype):
    pytest.importorskip("cv2")
    for size in (3, 5):
        for step in ("sort", "median"):
            compared = compare(PICTURE.astype(dtype), size, step)
            assert compared.times[-1].name == "cv2.medianBlur"


@pytest.mark.usefixtures("four_threads")
def test_compare_sorts_on_the_threads_that_it_names(monkeypatch):
    seen = []
    monkeypatch.setattr(sorting, "sort", lambda x: seen.append(get_num_threads()) or np.sort(x))
    compare(PICTURE, 3)
    assert seen == [4, *[1, 4] * 5]  # the first sort, then turns
    assert get_num_threads() == 4


def test_compare_without_scipy_and_opencv_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    compared = compare(PICTURE, 3, "median")
    assert [each.name for each in compared.times][-1] == "np.median"
    assert compared.left_out == [
        "scipy.ndimage.median_filter is left out: SciPy is not installed.",
        "cv2.medianBlur is left out: OpenCV is not installed.",
    ]


@pytest.mark.usefixtures("opencv")
def test_compare_of_what_scipy_and_opencv_do_not_take_says_so():
    compared = compare(PICTURE.astype(np.float16), 7, "median")
    of_scipy, of_opencv = compared.left_out
    assert "scipy.ndimage.median_filter is left out: of float16 it says: " in of_scipy
    assert of_opencv == "cv2.medianBlur is left out: it does not filter float16 by 7 x 7."


@pytest.mark.usefixtures("four_threads")
def test_compare_of_medians_that_differ_raises(monkeypatch):
    median = order_statistics.median
    monkeypatch.setattr(order_statistics, "median", lambda x, axis: median(x, axis=axis) + 1)
    with pytest.raises(click.ClickException, match=r"np\.median disagree on an array of shape"):
        compare(PICTURE, 3, "median")


def test_compare_with_an_opencv_that_differs_raises(opencv):
    opencv.medianBlur = lambda picture, size: median_blur(picture, size) ^ 1
    with pytest.raises(click.ClickException, match=r"cv2\.medianBlur disagree"):
        compare(PICTURE, 3)


@pytest.mark.usefixtures("four_threads")
def test_compare_of_filters_that_differ_raises_and_puts_the_threads_back(monkeypatch):
    monkeypatch.setattr(sorting, "sort", lambda x: np.sort(x)[:, ::-1] + 1)
    with pytest.raises(click.ClickException, match=r"np\.sort disagree on an array of shape"):
        compare(PICTURE, 3)
    assert get_num_threads() == 4
