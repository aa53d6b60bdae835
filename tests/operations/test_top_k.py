"""`top_k` and `kthvalue` in CPU memory, against positions of the oracle's sorted rows."""

import sys
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import torch
import tvm_ffi
from hypothesis import given, settings
from hypothesis import strategies as st

from support import oracle, strided
from support.covering import pairwise
from support.libraries import LIBRARIES
from warp_bitonic_sort import KthValue, TopK, explain, kthvalue, top_k
from warp_bitonic_sort.arrays import Cut
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.cpu import layouts as cpu_layouts

ORDERS = [
    ("largest", "largest"),
    ("largest", "last"),
    ("smallest", "largest"),
    ("smallest", "last"),
]
LONG = 20000  # for kthvalue, sorted by the fallback


def check_top_k(x, k, result, axis=-1, mode="largest", nan="largest"):
    """Assert that a named tuple of arrays of NumPy has the first k of each row."""
    oracle.check_selected(
        x, slice(0, k), result[1].astype(np.int64), result[0], axis, mode == "largest", nan
    )


def check_kthvalue(x, k, result, axis=-1):
    oracle.check_selected(x, k - 1, result[1].astype(np.int64), result[0], axis)


def k_of(name, length):
    return {"none": 0, "one": 1, "half": length // 2, "all but one": length - 1, "all": length}[
        name
    ]


@pytest.mark.parametrize(
    ("library", "name", "order", "axis", "length", "k"),
    pairwise(
        list(LIBRARIES),
        ["float32", "bfloat16", "int64"],
        ORDERS,
        [0, -1],
        [1, 9, 40],
        ["none", "one", "half", "all but one", "all"],
    ),
)
def test_top_k_of_every_library_equals_the_oracle(library, name, order, axis, length, k):
    convert, convert_back, index_dtype = LIBRARIES[library]
    x = oracle.random(name, (7, length) if axis else (length, 7), np.random.default_rng(1))
    array, k = convert(x), k_of(k, length)
    result = top_k(array, k, axis=axis, mode=order[0], nan=order[1])
    assert type(result) is TopK
    assert type(result.values) is type(result.indices) is type(array)
    values, indices = map(convert_back, result)
    assert indices.dtype == index_dtype
    check_top_k(x, k, (values.view(x.dtype), indices), axis, *order)


@pytest.mark.parametrize(
    ("library", "name", "keepdims", "axis", "length", "k"),
    pairwise(
        list(LIBRARIES),
        ["float32", "bfloat16", "int64"],
        [False, True],
        [0, 1, -1],
        [1, 9, 40],
        ["one", "half", "all"],
    ),
)
def test_kthvalue_of_every_library_equals_the_oracle(library, name, keepdims, axis, length, k):
    convert, convert_back, index_dtype = LIBRARIES[library]
    shape = [5, 2, 3]
    shape[axis] = length
    x = oracle.random(name, tuple(shape), np.random.default_rng(2))
    array, k = convert(x), max(k_of(k, length), 1)
    result = kthvalue(array, k, axis=axis, keepdims=keepdims)
    assert type(result) is KthValue
    assert type(result.values) is type(result.indices) is type(array)
    values, indices = map(convert_back, result)
    assert indices.dtype == index_dtype
    if keepdims:
        assert values.shape == (*shape[:axis], 1, *shape[axis:][1:])
        values, indices = values.squeeze(axis), indices.squeeze(axis)
    check_kthvalue(x, k, (values.view(x.dtype), indices), axis)


@pytest.mark.parametrize("library", LIBRARIES)
def test_selection_from_an_array_without_axes_takes_it_as_one_row(library):
    convert, convert_back, _ = LIBRARIES[library]
    x = convert(np.array(2.0, np.float32))
    for k in (0, 1):
        values, indices = map(convert_back, top_k(x, k))
        assert (values.shape, indices.tolist()) == ((k,), [0] * k)
    for keepdims in (False, True):
        values, indices = map(convert_back, kthvalue(x, 1, keepdims=keepdims))
        assert (values.shape, indices.shape, indices) == ((), (), 0)
    with pytest.raises(ValueError, match="^k: expected 0 to 1 for rows of length 1, got 2"):
        top_k(x, 2)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("shape", [(0, 9), (3, 0), (0, 0)])
