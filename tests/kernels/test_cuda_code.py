"""CUDA kernels as nvcc makes them: for every architecture, without local memory.

No device is needed.
"""

import os
import subprocess
import sys

import pytest

from support import cells, gpu_code
from warp_bitonic_sort.jit import loader

CELLS = cells.cuda_cells()


@pytest.mark.compile
@pytest.mark.parametrize("arch", cells.CUDA_ARCHS)
@pytest.mark.usefixtures("nvcc")
def test_cuda_code_uses_no_local_memory(arch):
    kernels = [kernel for kernel in CELLS if kernel.arch == arch]
    built = loader.build(kernels)
    wrong = {
        f"{kernel.name} {each}"
        for kernel in kernels
        for each in gpu_code.wrong_cuda_code(kernel, built[kernel.name].library.read_bytes())
    }
    assert wrong == set()


@pytest.mark.parametrize(
    ("there", "outcome"), [("", "1 skipped"), ("/there/nvcc", "has /there/nvcc, and the package")]
)
@pytest.mark.stress
def test_missing_nvcc_skips_tests_unless_ci_names_one(there, outcome):
    environment = {"CUDA_HOME": "/nowhere", "WARP_SORT_TESTS_NVCC": there}
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rs",
            f"{__file__}::test_cuda_code_uses_no_local_memory[sm_75]",
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert outcome in ran.stdout
    assert ran.returncode == (1 if there else 0)
