"""Which kernel a call needs, and why.

Invariant: pure. A plan depends on the description of the call alone, so that equal calls share one,
and it is what `explain` prints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .dtypes import DType
from .jit.spec import Access, CpuKernel, CudaKernel, Kernel

__all__ = [
    "MAX_NATIVE_LENGTH",
    "MAX_REGISTER_LENGTH",
    "Plan",
    "cuda_layouts",
    "plan_cuda_sort",
    "plan_sort",
    "row_layouts",
    "shared_bytes",
]

# Rows up to this length are unrolled whole and held in registers, one kernel a length.
MAX_REGISTER_LENGTH = 32
# Rows up to this length are sorted by the tile kernel; docs/performance.md shows where it stops to
# pay.
MAX_NATIVE_LENGTH = 16384
# Below this many neighbouring rows, columns would leave most SIMD lanes idle.
_MIN_COLUMNS = 4


@dataclass(frozen=True)
class Plan:
    """What a call will do.

    Parameters
    ----------
    route : str
        ``kernel``: a kernel of this package; ``framework``: NumPy (on a device the array's own
        library) sorts the keys; ``copy``: there is nothing to sort.
    kernel : CpuKernel, CudaKernel or None
        The specialization, for route ``kernel``.
    length : int
        Elements in a row.
    rows : int
        Rows in the batch.
    reason : str
        Why, for people.
    turned : bool, default False
        Whether the array's library copies the array first, so that the sorted axis is the last.
    """

    route: Literal["kernel", "framework", "copy"]
    kernel: Kernel | None
    length: int
    rows: int
    reason: str
    turned: bool = False


def _access(
    shape: Sequence[int], x_strides: Sequence[int], out_strides: Sequence[int], axis: int
) -> tuple[Access, str]:
    if x_strides[axis] == out_strides[axis] == 1:
        return "rows", "the elements of a row are neighbours, so they are transposed in registers"
    for size, x_stride, out_stride in zip(shape, x_strides, out_strides, strict=True):
        if x_stride == out_stride == 1 and size >= _MIN_COLUMNS:
            return "columns", "rows are neighbours in memory, so each SIMD lane loads its own row"
    return "any", "neither rows nor their elements are neighbours, so elements are gathered"


def _without_kernel(
    shape: Sequence[int], axis: int, who: str, longest: int = MAX_NATIVE_LENGTH
) -> tuple[int, int, Plan | None]:
    """Return the rows' length and number, and the plan for those that take no kernel."""
    length = shape[axis]
    rows = math.prod(shape[:axis]) * math.prod(shape[axis + 1 :])
    if rows == 0 or length <= 1:
        reason = f"{rows} row{'s' * (rows != 1)} of length {length}: sorted as they are"
        return length, rows, Plan("copy", None, length, rows, reason)
    if length > longest:
        reason = (
            f"rows of length {length} are longer than {longest}, the longest that a "
            f"kernel sorts; {who} their keys, with the same promises"
        )
        return length, rows, Plan("framework", None, length, rows, reason)
    return length, rows, None


def plan_sort(
    dtype: DType,
    shape: Sequence[int],
    x_strides: Sequence[int],
    out_strides: Sequence[int],
    axis: int,
    arch: str,
) -> Plan:
    """Plan a sort on the CPU.

    Parameters
    ----------
    dtype : DType
        The dtype of x.
    shape : sequence of int
        The shape of x and out; at least one dimension.
    x_strides, out_strides : sequence of int
        Their strides, in elements.
    axis : int
        The axis to sort along, not negative.
    arch : str
        The CPU target.
    """
    length, rows, without = _without_kernel(shape, axis, "np.sort sorts")
    if without is not None:
        return without
    access, why = _access(shape, x_strides, out_strides, axis)
    if length <= MAX_REGISTER_LENGTH and access != "any":
        kernel = CpuKernel(dtype.codec, dtype.bits, length, access, arch)
        reason = f"rows of up to {MAX_REGISTER_LENGTH} elements are sorted in registers; {why}"
    else:
        kernel = CpuKernel(dtype.codec, dtype.bits, 0, "any", arch)
        reason = f"blocks are sorted in registers and merged in an L1 tile; {why}"
    return Plan("kernel", kernel, length, rows, reason)


