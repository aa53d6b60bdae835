"""Which cells of the grid of kernels the tests compile: a covering set, or all of them.

All with ``WARP_SORT_TESTS_GRID=whole`` in the environment.

Invariant: in the covering set, any two values of different axes meet in a cell: every layout at
every width, every codec in every layout, and so on; and `FEW` lengths are there for every key.
"""

import functools
import itertools
import os

from support.covering import pairwise
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.plan import MAX_REGISTER_LENGTH

# Lengths of rows in registers that every dtype is tested with, in every access.
FEW = (2, 3, 9, 25, 32)
KEYS = sorted({(dtype.codec, dtype.bits) for dtype in DTYPES.values()})
IS_WHOLE_GRID = os.environ.get("WARP_SORT_TESTS_GRID") == "whole"


@functools.cache
def cpu_cells() -> list[tuple[str, int, int, str]]:
    """The codec, bits, length and access of the register kernels that tests of `sort` use."""
    codecs, bits = (sorted(set(each)) for each in zip(*KEYS, strict=True))
    lengths = range(2, MAX_REGISTER_LENGTH + 1)
    accesses = ("rows", "columns")
    whole = [(*key, *each) for key in KEYS for each in itertools.product(lengths, accesses)]
    if IS_WHOLE_GRID:
        return whole
    few = [cell for cell in whole if cell[2] in FEW]
    axes = (codecs, bits, lengths, accesses)
    more = pairwise(*axes, allowed=lambda codec, bits, *_: (codec, bits) in KEYS, given=few)
    return few + more


def register_lengths(name: str, access: str) -> list[int]:
    """The lengths of the register kernels of a dtype that tests of `sort` use."""
    dtype = DTYPES[name]
    key = (dtype.codec, dtype.bits)
    return sorted(cell[2] for cell in cpu_cells() if cell[:2] == key and cell[3] == access)
