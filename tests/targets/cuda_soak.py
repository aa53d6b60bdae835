"""Random sorts on a CUDA device for as long as asked, against torch.sort of keys made here.

    export PYTHONPATH=tests
    python tests/targets/cuda_soak.py --seconds 300 [--device 1] [--seed 7]
    python tests/targets/cuda_soak.py --seed 7 --case 1234      the one case again

Every case draws an operation (`sort`, `sort_with_indices` or `top_k`), a dtype, shape, axis, order,
layout of x and of out (or none, or in place), k, and what the values are; eight of them are under
way in as many streams. All is compared on the device: the order by keys that share nothing with the
package's, NaNs bit for bit as what the row had, indices with torch.sort(stable=True) of these keys,
red zones around out, x itself. A sort with indices and without out sorts pairs, too. It prints a
line a minute, and the checked rows at the end. The first mismatch prints its case and ends with
status 1, as does memory that grows or a kernel that was not built before. Kernels for the first
elements alone are built when a case needs them.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

from support.descriptions import cuda_kernel, gpu_cells
from support.soak_cases import NAMES, WORDS, Case, Grid, draw, fill, keys
from warp_bitonic_sort import dtypes, sort, sort_pairs, sort_with_indices, top_k
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.kernels import OUTPUTS
from warp_bitonic_sort.targets import device_arch

STREAMS = 8
# What is around indices.
RED = -7


@dataclass
class Run:
    """A case under way: how many things are wrong is known when its stream is done."""

    number: int
    case: Case
    elements: int
    wrong: Any


def start(number: int, case: Case, device: torch.device) -> Run:
    """Queue a case in the current stream: the values, the sort, and the comparison."""
    generator = torch.Generator(device).manual_seed(case.seed)
    dtype = getattr(torch, case.name)
    word = WORDS[dtypes.DTYPES[case.name].bits]
    flat = fill(case, case.x.elements(case.shape), generator)
    before = flat.clone()
    view = case.x.of(flat, case.shape)
    x = view.view(dtype)
    wrong = torch.zeros((), dtype=torch.int64, device=device)
    around = out = None
    shape, where = case.result_shape, case.x if case.out == "in place" else case.out
    if case.out == "in place":
        around, around_before, inside = flat, before, case.x.of(flat, shape)
    elif isinstance(case.out, Grid):
        around = fill(case, case.out.elements(shape), generator)
        around_before = around.clone()
        inside = case.out.of(around, shape)
    else:
        # The result lies where this was, if the allocator gives it the same memory.
        torch.full((x.numel() * x.element_size(),), 0x5A, dtype=torch.uint8, device=device)
    if around is not None:
        out = x if case.out == "in place" and shape == case.shape else inside.view(dtype)
    given = case.x.of(before, case.shape)
    if case.index_bits:
        result = start_with_indices(case, x, out, given, wrong)
    else:
        result = sort(x, axis=case.axis, descending=case.descending, nan=case.nan, out=out)
        check_values(case, given, result.view(word), wrong)
    wrong += result.shape != shape or result.dtype != x.dtype or result.device != x.device
    if around is not None:
        wrong += result is not out
        # With what was inside put back, all is as it was.
        inside.copy_(where.of(around_before, shape))
        wrong += (around != around_before).sum()
    wrong += (flat != before).sum()
    return Run(number, case, x.numel(), wrong)


def check_values(case: Case, given: Any, result: Any, wrong: Any) -> None:
    """Add what is wrong with values, as words."""
    expected, found = keys(case, given), keys(case, result)
    wrong += (torch.sort(expected[0], dim=case.axis).values != found[0]).sum()
    if expected[1] is not None:
        wrong += (
            torch.sort(expected[1], dim=case.axis).values
            != torch.sort(found[1], dim=case.axis).values
        ).sum()


def start_with_indices(case: Case, x: Any, out: Any, given: Any, wrong: Any) -> Any:
    """Sort with indices or select, add what is wrong, and return the values; `given` has words."""
    index_dtype, shape = WORDS[case.index_bits], case.result_shape
    order = {"axis": case.axis, "descending": case.descending, "nan": case.nan}

    def call(**outputs: Any) -> Any:
        if case.operation == "sort_with_indices":
            return sort_with_indices(x, **order, **outputs)
        mode = "largest" if case.descending else "smallest"
        return top_k(x, case.k, axis=case.axis, mode=mode, nan=case.nan, **outputs)

    if out is None:
        values, indices = call(index_dtype=index_dtype)
        wrong += indices.shape != shape or indices.dtype != index_dtype
    else:
        size = case.indices.elements(shape)
        around = torch.full((size,), RED, dtype=index_dtype, device=x.device)
        indices = case.indices.of(around, shape)
        values, _ = call(out=(out, indices))
    codes, _ = keys(case, given, zeros_are_equal=True)
    expected = torch.sort(codes, dim=case.axis, stable=True).indices
    expected = expected.narrow(case.axis, 0, case.k)
    wrong += (indices != expected).sum()
    wanted = torch.gather(given, case.axis, expected)
    wrong += (values.view(given.dtype) != wanted).sum()
    if out is None and case.operation == "sort_with_indices":
        carried = torch.arange(x.numel(), dtype=index_dtype, device=x.device).view(x.shape)
        pairs = sort_pairs(x, carried, **order)
        wrong += (pairs.keys.view(given.dtype) != wanted).sum()
        wrong += (pairs.values != torch.gather(carried, case.axis, expected)).sum()
    elif out is not None:
        indices.fill_(RED)
        wrong += (around != RED).sum()
    return values


def prebuild(device: torch.device) -> int:
    """Build every kernel that sorts whole rows in one ninja run, and return how many."""
    major, minor = torch.cuda.get_device_capability(device)
    classes = sorted({(dtypes.DTYPES[name].codec, dtypes.DTYPES[name].bits) for name in NAMES})
    kernels = [
        cuda_kernel(codec, bits, *layout, device_arch("cuda", f"sm_{major}{minor}"))._replace(
            payload=payload
        )
        for codec, bits in classes
        for payload in OUTPUTS
        for layout in gpu_cells(bits, "sm_90", payload)
    ]
    loader.build(kernels)
    return len(kernels)


def main() -> int:
    """Sort until the time is up, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--case", type=int, nargs="+", help="only these, at once")
    options = parser.parse_args()

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    device = torch.device("cuda", options.device)
    torch.cuda.set_device(device)
    began = time.monotonic()
    built = prebuild(device)
    say(
        f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, seed {options.seed}, "
        f"{built} kernels built in {time.monotonic() - began:.0f} s"
    )
    streams = [torch.cuda.Stream(device) for _ in range(STREAMS)]
    cases = elements = rows = 0

    def batch(numbers: list[int]) -> bool:
        """Run some cases at once and say which are wrong."""
        nonlocal cases, elements, rows
        runs = []
        for number in numbers:
            case = draw(options.seed, number)
            with torch.cuda.stream(streams[number % STREAMS]):
                try:
                    runs.append(start(number, case, device))
                except Exception:
                    say(f"raised in --seed {options.seed} --case {number}: {case}")
                    raise
        good = True
        for run in runs:
            with torch.cuda.stream(streams[run.number % STREAMS]):
                wrong = int(run.wrong)
            if wrong:
                good = False
                say(f"{wrong} mismatches in --seed {options.seed} --case {run.number}: {run.case}")
        cases += len(runs)
        elements += sum(run.elements for run in runs)
        rows += sum(run.elements // max(run.case.shape[run.case.axis], 1) for run in runs)
        return good

    if options.case:
        good = batch(options.case)
        say(f"{cases} cases, {rows} rows, {elements} elements, {'all right' if good else 'WRONG'}")
        return int(not good)

    began = reported = time.monotonic()
    allocated = torch.cuda.memory_allocated(device)
    number, good, status = 0, True, 0
    while good and time.monotonic() - began < options.seconds:
        good = batch(list(range(number, number + STREAMS)))
        number += STREAMS
        if time.monotonic() - reported >= 60:
            reported = time.monotonic()
            say(
                f"{(reported - began) / 60:.0f} min: {cases} cases, {rows} rows, "
                f"{elements:.3e} elements, "
                f"{0 if good else 'some'} mismatches, {len(loader.open_kernels())} kernels open, "
                f"{torch.cuda.memory_allocated(device) >> 10} KiB allocated, "
                f"{torch.cuda.memory_reserved(device) >> 20} MiB kept by torch"
            )
    torch.cuda.synchronize(device)
    gc.collect()
    grown = torch.cuda.memory_allocated(device) - allocated
    opened = sum("_first_" not in name for name in loader.open_kernels())
    status = int(not good or grown > 0 or opened > built)
    say(
        f"{cases} cases, {rows} rows, {elements:.3e} elements, "
        f"{'no' if good else 'some'} mismatches; memory grew by {grown} bytes; "
        f"{opened} kernels open of {built} built: "
        f"{'all right' if status == 0 else 'WRONG'}"
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
