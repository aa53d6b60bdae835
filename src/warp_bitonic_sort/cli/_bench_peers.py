"""How this package and other libraries answer the question of an operation.

Invariant: every way of a case answers the same question for the same elements, into new arrays. A
way says so if it may order equal elements as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .. import (
    argsort,
    kthvalue,
    median,
    quantile,
    ranks,
    sort,
    sort_pairs,
    sort_with_indices,
    top_k,
)
from . import _bench_triton

# What a library is asked, and where that needs a word.
NOTES = {
    "argsort": "equal elements keep their order; np.argsort and torch.argsort without stable need "
    "not keep it",
    "median": "the mean of two middle elements; torch.median, which returns the lower one, is "
    "called for rows of odd length only",
    "top_k": "NumPy's and CuPy's functions find the k elements by argpartition, then sort them",
}


class Case(NamedTuple):
    """An operation on rows of some dtype and length.

    Parameters
    ----------
    operation, dtype : str
        Names.
    rows, length : int
        The shape.
    k : int
        Of top_k and kthvalue.
    q : float
        Of quantile.
    """

    operation: str
    dtype: str
    rows: int
    length: int
    k: int = 1
    q: float = 0.5


class Way(NamedTuple):
    """A way to the answer.

    Parameters
    ----------
    library : str
        Whose: NumPy, PyTorch, CuPy or Triton.
    name : str
        The functions that are called.
    call : callable
        Returns the outputs of the operation.
    stable : bool, default True
        Whether equal elements keep their order.
    """

    library: str
    name: str
    call: Callable[[], Sequence[Any]]
    stable: bool = True


_OURS: dict[str, Callable[[Any, Any, Case], Sequence[Any]]] = {
    "sort": lambda x, _, __: [sort(x)],
    "argsort": lambda x, _, __: [argsort(x)],
    "sort_with_indices": lambda x, _, __: sort_with_indices(x),
    "ranks": lambda x, _, __: [ranks(x)],
    "sort_pairs": lambda x, payload, _: sort_pairs(x, payload),
    "top_k": lambda x, _, case: top_k(x, case.k),
    "kthvalue": lambda x, _, case: kthvalue(x, case.k),
    "median": lambda x, _, __: [median(x)],
    "quantile": lambda x, _, case: [quantile(x, case.q)],
}


def ours(case: Case, x: Any, payload: Any) -> Callable[[], Sequence[Any]]:
    """Return this package's call.

    Parameters
    ----------
    case : Case
        The question.
    x : array
        The rows.
    payload : array
        What goes along with them in ``sort_pairs``.
    """
    function = _OURS[case.operation]
    return lambda: function(x, payload, case)


def of_arrays(xp: Any, library: str, prefix: str, case: Case, x: Any, payload: Any) -> list[Way]:
    """Return the ways of NumPy, or of CuPy, which has the same functions.

    Parameters
    ----------
    xp : module
        The library.
    library, prefix : str
        Its name, and what stands before the names of its functions.
    case, x, payload
        As for `ours`.
    """
    kinds = {"": None, ", stable": "stable"} if library == "NumPy" else {"": None}

    def order(kind: str | None) -> Any:
        return xp.argsort(x, axis=-1, kind=kind)

    def taken(indices: Any, *sources: Any) -> list[Any]:
        return [xp.take_along_axis(source, indices, -1) for source in sources]

    def ranked() -> Any:
        indices = order("stable")
        result = xp.empty_like(indices)
        xp.put_along_axis(result, indices, xp.arange(case.length)[None, :], -1)
        return result

    def with_indices(kind: str | None) -> list[Any]:
        indices = order(kind)
        return [*taken(indices, x), indices]

    def first() -> list[Any]:
        start = case.length - case.k
        found = xp.argpartition(x, start, axis=-1)[:, start:]
        (values,) = taken(found, x)
        places = xp.argsort(values, axis=-1)[:, ::-1]
        return [xp.take_along_axis(each, places, -1) for each in (values, found)]

    def kth() -> list[Any]:
        at = xp.argpartition(x, case.k - 1, axis=-1)[:, case.k - 1]
        return [*(each[:, 0] for each in taken(at[:, None], x)), at]

    ways: dict[str, list[tuple[str, Callable[[], Sequence[Any]], bool]]] = {
        "sort": [
            (f"sort{name}", lambda kind=kind: [xp.sort(x, axis=-1, kind=kind)], True)  # type: ignore[misc]
            for name, kind in kinds.items()
        ],
        "argsort": [
            (f"argsort{name}", lambda kind=kind: [order(kind)], kind is not None)  # type: ignore[misc]
            for name, kind in kinds.items()
        ],
        "sort_with_indices": [
            (
                f"argsort{name}, take_along_axis",
                lambda kind=kind: with_indices(kind),  # type: ignore[misc]
                kind is not None,
            )
            for name, kind in kinds.items()
        ],
        "ranks": [("argsort, stable, put_along_axis", lambda: [ranked()], True)],
        "sort_pairs": [
            (
                "argsort, stable, take_along_axis",
                lambda: taken(order("stable"), x, payload),
                True,
            )
        ],
        "top_k": [("argpartition, argsort", first, False)],
        "kthvalue": [("argpartition", kth, False)],
        "median": [("median", lambda: [xp.median(x, axis=-1)], True)],
        "quantile": [("quantile", lambda: [xp.quantile(x, case.q, axis=-1)], True)],
    }
    return [
        Way(library, f"{prefix}.{name}", call, stable)
        for name, call, stable in ways[case.operation]
    ]


def of_torch(torch: Any, case: Case, x: Any, payload: Any) -> list[Way]:
    """Return the ways of PyTorch; arguments are as for `of_arrays`."""

    def ranked() -> list[Any]:
        order = torch.argsort(x, dim=-1, stable=True)
        positions = torch.arange(case.length, device=x.device).expand(order.shape)
        return [torch.empty_like(order).scatter_(-1, order, positions)]

    def pairs() -> list[Any]:
        keys, order = torch.sort(x, dim=-1, stable=True)
        return [keys, payload.gather(-1, order)]

    medians: list[tuple[str, Callable[[], Sequence[Any]], bool]] = []
    if x.dtype in (torch.float32, torch.float64):
        medians.append(("quantile", lambda: [torch.quantile(x, 0.5, dim=-1)], True))
    if case.length % 2:
        medians.append(("median", lambda: [torch.median(x, dim=-1).values], True))
    ways: dict[str, list[tuple[str, Callable[[], Sequence[Any]], bool]]] = {
        "sort": [("sort", lambda: [torch.sort(x, dim=-1).values], True)],
        "argsort": [
            ("argsort", lambda: [torch.argsort(x, dim=-1)], False),
            ("argsort, stable", lambda: [torch.argsort(x, dim=-1, stable=True)], True),
        ],
        "sort_with_indices": [
            ("sort", lambda: torch.sort(x, dim=-1), False),
            ("sort, stable", lambda: torch.sort(x, dim=-1, stable=True), True),
        ],
        "ranks": [("argsort, stable, scatter", ranked, True)],
        "sort_pairs": [("sort, stable, gather", pairs, True)],
        "top_k": [("topk", lambda: torch.topk(x, case.k, dim=-1), False)],
        "kthvalue": [("kthvalue", lambda: torch.kthvalue(x, case.k, dim=-1), False)],
        "median": medians,
        "quantile": [("quantile", lambda: [torch.quantile(x, case.q, dim=-1)], True)],
    }
    return [
        Way("PyTorch", f"torch.{name}", call, stable) for name, call, stable in ways[case.operation]
    ]


def of_triton(torch: Any, case: Case, x: Any) -> Iterator[Way]:
    """Yield the way of Triton, which sorts values of some lengths; arguments are as before."""
    kernel = _bench_triton.sort_rows() if case.operation == "sort" else None
    if kernel is None or not _bench_triton.takes(case.length):
        return

    def call() -> list[Any]:
        out = torch.empty_like(x)
        kernel(x, out)
        return [out]

    yield Way("Triton", "tl.sort", call)
