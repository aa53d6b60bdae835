"""The façade of PyTorch under its transforms: gradients of every kind, batches, modes.

The oracle is PyTorch's own function under the same transform, for rows without ties.
"""

from functools import partial

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

import warp_bitonic_sort.torch as ours
from support.torch_rows import DEVICE, distinct

pytestmark = pytest.mark.usefixtures("kernels_of_any_size")

WEIGHTS = torch.arange(1.0, 6.0, dtype=torch.float64, device=DEVICE)


# Functions of a tensor and the module whose functions they call, which return a tensor.
CALLS = {
    "sort": lambda t, x: t.sort(x).values ** 2,
    "sort dim 0": lambda t, x: t.sort(x, 0, True).values ** 2,
    "msort": lambda t, x: t.msort(x) ** 2,
    "topk": lambda t, x: t.topk(x, 2).values ** 2,
    "topk dim 0": lambda t, x: t.topk(x, 2, 0, largest=False).values ** 2,
    "kthvalue": lambda t, x: t.kthvalue(x, 2, keepdim=True).values ** 2,
    "median": lambda t, x: t.median(x, -1).values ** 2,
    "nanmedian": lambda t, x: t.nanmedian(x, 0).values ** 2,
    "whole median": lambda t, x: t.median(x) ** 2,
    "quantile": lambda t, x: t.quantile(x, 0.3, 1) ** 2,
    "nanquantile": lambda t, x: t.nanquantile(x, 0.3, -1) ** 2,
}
THEIRS = {**CALLS, "sort values": CALLS["sort"], "pairs": lambda t, x: 2 * t.sort(x).values ** 2}
OURS = {
    **CALLS,
    "sort values": lambda t, x: t.sort_values(x) ** 2,
    "pairs": lambda t, x: (lambda p: p.keys * p.values)(t.sort_pairs(x, 2 * x)),
}
each_call = pytest.mark.parametrize("name", OURS)


def both(name):
    return (lambda x: OURS[name](ours, x)), (lambda x: THEIRS[name](torch, x))


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@each_call
def test_backward_and_double_backward_are_those_of_torch(name):
    results = []
    for function in both(name):
        x = distinct(4, 5).requires_grad_()
        (first,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first**2).sum(), x)
        results.append((first.detach(), second))
    assert results[0][0].abs().sum() > 0
    same(*results)


@each_call
def test_gradients_pass_gradcheck(name):
    x = distinct(3, 4).requires_grad_()
    options = {"check_forward_ad": True, "check_batched_grad": True}
    assert gradcheck(both(name)[0], x, **options, check_batched_forward_grad=True)
    assert gradgradcheck(both(name)[0], x, check_fwd_over_rev=True)


TRANSFORMS = {
    "grad": lambda f, x: grad(lambda x: f(x).sum())(x),
    "grad of grad": lambda f, x: grad(lambda x: (grad(lambda y: f(y).sum())(x) ** 2).sum())(x),
    "jvp": lambda f, x: jvp(f, (x,), (x.flip(0),)),
    "vjp": lambda f, x: vjp(f, x)[1](torch.ones_like(f(x))),
    "jacrev": lambda f, x: jacrev(f)(x),
    "jacfwd": lambda f, x: jacfwd(f)(x),
    "hessian": lambda f, x: hessian(lambda x: f(x).sum())(x),
    "vmap": lambda f, x: vmap(f)(torch.stack([x, -x])),
    "vmap of the last axis": lambda f, x: vmap(f, in_dims=-1)(torch.stack([x, -x], -1)),
    "vmap of vmap": lambda f, x: vmap(vmap(f))(torch.stack([x, -x, 2 * x, x / 2]).view(2, 2, 4, 5)),
    "vmap of grad": lambda f, x: vmap(grad(lambda x: f(x).sum()))(torch.stack([x, -x])),
    "grad of vmap": lambda f, x: grad(lambda x: vmap(f)(torch.stack([x, -x])).sum())(x),
    "jvp of grad": lambda f, x: jvp(grad(lambda x: f(x).sum()), (x,), (x.flip(1),)),
    "grad of jvp": lambda f, x: grad(lambda x: jvp(f, (x,), (x.flip(0),))[1].sum())(x),
}


@each_call
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transform_is_that_of_torch(name, transform):
    x = distinct(4, 5)
    found, expected = (TRANSFORMS[transform](function, x) for function in both(name))
    same(found, expected)


