"""The 0-1 principle, run on the real networks: cpp/prove_network.cc says what is proved and how."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "src" / "warp_bitonic_sort" / "csrc" / "include"
SOURCE = ROOT / "tests" / "cpp" / "prove_network.cc"


@pytest.fixture(scope="module")
def prove(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = str(tmp_path_factory.mktemp("proof") / "prove_network")
    compiler = os.environ.get("CXX", "c++")
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", f"-I{INCLUDE}"]
    # A proof needs no portable program, only an early end.
    flags.append("-march=native")
    built = subprocess.run(
        [compiler, *flags, str(SOURCE), "-o", program], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.parametrize("part", ["registers", "merges", "composition", "controls"])
def test_networks_sort_every_input(prove: str, part: str) -> None:
    ran = subprocess.run([prove, part], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.strip() == f"{part}: proved"
