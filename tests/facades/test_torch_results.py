"""The façade of PyTorch without transforms: results, errors, dtypes and out, as PyTorch's own."""

import pytest
import torch

import warp_bitonic_sort.torch as ours
from support.covering import pairwise
from support.torch_rows import DEVICE, with_ties

pytestmark = pytest.mark.usefixtures("kernels_of_any_size")

DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
          torch.float16, torch.bfloat16, torch.float32, torch.float64]  # fmt: skip
SHAPES = [(5, 7), (0, 3), (3, 0), (2, 3, 33), (1,), (4, 100), (16, 1)]
FLOATS = [torch.float32, torch.float64]


def bits(x):
    return x.contiguous().view(-1).view(torch.uint8).tolist() if x.numel() else []


def same(found, expected, has_nan_bits=True):
    """Compare bits, or, where PyTorch does not say which NaN it returns, values.

    PyTorch's results are those of its CPU: its GPU puts NaNs with a sign first.
    """
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.device.type == DEVICE.type
    expected = expected.to(DEVICE)
    if has_nan_bits:
        assert bits(found) == bits(expected)
    else:
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


CASES = pairwise(DTYPES, SHAPES, [0, -1], [False, True])


@pytest.mark.parametrize(("dtype", "shape", "dim", "descending"), CASES)
def test_sort_argsort_and_msort_equal_those_of_torch(dtype, shape, dim, descending):
    x = with_ties(shape, dtype)
    found = ours.sort(x, dim, descending)
    expected = torch.sort(x.cpu(), dim=dim, descending=descending, stable=True)
    assert type(found) is type(expected)
    same(found.values, expected.values)
    same(found.indices, expected.indices)
    same(ours.argsort(x, dim, descending), expected.indices)
    same(ours.msort(x), torch.msort(x.cpu()), has_nan_bits=False)
    values = ours.sort_values(x, dim, descending)
    same(values, expected.values, has_nan_bits=False)
    inverse = torch.argsort(expected.indices, dim)
    same(ours.ranks(x, dim, descending), inverse)


