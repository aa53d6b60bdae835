"""The façade of PyTorch where its compilers and tracers record a call."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import grad, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

import warp_bitonic_sort.torch as ours
from support.torch_rows import DEVICE, distinct

pytestmark = pytest.mark.usefixtures("kernels_of_any_size")

CALLS = {
    "sort": lambda t, x: t.sort(x).values,
    "indices": lambda t, x: t.sort(x, 0, True).indices * x,
    "argsort": lambda t, x: t.argsort(x) * x,
    "msort": lambda t, x: t.msort(x),
    "topk": lambda t, x: t.topk(x, 2).values,
    "kthvalue": lambda t, x: t.kthvalue(x, 2, 0).values,
    "median": lambda t, x: t.median(x, -1).values,
    "nanmedian": lambda t, x: t.nanmedian(x, 0).values,
    "quantile": lambda t, x: t.quantile(x, 0.3, 1),
    "nanquantile": lambda t, x: t.nanquantile(x, 0.3, -1),
}
OURS = {
    **CALLS,
    "sort values": lambda t, x: t.sort_values(x),
    "pairs": lambda t, x: t.sort_pairs(x, 2 * x).values,
    "ranks": lambda t, x: t.ranks(x) * x,
    "top_k": lambda t, x: t.top_k(x, 2, nan="last").values,
}
# Which functions have a gradient.
SMOOTH = [name for name in OURS if name not in ("indices", "argsort", "ranks")]
each_call = pytest.mark.parametrize("name", OURS)


def rows(count=4, dtype=torch.float64):
    return distinct(count, 5, dtype=dtype, seed=count)


def function_of(name):
    return lambda x: OURS[name](ours, x)


def compiled(function, backend="aot_eager", dynamic=True):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, dynamic=dynamic, backend=backend)


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@each_call
def test_compiled_call_equals_the_eager_one(name):
    function = function_of(name)
    fast = compiled(function)
    for count in (4, 7, 3):
        same(fast(rows(count)), function(rows(count)))


def _gradient(function):
    """The gradient by autograd, of a function that is compiled."""

    def of(x):
        x = x.clone().requires_grad_()
        (function(x) ** 2).sum().backward()
        return x.grad

    return of


@pytest.mark.parametrize("name", SMOOTH)
def test_backward_of_a_compiled_call_equals_the_eager_one(name):
    function = function_of(name)
    fast = _gradient(compiled(function))
    for count in (4, 7):
        found = fast(rows(count))
        assert found.abs().sum() > 0
        same(found, _gradient(function)(rows(count)))


WITHIN = {
    "grad": lambda f: grad(lambda x: (f(x) ** 2).sum()),
    "vmap": lambda f: lambda x: vmap(f)(torch.stack([x, -x])),
    "vmap of grad": lambda f: (
        lambda x: vmap(grad(lambda x: (f(x) ** 2).sum()))(torch.stack([x, -x]))
    ),
    "jvp": lambda f: lambda x: jvp(f, (x,), (x.flip(0),)),
}


@pytest.mark.parametrize("transform", WITHIN)
@pytest.mark.parametrize("name", ["sort", "topk", "median", "quantile", "sort values", "pairs"])
def test_compiled_transform_equals_the_eager_one(name, transform):
    function = WITHIN[transform](function_of(name))
    same(compiled(function, dynamic=False)(rows()), function(rows()))


def test_inductor_compiles_a_step_of_training():
    weights = torch.nn.Parameter(torch.eye(5, dtype=torch.float64, device=DEVICE) + 0.1)

    def loss(x):
        values, experts = ours.topk(x @ weights, 2)
        return (torch.softmax(values, -1) * experts).sum() + ours.sort_values(x).max()

    x = rows()
    expected = torch.autograd.grad(loss(x), weights)[0]
    fast = compiled(loss, backend="inductor")
    same(torch.autograd.grad(fast(x), weights)[0], expected)
    same(fast(rows(7)), loss(rows(7)))


@each_call
def test_exported_program_with_a_dynamic_batch_equals_the_eager_call(name):
    class Layer(torch.nn.Module):
        def forward(self, x):
            return OURS[name](ours, x)

    batch = torch.export.Dim("batch", min=2, max=1000)
    program = torch.export.export(Layer(), (rows(),), dynamic_shapes={"x": {0: batch}})
    assert "warp_bitonic_sort" in str(program.graph)
    for count in (4, 9):
        same(program.module()(rows(count)), function_of(name)(rows(count)))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic", "pre_dispatch"])
@each_call
def test_make_fx_records_the_operator(name, mode):
    options = {"pre_dispatch": True} if mode == "pre_dispatch" else {"tracing_mode": mode}
    graph = make_fx(function_of(name), **options)(rows())
    assert "warp_bitonic_sort" in graph.code
    same(graph(rows()), function_of(name)(rows()))


@each_call
def test_jit_trace_records_the_operator(name):
    traced = torch.jit.trace(function_of(name), (rows(),), check_trace=False)
    assert "warp_bitonic_sort" in str(traced.graph)
    same(traced(rows(4) * 2 - 1), function_of(name)(rows(4) * 2 - 1))


@each_call
def test_tensors_without_values_have_the_right_results(name):
    expected = function_of(name)(rows())
    found = function_of(name)(torch.empty(4, 5, dtype=torch.float64, device="meta"))
    assert found.is_meta
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    with FakeTensorMode() as mode:
        fake = function_of(name)(torch.empty(4, 5, dtype=torch.float64, device=DEVICE))
    assert fake.fake_mode is mode
    assert (fake.shape, fake.dtype) == (expected.shape, expected.dtype)


OPERATORS = torch.ops.warp_bitonic_sort
SAMPLES = [
    (OPERATORS.sort_values.default, (-1, False, False)),
    (OPERATORS.sort.default, (0, True, True)),
    (OPERATORS.argsort.default, (1, False, False)),
    (OPERATORS.topk.default, (2, -1, True, False)),
]


@pytest.mark.parametrize(("operator", "options"), SAMPLES)
@pytest.mark.parametrize("x", [rows(), rows().t(), rows(0), rows(4, torch.int32)])
def test_operators_pass_opcheck(operator, options, x):
    torch.library.opcheck(operator, (x, *options))
    if x.is_floating_point():
        torch.library.opcheck(operator, (x.clone().requires_grad_(), *options))


def test_gradient_is_never_silently_zero():
    """What looks as if it needed no gradient, inside of a compiled transform."""
    for name in SMOOTH:
        function = grad(lambda x, n=name: (function_of(n)(x) ** 2).sum())
        assert compiled(function, dynamic=False)(rows()).abs().sum() > 0, name


WRITES = {
    "slice": lambda buffer, y: buffer[:, :5].copy_(y),
    "row": lambda buffer, y: [buffer[i, :5].copy_(y[i]) for i in range(4)],
    "transposed": lambda buffer, y: buffer.t()[:5].copy_(y.t()),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", ["sort", "sort values", "topk", "kthvalue", "median", "pairs"])
def test_compiled_gradient_through_a_write_to_a_view_equals_the_eager_one(name, write):
    """torch.compile does not know then that the written tensor needs a gradient."""
    layer = torch.nn.Linear(5, 5).to(DEVICE, torch.float64)

    def loss(x):
        buffer = x.new_full((4, 6), 9.0)
        WRITES[write](buffer, layer(x))
        return (function_of(name)(buffer) ** 2).sum() + layer(x).square().sum()

    gradients = []
    for function in (loss, compiled(loss, dynamic=False)):
        layer.zero_grad()
        function(rows()).backward()
        gradients.append(layer.weight.grad.clone())
    same(*gradients)


@pytest.mark.parametrize("name", SMOOTH)
def test_recorded_graph_has_the_gradient_of_the_eager_call(name):
    function = function_of(name)
    expected = grad(lambda x: (function(x) ** 2).sum())(rows())

    class Layer(torch.nn.Module):
        def forward(self, x):
            return function(x)

    program = torch.export.export(Layer(), (rows(),))
    for recorded in (make_fx(function)(rows()), program.module(),
                     program.run_decompositions().module()):  # fmt: skip
        same(grad(lambda x, f=recorded: (f(x) ** 2).sum())(rows()), expected)
        x = rows().requires_grad_()
        (recorded(x) ** 2).sum().backward()
        same(x.grad, expected)


def test_forward_mode_inside_of_a_compiled_function_has_a_tangent():
    def tangent(library, x):
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, x.flip(0))
            return forward_ad.unpack_dual(library.sort(dual).values).tangent

    fast = torch.compile(lambda x: tangent(ours, x), backend="aot_eager")
    same(fast(rows()), tangent(torch, rows()))


@pytest.mark.stress
def test_aot_inductor_package_runs_after_import_of_the_facade(tmp_path):
    script = textwrap.dedent("""
        import sys, torch
        import warp_bitonic_sort.torch as ours

        class Layer(torch.nn.Module):
            def forward(self, x):
                return ours.topk(x, 2).values

        x = torch.arange(20.0).reshape(4, 5)
        program = torch.export.export(Layer(), (x,))
        path = torch._inductor.aoti_compile_and_package(program, package_path=sys.argv[1])
        assert torch.equal(torch._inductor.aoti_load_package(path)(x), ours.topk(x, 2).values)
        print("loaded")
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "layer.pt2")],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")},
        capture_output=True,
        text=True,
    )
    assert "loaded" in done.stdout, (done.returncode, done.stderr)
