"""NumPy's own tests, with the functions of warp_bitonic_sort.numpy in the place of NumPy's.

They are part of the installed NumPy, and run in a process of their own.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
# Why each test of NumPy is left out that its function passes and ours fails.
DIFFERENT = {
    "test_partition_iterative": "compares np.partition with ndarray.argpartition, also where "
    "neither defines which element it returns",
}


@pytest.mark.parametrize(
    ("modules", "classes", "fewest_tests", "fewest_calls"),
    [
        (["numpy._core.tests.test_multiarray"], "TestMethods and (sort or partition)", 150, 2000),
        (
            ["numpy.lib.tests.test_function_base", "numpy.lib.tests.test_nanfunctions"],
            "TestMedian or TestPercentile or TestQuantile or TestSignatureMatch or "
            "TestNanFunctions_Median or TestNanFunctions_Percentile or TestNanFunctions_Quantile",
            900,
            15000,
        ),
    ],
    ids=["sort", "statistics"],
)
def test_numpy_tests_pass(modules, classes, fewest_tests, fewest_calls, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    chosen = " and ".join([f"({classes})", *(f"not {name}" for name in DIFFERENT)])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "numpy_with_facade"]
    command += ["-p", "no:cacheprovider", "-k", chosen, "--pyargs", *modules]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= fewest_tests
    assert int(re.search(r"kernels answered (\d+) calls", done.stdout)[1]) >= fewest_calls
