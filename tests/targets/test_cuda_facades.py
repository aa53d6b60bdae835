"""The functions for PyTorch and JAX on a CUDA device: graphs of PyTorch, results of JAX.

`WARP_SORT_TESTS_DEVICE=cuda python -m pytest tests/facades/test_torch*.py` runs the other tests of
PyTorch there.
"""

import numpy as np
import pytest

from support import oracle
from support.device_arrays import torch

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

import warp_bitonic_sort.torch as wbs

TORCH_FUNCTIONS = {
    "sort": lambda t, x: t.sort(x, stable=True),
    "argsort": lambda t, x: t.argsort(x, dim=0, stable=True),
    "topk": lambda t, x: t.topk(x, 3),
    "kthvalue": lambda t, x: t.kthvalue(x, 2),
    "median": lambda t, x: t.median(x, -1),
    "nanmedian": lambda t, x: t.nanmedian(x, -1),
    "quantile": lambda t, x: t.quantile(x, 0.3, -1),
}
JAX_FUNCTIONS = {
    "sort": lambda wbs, x: wbs.sort(x, 0),
    "sort descending": lambda wbs, x: wbs.sort(x, stable=False, descending=True),
    "argsort": lambda wbs, x: wbs.argsort(x),
    "top_k": lambda wbs, x: wbs.top_k(x, 3),
}
# Their arithmetic is that of a device: where two elements are averaged, the last bits may differ.
JAX_STATISTICS = {
    "median": lambda jnp, x: jnp.median(x, axis=-1),
    "quantile": lambda jnp, x: jnp.quantile(x, np.float32(0.3), axis=-1),
    "nanquantile": lambda jnp, x: jnp.nanquantile(x, np.float32(0.3), axis=-1),
}


def tensors(result):
    return [result] if isinstance(result, torch.Tensor) else list(result)


@pytest.mark.parametrize("name", TORCH_FUNCTIONS)
def test_recorded_graph_of_pytorch_answers_for_the_values_of_each_replay(name):
    function = TORCH_FUNCTIONS[name]
    x = torch.empty(70, 9, device="cuda")
    # PyTorch wants work that is to be recorded to have run once, in a stream of its own.
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        function(wbs, x.zero_())
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = tensors(function(wbs, x))
    for seed in range(3):
        generator = torch.Generator("cuda").manual_seed(seed)
        x.copy_(torch.randperm(x.numel(), generator=generator, device="cuda").view(x.shape))
        graph.replay()
        for found, expected in zip(recorded, tensors(function(torch, x)), strict=True):
            assert torch.equal(found, expected)


@pytest.fixture(scope="module")
def jax():
    jax = pytest.importorskip("jax")
    pytest.importorskip("jax_tvm_ffi")
    try:
        jax.devices("cuda")
    except RuntimeError:
        pytest.skip("JAX has no CUDA device")
    return jax


def rows_of_jax(jax, platform):
    x = oracle.random("float32", (70, 9), np.random.default_rng(2))
    return jax.device_put(x, jax.devices(platform)[0])


@pytest.mark.parametrize("name", JAX_FUNCTIONS)
def test_results_of_jax_are_those_of_its_cpu(jax, name):
    from warp_bitonic_sort import jax as ours

    def call(x):
        return JAX_FUNCTIONS[name](ours, x)

    expected = jax.tree.leaves(call(rows_of_jax(jax, "cpu")))
    x = rows_of_jax(jax, "cuda")
    for way in (call, jax.jit(call)):
        for found, wanted in zip(jax.tree.leaves(way(x)), expected, strict=True):
            assert found.devices() == x.devices()
            np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
    each = jax.jit(jax.vmap(call))(jax.numpy.stack([x, x]))
    for found, wanted in zip(jax.tree.leaves(each), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(found[1]), np.asarray(wanted))


@pytest.mark.parametrize("name", JAX_STATISTICS)
def test_statistics_of_jax_are_its_own_on_the_same_device(jax, name):
    from warp_bitonic_sort import jax as ours

    x = rows_of_jax(jax, "cuda")
    for way in (lambda f: f, jax.jit):
        found, expected = (
            way(lambda x, library=library: JAX_STATISTICS[name](library, x))(x)
            for library in (ours, jax.numpy)
        )
        assert found.devices() == x.devices()
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("name", ["sort", "top_k", "median"])
def test_gradient_of_jax_is_that_of_its_own_functions(jax, name):
    from warp_bitonic_sort import jax as ours

    theirs = {
        "sort": lambda x: jax.numpy.sort(x, 0),
        "top_k": lambda x: jax.lax.top_k(x, 3)[0],
        "median": lambda x: jax.numpy.median(x, axis=-1),
    }[name]

    def loss_of_ours(x):
        result = jax.tree.leaves({**JAX_FUNCTIONS, **JAX_STATISTICS}[name](ours, x))[0]
        return (result * jax.numpy.arange(result.shape[-1])).sum()

    def loss_of_theirs(x):
        result = theirs(x)
        return (result * jax.numpy.arange(result.shape[-1])).sum()

    order = np.random.default_rng(3).permutation(70 * 9).reshape(70, 9)
    x = jax.device_put(order.astype(np.float32), jax.devices("cuda")[0])
    found, expected = (jax.jit(jax.grad(f))(x) for f in (loss_of_ours, loss_of_theirs))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
