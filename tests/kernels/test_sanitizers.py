"""CPU kernels under AddressSanitizer and UBSan, against an oracle: see cpp/sanitize_kernels.cc."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import subprocess

import pytest

from support import cpu_targets
from warp_bitonic_sort.jit import toolchain

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "src" / "warp_bitonic_sort" / "csrc" / "include"
SOURCE = ROOT / "tests" / "cpp" / "sanitize_kernels.cc"
PARTS = range(6)

SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FLAGS = [
    "-std=c++17",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-psabi",
    *SANITIZE,
    f"-I{INCLUDE}",
]


@pytest.mark.parametrize("arch", cpu_targets.runnable())
def test_kernels_under_sanitizers(arch: str, tmp_path: pathlib.Path) -> None:
    def run(part: int) -> str:
        program = str(tmp_path / f"part{part}")
        compiler = os.environ.get("CXX", "c++")
        command = [
            compiler,
            *FLAGS,
            *toolchain.CPU_ARCHS[arch],
            f"-DPART={part}",
            str(SOURCE),
            "-o",
            program,
        ]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode != 0:
            return f"part {part} does not build:\n{built.stderr}"
        # Leaks are not the subject, and their checker cannot run where ptrace is in use.
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
        ran = subprocess.run([program], capture_output=True, text=True, env=environment)
        return "" if ran.returncode == 0 else f"part {part}:\n{ran.stdout}{ran.stderr}"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = "\n".join(filter(None, pool.map(run, PARTS)))
    assert not wrong
