"""Budgets of instructions for the exchanges between lanes, read from the compilers' assembly.

They hold for the oldest clang that the README accepts and for the newest.
"""

import re

import isa_amd
import pytest

from support.descriptions import hip_kernel, layouts
from warp_bitonic_sort.targets.common.layouts import first_fit

pytestmark = pytest.mark.compile

# What float32 keys are while a kernel of a target sorts them: floats, negated in the lanes that
# keep the greater of two, or integers, where a median takes a shuffled operand.
_KEYS_OF_FLOAT32 = {
    "gfx90a": "float",
    "gfx942": "float",
    "gfx950": "float",
    "gfx1030": "float",
    "gfx1100": "int",
    "gfx1201": "int",
}


@pytest.mark.parametrize("arch", isa_amd.ARCHS)
def test_float32_step_across_lanes_takes_one_or_two_instructions(each_hip_compiler, arch):
    each_hip_compiler(arch)
    steps = isa_amd.step(arch, _KEYS_OF_FLOAT32[arch])
    assert {mask: steps[mask]["VALU"] for mask in (1, 2, 8)} == {1: 1, 2: 1, 8: 1}
    assert steps[4]["VALU"] <= 2
    assert {mask: steps[mask]["VALU"] for mask in (3, 7, 15)} == {3: 1, 7: 1, 15: 1}


@pytest.mark.parametrize("arch", isa_amd.ARCHS)
def test_step_within_sixteen_lanes_uses_no_shared_memory(each_hip_compiler, arch):
    each_hip_compiler(arch)
    for key in ("float", "int", "warp_bitonic_sort::key16x2", "long long"):
        for mask, each in isa_amd.step(arch, key).items():
            assert each["memory"] == 0, (key, mask)
            assert (each["DS"] == 0) or (mask >= 16 and layouts(arch).warp_lanes == 64), (key, mask)
            assert each["VALU"] > 0, (key, mask)


@pytest.mark.parametrize("arch", isa_amd.ARCHS)
def test_sort_of_full_rows_moves_16_bytes_a_lane(clang_age, each_hip_compiler, arch):
    """Memory is read and written 16 bytes a lane at once, through shared memory once."""
    each_hip_compiler(arch)
    # The longest takes longest to compile, and is the same to both clangs.
    for length in isa_amd.LENGTHS if clang_age == "newest" else isa_amd.LENGTHS[:-1]:
        (_, lane_bits, _), ways = isa_amd.full_rows(arch, length)
        assert ("plain" in ways) == (_KEYS_OF_FLOAT32[arch] == "float")
        for each in ways.values():
            assert each["memory"] == 2 / 4
            # More than the result's way through it only where lanes of two rows of sixteen differ.
            beyond = lane_bits == 5 and layouts(arch).warp_lanes == 64
            assert (each["DS"] == 2 / 4) != beyond
            assert each["VALU"] < 85


# Whether it has them is written in the headers, whatever the compiler.
@pytest.mark.parametrize("clang_age", ["newest"])
@pytest.mark.parametrize("arch", isa_amd.ARCHS)
def test_kernel_has_float_keys_for_rows_up_to_128_only(each_hip_compiler, arch):
    """Two ways make two kernels of one, which takes twice as long to compile."""
    each_hip_compiler(arch)
    plain = {}
    for length in (128, 256):
        layout = first_fit(layouts(arch).rows("none", 32), length)
        source = hip_kernel("ieee", 32, *layout, "rows", arch).source()
        code = isa_amd.assembly(arch, source)["warp_bitonic_sort_rows"]
        plain[length] = any(re.match("v_(pk_)?m(in|ax)[a-z0-9]*_f32", each) for each in code)
    floats = _KEYS_OF_FLOAT32[arch] == "float"
    assert plain == {128: floats, 256: False}
