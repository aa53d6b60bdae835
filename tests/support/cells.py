"""Which cells of the grid of kernels the tests compile: a covering set, or all of them.

All with ``WARP_SORT_TESTS_GRID=whole`` in the environment.

Invariant: in the covering set of HIP, any two values of different axes meet in a cell. That of CUDA
has each layout of sorts once for each width of entries; keys and architectures take turns. On the
CPU, `FEW` lengths are there for every key, for every other length keys take turns.
"""

import itertools
import os
from collections.abc import Callable, Sequence

from support.covering import pairwise
from support.descriptions import cuda_kernel, gpu_cells, hip_kernel
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.kernels import MEDIANS, MOST_FOUND, VALUE_BITS, Kernel, Layout
from warp_bitonic_sort.targets.common.first_layouts import is_bounded
from warp_bitonic_sort.targets.cpu.layouts import MAX_REGISTER_LENGTH

# Lengths of rows in registers that every dtype is tested with, in every access.
FEW = (3, 9, 32)
KEYS = sorted({(dtype.codec, dtype.bits) for dtype in DTYPES.values()})
CODECS, WIDTHS = (sorted(set(values)) for values in zip(*KEYS, strict=True))
CUDA_ARCHS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
HIP_ARCHS = ("gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100", "gfx1201")
_HIP_LAYOUTS = 11  # of `_hip_layouts`
IS_WHOLE_GRID = os.environ.get("WARP_SORT_TESTS_GRID") == "whole"


def _key_exists(codec, bits, *_):
    return (codec, bits) in KEYS


