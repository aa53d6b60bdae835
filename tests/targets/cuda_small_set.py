"""A small set of CUDA sorts for compute-sanitizer, which is too slow for the whole suite.

    export PYTHONPATH=tests
    python tests/targets/cuda_small_set.py      compiles the kernels
    compute-sanitizer --tool memcheck --error-exitcode 1 python tests/targets/cuda_small_set.py
    compute-sanitizer --tool racecheck python tests/targets/cuda_small_set.py float32   a part
    ... cuda_small_set.py float32 --operation top_k median                              of it

and so with --tool initcheck and synccheck. Every layout of five dtypes is run on full and on ragged
rows, at an odd offset too, and on columns. With indices every layout is run once, of dtypes in
turn, in the same ways and on rows that are repaired and sorted by digits. Rows are also sorted with
values of both widths. First elements are selected in the same ways and from rows with NaNs: of
float32 for all lengths and counts, of other dtypes for a part. So are medians, with NaNs or without
them in turn. Wrong results end with status 1. What is right is computed on the CPU: the tools would
take longer for torch.sort's kernels than for these.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence

import torch

from support.descriptions import cuda_kernel, gpu_cells
from warp_bitonic_sort import dtypes, median, sort, sort_pairs, sort_with_indices, top_k
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.kernels import MEDIANS, VALUE_BITS, Kernel

_NAMES = ("int8", "float16", "float32", "float64", "int32")
_OPERATIONS = ("sort", "sort_with_indices", "top_k", "median")
_INDEX_DTYPES = (torch.int32, torch.int64)
_NAN_MODES = ("propagate", "omit")
# The lengths of rows, and how many of their elements are selected.
_SELECTIONS = [
    (length, k)
    for length in (64, 100, 256, 512, 1024, 4096, 16384)
    for k in (1, 8, 32, 128, length)
    if k <= length
] + [(40000, 8), (40000, 128)]  # by clusters of blocks

_Cell = tuple[int, int, int, str]
_Check = Callable[[torch.Tensor, int], bool]


def _index_cells(number: int, names: Sequence[str]) -> list[_Cell]:
    """Return the layouts that the dtype of a number is run with, so that its width has all."""
    entries = [max(dtypes.DTYPES[name].bits, 32) for name in names]
    mine = [i for i, entry in enumerate(entries) if entry == entries[number]]
    cells: list[_Cell] = gpu_cells(entries[number], "sm_90", "index")
    return cells[mine.index(number) :: len(mine)]


def _kernels(names: Sequence[str], arch: str) -> Iterator[Kernel]:
    for number, name in enumerate(names):
        dtype = dtypes.DTYPES[name]
        for layout in gpu_cells(dtype.bits, "sm_90"):
            yield cuda_kernel(dtype.codec, dtype.bits, *layout, arch)
        for layout in _index_cells(number, names):
            kernel = cuda_kernel(dtype.codec, dtype.bits, *layout, arch)
            yield kernel._replace(payload="index")
            if kernel.access == "rows":
                yield from (kernel._replace(payload=payload) for payload in VALUE_BITS)
        for place, layout in enumerate(_median_cells(number, names)):
            kernel = cuda_kernel(dtype.codec, dtype.bits, *layout, arch)
            has_nans = dtype.codec != "integer"
            yield kernel._replace(selection=MEDIANS[place % 2 if has_nans else 0])


def _views(rows: int, length: int, dtype: torch.dtype) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield ragged rows, the same at an odd offset, full rows, rows with gaps, and columns."""
    flat = torch.randint(-100, 100, (rows * length + 1,), device="cuda").to(dtype)
    full = torch.randint(-100, 100, (rows, length + 1), device="cuda").to(dtype)
    yield flat[:-1].view(rows, length), 1
    yield flat[1:].view(rows, length), 1
    yield full, 1
    yield full[:, :-1], 1
    yield flat[1:].view(length, rows), 0
    yield full.T, 1


