"""The bitonic network in flip form, as data: what ``network`` draws.

Invariant: pure, and the network of ``csrc/include/warp_bitonic_sort/network/bitonic.hpp``, which
puts smaller leaves for up to 32 keys in the place of the first phases: every comparator leaves the
smaller key at the smaller position, and those that touch a position at or beyond the row's length
are dropped, because only pads would be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# The positions that it compares, the smaller one first.
Comparator = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """Comparators that run at the same time.

    Parameters
    ----------
    phase : int
        The phase that it belongs to, from 1; phase p merges blocks of 2^(p-1) into blocks of 2^p.
    mask : int
        It compares position i with i ^ mask.
    comparators : tuple of Comparator
        Its comparators, by their smaller position.
    """

    phase: int
    mask: int
    comparators: tuple[Comparator, ...]


def network_steps(length: int) -> list[Step]:
    """Return the steps of the network that sorts rows of a length.

    Parameters
    ----------
    length : int
        Elements in a row, at least 1.
    """
    steps = []
    for phase in range(1, _bits(length) + 1):
        # The flip, then the half-cleaners.
        masks = [(1 << phase) - 1, *(1 << bit for bit in reversed(range(phase - 1)))]
        steps += [Step(phase, mask, _comparators(length, mask)) for mask in masks]
    return steps


def _bits(length: int) -> int:
    return (length - 1).bit_length()


def _comparators(length: int, mask: int) -> tuple[Comparator, ...]:
    return tuple((i, i ^ mask) for i in range(length) if i < i ^ mask < length)


def bitonic_comparators(length: int) -> int:
    """Return Batcher's count of comparators at the capacity that holds a row: n B (B + 1) / 4."""
    bits = _bits(length)
    return (bits * (bits + 1) << bits) // 4


def bitonic_depth(length: int) -> int:
    """Return Batcher's depth at the capacity that holds a row: B (B + 1) / 2."""
    bits = _bits(length)
    return bits * (bits + 1) // 2


def columns(comparators: Iterable[Comparator]) -> list[list[Comparator]]:
    """Spread comparators over as few columns as keep those in one column apart.

    Parameters
    ----------
    comparators : iterable of Comparator
        The comparators of a step, by their smaller position.
    """
    spread: list[list[Comparator]] = []
    for low, high in comparators:
        # Interval colouring: in this order the first column with room is the best.
        free: Sequence[list[Comparator]] = [column for column in spread if column[-1][1] < low]
        if free:
            free[0].append((low, high))
        else:
            spread.append([(low, high)])
    return spread
