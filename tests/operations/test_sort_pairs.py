"""`sort_pairs` in CPU memory: keys and values are the inputs at the oracle's indices."""

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support import oracle, strided
from support.covering import pairwise
from support.libraries import LIBRARIES, to_jax, to_torch
from warp_bitonic_sort import argsort, explain, sort_pairs
from warp_bitonic_sort.arrays import Description, Device
from warp_bitonic_sort.operations._planning import planned
from warp_bitonic_sort.operations.sort_pairs import SORT_PAIRS, SortedPairs

ORDERS = [(False, "largest"), (False, "last"), (True, "largest"), (True, "last")]
LONG = 20000  # sorted by the fallback


def words(x):
    """Return raw bits, also of results that are bits already."""
    return oracle.bits(np.asarray(x))


def check(inputs, results, axis=-1, descending=False, nan="largest"):
    """Assert that results are the inputs at the oracle's indices of the first, bit for bit."""
    order = oracle.expected_indices(inputs[0], axis, descending, nan)
    for array, result in zip(inputs, results, strict=True):
        want = np.take_along_axis(words(array), order, axis)
        np.testing.assert_array_equal(words(result), want)


def pair(length=9, keys="float32", values="int64", rows=5):
    rng = np.random.default_rng(1)
    return [oracle.random(name, (rows, length), rng) for name in (keys, values)]


@pytest.mark.parametrize(
    ("library", "keys", "values", "order", "axis", "length"),
    pairwise(
        list(LIBRARIES),
        ["float32", "bfloat16", "int64"],
        ["bool", "float8_e4m3fnuz", "bfloat16", "float32", "uint64"],
        ORDERS,
        [0, -1],
        [0, 1, 9, 40],
    ),
)
def test_sort_pairs_of_every_library_equals_the_oracle(library, keys, values, order, axis, length):
    convert, convert_back, _ = LIBRARIES[library]
    inputs = pair(length, keys, values)
    if axis == 0:
        inputs = [np.ascontiguousarray(x.T) for x in inputs]
    arrays = [convert(x) for x in inputs]
    result = sort_pairs(*arrays, axis=axis, descending=order[0], nan=order[1])
    assert type(result) is SortedPairs
    for given_array, array in zip(arrays, result, strict=True):
        assert type(array) is type(given_array)
        assert array.dtype == given_array.dtype
    check(inputs, [convert_back(x) for x in result], axis, *order)


@pytest.mark.parametrize("library", LIBRARIES)
def test_sort_pairs_of_arrays_without_axes_returns_them(library):
    convert, convert_back, _ = LIBRARIES[library]
    inputs = [np.array(2.0, np.float32), np.array(7)]
    result = sort_pairs(*map(convert, inputs))
    assert [convert_back(x).shape for x in result] == [(), ()]
    assert [words(convert_back(x)) for x in result] == [words(x) for x in inputs]


def test_sort_pairs_of_a_tuple_of_values_returns_a_tuple():
    keys, first = pair()
    second = oracle.random("float16", keys.shape, np.random.default_rng(2))
    result = sort_pairs(keys, (first, second), descending=True)
    assert type(result.values) is tuple
    check([keys, first, second], [result.keys, *result.values], descending=True)
    assert type(sort_pairs(keys, (first,)).values) is tuple
    listed = sort_pairs(keys, [first, second], descending=True)
    assert type(listed.values) is tuple
    np.testing.assert_array_equal(listed.values[0], result.values[0])


def test_sort_pairs_of_long_rows_equals_the_oracle():
    inputs = pair(LONG, rows=2)
    check(inputs, sort_pairs(*inputs))


@pytest.mark.parametrize("form", ["broadcast", "negative", "read-only", "swapped", "field"])
def test_sort_pairs_of_values_of_any_strides_equals_the_oracle(form):
    keys, values = pair()
    if form == "broadcast":
        values = np.broadcast_to(values[:1], values.shape)
    elif form == "negative":
        values = values[::-1, ::-1]
    elif form == "read-only":
        values.flags.writeable = False
    elif form == "swapped":
        values = values.astype(values.dtype.newbyteorder())
    else:
        record = np.zeros(values.shape, [("other", np.int8), ("value", np.int64)])
        record["value"] = values
        values = record["value"]
    result = sort_pairs(keys, values)
    assert result.values.dtype == values.dtype
    want = np.take_along_axis(values, argsort(keys), -1)
    np.testing.assert_array_equal(result.values, want)


