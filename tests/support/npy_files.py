"""What the tests of commands on ``.npy`` files share: the rows, the call and the check."""

import numpy as np
from click.testing import CliRunner

from warp_bitonic_sort.cli import main

# Shapes of arrays, each with the axis of the rows.
SHAPES_AND_AXES = [
    ((60, 70), 0),
    ((60, 70), 1),
    ((40, 37, 51), 1),
    ((2, 3, 40, 5), -2),
    ((), 0),
    ((0, 5), 1),
]


def invoke(*arguments):
    """Run the command line in this process."""
    return CliRunner().invoke(main, [*map(str, arguments)])


def values(shape):
    """Few different values, to have ties, and no NaN or zero, which NumPy sorts otherwise."""
    return np.random.default_rng(0).integers(1, 9, shape).astype(np.float32)


def check(file, want, order):
    """Assert that a file holds an array in a memory order, and that nothing is left beside it."""
    result = np.load(file)
    assert result.dtype == want.dtype
    assert result.flags["F_CONTIGUOUS" if order == "F" else "C_CONTIGUOUS"]
    np.testing.assert_array_equal(result, want, strict=True)
    assert not list(file.parent.glob(".*"))