def test_selection_from_no_elements_is_empty(library, shape):
    convert, convert_back, _ = LIBRARIES[library]
    x = convert(np.zeros(shape, np.float32))
    k = min(shape[1], 4)
    for array in top_k(x, k):
        assert convert_back(array).shape == (shape[0], k)
    if shape[1]:
        assert convert_back(kthvalue(x, 9).indices).shape == (0,)
    else:
        with pytest.raises(ValueError, match="^k: .*rows have length 0; got 1. Pass an array with"):
            kthvalue(x, 1)


def rows_of_a_router(length, k):
    """Rows that defeat a threshold: masked logits, ties everywhere, sorted rows, NaNs."""
    rng = np.random.default_rng(3)
    logits = rng.standard_normal((6, length)).astype(np.float32)
    masked = np.where(rng.random(logits.shape) < 0.25, -np.inf, logits)
    few = np.full_like(logits, -np.inf)
    few[:, rng.permutation(length)[:k]] = 1
    zeros = np.where(rng.random(logits.shape) < 0.5, -0.0, 0.0)
    nans = np.where(rng.random(logits.shape) < 0.9, rng.choice([-np.nan, np.nan]), logits)
    ties = rng.integers(0, 3, logits.shape)
    ordered = np.sort(logits)
    sets = (masked, few, few[:, ::-1], zeros, nans, ties, ordered, ordered[:, ::-1], 0 * logits)
    return np.concatenate(sets).astype(np.float32)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("length", "k"), [(9, 2), (40, 8), (256, 8), (256, 255)])
def test_top_k_of_masked_logits_and_ties_equals_the_oracle(length, k, order):
    x = rows_of_a_router(length, k)
    check_top_k(x, k, top_k(x, k, mode=order[0], nan=order[1]), -1, *order)
    check_kthvalue(x, k, kthvalue(x, k, nan=order[1]))


