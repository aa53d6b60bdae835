"""The code of the documents runs as a reader would paste it.

tests/engines runs what needs a data engine.
"""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.documents import DOCUMENTS, ROOT, blocks, engines_of, name_of
from warp_bitonic_sort.cli import main

PYTHON = [
    (name_of(each), code)
    for each in DOCUMENTS
    for code in blocks(each, "python")
    if not engines_of(code)
]
PROGRAM = "warp-bitonic-sort"
COMMANDS = [
    line.partition("#")[0].strip()
    for block in blocks(ROOT / "README.md", "sh")
    for line in block.splitlines()
    if line.startswith(PROGRAM + " ")
]
PREWARMS = [
    command
    for document in DOCUMENTS
    for block in blocks(document, "dockerfile")
    for command in block.replace("\\\n", " ").splitlines()
    if f"{PROGRAM} prewarm" in command
]


def test_python_and_commands_of_readme_are_found():
    assert any(name == "README.md" for name, _ in PYTHON)
    assert len(COMMANDS) >= 4
    assert PREWARMS


@pytest.mark.parametrize(("document", "code"), PYTHON)
def test_python_of_document_runs(document, code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{document}\n{done.stderr}"


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_readme_succeeds(command, tmp_path):
    np.save(tmp_path / "IN.npy", np.random.default_rng(0).random((30, 40), np.float32))
    words = [str(Path(sys.executable).parent / PROGRAM), *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", PREWARMS)
def test_prewarm_of_dockerfile_has_valid_options(command):
    words = shlex.split(command.partition(f"{PROGRAM} ")[2])
    context = main.make_context(PROGRAM, [words[0]], resilient_parsing=True)
    parsed = main.get_command(context, words[0]).make_context(words[0], words[1:])
    assert parsed.params
