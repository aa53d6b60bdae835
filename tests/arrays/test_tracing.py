"""Calls that a library records, simulates or transforms: refused in words, or right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.functional_tensor import FunctionalTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from warp_bitonic_sort import (
    explain,
    kthvalue,
    median,
    quantile,
    ranks,
    sort,
    sort_pairs,
    top_k,
    warp_bitonic_sort,
)
from warp_bitonic_sort.operations import _call
from warp_bitonic_sort.torch import sort_values

LENGTHS = [1, 9, 17000]  # copied, sorted by a kernel, sorted by a library


class Sorted(torch.nn.Module):
    def forward(self, x):
        return sort(x)


def sort_within(mode, x):
    with mode:
        return sort(x)


def trace(function, x):
    return torch.jit.trace(function, (x,), check_trace=False)


def in_place(x):
    return sort(x, out=torch.empty_like(x))


RECORDED = {
    "jit.trace": lambda x: trace(sort, x),
    "jit.trace of out": lambda x: trace(in_place, x),
    "jit.trace of a constant": lambda x: trace(lambda v: v + sort(x), x),
    "jit.trace of explain": lambda x: trace(lambda v: explain(v) and v, x),
    "onnx": lambda x: torch.onnx.export(Sorted(), (x,), "never.onnx", dynamo=False),
    "make_fx": lambda x: make_fx(lambda v: sort(v))(x),
    "make_fx of out": lambda x: make_fx(in_place)(x),
    "make_fx of a constant": lambda x: make_fx(lambda v: v + sort(x))(x),
    "make_fx before dispatch": lambda x: make_fx(lambda v: sort(v), pre_dispatch=True)(x),
    "make_fx of fakes": lambda x: make_fx(lambda v: sort(v), tracing_mode="fake")(x),
    "make_fx of symbols": lambda x: make_fx(lambda v: sort(v), tracing_mode="symbolic")(x),
    "export": lambda x: torch.export.export(Sorted(), (x,), strict=False),
    "FakeTensorMode": lambda x: sort_within(FakeTensorMode(), x),
    "lenient FakeTensorMode": lambda x: sort_within(FakeTensorMode(allow_non_fake_inputs=True), x),
    "FakeTensor": lambda x: sort(FakeTensorMode().from_tensor(x)),
    "FunctionalTensorMode": lambda x: sort_within(FunctionalTensorMode(), x),
    "vmap": lambda x: torch.func.vmap(sort)(x),
    "grad": lambda x: torch.func.grad(lambda v: sort(v).sum())(x),
    "grad of a constant": lambda x: torch.func.grad(lambda v: (v * sort(x)).sum())(x),
    "jvp": lambda x: torch.func.jvp(sort, (x,), (x,)),
    "functionalize": lambda x: torch.func.functionalize(sort)(x),
    "fx.symbolic_trace": lambda x: torch.fx.symbolic_trace(Sorted())(x),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", RECORDED)
def test_sort_of_a_tensor_while_torch_records_raises(name, length):
    x = torch.rand(3, length)
    advice = r"^x(_or_shape)?: .*(warp_bitonic_sort\.torch there|torch\.fx\.wrap)"
    _call.prepared_calls.clear()
    for _ in ("not prepared", "prepared"):
        with pytest.raises(TypeError, match=advice):
            RECORDED[name](x)
        torch.testing.assert_close(sort(x), torch.sort(x).values)
        torch.testing.assert_close(in_place(x), torch.sort(x).values)


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    "mode",
    [
        Watching,
        lambda: FlopCounterMode(display=False),
        lambda: torch.device("meta"),
        torch.inference_mode,
        lambda: torch.autocast("cpu"),
    ],
)
def test_sort_of_a_tensor_in_a_mode_that_only_watches_is_right(mode, length):
    x = torch.rand(3, length)
    want = torch.sort(x).values
    torch.testing.assert_close(sort_within(mode(), x), want)
    torch.testing.assert_close(sort(x), want)


@pytest.mark.stress
@pytest.mark.parametrize("length", [9, 17000])
@pytest.mark.parametrize("convert", [torch.from_numpy, np.asarray])
def test_sort_inside_torch_compile_runs_between_graphs(convert, length):
    x = np.random.default_rng(1).random((3, length), dtype=np.float32)
    torch._dynamo.reset()
    compiled = torch.compile(lambda v: sort(v * 2) + 1, backend="eager")
    for _ in range(2):
        np.testing.assert_array_equal(compiled(convert(x)), np.sort(x) * 2 + 1)


@pytest.mark.stress  # torch.compile takes seconds for all frames of these calls
@pytest.mark.parametrize("convert", [torch.from_numpy, np.asarray])
def test_ranks_and_sort_pairs_inside_torch_compile_run_between_graphs(convert):
    x = np.random.default_rng(1).random((3, 9), dtype=np.float32)
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda v: sort_pairs(v * 2, ranks(v * 2) + 1).values + 1, backend="eager"
    )
    for _ in range(2):
        np.testing.assert_array_equal(compiled(convert(x)), np.tile(np.arange(2, 11), (3, 1)))


@pytest.mark.stress
@pytest.mark.parametrize("convert", [torch.from_numpy, np.asarray])
def test_selection_inside_torch_compile_runs_between_graphs(convert):
    x = np.random.default_rng(1).random((3, 9), dtype=np.float32)
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda v: (
            top_k(v * 2, 3).values
            + kthvalue(v * 2, 9, keepdims=True).values
            + 0 * median(v * 2, keepdims=True)
            + 0 * quantile(v * 2, 0.5, axis=(0, 1))
        ),
        backend="eager",
    )
    ordered = np.sort(x)[:, ::-1] * 2
    for _ in range(2):
        np.testing.assert_array_equal(compiled(convert(x)), ordered[:, :3] + ordered[:, :1])


@pytest.mark.parametrize("function", [sort, warp_bitonic_sort])
def test_sort_inside_one_graph_of_torch_compile_raises(function):
    compiled = torch.compile(lambda v: function(v) + 1, backend="eager", fullgraph=True)
    # Versions before 2.7 leave out the reason.
    said = r"warp_bitonic_sort\.torch" if torch.__version__ >= (2, 7) else "disable.* sort"
    with pytest.raises(torch._dynamo.exc.Unsupported, match=said):
        compiled(torch.rand(3, 9))


def test_function_that_the_errors_advise_is_recorded_by_every_tracer():
    operator = sort_values
    x, other = torch.rand(3, 9), torch.rand(3, 9)
    for recorded in (
        trace(lambda v: operator(v), x),
        torch.compile(lambda v: operator(v), backend="eager", fullgraph=True),
        make_fx(lambda v: operator(v))(x),
        make_fx(lambda v: operator(v), pre_dispatch=True)(x),
        make_fx(lambda v: operator(v), tracing_mode="fake")(x),
        torch.func.vmap(operator),
    ):
        torch.testing.assert_close(recorded(other), torch.sort(other).values)
    with FakeTensorMode():
        assert operator(torch.empty(3, 9)).shape == (3, 9)


@pytest.mark.parametrize(
    "transform",
    [
        lambda x: jax.jit(sort)(x),
        lambda x: jax.vmap(sort)(x),
        lambda x: jax.grad(lambda v: sort(v).sum())(x),
        lambda x: jax.jvp(sort, (x,), (x,)),
        lambda x: jax.eval_shape(sort, x),
        lambda x: jax.make_jaxpr(sort)(x),
        lambda x: jax.export.export(jax.jit(sort))(x),
        lambda x: jax.lax.scan(lambda carry, v: (carry, sort(v)), 0, x),
        lambda x: jax.jit(explain)(x),
        lambda x: jax.jit(ranks)(x),
        lambda x: jax.jit(lambda v: top_k(v, 2))(x),
        lambda x: jax.vmap(lambda v: kthvalue(v, 2))(x),
        lambda x: jax.jit(lambda v: median(v, axis=None))(x),
        lambda x: jax.vmap(lambda v: quantile(v, 0.5))(x),
    ],
)
def test_sort_of_a_jax_tracer_raises(transform):
    x = jnp.ones((3, 9))
    sort(x)
    with pytest.raises(TypeError, match=r"^x(_or_shape)?: it is a tracer .*warp_bitonic_sort\.jax"):
        transform(x)


@pytest.mark.parametrize("length", LENGTHS)
def test_sort_of_a_constant_in_a_jax_transform_is_right(length):
    x = jnp.asarray(np.random.default_rng(2).random((3, length), dtype=np.float32))
    want = np.sort(np.asarray(x))
    np.testing.assert_array_equal(jax.jit(lambda v: v * 0 + sort(x))(x), want)
    np.testing.assert_array_equal(jax.vmap(lambda v: v * 0 + sort(x)[0])(x)[0], want[0])
    np.testing.assert_array_equal(jax.grad(lambda v: (v * sort(x)).sum())(x), want)
