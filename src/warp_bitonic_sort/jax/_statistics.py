"""Medians, quantiles and percentiles with the signatures of jax.numpy.

Invariant: the formulas are those of the installed JAX: its function is traced, and kernels take the
place of the sort in the trace. Therefore results, dtypes, errors and derivatives are JAX's own, but
for the sign of a zero: the sort is not stable, which is faster. NaNs have equal bits there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, jaxpr_as_fun

from ..dtypes import DTYPES
from ._primitive import parameters, sort_rows_p

# All other parameters are static, as in the functions of JAX.
_TRACED = ("a", "q", "out", "weights")


def _with_kernels(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of jax.numpy whose sort is done by kernels."""
    name = function.__name__
    signature = inspect.signature(function)

    def own(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # raises its own error
        traced = {key: value for key, value in given.items() if key in _TRACED}
        static = {key: value for key, value in given.items() if key not in _TRACED}
        trace = jax.make_jaxpr(lambda traced: function(**traced, **static))(traced)
        (result,) = jaxpr_as_fun(_sorted_by_kernels(trace))(*jax.tree.leaves(traced))
        return result

    own.__name__ = own.__qualname__ = name
    own.__module__ = "warp_bitonic_sort.jax"
    own.__signature__ = signature  # type: ignore[attr-defined]
    own.__doc__ = f"As `jax.numpy.{name}`, with a faster sort; a zero may have the other sign."
    static = [key for key in signature.parameters if key not in _TRACED]
    compiled: Callable[..., Any] = jax.jit(own, static_argnames=static)
    return compiled


def _sorted_by_kernels(trace: ClosedJaxpr) -> ClosedJaxpr:
    """Return a trace in which `sort_rows_p` takes the place of the sorts of one array."""
    eqns = [_replaced(eqn) for eqn in trace.jaxpr.eqns]
    return trace.replace(jaxpr=trace.jaxpr.replace(eqns=eqns))


def _replaced(eqn: JaxprEqn) -> JaxprEqn:
    inner = eqn.params.get("jaxpr")
    if isinstance(inner, ClosedJaxpr):
        return eqn.replace(params={**eqn.params, "jaxpr": _sorted_by_kernels(inner)})
    if eqn.primitive is not lax.sort_p or len(eqn.invars) > 1:  # those of weights have two
        return eqn
    aval = eqn.invars[0].aval
    if aval.dtype.name not in DTYPES or not all(isinstance(size, int) for size in aval.shape):
        return eqn
    return eqn.replace(primitive=sort_rows_p, params=parameters(eqn.params["dimension"]))


median = _with_kernels(jnp.median)
nanmedian = _with_kernels(jnp.nanmedian)
quantile = _with_kernels(jnp.quantile)
nanquantile = _with_kernels(jnp.nanquantile)
percentile = _with_kernels(jnp.percentile)
nanpercentile = _with_kernels(jnp.nanpercentile)
