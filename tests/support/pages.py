"""The README and the pages, which are read from top to bottom: their blocks run in this order.

The blocks of Python share one namespace. A block of `text` that follows a block of code shows what
that prints; `...` stands for anything. Comments before a block say more:

- ``<!-- raises -->``: the block fails, and the text shows the last line.
- ``<!-- numbers differ -->``: other numbers are printed on every run, as times are.
- ``<!-- own process -->``: the block of Python is a program of its own.
- ``<!-- needs: nvcc -->``, likewise ``a CUDA device``, ``CuPy`` and ``Java``: the block is left out
  without it.
- ``<!-- not run: REASON -->``: the block is only shown.

Invariant: a block of python, sh, cpp or cuda runs, or a comment says why not.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import warp_bitonic_sort

ROOT = Path(__file__).parents[2]
LANGUAGES = ("python", "sh", "cpp", "cuda")
_BLOCK = re.compile(
    r"(?P<comments>(?:^<!-- [^\n]* -->\n\n)*)^```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"(?:\n\n^```text\n(?P<prints>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
# What makes an environment from a clone. The environment of the tests takes its place.
_INSTALLS = re.compile(r"\bpip install\b|\bgit clone\b|\.venv/")
WALKER = Path(__file__).with_name("walk_page.py")


def _nvcc():
    return shutil.which("nvcc")


def _has_cuda_device():
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _has_cupy():
    return importlib.util.find_spec("cupy") is not None


def _java():
    return os.environ.get("JAVA_HOME") or shutil.which("java")


_NEEDS = {"nvcc": _nvcc, "a CUDA device": _has_cuda_device, "CuPy": _has_cupy, "Java": _java}


def _after(word, comments):
    return [each.removeprefix(word) for each in comments if each.startswith(word)]


def blocks_of(page):
    """Return the blocks of code of a page, in order."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        if match["language"] not in LANGUAGES:
            continue
        comments = re.findall(r"<!-- (.*) -->", match["comments"] or "")
        found.append(
            {
                "page": str(page),
                "line": text.count("\n", 0, match.start("code")),
                "language": match["language"],
                "code": match["code"],
                "prints": match["prints"],
                "raises": "raises" in comments,
                "numbers_differ": "numbers differ" in comments,
                "own_process": "own process" in comments,
                "installs": match["language"] == "sh" and bool(_INSTALLS.search(match["code"])),
                "needs": _after("needs: ", comments),
                "not_run": _after("not run: ", comments),
                "include": f"-I{warp_bitonic_sort.get_include()}",
            }
        )
    return found


def can_run(block):
    needs = block["needs"] + (["nvcc"] if block["language"] == "cuda" else [])
    return not (block["not_run"] or block["installs"]) and all(_NEEDS[each]() for each in needs)


def walk(page, folder):
    """Run the blocks of a page in a folder."""
    compilers = {"cpp": shutil.which("c++") or shutil.which("g++"), "cuda": _nvcc()}
    blocks = [each | {"tool": compilers.get(each["language"])} for each in blocks_of(page)]
    # As in a clone of the repository.
    (folder / "examples").symlink_to(ROOT / "examples")
    np.save(folder / "IN.npy", np.random.default_rng(0).random((30, 40), np.float32))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, WALKER],
        input=json.dumps([each for each in blocks if can_run(each)]),
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{page}\n{done.stdout}\n{done.stderr}"


PAGES = [
    page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if blocks_of(page)
]
