"""The GPU kernels' templates, run on the host: cpp/software_gpu.hpp says how.

And what of them that cannot see, as far as text tells: cpp/check_gpu_pieces.cc.
"""

import functools
import re
import subprocess

import pytest

from support import programs
from warp_bitonic_sort.targets.common import sources

INCLUDE = sources.INCLUDE_DIR

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

# Barriers, counted in the order of the text, that the simulation does not need: behind them a
# thread reads, or overwrites, only what it wrote, or read, itself; or shuffles stand in for them.
# On a device racecheck looks for missing ones.
SPARE = {
    *(("best_pairs.hpp", number, "sync_warp") for number in (1, 3, 7)),
    *(("columns.hpp", number, "sync_block") for number in (1, 7)),
    *(("first_rows.hpp", 1, kind) for kind in ("sync_warp", "sync_block")),
    ("warp.hpp", 11, "sync_warp"),
    *((header, number, kind)
      for header, number in (("index_entries.hpp", 3), ("index_team.hpp", 4))
      for kind in ("sync_warp", "sync_block")),
}  # fmt: skip

PROGRAMS = {
    **{f"keys of {bits} bits": ("simulate_gpu_kernels.cc", f"-DKEY_BITS={bits}")
       for bits in (8, 16, 32, 64)},
    "keys with payloads": ("simulate_gpu_index_kernels.cc", "-fsanitize-coverage=trace-pc"),
    "first elements": ("simulate_gpu_first_kernels.cc", "-fsanitize-coverage=trace-pc"),
}  # fmt: skip


@functools.cache
def barriers() -> dict[tuple[str, str], tuple[str, int]]:
    """Return the place of each barrier among those of its header, by header and line."""
    places = {}
    for header in (INCLUDE / "warp_bitonic_sort").rglob("*.hpp"):
        found = [
            (header.name, str(number))
            for number, line in enumerate(header.read_text().splitlines(), 1)
            for _ in re.findall(r"arget::sync_\w+\(|\bsync\(\);", line)
            if "void sync()" not in line  # which hides a barrier
        ]
        places |= {line: (header.name, place) for place, line in enumerate(found, 1)}
    return places


@functools.cache
def output(program: str) -> str:
    source, *flags = PROGRAMS[program]
    known = [f"{header} {line} {kind}" for (header, line), place in barriers().items()
             for *spare, kind in SPARE if place == tuple(spare)]  # fmt: skip
    command = [programs.build(source, *FLAGS, *flags), *known]
    ran = subprocess.run(command, capture_output=True, text=True)
    return f"{ran.stdout}{ran.stderr}exit status {ran.returncode}\n"


@pytest.mark.compile
@pytest.mark.parametrize("program", PROGRAMS)
def test_gpu_kernels_on_the_host_equal_the_oracle(program: str) -> None:
    assert "FAILED" not in output(program), output(program)
    assert output(program).endswith("exit status 0\n"), output(program)


@pytest.mark.compile
def test_every_barrier_but_the_known_spare_ones_is_needed() -> None:
    reached = re.findall(
        r"^(needed|spare): (\S+) (\d+) (\w+)$", "".join(map(output, PROGRAMS)), re.MULTILINE
    )
    assert {(header, line) for _, header, line, _ in reached} == set(barriers())
    found = {(*barriers()[header, line], kind) for _, header, line, kind in reached}
    needed = {
        (*barriers()[header, line], kind)
        for verdict, header, line, kind in reached
        if verdict == "needed"
    }
    assert found - needed == SPARE
    kinds = {"sync_warp", "sync_block", "sync_cluster", "sync_copies"}
    assert {kind for *_, kind in needed} == kinds


# The most barriers that a team meets in its repairs: two a round, in one round and then in four,
# and one behind each.
MAX_REPAIR = 2 * (1 + 4) + 2


# Data whose keys every prefix tells apart.
NARROW = ("narrow", "equal", "rising")


@pytest.mark.compile
def test_gpu_index_kernels_sort_each_kind_of_rows_in_the_expected_way() -> None:
    lines = [line.split("|") for line in output("keys with payloads").splitlines() if "|" in line]
    assert len(lines) == 7 * 9
    for layout, data, *numbers in lines:
        teams, by_values, by_codes, repair, digits = map(int, numbers)
        name, registers, lane_bits, warp_bits = re.findall(r"\w+", layout)
        bits = int(re.sub(r"\D", "", name))
        index_bits = ((int(registers) << int(lane_bits) << int(warp_bits)) - 1).bit_length()
        prefix_bits = 32 - index_bits
        if bits <= prefix_bits:
            assert by_values == by_codes == repair == digits == 0, (layout, data)
            continue
        # The first digit fills a prefix; the others leave room for the place so far, too.
        all_digits = teams * (1 - (prefix_bits - bits) // (prefix_bits - index_bits))
        assert by_values + by_codes == teams, (layout, data)
        assert repair <= teams * MAX_REPAIR, (layout, data)
        if data in ("even", *NARROW) or (data, name) == ("crowd at zero", "float32"):
            assert by_values == (teams if name == "float32" else 0), (layout, data)
        else:
            assert by_codes == teams, (layout, data)
        if data in NARROW:
            assert repair == digits == 0, (layout, data)
        elif data == "one pair":  # one round
            assert (repair, digits) == (teams * 3, 0), (layout, data)
        elif data == "groups":
            assert (repair > 0, digits) == (True, 0), (layout, data)
        elif data == "cluster":  # most lanes see neighbours in the wrong order
            assert (repair, digits) == (0, all_digits), (layout, data)
        elif (data, name) == ("crowd at zero", "float32"):
            assert digits == all_digits, (layout, data)
        elif data == "even":
            assert digits == 0, (layout, data)


def test_pieces_of_gpu_kernels_equal_what_they_stand_for() -> None:
    program = programs.build("check_gpu_pieces.cc", "-O1")
    ran = subprocess.run([program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(ran.stdout.splitlines()) == 13, ran.stdout
