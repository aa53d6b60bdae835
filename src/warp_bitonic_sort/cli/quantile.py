"""The commands ``median`` and ``quantile``: write the quantiles of the rows of a .npy file.

Invariant: as for the command ``sort``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ..operations import order_statistics
from ..quantiles import Method
from ._paths import OutputFile, SomePath
from ._reduce_file import Reduction, reduce_file, reduction_options

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_RESULT = """OUT gets the memory order of IN, and its shape without the axis. Floats keep their
dtype; results of integers and bools are float64. Files larger than memory, an existing OUT, errors
and signals are treated as by the command sort. IN and OUT may be the same file."""

_MEDIAN_HELP = f"""Write the median of each row of the .npy file IN into the .npy file OUT.

The median of a row of even length is the mean of its two middle elements.

{_RESULT}

\b
Examples:
  warp-bitonic-sort median in.npy out.npy
  warp-bitonic-sort median images.npy out.npy --axis 0 --nan omit

Exit status: as of the command sort, 0 when OUT holds the result.
"""

_QUANTILE_HELP = f"""Write quantiles of each row of the .npy file IN into the .npy file OUT.

{_RESULT} If Q is a list, the quantiles are along a new first axis.

\b
Examples:
  warp-bitonic-sort quantile in.npy out.npy -q 0.9
  warp-bitonic-sort quantile in.npy out.npy -q 0.05,0.5,0.95 --axis 0 --nan omit

Exit status: as of the command sort, 0 when OUT holds the result.
"""


def _quantiles(
    context: click.Context,  # noqa: ARG001 - the signature of callbacks
    parameter: click.Parameter,  # noqa: ARG001
    value: str,
) -> list[float]:
    """Return the numbers of a list with commas."""
    try:
        numbers = [float(word) for word in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers, as 0.05,0.5 is.") from None
    for number in numbers:
        if not 0 <= number <= 1:
            raise click.BadParameter(f"expected numbers from 0 to 1, got {number}.")
    return numbers


_SOURCE = click.argument(
    "source", metavar="IN", type=SomePath(exists=True, dir_okay=False, path_type=Path)
)
_TARGET = click.argument("target", metavar="OUT", type=OutputFile())


@click.command(help=_MEDIAN_HELP)
@_SOURCE
@_TARGET
@reduction_options
def median(source: Path, target: Path, **options: Any) -> None:
    """Write the medians of a file."""
    chosen = Reduction(**options)

    def reduce(rows: Array) -> Array:
        result: Array = order_statistics.median(rows, axis=1, nan=chosen.nan)
        return result

    reduce_file(source, target, chosen, (), reduce)


@click.command(help=_QUANTILE_HELP)
@_SOURCE
@_TARGET
@click.option(
    "-q",
    "quantiles",
    required=True,
    callback=_quantiles,
    metavar="Q[,Q...]",
    help="The quantiles: a number from 0 to 1, or a list.",
)
@click.option(
    "--method",
    type=click.Choice(get_args(Method)),
    default="linear",
    show_default=True,
    metavar="NAME",
    help="What is written where a quantile lies between two elements. "
    f"One of {', '.join(get_args(Method))}.",
)
@reduction_options
def quantile(
    source: Path, target: Path, quantiles: list[float], method: Method, **options: Any
) -> None:
    """Write quantiles of a file."""
    chosen = Reduction(**options)
    leading = () if len(quantiles) == 1 else (len(quantiles),)

    def reduce(rows: Array) -> Array:
        result: Array = order_statistics.quantile(
            rows, quantiles, axis=1, method=method, nan=chosen.nan
        )
        return result

    reduce_file(source, target, chosen, leading, reduce)