def _lossy_rows(rows: int, length: int, dtype: torch.dtype) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield rows between outliers that prefixes do not tell apart: a repair, and digits."""
    bits = torch.iinfo(dtype).bits if not dtype.is_floating_point else torch.finfo(dtype).bits
    if bits < 32 or length < 4:
        return
    word = torch.int32 if bits == 32 else torch.int64
    limits = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    base = 1 << (bits - 2)
    for is_sorted in (True, False):
        cluster = torch.randint(0, 1000, (rows, length), device="cuda")
        if is_sorted:
            cluster = torch.arange(length, device="cuda").repeat(rows, 1)
            cluster[:, [length // 2, length // 2 + 1]] = cluster[:, [length // 2 + 1, length // 2]]
        x = (base + cluster).to(word).view(dtype)
        x[:, 0], x[:, -1] = limits.min, limits.max
        yield x, 1
        yield x.T.contiguous(), 0


def _rows_with_nans(
    rows: int, length: int, dtype: torch.dtype
) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield rows with some NaNs, and rows of NaNs alone but for an element."""
    if dtype.is_floating_point:
        x = torch.randint(-100, 100, (rows, length), device="cuda").to(dtype)
        x[:, :: length // 4 + 1] = torch.nan
        yield x, 1
        x[:, 1:] = torch.nan
        yield x.T.contiguous(), 0


def _check_sort(x: torch.Tensor, axis: int) -> bool:
    expected = torch.sort(x.cpu(), dim=axis).values
    return torch.equal(sort(x, axis=axis).cpu(), expected)


def _check_indices(x: torch.Tensor, axis: int) -> bool:
    good = True
    for descending in (False, True):
        expected = torch.sort(x.cpu(), dim=axis, stable=True, descending=descending)
        index_dtype = _INDEX_DTYPES[descending]
        result = sort_with_indices(x, axis=axis, descending=descending, index_dtype=index_dtype)
        good &= torch.equal(result.values.cpu(), expected.values)
        good &= torch.equal(result.indices.cpu(), expected.indices.to(index_dtype))
        if x.stride(axis) == 1:
            carried = torch.arange(x.numel()).to(index_dtype).view(x.shape)
            pairs = sort_pairs(x, carried.cuda(), axis=axis, descending=descending)
            good &= torch.equal(pairs.keys.cpu(), expected.values)
            good &= torch.equal(pairs.values.cpu(), carried.gather(axis, expected.indices))
    return good


def _check_top_k(k: int, x: torch.Tensor, axis: int) -> bool:
    good, k = True, min(k, x.shape[axis])
    for mode, index_dtype in zip(("largest", "smallest"), _INDEX_DTYPES, strict=True):
        host, word = x.cpu(), getattr(torch, f"int{8 * x.element_size()}")
        expected = torch.sort(host, dim=axis, stable=True, descending=mode == "largest").indices
        expected = expected.narrow(axis, 0, k)
        result = top_k(x, k, axis=axis, mode=mode, index_dtype=index_dtype)
        good &= torch.equal(result.indices.cpu(), expected.to(index_dtype))
        values = host.view(word).gather(axis, expected)
        good &= torch.equal(result.values.cpu().view(word), values)
    return good


def _check_median(nan: str, x: torch.Tensor, axis: int) -> bool:
    expected = median(x.cpu(), axis=axis, nan=nan)
    found = median(x, axis=axis, nan=nan).cpu()
    return torch.allclose(found, expected, rtol=0, atol=0, equal_nan=True)


def _median_cells(number: int, names: Sequence[str]) -> list[_Cell]:
    """Return the layouts for medians that the dtype of a number is run with."""
    cells: list[_Cell] = gpu_cells(dtypes.DTYPES[names[number]].bits, "sm_90", selection="median")
    return cells if names[number] == "float32" else cells[number :: len(_NAMES)]


def _cases(number: int, names: Sequence[str]) -> Iterator[tuple[str, int, _Check]]:
    """Yield operations, the lengths of rows, and how results are checked, for a dtype."""
    for registers, lane_bits, warp_bits, _ in gpu_cells(dtypes.DTYPES[names[number]].bits, "sm_90"):
        yield "sort", (registers << lane_bits << warp_bits) - 1, _check_sort
    for registers, lane_bits, warp_bits, _ in _index_cells(number, names):
        length = (registers << lane_bits << warp_bits) - 1
        yield "sort_with_indices", length, _check_indices
    is_whole = names[number] == "float32"
    for length, k in _SELECTIONS if is_whole else _SELECTIONS[number :: len(_NAMES)]:
        yield "top_k", length, functools.partial(_check_top_k, k)
    for place, (registers, lane_bits, warp_bits, _) in enumerate(_median_cells(number, names)):
        nan = _NAN_MODES[place % 2]
        length = (registers << lane_bits << warp_bits) - 1
        yield "median", length, functools.partial(_check_median, nan)


def main(names: Sequence[str], operations: Sequence[str]) -> int:
    """Sort and select, compare with torch.sort, and return the exit status."""
    major, minor = torch.cuda.get_device_capability()
    loader.build(_kernels(names, f"sm_{major}{minor}"))
    wrong = total = 0
    for number, name in enumerate(names):
        dtype = getattr(torch, name)
        for operation, length, check in _cases(number, names):
            if operation not in operations:
                continue
            rows = 3 if length > 2000 else 37
            views = list(_views(rows, length, dtype))
            if operation in ("sort_with_indices", "top_k"):
                views += _lossy_rows(rows, length + 1, dtype)
            if operation in ("top_k", "median"):
                views += _rows_with_nans(rows, length, dtype)
            for x, axis in views:
                good = check(x, axis)
                total += 1
                wrong += not good
                if not good:
                    case = getattr(check, "args", "")
                    sys.stdout.write(
                        f"wrong: {operation} {case} {name} {length} {tuple(x.shape)} axis {axis}\n"
                    )
    sys.stdout.write(f"{wrong} wrong of {total}\n")
    return int(wrong > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="DTYPE", help=f"default: {' '.join(_NAMES)}")
    parser.add_argument("--operation", nargs="+", choices=_OPERATIONS, default=_OPERATIONS)
    options = parser.parse_args()
    sys.exit(main(options.names or _NAMES, options.operation))
