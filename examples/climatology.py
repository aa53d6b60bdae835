"""The climatology of a sea surface: quantiles of each month over many years, with missing values.

Run it with ``python examples/climatology.py`` where NumPy is installed.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from warp_bitonic_sort import quantile


class Field(NamedTuple):
    """An array whose axes have names, as in xarray.

    Parameters
    ----------
    values : ndarray
        The values; NaN marks those that are missing.
    dims : tuple of str
        The name of each axis.
    """

    values: NDArray[np.float32]
    dims: tuple[str, ...]


def quantiles_along(field: Field, q: Sequence[float], dims: Collection[str]) -> Field:
    """Return quantiles of the values that are not missing.

    The result begins with the axis "quantile". It is NaN where all values are missing.

    Parameters
    ----------
    field : Field
        The values.
    q : sequence of float
        The quantiles, from 0 to 1.
    dims : collection of str
        The axes to reduce.
    """
    axes = tuple(field.dims.index(name) for name in dims)
    kept = (name for name in field.dims if name not in dims)
    return Field(quantile(field.values, q, axis=axes, nan="omit"), ("quantile", *kept))


def share_above(field: Field, limit: NDArray[np.float32], weights: NDArray[np.float64]) -> float:
    """Return the weighted share of the values that are above a limit; missing ones do not count."""
    is_there = ~np.isnan(field.values) & ~np.isnan(limit)
    is_above = (field.values > limit) & is_there
    return float((is_above * weights).sum() / (is_there * weights).sum())


def observations(random: np.random.Generator, latitude: NDArray[np.float64]) -> Field:
    """Return temperatures of 30 years that become warmer, without land and clouded months."""
    years, months, longitudes = 30, 12, 180
    season = np.cos(2 * np.pi * (np.arange(months) - 7) / months)
    mean = 28 * np.cos(np.deg2rad(latitude)) + 6 * np.outer(season, np.sin(np.deg2rad(latitude)))
    warming = 0.02 * np.arange(years)
    values = random.normal(0, 0.8, (years, months, len(latitude), longitudes)).astype(np.float32)
    values += (mean + warming[:, None, None])[..., None].astype(np.float32)
    values[random.random(values.shape, np.float32) < 0.15] = np.nan
    values[..., random.random((len(latitude), longitudes)) < 0.3] = np.nan  # land
    return Field(values, ("year", "month", "latitude", "longitude"))


def main() -> None:
    """Print what is normal at two latitudes, and how often recent months were hot."""
    latitude = np.arange(-89.0, 90, 2)
    temperature = observations(np.random.default_rng(0), latitude)
    shape = " x ".join(map(str, temperature.values.shape))
    print(f"{' x '.join(temperature.dims)}: {shape}, {np.isnan(temperature.values).mean():.0%} NaN")

    # Years are the slowest axis in memory: they are sorted where they are, without a copy.
    normal = quantiles_along(temperature, [0.1, 0.5, 0.9], ["year"])
    zonal = quantiles_along(temperature, [0.1, 0.5, 0.9], ["year", "longitude"])
    for name, at in [("equator", 0), ("50 degrees north", 50)]:
        row = int(np.abs(latitude - at).argmin())
        low, middle, high = zonal.values[:, 7, row]
        print(
            f"August, {name}: {middle:.1f} degrees, in four of five cells {low:.1f} to {high:.1f}"
        )

    weights = np.cos(np.deg2rad(latitude))[:, None]  # the area of a cell
    for name, part in [("first", slice(5)), ("last", slice(-5, None))]:
        years = temperature._replace(values=temperature.values[part])
        share = share_above(years, normal.values[2], weights)
        print(f"above the 90th percentile in the {name} 5 years: {share:.1%}")


if __name__ == "__main__":
    main()
