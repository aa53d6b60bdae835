"""The code of the documents that needs a data engine runs as a reader would paste it."""

import os
import shutil
import subprocess
import sys

import pytest

from support.documents import DOCUMENTS, blocks, engines_of, name_of

PROGRAMS = [
    (name_of(each), code)
    for each in DOCUMENTS
    for code in blocks(each, "python")
    if engines_of(code)
]


@pytest.mark.parametrize(("document", "code"), PROGRAMS, ids=[document for document, _ in PROGRAMS])
def test_program_of_document_runs(document, code, tmp_path):
    has_java = os.environ.get("JAVA_HOME") or shutil.which("java")
    if "pyspark" in engines_of(code) and not has_java:
        pytest.skip("Spark needs Java: there is no java on the PATH, and JAVA_HOME is not set")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{document}\n{done.stdout}\n{done.stderr}"


def test_every_engine_with_a_page_has_a_program():
    pages = {each.stem for each in DOCUMENTS if each.parent.name == "docs"}
    shown = {engine for _, code in PROGRAMS for engine in engines_of(code)}
    assert {"dask", "polars", "ray", "spark", "xarray"} <= pages
    assert {"dask", "polars", "pyspark", "ray", "xarray"} <= shown
