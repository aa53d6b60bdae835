"""The command ``demo``: cleans a noisy photograph with a median filter, and times that.

Invariant: nothing is read but the photograph, and nothing written but the picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import click

from ._common import need, reported
from ._filters import REPEATS, Comparison, Step, Times, compare
from ._paths import OutputFile, write_file
from ._picture import bytes_of, check_format, format_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_PHOTOGRAPH = "grace_hopper.jpg"
_LARGEST_SIZE = 15
# NumPy's own dtypes that hold every value of an 8-bit photograph.
_DTYPES = ("uint8", "uint16", "int16", "int32", "float16", "float32", "float64")


class _Words(NamedTuple):
    """What the text says of a step: a title before the rows, and what the times are of."""

    title: str
    gather: str
    whole: str


_STEPS = {
    "sort": _Words(
        "Sorting",
        "NumPy copies each neighbourhood into a row, on one thread",
        "gather, sort, and the middle column",
    ),
    "median": _Words(
        "Medians of",
        "NumPy stacks shifted pictures, on one thread; a neighbourhood is a column",
        "gather, median, and the conversion to the picture's dtype",
    ),
}

_HELP = f"""Clean a noisy photograph with a median filter.

The photograph is the one that matplotlib carries ({_PHOTOGRAPH}). Salt-and-pepper noise turns a
fraction of its pixels black or white. Then each pixel's SIZE x SIZE neighbourhood becomes a row,
one for each colour; all rows are sorted, and their middle column, the medians, is the clean
picture. Nearly a million short rows: what this package is for.

With --filter median, the neighbourhoods are columns of a stack of shifted pictures, and the
function median returns the clean picture.

For comparison the same is done with np.sort or np.median, and with scipy.ndimage.median_filter and
cv2.medianBlur where SciPy and OpenCV are installed. This package is timed on one thread and on all
that it may use.

Writes one picture, which is replaced if it is there: original, noisy and cleaned side by side.
Reads no file of yours. The kernel is compiled on first use, which takes some seconds.

Needs NumPy and matplotlib (the extra demo brings them): pip install numpy matplotlib

\b
Examples:
  warp-bitonic-sort demo
  warp-bitonic-sort demo --filter median
  warp-bitonic-sort demo --size 7 --noise 0.4 --output cleaned.png

Exit status: 0; 1 on an error, also when two filters differ, which would be a bug; 2 when the
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
    "--filter",
    "step",
    type=click.Choice(get_args(Step)),
    default="sort",
    show_default=True,
    help="Sort the neighbourhoods, or compute their medians.",
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
    help="The dtype of the neighbourhoods; the photograph is uint8.",
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    default=Path("demo.png"),
    show_default=True,
    help="The picture; the ending says its format.",
)
def demo(size: int, step: Step, noise: float, seed: int, dtype: str, output: Path) -> None:
    """Run the demo."""
    need("numpy", "matplotlib")
    check_format(output, "--output")
    with reported(_PHOTOGRAPH):
        original = _photograph()
    noisy = _with_noise(original, noise, seed)
    height, width, channels = original.shape
    click.echo(
        f"The photograph that matplotlib carries ({_PHOTOGRAPH}, {width} x {height}, "
        f"{channels} colours), {noise:.0%} of its pixels made black or white.\n"
        f"Median filter: each pixel becomes the median of its {size} x {size} neighbourhood."
    )
    with reported():
        compared = compare(noisy.astype(dtype), size, step)
    cleaned = compared.cleaned.astype("uint8")
    _print_times(compared, f"{original.size:,} rows of {size * size} {dtype}")
    click.echo(
        f"Kernel: {compared.kernel}\n"
        f"  {compared.reason}\n"
        f"Noise: {_psnr(original, noisy)} before, {_psnr(original, cleaned)} after "
        "(PSNR against the original; more is better)"
    )
    panels = {
        "Original": original,
        f"Noisy: PSNR {_psnr(original, noisy)}": noisy,
        f"Cleaned: PSNR {_psnr(original, cleaned)}": cleaned,
    }
    with reported(click.format_filename(output)):
        picture = _draw(panels, format_of(output))
    write_file(output, picture)
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


def _psnr(original: Array, other: Array) -> str:
    import numpy as np

    error = np.mean((original.astype(np.float64) - other) ** 2)
    return f"{10 * np.log10(255**2 / error):.1f} dB" if error else "no error"


def _draw(panels: dict[str, Array], picture_format: str) -> bytes:
    """Return a file of pictures side by side under their titles."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A Figure without pyplot needs no display and leaves no state. Layout engines would cut the
    # titles, so the positions are computed here.
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
    return bytes_of(figure, picture_format, dpi=130)


# -- the text -------------------------------------------------------------------------------------


def _print_times(compared: Comparison, rows: str) -> None:
    """Print the times of the filters and their ratios."""
    step = compared.step
    what = f"it compiled {', '.join(compared.built)}" if compared.built else "kernel from the cache"
    click.echo(
        f"{_STEPS[step].title} {rows}. The kernel is compiled on first use, then kept in the "
        f"cache.\n"
        f"  first {step}: {compared.first * 1e3:.1f} ms, {what}\n"
        f"Milliseconds (medians of {REPEATS} alternating runs; all results agree bit for bit):\n"
        f"  {'':<28} threads   gather {step:>8}  whole filter"
    )
    for times in compared.times:
        click.echo(
            f"  {times.name:<28} {times.threads:>7} {_ms(times.gather):>8} {_ms(times.step):>8} "
            f"{_ms(times.whole):>13}"
        )
    click.echo(f"  gather: {_STEPS[step].gather}\n  whole filter: {_STEPS[step].whole}")
    for reason in compared.left_out:
        click.echo(f"  {reason}")
    ours = [times for times in compared.times if times.name == "warp_bitonic_sort"]
    for peer in compared.times[len(ours) :]:
        for times in ours:
            click.echo(f"{_compared(times, peer, step)}.")


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.1f}"


def _compared(ours: Times, other: Times, step: Step) -> str:
    """Return how this package's times compare with a peer's."""
    threads = f"{ours.threads} thread{'s' * (ours.threads != 1)}"
    whole = _ratio(ours.whole, other.whole)
    text = f"On {threads}, the whole filter is {whole} as {other.name} on {other.threads}"
    if ours.step is not None and other.step is not None:
        text += f", the {step} alone {_ratio(ours.step, other.step)}"
    return text


def _ratio(ours: float, others: float) -> str:
    ratio = others / ours
    return f"{ratio:.1f} times as fast" if ratio >= 1 else f"{1 / ratio:.1f} times as slow"
