"""The cases of cuda_soak.py: what is drawn for each number, its values, and keys to compare by.

Invariant: a case is drawn from its seed and number alone. Keys share nothing with the package's.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import torch

from support.descriptions import gpu_cells
from warp_bitonic_sort import dtypes
from warp_bitonic_sort.targets.cpu.layouts import MAX_LENGTH

MAX_ELEMENTS = 1 << 21
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
FILLS = ("bits", "bits", "few", "specials", "mixed", "sorted", "constant", "nans", "normal",
         "clusters", "outliers", "masked", "reversed")  # fmt: skip
LONGEST_SELECTED = 200_000
COUNTS = (0, 1, 2, 4, 7, 8, 8, 16, 32, 50, 64, 100, 128, 256)


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
    """One call; `out` is a grid, "none" or "in place". `index_bits` is 0 without indices.

    `k` is the length of the results' rows. A selection has indices; in place, it writes the
    beginning of each row of x.
    """

    operation: str
    index_bits: int
    k: int
    indices: Grid
    name: str
    shape: tuple[int, ...]
    axis: int
    descending: bool
    nan: str
    x: Grid
    out: Grid | str
    fill: str
    seed: int

    @property
    def result_shape(self) -> tuple[int, ...]:
        """The shape of the results."""
        return resized(self.shape, self.axis, self.k)


def resized(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    """A shape with another size of one axis."""
    axis %= len(shape)
    return (*shape[:axis], size, *shape[axis + 1 :])


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
        roomy = not dense and reach * shape[dim] < MAX_ELEMENTS
        strides[dim] = reach
        if roomy:
            strides[dim] = reach * rng.choice((1, 1, 1, 2, 3)) + rng.choice((0, 0, 1, 3, 8))
        reach += strides[dim] * max(shape[dim] - 1, 0)
    return Grid(rng.choice((0, 0, 1, 2, 3, 4, 8, 16, 31)), tuple(strides))


def draw(seed: int, number: int) -> Case:
    """The case of a number: the same one whenever it is asked for."""
    rng = random.Random(f"{seed}:{number}")  # noqa: S311 - nothing here is a secret
    operation = rng.choice(("sort", "sort_with_indices", "top_k"))
    index_bits = 0 if operation == "sort" else rng.choice((32, 64))
    payload = "index" if index_bits else "none"
    name = rng.choice(NAMES)
    rank = rng.choice((1, 2, 2, 2, 3, 4))
    axis = rng.randrange(rank)
    longest = {"sort": MAX_LENGTH, "sort_with_indices": 4096, "top_k": LONGEST_SELECTED}[operation]
    length = int(math.exp(rng.uniform(0, math.log(longest + 1))))
    if rng.random() < 0.3:
        registers, lane_bits, warp_bits, _ = rng.choice(
            gpu_cells(dtypes.DTYPES[name].bits, "sm_90", payload)
        )
        length = (registers << lane_bits << warp_bits) + rng.choice((-1, 0, 1))
    if rng.random() < 0.01:
        length = longest + rng.randrange(2000)
    room = int(math.exp(rng.uniform(0, math.log(MAX_ELEMENTS / length))))
    shape = [1] * rank
    for dim in rng.sample(range(rank), rank):
        if dim != axis:
            shape[dim] = int(math.exp(rng.uniform(0, math.log(max(room, 1)))))
            room //= shape[dim]
    shape[axis] = length
    if rng.random() < 0.01:
        shape[rng.randrange(rank)] = 0
    k = shape[axis]
    if operation == "top_k":
        k = min(k, rng.choice((*COUNTS, int(math.exp(rng.uniform(0, math.log(k + 1)))), k)))
    result_shape = resized(tuple(shape), axis, k)
    x = draw_grid(rng, tuple(shape))
    out = rng.choice(("none", "grid", "grid", "in place"))
    if out != "in place" and rng.random() < 0.15:
        # Windows that overlap, or rows that are all the same one.
        x = Grid(x.offset, tuple(rng.randrange(4) for _ in shape))
    return Case(
        operation,
        index_bits,
        k,
        draw_grid(rng, result_shape),
        name,
        tuple(shape),
        axis - rng.choice((0, rank)),
        rng.random() < 0.5,
        rng.choice(("largest", "last")),
        x,
        draw_grid(rng, result_shape) if out == "grid" else out,
        rng.choice(FILLS),
        rng.getrandbits(62),
    )


def signed(value: int, bits: int) -> int:
    """An unsigned pattern as the signed integer of the same bits."""
    return value - (1 << bits) if value >> (bits - 1) else value


def lowest(name: str) -> int:
    """The lowest value of a dtype that is no NaN, as a signed integer of its bits."""
    dtype = dtypes.DTYPES[name]
    top = 1 << (dtype.bits - 1)
    if name in ONE_NAN:
        return -1
    if name in GREATEST:
        return signed(top | GREATEST[name], dtype.bits)
    return signed(top, dtype.bits) if dtype.signed else 0


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
    low = (1 << bits // 3) - 1
    crowd = raw[:1] & ~low | raw & low
    values = {
        "bits": raw,
        "few": few,
        "specials": chosen,
        "mixed": torch.where(uniform(0, 2) == 0, chosen, torch.where(uniform(0, 2) == 0, few, raw)),
        "sorted": torch.sort(raw).values,
        "reversed": torch.sort(raw, descending=True).values,
        # As logits of which a quarter, or nearly all, are left out.
        "masked": torch.where(uniform(0, 64) < (16 if count % 2 else 63), lowest(case.name), raw),
        "constant": raw[:1].expand(count),
        "nans": raw,
        "normal": raw,
        "clusters": few & ~low | raw & low,
        "outliers": torch.where(uniform(0, 50) == 0, chosen, crowd),
    }[case.fill]
    if case.fill == "normal" and getattr(torch, case.name).is_floating_point:
        normal = torch.randn(count, device=device, generator=generator)
        return normal.to(getattr(torch, case.name)).view(WORDS[bits])
    if case.fill == "nans" and case.name in ONE_NAN:
        values = torch.full_like(raw, signed(top, bits))
    elif case.fill == "nans" and case.name in GREATEST:
        # Nearly any payload, and either sign.
        payload = uniform(GREATEST[case.name] + 1, min(top, (1 << 63) - 1))
        values = torch.where(raw < 0, payload + -top, payload)
    return values.to(WORDS[bits]).contiguous()


def keys(case: Case, view: Any, *, zeros_are_equal: bool = False) -> tuple[Any, Any]:
    """(order, nans): integers in the promised order of a case, and the bits of what is NaN.

    Two values have the same integer only if they have the same bits or are both NaN, or both zero
    where zeros of both signs are equal.
    """
    dtype = dtypes.DTYPES[case.name]
    bits = view.to(torch.int64)
    nans = None
    if case.name in GREATEST or case.name in ONE_NAN:
        top = 1 << (dtype.bits - 1)
        magnitude = bits & (top - 1)
        order = torch.where(bits < 0, -magnitude - int(not zeros_are_equal), magnitude)
        is_nan = bits == -top if case.name in ONE_NAN else magnitude > GREATEST[case.name]
        nans = torch.where(is_nan, bits, 0)
        order = ~order if case.descending else order
        last = not case.descending or case.nan == "last"
        order = order.masked_fill(is_nan, (1 << 63) - 1 if last else -(1 << 63))
        return order, nans
    if not dtype.signed:
        bits = bits ^ -(1 << 63) if dtype.bits == 64 else bits & ((1 << dtype.bits) - 1)
    return (~bits if case.descending else bits), nans
