"""Random sorts on a CUDA device for as long as asked, against torch.sort of keys made here.

    python tests/targets/cuda_soak.py --minutes 10 [--device 1] [--seed 7]
    python tests/targets/cuda_soak.py --seed 7 --case 1234      the one case again

Every case draws a dtype, shape, axis, order, layout of x and of out (or none, or in place) and what
the values are; eight of them are under way in as many streams. All is compared on the device: the
order by keys that share nothing with the package's, NaNs bit for bit as what the row had, red zones
around out, x itself. A line a minute; the first mismatch prints its case and ends with status 1, as
does memory that grows or a kernel that was not built before.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

from support.descriptions import cuda_kernel, gpu_cells
from warp_bitonic_sort import dtypes, sort
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.targets import device_arch
from warp_bitonic_sort.targets.cpu.layouts import MAX_LENGTH

STREAMS = 8
MOST_ELEMENTS = 1 << 21
WORDS = {8: torch.int8, 16: torch.int16, 32: torch.int32, 64: torch.int64}
# The bits of each float's greatest magnitude that is no NaN; a format without a sign of zero has
# its one NaN there instead.
GREATEST = {
    "float16": 0x7C00,
    "bfloat16": 0x7F80,
    "float32": 0x7F800000,
    "float64": 0x7FF0000000000000,
    "float8_e4m3fn": 0x7E,
    "float8_e5m2": 0x7C,
}
ONE_NAN = ("float8_e4m3fnuz", "float8_e5m2fnuz")
NAMES = [name for name in dtypes.DTYPES if hasattr(torch, name)]
FILLS = ("bits", "bits", "few", "specials", "mixed", "sorted", "constant", "nans")


@dataclass(frozen=True)
class Grid:
    """Where the elements of a view lie in a flat tensor."""

    offset: int
    strides: tuple[int, ...]

    def elements(self, shape: tuple[int, ...]) -> int:
        """How long the flat tensor is, with a red zone behind the view."""
        reach = sum((n - 1) * s for n, s in zip(shape, self.strides, strict=True) if n)
        return self.offset + reach + 1 + 33

    def of(self, flat: Any, shape: tuple[int, ...]) -> Any:
        """The view."""
        return flat.as_strided(shape, self.strides, self.offset)


@dataclass(frozen=True)
class Case:
    """One call; `out` is a grid, "none" or "in place"."""

    name: str
    shape: tuple[int, ...]
    axis: int
    descending: bool
    nan: str
    x: Grid
    out: Grid | str
    fill: str
    seed: int


def draw_grid(rng: random.Random, shape: tuple[int, ...]) -> Grid:
    """Distinct elements in any order of the dimensions, with gaps; most often dense."""
    dims = list(range(len(shape)))
    dense = rng.random() < 0.4
    if dense:
        dims.reverse()
    else:
        rng.shuffle(dims)
    strides, reach = [0] * len(shape), 1
    for dim in dims:
        roomy = not dense and reach * shape[dim] < MOST_ELEMENTS
        strides[dim] = reach
        if roomy:
            strides[dim] = reach * rng.choice((1, 1, 1, 2, 3)) + rng.choice((0, 0, 1, 3, 8))
        reach += strides[dim] * max(shape[dim] - 1, 0)
    return Grid(rng.choice((0, 0, 1, 2, 3, 4, 8, 16, 31)), tuple(strides))


def draw(seed: int, number: int) -> Case:
    """The case of a number: the same one whenever it is asked for."""
    rng = random.Random(f"{seed}:{number}")  # noqa: S311 - nothing here is a secret
    name = rng.choice(NAMES)
    rank = rng.choice((1, 2, 2, 2, 3, 4))
    axis = rng.randrange(rank)
    most = math.log(MAX_LENGTH + 1)
    length = int(math.exp(rng.uniform(0, most)))
    if rng.random() < 0.3:
        registers, lane_bits, warp_bits, _ = rng.choice(
            gpu_cells(dtypes.DTYPES[name].bits, "sm_90")
        )
        length = (registers << lane_bits << warp_bits) + rng.choice((-1, 0, 1))
    if rng.random() < 0.01:
        length = MAX_LENGTH + rng.randrange(2000)
    room = int(math.exp(rng.uniform(0, math.log(MOST_ELEMENTS / length))))
    shape = [1] * rank
    for dim in rng.sample(range(rank), rank):
        if dim != axis:
            shape[dim] = int(math.exp(rng.uniform(0, math.log(max(room, 1)))))
            room //= shape[dim]
    shape[axis] = length
    if rng.random() < 0.01:
        shape[rng.randrange(rank)] = 0
    x = draw_grid(rng, tuple(shape))
    out = rng.choice(("none", "grid", "grid", "in place"))
    if out != "in place" and rng.random() < 0.15:
        # Windows that overlap, or rows that are all the same one.
        x = Grid(x.offset, tuple(rng.randrange(4) for _ in shape))
    return Case(
        name,
        tuple(shape),
        axis - rng.choice((0, rank)),
        rng.random() < 0.5,
        rng.choice(("largest", "last")),
        x,
        draw_grid(rng, tuple(shape)) if out == "grid" else out,
        rng.choice(FILLS),
        rng.getrandbits(62),
    )


def signed(value: int, bits: int) -> int:
    """An unsigned pattern as the signed integer of the same bits."""
    return value - (1 << bits) if value >> (bits - 1) else value


def fill(case: Case, count: int, generator: torch.Generator) -> Any:
    """Values of a case as signed integers of their width."""
    bits = dtypes.DTYPES[case.name].bits
    device = generator.device

    def uniform(low: int, high: int, size: int = count) -> Any:
        return torch.randint(low, high, (size,), device=device, generator=generator)

    if case.name == "bool":
        return uniform(0, 2).to(torch.int8)
    # randint's upper end is not included, so two halves make the 64 bits.
    raw = (uniform(0, 1 << 32) << 32 | uniform(0, 1 << 32)) >> (64 - bits)
    top = 1 << (bits - 1)
    special = [0, top, 1, top | 1, top - 1, 2 * top - 1]
    if case.name in GREATEST:
        greatest = GREATEST[case.name]
        special += [greatest, greatest | top, greatest + 1, (greatest + 1) | top, greatest - 1]
    table = torch.tensor([signed(value, bits) for value in special], device=device)
    chosen = table[uniform(0, len(special))]
    few = raw[uniform(0, count, 3)][uniform(0, 3)]
    values = {
        "bits": raw,
        "few": few,
        "specials": chosen,
        "mixed": torch.where(uniform(0, 2) == 0, chosen, torch.where(uniform(0, 2) == 0, few, raw)),
        "sorted": torch.sort(raw).values,
        "constant": raw[:1].expand(count),
        "nans": raw,
    }[case.fill]
    if case.fill == "nans" and case.name in ONE_NAN:
        values = torch.full_like(raw, signed(top, bits))
    elif case.fill == "nans" and case.name in GREATEST:
        # Nearly any payload, and either sign.
        payload = uniform(GREATEST[case.name] + 1, min(top, (1 << 63) - 1))
        values = torch.where(raw < 0, payload + -top, payload)
    return values.to(WORDS[bits]).contiguous()


def keys(case: Case, view: Any) -> tuple[Any, Any]:
    """(order, nans): integers in the promised order of a case, and the bits of what is NaN.

    Two values have the same integer only if they have the same bits or are both NaN.
    """
    dtype = dtypes.DTYPES[case.name]
    bits = view.to(torch.int64)
    nans = None
    if case.name in GREATEST or case.name in ONE_NAN:
        top = 1 << (dtype.bits - 1)
        magnitude = bits & (top - 1)
        order = torch.where(bits < 0, -magnitude - 1, magnitude)
        is_nan = bits == -top if case.name in ONE_NAN else magnitude > GREATEST[case.name]
        nans = torch.where(is_nan, bits, 0)
        order = ~order if case.descending else order
        last = not case.descending or case.nan == "last"
        order = order.masked_fill(is_nan, (1 << 63) - 1 if last else -(1 << 63))
        return order, nans
    if not dtype.signed:
        bits = bits ^ -(1 << 63) if dtype.bits == 64 else bits & ((1 << dtype.bits) - 1)
    return (~bits if case.descending else bits), nans


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
    order = {"descending": case.descending, "nan": case.nan}
    flat = fill(case, case.x.elements(case.shape), generator)
    before = flat.clone()
    view = case.x.of(flat, case.shape)
    x = view.view(dtype)
    wrong = torch.zeros((), dtype=torch.int64, device=device)
    if case.out == "in place":
        result = sort(x, axis=case.axis, out=x, **order)
        wrong += result is not x
        around, around_before, inside = flat, before, view
    elif isinstance(case.out, Grid):
        around = fill(case, case.out.elements(case.shape), generator)
        around_before = around.clone()
        inside = case.out.of(around, case.shape)
        out = inside.view(dtype)
        result = sort(x, axis=case.axis, out=out, **order)
        wrong += result is not out
    else:
        # The result lies where this was, if the allocator gives it the same memory.
        torch.full((x.numel() * x.element_size(),), 0x5A, dtype=torch.uint8, device=device)
        result = sort(x, axis=case.axis, **order)
        wrong += result.shape != x.shape or result.dtype != x.dtype or result.device != x.device
        around = None
    expected = keys(case, case.x.of(before, case.shape))
    found = keys(case, result.view(WORDS[dtypes.DTYPES[case.name].bits]))
    wrong += (torch.sort(expected[0], dim=case.axis).values != found[0]).sum()
    if expected[1] is not None:
        wrong += (
            torch.sort(expected[1], dim=case.axis).values
            != torch.sort(found[1], dim=case.axis).values
        ).sum()
    if around is not None:
        # With what was inside put back, all is as it was.
        where = case.x if case.out == "in place" else case.out
        inside.copy_(where.of(around_before, case.shape))
        wrong += (around != around_before).sum()
    wrong += (flat != before).sum()
    return Run(number, case, x.numel(), wrong)


def prebuild(device: torch.device) -> int:
    """Build every kernel there is for a device in one ninja run, and return how many."""
    major, minor = torch.cuda.get_device_capability(device)
    classes = sorted({(dtypes.DTYPES[name].codec, dtypes.DTYPES[name].bits) for name in NAMES})
    kernels = [
        cuda_kernel(codec, bits, *layout, device_arch("cuda", f"sm_{major}{minor}"))
        for codec, bits in classes
        for layout in gpu_cells(bits, "sm_90")
    ]
    loader.build(kernels)
    return len(kernels)


def main() -> int:
    """Sort until the time is up, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
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
    cases = elements = 0

    def batch(numbers: list[int]) -> bool:
        """Run some cases at once and say which are wrong."""
        nonlocal cases, elements
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
        return good

    if options.case:
        good = batch(options.case)
        say(f"{cases} cases, {elements} elements, {'all right' if good else 'WRONG'}")
        return int(not good)

    began = reported = time.monotonic()
    allocated = torch.cuda.memory_allocated(device)
    number, good, status = 0, True, 0
    while good and time.monotonic() - began < options.minutes * 60:
        good = batch(list(range(number, number + STREAMS)))
        number += STREAMS
        if time.monotonic() - reported >= 60:
            reported = time.monotonic()
            say(
                f"{(reported - began) / 60:.0f} min: {cases} cases, {elements:.3e} elements, "
                f"{0 if good else 'some'} mismatches, {len(loader.open_kernels())} kernels open, "
                f"{torch.cuda.memory_allocated(device) >> 10} KiB allocated, "
                f"{torch.cuda.memory_reserved(device) >> 20} MiB kept by torch"
            )
    torch.cuda.synchronize(device)
    gc.collect()
    grown = torch.cuda.memory_allocated(device) - allocated
    opened = len(loader.open_kernels())
    status = int(not good or grown > 0 or opened > built)
    say(
        f"{cases} cases, {elements:.3e} elements, {'no' if good else 'some'} mismatches; memory "
        f"grew by {grown} bytes; {opened} kernels open of {built} built: "
        f"{'all right' if status == 0 else 'WRONG'}"
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
