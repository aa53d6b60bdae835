"""The files of the repository, and the parts of its documents."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What a heading, a link in a sentence and a block of code look like in the documents.
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def tracked(*patterns):
    """Return the files that git tracks, or would if they were added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).exists()]


DOCUMENTS = tracked("*.md")


def name_of(document):
    return str(document.relative_to(ROOT))


def blocks(document, language):
    """Return the blocks of code in a language."""
    return [code for name, code in _BLOCK.findall(document.read_text()) if name == language]


def prose(document):
    """Return a document without its blocks of code."""
    return _BLOCK.sub("", document.read_text())


def links(document):
    return _LINK.findall(prose(document))


def anchors(document):
    """Return what `#...` can name in a document, as GitHub derives it from the headings."""
    words = (re.sub(r"[^\w\- ]", "", text.lower()) for text in _HEADING.findall(prose(document)))
    return {text.replace(" ", "-") for text in words}
