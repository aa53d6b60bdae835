"""Draws how many times as fast this package is, by the length of rows.

Invariant: the background is transparent, and every colour can be read on white and on black. Equal
figures of one version of matplotlib give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._picture import bytes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# For each panel, the points (row length, times as fast) of each peer.
Panels = Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]

_NEUTRAL = "#767676"
_WARNING = "#d02020"
_COLOURS = ("#1a7fc4", "#d55e00", "#009e73", "#c2609a", "#a07800", "#7a6fd0", "#767676")
_MARKERS = "osD^vPX"
_ACROSS = 3


def draw(panels: Panels, ylabel: str, warning: str = "") -> Figure:
    """Draw curves side by side; the line at 1 is where a peer is as fast.

    Parameters
    ----------
    panels : mapping
        The points of each peer, for each panel.
    ylabel : str
        What the points are.
    warning : str, optional
        A line above the picture.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    across = 2 if len(panels) == 4 else min(_ACROSS, len(panels))
    down = -(-len(panels) // across)
    with rc_context({"font.size": 10, "text.color": _NEUTRAL, "axes.labelcolor": _NEUTRAL}):
        figure = Figure(figsize=(4.2 * across, 3.4 * down + 0.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(down, across, squeeze=False)
        for axis in list(axes.flat)[len(panels) :]:
            axis.set_axis_off()
        for axis, (title, curves) in zip(axes.flat, panels.items(), strict=False):
            for name, points in curves.items():
                index = names.index(name) % len(_COLOURS)
                axis.plot(
                    *zip(*sorted(points), strict=True),
                    color=_COLOURS[index],
                    marker=_MARKERS[index],
                    markersize=5,
                    label=name,
                )
            axis.axhline(1, color=_NEUTRAL, linestyle="--", linewidth=1)
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.set_title(title, color=_NEUTRAL, fontsize=11)
            axis.tick_params(which="both", colors=_NEUTRAL)
            axis.grid(color=_NEUTRAL, alpha=0.25)
            axis.patch.set_alpha(0)
            for spine in axis.spines.values():
                spine.set_color(_NEUTRAL)
            for each in (axis.xaxis, axis.yaxis):
                each.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                each.set_minor_formatter(NullFormatter())
        for row in axes:
            row[0].set_ylabel(ylabel)
        figure.supxlabel("row length", fontsize=10, color=_NEUTRAL)
        handles: dict[str, Any] = {}
        for axis in axes.flat:
            handles.update(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        if handles or warning:
            legend = figure.legend(
                handles.values(),
                handles.keys(),
                loc="outside upper center",
                ncols=4,
                frameon=False,
                labelcolor=_NEUTRAL,
                title=warning or None,
            )
            legend.get_title().set_color(_WARNING)
    figure.patch.set_alpha(0)
    return figure


def svg_of(figure: Figure) -> str:
    """Return a figure as SVG that depends on nothing but the figure and matplotlib's version."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "warp-bitonic-sort", "svg.fonttype": "none"}):
        data = bytes_of(figure, "svg", metadata={"Date": None})
    lines = data.decode().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"
