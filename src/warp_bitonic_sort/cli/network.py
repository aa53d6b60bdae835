"""The command ``network``: draws the bitonic network, in the terminal or as SVG, or as a page.

Invariant: it draws the steps that `_network_data.network_steps` returns, and knows nothing else
about the network. `_explorer` makes the page.
"""

from __future__ import annotations

import shutil
import sys
import xml.etree.ElementTree as ET
from itertools import groupby
from pathlib import Path

import click

from ._explorer import MAX_LENGTH, explorer_html
from ._network_data import Step, bitonic_comparators, bitonic_depth, columns, network_steps
from ._paths import OutputFile, write_file

_HELP = f"""Draw the bitonic network that sorts rows of LENGTH values (2 to {MAX_LENGTH}).

Each horizontal line is a position of the row, each vertical one a comparator: it leaves the
smaller value at its upper end. Phase p merges sorted blocks of 2^(p-1) into blocks of 2^p; the
number over a step is the xor that links the positions it compares. When LENGTH is no power of two,
the comparators that would touch positions beyond it are left out.
Kernels sort blocks of up to 16 or 32 values by smaller networks than these
phases, and merge them as drawn.

The picture goes to standard output, as wide as the terminal (80 columns, or COLUMNS, in a pipe) and
cut into stripes where it is wider; or to FILE, which is replaced, as an SVG. Counts follow.
With --html, FILE becomes a page for a browser, in which values travel through this network and
through those of the kernels, step by step.

\b
Examples:
  warp-bitonic-sort network 8
  warp-bitonic-sort network 64 --svg network.svg
  warp-bitonic-sort network 16 --html network.html

Exit status: 0, or 1 when writing FILE fails, or 2 when the command line is wrong, as it is when
FILE's folder does not exist.
"""

# The characters for a terminal without Unicode.
_ASCII = str.maketrans({"─": "-", "┬": "+", "┴": "+", "┼": "|"})


@click.command(help=_HELP)
@click.argument("length", type=click.IntRange(2, MAX_LENGTH))
@click.option(
    "--svg",
    type=OutputFile(),
    metavar="FILE",
    help="Draw into this file instead.",
)
@click.option(
    "--html",
    type=OutputFile(),
    metavar="FILE",
    help="Write a page with the network in motion into this file instead.",
)
def network(length: int, svg: Path | None, html: Path | None) -> None:
    """Draw the network of a length."""
    steps = network_steps(length)
    if html is not None:
        write_file(html, explorer_html(length).encode())
    if svg is None and html is None:
        picture = draw_text(length, steps, shutil.get_terminal_size().columns)
        click.echo(picture if _shows_unicode() else picture.translate(_ASCII))
        click.echo()
    if svg is not None:
        write_file(svg, draw_svg(length, steps))
    click.echo(_counts(length, steps))
    if svg is not None:
        click.echo(f"picture: {click.format_filename(svg)}")
    if html is not None:
        click.echo(f"page: {click.format_filename(html)}")


def _shows_unicode() -> bool:
    try:
        "─┬┴┼".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _counts(length: int, steps: list[Step]) -> str:
    count = sum(len(step.comparators) for step in steps)
    bits = (length - 1).bit_length()
    capacity = 1 << bits
    formula = bitonic_comparators(length)
    lines = [
        f"{length} positions: {count} comparators in {len(steps)} steps",
        f"Batcher's formula for n = 2^{bits} = {capacity}: "
        f"n x {bits} x {bits + 1} / 4 = {formula} comparators, "
        f"{bits} x {bits + 1} / 2 = {bitonic_depth(length)} steps",
    ]
    if count != formula:
        lines.append(
            f"dropped, as they would touch positions beyond {length - 1}: "
            f"{formula - count} comparators"
        )
    return "\n".join(lines)


# -- text -----------------------------------------------------------------------------------------


def _block(length: int, step: Step, starts_phase: bool) -> list[str]:
    """Draw one step: the phase's line, the xor's line, and a line for each position."""
    drawn = columns(step.comparators)
    grid = [["─"] * (2 * len(drawn) + 1) for _ in range(length)]
    for index, column in enumerate(drawn):
        for low, high in column:
            for wire in range(low + 1, high):
                grid[wire][2 * index + 1] = "┼"
            grid[low][2 * index + 1] = "┬"
            grid[high][2 * index + 1] = "┴"
    heads = [f"phase {step.phase}" if starts_phase else "", f"^{step.mask}"]
    width = max(len(grid[0]), *(len(head) + 1 for head in heads))
    heads = [head.ljust(width) for head in heads]
    return heads + ["".join(wire).ljust(width, "─") for wire in grid]


