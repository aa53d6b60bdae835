"""Covering arrays: few cases in which every two values of different axes meet.

Invariant: deterministic. The same axes give the same cases in the same order, on every machine.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any


def pairwise(
    *axes: Sequence[Any],
    allowed: Callable[..., bool] = lambda *_: True,
) -> list[tuple[Any, ...]]:
    """Return cases, one value of each axis, in which every pair of values of two axes occurs.

    The first pair is that of the two longest axes, so there are at least as many cases as their
    lengths' product; a good choice has few more. The cases are chosen greedily: each covers as many
    new pairs as any other would, and several such are taken in a fixed order that favours no value.

    Parameters
    ----------
    *axes : sequence
        The values of each axis.
    allowed : callable, optional
        Called with a value of each axis: whether that case exists. A pair that occurs in no allowed
        case is not required.
    """
    cases = [case for case in itertools.product(*axes) if allowed(*case)]
    random.Random(0).shuffle(cases)  # noqa: S311
    pairs = [set(itertools.combinations(enumerate(case), 2)) for case in cases]
    missing = set().union(*pairs)
    # A gain only shrinks, so a case whose gain is up to date and still the greatest is the best.
    heap = [(-len(each), number) for number, each in enumerate(pairs)]
    heapq.heapify(heap)
    chosen = []
    while missing:
        _, number = heapq.heappop(heap)
        gain = (-len(pairs[number] & missing), number)
        if heap and gain > heap[0]:
            heapq.heappush(heap, gain)
            continue
        missing -= pairs[number]
        chosen.append(cases[number])
    return chosen