@pytest.mark.parametrize(("dtype", "shape", "dim", "largest"), CASES)
def test_topk_and_kthvalue_equal_those_of_torch(dtype, shape, dim, largest):
    x = with_ties(shape, dtype)
    length = x.shape[dim]
    for k in {0, 1, length // 2, length} & set(range(length + 1)):
        found = ours.topk(x, k, dim, largest)
        whole = torch.sort(x.cpu(), dim=dim, descending=largest, stable=True)
        assert type(found) is torch.return_types.topk
        same(found.values, whole.values.narrow(dim, 0, k))
        same(found.indices, whole.indices.narrow(dim, 0, k))
        if k > 0 and dtype is not torch.bool:  # of which PyTorch finds no such value
            for keepdim in (False, True):
                one = ours.kthvalue(x, k, dim, keepdim)
                theirs = torch.kthvalue(x.cpu(), k, dim, keepdim)
                assert type(one) is type(theirs)
                same(one.values, theirs.values, has_nan_bits=False)
                picked = x.gather(dim, one.indices if keepdim else one.indices.unsqueeze(dim))
                same(picked if keepdim else picked.squeeze(dim), one.values)


@pytest.mark.parametrize("name", ["median", "nanmedian"])
@pytest.mark.parametrize(("dtype", "shape", "dim", "keepdim"), pairwise(
    DTYPES[1:], [(5, 7), (2, 3, 33), (1,), (4, 100), (16, 1)], [0, -1, None], [False, True]
))  # fmt: skip
def test_medians_equal_those_of_torch(name, dtype, shape, dim, keepdim):
    x = with_ties(shape, dtype)
    function, theirs = getattr(ours, name), getattr(torch, name)
    if dim is None:
        same(function(x), theirs(x.cpu()), has_nan_bits=False)
        return
    found, expected = function(x, dim, keepdim), theirs(x.cpu(), dim, keepdim)
    assert type(found) is type(expected)
    same(found.values, expected.values, has_nan_bits=False)
    picked = x.gather(dim, found.indices if keepdim else found.indices.unsqueeze(dim))
    same(picked if keepdim else picked.squeeze(dim), found.values)


@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
@pytest.mark.parametrize(("dtype", "shape", "dim", "keepdim", "interpolation", "q"), pairwise(
    FLOATS, [(5, 7), (2, 3, 33), (1,), (4, 100), (16, 1), ()], [0, -1, None], [False, True],
    ["linear", "lower", "higher", "midpoint", "nearest"], [0.5, 0, 0.37, (0.0, 0.25, 0.9, 1.0), ()]
))  # fmt: skip
def test_quantiles_equal_those_of_torch(name, dtype, shape, dim, keepdim, interpolation, q):
    x = with_ties(shape, dtype)
    options = {"dim": dim, "keepdim": keepdim, "interpolation": interpolation}
    found, expected = (
        getattr(library, name)(
            rows, torch.tensor(q).to(rows) if isinstance(q, tuple) else q, **options
        )
        for library, rows in ((ours, x), (torch, x.cpu()))
    )
    same(found, expected, has_nan_bits=False)


@pytest.mark.parametrize("call", [
    lambda t, x: t.sort(x, 2),
    lambda t, x: t.sort(x, dim=-3),
    lambda t, x: t.sort(x, 0, 1),
    lambda t, x: t.sort(x.tolist()),
    lambda t, x: t.argsort(x, 2),
    lambda t, x: t.argsort(str(x)),
    lambda t, x: t.msort(x.to_sparse()),
    lambda t, x: t.topk(x, 9),
    lambda t, x: t.topk(x, -1),
    lambda t, x: t.topk(x, 1.5),
    lambda t, x: t.topk(x, 1, 2),
    lambda t, x: t.kthvalue(x, 0),
    lambda t, x: t.kthvalue(x, 9, 0),
    lambda t, x: t.median(x, 2),
    lambda t, x: t.nanmedian(x, 5),
    lambda t, x: t.median(x[:, :0], 1),
    lambda t, x: t.quantile(x, 1.5),
    lambda t, x: t.quantile(x, torch.tensor([0.5, -0.1])),
    lambda t, x: t.quantile(x, torch.tensor([0.5], dtype=torch.float64)),
    lambda t, x: t.quantile(x.int(), 0.5),
    lambda t, x: t.quantile(x, 0.5, interpolation="cubic"),
    lambda t, x: t.quantile(x[:0], 0.5),
    lambda t, x: t.nanquantile(x, 0.5, 3),
    lambda t, x: t.sort(x, out=(torch.empty(2), torch.empty(2))),
    lambda t, x: t.topk(x, 1, out=(torch.empty(2, dtype=torch.int32), torch.empty(2))),
    lambda t, x: t.sort(x, out=(torch.empty(2),)),
    lambda t, x: t.sort(x, out=(None, None)),
    lambda t, x: t.topk(x, 1, axes=0),
    lambda t, x: t.median(x, keepdim=True),
    lambda t, x: t.nanmedian(x, None, True),
    lambda t, x: t.quantile(x[:0], 0.5, 1),
    lambda t, x: t.quantile(x, torch.tensor([1.1], requires_grad=True), 1),
    lambda t, x: t.topk(x.requires_grad_(), 1, out=(torch.empty(2), torch.empty(2).long())),
    lambda t, x: t.msort(x.requires_grad_(), out=torch.empty(3, 4)),
    lambda t, x: t.median(x.requires_grad_(), 1, out=(torch.empty(3), torch.empty(3).long())),
])  # fmt: skip
def test_error_is_that_of_torch(call):
    x = torch.ones(3, 4)
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever PyTorch raises
        call(torch, x)
    with pytest.raises(type(expected.value)) as found:
        call(ours, x)
    assert type(found.value) is type(expected.value)


@pytest.mark.parametrize("x", [
    torch.randn(2, 3).to(torch.complex64),
    torch.tensor(3.0),
    torch.randn(2, 20000),
    torch.quantize_per_tensor(torch.randn(2, 3), 0.1, 0, torch.qint8),
], ids=["complex", "scalar", "long", "quantized"])  # fmt: skip
def test_what_no_kernel_takes_is_as_in_torch(x):
    for call in (lambda t: t.sort(x, stable=True), lambda t: t.topk(x, 1), lambda t: t.median(x)):
        try:
            expected = call(torch)
        except Exception as error:
            with pytest.raises(type(error)):
                call(ours)
            continue
        found = call(ours)
        if isinstance(found, torch.Tensor):
            found, expected = [found], [expected]
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one.dequantize() if one.is_quantized else one,
                               other.dequantize() if other.is_quantized else other)  # fmt: skip


def values_for(shape):
    return torch.empty(shape, device=DEVICE)