def draw_text(length: int, steps: list[Step], width: int) -> str:
    """Draw a network with characters.

    Parameters
    ----------
    length : int
        Positions.
    steps : list of Step
        The network.
    width : int
        Characters in a line. A wider picture is cut between steps; a step itself is never cut.
    """
    labels = ["", "", *(str(wire) for wire in range(length))]
    margin = max(map(len, labels))
    left = [f"{label:>{margin}} " for label in labels]
    stripes: list[list[str]] = []
    previous = 0
    for step in steps:
        block = _block(length, step, starts_phase=step.phase != previous)
        previous = step.phase
        if not stripes or len(stripes[-1][0]) + len(block[0]) > width:
            stripes.append(left)
        stripes[-1] = [line + piece for line, piece in zip(stripes[-1], block, strict=True)]
    return "\n\n".join("\n".join(line.rstrip() for line in stripe) for stripe in stripes)


# -- SVG ------------------------------------------------------------------------------------------

_ROW, _COLUMN, _GAP = 20, 14, 16
_LEFT, _TOP, _RIGHT, _BOTTOM = 40, 58, 20, 18
_INK, _QUIET, _SHADES = "#1b3a57", "#5b6770", ("#eef3f8", "#dde8f2")


def _add(parent: ET.Element, tag: str, text: str = "", **attributes: object) -> ET.Element:
    names = {name.replace("_", "-"): str(value) for name, value in attributes.items()}
    element = ET.SubElement(parent, tag, names)
    element.text = text or None
    return element


def _step_width(step: Step) -> int:
    return (len(columns(step.comparators)) - 1) * _COLUMN + 2 * _GAP


def draw_svg(length: int, steps: list[Step]) -> bytes:
    """Draw a network as an SVG document.

    Parameters
    ----------
    length : int
        Positions.
    steps : list of Step
        The network.
    """
    width = _LEFT + sum(map(_step_width, steps)) + _RIGHT
    height = _TOP + (length - 1) * _ROW + _BOTTOM
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(width),
            "height": str(height),
            "viewBox": f"0 0 {width} {height}",
            "font-family": "Helvetica, Arial, sans-serif",
        },
    )
    _add(svg, "title", f"Bitonic sorting network of {length} positions")
    _add(svg, "rect", width=width, height=height, fill="white")
    shades, wires, marks = (_add(svg, "g", id=name) for name in ("phases", "wires", "comparators"))
    for wire in range(length):
        y = _TOP + wire * _ROW
        _add(wires, "line", x1=_LEFT - 8, y1=y, x2=width - 12, y2=y, stroke="#9aa7b2")
        _add(
            wires,
            "text",
            str(wire),
            x=_LEFT - 14,
            y=y + 4,
            font_size=12,
            fill=_QUIET,
            text_anchor="end",
        )
    x = _LEFT
    for phase, group in groupby(steps, key=lambda step: step.phase):
        start = x
        for step in group:
            _draw_step(marks, step, x)
            x += _step_width(step)
        _add(
            shades,
            "rect",
            x=start,
            y=8,
            width=x - start,
            height=height - 14,
            fill=_SHADES[phase % 2],
        )
        # The first phase is too narrow for more than its number.
        label = f"phase {phase}" if x - start >= 60 else f"{phase}"
        _add(
            shades,
            "text",
            label,
            x=(start + x) / 2,
            y=25,
            font_size=13,
            font_weight="bold",
            fill=_INK,
            text_anchor="middle",
        )
    ET.indent(svg)
    document: bytes = ET.tostring(svg, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _draw_step(parent: ET.Element, step: Step, x: int) -> None:
    center = x + _step_width(step) / 2
    _add(
        parent,
        "text",
        f"^{step.mask}",
        x=center,
        y=42,
        font_size=11,
        fill=_QUIET,
        text_anchor="middle",
    )
    for index, column in enumerate(columns(step.comparators)):
        at = x + _GAP + index * _COLUMN
        for low, high in column:
            top, bottom = _TOP + low * _ROW, _TOP + high * _ROW
            _add(parent, "line", x1=at, y1=top, x2=at, y2=bottom, stroke=_INK, stroke_width=2)
            for y in (top, bottom):
                _add(parent, "circle", cx=at, cy=y, r=3.5, fill=_INK)
