"""The primitive of JAX that sorts rows: its types, its derivatives, its batches, its lowering.

Invariant: indices are those of the stable order of `argsort`. The derivative of sorted keys moves
the tangents to the places of their keys. A program is lowered to the same values on every platform;
on those without kernels JAX sorts codes (`fallback`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ..dtypes import DType, lookup
from ..fallback import Functions, Sorter
from ..kernels import Role
from ._targets import PLATFORMS, call_for

sort_rows_p = Primitive("warp_bitonic_sort")
sort_rows_p.multiple_results = True


def parameters(
    axis: int,
    *,
    descending: bool = False,
    k: int | None = None,
    roles: tuple[Role, ...] = ("keys",),
    is_stable: bool = False,
    index_dtype: str = "int32",
) -> dict[str, Any]:
    """Return the parameters of the primitive, as for `sort_rows`; the axis is not negative."""
    return {
        "axis": axis,
        "descending": descending,
        "k": k,
        "roles": roles,
        "is_stable": is_stable,
        "index_dtype": index_dtype,
    }


def sort_rows(x: Any, axis: int, **options: Any) -> list[Any]:
    """Return the wanted outputs of sorted rows, in the order of the roles.

    Parameters
    ----------
    x : array
        An array or tracer of a supported dtype and a constant shape, which no mesh divides along
        the axis.
    axis : int
        The axis; it may count from the end.
    descending : bool, default False
        The direction. Equal keys keep their order in both.
    k : int, optional
        How many of the first elements of each row are wanted.
    roles : tuple of str, default ("keys",)
        The outputs: sorted keys, the index that each had in its row, or both.
    is_stable : bool, default False
        Whether keys that are alone among the roles keep the order of equal ones. Otherwise -0.0
        comes before 0.0, and NaNs come in any order. With indices, the order is always stable.
    index_dtype : str, default "int32"
        The dtype of indices.
    """
    outputs: list[Any] = sort_rows_p.bind(x, **parameters(axis % x.ndim, **options))
    return outputs


def _run(x: Any, **params: Any) -> Any:
    with jax.disable_jit(False):  # inside disable_jit, jit would call this again
        return jax.jit(partial(sort_rows_p.bind, **params))(x)


def _types(
    x: Any, *, axis: int, k: int | None, roles: tuple[Role, ...], index_dtype: str, **_: Any
) -> list[Any]:
    shape = (*x.shape[:axis], x.shape[axis] if k is None else k, *x.shape[axis + 1 :])
    keys = x.update(shape=shape)
    index = x.update(shape=shape, dtype=np.dtype(index_dtype), weak_type=False)
    return [keys if role == "keys" else index for role in roles]


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    (x,), (tangent,) = primals, tangents
    roles = params["roles"]
    if "keys" not in roles or type(tangent) is ad.Zero:
        outputs = sort_rows_p.bind(x, **params)
        return outputs, [_no_tangent(output) for output in outputs]
    keys, index = sort_rows_p.bind(x, **{**params, "roles": ("keys", "index")})
    moved = jnp.take_along_axis(tangent, index, axis=params["axis"])
    results = {"keys": (keys, moved), "index": (index, _no_tangent(index))}
    outputs, moved = zip(*(results[role] for role in roles), strict=True)
    return outputs, moved


def _no_tangent(output: Any) -> Any:
    return ad.Zero(jax.typeof(output).to_tangent_aval())


def _batched(
    operands: Sequence[Any], dims: Sequence[int], *, axis: int, **params: Any
) -> tuple[list[Any], list[int]]:
    (x,), (dim,) = operands, dims
    outputs = sort_rows_p.bind(x, axis=axis + (dim <= axis), **params)
    return outputs, [dim] * len(outputs)


sort_rows_p.def_impl(_run)
sort_rows_p.def_abstract_eval(_types)
ad.primitive_jvps[sort_rows_p] = _jvp
batching.primitive_batchers[sort_rows_p] = _batched


# -- lowering --------------------------------------------------------------------------------------


def _lower(platform: str, ctx: Any, x: Any, **params: Any) -> Any:
    """Lower to the kernel of a platform."""
    (aval,), axis, k = ctx.avals_in, params["axis"], params["k"]
    roles = _needed(params["roles"], params["is_stable"], lookup(aval.dtype.name, "x"))
    call = call_for(platform, aval.dtype.name, aval.shape, axis, k, roles)
    is_last = axis == aval.ndim - 1
    rule: Callable[..., Any] = _fallback
    if call.route == "copy":
        rule = _copy
    elif call.route == "kernel":
        if not is_last and (call.transposes or _is_partitioned(ctx)):
            rule = _with_axis_last
        else:
            return _call_target(ctx, x, call.target, call.outputs, params)
    return mlir.lower_fun(partial(rule, **params), multiple_results=True)(ctx, x)


def _call_target(
    ctx: Any, x: Any, target: str, outputs: Sequence[Role], params: dict[str, Any]
) -> list[Any]:
    """Call a kernel, and return the wanted ones of its outputs."""
    roles = params["roles"]
    avals = _types(ctx.avals_in[0], **{**params, "roles": outputs})
    # XLA runs the target on parts of an array that is divided along the axes before the last one.
    attribute = mlir.ir.StringAttr.get(str(params["axis"]))
    rule = jax.ffi.ffi_lowering(
        target,
        extra_attributes={
            "mhlo.frontend_attributes": mlir.ir.DictAttr.get({"num_batch_dims": attribute})
        },
    )
    results = rule(
        ctx.replace(avals_out=avals),
        x,
        axis=np.int64(params["axis"]),
        descending=np.bool_(params["descending"]),
        nan_last=np.bool_(False),
    )
    return [results[outputs.index(role)] for role in roles]


def _is_partitioned(ctx: Any) -> bool:
    """Tell whether XLA may divide the program among devices."""
    context = ctx.module_context.axis_context
    if isinstance(context, mlir.ShardingContext):
        return bool(context.num_devices > 1)
    if isinstance(context, mlir.SPMDAxisContext):
        return set(context.manual_axes) != set(context.mesh.axis_names)
    return False


def _with_axis_last(x: Any, *, axis: int, **params: Any) -> list[Any]:
    outputs = sort_rows_p.bind(jnp.moveaxis(x, axis, -1), axis=x.ndim - 1, **params)
    return [jnp.moveaxis(output, -1, axis) for output in outputs]


def _copy(
    x: Any, *, axis: int, k: int | None, roles: Sequence[Role], index_dtype: str, **_: Any
) -> list[Any]:
    """Return rows without elements, or with one."""
    keys = x if k is None else lax.slice_in_dim(x, 0, k, axis=axis)
    return [keys if role == "keys" else jnp.zeros_like(keys, dtype=index_dtype) for role in roles]


def _fallback(
    x: Any,
    *,
    axis: int,
    descending: bool,
    k: int | None,
    roles: tuple[Role, ...],
    is_stable: bool,
    index_dtype: str,
) -> list[Any]:
    """Have JAX sort the codes of keys."""

    def first(codes: Any, axis: int) -> Any:
        return lax.top_k(~codes, k, axis=axis)[1]

    dtype = lookup(x.dtype.name, "x")
    argsort = jnp.argsort if k is None else first
    functions = Functions(jnp.sort, argsort, jnp.take_along_axis, jnp.where)
    needed = _needed(roles, is_stable, dtype)
    sorter = Sorter(dtype, axis, descending, False, needed)
    outputs = sorter.outputs(_bits_as(x, f"int{dtype.bits}"), functions)
    return [
        _bits_as(outputs[needed.index(role)], dtype.name)
        if role == "keys"
        else outputs[needed.index(role)].astype(index_dtype)
        for role in roles
    ]


def _needed(roles: tuple[Role, ...], is_stable: bool, dtype: DType) -> tuple[Role, ...]:
    """Return the outputs of a sort in which equal keys keep their order, if that matters."""
    if is_stable and dtype.codec == "ieee":  # else equal keys have equal bits
        return ("keys", "index")
    return roles


def _bits_as(x: Any, dtype: str) -> Any:
    """Return the same bits as another dtype of the width."""
    if "bool" in (x.dtype.name, dtype):  # bitcast_convert_type does not accept bool
        return x.astype(dtype)
    return lax.bitcast_convert_type(x, jnp.dtype(dtype))


mlir.register_lowering(sort_rows_p, mlir.lower_fun(_fallback, multiple_results=True))
for _platform in PLATFORMS:
    mlir.register_lowering(sort_rows_p, partial(_lower, _platform), platform=_platform)
