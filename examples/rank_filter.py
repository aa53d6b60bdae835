"""A rank filter: each pixel becomes the k-th smallest of its neighbourhood.

Run it with ``python examples/rank_filter.py`` where NumPy is installed.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from warp_bitonic_sort import sort


def rank_filter(image: NDArray[np.float32], size: int, rank: int) -> NDArray[np.float32]:
    """Return the image whose pixels have a rank within their square neighbourhoods.

    Parameters
    ----------
    image : ndarray
        A grey image.
    size : int
        The side of the neighbourhood, an odd number.
    rank : int
        0 for the minimum, ``size * size // 2`` for the median, ``size * size - 1`` for the maximum.
    """
    padded = np.pad(image, size // 2, mode="edge")
    # Each pixel's neighbours as one short row.
    neighbours = sliding_window_view(padded, (size, size)).reshape(*image.shape, size * size)
    ranked: NDArray[np.float32] = sort(neighbours)
    return ranked[..., rank]


def main() -> None:
    """Remove salt and pepper noise from a gradient."""
    random = np.random.default_rng(0)
    clean = np.add.outer(np.arange(200), np.arange(300)).astype(np.float32)
    is_noise = random.random(clean.shape) < 0.05
    noise = random.choice(np.array([0, 500], np.float32), clean.shape)
    noisy = np.where(is_noise, noise, clean)
    filtered = rank_filter(noisy, size=5, rank=12)
    for name, image in [("noisy", noisy), ("filtered", filtered)]:
        print(f"{name}: mean error {np.abs(image - clean).mean():.2f}")


if __name__ == "__main__":
    main()
