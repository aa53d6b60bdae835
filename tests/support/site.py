"""Builds the documentation with the interpreter of the tests."""

import subprocess
import sys

from support.documents import ROOT


def sphinx(builder, folder):
    """Run a builder of Sphinx, for which a warning is an error, and return the finished process."""
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-n",
        "--keep-going",
        "-q",
        "-E",
        "-b",
        builder,
    ]
    return subprocess.run(
        [*command, "-d", folder / "doctrees", "docs", folder / builder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
