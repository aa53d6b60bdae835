"""Arrays of any strides that hypothesis draws."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from warp_bitonic_sort.targets.cpu.layouts import MAX_REGISTER_LENGTH

from . import cells, oracle


def array(draw, rng, name):
    """An array of some strides: sliced, stepped, reversed, transposed, broadcast, misaligned."""
    rank = draw(st.integers(1, 4))
    # Any axis may be the sorted one, so each has a length that every dtype is compiled for.
    sizes = st.sampled_from([0, 1, *(length for length in cells.FEW if length < 13)])
    shape = tuple(draw(st.lists(sizes, min_size=rank, max_size=rank)))
    if draw(st.booleans()):
        longer = draw(st.integers(0, rank - 1))
        size = draw(st.sampled_from([*cells.FEW, *range(MAX_REGISTER_LENGTH + 1, 91)]))
        shape = (*shape[:longer], size, *shape[longer + 1 :])
    steps = [draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in shape]
    base = oracle.random(
        name, tuple(n * abs(s) + 1 for n, s in zip(shape, steps, strict=True)), rng
    )
    x = base[tuple(
        slice(1, None, s) if s > 0 else slice(None, 0, s) for s in steps
    )]  # fmt: skip
    x = x[tuple(slice(0, n) for n in shape)]
    assert x.shape == shape
    x = x.transpose(draw(st.permutations(range(rank))))
    form = draw(st.sampled_from(["as it is", "broadcast", "misaligned", "read-only", "fortran"]))
    if form == "broadcast":
        axis = draw(st.integers(0, rank - 1))
        assume(x.shape[axis] > 0)
        x = np.broadcast_to(x[(slice(None),) * axis + (slice(0, 1),)], x.shape)
    elif form == "misaligned":
        raw = np.zeros(x.size * x.itemsize + 1, np.uint8)
        raw[1:] = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
        x = raw[1:].view(x.dtype).reshape(x.shape)
    elif form == "read-only":
        x = x.copy()
        x.flags.writeable = False
    elif form == "fortran":
        x = np.asfortranarray(x)
    return x