@pytest.mark.parametrize("name", ["float32", "uint8", "int64"])
@pytest.mark.parametrize("mode", ["largest", "smallest"])
def test_selection_from_long_rows_equals_the_oracle(name, mode):
    x = oracle.random(name, (2, LONG), np.random.default_rng(4))
    result = top_k(x, 50, dim=1, mode=mode, index_dtype="int32")
    assert result.indices.dtype == np.int32
    check_top_k(x, 50, result, 1, mode)
    check_kthvalue(x, LONG // 2, kthvalue(x, LONG // 2, dim=1))


@pytest.mark.stress
@given(st.data(), st.sampled_from(list(oracle.ALL)), st.sampled_from(ORDERS), st.integers(0, 2**32))
@settings(max_examples=20)
def test_selection_from_any_strides_equals_the_oracle(data, name, order, seed):
    x = strided.array(data.draw, np.random.default_rng(seed), name)
    before = x.copy()
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    k = data.draw(st.integers(0, x.shape[axis]))
    check_top_k(x, k, top_k(x, k, axis=axis, mode=order[0], nan=order[1]), axis, *order)
    if k:  # the last of the k smallest is the k-th value
        smallest = top_k(x, k, axis=axis, mode="smallest")
        values, indices = kthvalue(x, k, axis=axis, keepdims=True)
        last = (slice(None),) * (axis % x.ndim) + (slice(k - 1, k),)
        np.testing.assert_array_equal(oracle.bits(smallest.values[last]), oracle.bits(values))
        np.testing.assert_array_equal(smallest.indices[last], indices)
    np.testing.assert_array_equal(oracle.bits(x), oracle.bits(before))


@pytest.mark.parametrize("k", [1, 3, 40])
def test_top_k_unsorted_has_the_elements_of_the_sorted_one(k):
    x = rows_of_a_router(40, 8)
    ordered, other = top_k(x, k), top_k(x, k, sorted=False)
    np.testing.assert_array_equal(np.sort(other.indices), np.sort(ordered.indices))
    taken = np.take_along_axis(x, other.indices, -1)
    np.testing.assert_array_equal(oracle.bits(taken), oracle.bits(other.values))
    np.testing.assert_array_equal(other.indices, top_k(x, k, sorted=False).indices)


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (9, 40)])
def test_results_are_contiguous_and_share_no_memory_with_sorted_rows(shape, axis):
    x = np.asfortranarray(np.random.default_rng(5).random(shape, np.float32))
    for array in (*top_k(x, 1, axis=axis), *kthvalue(x, 1, axis=axis)):
        assert array.flags.c_contiguous
        assert array.flags.owndata
    for tensor in (*top_k(torch.from_numpy(x), 1, dim=axis), *kthvalue(torch.from_numpy(x), 1)):
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("to_library", [np.asarray, torch.from_numpy])
def test_selection_into_out_of_any_strides_equals_the_oracle(to_library, index_dtype):
    x = oracle.random("float32", (7, 40), np.random.default_rng(6))
    around = [np.full((7, 13), -1, dtype) for dtype in (np.float32, index_dtype)]
    out = tuple(to_library(each)[:, 1:-1:2] for each in around)
    result = top_k(to_library(x), 6, out=out)
    assert result.values is out[0]
    assert result.indices is out[1]
    check_top_k(x, 6, tuple(np.asarray(each) for each in out))
    for each in around:
        assert (each[:, ::2] == -1).all()
    result = kthvalue(to_library(x), 6, out=tuple(each[:, 0] for each in out))
    check_kthvalue(x, 6, tuple(np.asarray(each) for each in result))


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_selection_into_out_that_overlaps_x_equals_new_results(convert):
    original = oracle.random("int64", (7, 9), np.random.default_rng(7))
    for columns in (slice(0, 4), slice(3, 7), slice(8, 4, -1)):
        if columns.step is not None and convert is torch.from_numpy:
            continue  # tensors have no negative strides
        x = original.copy()
        values, indices = convert(x)[:, columns], convert(np.empty((7, 4), np.int32))
        top_k(convert(x), 4, out=(values, indices))
        check_top_k(original, 4, (np.asarray(values), np.asarray(indices)))
        x = original.copy()
        values, indices = convert(np.empty((7, 4), np.int64)), convert(x)[:, columns]
        top_k(convert(x), 4, out=(values, indices))
        check_top_k(original, 4, (np.asarray(values), np.asarray(indices)))
    x = original.copy()
    indices = convert(np.empty((7, 9), np.int64))
    assert top_k(convert(x), 9, out=(convert(x), indices)).indices is indices
    check_top_k(original, 9, (x, np.asarray(indices)))


def test_selection_into_interleaved_outputs_equals_new_results():
    x = oracle.random("int32", (4, 9), np.random.default_rng(8))
    buffer = np.zeros((4, 6), np.int32)
    top_k(x, 3, out=(buffer[:, ::2], buffer[:, 1::2]))
    check_top_k(x, 3, (buffer[:, ::2], buffer[:, 1::2]))


@pytest.mark.parametrize("name", [">f4", ">i8"])
def test_selection_from_an_array_in_foreign_byte_order_keeps_it(name):
    x = np.random.default_rng(9).integers(0, 5, (3, 9)).astype(name)
    values, indices = top_k(x, 4)
    assert values.dtype == x.dtype
    np.testing.assert_array_equal(indices, np.argsort(-x, kind="stable")[:, :4])
    np.testing.assert_array_equal(values, np.take_along_axis(x, indices, -1))
    out = (np.empty((3, 4), name), np.empty((3, 4), np.int64))
    np.testing.assert_array_equal(top_k(x, 4, out=out).values, values)