@pytest.mark.stress
@given(
    st.data(),
    st.sampled_from(list(oracle.ALL)),
    st.sampled_from(list(oracle.ALL)),
    st.sampled_from(ORDERS),
    st.integers(0, 2**32),
)
@settings(max_examples=50)
def test_sort_pairs_of_any_strides_equals_the_oracle(data, keys, values, order, seed):
    rng = np.random.default_rng(seed)
    inputs = [strided.array(data.draw, rng, keys)]
    inputs.append(oracle.random(values, inputs[0].shape, rng))
    if data.draw(st.booleans()):
        inputs[1] = np.asfortranarray(inputs[1])
    axis = data.draw(st.integers(-inputs[0].ndim, inputs[0].ndim - 1))
    result = sort_pairs(*inputs, axis=axis, descending=order[0], nan=order[1])
    check(inputs, result, axis, *order)


# -- out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_sort_pairs_into_out_returns_out(library):
    convert, convert_back, _ = LIBRARIES[library]
    inputs = pair()
    arrays = [convert(x) for x in inputs]
    out = tuple(convert(np.zeros_like(x)) for x in inputs)
    result = sort_pairs(*arrays, out=out)
    assert (result.keys is out[0], result.values is out[1]) == (True, True)
    check(inputs, [convert_back(x) for x in out])


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("length", [1, 9, LONG])
def test_sort_pairs_in_place_equals_new_results(library, length):
    convert, convert_back, _ = LIBRARIES[library]
    inputs = pair(length)
    arrays = tuple(convert(x.copy()) for x in inputs)
    sort_pairs(*arrays, out=arrays)
    check(inputs, [convert_back(x) for x in arrays])


def test_sort_pairs_into_exchanged_inputs_equals_new_results():
    keys, values = pair(values="float32")
    arrays = keys.copy(), values.copy(), values.copy()
    out = arrays[1], [arrays[0], arrays[2]]
    result = sort_pairs(arrays[0], arrays[1:], out=out)
    assert result == SortedPairs(arrays[1], (arrays[0], arrays[2]))
    check([keys, values, values], [arrays[1], arrays[0], arrays[2]])


def test_sort_pairs_into_shifted_inputs_equals_new_results():
    memory = np.random.default_rng(3).integers(0, 9, (3, 5, 10))
    keys, values = memory[0, :, :9], memory[1, :, :9]
    before = [keys.copy(), values.copy()]
    out = memory[0, :, 1:], memory[1, :, 1:]
    sort_pairs(keys, values, out=out)
    check(before, out)


# -- errors ---------------------------------------------------------------------------------------

KEYS, VALUES = np.ones((3, 4), np.float32), np.ones((3, 4), np.int32)


