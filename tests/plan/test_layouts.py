"""The layouts of every target: that they fit, and that every length finds one."""

import itertools
import re

import pytest

from support.descriptions import gpu_cells, layouts, plan_sort
from warp_bitonic_sort import arrays, dtypes
from warp_bitonic_sort.kernels import Layout
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.cpu.layouts import MAX_LENGTH

WAVES_OF_64 = ["gfx900", "gfx908", "gfx90a", "gfx90c", "gfx942", "gfx950", "gfx9-generic",
               "gfx9-4-generic"]  # fmt: skip
WAVES_OF_32 = ["gfx1030", "gfx1100", "gfx1151", "gfx1201", "gfx10-3-generic", "gfx12-generic"]
TARGETS = ["sm_90", "gfx942", "gfx1100"]
WIDTHS = [8, 16, 32, 64]


def columns_block(layout, bits, arch):
    """The threads of a block of memory/gpu/columns.hpp and the bytes of its shared memory."""
    registers, lane_bits, _ = layout
    wave, key = layouts(arch).warp_lanes, max(bits // 8, 4)
    lanes, shared_rows = 1 << lane_bits, 2 if bits < 32 else 1
    wave_rows = wave // lanes * shared_rows
    waves = max(4, min(8, 64 // (bits // 8) // wave_rows))
    if lanes == 1:
        return waves * wave, 0
    padding = 16 // key
    stage = max((wave + padding) * registers, (registers + padding) * wave) * waves * key
    pitch = registers * lanes + (4 // (bits // 8) if bits < 32 else 1)
    return waves * wave, max(stage, waves * wave_rows * pitch * (bits // 8))


def test_longest_row_of_the_cpu_is_accepted_by_tile_kernels():
    header = sources.INCLUDE_DIR / "warp_bitonic_sort/kernel/cpu_tile.hpp"
    bits = re.search(r"max_tile_length = 1 << (\d+);", header.read_text())
    assert 1 << int(bits[1]) >= MAX_LENGTH


def test_warp_lanes_of_every_arch_are_32_or_64():
    assert {layouts(arch).warp_lanes for arch in WAVES_OF_64} == {64}
    assert {layouts(arch).warp_lanes for arch in [*WAVES_OF_32, "sm_75", "sm_120"]} == {32}


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("arch", WAVES_OF_64 + WAVES_OF_32)
def test_layout_of_every_amd_arch_fits_its_registers_and_memory(arch, bits):
    lane_bits_of_a_wave = {32: 5, 64: 6}[layouts(arch).warp_lanes]
    for registers, lane_bits, warp_bits, access in gpu_cells(bits, arch):
        layout = (registers, lane_bits, warp_bits)
        assert registers <= (16 if bits == 64 else 32)
        assert lane_bits <= lane_bits_of_a_wave
        assert warp_bits == 0 or lane_bits == lane_bits_of_a_wave, "waves are made of whole rows"
        assert registers % (1 << warp_bits) == 0, "waves share the register numbers evenly"
        if access == "rows":
            threads = max(4, 1 << warp_bits) * layouts(arch).warp_lanes
            shared = layouts(arch).shared_bytes(Layout(*layout), "none", bits)
        else:
            assert warp_bits == 0
            threads, shared = columns_block(layout, bits, arch)
        assert threads <= 1024
        assert shared <= 64 * 1024, layout


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_86", "sm_90"])
def test_columns_that_cuda_warps_share_fit_a_block(arch, bits):
    table = layouts(arch)
    shared = [layout for layout in table.columns("none", bits) if layout.warp_bits > 0]
    assert shared
    for layout in shared:
        warps = 1 << layout.warp_bits
        assert layout.lane_bits == 0, "all lanes of a warp have a column each"
        assert warps * table.warp_lanes <= 1024
        assert layout.registers % warps == 0, "warps share the register numbers evenly"
        # An entry for each key of as many columns as a warp has lanes, or for two keys of 16 bits.
        entries = layout.registers * max(4, warps) * table.warp_lanes
        assert entries * max(bits // 8, 4) <= 1024 * table.shared_kib


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("arch", TARGETS)
def test_capacities_of_an_access_rise(arch, bits):
    cells = gpu_cells(bits, arch)
    assert len(set(cells)) == len(cells)
    for access in ("rows", "columns"):
        table = layouts(arch).rows("none", bits) if access == "rows" else [
            Layout(*cell[:3]) for cell in cells if cell[3] == access
        ]  # fmt: skip
        sizes = [layout.capacity for layout in table]
        assert all(small < large for small, large in itertools.pairwise(sizes))


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("arch", ["gfx942", "gfx1100"])
def test_capacities_of_amd_archs_include_those_of_cuda_that_fit(arch, bits):
    sizes, of_cuda = (
        {layout.capacity for layout in layouts(each).rows("none", bits)} for each in (arch, "sm_90")
    )
    longest = 8192 if bits == 64 else 16384
    assert max(sizes) == longest
    assert {size for size in of_cuda if size <= longest} <= sizes


def test_layout_of_rows_up_to_512_uses_at_most_16_lanes():
    for bits in (8, 16, 32):
        for layout in layouts("gfx942").rows("none", bits):
            assert (layout.lane_bits <= 4) == (layout.capacity <= 512), (bits, layout)


def hip_plan(shape, arch, axis=-1, dtype="float32", **options):
    strides = arrays.dense_strides(shape)
    return plan_sort(
        dtypes.DTYPES[dtype], shape, strides, strides, axis % len(shape), arch, **options
    )


@pytest.mark.parametrize("name", ["int8", "float16", "float32", "float64"])
@pytest.mark.parametrize("arch", ["gfx942", "gfx1201"])
def test_plan_of_every_length_on_amd_has_a_layout_that_holds_it(arch, name):
    most = 512 if name == "float64" else 1024
    longest = 8192 if name == "float64" else 16384
    for length in (*range(2, 1600), *range(1600, longest, 97), longest):
        for shape, axis in (((100, length), 1), ((length, 100), 0), ((3, length, 7), 1)):
            made = hip_plan(shape, arch, axis, name)
            kernel, by_columns = made.kernel, axis != len(shape) - 1 and length <= most
            assert kernel.target == "hip"
            assert kernel.arch == arch
            assert kernel.layout.capacity >= length
            assert kernel.access == ("columns" if by_columns else "rows")
            assert made.transposes == (axis != len(shape) - 1 and not by_columns)
            layout = (*kernel.layout, kernel.access)
            assert layout in gpu_cells(kernel.bits, arch)
    assert hip_plan((3, longest + 1), arch, dtype=name).route == "fallback"
    with pytest.raises(NotImplementedError, match="on a HIP device, longer rows"):
        hip_plan((3, longest + 1), arch, dtype=name, capabilities=())


def test_plan_of_short_unaligned_rows_on_amd_uses_one_thread_a_row():
    assert hip_plan((100, 25), "gfx942").kernel.layout.name == "registers32"
    assert hip_plan((100, 24), "gfx942").kernel.layout.name == "lanes2_registers16"
    assert hip_plan((100, 25), "gfx942", dtype="int64").kernel.layout.name == "lanes4_registers8"
