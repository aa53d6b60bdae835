"""The command ``demo``: cleans a noisy photograph with a rank filter, and times the sort.

Invariant: what is timed is sorted twice, by this package and by NumPy, on the very same rows, and
the two results must agree bit for bit.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import explain, get_num_threads, ops
from ..jit import building
from ._common import need, reported
from ._paths import OutputFile

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

__all__ = ["demo"]

_PHOTOGRAPH = "grace_hopper.jpg"
_REPEATS = 5
_LARGEST_SIZE = 15
# Those of NumPy's own that hold every value of an 8-bit photograph exactly.
_DTYPES = ("uint8", "uint16", "int16", "int32", "float16", "float32", "float64")

_HELP = f"""Clean a noisy photograph by sorting each pixel's neighbourhood.

The photograph is the one that matplotlib carries ({_PHOTOGRAPH}). Salt-and-pepper noise turns a
fraction of its pixels black or white. Then each pixel's SIZE x SIZE neighbourhood becomes a row,
one for each colour; all rows are sorted, and their middle column, the medians, is the clean
picture. Nearly a million short rows: what this package is for. np.sort sorts the same rows for
comparison.

Writes one picture, which is replaced if it is there: original, noisy and cleaned side by side.
Reads no file of yours. The kernel is compiled on first use, which takes some seconds.

Needs NumPy and matplotlib (the extra demo brings them): pip install numpy matplotlib

\b
Examples:
  warp-bitonic-sort demo
  warp-bitonic-sort demo --size 7 --noise 0.4 --output cleaned.png

Exit status: 0; 1 on an error, also when the two sorts differ, which would be a bug; 2 when the
command line is wrong.
"""


def _odd(context: click.Context, parameter: click.Parameter, value: int) -> int:  # noqa: ARG001
    if value % 2 == 0:
        raise click.BadParameter(f"expected an odd number, which has a middle; got {value}.")
    return value


@click.command(help=_HELP)
@click.option(
    "--size",
    type=click.IntRange(3, _LARGEST_SIZE),
    default=5,
    show_default=True,
    callback=_odd,
    help="Width and height of a neighbourhood, odd.",
)
@click.option(
    "--noise",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="The fraction of pixels that are made black or white.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the noise.")
@click.option(
    "--dtype",
    type=click.Choice(_DTYPES),
    default="uint8",
    show_default=True,
    help="The dtype of the rows; the photograph is uint8.",
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    default=Path("demo.png"),
    show_default=True,
    help="The picture; the ending says its format.",
)
def demo(size: int, noise: float, seed: int, dtype: str, output: Path) -> None:
    """Run the demo."""
    need("numpy", "matplotlib")
    _refuse_format(output)
    with reported(_PHOTOGRAPH):
        original = _photograph()
    noisy = _with_noise(original, noise, seed)
    rows = _neighbourhoods(noisy, size, dtype)
    height, width, channels = original.shape
    click.echo(
        f"The photograph that matplotlib carries ({_PHOTOGRAPH}, {width} x {height}, "
        f"{channels} colours), {noise:.0%} of its pixels made black or white.\n"
        f"Rank filter: each pixel's {size} x {size} neighbourhood is a row, its median the result."
    )
    with reported():
        measured = _measure(rows)
        kernel = explain(rows)
    cleaned = measured.result[:, size * size // 2].reshape(original.shape).astype("uint8")
    _tell(measured, rows)
    click.echo(
        f"Kernel: {kernel.kernel}\n"
        f"  {kernel.reason}\n"
        f"Noise: {_psnr(original, noisy)} before, {_psnr(original, cleaned)} after "
        "(PSNR against the original; more is better)"
    )
    panels = {
        "Original": original,
        f"Noisy: PSNR {_psnr(original, noisy)}": noisy,
        f"Cleaned: PSNR {_psnr(original, cleaned)}": cleaned,
    }
    with reported(click.format_filename(output)):
        _draw(panels, output)
    click.echo(f"Picture: {click.format_filename(output)}")


# -- the picture ----------------------------------------------------------------------------------


def _photograph() -> Array:
    """Return the photograph as (height, width, colours) of uint8."""
    import matplotlib.image
    import numpy as np
    from matplotlib import cbook

    path = cbook.get_sample_data(_PHOTOGRAPH, asfileobj=False)
    picture: Array = np.array(matplotlib.image.imread(str(path)))
    return picture


def _with_noise(picture: Array, fraction: float, seed: int) -> Array:
    """Return the picture with a fraction of its pixels made black or white."""
    import numpy as np

    drawn = np.random.default_rng(seed).random(picture.shape[:2])
    noisy: Array = picture.copy()
    noisy[drawn < fraction / 2] = 0
    noisy[(fraction / 2 <= drawn) & (drawn < fraction)] = 255
    return noisy


def _neighbourhoods(picture: Array, size: int, dtype: str) -> Array:
    """Return the neighbourhood of each pixel and colour as a row of (pixels x colours, size^2)."""
    import numpy as np

    margin = size // 2
    padded = np.pad(picture.astype(dtype), ((margin, margin), (margin, margin), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    rows: Array = windows.reshape(-1, size * size)
    return rows


def _psnr(original: Array, other: Array) -> str:
    import numpy as np

    error = np.mean((original.astype(np.float64) - other) ** 2)
    return f"{10 * np.log10(255**2 / error):.1f} dB" if error else "no error"


def _refuse_format(output: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # (pgf takes a TeX beside matplotlib.)
    formats = sorted(FigureCanvasAgg.get_supported_filetypes().keys() - {"pgf"})
    if output.suffix.removeprefix(".").lower() not in formats:
        raise click.BadParameter(
            f"{click.format_filename(output)}: the ending gives the picture's format; expected one "
            f"of {', '.join(f'.{each}' for each in formats)}.",
            param_hint="--output",
        )


def _draw(panels: dict[str, Array], output: Path) -> None:
    """Draw pictures side by side under their titles."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A Figure of its own, without pyplot: no display, no state that outlives it. Places are worked
    # out here because layout engines cut the titles of pictures that fill the figure.
    height, width, _ = next(iter(panels.values())).shape
    gap, title_room, panel_width = 0.15, 0.5, 4.3  # inches
    panel_height = panel_width * height / width
    whole = (len(panels) * (panel_width + gap) + gap, panel_height + title_room + gap)
    figure = Figure(figsize=whole)
    FigureCanvasAgg(figure)
    for index, (title, picture) in enumerate(panels.items()):
        left = gap + index * (panel_width + gap)
        place = (left / whole[0], gap / whole[1], panel_width / whole[0], panel_height / whole[1])
        axes = figure.add_axes(place)
        axes.imshow(picture, interpolation="lanczos")
        axes.set_title(title, fontsize=15, pad=10)
        axes.set_axis_off()
    figure.savefig(output, dpi=130)


