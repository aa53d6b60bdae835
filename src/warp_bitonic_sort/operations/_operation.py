"""Describes an operation by data, which the call path, explain, prewarm and the fallback read.

Invariant: nothing here plans or runs a call. Two operations of equal selection and payload use the
same kernels.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ..dtypes import DType
from ..kernels import Payload, Role, Selection


class Output(NamedTuple):
    """A result of an operation.

    Parameters
    ----------
    name : str
        Its name in messages.
    role : str
        Its dtype: ``keys`` have the dtype of x, and an ``index`` is int32 or int64.
    """

    name: str
    role: Role


VALUES = Output("values", "keys")
INDICES = Output("indices", "index")


# What is wanted of each sorted row: so many of the first elements, or the median.
Part = int | Literal["median", "nanmedian"]


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
    outputs : tuple of Output
        Its results, in the order of the kernel's.
    result : type, optional
        The named tuple of the results, if there are several.
    argument : str, default "x"
        The name of its array in messages.
    carries_values : bool, default False
        Whether values go along with x. A kernel may carry them; else they are taken at the indices.
    afterwards : str, optional
        What the array's library does with the outputs, as text for people. ``{k}`` stands for k.
    finds_first : bool, default False
        Whether the first k elements of the sorted rows are wanted, which a kernel may find alone.
    finds_median : bool, default False
        Whether the median of each row is wanted, which a kernel may find alone.
    lowest_k : int, optional
        The lowest value of the argument k, whose highest is the length of a row; None without k.
    nan_modes : tuple of str, default ("largest", "last")
        The values of its argument ``nan``, beginning with the default. Those of an operation that
        returns rows in order say where NaNs go.
    computes : bool, default False
        Whether its results are computed from elements of the sorted rows, which are its outputs:
        then results of integers are floats, and float8 raises.
    """

    name: str
    selection: Selection
    payload: Payload
    outputs: tuple[Output, ...]
    result: type[tuple[Any, ...]] | None = None
    argument: str = "x"
    carries_values: bool = False
    afterwards: str | None = None
    finds_first: bool = False
    finds_median: bool = False
    lowest_k: int | None = None
    nan_modes: tuple[str, ...] = ("largest", "last")
    computes: bool = False

    def takes(self, dtype: DType) -> bool:
        """Tell whether it takes a dtype."""
        return not (self.computes and dtype.name.startswith("float8"))

    def median_part(self, omits_nan: bool) -> Part | None:
        """Return which median it wants of each row, if it does."""
        if not self.finds_median:
            return None
        return "nanmedian" if omits_nan else "median"


class Found(NamedTuple):
    """What a call finds of each row, if it does not sort all of it.

    Parameters
    ----------
    selection : str
        The positions of the sorted row that the kernel finds.
    shape : tuple of int
        The shape of the outputs.
    """

    selection: Selection
    shape: tuple[int, ...]
