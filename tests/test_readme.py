"""The blocks of code in the README and the pages run with the package as it is installed.

``.ci/stages/readme`` installs a wheel for them. A block that cannot run there follows a comment:
``<!-- not run: REASON -->``.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import warp_bitonic_sort

ROOT = Path(__file__).parents[1]
if ROOT in Path(warp_bitonic_sort.__file__).parents:
    pytest.skip("an installed wheel is tested: bash .ci/run readme", allow_module_level=True)

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n+)?```(?P<language>python|sh)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# What makes an environment from a clone. The environment of these tests takes its place.
_INSTALLS = re.compile(r"\bpip install\b|\bgit clone\b|\.venv/")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, block.start()) + 1}")
    for page in PAGES
    for text in [page.read_text()]
    for block in _BLOCK.finditer(text)
    if not (block["language"] == "sh" and _INSTALLS.search(block["code"]))
]


def test_blocks_are_found():
    pages = {param.id.partition(":")[0] for param in BLOCKS}
    assert "README.md" in pages
    assert len(pages) >= 5
    languages = [param.values[0]["language"] for param in BLOCKS]
    assert min(languages.count("python"), languages.count("sh")) >= 2
    not_run = [param.id for param in BLOCKS if param.values[0]["reason"]]
    assert len(not_run) <= len(BLOCKS) / 10, not_run
    code = "".join(param.values[0]["code"] for param in BLOCKS)
    for library in ("dask", "polars", "pyspark", "ray", "xarray"):
        assert re.search(rf"^(import|from) {library}\b", code, re.MULTILINE), library


@pytest.mark.parametrize("block", BLOCKS)
def test_block_runs(block, tmp_path):
    if block["reason"]:
        pytest.skip(block["reason"])
    if "pyspark" in block["code"] and not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Spark needs Java: there is no java on the PATH, and JAVA_HOME is not set")
    # The files that the commands of the pages read.
    np.save(tmp_path / "IN.npy", np.random.default_rng(0).random((30, 40), np.float32))
    shell = ["bash", "-euo", "pipefail", "-c"]
    command = [sys.executable, "-c"] if block["language"] == "python" else shell
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": folders}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [*command, block["code"]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{block['code']}\n{done.stdout}\n{done.stderr}"