# -- the measurement ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measured:
    """The sorted rows, and seconds: of the first call, and medians of this package and of NumPy.

    `built` is what the first call compiled.
    """

    result: Array
    first: float
    built: tuple[str, ...]
    ours: float
    numpys: float


def _timed(call: Callable[[], Array]) -> tuple[float, Array]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def _measure(rows: Array) -> _Measured:
    """Sort the rows with this package and with NumPy, in turns."""
    import numpy as np

    first, _ = _timed(lambda: ops.sort(rows))
    built = tuple(sorted(building.built()))
    ours, numpys = [], []
    for _ in range(_REPEATS):
        seconds, result = _timed(lambda: ops.sort(rows))
        ours.append(seconds)
        seconds, expected = _timed(lambda: np.sort(rows, axis=-1))
        numpys.append(seconds)
    if result.tobytes() != expected.tobytes():
        raise click.ClickException(
            f"this package and np.sort disagree on {rows.shape} {rows.dtype}: that is a bug. "
            "Please report it with the output of: warp-bitonic-sort doctor --json"
        )
    return _Measured(result, first, built, statistics.median(ours), statistics.median(numpys))


def _tell(measured: _Measured, rows: Array) -> None:
    count, length = rows.shape
    ratio = measured.numpys / measured.ours
    compared = f"{ratio:.1f} times as fast" if ratio >= 1 else f"{1 / ratio:.1f} times as slow"
    what = f"it compiled {', '.join(measured.built)}" if measured.built else "kernel from the cache"
    threads = get_num_threads()
    click.echo(
        f"Sorting {count:,} rows of {length} {rows.dtype}. The kernel is compiled on first use, "
        "then kept in the cache.\n"
        f"  first call           {measured.first * 1e3:9.1f} ms  {what}\n"
        f"  warp_bitonic_sort    {measured.ours * 1e3:9.1f} ms  on {threads} thread"
        f"{'s' * (threads != 1)}\n"
        f"  np.sort              {measured.numpys * 1e3:9.1f} ms  on one thread\n"
        f"  warp_bitonic_sort is {compared}; both results agree bit for bit "
        f"(medians of {_REPEATS} runs in turns)"
    )
