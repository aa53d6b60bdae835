"""The commands of the documents' images have valid options.

tests/test_readme.py runs the code of the documents.
"""

import shlex

import pytest

from support.documents import DOCUMENTS, blocks
from warp_bitonic_sort.cli import main

PROGRAM = "warp-bitonic-sort"
PREWARMS = [
    command
    for document in DOCUMENTS
    for block in blocks(document, "dockerfile")
    for command in block.replace("\\\n", " ").splitlines()
    if f"{PROGRAM} prewarm" in command
]


def test_prewarms_are_found():
    assert PREWARMS


@pytest.mark.parametrize("command", PREWARMS)
def test_prewarm_of_dockerfile_has_valid_options(command):
    words = shlex.split(command.partition(f"{PROGRAM} ")[2])
    context = main.make_context(PROGRAM, [words[0]], resilient_parsing=True)
    parsed = main.get_command(context, words[0]).make_context(words[0], words[1:])
    assert parsed.params