def test_dual_tensors_have_tangents():
    x = distinct(4, 5)
    with forward_ad.dual_level():
        for name in OURS:
            dual = forward_ad.make_dual(x, torch.ones_like(x))
            tangents = [forward_ad.unpack_dual(f(dual)).tangent for f in both(name)]
            assert tangents[0] is not None
            same(*tangents)


def test_vmap_of_single_elements_and_of_integers():
    x = torch.tensor([3, 1, 2])
    assert vmap(lambda x: ours.sort(x).values)(x).tolist() == [3, 1, 2]
    assert vmap(ours.argsort)(x).tolist() == [0, 0, 0]
    rows = torch.tensor([[3, 1, 2], [1, 1, 0]])
    assert vmap(lambda x: ours.sort(x, 0).values)(rows).tolist() == [[1, 2, 3], [0, 1, 1]]
    assert vmap(ours.ranks)(rows).tolist() == [[2, 0, 1], [1, 2, 0]]
    assert vmap(lambda x: ours.topk(x, 2).indices, in_dims=1)(rows).tolist() == [[0, 1]] * 3


def test_gradient_of_a_layer_by_functional_call():
    layer = torch.nn.Linear(5, 5).to(DEVICE, torch.float64)
    x = distinct(4, 5)

    def loss(sorter):
        def of(parameters):
            return (sorter(functional_call(layer, parameters, (x,))).values * WEIGHTS).sum()

        return grad(of)(dict(layer.named_parameters()))

    found, expected = loss(ours.sort), loss(torch.sort)
    for name, value in found.items():
        same(value, expected[name])


def test_gradients_of_quantiles_for_q():
    x = distinct(4, 5)
    results = []
    for library in (ours, torch):
        q = torch.tensor([0.3, 0.8], dtype=torch.float64, device=DEVICE, requires_grad=True)
        library.quantile(x, q, 1).sum().backward()
        results.append(q.grad)
    same(*results)


def test_kept_values_are_not_changed_by_modes():
    x = distinct(4, 5).float()
    expected = torch.sort(x)
    with torch.inference_mode():
        found = ours.sort(x)
        assert found.values.is_inference()
    with torch.no_grad():
        kept = ours.sort(x.requires_grad_())
        assert not kept.values.requires_grad
    with torch.autocast(DEVICE.type):
        cast = ours.sort(x)
        assert cast.values.dtype is torch.float32
    for result in (found, kept, cast):
        torch.testing.assert_close(tuple(result), tuple(expected))
    with torch.inference_mode():
        inner = ours.sort(torch.randn(3, 4)).values
    assert ours.topk(inner, 2).values.shape == (3, 2)


def test_checkpoint_and_saved_tensor_hooks_see_the_gradient():
    from torch.utils.checkpoint import checkpoint

    results = []
    for library in (ours, torch):
        x = distinct(4, 5).requires_grad_()
        weighted = partial(lambda t, x: t.sort(x).values @ WEIGHTS, library)
        checkpoint(weighted, x, use_reentrant=False).sum().backward()
        results.append(x.grad)
    same(*results)


def test_subclass_keeps_its_class():
    class Mine(torch.Tensor):
        pass

    x = torch.tensor([[2.0, 1.0]]).as_subclass(Mine)
    found = ours.sort(x)
    assert type(found.values) is Mine
    assert found.values.tolist() == [[1, 2]]


def test_operators_themselves_have_gradients():
    x = distinct(4, 5)
    operators = torch.ops.warp_bitonic_sort
    for call in (
        lambda x: operators.sort_values(x, -1, False, False),
        lambda x: operators.sort(x, -1, False, False)[0],
        lambda x: operators.topk(x, 5, -1, False, False)[0],
    ):
        found = grad(lambda x, call=call: (call(x) * WEIGHTS).sum())(x)
        same(found, grad(lambda x: (x.sort().values * WEIGHTS).sum())(x))


def test_gradient_of_float8_is_refused_and_not_zero():
    x = distinct(4, 5).float()
    for function in (ours.sort_values, lambda x: ours.topk(x, 2).values):
        narrow = lambda x, f=function: f(x.to(torch.float8_e4m3fn)).float().sum()  # noqa: E731
        with pytest.raises(RuntimeError):
            grad(narrow)(x)
        with pytest.raises(RuntimeError):
            narrow(x.clone().requires_grad_()).backward()


@each_call
def test_linearized_call_is_that_of_torch(name):
    x = distinct(4, 5)
    found, expected = (torch.func.linearize(function, x)[1](x.flip(0)) for function in both(name))
    same(found, expected)
