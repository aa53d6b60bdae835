"""`patch`: PyTorch's own names, answered by our functions."""

import pytest
import torch

import warp_bitonic_sort.torch as ours

NAMES = ["sort", "argsort", "msort", "topk", "kthvalue", "median", "nanmedian", "quantile",
         "nanquantile"]  # fmt: skip


def test_patch_replaces_and_puts_back():
    before = [getattr(torch, name) for name in NAMES]
    method = torch.Tensor.sort
    with ours.patch() as declined:
        assert [getattr(torch, name) for name in NAMES] == [getattr(ours, name) for name in NAMES]
        assert torch.sort(torch.tensor([2.0, 1.0])).indices.tolist() == [1, 0]
        assert torch.Tensor.sort is method
        assert not declined
        torch.topk(torch.tensor(1.0), 1)
        torch.sort(torch.rand(20000))
        torch.sort(torch.rand(20000))
    assert [getattr(torch, name) for name in NAMES] == before
    assert declined == {
        ("topk", "input has no dimensions"): 1,
        ("sort", "rows are longer than 16384"): 2,
    }


def test_patches_nest_and_end_with_an_error():
    before = torch.sort
    with pytest.raises(RuntimeError), ours.patch() as outer, ours.patch() as inner:
        torch.sort(torch.rand(3).to_sparse())
    assert torch.sort is before
    assert outer == inner == {("sort", "input is not dense"): 1}
    ours.sort(torch.rand(20000))
    assert sum(outer.values()) == 1  # closed


def test_long_rows_under_patch_do_not_call_themselves():
    """The core sorts long rows by PyTorch's own functions, on a device."""
    x = torch.rand(2, 20000)
    with ours.patch():
        assert torch.equal(ours.sort_values(x), x.sort().values)
        values, indices = ours.top_k(x, 300)
    assert torch.equal(values, x.topk(300).values)
    assert torch.equal(x.gather(-1, indices), values)


def test_patch_puts_back_what_another_tool_had_put_there(monkeypatch):
    wrapper = object()
    monkeypatch.setattr(torch, "sort", wrapper)
    with ours.patch():
        assert torch.sort is ours.sort
    assert torch.sort is wrapper


def test_torch_compile_works_within_a_patch_and_after_it():
    x = torch.rand(3, 700)
    for number in range(2):
        torch._dynamo.reset()
        with ours.patch():
            fast = torch.compile(lambda x: torch.sort(x)[0] + 1, fullgraph=True, backend="eager")
            assert torch.equal(fast(x), x.sort()[0] + 1), number
        torch._dynamo.reset()
        fast = torch.compile(lambda x: torch.sort(x)[0] * 2, fullgraph=True, backend="eager")
        assert torch.equal(fast(x), x.sort()[0] * 2), number


def test_small_medians_and_quantiles_are_those_of_torch():
    x = torch.rand(4, 8)
    with ours.patch() as declined:
        for name in NAMES:
            getattr(torch, name)(x, *{"topk": [2], "kthvalue": [2], "median": [1],
                                      "nanmedian": [1], "quantile": [0.5],
                                      "nanquantile": [0.5]}.get(name, []))  # fmt: skip
        torch.median(torch.rand(200, 8), 1)
    names = ["kthvalue", "median", "nanmedian", "quantile", "nanquantile"]
    assert declined == {(name, "there are fewer than 1024 elements"): 1 for name in names}