# (registers, lane bits, wave bits) of each capacity, as measured fastest on an H100
# (docs/performance.md). Registers hold a row's neighbouring positions, so more of them save steps
# across lanes; too many leave too few threads to hide the memory's latency. Capacities go up by
# thirds and halves where sorting costs more than moving.
_LONG_ROWS = (
    (32, 2, 0),
    (24, 3, 0),
    (32, 3, 0),
    (24, 4, 0),
    (32, 4, 0),
    (24, 5, 0),
    (32, 5, 0),
    (24, 5, 1),
    (32, 5, 1),
    (24, 5, 2),
    (32, 5, 2),
    (24, 5, 3),
    (32, 5, 3),
    (32, 5, 4),
)
_SINGLE_ROWS = ((4, 0, 0), (8, 0, 0), (8, 1, 0), (16, 1, 0), (16, 2, 0), *_LONG_ROWS)
_DOUBLE_ROWS = (
    (4, 0, 0),
    (4, 1, 0),
    (8, 1, 0),
    (8, 2, 0),
    (16, 2, 0),
    (12, 3, 0),
    (16, 3, 0),
    (12, 4, 0),
    (16, 4, 0),
    (12, 5, 0),
    (16, 5, 0),
    (12, 5, 1),
    (16, 5, 1),
    (12, 5, 2),
    (16, 5, 2),
    (16, 5, 3),
    (16, 5, 4),
    (32, 5, 4),
)
# Short rows that adjoin but are no whole number of 16-byte accesses: a thread each, for they come
# to the threads through shared memory anyway.
_PAIR_ODD = ((16, 0, 0), (32, 0, 0))
_SINGLE_ODD = ((16, 0, 0), (24, 0, 0), (32, 0, 0))
_DOUBLE_ODD = ((8, 0, 0), (16, 0, 0), (32, 0, 0))
# Rows that are neighbours in memory: fewer lanes a row, so that more of them make one access.
_PAIR_COLUMNS = (
    (8, 0, 0),
    (16, 0, 0),
    (32, 0, 0),
    (8, 3, 0),
    (16, 3, 0),
    (16, 4, 0),
    (32, 4, 0),
    (32, 5, 0),
)
_SINGLE_COLUMNS = (
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (24, 0, 0),
    (32, 0, 0),
    (16, 2, 0),
    (16, 3, 0),
    (32, 3, 0),
    (32, 4, 0),
    (32, 5, 0),
)
_DOUBLE_COLUMNS = (
    (4, 0, 0),
    (8, 0, 0),
    (16, 0, 0),
    (32, 0, 0),
    (8, 3, 0),
    (8, 4, 0),
    (16, 4, 0),
    (16, 5, 0),
)
_Layouts = tuple[tuple[int, int, int], ...]
# By the width of the keys.
_ROWS: dict[int, _Layouts] = {
    8: _SINGLE_ROWS,
    16: _SINGLE_ROWS,
    32: _SINGLE_ROWS,
    64: _DOUBLE_ROWS,
}
_ODD: dict[int, _Layouts] = {8: _PAIR_ODD, 16: _PAIR_ODD, 32: _SINGLE_ODD, 64: _DOUBLE_ODD}
_COLUMNS: dict[int, _Layouts] = {
    8: _PAIR_COLUMNS,
    16: _PAIR_COLUMNS,
    32: _SINGLE_COLUMNS,
    64: _DOUBLE_COLUMNS,
}
_WIDE_BYTES = 16
# KiB of shared memory that a block may ask for, by compute capability (CUDA programming guide,
# technical specifications); the least of the newer ones where a capability is not known.
_SHARED_KIB = {"75": 64, "80": 163, "87": 163, "90": 227, "100": 227, "103": 227, "110": 227}
_LEAST_SHARED_KIB = 99


def cuda_layouts(bits: int) -> tuple[tuple[int, int, int, Literal["rows", "columns"]], ...]:
    """Return every layout for keys of a width: (registers, lane bits, wave bits, access)."""
    return (
        *((*layout, "rows") for layout in _ROWS[bits]),
        *((*layout, "rows") for layout in _ODD[bits] if layout not in _ROWS[bits]),
        *((*layout, "columns") for layout in _COLUMNS[bits]),
    )