def test_out_is_written_and_resized_as_in_torch():
    x = with_ties((4, 9), torch.float32)
    expected = torch.sort(x.cpu(), stable=True)
    for shape in ((4, 9), (0,)):
        out = values_for(shape), values_for(shape).long()
        found = ours.sort(x, out=out)
        assert [each.data_ptr() for each in found] == [each.data_ptr() for each in out]
        same(out[0], expected.values)
        same(out[1], expected.indices)
    out = values_for(0), values_for(0).long()
    ours.topk(x, 2, out=out)
    same(out[0], torch.topk(x.cpu(), 2).values, has_nan_bits=False)
    ours.kthvalue(x, 2, out=out)
    ours.median(x, 1, out=out)
    same(out[0], torch.median(x.cpu(), 1).values, has_nan_bits=False)
    whole = values_for(0)
    assert ours.quantile(x, 0.5, out=whole) is whole
    same(whole, torch.quantile(x, 0.5), has_nan_bits=False)
    kept = values_for(())
    ours.quantile(x.clone().requires_grad_(), 0.5, out=kept)  # PyTorch differentiates it
    assert kept.requires_grad
    assert ours.msort(x, out=whole) is whole
    same(whole, torch.msort(x.cpu()), has_nan_bits=False)


def test_other_names_of_arguments_are_those_of_torch():
    x = with_ties((4, 9), torch.float32)
    same(
        ours.sort(x, axis=0).values,
        torch.sort(x.cpu(), dim=0, stable=True).values,
        has_nan_bits=False,
    )
    same(ours.topk(x, 2, axis=0).values, torch.topk(x.cpu(), 2, 0).values, has_nan_bits=False)
    found = ours.median(x, axis=1, keepdims=True).values
    same(found, torch.median(x.cpu(), 1, True).values, has_nan_bits=False)


def test_results_are_no_views_and_keep_nothing_else_in_memory():
    for dtype in (torch.float32, torch.int32):
        x = with_ties((3, 8, 4), dtype)
        for found in (ours.kthvalue(x, 2, 1), ours.median(x, 1)):
            for each in found:
                assert each.is_contiguous()
                assert each.untyped_storage().nbytes() == each.nbytes


def test_sort_pairs_and_nan_last():
    x = torch.tensor([[2.0, float("nan"), 1.0]])
    values = torch.tensor([[20, 0, 10]])
    keys, carried = ours.sort_pairs(x, values, nan="last", descending=True)
    assert carried.tolist() == [[20, 10, 0]]
    assert keys[0, :2].tolist() == [2, 1]
    _, (first, second) = ours.sort_pairs(x, (values, values.double()))
    assert first.tolist() == second.tolist() == [[10, 20, 0]]
    found = ours.top_k(x, 2, nan="last")
    assert found.values.tolist() == [[2, 1]]
    assert found.indices.tolist() == [[0, 2]]
    assert ours.sort_values(x, nan="last", descending=True)[0, :2].tolist() == [2, 1]
    assert ours.ranks(x, nan="last", descending=True).tolist() == [[0, 2, 1]]


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda x: ours.sort_values(x, nan="lst"), ValueError, "nan: expected"),
    (lambda x: ours.sort_values(x, 3), ValueError, "dim: expected -2 to 1"),
    (lambda x: ours.ranks(x.tolist()), TypeError, "input: expected a torch.Tensor, got list"),
    (lambda x: ours.top_k(x, 9), ValueError, "k: expected 0 to 3"),
    (lambda x: ours.top_k(x, 1, mode="best"), ValueError, "mode: expected"),
    (lambda x: ours.top_k(x, 2.0), TypeError, "k: expected an integer"),
    (lambda x: ours.sort_pairs(x, x[0]), ValueError, "values: expected keys' shape"),
    (lambda x: ours.sort_pairs(x.requires_grad_(), x[0]), ValueError, "values: expected"),
    (lambda x: ours.sort_values(x, 0, "yes"), TypeError, "descending: expected True or False"),
    (lambda x: ours.sort_values(x, None), TypeError, "dim: expected an integer"),
    (lambda x: ours.sort_pairs(x, 3), TypeError, "values: expected"),
    (lambda x: ours.sort_values(x.to_sparse()), TypeError, "input: expected a dense tensor"),
])  # fmt: skip
def test_wrong_argument_of_a_function_of_ours_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.ones(2, 3))
