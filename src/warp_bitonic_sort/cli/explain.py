"""The command ``explain``: which kernel a call would get, and why.

Invariant: it prints what `warp_bitonic_sort.explain` says and compiles nothing.
"""

from __future__ import annotations

import itertools
import os
import re

import click

from ..explain import explain as explain_call
from ..operations import OPERATIONS
from ._common import DTYPE, reported
from ._sort_file import index_dtype_option

_HELP = """Say which kernel sorts an array of SHAPE, whether a cache holds it compiled, and why
that one. Nothing is compiled or sorted.

SHAPE is the sizes of a row-major array with an x between them: 1000x9 is shape (1000, 9).

Writes no file; the answer goes to standard output.

\b
Examples:
  warp-bitonic-sort explain 1000x9
  warp-bitonic-sort explain 512x25x8 --axis 1 --dtype uint8
  warp-bitonic-sort explain 1000x9 --operation argsort
  warp-bitonic-sort explain 1000x256 --operation top_k -k 8

Exit status: 0, or 1 when a variable of the environment is wrong, or 2 when the command line is.
"""

_NAN_MODES = list(dict.fromkeys(itertools.chain(*(o.nan_modes for o in OPERATIONS.values()))))


def _sizes(
    context: click.Context,  # noqa: ARG001 - the signature of callbacks
    parameter: click.Parameter,  # noqa: ARG001
    value: str,
) -> tuple[int, ...]:
    """Return the sizes that have an x between them."""
    if not re.fullmatch(r"[0-9]{1,18}([xX][0-9]{1,18})*", value):
        raise click.BadParameter(f"{value!r} is not sizes with an x between them, as 1000x9 is.")
    return tuple(int(size) for size in re.split("[xX]", value))


@click.command(help=_HELP)
@click.argument("shape", callback=_sizes)
@click.option(
    "--dtype",
    type=DTYPE,
    metavar="NAME",
    default="float32",
    show_default=True,
    help=f"One of {', '.join(DTYPE.choices)}.",
)
@click.option("--axis", type=int, default=-1, show_default=True, help="The axis to sort along.")
@click.option(
    "--operation",
    type=click.Choice(list(OPERATIONS)),
    metavar="NAME",
    default="sort",
    show_default=True,
    help=f"One of {', '.join(OPERATIONS)}.",
)
@click.option("-k", type=int, help="As for top_k and kthvalue, which need it.")
@click.option("--descending", is_flag=True, help="The largest value comes first.")
@click.option(
    "--nan",
    type=click.Choice(_NAN_MODES),
    metavar="MODE",
    default="largest",
    help="As for the operation: largest or last; propagate or omit for median and quantile.",
)
@index_dtype_option
def explain(
    shape: tuple[int, ...],
    dtype: str,
    axis: int,
    operation: str,
    k: int | None,
    descending: bool,
    nan: str,
    index_dtype: str | None,
) -> None:
    """Print what `warp_bitonic_sort.explain` says."""
    with reported():
        try:
            answer = explain_call(
                shape,
                dtype=dtype,
                axis=axis,
                operation=operation,
                descending=descending,
                nan=nan,
                index_dtype=index_dtype,
                k=k,
            )
        except (TypeError, ValueError) as error:  # about axis, nan, index_dtype or k
            argument, _, message = str(error).partition(": ")
            option = "'-k'" if argument == "k" else f"'--{argument.replace('_', '-')}'"
            raise click.BadParameter(message, param_hint=option) from error
    # As bytes: the folder of a cache may hold what the terminal's encoding cannot.
    click.echo(os.fsencode(str(answer)))
