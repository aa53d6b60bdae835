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
from .jit.spec import Access, CpuKernel

__all__ = ["MAX_NATIVE_LENGTH", "MAX_REGISTER_LENGTH", "Plan", "plan_sort"]

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
        ``kernel``: a kernel of this package; ``framework``: NumPy sorts the keys; ``copy``: there
        is nothing to sort.
    kernel : CpuKernel or None
        The specialization, for route ``kernel``.
    length : int
        Elements in a row.
    rows : int
        Rows in the batch.
    reason : str
        Why, for people.
    """

    route: Literal["kernel", "framework", "copy"]
    kernel: CpuKernel | None
    length: int
    rows: int
    reason: str


def _access(
    shape: Sequence[int], x_strides: Sequence[int], out_strides: Sequence[int], axis: int
) -> tuple[Access, str]:
    if x_strides[axis] == out_strides[axis] == 1:
        return "rows", "the elements of a row are neighbours, so they are transposed in registers"
    for size, x_stride, out_stride in zip(shape, x_strides, out_strides, strict=True):
        if x_stride == out_stride == 1 and size >= _MIN_COLUMNS:
            return "columns", "rows are neighbours in memory, so each SIMD lane loads its own row"
    return "any", "neither rows nor their elements are neighbours, so elements are gathered"


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
    length = shape[axis]
    rows = math.prod(shape[:axis]) * math.prod(shape[axis + 1 :])
    if rows == 0 or length <= 1:
        reason = f"{rows} rows of length {length} are sorted as they are"
        return Plan("copy", None, length, rows, reason)
    if length > MAX_NATIVE_LENGTH:
        reason = (
            f"rows of length {length} are longer than {MAX_NATIVE_LENGTH}, the longest that a "
            f"kernel sorts; np.sort sorts their keys, with the same promises"
        )
        return Plan("framework", None, length, rows, reason)
    access, why = _access(shape, x_strides, out_strides, axis)
    if length <= MAX_REGISTER_LENGTH and access != "any":
        kernel = CpuKernel(dtype.codec, dtype.bits, length, access, arch)
        reason = f"rows of up to {MAX_REGISTER_LENGTH} elements are sorted in registers; {why}"
    else:
        kernel = CpuKernel(dtype.codec, dtype.bits, 0, "any", arch)
        reason = f"blocks are sorted in registers and merged in an L1 tile; {why}"
    return Plan("kernel", kernel, length, rows, reason)
