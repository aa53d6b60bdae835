"""The GPU kernels' templates, run on the host: cpp/simulate_gpu_kernels.cc says how.

And what of them that cannot see, as far as text tells: cpp/check_gpu_pieces.cc.
"""

import functools
import re
import subprocess

import pytest

from support import programs
from warp_bitonic_sort.targets.common import sources

INCLUDE = sources.INCLUDE_DIR
WIDTHS = (8, 16, 32, 64)

FLAGS = [
    "-O1",
    "-Wno-psabi",
    # Shared memory holds now elements, now keys.
    "-fno-strict-aliasing",
    # Its longjmp() does not support fibers.
    "-U_FORTIFY_SOURCE",
    "-fsanitize=alignment",
    "-fsanitize-undefined-trap-on-error",
]

# Barriers, counted in the order of the text, that could be left out: a thread reads, or overwrites,
# behind them only what it wrote, or read, itself.
SPARE = {
    ("columns.hpp", 5, "sync_block"),
    ("warp.hpp", 8, "sync_warp"),
}


# Devices run it in test_cuda_index.py, an emulator in test_hip_emulated.py; the host does not.
NOT_SIMULATED = "index_rows.hpp"


@functools.cache
def output(bits: int) -> str:
    program = programs.build("simulate_gpu_kernels.cc", *FLAGS, f"-DKEY_BITS={bits}")
    ran = subprocess.run([program], capture_output=True, text=True)
    return f"{ran.stdout}{ran.stderr}exit status {ran.returncode}\n"


@pytest.mark.compile
@pytest.mark.parametrize("bits", WIDTHS)
def test_gpu_kernels_on_the_host_equal_the_oracle(bits: int) -> None:
    assert "FAILED" not in output(bits), output(bits)
    assert output(bits).endswith("exit status 0\n"), output(bits)


@pytest.mark.compile
def test_every_barrier_but_the_known_spare_ones_is_needed() -> None:
    barriers = {}
    for header in (INCLUDE / "warp_bitonic_sort").rglob("*.hpp"):
        if header.name == NOT_SIMULATED:
            continue
        lines = header.read_text().splitlines()
        found = [
            (f"{header.name} {number} {kind}", kind)
            for number, line in enumerate(lines, 1)
            for kind in re.findall(r"arget::(sync_\w+)\(", line)
        ]
        for place, (name, kind) in enumerate(found, 1):
            barriers[name] = (header.name, place, kind)
    reached = re.findall("^(needed|spare): (.*)$", "".join(map(output, WIDTHS)), re.MULTILINE)
    assert {name for _, name in reached} == set(barriers)
    needed = {barriers[name] for verdict, name in reached if verdict == "needed"}
    assert set(barriers.values()) - needed == SPARE
    assert {kind for _, _, kind in needed} == {"sync_warp", "sync_block", "sync_copies"}


def test_blocks_of_registers_equal_the_networks() -> None:
    program = programs.build("check_gpu_pieces.cc", "-O1")
    ran = subprocess.run([program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(ran.stdout.splitlines()) == 9, ran.stdout
