"""The error of a wrong argument names it, what came and what would do; nothing is written."""

import inspect
import pydoc
import re

import numpy as np
import pytest
import torch

from warp_bitonic_sort import Explanation, explain, sort, warp_bitonic_sort

X = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"axis": 2}, ValueError, r"axis: expected -2 to 1 for an array of shape \(4, 6\), got 2"),
        ({"axis": -3}, ValueError, "axis: expected -2 to 1"),
        ({"axis": 1.0}, TypeError, r"axis: expected an integer, got 1\.0 \(float\)"),
        ({"axis": None}, TypeError, r"axis: expected an integer, got None; .*x\.reshape\(-1\)"),
        ({"axis": True}, TypeError, r"axis: expected an integer, got True \(bool\)"),
        ({"axis": [0]}, TypeError, r"axis: expected an integer, got \[0\] \(list\)"),
        ({"dim": "x"}, TypeError, r"dim: expected an integer, got 'x' \(str\)"),
        (
            {"axis": 0, "dim": 1},
            TypeError,
            "dim: it is another name for axis; got axis=0 and dim=1",
        ),
        ({"descending": 1}, TypeError, r"descending: expected True or False, got 1 \(int\)"),
        ({"stable": 1}, TypeError, r"stable: expected True or False, got 1 \(int\)"),
        ({"dim": True}, TypeError, r"dim: expected an integer, got True \(bool\)"),
        ({"dim": 1.0}, TypeError, r"dim: expected an integer, got 1\.0 \(float\)"),
        ({"descending": None}, TypeError, "descending: expected True or False, got None"),
        ({"stable": "yes"}, TypeError, r"stable: expected True or False, got 'yes' \(str\)"),
        ({"nan": "first"}, ValueError, 'nan: expected "largest" or "last", got \'first\''),
        ({"nan": None}, ValueError, 'nan: expected "largest" or "last", got None'),
    ],
)
def test_sort_names_the_argument(options, kind, message):
    # Valid calls first: one that is equal to a wrong one (1 == True) must not have opened the way.
    for valid in ({}, {"descending": True}, {"dim": 1}, {"axis": 1}, {"stable": True}):
        sort(X, **valid)
    with pytest.raises(kind, match=message):
        sort(X, **options)
    # The same again: an error must not have been prepared for.
    with pytest.raises(kind, match=message):
        sort(X, **options)
    with pytest.raises(kind, match=message):
        explain(X, **options)


@pytest.mark.parametrize(
    ("out", "kind", "message"),
    [
        (
            np.empty((4, 5), np.float32),
            ValueError,
            r"out: expected x's shape \(4, 6\), got \(4, 5\)",
        ),
        (np.empty((4, 6)), TypeError, "out: expected x's dtype float32, got float64"),
        (
            torch.empty(4, 6),
            TypeError,
            r"out: expected a numpy\.ndarray as x is, got torch\.Tensor",
        ),
        ([0] * 6, TypeError, r"out: expected a numpy\.ndarray as x is, got list"),
        (
            np.lib.stride_tricks.as_strided(np.zeros(6, np.float32), (4, 6), (0, 4)),
            ValueError,
            "out: two of its elements may share memory",
        ),
    ],
)
def test_sort_names_what_is_wrong_with_out(out, kind, message):
    before = out.copy() if isinstance(out, np.ndarray) else None
    with pytest.raises(kind, match=message):
        sort(X, out=out)
    if before is not None:
        np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize(
    ("unnamed", "told"),
    [
        ((0,), "axis is given by name: sort(x, axis=0); got int without a name."),
        ((-1, True), "axis is given by name: sort(x, axis=-1); got int, bool without a name."),
        ((True,), "descending is given by name: sort(x, descending=True); got bool without"),
        (("last",), "arguments after x are given by name, as in sort(x, axis=-1); got str without"),
        ((X,), "arguments after x are given by name, as in sort(x, axis=-1); got numpy.ndarray"),
        ((None,), "arguments after x are given by name, as in sort(x, axis=-1); got NoneType"),
    ],
)
def test_sort_with_an_unnamed_argument_says_how_to_name_it(unnamed, told):
    with pytest.raises(TypeError, match=f"^{re.escape(told)}"):
        sort(X, *unnamed)
    with pytest.raises(TypeError, match=f"^{re.escape(told)}"):
        sort(X, *unnamed, descending=False)


