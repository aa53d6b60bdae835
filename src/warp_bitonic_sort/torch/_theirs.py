"""PyTorch's own functions, and the calls that were left to them.

Invariant: `theirs` holds the functions as they were when this package was imported, whatever
`patch` replaces later. Nothing is counted outside of `patch`.
"""

from __future__ import annotations

import collections
import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

REPLACED = ("sort", "argsort", "msort", "topk", "kthvalue", "median", "nanmedian", "quantile",
            "nanquantile")  # fmt: skip
theirs: dict[str, Any] = {name: getattr(torch, name) for name in REPLACED}
# The counters of the patches that are open: how often a function was left to PyTorch, and why.
counters: list[collections.Counter[tuple[str, str]]] = []


def in_place_of_torch(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function that has the name and the signature of PyTorch's.

    PyTorch accepts other names of arguments, too, such as axis; such calls are left to it.
    """
    name, known = function.__name__, frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not known.issuperset(kwargs):
            return left_to_torch(name, "an argument has another name", *args, **kwargs)
        return function(*args, **kwargs)

    return call


def left_to_torch(name: str, reason: str, *args: Any, **kwargs: Any) -> Any:
    """Return what PyTorch's function returns, or let it raise; an out of None is not passed on."""
    if not torch.compiler.is_compiling():
        for counter in counters:
            counter[name, reason] += 1
    if kwargs.get("out", ...) is None:
        del kwargs["out"]
    return theirs[name](*args, **kwargs)
