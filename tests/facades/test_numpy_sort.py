"""`sort`, `argsort`, `partition`, `argpartition` and `top_k` of the NumPy facade."""

import inspect

import numpy as np
import pytest

import warp_bitonic_sort.numpy as facade
from support import oracle
from support.covering import pairwise
from support.numpy_routes import kernel_calls, kernels_answer, outcome  # noqa: F401
from warp_bitonic_sort.numpy import _routes
from warp_bitonic_sort.prewarm import longest

SHAPES = [(7,), (7, 5), (5, 40), (5, 3, 70), (7, 1), (0, 7), (7, 0)]
LAYOUTS = {
    "C": lambda x: x,
    "F": np.asfortranarray,
    "reversed": lambda x: np.flip(x).copy()[(slice(None, None, -1),) * x.ndim],
    "read-only": lambda x: (x.setflags(write=False), x)[1],
}
CASES = pairwise(list(oracle.ALL), SHAPES, [-1, 0, None], [False, True], list(LAYOUTS))
KEPT = ["sort", "argsort", "partition", "argpartition"]


def array(name, shape, layout="C", seed=0):
    return LAYOUTS[layout](oracle.random(name, shape, np.random.default_rng(seed)))


def flat(x, axis):
    return (x.reshape(-1), -1) if axis is None else (x, axis)


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize(("name", "shape", "axis", "descending", "layout"), CASES)
class TestOrder:
    def test_sort_orders_values(self, name, shape, axis, descending, layout, kernel_calls):  # noqa: F811
        x = array(name, shape, layout)
        result = facade.sort(x, axis=axis, descending=descending)
        assert kernel_calls == ["sort"]
        assert type(result) is np.ndarray
        x, axis = flat(x, axis)
        oracle.check(x, result, axis, descending, "last")

    def test_stable_sort_keeps_bits(self, name, shape, axis, descending, layout, kernel_calls):  # noqa: F811
        x = array(name, shape, layout)
        result = facade.sort(x, axis, kind="stable", descending=descending)
        assert kernel_calls
        x, axis = flat(x, axis)
        oracle.check_indices(
            x,
            oracle.expected_indices(x, axis, descending, "last"),
            result,
            axis,
            descending,
            "last",
        )

    def test_argsort_is_stable(self, name, shape, axis, descending, layout, kernel_calls):  # noqa: F811
        x = array(name, shape, layout)
        result = facade.argsort(x, axis, descending=descending)
        assert kernel_calls == ["argsort"]
        assert result.dtype == np.intp
        x, axis = flat(x, axis)
        oracle.check_indices(x, result, None, axis, descending, "last")
        if not descending and x.dtype.isbuiltin == 1:
            np.testing.assert_array_equal(result, np.argsort(x, axis, kind="stable"))

    def test_partitions_are_sorts(self, name, shape, axis, descending, layout, kernel_calls):  # noqa: F811
        x = array(name, shape, layout)
        if x.shape[-1 if axis is None else axis] == 0 or (axis is None and x.size == 0):
            pytest.skip("NumPy refuses every kth of rows without elements")
        result = facade.partition(x, (0, -1), axis)
        indices = facade.argpartition(x, 0, axis)
        assert kernel_calls == ["sort", "argsort"]
        x, axis = flat(x, axis)
        oracle.check(x, result, axis)
        oracle.check_indices(x, indices, None, axis)
        del descending


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize(
    ("name", "shape", "axis", "mode", "k"),
    pairwise(
        list(oracle.ALL), [(7, 5), (5, 40), (5, 3, 70)], [-1, 0], ["largest", "smallest"], [0, 1, 2]
    ),
)
def test_top_k_takes_nan_last(name, shape, axis, mode, k):
    x = array(name, shape)
    values, indices = facade.top_k(x, k, axis=axis, mode=mode)
    oracle.check_selected(x, slice(k), indices, values, axis, mode == "largest", "last")