def test_explain_with_an_unnamed_argument_says_how_to_name_it():
    with pytest.raises(TypeError, match=r"^axis is given by name: explain\(x_or_shape, axis=0\)"):
        explain((4, 6), 0)
    with pytest.raises(TypeError, match="^arguments after x_or_shape are given by name"):
        explain((4, 6), "int32")


def test_warp_bitonic_sort_with_an_axis_says_what_takes_one():
    told = r"is_descending: expected True or False, got 0 \(int\)\. .* sort\(x, axis=\.\.\.\)"
    with pytest.raises(TypeError, match=told):
        warp_bitonic_sort(X, 0)


@pytest.mark.parametrize("function", [sort, explain])
def test_signature_shows_named_arguments_only(function):
    first, *others = inspect.signature(function).parameters.values()
    assert first.kind is first.POSITIONAL_ONLY
    assert {each.kind for each in others} == {first.KEYWORD_ONLY}
    assert "unnamed" not in pydoc.render_doc(function)


def test_sort_refuses_a_read_only_out():
    out = np.zeros((4, 6), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected an array that can be written"):
        sort(X, out=out)
    assert not out.any()


@pytest.mark.parametrize(
    ("out", "kind", "message"),
    [
        (
            np.empty((4, 6), np.float32),
            TypeError,
            "out: expected a torch.Tensor as x is, got numpy",
        ),
        (torch.empty(4, 5), ValueError, r"out: expected x's shape \(4, 6\), got \(4, 5\)"),
        (
            torch.empty(4, 6, dtype=torch.float64),
            TypeError,
            "out: expected x's dtype torch.float32",
        ),
        (torch.empty(4, 6, device="meta"), ValueError, "out: expected x's device cpu, got meta"),
        (torch.empty(4, 6, requires_grad=True), TypeError, "out: it requires a gradient"),
    ],
)
def test_sort_names_what_is_wrong_with_a_tensor_out(out, kind, message):
    with pytest.raises(kind, match=message):
        sort(torch.from_numpy(X), out=out)


def test_sort_refuses_an_out_that_overlaps_itself_on_every_route():
    for length in (1, 6, 100, 20_000):
        memory = np.zeros(length + 8, np.float32)
        out = np.lib.stride_tricks.as_strided(memory, (4, length), (0, 4))
        with pytest.raises(ValueError, match="out: two of its elements may share memory"):
            sort(np.ones((4, length), np.float32), out=out)
        assert not memory.any()
    with pytest.raises(TypeError, match=r"x: dtype \|V0 cannot be sorted"):
        sort(np.empty(3, "V0"), out=np.empty(3, "V0"))
    with pytest.raises(TypeError, match="out: expected a dense tensor"):
        sort(torch.eye(3), out=torch.eye(3).to_sparse())


def test_empty_out_shares_no_memory_whatever_its_strides():
    # NumPy gives every dimension of an empty array the stride 0 here.
    for shape in ((0, 2), (2, 0), (3, 0, 20_000)):
        out = np.empty((*shape, 2), np.float32)[..., 0]
        assert sort(np.empty(shape, np.float32), out=out) is out
        tensor = torch.empty(0).as_strided(shape, (0,) * len(shape))
        assert sort(torch.empty(shape), out=tensor) is tensor


def test_warp_bitonic_sort_names_its_argument():
    with pytest.raises(TypeError, match="is_descending: expected True or False, got 'no'"):
        warp_bitonic_sort(X, "no")
    with pytest.raises(TypeError, match="is_descending"):
        warp_bitonic_sort(X, is_descending=0)


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        (((2, -1),), {}, ValueError, "x_or_shape: expected sizes of at least 0"),
        (((2, "3"),), {}, TypeError, "x_or_shape: expected whole numbers in a shape"),
        (((2, 3),), {"dtype": "complex64"}, TypeError, "dtype: dtype complex64 cannot be sorted"),
        ((X,), {"dtype": "float32"}, TypeError, "dtype: an array has its own"),
        (("abc",), {}, TypeError, "x_or_shape: expected an array that speaks DLPack"),
        ((X,), {"operation": ["sort"]}, ValueError, "operation: expected one of sort, argsort"),
    ],
)
def test_explain_names_the_argument(arguments, options, kind, message):
    with pytest.raises(kind, match=message):
        explain(*arguments, **options)


