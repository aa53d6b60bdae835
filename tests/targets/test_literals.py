"""Code outside ``targets`` and ``arrays`` uses a target's attributes, not names of back ends.

Two files are exceptions: XLA knows kernels by the names of platforms, and the explorer shows what
steps cost on some architectures.
"""

import ast
import re
from pathlib import Path

import warp_bitonic_sort
from warp_bitonic_sort.targets import TARGETS

PACKAGE = Path(warp_bitonic_sort.__file__).parent
# A name of a back end or an architecture, as code would compare it; sentences have spaces.
DECISIVE = re.compile(r"(?<![a-z])(cuda|hip|gfx|sm_)\S*")


def literals(file: Path) -> list[str]:
    """The texts in a file's code that name a back end."""
    nodes = ast.walk(ast.parse(file.read_text()))
    texts = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [text for text in texts if DECISIVE.fullmatch(text)]


def test_code_outside_targets_and_arrays_names_no_back_end():
    files = {
        file
        for file in PACKAGE.rglob("*.py")
        if file.relative_to(PACKAGE).parts[0] not in ("targets", "arrays")
    }
    files -= {PACKAGE / "jax/_targets.py", PACKAGE / "cli/_explorer.py"}
    assert len(files) > 30
    found = {file.name: names for file in files if (names := literals(file))}
    assert found == {}


def test_literals_are_found_in_the_targets_themselves():
    """Or the test above would hold for a search that finds nothing."""
    found = {name for file in (PACKAGE / "targets").rglob("*.py") for name in literals(file)}
    assert {name for name in TARGETS if name != "cpu"} | {"sm_90", "gfx942"} <= found
