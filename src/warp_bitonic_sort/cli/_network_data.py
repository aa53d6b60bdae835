"""Sorting networks as data: what ``network`` and the explorer draw.

Invariant: pure, and the networks of ``csrc/include/warp_bitonic_sort/network``: every comparator
leaves the smaller key at the smaller position, and those that touch a position at or beyond the
row's length are dropped, because only pads would be there. The smallest known networks of up to 32
keys are read from the header that the kernels include.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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


# The numbers of keys, as powers of two, for which the kernels have smallest known networks.
LEAF_BITS = (2, 3, 4, 5)
_LEAVES = Path(__file__).parents[1] / "csrc/include/warp_bitonic_sort/network/leaves.hpp"


@functools.cache
def leaf(bits: int) -> tuple[Comparator, ...]:
    """Return the comparators of the smallest known network for 2^bits keys, in their order.

    Parameters
    ----------
    bits : int
        One of `LEAF_BITS`.
    """
    macros = dict(re.findall(r"#define (WBS_LEAF_\d+)\(.*?\)((?:.*\\\n)+.*)", _LEAVES.read_text()))
    text = macros[f"WBS_LEAF_{1 << bits}"]
    # Two halves, whose keys have the names k0 to k15 and l0 to l15.
    halves = [
        tuple((low + first, high + first) for low, high in leaf(bits - 1))
        for number, first in enumerate(range(0, 1 << bits, 1 << (bits - 1)))
        if f"WBS_LEAF_{1 << (bits - 1)}(C, S, {'kl'[number]})" in text
    ]
    keys = [
        int(number) + 16 * (name == "l") for name, number in re.findall(r"\b([kl])##(\d+)", text)
    ]
    return (*(pair for half in halves for pair in half), *zip(keys[::2], keys[1::2], strict=True))


def layers(comparators: Iterable[Comparator]) -> list[tuple[Comparator, ...]]:
    """Divide a sequence of comparators into steps, each as early as its positions are free."""
    steps: list[list[Comparator]] = []
    busy: dict[int, int] = {}
    for low, high in comparators:
        step = max(busy.get(low, 0), busy.get(high, 0))
        if step == len(steps):
            steps.append([])
        steps[step].append((low, high))
        busy[low] = busy[high] = step + 1
    return [tuple(sorted(step)) for step in steps]


def kernel_steps(bits: int, leaf_bits: int) -> list[tuple[Comparator, ...]]:
    """Return the steps of a kernel's network: leaves in blocks of registers, merged as bitonic.

    Parameters
    ----------
    bits : int
        The network sorts 2^bits positions.
    leaf_bits : int
        Blocks of 2^leaf_bits are sorted by leaves, at most all positions.
    """
    blocks = range(0, 1 << bits, 1 << leaf_bits)
    leaves = [(low + first, high + first) for first in blocks for low, high in leaf(leaf_bits)]
    merges = [step.comparators for step in network_steps(1 << bits) if step.phase > leaf_bits]
    return [*layers(leaves), *merges]
