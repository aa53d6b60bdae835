"""The ways of rows through the CPU kernels with an index: see cpp/count_index_ways.cc."""

import subprocess

import pytest

from support import cpu_targets, programs
from warp_bitonic_sort.targets.cpu.arch import CPU_ARCHS


@pytest.mark.compile
@pytest.mark.parametrize(
    "arch", sorted({*cpu_targets.runnable()[:1], *cpu_targets.runnable()[-1:]})
)
def test_cpu_index_kernels_sort_each_kind_of_rows_in_the_expected_way(arch):
    program = programs.build("count_index_ways.cc", "-Og", "-Wno-psabi", *CPU_ARCHS[arch])
    ran = subprocess.run([program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = [line.split("|") for line in ran.stdout.splitlines() if "|" in line]
    assert len(lines) == (4 + 3) * 5 + 1
    for kernel, data, *numbers in lines:
        rows, at_once, in_order, repaired, exactly = map(int, numbers)
        ways = {
            "narrow": (rows, 0, 0, 0),
            # In registers, codes are compared before a row counts as unsure.
            "rising cluster": (0, rows, 0, 0) if kernel == "tile" else (rows, 0, 0, 0),
            "one pair": (0, 0, rows, 0),
        }
        if kernel == "first" and data != "narrow" and data != "wide":
            # All keys of a cluster share a prefix, beyond the first ones as well.
            assert exactly == rows, data
            continue
        if data in ways:
            assert (at_once, in_order, repaired, exactly) == ways[data], (kernel, data)
        elif data == "cluster":
            assert at_once == 0
            assert exactly == rows, (kernel, data)
        else:  # keys that fill the word, or floats: two prefixes are rarely equal
            assert at_once > rows // 2
            assert exactly == 0
