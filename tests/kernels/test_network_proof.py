"""The 0-1 principle, run on the real networks: cpp/prove_network.cc says what is proved and how."""

import subprocess

import pytest

from support import programs


@pytest.mark.parametrize(
    "part",
    ["registers", "merges", "composition", pytest.param("controls", marks=pytest.mark.stress)],
)
def test_networks_sort_every_input(part: str) -> None:
    # A proof needs no portable program, only an early end.
    program = programs.build("prove_network.cc", "-O2", "-Wno-psabi", "-march=native")
    ran = subprocess.run([program, part], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.strip() == f"{part}: proved"
