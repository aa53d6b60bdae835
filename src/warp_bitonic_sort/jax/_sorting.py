"""`sort`, `argsort` and `top_k` with the signatures of JAX.

Invariant: results are those of `jax.numpy.sort`, `jax.numpy.argsort` and `jax.lax.top_k`, bit for
bit where these define them. What no kernel takes is passed to the function of JAX.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from ..dtypes import DTYPES
from ._primitive import sort_rows

# The longest rows whose indices int32 holds; top_k of JAX takes no longer ones, either.
_MAX_LENGTH = 2**31

_F = TypeVar("_F", bound=Callable[..., Any])


def signature_of(function: Callable[..., Any]) -> Callable[[_F], _F]:
    """Return a decorator that shows the signature of a function of the installed JAX."""

    def show(own: _F) -> _F:
        own.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return own

    return show


def can_sort(x: Any, axis: Any) -> bool:
    """Tell whether kernels sort an array or tracer along an axis."""
    return (
        isinstance(x, jax.Array)
        and x.dtype.name in DTYPES
        and all(isinstance(size, int) for size in x.shape)  # sizes of an export may be symbols
        and isinstance(axis, int)
        and -x.ndim <= axis < x.ndim
        and x.shape[axis] <= _MAX_LENGTH
        and jax.typeof(x).sharding.spec[axis] is None
    )


@signature_of(jnp.sort)
def sort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
    **options: Any,
) -> jax.Array:
    """Return a sorted copy of an array, as `jax.numpy.sort`.

    Parameters
    ----------
    a : array_like
        The array. Kernels sort bool, integers of 8 to 64 bits, and floats of 8 to 64 bits.
    axis : int or None, default -1
        The axis; None sorts all elements as one row.
    kind, order : None
        As for `jax.numpy.sort`, which supports neither.
    stable : bool, default True
        Whether zeros of both signs, and NaNs of different bits, keep their order. Otherwise -0.0
        comes before 0.0, and floats are sorted faster. Other elements that are equal
        have equal bits.
    descending : bool, default False
        Whether the order is that of the ascending sort, read backwards. NaNs come first then.
    **options
        Arguments of newer versions of JAX, which go to `jax.numpy.sort`.

    Returns
    -------
    jax.Array
        An array of the shape and dtype of a, or of one axis if axis is None.

    Raises
    ------
    TypeError, ValueError
        As `jax.numpy.sort` does.
    BuildError
        The kernel could not be built.
    """
    if kind is None and order is None and not options:
        return _sort(a, axis, stable, descending)
    return jnp.sort(
        a, axis, kind=kind, order=order, stable=stable, descending=descending, **options
    )


@signature_of(jnp.argsort)
def argsort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
    **options: Any,
) -> jax.Array:
    """Return the indices that sort an array, as `jax.numpy.argsort`.

    Equal elements keep their order in both directions. -0.0 equals 0.0, and all NaNs are equal.

    Parameters
    ----------
    a, axis, kind, order, descending
        As for `sort`.
    stable : bool, default True
        Accepted for uniformity: the result is always the stable one.
    **options
        Further arguments of the installed version of JAX, such as dtype.

    Returns
    -------
    jax.Array
        The indices: int32, or int64 if x64 is enabled, unless dtype says otherwise.

    Raises
    ------
    TypeError, ValueError, BuildError
        As for `sort`.
    """
    if kind is None and order is None:
        static = tuple(options.items())
        return _argsort(a, axis, stable, descending, static)
    return jnp.argsort(
        a, axis, kind=kind, order=order, stable=stable, descending=descending, **options
    )


@signature_of(lax.top_k)
def top_k(operand: Any, k: int, *, axis: int = -1, **options: Any) -> tuple[jax.Array, jax.Array]:
    """Return the k largest elements along an axis and their indices, as `jax.lax.top_k`.

    Of equal elements, the one with the lowest index comes first. -0.0 equals 0.0. NaNs are the
    largest elements, whatever their sign.

    Parameters
    ----------
    operand : array_like
        The array, as for `sort`.
    k : int
        How many elements of each row to return.
    axis : int, default -1
        The axis of the rows.
    **options
        Arguments of newer versions of JAX, which go to `jax.lax.top_k`.

    Returns
    -------
    tuple of jax.Array
        The elements, the largest first, and their indices of dtype int32.

    Raises
    ------
    TypeError, ValueError
        As `jax.lax.top_k` does.
    BuildError
        The kernel could not be built.
    """
    if type(k) is int and type(axis) is int and hasattr(operand, "dtype") and not options:
        return _top_k(operand, k, axis)  # type: ignore[no-any-return]
    return lax.top_k(operand, k, axis=axis, **options)  # type: ignore[no-any-return]


@partial(jax.jit, static_argnums=(1, 2, 3))
def _sort(a: Any, axis: Any, stable: Any, descending: Any) -> Any:
    x, along = _row_of(a, axis)
    if not can_sort(x, along):
        return jnp.sort(a, axis, stable=stable, descending=descending)
    if not stable:
        return sort_rows(x, along, descending=bool(descending))[0]
    (keys,) = sort_rows(x, along, is_stable=True)
    return jnp.flip(keys, along) if descending else keys


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _argsort(a: Any, axis: Any, stable: Any, descending: Any, options: Any) -> Any:
    def own(x: Any) -> Any:
        return jnp.argsort(x, axis, stable=stable, descending=descending, **dict(options))

    x, along = _row_of(a, axis)
    if not can_sort(x, along):
        return own(a)
    dtype = jax.eval_shape(own, x).dtype
    (indices,) = sort_rows(
        x,
        along,
        descending=bool(descending),
        roles=("index",),
        index_dtype="int64" if dtype == "int64" else "int32",
    )
    return indices.astype(dtype)


@partial(jax.jit, static_argnums=(1, 2))
def _top_k(operand: Any, k: int, axis: int) -> Any:
    if not can_sort(operand, axis) or not 0 <= k <= operand.shape[axis]:
        return lax.top_k(operand, k, axis=axis)
    return tuple(sort_rows(operand, axis, descending=True, k=k, roles=("keys", "index")))


def _row_of(a: Any, axis: Any) -> tuple[Any, Any]:
    """Return an array and an axis: if the axis is None, all elements as one row."""
    if axis is None and isinstance(a, jax.Array):
        return jnp.ravel(a), 0
    return a, axis