@pytest.mark.parametrize(
    ("x", "options", "expected"),
    [
        ((1000, 9), {}, ("kernel", "registers9", "rows", "ieee", 9, 1000)),
        (
            (9, 1000),
            {"axis": 0, "dtype": "int16"},
            ("kernel", "registers9", "columns", "integer", 9, 1000),
        ),
        ((1000, 100), {}, ("kernel", "tile", "strided", "ieee", 100, 1000)),
        ((5, 9, 2), {"axis": 1}, ("kernel", "tile", "strided", "ieee", 9, 10)),
        ((5, 20000), {}, ("fallback", None, None, None, 20000, 5)),
        ((5, 1), {}, ("copy", None, None, None, 1, 5)),
        ((0, 9), {}, ("copy", None, None, None, 9, 0)),
        ((), {}, ("copy", None, None, None, 1, 1)),
        (X.T, {"axis": 0}, ("kernel", "registers6", "rows", "ieee", 6, 4)),
        (X.T, {"axis": 1}, ("kernel", "registers4", "columns", "ieee", 4, 6)),
        (
            torch.zeros(7, 40, dtype=torch.uint8),
            {},
            ("kernel", "tile", "strided", "integer", 40, 7),
        ),
    ],
)
def test_explain_says_which_kernel(x, options, expected):
    told = explain(x, **options)
    assert isinstance(told, Explanation)
    data = told.to_dict()
    assert (
        data["route"], data["layout"], data["access"], data["codec"], data["length"], data["rows"]
    ) == expected  # fmt: skip
    text = str(told)
    assert told.reason in text
    assert (told.kernel or told.route) in text


@pytest.mark.parametrize("dtype", ["float16", np.float16, np.dtype("f2"), torch.float16])
def test_explain_takes_dtypes_of_any_library(dtype):
    assert explain((3, 4), dtype=dtype).dtype == "float16"


def test_explain_names_its_own_argument():
    with pytest.raises(TypeError, match="x_or_shape: expected a dense tensor"):
        explain(torch.eye(3).to_sparse())


@pytest.mark.usefixtures("nothing_open")
def test_explain_compiles_nothing_and_reports_open_kernels(fresh_cache):
    x = np.zeros((3, 29), np.float64)
    assert not explain(x).open
    assert not fresh_cache.exists()
    sort(x)
    told = explain(x)
    assert told.open
    assert "open in this process" in str(told)


@pytest.mark.usefixtures("nothing_open")
def test_explain_of_an_open_kernel_for_another_dtype_says_not_open():
    x = np.zeros((3, 9), np.int32)
    sort(x)
    other = explain(x.view(np.uint32))
    assert (other.kernel, other.open) == (explain(x).kernel, False)


def test_sort_into_masked_out_raises():
    """Its mask would stay where it is while the values move."""
    out = np.ma.masked_array(np.zeros(2), [True, False])
    with pytest.raises(TypeError, match=r"out: a masked array .*out\.data"):
        sort(np.array([2.0, 1.0]), out=out)
    assert not out.data.any()
