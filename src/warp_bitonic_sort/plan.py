"""Which kernel a call needs, and why.

Invariant: pure. A plan depends on the description of the call alone, so that equal calls share one,
and it is what `explain` prints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .dtypes import DType
from .kernels import TILE, Access, Kernel, Layout

if TYPE_CHECKING:
    from .layouts import cuda_layouts, hip_layouts, row_layouts, shared_bytes, wave_lanes

__all__ = [
    "MAX_NATIVE_LENGTH",
    "MAX_REGISTER_LENGTH",
    "Plan",
    "cuda_layouts",
    "hip_layouts",
    "plan_gpu_sort",
    "plan_sort",
    "row_layouts",
    "shared_bytes",
    "wave_lanes",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # The tables of devices: a sort on the CPU starts without them.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import layouts

        return getattr(layouts, name)


# Rows up to this length are unrolled whole and held in registers, one kernel a length.
MAX_REGISTER_LENGTH = 32
# Rows up to this length are sorted by the tile kernel; docs/performance.md shows where it stops to
# pay.
MAX_NATIVE_LENGTH = 16384
# Below this many neighbouring rows, columns would leave most SIMD lanes idle.
_MIN_COLUMNS = 4


class Plan(NamedTuple):
    """What a call will do.

    Parameters
    ----------
    route : str
        ``kernel``: a kernel of this package; ``framework``: NumPy (on a device the array's own
        library) sorts the keys; ``copy``: there is nothing to sort.
    kernel : Kernel or None
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
    return "strided", "neither rows nor their elements are neighbours, so elements are gathered"


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
    if length <= MAX_REGISTER_LENGTH and access != "strided":
        layout = Layout(length)
        reason = f"rows of up to {MAX_REGISTER_LENGTH} elements are sorted in registers; {why}"
    else:
        layout, access = TILE, "strided"
        reason = f"blocks are sorted in registers and merged in an L1 tile; {why}"
    kernel = Kernel("cpu", arch, "all", "none", dtype.codec, dtype.bits, layout, access)
    return Plan("kernel", kernel, length, rows, reason)


def _is_odd(
    dtype: DType, shape: Sequence[int], strides: Sequence[Sequence[int]], axis: int
) -> bool:
    """Tell whether rows adjoin in all arrays and are no whole number of wide accesses."""
    from .layouts import WIDE_BYTES

    if axis != len(shape) - 1 or shape[axis] * dtype.bits // 8 % WIDE_BYTES == 0:
        return False
    dense = 1
    for dim in reversed(range(len(shape))):
        if shape[dim] > 1 and any(each[dim] != dense for each in strides):
            return False
        dense *= shape[dim]
    return True


def plan_gpu_sort(
    backend: str,
    dtype: DType,
    shape: Sequence[int],
    x_strides: Sequence[int],
    out_strides: Sequence[int],
    axis: int,
    arch: str,
    library: Literal["none", "sorts", "turns"] = "turns",
) -> Plan:
    """Plan a sort on a device.

    Parameters
    ----------
    backend : str
        Whose device: ``cuda``, or ``hip`` for an AMD GPU.
    dtype : DType
        The dtype of x.
    shape : sequence of int
        The shape of x and out; at least one dimension.
    x_strides, out_strides : sequence of int
        Their strides, in elements.
    axis : int
        The axis to sort along, not negative.
    arch : str
        The target to build for, as in ``sm_90`` or ``gfx942``.
    library : str, default "turns"
        What the array's library can be asked for: to sort rows that no kernel takes, and to make
        the axis the last one; or it is not known, and a kernel has to do what it would.

    Raises
    ------
    NotImplementedError
        No kernel takes such rows, and there are kernels only.
    """
    from .layouts import capacity, first_fit, row_layouts, tables_of

    tables = tables_of(dtype.bits, arch)
    layouts = row_layouts(dtype.bits, arch)
    longest = capacity(layouts[-1])
    who = "the array's own library sorts"
    length, rows, without = _without_kernel(shape, axis, who, longest)
    if without is not None and not (library == "none" and rows * length > 0):
        return without
    if length > longest:
        raise NotImplementedError(
            f"x: its rows have length {length}, and kernels sort up to {longest}; on a "
            f"{backend.upper()} device, longer rows are sorted for PyTorch, CuPy and JAX only. "
            f"Hand x to one of these, as in torch.from_dlpack(x)."
        )
    reach, _ = _access(shape, x_strides, out_strides, axis)
    columns = first_fit(tables.columns, length) if reach == "columns" else None
    layout = columns or next(each for each in layouts if capacity(each) >= length)
    odd = None
    if columns is None and layout[1] > 0 and _is_odd(dtype, shape, (x_strides, out_strides), axis):
        odd = first_fit(tables.odd, length)
    layout = odd or layout
    placed = Layout(*layout)
    access: Access = "columns" if columns else "rows"
    kernel = Kernel(backend, arch, "all", "none", dtype.codec, dtype.bits, placed, access)
    lanes = 1 << placed.lane_bits << placed.warp_bits
    reason = (
        f"rows of up to {placed.capacity} elements are sorted by {lanes} "
        f"thread{'s' * (lanes != 1)} each, {placed.registers} positions in the registers of each"
    )
    turned = reach == "columns" and columns is None and library == "turns"
    if columns is not None:
        reason += "; rows are neighbours in memory, so neighbouring threads load neighbouring rows"
    elif odd is not None:
        reason += "; they adjoin, so they come through shared memory in whole accesses"
    elif turned:
        reason += "; for rows that are neighbours these are long: a copy makes the axis the last"
    return Plan("kernel", kernel, length, rows, reason, turned)
