"""Describes an operation by data, which the call path, explain, prewarm and the fallback read.

Invariant: no code. Two operations of equal selection and payload use the same kernels.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ..kernels import Payload, Selection

Output = Literal["values", "indices"]


class Operation(NamedTuple):
    """An operation on each row of an array.

    Parameters
    ----------
    name : str
        The name of its function.
    selection : str
        The positions of the sorted row that it needs.
    payload : str
        What travels with each key.
    outputs : tuple of str
        Its results, in order: ``values`` have the dtype of x, ``indices`` are int32 or int64.
    result : type, optional
        The named tuple of the results, if there are several.
    """

    name: str
    selection: Selection
    payload: Payload
    outputs: tuple[Output, ...]
    result: type[tuple[Any, ...]] | None = None