def test_selection_from_a_subclass_of_ndarray_returns_plain_arrays():
    class Sub(np.ndarray):
        pass

    x = np.random.default_rng(10).random((3, 9), np.float32)
    for array in (*top_k(x.view(Sub), 2), *kthvalue(x.view(Sub), 2)):
        assert type(array) is np.ndarray


def test_selection_from_a_lazily_negated_tensor_is_right():
    x = torch.complex(torch.zeros(3, 9), torch.rand(3, 9)).conj().imag
    assert x.is_neg()
    expected = torch.topk(x.resolve_neg(), 3)
    out = (torch.empty(3, 3), torch.empty(3, 3, dtype=torch.int64))
    for result in (top_k(x, 3), top_k(x, 3, out=out)):
        assert torch.equal(result.values, expected.values)
        assert torch.equal(result.indices, expected.indices)


@pytest.mark.parametrize("select", [top_k, kthvalue])
def test_selection_from_a_tensor_that_requires_a_gradient_raises(select):
    x = torch.rand(3, 9, requires_grad=True)
    with pytest.raises(TypeError, match=r"^x: it requires a gradient.*x\.detach\(\)"):
        select(x, 2)
    with torch.no_grad():
        values = select(x, 2).values
    assert not values.requires_grad


def test_selection_from_a_dlpack_array_of_another_library_returns_its_kind():
    class Array:
        """An array of a library that has no shape, and speaks DLPack."""

        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack__(self, **options):
            return self.tensor.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.tensor.__dlpack_device__()

        def __array_namespace__(self):
            return SimpleNamespace(from_dlpack=lambda x: Array(np.from_dlpack(x)))

    x = np.random.default_rng(11).random((3, 9), np.float32)
    result = top_k(Array(x), 2)
    assert type(result.values) is type(result.indices) is Array
    check_top_k(x, 2, [each.tensor for each in result])


def test_selection_from_a_tensor_needs_no_numpy(monkeypatch):
    x = torch.rand(3, 9)
    top_k(tvm_ffi.from_dlpack(x), 3)
    monkeypatch.setitem(sys.modules, "warp_bitonic_sort.arrays._numpy", None)
    assert torch.equal(top_k(x, 3).values, torch.topk(x, 3).values)
    with pytest.raises(RuntimeError, match="NumPy is not installed.*top_k and kthvalue"):
        kthvalue(tvm_ffi.from_dlpack(x), 3)


def test_cut_of_a_jax_array_on_a_gpu_equals_a_slice():
    """The function for devices, in CPU memory."""
    from warp_bitonic_sort.arrays._jax_gpu import _cut

    x = jax.numpy.arange(60).reshape(3, 4, 5)
    np.testing.assert_array_equal(_cut(x, Cut(1, 1, 3, (3, 2, 5))), x[:, 1:3])
    np.testing.assert_array_equal(_cut(x, Cut(2, 4, 5, (3, 4))), x[..., 4])
    assert _cut(x[0, 0, 0], Cut(0, 0, 1, (1,))).shape == (1,)


# -- errors ----------------------------------------------------------------------------------------

ROWS = np.ones((3, 4), np.float32)


