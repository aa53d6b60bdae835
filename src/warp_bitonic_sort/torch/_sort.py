"""`sort`, `argsort` and `msort` of PyTorch; and `sort_values`, `sort_pairs` and `ranks` of ours.

Invariant: the functions of PyTorch have its signatures, defaults and errors. What no kernel takes
is answered by PyTorch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..operations._arguments import Nan
from ..operations._call import call
from ..operations.argsort import ARGSORT, SORT_WITH_INDICES
from ..operations.argsort import ranks as _ranks
from ..operations.sort import SORT
from ..operations.sort_pairs import SortedPairs
from ..operations.sort_pairs import sort_pairs as _sort_pairs
from . import _operators as operators
from ._checks import check
from ._out import all_written, why_not_out, written
from ._routes import is_direct, needs_gradient_alone, why_no_flag, why_not
from ._theirs import in_place_of_torch, left_to_torch


def sorted_with_indices(
    x: Tensor, dim: int, descending: bool = False, nan: Nan = "largest"
) -> tuple[Tensor, Tensor]:
    """Return the sorted values of a tensor, which have a gradient, and their indices."""
    options = (dim, descending, nan == "last")
    if is_direct(x):
        return tuple(call(SORT_WITH_INDICES, x, options))
    if needs_gradient_alone(x):
        indices = call(ARGSORT, x.detach(), options)
        return x.gather(dim, indices), indices
    values, indices = operators.SORT(x, *options)
    return values, indices


def sorted_values(x: Tensor, dim: int, descending: bool = False, nan: Nan = "largest") -> Tensor:
    """Return the sorted values of a tensor, which have a gradient."""
    if is_direct(x):
        return call(SORT, x, (dim, descending, nan == "last"))
    if needs_gradient_alone(x):
        return sorted_with_indices(x, dim, descending, nan)[0]
    return operators.SORT_VALUES(x, dim, descending, nan == "last")


def indices_of_sorted(
    x: Tensor, dim: int, descending: bool = False, nan: Nan = "largest"
) -> Tensor:
    """Return the indices that sort a tensor; equal elements keep their order."""
    if is_direct(x):
        return call(ARGSORT, x, (dim, descending, nan == "last"))
    return operators.ARGSORT(x.detach(), dim, descending, nan == "last")


@in_place_of_torch
def sort(
    input: Tensor,
    dim: int = -1,
    descending: bool = False,
    *,
    stable: bool = False,
    out: tuple[Tensor, Tensor] | None = None,
) -> torch.return_types.sort:
    """Sort a tensor along a dimension: `torch.sort`, with its signature.

    Parameters
    ----------
    input, dim, descending, out
        As for `torch.sort`.
    stable : bool, default False
        Accepted; the sort is always stable.

    Returns
    -------
    torch.return_types.sort
        The values, which have a gradient of any kind and order, and their indices (int64).

    Raises
    ------
    RuntimeError, IndexError, TypeError
        As `torch.sort` does.
    warp_bitonic_sort.BuildError
        The kernel could not be built.

    Examples
    --------
    >>> import torch
    >>> from warp_bitonic_sort.torch import sort
    >>> sort(torch.tensor([[3.0, 1.0, 2.0]])).indices
    tensor([[1, 2, 0]])
    """
    reason = why_not(input, dim, out=out) or why_no_flag(descending, stable)
    reason = reason or why_not_out(out, input.dtype, torch.int64)
    if reason:
        options = {"dim": dim, "descending": descending, "stable": stable}
        return left_to_torch("sort", reason, input, **options, out=out)
    return all_written(torch.return_types.sort, sorted_with_indices(input, dim, descending), out)


@in_place_of_torch
def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Tensor:
    """Return the indices that sort a tensor along a dimension: `torch.argsort`.

    Parameters
    ----------
    input, dim, descending
        As for `torch.argsort`.
    stable : bool, default False
        Accepted; the sort is always stable.

    Returns
    -------
    Tensor
        The indices, int64.

    Raises
    ------
    RuntimeError, IndexError, TypeError
        As `torch.argsort` does.
    """
    reason = why_not(input, dim) or why_no_flag(descending, stable)
    if reason:
        options = {"dim": dim, "descending": descending, "stable": stable}
        result: Tensor = left_to_torch("argsort", reason, input, **options)
        return result
    return indices_of_sorted(input, dim, descending)


@in_place_of_torch
def msort(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Sort a tensor along its first dimension: `torch.msort`.

    Parameters
    ----------
    input, out
        As for `torch.msort`.

    Returns
    -------
    Tensor
        The values, which have a gradient.

    Raises
    ------
    RuntimeError, TypeError
        As `torch.msort` does.
    """
    reason = why_not(input, 0, out=out) or why_not_out(out, input.dtype)
    if reason:
        result: Tensor = left_to_torch("msort", reason, input, out=out)
        return result
    return written(sorted_values(input, 0), out)


