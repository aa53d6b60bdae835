"""Plans a call: its route, its kernel and the reason, which `explain` shows.

Invariant: pure. A plan depends on the description of the call alone, so that equal calls share one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from .dtypes import DType
from .kernels import MEDIANS, VALUE_BITS, Access, Kernel, Payload, Selection
from .targets.common.layouts import WIDE_BYTES, Layouts, Rows
from .targets.common.target import Target

# With fewer rows side by side, access by columns leaves most lanes idle.
_MIN_COLUMNS = 4


class Plan(NamedTuple):
    """The plan of a call.

    Parameters
    ----------
    route : str
        ``kernel``: a kernel of this package sorts. ``fallback``: NumPy, or on a device the array's
        library, sorts the keys. ``copy``: there is nothing to sort.
    kernel : Kernel or None
        The kernel, for route ``kernel``.
    length : int
        Elements in a row.
    rows : int
        Rows in the batch.
    reason : str
        The reason, as text for people.
    transposes : bool, default False
        Whether the array's library first copies the array, so that the sorted axis is the last.
    """

    route: Literal["kernel", "fallback", "copy"]
    kernel: Kernel | None
    length: int
    rows: int
    reason: str
    transposes: bool = False


def plan(
    selection: Selection,
    payload: Payload,
    dtype: DType,
    shape: Sequence[int],
    strides: Sequence[Sequence[int]],
    axis: int,
    target: Target,
    arch: str,
    capabilities: frozenset[str] = frozenset({"sort", "transpose"}),
    argument: str = "x",
    kept: int | None = None,
) -> Plan:
    """Plan a call.

    Parameters
    ----------
    selection : str
        The positions of the sorted row that are wanted.
    payload : str
        What travels with each key.
    dtype : DType
        The dtype of x.
    shape : sequence of int
        The shape of x, and of every output unless only the first elements of rows are wanted; at
        least one dimension.
    strides : sequence of sequence of int
        The strides of each input, then of each output, in elements.
    axis : int
        The axis to sort along, not negative.
    target : Target
        The back end that reaches the arrays.
    arch : str
        The architecture to build for.
    capabilities : frozenset of str
        What the array's library can do on a device: ``sort`` rows that no kernel sorts, and
        ``transpose`` the array so that the axis is the last.
    argument : str, default "x"
        The name of the array in messages.
    kept : int, optional
        How many elements of each row are wanted, if not all.

    Raises
    ------
    NotImplementedError
        No kernel sorts such rows, and the library cannot sort them.
    """
    layouts = target.layouts(arch)
    longest = layouts.longest(payload, dtype.bits, selection)
    length = shape[axis]
    count = math.prod(shape[:axis]) * math.prod(shape[axis + 1 :])
    has_fallback = target.is_host or "sort" in capabilities
    if kept == 0:
        return Plan("copy", None, length, count, "no element is wanted")
    if count == 0 or length == 0 or (length == 1 and has_fallback):
        reason = f"{count} row{'s' * (count != 1)} of length {length}: sorted as they are"
        return Plan("copy", None, length, count, reason)
    if length > longest:
        if not has_fallback:
            raise NotImplementedError(
                f"{argument}: its rows have length {length}, and kernels sort up to {longest}; on "
                f"a {target.title} device, longer rows are sorted for PyTorch, CuPy and JAX only. "
                f"Hand {argument} to one of these, as in torch.from_dlpack({argument})."
            )
        sorter = "the array's own library sorts"
        if target.is_host:
            sorter = "np.sort sorts" if payload == "none" else "np.argsort sorts"
        reason = (
            f"rows of length {length} are longer than {longest}, the longest that a "
            f"kernel sorts; {sorter} their keys, with the same promises"
        )
        return Plan("fallback", None, length, count, reason)
    if selection != "all":
        strides = strides[:1]  # kernels that store a part of each row store it anywhere
    rows = Rows(
        payload=payload,
        bits=dtype.bits,
        length=length,
        access=_access(shape, strides, axis),
        is_unaligned=_is_unaligned(dtype.bits, shape, strides, axis),
        rows=count,
        selection=selection,
        kept=kept,
    )
    choice = layouts.choose(rows)
    kernel = Kernel(
        target=target.name,
        arch=target.kernel_arch(arch, payload, choice.access),
        selection=selection,
        payload=payload,
        codec=dtype.codec,
        bits=dtype.bits,
        layout=choice.layout,
        access=choice.access,
    )
    transposes = choice.transposes and "transpose" in capabilities
    reason = choice.reason
    if transposes:
        why = "rows lie side by side and are long"
        if selection not in ("all", *MEDIANS):
            why = "the elements of rows are not contiguous"
        reason += f"; {why}, so a copy with the axis last is taken"
    return Plan("kernel", kernel, length, count, reason, transposes)


def value_payload(
    layouts: Layouts,
    bits: int,
    value_bits: int,
    shape: Sequence[int],
    strides: Sequence[Sequence[int]],
    axis: int,
    capabilities: frozenset[str] = frozenset({"sort", "transpose"}),
) -> Payload | None:
    """Return the payload of a kernel that carries one array of values along with keys.

    None means that no kernel does, or that it is better to take the values at indices: a kernel for
    rows is slow where they lie side by side. A library that cannot sort cannot take values, either.

    Parameters
    ----------
    layouts : Layouts
        The layouts of the architecture.
    bits, value_bits : int
        The width of a key and of a value.
    shape : sequence of int
        The shape of all arrays; at least one dimension.
    strides : sequence of sequence of int
        The strides of all arrays that are known, in elements: keys, values, and their outputs.
    axis : int
        The axis to sort along, not negative.
    capabilities : frozenset of str
        What the array's library can do on a device, as for `plan`.
    """
    if "sort" in capabilities and _access(shape, strides, axis) == "columns":
        return None
    for payload, carried_bits in VALUE_BITS.items():
        if carried_bits == value_bits and shape[axis] <= layouts.longest(payload, bits):
            return payload
    return None


def _access(shape: Sequence[int], strides: Sequence[Sequence[int]], axis: int) -> Access:
    """Return how the elements of the rows lie in all arrays."""
    if all(array[axis] == 1 for array in strides):
        return "rows"
    for dim, size in enumerate(shape):
        if size >= _MIN_COLUMNS and all(array[dim] == 1 for array in strides):
            return "columns"
    return "strided"


def _is_unaligned(
    bits: int, shape: Sequence[int], strides: Sequence[Sequence[int]], axis: int
) -> bool:
    """Tell whether all arrays are dense, with rows that are not a multiple of a wide access."""
    if axis != len(shape) - 1 or shape[axis] * bits // 8 % WIDE_BYTES == 0:
        return False
    dense = 1
    for dim in reversed(range(len(shape))):
        if shape[dim] > 1 and any(array[dim] != dense for array in strides):
            return False
        dense *= shape[dim]
    return True
