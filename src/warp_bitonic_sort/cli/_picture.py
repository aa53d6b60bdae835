"""Files of pictures that matplotlib draws.

Invariant: a file whose ending names no format makes the command line wrong, before any work.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_format(output: Path, option: str) -> None:
    """Refuse a file whose ending is not that of a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # pgf needs TeX.
    formats = sorted(FigureCanvasAgg.get_supported_filetypes().keys() - {"pgf"})
    if format_of(output) not in formats:
        raise click.BadParameter(
            f"{click.format_filename(output)}: the ending gives the picture's format; expected one "
            f"of {', '.join(f'.{name}' for name in formats)}.",
            param_hint=f"'{option}'",
        )


def format_of(output: Path) -> str:
    """Return the format that the ending of a file names."""
    return output.suffix.removeprefix(".").lower()


def bytes_of(figure: Figure, picture_format: str, **options: Any) -> bytes:
    """Return the file of a figure; options are those of ``Figure.savefig``."""
    file = io.BytesIO()
    figure.savefig(file, format=picture_format, **options)
    return file.getvalue()