OTHERS = {
    "str": np.array([["b", "a", "ccc"], ["z", "", "z"]]),
    "bytes": np.array([[b"b", b"a", b"b"]]),
    "complex": np.array([[1 + 2j, np.nan, 1 - 2j, complex(0, np.nan), 1 + 2j]]),
    "datetime": np.array([["2024-01-02", "NaT", "2023-05-05", "2024-01-02"]], "datetime64[D]"),
    "object": np.array([[3, 1, 2.5, 1]], object),
    "longdouble": np.array([[3, 1, np.nan, 1]], np.longdouble),
    "swapped": np.array([[3, 1, np.nan, 1]], ">f4"),
    "structured": np.array([(2, 1.0), (1, 3.0), (1, 2.0)], [("a", "i4"), ("b", "f8")]),
    "masked": np.ma.masked_array([[3.0, 1.0, 2.0]], [[True, False, False]]),
    "matrix": np.array([[3.0, 1.0, 2.0]]).view(np.matrix),
    "recarray": np.rec.array([(2, 1.0), (1, 3.0)], [("a", "i4"), ("b", "f8")]),
    "memmap": np.array([[3.0, 1.0, 2.0]]).view(np.memmap),
    "scalar": np.float32(3),
    "0-d": np.array(3.0),
    "list": [[3, 1, 2], [9, 7, 8]],
    "tuple": (3.0, 1.0, 2.0),
    "ragged": [[3, 1], [2]],
    "none": None,
}


@pytest.mark.filterwarnings("ignore:.*will ignore the 'mask':UserWarning")
@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize("axis", [-1, 0, None])
@pytest.mark.parametrize("function", KEPT)
@pytest.mark.parametrize("other", OTHERS)
def test_other_arrays_are_numpys(other, function, axis):
    arguments = (OTHERS[other], *([1] if "partition" in function else []), axis)
    expected = outcome(getattr(np, function), *arguments)
    assert repr(outcome(getattr(facade, function), *arguments)) == repr(expected)


def test_order_sorts_by_fields():
    x = OTHERS["structured"]
    assert facade.sort(x, order=["b", "a"]).tolist() == np.sort(x, order=["b", "a"]).tolist()


BAD = {
    "axis": ([[3.0, 1.0]], {"axis": 2}),
    "axis of a wrong type": ([[3.0, 1.0]], {"axis": 0.5}),
    "kind": ([[3.0, 1.0]], {"kind": "bubble"}),
    "order": ([[3.0, 1.0]], {"order": "a"}),
    "kind and stable": ([[3.0, 1.0]], {"kind": "stable", "stable": True}),
}


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("function", ["sort", "argsort"])
def test_bad_arguments_raise_numpys_errors(function, case):
    x, options = BAD[case]
    expected = outcome(getattr(np, function), np.array(x), **options)
    assert issubclass(expected[0], Exception)
    assert outcome(getattr(facade, function), np.array(x), **options) == expected


@pytest.mark.usefixtures("kernels_answer")
@pytest.mark.parametrize("kth", [4, -5, 1.5, "a", [1, 9], [[1, 2]], None, np.array([1, 2]), (), 1])
@pytest.mark.parametrize("function", ["partition", "argpartition"])
def test_kth_is_checked_as_by_numpy(function, kth):
    x = np.array([[3.0, 1.0, 2.0, 0.0]])
    expected = outcome(getattr(np, function), x, kth)
    result = outcome(getattr(facade, function), x, kth)
    assert result[:3] == expected[:3]


@pytest.mark.parametrize("other", ["str", "bytes", "complex", "datetime", "longdouble", "swapped"])
def test_descending_order_of_other_dtypes_is_stable_with_nan_last(other):
    x = OTHERS[other]
    indices = facade.argsort(x, descending=True)
    rows = x.tolist() if x.dtype.kind != "M" else x.astype("i8").tolist()
    nat = np.iinfo("i8").min
    for row, found in zip(rows, indices.tolist(), strict=True):
        keys = [(v.real, v.imag) if isinstance(v, complex) else v for v in row]
        is_nan = [v != v or v == nat for v in row]
        numbers = [i for i in range(len(row)) if not is_nan[i]]
        expected = sorted(numbers, key=keys.__getitem__, reverse=True)
        assert found[: len(numbers)] == expected
    np.testing.assert_array_equal(
        facade.sort(x, descending=True), np.take_along_axis(x, indices, -1)
    )


def test_descending_sort_of_subclass_raises():
    with pytest.raises(TypeError, match="descending: .*MaskedArray"):
        facade.sort(OTHERS["masked"], descending=True)


