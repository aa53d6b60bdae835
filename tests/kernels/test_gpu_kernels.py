"""The GPU kernels' templates, run on the host: cpp/simulate_gpu_kernels.cc says how.

And what of them that cannot see, as far as text tells: cpp/check_gpu_pieces.cc.
"""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "src" / "warp_bitonic_sort" / "csrc" / "include"
SOURCES = ROOT / "tests" / "cpp"
WIDTHS = (8, 16, 32, 64)

FLAGS = [
    "-std=c++17",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-psabi",
    # Shared memory holds now elements, now keys.
    "-fno-strict-aliasing",
    # Its longjmp() knows no fibers.
    "-U_FORTIFY_SOURCE",
    "-fsanitize=alignment",
    "-fsanitize-undefined-trap-on-error",
    f"-I{INCLUDE}",
]

# Barriers, counted in the order of the text, that could be left out: a thread reads, or overwrites,
# behind them only what it wrote, or read, itself.
SPARE = {
    ("gpu_columns.hpp", 5, "sync_block"),
    ("lane_sort.hpp", 8, "sync_wave"),
}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    folder = tmp_path_factory.mktemp("simulation")

    def simulate(bits: int) -> str:
        program = str(folder / f"simulate{bits}")
        compiler = os.environ.get("CXX", "c++")
        command = [
            compiler,
            *FLAGS,
            f"-DKEY_BITS={bits}",
            str(SOURCES / "simulate_gpu_kernels.cc"),
            "-o",
            program,
        ]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode != 0:
            return f"FAILED: does not build:\n{built.stderr}"
        ran = subprocess.run([program], capture_output=True, text=True)
        return f"{ran.stdout}{ran.stderr}exit status {ran.returncode}\n"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(WIDTHS, pool.map(simulate, WIDTHS), strict=True))


@pytest.mark.parametrize("bits", WIDTHS)
def test_kernels_sort_like_the_oracle(output: dict[int, str], bits: int) -> None:
    assert "FAILED" not in output[bits], output[bits]
    assert output[bits].endswith("exit status 0\n"), output[bits]


def test_no_barrier_can_be_left_out(output: dict[int, str]) -> None:
    barriers = {}
    for header in (INCLUDE / "warp_bitonic_sort").glob("*.hpp"):
        lines = header.read_text().splitlines()
        found = [
            (f"{header.name} {number} {kind}", kind)
            for number, line in enumerate(lines, 1)
            for kind in re.findall(r"arget::(sync_\w+)\(", line)
        ]
        for place, (name, kind) in enumerate(found, 1):
            barriers[name] = (header.name, place, kind)
    reached = re.findall("^(needed|spare): (.*)$", "".join(output.values()), re.MULTILINE)
    assert {name for _, name in reached} == set(barriers)
    needed = {barriers[name] for verdict, name in reached if verdict == "needed"}
    assert set(barriers.values()) - needed == SPARE
    assert {kind for _, _, kind in needed} == {"sync_wave", "sync_block", "sync_copies"}


def test_blocks_of_registers_are_the_networks(tmp_path: pathlib.Path) -> None:
    compiler = os.environ.get("CXX", "c++")
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{INCLUDE}"]
    command = [
        compiler,
        *flags,
        str(SOURCES / "check_gpu_pieces.cc"),
        "-o",
        str(tmp_path / "check"),
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([str(tmp_path / "check")], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(ran.stdout.splitlines()) == 9, ran.stdout