def outputs(shape, dtype=np.float32, index_dtype=np.int64):
    return np.zeros(shape, dtype), np.zeros(shape, index_dtype)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: top_k(ROWS, 5), ValueError, "^k: expected 0 to 4 for rows of length 4, got 5"),
        (lambda: top_k(ROWS, 4, axis=0), ValueError, "^k: expected 0 to 3 for rows of length 3"),
        (lambda: top_k(ROWS, -1), ValueError, "^k: expected 0 to 4 for rows of length 4, got -1"),
        (lambda: kthvalue(ROWS, 0), ValueError, "^k: expected 1 to 4 for rows of length 4, got 0"),
        (lambda: kthvalue(ROWS, 5), ValueError, "^k: expected 1 to 4 for rows of length 4, got 5"),
        (lambda: top_k(ROWS, True), TypeError, r"^k: expected an integer, got True \(bool\)"),
        (lambda: kthvalue(ROWS, 2.0), TypeError, r"^k: expected an integer, got 2.0 \(float\)"),
        (lambda: top_k(ROWS, np.bool_(1)), TypeError, r"^k: expected an integer, got .*True"),
        (lambda: top_k(ROWS, None), TypeError, "^k: expected an integer, got None"),
        (lambda: top_k(ROWS), TypeError, "argument: 'k'"),
        (lambda: top_k(ROWS, 1, 0), TypeError, r"axis is given by name: top_k\(x, k, axis=0\)"),
        (lambda: top_k(ROWS, 1, True), TypeError, r"sorted is given by name: top_k\(x, k, sorted"),
        (lambda: kthvalue(ROWS, 1, True), TypeError, r"keepdims is given by name: kthvalue\(x, k"),
        (lambda: top_k(ROWS, 1, mode="max"), ValueError,
         """^mode: expected "largest" or "smallest", got 'max'"""),
        (lambda: top_k(ROWS, 1, mode=True), ValueError, "^mode: expected"),
        (lambda: top_k(ROWS, 1, sorted=1), TypeError, "^sorted: expected True or False, got 1"),
        (lambda: kthvalue(ROWS, 1, keepdims=0), TypeError, "^keepdims: expected True or False"),
        (lambda: top_k(ROWS, 1, nan="first"), ValueError, "^nan: expected"),
        (lambda: top_k(ROWS, 1, axis=2), ValueError, "^axis: expected -2 to 1"),
        (lambda: top_k(ROWS, 1, axis=None), TypeError, "^axis: expected an integer, got None"),
        (lambda: top_k(ROWS, 1, axis=0, dim=1), TypeError, "^dim: it is another name for axis"),
        (lambda: top_k(ROWS, 1, index_dtype="int16"), ValueError, "^index_dtype: expected"),
        (lambda: top_k([1, 2], 1), TypeError, r"^x: .*got list; pass numpy\.asarray\(x\)"),
        (lambda: top_k(np.array(["a"]), 1), TypeError, "^x: dtype str cannot be sorted"),
        (lambda: top_k(ROWS, 2, out=np.empty((3, 2))), TypeError,
         r"^out: expected a tuple of 2 arrays \(values, indices\)"),
        (lambda: top_k(ROWS, 2, out=outputs((3, 4))), ValueError,
         r"^out\[0\]: expected the result's shape \(3, 2\), got \(3, 4\)"),
        (lambda: kthvalue(ROWS, 2, out=outputs((3, 1))), ValueError,
         r"^out\[0\]: expected the result's shape \(3,\), got \(3, 1\)"),
        (lambda: top_k(ROWS, 2, out=outputs((3, 2), np.float64)), TypeError,
         r"^out\[0\]: expected the result's dtype float32, got float64"),
        (lambda: top_k(ROWS, 2, out=outputs((3, 2), np.float32, np.int16)), TypeError,
         r"^out\[1\]: expected int32 or int64, got int16"),
        (lambda: top_k(ROWS, 2, out=outputs((3, 2)), index_dtype="int32"), TypeError,
         r"^out\[1\]: expected index_dtype int32, got int64"),
        (lambda: top_k(ROWS, 2, out=(torch.empty(3, 2), torch.empty(3, 2))), TypeError,
         r"^out\[0\]: expected a numpy\.ndarray as the result is, got torch\.Tensor"),
        (lambda: top_k(jax.numpy.ones(3), 1, out=outputs((1,))), TypeError,
         r"^out\[0\]: JAX arrays can't be written"),
        (lambda: jax.jit(lambda x: top_k(x, 1))(ROWS), TypeError, "^x: it is a tracer"),
        (lambda: torch.func.vmap(lambda x: top_k(x, 1))(torch.ones(3, 4)), TypeError, "^x: "),
        (lambda: top_k(torch.ones(3).to_sparse(), 1), TypeError, r"^x: .*x\.to_dense\(\)"),
        (lambda: explain(ROWS, operation="top_k"), TypeError, "^k: .*got None; top_k needs a k"),
        (lambda: explain(ROWS, operation="top_k", k=True), TypeError, "^k: expected an integer"),
        (lambda: explain(ROWS, operation="top_k", k=5), ValueError, "^k: expected 0 to 4 for rows"),
        (lambda: explain(ROWS, k=2), TypeError, "^k: sort takes no k; got k=2"),
    ],
)  # fmt: skip
def test_selection_names_the_wrong_argument(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_selection_with_a_wrong_output_writes_nothing():
    memory = np.zeros((3, 2), np.int32)
    x = np.ones((3, 4), np.int32)
    with pytest.raises(ValueError, match=r"^out: out\[0\] and out\[1\] share memory"):
        top_k(x, 2, out=(memory, memory))
    read_only = np.zeros((3, 2), np.int32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match=r"^out\[1\]: expected an array that can be written"):
        top_k(x, 2, out=(memory, read_only))
    assert not memory.any()


def test_index_dtype_that_cannot_hold_the_indices_of_a_row_raises_for_a_selection():
    x = np.empty((0, 2**31 + 1), np.int8)
    for select in (partial(top_k, x), partial(kthvalue, x)):
        with pytest.raises(ValueError, match="^index_dtype: int32 holds indices up to"):
            select(1, index_dtype="int32")


@pytest.mark.parametrize(
    ("x", "k", "reason"),
    [
        ((5, 40), 15, "only the first elements are kept"),
        ((5, 40), 16, "whole rows are sorted"),
        ((5, 4096), 64, "groups bound the wanted ones"),
        ((5, 4096), 65, "whole rows are sorted"),
        ((5, 100_000), 50_000, "groups bound the wanted ones"),
        (np.empty((5, 8192), np.float32)[:, ::2], 64, "whole rows are sorted"),
    ],
)
def test_explain_of_first_elements_says_how_they_are_found(x, k, reason):
    said = explain(x, operation="top_k", k=k)
    assert said.kernel.startswith("cpu_first_index_ieee32_tile_strided")
    assert reason in said.reason
    assert "copies" not in said.reason


def test_explain_of_first_elements_knows_the_limits_of_the_kernel():
    folder = sources.INCLUDE_DIR / "warp_bitonic_sort/kernel"
    texts = "".join(path.read_text() for path in folder.glob("cpu*.hpp"))
    assert f"long_length = {cpu_layouts._MIN_BOUNDED_LENGTH}, " in texts
    assert f"max_in_tile = {cpu_layouts.MAX_LENGTH};" in texts
    assert f"call.kept <= call.length / {cpu_layouts._ONE_OF};" in texts
    assert "max_first = block - 1;" in texts
    bits = (cpu_layouts._MAX_MERGED + 1).bit_length() - 1
    assert f"block_bits = {bits}, block = 1 << block_bits;" in texts


def test_explain_of_a_selection_says_what_is_copied():
    said = explain((5, 40), operation="kthvalue", k=16)
    assert str(said).startswith("kthvalue 5 rows of 40 float32")
    assert said.kernel == explain((5, 40), operation="top_k", k=16).kernel
    reason = explain(np.ones((5, 40)), operation="kthvalue", k=2, axis=0).reason
    assert reason.endswith("then the array's library copies element 2 of each row, counted from 1")


def test_top_k_of_no_element_opens_no_kernel(monkeypatch):
    monkeypatch.setattr(loader, "open_kernel", None)
    values, indices = top_k(np.ones((3, 41)), 0)
    assert (values.shape, indices.shape) == ((3, 0), (3, 0))
    assert explain((3, 41), operation="top_k", k=0).kernel is None