@pytest.mark.parametrize("other", ["str", "datetime", "longdouble"])
def test_top_k_of_other_dtypes_is_part_of_sort(other):
    x = OTHERS[other]
    for mode in ("largest", "smallest"):
        values, indices = facade.top_k(x, 2, mode=mode)
        order = facade.argsort(x, stable=True, descending=mode == "largest")[:, :2]
        np.testing.assert_array_equal(indices, order)
        np.testing.assert_array_equal(values, np.take_along_axis(x, order, -1))


@pytest.mark.parametrize(
    ("x", "k", "options", "error"),
    [
        ([1.0, 2.0], 3, {}, ValueError),
        ([1.0, 2.0], 1.0, {}, TypeError),
        (["a", "b"], 3, {}, ValueError),
        (["a", "b"], -1, {}, ValueError),
        (["a", "b"], True, {}, TypeError),
        (["a", "b"], 1, {"mode": "max"}, ValueError),
        ([1.0, 2.0], 1, {"axis": 1}, ValueError),
        (["a", "b"], 1, {"axis": 1}, ValueError),
        (np.ma.masked_array([1.0], [True]), 1, {}, TypeError),
    ],
)
def test_top_k_refuses_bad_arguments(x, k, options, error):
    with pytest.raises(error):
        facade.top_k(x, k, **options)


@pytest.mark.parametrize("name", [n for n in facade.__all__ if hasattr(np, n)])
def test_signature_is_numpys(name):
    def parameters(function):
        return {
            key: (parameter.kind, parameter.default)
            for key, parameter in inspect.signature(function).parameters.items()
        }

    ours, theirs = parameters(getattr(facade, name)), parameters(getattr(np, name))
    if name in ("sort", "argsort"):  # NumPy has it from version 2.5 on
        assert ours.pop("descending") == (inspect.Parameter.KEYWORD_ONLY, False)
        theirs.pop("descending", None)
    assert ours == theirs


@pytest.mark.parametrize("operation", ["sort", "argsort"])
@pytest.mark.parametrize("name", oracle.ALL)
def test_longest_row_is_that_of_kernels(name, operation):
    assert longest("cpu", "x86-64-avx2", name, operation) == _routes.LONGEST_ROW


@pytest.mark.parametrize(
    ("shape", "answered"),
    [
        ((128, 8), KEPT),
        ((127, 8), []),
        ((1100,), ["sort", "partition"]),
        ((1, 1100), ["sort", "partition"]),
        ((2, 16384), KEPT),
        ((2, 16385), []),
    ],
)
def test_kernels_answer_where_they_are_fast(shape, answered, kernel_calls):  # noqa: F811
    x = array("float32", shape)
    by_kernels = []
    for function in KEPT:
        arguments = (x, 0) if "partition" in function else (x,)
        getattr(facade, function)(*arguments)
        by_kernels += [function] * len(kernel_calls)
        kernel_calls.clear()
    assert by_kernels == answered


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn"])
def test_ml_dtypes_without_nan_are_sorted_as_by_numpy(name):
    x = np.random.default_rng(0).integers(-9, 9, (50, 25)).astype(oracle.ALL[name])
    np.testing.assert_array_equal(facade.sort(x), np.sort(x), strict=True)
    np.testing.assert_array_equal(facade.argsort(x), np.argsort(x, kind="stable"))


def test_input_is_never_written():
    x = array("float32", (50, 25))
    before = oracle.bits(x).copy()
    for function in KEPT:
        getattr(facade, function)(x, *([3] if "partition" in function else []))
    facade.median(x, axis=1, overwrite_input=True)
    np.testing.assert_array_equal(oracle.bits(x), before)


@pytest.mark.parametrize(
    ("k", "options"), [(99, {}), (-1, {}), (2, {"axis": None}), (2, {"axis": 5}), (1.5, {})]
)
def test_top_k_says_the_same_of_wrong_arguments_for_every_dtype(k, options):
    messages = []
    for x in (np.arange(6.0).reshape(2, 3), np.arange(6).reshape(2, 3).astype(str)):
        with pytest.raises((TypeError, ValueError)) as raised:
            facade.top_k(x, k, **options)
        messages.append((type(raised.value), str(raised.value).partition(";")[0]))
    assert messages[0] == messages[1]