@pytest.mark.parametrize(
    ("values", "options", "kind", "message"),
    [
        ([1, 2], {}, TypeError, r"^values: .*DLPack.*got list; pass numpy\.asarray\(values\)"),
        ((), {}, TypeError, "^values: expected .* a tuple of at least one array, got tuple of 0"),
        (3, {}, TypeError, "^values: expected an array that speaks DLPack.*got int"),
        ((VALUES, [1]), {}, TypeError, r"^values\[1\]: .*got list; pass numpy\.asarray\(values\[1"),
        (VALUES.T, {}, ValueError, r"^values: expected keys' shape \(3, 4\), got \(4, 3\)"),
        (
            VALUES[0],
            {},
            ValueError,
            r"repeat, pass numpy\.broadcast_to\(values, keys\.shape\); else.* argsort\(keys\)",
        ),
        ((VALUES, VALUES[0]), {}, ValueError, r"^values\[1\]: expected keys' shape"),
        (
            torch.ones(3, 4),
            {},
            TypeError,
            r"^values: expected a NumPy array as keys is, got torch\.Tensor; pass "
            r"numpy\.asarray\(values\)",
        ),
        (
            KEYS + 1j,
            {},
            TypeError,
            r"^values: dtype complex64 is not supported for values; pass bool, int8 to int64.*or "
            r"take the values at the indices of argsort\(keys\)",
        ),
        (
            (VALUES, np.zeros((3, 4), "i4,i4")),
            {},
            TypeError,
            r"^values\[1\]: dtype \[\('f0'.*is not supported for values",
        ),
        (VALUES, {"axis": 2}, ValueError, "^axis: expected -2 to 1"),
        (VALUES, {"nan": "first"}, ValueError, "^nan: expected"),
        (VALUES, {"descending": 1}, TypeError, "^descending: expected True or False"),
        (VALUES, {"out": KEYS}, TypeError, r"^out: expected a tuple \(keys, values\), got numpy"),
        (VALUES, {"out": (KEYS,)}, TypeError, "^out: expected a tuple .*got tuple of 1"),
        (
            (VALUES, VALUES),
            {"out": (KEYS, VALUES)},
            TypeError,
            r"^out\[1\]: expected a tuple \(values\[0\], values\[1\]\) as values is, got numpy\.",
        ),
        (
            [VALUES, VALUES],
            {"out": (KEYS, VALUES, VALUES)},
            TypeError,
            r"^out: expected a tuple \(keys, \(values\[0\], values\[1\]\)\), got tuple of 3",
        ),
        (
            (VALUES,),
            {"out": (KEYS, VALUES)},
            TypeError,
            r"^out\[1\]: expected a tuple \(values\[0\],\) as values is, got numpy\.ndarray",
        ),
        (
            VALUES,
            {"out": (VALUES, VALUES)},
            TypeError,
            r"^out\[0\]: expected keys' dtype float32, got int32",
        ),
        (
            (VALUES, KEYS),
            {"out": (KEYS, (VALUES, VALUES))},
            TypeError,
            r"^out\[1\]\[1\]: expected values\[1\]'s dtype float32, got int32",
        ),
        (
            VALUES,
            {"out": (KEYS, np.ones((4, 3), np.int32))},
            ValueError,
            r"^out\[1\]: expected values' shape \(3, 4\), got \(4, 3\)",
        ),
        (
            VALUES,
            {"out": (KEYS, torch.ones(3, 4))},
            TypeError,
            r"^out\[1\]: expected a numpy\.ndarray as values is, got torch\.Tensor",
        ),
        (
            (VALUES, VALUES),
            {"out": (KEYS, (VALUES, VALUES))},
            ValueError,
            r"^out: out\[1\]\[0\] and out\[1\]\[1\] share memory",
        ),
    ],
)
def test_sort_pairs_names_the_wrong_argument(values, options, kind, message):
    before = KEYS.copy(), VALUES.copy()
    with pytest.raises(kind, match=message):
        sort_pairs(KEYS, values, **options)
    np.testing.assert_array_equal(KEYS, before[0])
    np.testing.assert_array_equal(VALUES, before[1])


def test_sort_pairs_of_wrong_keys_names_keys():
    with pytest.raises(TypeError, match="^keys: dtype complex128 cannot be sorted here"):
        sort_pairs(KEYS + 1j * np.ones(4), VALUES)
    with pytest.raises(TypeError, match=r"^keys: expected an array.*numpy\.asarray\(keys\)"):
        sort_pairs([1, 2], VALUES)
    with pytest.raises(TypeError, match=r"^keys: .*pass keys\.astype\("):
        sort_pairs(np.zeros((3, 4), "datetime64[s]"), VALUES)


def test_plan_of_pairs_on_a_gpu_names_keys():
    description = Description(
        "dlpack", "float32", (2, 10**6), (10**6, 1), Device("cuda", 0, "sm_90")
    )
    with pytest.raises(
        NotImplementedError, match="^keys: .*Move keys to the CPU|^keys: .*Hand keys"
    ):
        planned(SORT_PAIRS, description._replace(capabilities=frozenset()), [(10**6, 1)] * 2, -1)


ROWS, COLUMNS, GAPS = (64, 1), (1, 100), (128, 2)


