"""Pages that are read from top to bottom: their blocks run in order, in one namespace.

Such a page begins with the comment MARK. A block of `text` that follows a block of code shows what
that prints; `...` stands for anything. Comments before a block say more:

- ``<!-- raises -->``: the block fails, and the text shows the last line.
- ``<!-- numbers differ -->``: other numbers are printed on every run, as times are.
- ``<!-- needs: nvcc -->``, ``<!-- needs: a CUDA device -->``: the block is left out without it.
- ``<!-- not run: REASON -->``: the block is only shown.

Invariant: a block of python, sh, cpp or cuda runs, or a comment says why not.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import warp_bitonic_sort
from support.documents import DOCUMENTS, ROOT, engines_of

MARK = "<!-- The blocks of this page run in order: tests/support/pages.py -->"
PAGES = [each for each in DOCUMENTS if each.read_text().startswith(MARK)]
LANGUAGES = ("python", "sh", "cpp", "cuda")
_BLOCK = re.compile(
    r"(?P<comments>(?:^<!-- [^\n]* -->\n\n)*)^```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"(?:\n\n^```text\n(?P<prints>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
WALKER = Path(__file__).with_name("walk_page.py")


def _nvcc():
    return shutil.which("nvcc")


def _has_cuda_device():
    import torch

    return torch.cuda.is_available()


_NEEDS = {"nvcc": _nvcc, "a CUDA device": _has_cuda_device}


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
                "needs": _after("needs: ", comments),
                "not_run": _after("not run: ", comments),
                "include": f"-I{warp_bitonic_sort.get_include()}",
            }
        )
    return found


def engines_of_page(page):
    """Return the data engines that a page's code imports."""
    blocks = blocks_of(page)
    return set().union(*(engines_of(each["code"]) for each in blocks if not each["not_run"]))


def can_run(block):
    needs = block["needs"] + (["nvcc"] if block["language"] == "cuda" else [])
    return not block["not_run"] and all(_NEEDS[each]() for each in needs)


def walk(page, folder):
    """Run the blocks of a page in a folder."""
    compilers = {"cpp": shutil.which("c++") or shutil.which("g++"), "cuda": _nvcc()}
    blocks = [each | {"tool": compilers.get(each["language"])} for each in blocks_of(page)]
    # As in a clone of the repository.
    (folder / "examples").symlink_to(ROOT / "examples")
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