def register_lengths(name: str, access: str = "rows") -> list[int]:
    """The lengths of the CPU's register kernels of a dtype that tests use.

    They are `FEW`, and others for which the keys of dtypes take turns, by rows and by columns at
    different lengths.
    """
    dtype = DTYPES[name]
    lengths = range(2, MAX_REGISTER_LENGTH + 1)
    if IS_WHOLE_GRID:
        return [*lengths]
    turn = KEYS.index((dtype.codec, dtype.bits))
    if access == "columns":
        turn = (turn + len(KEYS) // 2) % len(KEYS)
    others = [length for length in lengths if length not in FEW]
    return sorted([*FEW, *others[turn :: len(KEYS)]])


def cuda_cells() -> list[Kernel]:
    """All kernels for CUDA that the tests compile."""
    medians = _median_kernels(cuda_kernel, CUDA_ARCHS, _CUDA_MEDIANS)
    others = cuda_index_cells() + cuda_value_cells() + cuda_first_cells()
    return cuda_sort_cells() + medians + others


def cuda_sort_cells() -> list[Kernel]:
    """The layouts of every width of entries, each once: keys and targets take turns.

    Rows that lanes of one warp share differ by their exchanges alone. Each width has every second
    of these layouts, and neighbouring widths have different ones.
    """

    def has(arch, bits, layout):
        return layout in gpu_cells(bits, arch)

    def all_cells(bits):
        return dict.fromkeys(cell for arch in CUDA_ARCHS for cell in gpu_cells(bits, arch))

    if IS_WHOLE_GRID:
        return [cuda_kernel(*key, *layout, arch) for key in KEYS
                for layout in all_cells(key[1]) for arch in CUDA_ARCHS
                if has(arch, key[1], layout)]  # fmt: skip
    archs = itertools.cycle(CUDA_ARCHS)
    # The cell that needs most registers.
    kernels = [cuda_kernel("integer", 64, 32, 0, 0, "columns", "sm_80")]
    # Keys of 8 and of 16 bits are sorted in entries of 16 bits, in the same layouts.
    for turn, widths in enumerate(((8, 16), (32,), (64,))):
        keys = itertools.cycle([key for key in KEYS if key[1] in widths])
        for number, layout in enumerate(all_cells(widths[-1])):
            _, lane_bits, warp_bits, access = layout
            is_shared = access == "rows" and lane_bits > 0 and warp_bits == 0
            if is_shared and (number + turn) % 2 == 0:
                continue
            key = next(keys)
            arch = next(arch for arch in archs if has(arch, key[1], layout))
            kernels.append(cuda_kernel(*key, *layout, arch))
    return kernels


def cuda_index_cells() -> list[Kernel]:
    """Every fourth layout of kernels with indices; keys and architectures take turns."""
    archs = itertools.cycle(CUDA_ARCHS)
    kernels = []
    for entry, widths in ((32, (8, 16, 32)), (64, (64,))):
        keys = [key for key in KEYS if key[1] in widths]
        turns = itertools.cycle(keys)
        for layout in gpu_cells(entry, "sm_90", "index")[:: 1 if IS_WHOLE_GRID else 4]:
            for key in keys if IS_WHOLE_GRID else [next(turns)]:
                arch = next(arch for arch in archs if layout in gpu_cells(key[1], arch, "index"))
                kernel = cuda_kernel(*key, *layout, arch)
                kernels.append(kernel._replace(payload="index"))
    return kernels


def cuda_value_cells() -> list[Kernel]:
    """The longest rows of kernels with values, which need most registers; more are as with indices.

    Architectures take turns, from the one for which the compiler runs out of registers first.
    """
    archs = itertools.cycle(reversed(CUDA_ARCHS))
    kernels = []
    for bits, payload in itertools.product((32, 64), VALUE_BITS):
        arch = next(archs)
        for layout in gpu_cells(bits, arch, payload)[0 if IS_WHOLE_GRID else -1 :]:
            kernel = cuda_kernel("ieee", bits, *layout, arch)
            kernels.append(kernel._replace(payload=payload))
    return kernels


def hip_cells(compilers: Sequence[str]) -> dict[str, list[Kernel]]:
    """Kinds of layouts, pairwise with targets, widths and codecs; shared out among compilers.

    Medians are among them, for which compilers take turns.
    """
    cells = list(itertools.product(compilers, HIP_ARCHS, CODECS, WIDTHS, range(_HIP_LAYOUTS)))
    if not IS_WHOLE_GRID:
        axes = (compilers, HIP_ARCHS, CODECS, WIDTHS, range(_HIP_LAYOUTS))
        cells = pairwise(*axes, allowed=lambda _, __, *key: _key_exists(*key))
    kernels: dict[str, list[Kernel]] = {name: [] for name in compilers}
    for compiler, arch, codec, bits, number in cells:
        if (codec, bits) in KEYS:
            layout = _hip_layouts(bits, arch)[number]
            kernels[compiler].append(hip_kernel(codec, bits, *layout, arch))
    turns = itertools.cycle(compilers)
    for kernel in _median_kernels(hip_kernel, HIP_ARCHS, _HIP_MEDIANS):
        kernels[next(turns)].append(kernel)
    return kernels


# Kernels with an index are compiled for a warp of 64 lanes, and of 32.
HIP_INDEX_ARCHS = ("gfx942", "gfx1201")


def hip_index_cells(compilers: Sequence[str]) -> dict[str, list[Kernel]]:
    """Every other layout of kernels with indices; keys, architectures and compilers take turns."""
    kernels: dict[str, list[Kernel]] = {name: [] for name in compilers}
    turns = itertools.cycle(compilers)
    layouts = {
        (key, arch): gpu_cells(key[1], arch, "index") for key in KEYS for arch in HIP_INDEX_ARCHS
    }
    chosen = list(dict.fromkeys(itertools.chain(*layouts.values())))
    for number, layout in enumerate(chosen[:: 1 if IS_WHOLE_GRID else 2]):
        fitting = [cell for cell in layouts if layout in layouts[cell]]
        for key, arch in fitting if IS_WHOLE_GRID else [fitting[5 * number % len(fitting)]]:
            kernel = hip_kernel(*key, *layout, arch)._replace(payload="index")
            kernels[next(turns)].append(kernel)
    # The longest rows with values.
    for arch, payload in itertools.product(HIP_INDEX_ARCHS, VALUE_BITS):
        layout = gpu_cells(VALUE_BITS[payload], arch, payload)[-1]
        kernel = hip_kernel("ieee", VALUE_BITS[payload], *layout, arch)._replace(payload=payload)
        kernels[compilers[-1]].append(kernel)
    return kernels


def _first_kernels(
    describe: Callable[..., Kernel], keys: Sequence[tuple[str, int]], archs: Sequence[str]
) -> list[Kernel]:
    """Kernels for the first elements of rows: for each number of them, the last of each kind.

    These are the longest pruned rows, and bounded rows if there are few. Keys and architectures
    take turns.
    """
    turns = zip(itertools.cycle(keys), itertools.cycle(archs), strict=False)
    kernels = []
    for bounds, selection in itertools.product((False, True), MOST_FOUND):
        for key, arch in itertools.product(keys, archs) if IS_WHOLE_GRID else [next(turns)]:
            layouts = [
                layout for layout in gpu_cells(key[1], arch, "index", selection)
                if is_bounded(Layout(*layout[:3]), selection) == bounds
            ]  # fmt: skip
            for layout in layouts[0 if IS_WHOLE_GRID else -1 :]:
                kernel = describe(*key, *layout, arch)
                kernels.append(kernel._replace(selection=selection, payload="index"))
    return kernels


def cuda_first_cells() -> list[Kernel]:
    """Every other one of the kernels for the first elements of rows, and two for float32."""
    kernels = _first_kernels(cuda_kernel, KEYS, ("sm_75", "sm_80", "sm_90"))
    if IS_WHOLE_GRID:
        return kernels
    # Most registers, on an architecture where some are spilled; rows of two warps, and of clusters.
    most = cuda_kernel("ieee", 32, 32, 5, 2, "rows", "sm_80")._replace(selection="first32")
    two = cuda_kernel("ieee", 32, 8, 5, 1, "rows", "sm_90")._replace(selection="first64")
    eight = cuda_kernel("ieee", 32, 4, 5, 8, "rows", "sm_90")._replace(selection="first64")
    return kernels[::2] + [kernel._replace(payload="index") for kernel in (most, two, eight)]


def hip_first_cells(compilers: Sequence[str]) -> dict[str, list[Kernel]]:
    """Kernels for the first elements of rows; compilers take turns, too."""
    kernels = _first_kernels(hip_kernel, KEYS, HIP_INDEX_ARCHS)
    return {name: kernels[at :: len(compilers)] for at, name in enumerate(compilers)}


# A long row in a thread, of which some take all registers that a block leaves them.
_CUDA_MEDIANS = (
    ("nanmedian", "ieee", 16, 64, "columns", "sm_75"),
    ("nanmedian", "ieee", 32, 56, "rows", "sm_80"),
    ("median", "ieee", 32, 40, "rows", "sm_86"),
    ("nanmedian", "ieee", 32, 48, "columns", "sm_90"),
    ("nanmedian", "ieee", 16, 16, "rows", "sm_90"),
    ("nanmedian", "ieee", 32, 32, "rows", "sm_90"),
    ("nanmedian", "ieee", 64, 32, "rows", "sm_100"),
    ("median", "integer", 16, 56, "rows", "sm_120"),
)
_HIP_MEDIANS = (
    ("nanmedian", "ieee", 32, 56, "rows", "gfx942"),
    ("nanmedian", "ieee", 16, 64, "columns", "gfx1201"),
    ("median", "integer", 64, 32, "columns", "gfx90a"),
)


def _median_kernels(
    describe: Callable[..., Kernel], archs: Sequence[str], few: Sequence[tuple]
) -> list[Kernel]:
    """A few kernels for medians, or all that calls may use."""
    if not IS_WHOLE_GRID:
        return [
            describe(codec, bits, registers, 0, 0, access, arch)._replace(selection=selection)
            for selection, codec, bits, registers, access, arch in few
        ]
    return [
        describe(codec, bits, *layout, arch)._replace(selection=selection)
        for selection, (codec, bits), arch in itertools.product(MEDIANS, KEYS, archs)
        if (codec == "ieee" and bits > 8) or (codec, selection) == ("integer", "median")
        for layout in gpu_cells(bits, arch, "none", selection)
    ]


def _hip_layouts(bits: int, arch: str) -> list[tuple[int, int, int, str]]:
    """Rows of 2 to 4096 and more by one, some and all lanes and by warps; both kinds of columns."""
    layouts = gpu_cells(bits, arch)
    rows = [layout for layout in layouts if layout[3] == "rows"]
    warps = [layout for layout in rows if layout[2]]
    threads = [layout for layout in rows if layout[1] == 0]
    columns = [layout for layout in layouts if layout[3] == "columns"]
    fitting = [next(layout for layout in rows if Layout(*layout[:3]).capacity >= length)
               for length in (2, 9, 100, 512, 1024, 4096)]  # fmt: skip
    return [*fitting, warps[0], warps[-1], threads[-1], columns[1], columns[-1]]
