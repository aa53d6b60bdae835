"""Combine exposures of one scene: the median of each pixel, without the pixels that are masked.

Run it with ``python examples/image_stack.py`` where NumPy is installed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from warp_bitonic_sort import median, quantile


class Combined(NamedTuple):
    """One image of many.

    Parameters
    ----------
    image : ndarray
        The median of each pixel; NaN where every exposure is masked.
    spread : ndarray
        The distance of the quartiles of each pixel, which cosmic rays hardly change.
    """

    image: NDArray[np.float32]
    spread: NDArray[np.float32]


def combine(exposures: NDArray[np.float32]) -> Combined:
    """Combine exposures.

    Parameters
    ----------
    exposures : ndarray
        Images of shape (exposures, height, width). NaN marks pixels that do not count.
    """
    # Exposures are the slowest axis in memory: they are sorted where they are, without a copy.
    low, high = quantile(exposures, [0.25, 0.75], axis=0, nan="omit")
    return Combined(median(exposures, axis=0, nan="omit"), high - low)


def main() -> None:
    """Combine noisy exposures with cosmic rays and dead pixels."""
    random = np.random.default_rng(0)
    clean = np.add.outer(np.arange(200), np.arange(300)).astype(np.float32)
    exposures = clean + random.normal(0, 5, (25, *clean.shape)).astype(np.float32)
    exposures[random.random(exposures.shape) < 0.02] = 10000
    exposures[random.random(exposures.shape) < 0.05] = np.nan
    combined = combine(exposures)
    mean = np.nanmean(exposures, axis=0)
    for name, image in [("mean", mean), ("median", combined.image)]:
        print(f"{name}: mean error {np.abs(image - clean).mean():.2f}")
    print(f"typical spread {np.mean(combined.spread):.2f}")


if __name__ == "__main__":
    main()