def shared_bytes(layout: tuple[int, int, int], bits: int) -> int:
    """Return the shared memory of a block that sorts rows, as ``gpu_rows.hpp`` lays it out."""
    registers, _, wave_bits = layout
    key = max(bits // 8, 4)
    padding = _WIDE_BYTES // key
    stage = max((32 + padding) * registers, (registers + padding) * 32)
    return max(4, 1 << wave_bits) * stage * key


def row_layouts(bits: int, arch: str) -> list[tuple[int, int, int]]:
    """Return the layouts that an architecture has the shared memory for, by capacity."""
    most = 1024 * _SHARED_KIB.get(arch.removeprefix("sm_"), _LEAST_SHARED_KIB)
    return [layout for layout in _ROWS[bits] if shared_bytes(layout, bits) <= most]


def _capacity(layout: tuple[int, int, int]) -> int:
    registers, lane_bits, wave_bits = layout
    return registers << lane_bits << wave_bits


def _fit(layouts: _Layouts, length: int) -> tuple[int, int, int] | None:
    return next((each for each in layouts if _capacity(each) >= length), None)


def _is_odd(
    dtype: DType, shape: Sequence[int], strides: Sequence[Sequence[int]], axis: int
) -> bool:
    """Tell whether rows adjoin in all arrays and are no whole number of wide accesses."""
    if axis != len(shape) - 1 or shape[axis] * dtype.bits // 8 % _WIDE_BYTES == 0:
        return False
    dense = 1
    for dim in reversed(range(len(shape))):
        if shape[dim] > 1 and any(each[dim] != dense for each in strides):
            return False
        dense *= shape[dim]
    return True


def plan_cuda_sort(
    dtype: DType,
    shape: Sequence[int],
    x_strides: Sequence[int],
    out_strides: Sequence[int],
    axis: int,
    arch: str,
    library: Literal["none", "sorts", "turns"] = "turns",
) -> Plan:
    """Plan a sort on a CUDA device.

    Parameters
    ----------
    dtype : DType
        The dtype of x.
    shape : sequence of int
        The shape of x and out; at least one dimension.
    x_strides, out_strides : sequence of int
        Their strides, in elements.
    axis : int
        The axis to sort along, not negative.
    arch : str
        The target to build for, as in ``sm_90``.
    library : str, default "turns"
        What the array's library can be asked for: to sort rows that no kernel takes, and to make
        the axis the last one; or it is not known, and a kernel has to do what it would.

    Raises
    ------
    NotImplementedError
        No kernel takes such rows, and there are kernels only.
    """
    layouts = row_layouts(dtype.bits, arch)
    longest = _capacity(layouts[-1])
    who = "the array's own library sorts"
    length, rows, without = _without_kernel(shape, axis, who, longest)
    if without is not None and not (library == "none" and rows * length > 0):
        return without
    if length > longest:
        raise NotImplementedError(
            f"x: its rows have length {length}, and kernels sort up to {longest}; on a "
            f"CUDA device, longer rows are sorted for PyTorch, CuPy and JAX only. Hand x to one of "
            f"these, as in torch.from_dlpack(x)."
        )
    access, _ = _access(shape, x_strides, out_strides, axis)
    columns = _fit(_COLUMNS[dtype.bits], length) if access == "columns" else None
    layout = columns or next(each for each in layouts if _capacity(each) >= length)
    odd = None
    if columns is None and layout[1] > 0 and _is_odd(dtype, shape, (x_strides, out_strides), axis):
        odd = _fit(_ODD[dtype.bits], length)
    layout = odd or layout
    kernel = CudaKernel(dtype.codec, dtype.bits, *layout, "columns" if columns else "rows", arch)
    lanes = 1 << kernel.lane_bits << kernel.wave_bits
    reason = (
        f"rows of up to {kernel.capacity} elements are sorted by {lanes} "
        f"thread{'s' * (lanes != 1)} each, {kernel.registers} positions in the registers of each"
    )
    turned = access == "columns" and columns is None and library == "turns"
    if columns is not None:
        reason += "; rows are neighbours in memory, so neighbouring threads load neighbouring rows"
    elif odd is not None:
        reason += "; they adjoin, so they come through shared memory in whole accesses"
    elif turned:
        reason += "; for rows that are neighbours these are long: a copy makes the axis the last"
    return Plan("kernel", kernel, length, rows, reason, turned)
