"""The code of the documents about engines runs as a reader would paste it."""

import subprocess
import sys

import pytest

from support.documents import OF_ENGINES, blocks, name_of

PYTHON = [(name_of(each), code) for each in OF_ENGINES for code in blocks(each, "python")]


def test_every_document_of_an_engine_has_a_program():
    assert {name for name, _ in PYTHON} == {name_of(each) for each in OF_ENGINES}


@pytest.mark.parametrize(("document", "code"), PYTHON)
def test_python_of_document_runs(document, code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{document}\n{done.stderr}"
