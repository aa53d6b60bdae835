"""The command line: ``warp-bitonic-sort``, which is also ``python -m warp_bitonic_sort``.

Invariant: importing it loads click and the standard library only; what a command needs
besides (NumPy, matplotlib, tvm_ffi) is imported when the command runs, and a missing one is one
message that says what installs it. Nothing in the library imports this package.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import Any

import click

from .. import __version__
from ..operations import OPERATIONS
from .argsort import argsort
from .bench import bench
from .cache import cache
from .demo import demo
from .doctor import doctor
from .explain import explain
from .network import network
from .prewarm import prewarm
from .quantile import median, quantile
from .sort import sort
from .topk import topk

_HELP = """Sorts many short rows fast, with bitonic networks compiled on first use.

\b
  warp-bitonic-sort demo                  clean a noisy photograph, and time it
  warp-bitonic-sort sort in.npy out.npy   sort a file, larger than memory too
  warp-bitonic-sort argsort in.npy i.npy  the indices that sort a file
  warp-bitonic-sort topk i.npy o.npy -k 8 the 8 largest elements of each row
  warp-bitonic-sort median in.npy o.npy   the median of each row
  warp-bitonic-sort quantile i.npy o.npy -q 0.9   a quantile of each row
  warp-bitonic-sort bench                 time it beside NumPy, PyTorch, CuPy, Triton
  warp-bitonic-sort network 8             draw the network that sorts 8 values
  warp-bitonic-sort explain 1000x9        which kernel an array would get
  warp-bitonic-sort doctor                does everything work here?
  warp-bitonic-sort prewarm --length 2-32 compile kernels before they are asked for
  warp-bitonic-sort cache list            what is compiled, and where it lies

Every command has a --help of its own. In Python: from warp_bitonic_sort import sort.

Exit status: 0 when all went well, 1 on an error (one message on standard error), 2 when the command
line is wrong: an option, an argument, or a path to what is not there. Nothing was done then.
"""


class _Commands(click.Group):
    """Commands whose output may have nowhere to go; hints for operations that have none."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that is named, or say where a function without a command is."""
        function = args[0].replace("-", "_")
        if args[0] not in self.commands and function.replace("_", "") in self.commands:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {function.replace('_', '')}?")
        if function in OPERATIONS and function not in self.commands:
            ctx.fail(
                f"No such command {args[0]!r}: {function} is a function of the Python package. The "
                f"command sort --indices writes sorted values and their indices."
            )
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, and end the process."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if not kwargs.get("standalone_mode", True) or not _is_of_output(error):
                raise
            # What is left of it would be tried again when the process ends.
            with contextlib.suppress(AttributeError, OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, sys.stdout.fileno())
                os.close(null)
            click.echo(f"Error: the output cannot be written: {error.strerror}.", err=True)
            sys.exit(1)


def _is_of_output(error: OSError) -> bool:
    """Tell whether an error is from what click prints with, rather than from a command."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__") == click.utils.__name__


@click.group(
    cls=_Commands,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="warp-bitonic-sort")
def main() -> None:
    """Run the command line."""


for _command in (
    demo,
    sort,
    argsort,
    topk,
    median,
    quantile,
    bench,
    network,
    explain,
    doctor,
    prewarm,
    cache,
):
    main.add_command(_command)