def sort_values(
    input: Tensor, dim: int = -1, descending: bool = False, *, nan: Nan = "largest"
) -> Tensor:
    """Sort a tensor along a dimension; return values only, without the cost of indices.

    Parameters
    ----------
    input : Tensor
        A dense tensor of a dtype that `warp_bitonic_sort.sort` takes, with rows of any length.
    dim : int, default -1
        The dimension to sort along.
    descending : bool, default False
        Whether the largest value comes first.
    nan : {"largest", "last"}, default "largest"
        Whether NaNs count as the largest value, as in PyTorch, or come last in either direction.

    Returns
    -------
    Tensor
        The values, which have a gradient. Where none is wanted, -0.0 comes before 0.0 if ascending;
        else they are equal, as in `sort`.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `warp_bitonic_sort.sort` does.
    """
    check(input, dim, nan, descending=descending)
    return sorted_values(input, dim, descending, nan)


def sort_pairs(
    keys: Tensor,
    values: Tensor | tuple[Tensor, ...],
    dim: int = -1,
    descending: bool = False,
    *,
    nan: Nan = "largest",
) -> SortedPairs:
    """Sort keys along a dimension, and put values into the order of their keys.

    Parameters
    ----------
    keys : Tensor
        As input for `sort_values`.
    values : Tensor or tuple of Tensor
        Tensors of the keys' shape, of any dtype.
    dim, descending, nan
        As for `sort_values`, about the keys. Equal keys keep their order.

    Returns
    -------
    SortedPairs
        The keys and the values; both have gradients.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `warp_bitonic_sort.sort_pairs` does.
    """
    check(keys, dim, nan, "keys", descending)
    several = values if isinstance(values, (tuple, list)) else (values,)
    if all(is_direct(x) for x in (keys, *several)):
        return SortedPairs(*_sort_pairs(keys, values, axis=dim, descending=descending, nan=nan))
    for value in several:
        if not isinstance(value, Tensor):
            raise TypeError(f"values: expected a torch.Tensor, got {type(value).__name__}.")
        if value.shape != keys.shape:
            raise ValueError(
                f"values: expected keys' shape {tuple(keys.shape)}, got {tuple(value.shape)}."
            )
    indices = indices_of_sorted(keys, dim, descending, nan)
    carried = tuple(value.gather(dim, indices) for value in several)
    is_one = isinstance(values, Tensor)
    return SortedPairs(keys.gather(dim, indices), carried[0] if is_one else carried)


def ranks(
    input: Tensor, dim: int = -1, descending: bool = False, *, nan: Nan = "largest"
) -> Tensor:
    """Return the position that each element has in its sorted row.

    Parameters
    ----------
    input, dim, descending, nan
        As for `sort_values`. Equal elements keep their order.

    Returns
    -------
    Tensor
        The ranks from 0, int64: the inverse permutation of `argsort`.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `warp_bitonic_sort.ranks` does.
    """
    check(input, dim, nan, descending=descending)
    if is_direct(input):
        return _ranks(input, axis=dim, descending=descending, nan=nan)
    # The ranks are a permutation of 0, 1, ..., so that sorting it inverts it.
    return operators.ARGSORT(indices_of_sorted(input, dim, descending, nan), dim, False, False)
