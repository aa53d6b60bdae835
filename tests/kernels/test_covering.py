"""Covering arrays of test cases: every pair is there, in few cases."""

import itertools

import pytest

from support.covering import pairwise


def _pairs(cases):
    return {pair for case in cases for pair in itertools.combinations(enumerate(case), 2)}


@pytest.mark.parametrize("lengths", [(3, 2), (9, 31, 2), (4, 4, 4, 4), (13, 7, 3, 3, 2)])
def test_pairwise_covers_every_pair_in_few_cases(lengths):
    axes = [range(length) for length in lengths]
    cases = pairwise(*axes)
    assert _pairs(cases) == _pairs(itertools.product(*axes))
    longest = sorted(lengths)[-2:]
    assert len(cases) <= 2 * longest[0] * longest[1]
    assert len(cases) == len(set(cases))


def test_pairwise_of_equal_axes_returns_equal_cases():
    axes = ("abc", [1, 2, 3, 4], (True, False))
    assert pairwise(*axes) == pairwise(*axes)


def test_pairwise_with_allowed_covers_what_is_allowed_and_nothing_else():
    def allowed(bits, codec, length):
        return not (codec == "fnuz" and bits != 8) and length <= bits

    axes = ((8, 16, 32), ("integer", "ieee", "fnuz"), range(2, 33))
    cases = pairwise(*axes, allowed=allowed)
    every = [case for case in itertools.product(*axes) if allowed(*case)]
    assert set(cases) <= set(every)
    assert _pairs(cases) == _pairs(every)


def test_pairwise_of_no_allowed_case_is_empty():
    assert pairwise("ab", "cd", allowed=lambda *_: False) == []
