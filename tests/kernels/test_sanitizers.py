"""CPU kernels under AddressSanitizer and UBSan, against an oracle: see cpp/sanitize_kernels.cc."""

import itertools
import os
import subprocess

import pytest

from support import cpu_targets, programs
from support.cells import CODECS, KEYS, WIDTHS
from support.covering import pairwise
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.targets.cpu.arch import CPU_ARCHS

# -Og compiles in two thirds of the time of -O1, and leaves more accesses for the sanitizers to see.
FLAGS = ["-Og", "-Wno-psabi", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# The vectors of x86-64-avx512-256 are as long as those of two others.
ARCHS = [arch for arch in cpu_targets.runnable() if arch != "x86-64-avx512-256"]
# Around the blocks of registers and the vectors of every target.
LENGTHS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 25, 31, 32)
INDEX_LENGTHS = (0, 2, 9, 17, 32)


def _exists(codec, bits, *_):
    return (codec, bits) in KEYS


def _calls(arch):
    """Return the calls of cpp/sanitize_kernels.cc for a target: of registers, tiles and indices.

    Each length and access at every width and on every target, and each width in tiles on every
    target. Kernels with an index likewise, where 0 is the length of the tile. Dtypes take turns.
    """
    dtypes = {
        key: itertools.cycle([d.name for d in DTYPES.values() if (d.codec, d.bits) == key])
        for key in KEYS
    }

    def dtype(codec, bits):
        return next(dtypes[codec, bits]).replace("bool", "bool_")

    registers = pairwise(CODECS, WIDTHS, LENGTHS, ("rows", "columns"), ARCHS, allowed=_exists)
    tiles = pairwise(CODECS, WIDTHS, ARCHS, allowed=_exists)
    indices = pairwise(
        CODECS, WIDTHS, INDEX_LENGTHS, ("rows", "columns", "strided"), ARCHS, allowed=_exists
    )
    return {
        "registers": [
            f"REGISTERS({dtype(codec, bits)}, {codec}, {bits}, {length}, {access})"
            for codec, bits, length, access, of_arch in registers
            if of_arch == arch
        ],
        "tiles": [
            f"TILE({dtype(codec, bits)}, {codec}, {bits})"
            for codec, bits, of_arch in tiles
            if of_arch == arch
        ],
        "indices": [
            f"INDEX({dtype(codec, bits)}, all, {codec}, {bits}, {length}, {access})"
            for codec, bits, length, access, of_arch in indices
            if of_arch == arch
        ]
        + [
            f"INDEX({dtype(codec, bits)}, first, {codec}, {bits}, 0, strided)"
            for codec, bits, of_arch in tiles
            if of_arch == arch
        ],
    }


@pytest.mark.compile
@pytest.mark.parametrize("kind", ["registers", "tiles", "indices"])
@pytest.mark.parametrize("arch", ARCHS)
def test_cpu_kernels_under_sanitizers_equal_the_oracle(arch, kind):
    cases = f"-DCASES={' '.join(_calls(arch)[kind])}"
    program = programs.build("sanitize_kernels.cc", *FLAGS, *CPU_ARCHS[arch], cases)
    # Leaks are not the subject, and their checker cannot run where ptrace is in use.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    ran = subprocess.run([program], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
