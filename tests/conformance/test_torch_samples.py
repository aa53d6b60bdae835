"""The functions for PyTorch beside its own, for the samples with which it tests itself.

They are part of the installed PyTorch.
"""

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

import warp_bitonic_sort.torch as ours

pytestmark = pytest.mark.usefixtures("kernels_of_any_size")

NAMES = ["sort", "argsort", "msort", "topk", "kthvalue", "median", "nanmedian", "quantile",
         "nanquantile"]  # fmt: skip
INFOS = {info.name: info for info in op_db if info.name in NAMES and not info.variant_test_name}
DTYPES = [torch.float32, torch.bfloat16, torch.int32, torch.uint8, torch.bool]


def test_samples_of_every_function_are_there():
    assert sorted(INFOS) == sorted(NAMES)


def result(library, name, sample, x):
    return getattr(library, name)(x, *sample.args, **sample.kwargs)


def parts(found):
    return [found] if isinstance(found, torch.Tensor) else [*found]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(n, d) for n in NAMES for d in DTYPES if d in INFOS[n].supported_dtypes("cpu")],
)
def test_samples_have_the_results_of_torch(name, dtype):
    """Indices of equal elements are not compared: PyTorch chooses any."""
    count = 0
    for sample in INFOS[name].sample_inputs("cpu", dtype):
        found, expected = (
            parts(result(library, name, sample, sample.input)) for library in (ours, torch)
        )
        for one, other in zip(found, expected, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if name != "argsort":
            torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0, equal_nan=True)
        count += 1
    assert count


@pytest.mark.parametrize("name", [name for name in NAMES if name != "argsort"])
def test_samples_have_the_gradients_of_torch(name):
    compared = 0
    for sample in INFOS[name].sample_inputs("cpu", torch.float64):
        if len(sample.input.unique()) < sample.input.numel() or not sample.input.numel():
            continue
        gradients = []
        for library in (ours, torch):
            x = sample.input.clone().requires_grad_()
            values = parts(result(library, name, sample, x))[0]
            gradients += torch.autograd.grad((values**2).sum(), x)
        torch.testing.assert_close(*gradients)
        compared += 1
    assert compared


def test_wrong_arguments_of_kthvalue_have_the_errors_of_torch():
    count = 0
    for error in INFOS["kthvalue"].error_inputs("cpu"):
        if error.error_regex == "unsupported operation":
            continue  # an out that overlaps the input, which ours may do
        sample = error.sample_input
        with pytest.raises(error.error_type, match=error.error_regex):
            result(ours, "kthvalue", sample, sample.input)
        count += 1
    assert count
