"""`patch`: PyTorch's own names answer with our functions, for a while.

Invariant: after the last open patch is closed, `torch` has the functions that it had before the
first.
"""

from __future__ import annotations

import collections
import contextlib
import sys
import threading
from collections.abc import Iterator

import torch

from . import _quantiles, _selection, _sort
from ._theirs import REPLACED, counters

_OURS = {
    name: getattr(module, name)
    for module in (_sort, _selection, _quantiles)
    for name in REPLACED
    if hasattr(module, name)
}
_lock = threading.Lock()
# What `torch` had when the first of the open patches was opened.
_before: dict[str, object] = {}


@contextlib.contextmanager
def patch() -> Iterator[collections.Counter[tuple[str, str]]]:
    """Let `torch.sort`, `argsort`, `msort`, `topk`, `kthvalue` and medians and quantiles be ours.

    The whole process is patched, all its threads; code that holds a function of PyTorch already,
    as after ``from torch import sort``, and methods of tensors are not. What torch.compile
    has compiled before may not notice. Patches may be nested. Subclasses of tensors that answer for
    `torch.sort` themselves, and torch.jit.script, need PyTorch's own functions.

    Yields
    ------
    collections.Counter
        How often PyTorch answered itself, by the function's name and the reason; all patches that
        are open count.

    Examples
    --------
    >>> import torch
    >>> from warp_bitonic_sort.torch import patch
    >>> with patch() as declined:
    ...     values, indices = torch.sort(torch.tensor([2.0, 1.0]))
    >>> declined
    Counter()
    """
    counter: collections.Counter[tuple[str, str]] = collections.Counter()
    with _lock:
        counters.append(counter)
        if len(counters) == 1:
            _before.update({name: getattr(torch, name) for name in REPLACED})
            _replace(_OURS)
    try:
        yield counter
    finally:
        with _lock:
            counters[:] = [each for each in counters if each is not counter]
            if not counters:
                _replace(_before)


def _replace(functions: dict[str, object]) -> None:
    for name in REPLACED:
        setattr(torch, name, functions[name])
    # torch.compile keeps tables of the functions of PyTorch.
    compiler = sys.modules.get("torch._dynamo.trace_rules")
    for table in [] if compiler is None else [*vars(compiler).values()]:
        if hasattr(table, "cache_clear"):
            table.cache_clear()