@pytest.mark.parametrize(
    ("strides", "value_bits", "payload"),
    [
        ([ROWS] * 4, 32, "value32"),
        ([ROWS, GAPS, COLUMNS, ROWS], 64, "value64"),
        ([COLUMNS] * 4, 32, "index"),
        ([ROWS] * 4, 16, "index"),
    ],
)
def test_plan_of_pairs_on_a_gpu_has_a_kernel_with_values_for_rows(strides, value_bits, payload):
    on_gpu = Device("cuda", 0, "sm_90")
    keys = Description("torch", "float32", (100, 64), strides[0], on_gpu)
    plan, axis = planned(SORT_PAIRS, keys, strides[1:], -1, value_bits)
    assert (plan.kernel.payload, axis) == (payload, 1)
    if value_bits >= 32:  # a library without functions cannot take values
        unaided = keys._replace(capabilities=frozenset())
        plan, _ = planned(SORT_PAIRS, unaided, strides[1:], -1, value_bits)
        assert plan.kernel.payload == f"value{value_bits}"
    long = keys._replace(shape=(100, 5000))
    assert planned(SORT_PAIRS, long, strides[1:], -1, value_bits)[0].route == "fallback"
    in_memory = keys._replace(device=Device("cpu", 0, None))
    assert planned(SORT_PAIRS, in_memory, strides[1:], -1, value_bits)[0].kernel.payload == "index"


def test_explain_of_pairs_says_how_values_are_put_in_order():
    said = explain((100, 64), operation="sort_pairs")
    assert "_index_" in said.kernel
    assert said.reason.endswith("; then the array's library takes the values at the indices")


def test_sort_pairs_without_names_raises():
    with pytest.raises(TypeError, match=r"axis is given by name: sort_pairs\(keys, values, axis=1"):
        sort_pairs(KEYS, VALUES, 1)


def test_sort_pairs_of_tensors_that_require_gradients_raises():
    x = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(TypeError, match=r"^keys: it requires.*torch, pass keys\.detach\(\)"):
        sort_pairs(x, x.detach())
    message = r"^values\[1\]: it requires.*torch, pass values\[1\]\.detach\(\)"
    with pytest.raises(TypeError, match=message):
        sort_pairs(x.detach(), (x.detach(), x))
    with torch.no_grad():
        assert torch.equal(sort_pairs(x, x).values, x)


def test_sort_pairs_of_a_jax_array_into_out_raises():
    x = to_jax(KEYS)
    with pytest.raises(TypeError, match=r"^out\[0\]: JAX arrays can't be written"):
        sort_pairs(x, x, out=(x, x))


def test_sort_pairs_of_jax_tracers_names_the_argument():
    x = to_jax(KEYS)
    with pytest.raises(TypeError, match="^keys: it is a tracer"):
        jax.jit(sort_pairs)(x, x)
    with pytest.raises(TypeError, match=r"^values\[0\]: it is a tracer"):
        jax.jit(lambda v: sort_pairs(x, (v,)))(x)


def test_sort_pairs_of_negated_tensors_carries_their_values():
    imaginary = torch.imag(torch.conj(torch.complex(torch.zeros(2, 3), torch.ones(2, 3))))
    assert imaginary.is_neg()
    result = sort_pairs(torch.zeros(2, 3), imaginary)
    assert torch.equal(result.values, -torch.ones(2, 3))


def test_take_of_jax_arrays_on_a_gpu_equals_numpy():
    """The function for devices, in CPU memory."""
    from warp_bitonic_sort.arrays._jax_gpu import _take

    x = np.random.default_rng(4).random((2, 3, 5), dtype=np.float32)
    for axis in (0, -1):
        order = np.argsort(x, axis)
        np.testing.assert_array_equal(_take(x, order, axis), np.take_along_axis(x, order, axis))
    assert _take(np.float32(3), np.int32(0), 0) == 3


def test_sort_pairs_of_tensors_equals_torch_sort_and_gather():
    keys, values = (to_torch(x) for x in pair(40, "int32", "float64"))
    order = torch.sort(keys, stable=True, descending=True).indices
    result = sort_pairs(keys, values, dim=1, descending=True)
    assert torch.equal(result.keys, keys.gather(1, order))
    assert torch.equal(result.values.view(torch.int64), values.view(torch.int64).gather(1, order))
