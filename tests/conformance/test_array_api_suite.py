"""The tests of the array API standard, run by hand.

`ARRAY_API_TESTS` names a checkout of github.com/data-apis/array-api-tests with its submodule, whose
requirements are installed. Nothing is fetched. tests/facades/test_array_api.py has our own checks.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = os.environ.get("ARRAY_API_TESTS", "")
SUPPORT = Path(__file__).parents[1] / "support"


@pytest.mark.skipif(not CHECKOUT, reason="ARRAY_API_TESTS names no checkout of array-api-tests")
@pytest.mark.parametrize("library", ["array_api_strict", "numpy"])
def test_suite_of_standard_passes(library):
    environment = {
        **os.environ,
        "ARRAY_API_TESTS_MODULE": "array_api_namespace",
        "WRAPPED_NAMESPACE": library,
        "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path]),
    }
    tests = [
        "array_api_tests/test_sorting_functions.py",
        "array_api_tests/test_signatures.py::test_func_signature[sort]",
        "array_api_tests/test_signatures.py::test_func_signature[argsort]",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "--disable-deadline", *tests]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
