"""The median filters of the demo: what is compared, and on how many threads."""

import sys

import click
import numpy as np
import pytest
from scipy import ndimage

from warp_bitonic_sort import get_num_threads, set_num_threads
from warp_bitonic_sort.cli._filters import compare, neighbourhoods
from warp_bitonic_sort.operations import sort as sorting

PICTURE = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


@pytest.fixture
def four_threads():
    before = get_num_threads()
    set_num_threads(4)
    yield
    set_num_threads(before)


def test_neighbourhoods_are_those_that_scipy_filters():
    rows = neighbourhoods(PICTURE, 5)
    assert rows.shape == (9 * 7 * 3, 25)
    medians = np.median(rows, axis=1).reshape(PICTURE.shape)
    expected = ndimage.median_filter(PICTURE, size=(5, 5, 1), mode="nearest")
    np.testing.assert_array_equal(medians, expected)


@pytest.mark.usefixtures("four_threads")
def test_compare_times_one_thread_and_all_of_them():
    compared = compare(PICTURE, 3)
    assert [(each.name, each.threads) for each in compared.times] == [
        ("warp_bitonic_sort", 1),
        ("warp_bitonic_sort", 4),
        ("np.sort", 1),
        ("scipy.ndimage.median_filter", 1),
    ]
    for each in compared.times[:3]:
        assert 0 < max(each.gather, each.sort) < each.whole
    assert compared.times[3].sort is None
    assert compared.left_out == ""
    expected = ndimage.median_filter(PICTURE, size=(3, 3, 1), mode="nearest")
    np.testing.assert_array_equal(compared.cleaned, expected)


@pytest.mark.usefixtures("four_threads")
def test_compare_sorts_on_the_threads_that_it_names(monkeypatch):
    seen = []
    monkeypatch.setattr(sorting, "sort", lambda x: seen.append(get_num_threads()) or np.sort(x))
    compare(PICTURE, 3)
    assert seen == [4, *[1, 4] * 5]  # the first sort, then turns
    assert get_num_threads() == 4


def test_compare_without_scipy_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    compared = compare(PICTURE, 3)
    assert "scipy.ndimage.median_filter" not in [each.name for each in compared.times]
    assert compared.left_out.endswith("is left out: SciPy is not installed.")


def test_compare_of_what_scipy_does_not_take_says_so():
    compared = compare(PICTURE.astype(np.float16), 3)
    assert "scipy.ndimage.median_filter is left out: of float16 it says: " in compared.left_out


@pytest.mark.usefixtures("four_threads")
def test_compare_of_filters_that_differ_raises_and_puts_the_threads_back(monkeypatch):
    monkeypatch.setattr(sorting, "sort", lambda x: np.sort(x)[:, ::-1] + 1)
    with pytest.raises(click.ClickException, match=r"np\.sort disagree on rows of shape"):
        compare(PICTURE, 3)
    assert get_num_threads() == 4
