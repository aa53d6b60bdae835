"""Builds the documentation: ``sphinx-build -W -n docs site``.

Invariant: nothing is fetched while pages are built, and pages load nothing from another host. What
the package already knows is asked of the package: signatures, commands, the explorer of networks.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import click
from sphinx.application import Sphinx

import warp_bitonic_sort
from warp_bitonic_sort.cli._explorer import explorer_html

project = "warp_bitonic_sort"
version = release = warp_bitonic_sort.__version__
project_copyright = ""
html_show_copyright = False

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["benchmarks/data"]
templates_path = ["_templates"]
# `name` in a docstring is a link where it names something of the package.
default_role = "autolink"
# Names of other libraries are no links: their inventories would have to be fetched.
nitpick_ignore_regex = [
    ("py:.*", r"(array_api|cupy|dask|distributed|jax|numpy|polars|ray|torch|tvm_ffi|xarray)\..*")
]

myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Examples need the libraries of their modules, and are run by tests/site.
doctest_global_setup = "import numpy as np"

# Options keep their two hyphens.
smartquotes = False
highlight_language = "none"

html_domain_indices = False
html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"warp_bitonic_sort {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _show_examples_as_code(_app: Sphinx, _ctx: click.Context, lines: list[str]) -> None:
    """Turn the lines of a help text that keep their breaks into a block of code."""
    text = []
    for is_code, group in groupby(lines, key=lambda line: line.startswith("| ")):
        paragraph = list(group)
        text += ["::", "", *(f"   {line[2:]}" for line in paragraph)] if is_code else paragraph
    lines[:] = text


def _write_explorer(app: Sphinx, exception: Exception | None) -> None:
    """Put the explorer of networks beside the pages; one of them shows it in a frame."""
    if exception is None and app.builder.format == "html":
        (Path(app.outdir) / "_static" / "explorer.html").write_text(explorer_html())


def setup(app: Sphinx) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("build-finished", _write_explorer)
    app.connect("sphinx-click-process-description", _show_examples_as_code)
