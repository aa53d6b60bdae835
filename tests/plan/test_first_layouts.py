"""The layouts in which GPUs find the first elements of rows: they fit, and the right are chosen."""

import itertools

import pytest

from support.cells import CUDA_ARCHS, HIP_ARCHS, WIDTHS
from support.descriptions import layouts
from warp_bitonic_sort.kernels import MOST_FOUND
from warp_bitonic_sort.targets.common.first_layouts import MAX_FIRST_LENGTH, is_bounded
from warp_bitonic_sort.targets.common.layouts import WIDE_BYTES, Rows

ARCHS = (*CUDA_ARCHS, *HIP_ARCHS)
# An arch for each size of shared memory and each number of lanes of a warp.
SOME_ARCHS = ("sm_75", "sm_80", "sm_90", "sm_120", "gfx942", "gfx1201")
LENGTHS = (*range(2, 18), 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 200, 256, 257, 500, 512, 513,
           1000, 1024, 1025, 2048, 2500, 4096, 5000, 8192, 8193, 16384, 16385, 40000, 131072, 10**6,
           2**31 - 1, 2**31, 2**33)  # fmt: skip
COUNTS = sorted({most + more for most in MOST_FOUND.values() for more in (0, 1)} | {3, 50, 1000})


def first_cells(bits, arch):
    """Every cell that finds few of the first elements of rows: (selection, layout)."""
    table = layouts(arch)
    return [
        (selection, layout)
        for selection in MOST_FOUND
        for layout, _ in table.cells("index", bits, selection)
    ]


def rows_of(bits, length, count, selection):
    return Rows("index", bits, length, "rows", length * bits // 8 % WIDE_BYTES != 0, count,
                selection)  # fmt: skip


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("arch", ARCHS)
def test_layout_of_first_elements_fits_every_archs_memory_and_threads(arch, bits):
    table = layouts(arch)
    cells = first_cells(bits, arch)
    assert len(set(cells)) == len(cells)
    assert {selection for selection, _ in cells} == set(MOST_FOUND)
    for selection, layout in cells:
        most, lanes, warps = MOST_FOUND[selection], 1 << layout.lane_bits, 1 << layout.warp_bits
        assert table.shared_bytes(layout, "index", bits, selection) <= 1024 * table.shared_kib
        threads = table.warp_lanes * (warps if warps > 1 else 4)
        has_clusters = arch in ("sm_90", "sm_100", "sm_103")
        assert threads <= 1024 or (has_clusters and threads in (2048, 4096, 8192))
        assert lanes == table.warp_lanes or (lanes < table.warp_lanes and warps == 1)
        if not is_bounded(layout, selection):
            assert layout.registers % most == 0, "lanes keep whole blocks"
        else:
            assert layout.registers * lanes * warps >= most, "groups bound the wanted elements"


@pytest.mark.parametrize("arch", ARCHS)
def test_lengths_of_layouts_of_first_elements_rise(arch):
    table = layouts(arch)
    first = table.first_layouts
    lengths = [[each.capacity for each in pruned] for pruned in first.pruned.values()]
    for selection, bits in itertools.product(first.bounded, WIDTHS):
        lengths.append([most for most, _ in first.bounded_for(selection, bits)])
        assert lengths[-1][-1] == MAX_FIRST_LENGTH
    for each in lengths:
        assert all(small < large for small, large in itertools.pairwise(each))


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("arch", SOME_ARCHS)
def test_selection_of_every_k_finds_as_many_and_has_a_layout_that_holds_the_row(arch, bits):
    table, cells = layouts(arch), set(first_cells(bits, arch))
    for length in LENGTHS:
        for k in {*COUNTS, length // 2, length - 1, length}:
            if not 1 <= k <= length:
                continue
            selection = table.first(bits, length, k)
            if selection == "all":
                assert length > table.longest("index", bits), (length, k)
                continue
            assert length <= table.longest("index", bits, selection)
            assert k <= MOST_FOUND.get(selection, length)
            for count in (1, 9, 17, 65, 129, 10**6):
                choice = table.choose(rows_of(bits, length, count, selection))
                assert choice.access == "rows"
                if selection == "first":
                    assert choice.layout in table.rows("index", bits)
                else:
                    assert (selection, choice.layout) in cells
                # A lane takes any number of units where the elements are bounded.
                is_any = is_bounded(choice.layout, selection)
                assert is_any or choice.layout.capacity >= length, (length, k, choice)


def test_selection_of_most_elements_of_a_row_sorts_it():
    for arch, bits in itertools.product(SOME_ARCHS, WIDTHS):
        for length in (64, 300, 1000):
            assert layouts(arch).first(bits, length, length) == "first"
            assert layouts(arch).first(bits, length, length // 2 + 1) == "first"


@pytest.mark.parametrize(
    ("arch", "blocks"),
    [("sm_90", [8, 4, 2, 1]), ("sm_100", [8, 4, 2, 1]), ("sm_120", [1, 1, 1, 1]),
     ("sm_80", [1, 1, 1, 1]), ("sm_75", [1, 1, 1, 1]), ("gfx942", [1, 1, 1, 1]),
     ("gfx1201", [1, 1, 1, 1])],
)  # fmt: skip
def test_few_long_rows_have_all_warps_of_blocks_where_their_pairs_fit(arch, blocks):
    table = layouts(arch)
    first = table.first_layouts
    _, many = first.bounded_for("first32", 32)[-1]
    assert table.first(32, 10**5, 30) == "first32"
    for most, expected in zip((8, 16, 64, 128), blocks, strict=True):
        for count in (most // 2 + 1, most):
            choice = table.choose(rows_of(32, 10**5, count, "first32"))
            assert 1 << choice.layout.lane_bits << choice.layout.warp_bits == 1024 * expected
            said = f"; the rows are few and long, so {expected} blocks in a cluster share each"
            assert choice.reason.endswith(said) == (expected > 1)
    assert table.choose(rows_of(32, 10**5, 129, "first32")).layout == many
    assert table.choose(rows_of(32, 8192, 1, "first32")).layout.warp_bits == 1
    _, many = first.bounded_for("first256", 8)[-1]
    assert table.choose(rows_of(8, 10**6, 1, "first256")).layout == many
