"""`argsort` and `sort_with_indices` on arrays in CPU memory, against an oracle of ranks."""

from functools import partial

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import cells, oracle, strided
from support.covering import pairwise
from warp_bitonic_sort import argsort, explain, ranks, sort_with_indices
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.plan import plan
from warp_bitonic_sort.targets import target_of
from warp_bitonic_sort.targets.cpu.layouts import MAX_REGISTER_LENGTH

ORDERS = [(False, "largest"), (False, "last"), (True, "largest"), (True, "last")]
OPERATIONS = ["argsort", "sort_with_indices"]
# Powers of two and their neighbours, whole blocks of the tile and ragged ones, to the longest row.
TILE_LENGTHS = [33, 48, 63, 64, 65, 100, 127, 129, 200, 256, 300, 511, 1000, 2048, 4095, 16384]
LONG = 20000
assert explain((2, LONG), operation="argsort").route == "fallback"


def answer(operation, x, **options):
    """Return (values or None, indices) of an operation, by its name."""
    if operation == "argsort":
        return None, argsort(x, **options)
    return sort_with_indices(x, **options)


def check(operation, x, axis=-1, descending=False, nan="largest", **options):
    before = x.copy()
    values, indices = answer(operation, x, axis=axis, descending=descending, nan=nan, **options)
    oracle.check_indices(x, indices, values, axis, descending, nan)
    np.testing.assert_array_equal(oracle.bits(x), oracle.bits(before), "the input was written")
    return indices


@pytest.mark.parametrize("name", oracle.ALL)
@pytest.mark.parametrize("access", ["rows", "columns"])
def test_argsort_of_every_length_equals_the_oracle(name, access):
    """Lengths in registers, for most of which dtypes take turns; and lengths in the tile."""
    rng = np.random.default_rng(1)
    lengths = cells.register_lengths(name) if access == "rows" else cells.FEW
    for number, length in enumerate([0, 1, *lengths, *TILE_LENGTHS]):
        operation = OPERATIONS[number % 2]
        descending, nan = ORDERS[number // 2 % 4]
        count = 1 + int(rng.integers(0, 90 if length < 40 else 20 if length < 301 else 3))
        axis, shape = (1, (count, length)) if access == "rows" else (0, (length, count))
        check(operation, oracle.random(name, shape, rng), axis, descending, nan)


@pytest.mark.parametrize(
    ("name", "operation", "order", "index_dtype", "length"),
    pairwise(list(oracle.ALL), OPERATIONS, ORDERS, ["int32", "int64"], [3, 9, 32, 77, LONG]),
)
def test_argsort_in_every_order_equals_the_oracle(name, operation, order, index_dtype, length):
    x = oracle.random(
        name, (17, length) if length < LONG else (2, length), np.random.default_rng(2)
    )
    indices = check(operation, x, -1, *order, index_dtype=index_dtype)
    assert indices.dtype == index_dtype


@given(
    st.data(),
    st.sampled_from(list(oracle.ALL)),
    st.sampled_from(OPERATIONS),
    st.sampled_from(ORDERS),
    st.integers(0, 2**32),
)
def test_argsort_of_any_strides_equals_the_oracle(data, name, operation, order, seed):
    x = strided.array(data.draw, np.random.default_rng(seed), name)
    check(operation, x, data.draw(st.integers(-x.ndim, x.ndim - 1)), *order)


@given(st.data(), st.sampled_from(list(oracle.ALL)), st.sampled_from(ORDERS), st.integers(0, 2**32))
def test_argsort_into_out_leaves_bytes_around_out_unchanged(data, name, order, seed):
    """Values and indices go into strided windows of larger arrays."""
    rng = np.random.default_rng(seed)
    x = strided.array(data.draw, rng, name)
    axis = data.draw(st.integers(0, x.ndim - 1))
    windows, outs, around = [], [], []
    for dtype in (x.dtype, data.draw(st.sampled_from([np.int32, np.int64]))):
        steps = [data.draw(st.sampled_from([1, 1, 2, -1])) for _ in x.shape]
        sizes = tuple(n * abs(s) + 4 for n, s in zip(x.shape, steps, strict=True))
        around.append(rng.integers(0, 255, (*sizes, np.dtype(dtype).itemsize), np.uint8))
        windows.append(
            tuple(
                slice(2, 2 + n * s, s) if s > 0 else slice(1 + n * -s, 1, s)
                for n, s in zip(x.shape, steps, strict=True)
            )
        )
        whole = around[-1].view(dtype)[..., 0] if x.dtype != bool or dtype != x.dtype else None
        if whole is None:
            around[-1] = rng.integers(0, 2, (*sizes, 1), np.uint8)
            whole = around[-1].view(bool)[..., 0]
        outs.append(whole[windows[-1]])
    before = [each.copy() for each in around]
    result = sort_with_indices(x, axis=axis, descending=order[0], nan=order[1], out=tuple(outs))
    assert result.values is outs[0]
    assert result.indices is outs[1]
    oracle.check_indices(x, outs[1], outs[0], axis, *order)
    for each, old, window in zip(around, before, windows, strict=True):
        old[window] = each[window]
        np.testing.assert_array_equal(each, old, "bytes around out")


def special(rng, n, step):
    """Rows of n that break entries of a prefix and an index; step is the least above 1."""
    return {
        "all equal": np.full((9, n), 1.5),
        "sorted": np.sort(rng.standard_normal((9, n))),
        "reversed": np.sort(rng.standard_normal((9, n)))[:, ::-1],
        "one outlier": np.where(np.arange(n) == n // 2, 1e30, rng.random((9, n))),
        "equal prefixes": 1 + rng.integers(0, 4, (9, n)) * step,
        "a cluster and outliers": np.where(
            rng.random((9, n)) < 2 / n,
            rng.choice([1e30, -1e30]),
            1 + rng.integers(0, n, (9, n)) * step,
        ),
        "two clusters": (
            (1 + rng.integers(0, n, (9, n)) * step) * rng.choice([1, -(2.0**90)], (9, n))
        ),
        "falling clusters": (
            np.where(np.arange(n) % 2, 1, -1) * (2 - np.arange(n) * step) + np.zeros((9, 1))
        ),
        "half zeros of both signs": rng.choice([0.0, -0.0, 1.0, -1.0], (9, n)),
        "denormals": rng.integers(-3, 4, (9, n)) * 2.0**-149,
        "denormals of all sizes": rng.standard_normal((9, n)) * 2.0**-130,
        "as far apart as can be": rng.uniform(-1, 1, (9, n)) * 2.0**127 * 1.9999,
        "far from zero": 2.0**20 * (1 + rng.integers(0, n, (9, n)) * step),
        "masked logits": np.where(rng.random((9, n)) < 0.25, -np.inf, rng.random((9, n))),
        "all but few minus infinity": np.where(
            rng.random((9, n)) < 0.9, -np.inf, rng.random((9, n))
        ),
        "NaN among infinities": rng.choice([np.nan, np.inf, -np.inf, 0.0], (9, n)),
        "one NaN": np.where(np.arange(n) == n // 3, np.nan, rng.standard_normal((9, n))),
    }


@pytest.mark.parametrize(
    ("data", "name", "length", "axis"),
    pairwise(
        list(special(np.random.default_rng(0), 9, 1.0)),
        ["float32", "float64"],
        [9, 31, 100, 300, 1024],
        [0, 1],
    ),
)
def test_argsort_of_ties_and_extremes_is_stable(data, name, length, axis):
    rng = np.random.default_rng(3)
    x = special(rng, length, np.finfo(name).eps)[data].astype(name)
    x = x if axis else np.ascontiguousarray(x.T)
    for operation, order in zip(OPERATIONS * 2, ORDERS, strict=True):
        check(operation, x, axis, *order)


def test_argsort_of_integer_extremes_is_stable():
    rng = np.random.default_rng(4)
    for name in ("int8", "int32", "uint32", "int64", "uint64"):
        limits = np.iinfo(name)
        few = np.array([limits.min, limits.min + 1, 0, 1, 2, limits.max - 1, limits.max], name)
        for length in (9, 100, 500):
            x = rng.choice(few, (20, length))
            check("argsort", x)
            check("sort_with_indices", x, descending=True)


def test_argsort_of_nans_with_payloads_treats_them_as_equal():
    bits = np.array([[0x7FC00001, 0xFFC00000, 0x3F800000, 0x7F800001, 0xFF800001]], np.uint32)
    x = bits.view(np.float32)
    assert argsort(x).tolist() == [[2, 0, 1, 3, 4]]
    assert argsort(x, descending=True).tolist() == [[0, 1, 3, 4, 2]]
    values, indices = sort_with_indices(x, descending=True, nan="last")
    assert indices.tolist() == [[2, 0, 1, 3, 4]]
    np.testing.assert_array_equal(values.view(np.uint32), bits[0, [[2, 0, 1, 3, 4]]])


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (0, 3), (4, 1)])
def test_argsort_of_trivial_rows_returns_zeros(shape):
    x = np.ones(shape, np.float32)
    indices = argsort(x)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, np.zeros(shape, np.int64))
    values, indices = sort_with_indices(x, descending=True)
    np.testing.assert_array_equal(values, x)
    np.testing.assert_array_equal(indices, np.zeros(shape, np.int64))


def test_argsort_of_foreign_byte_order_equals_native():
    x = np.random.default_rng(5).standard_normal((5, 20)).astype(">f4")
    values, indices = sort_with_indices(x)
    assert values.dtype == x.dtype
    np.testing.assert_array_equal(indices, argsort(x.astype("<f4")))
    np.testing.assert_array_equal(values, np.take_along_axis(x, indices, -1))


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize(("name", "length"), [("float32", 9), ("float64", 9), ("int8", 40)])
@pytest.mark.parametrize("place", [1, 3, 15])
def test_sort_with_indices_of_many_columns_into_any_address(name, length, index_dtype, place):
    """The first columns are sorted apart from those whose indices are aligned."""
    x = oracle.random(name, (length, 2176), np.random.default_rng(8))
    around = np.full(x.size + 32, -1, index_dtype)
    indices = around[place : place + x.size].reshape(x.shape)
    values, _ = sort_with_indices(x, axis=0, out=(np.empty_like(x), indices))
    oracle.check_indices(x, indices, values, 0)
    assert (around[:place] == -1).all()
    assert (around[place + x.size :] == -1).all()


@pytest.mark.parametrize("name", ["float32", "int64", "bfloat16"])
@pytest.mark.parametrize("length", [9, 200, LONG])
def test_sort_with_indices_in_place_equals_a_new_result(name, length):
    x = oracle.random(name, (5, length), np.random.default_rng(6))
    before = x.copy()
    indices = np.empty(x.shape, np.int32)
    values, _ = sort_with_indices(x, out=(x, indices))
    assert values is x
    oracle.check_indices(before, indices, x)


def test_argsort_into_memory_of_the_input_equals_a_new_result():
    x = np.random.default_rng(7).integers(0, 9, (5, 40))
    before = x.copy()
    assert argsort(x, out=x) is x
    oracle.check_indices(before, x)
    values, x = np.empty_like(before), before.copy()
    assert sort_with_indices(x, out=(values, x)).indices is x
    oracle.check_indices(before, x, values)


@pytest.mark.parametrize(
    ("operation", "options", "kind", "message"),
    [
        (argsort, {"index_dtype": "int16"}, ValueError, 'index_dtype: expected "int32" or "int64"'),
        (argsort, {"index_dtype": float}, ValueError, "index_dtype: expected"),
        (argsort, {"axis": 2}, ValueError, "axis: expected -2 to 1"),
        (argsort, {"nan": "first"}, ValueError, "nan: expected"),
        (argsort, {"descending": 1}, TypeError, "descending: expected True or False"),
        (
            argsort,
            {"out": np.empty((3, 4))},
            TypeError,
            "out: expected int32 or int64, got float64",
        ),
        (argsort, {"out": np.empty((3, 5), int)}, ValueError, r"out: expected x's shape \(3, 4\)"),
        (argsort, {"out": np.empty((3, 4), int), "index_dtype": "int32"}, TypeError, "index_dtype"),
        (sort_with_indices, {"out": np.empty((3, 4))}, TypeError, "out: expected a tuple of 2"),
        (
            sort_with_indices,
            {"out": (np.empty((3, 4)),)},
            ValueError,
            "out: expected a tuple of 2 .*got tuple of 1",
        ),
        (
            sort_with_indices,
            {"out": (np.empty((3, 4)), np.empty((3, 4)))},
            TypeError,
            r"out\[0\]: expected x's dtype float32, got float64",
        ),
        (
            sort_with_indices,
            {"out": (np.empty((3, 4), np.float32), np.empty((3, 4), np.float32))},
            TypeError,
            r"out\[1\]: expected int32 or int64, got float32",
        ),
    ],
)
def test_argsort_names_the_wrong_argument(operation, options, kind, message):
    with pytest.raises(kind, match=message):
        operation(np.ones((3, 4), np.float32), **options)


@pytest.mark.parametrize("operation", [argsort, sort_with_indices, ranks])
def test_index_dtype_that_cannot_hold_the_indices_of_a_row_raises(operation):
    message = "^index_dtype: int32 holds indices up to 2147483647, and rows have length 2147483649"
    with pytest.raises(ValueError, match=message):  # rows are as long where there are none
        operation(np.empty((0, 2**31 + 1), np.int8), index_dtype="int32")
    name = operation.__name__
    with pytest.raises(ValueError, match=message):
        explain((1, 2**31 + 1), operation=name, index_dtype="int32")
    assert explain((1, 2**31), operation=name, index_dtype="int32").route == "fallback"


def test_sort_with_indices_into_overlapping_outputs_raises():
    memory = np.zeros((2, 4), np.int32)
    with pytest.raises(ValueError, match=r"out: out\[0\] and out\[1\] share memory"):
        sort_with_indices(np.ones((2, 4), np.int32), out=(memory, memory))
    assert not memory.any()


def test_sort_with_indices_into_interleaved_outputs_equals_new_results():
    """Halves of one buffer, and fields of a structured array: their spans overlap."""
    rng = np.random.default_rng(12)
    for length in (1, 5, 40, LONG):
        x = oracle.random("int32", (4, length), rng)
        buffer = np.zeros((4, 2 * length), np.int32)
        fields = np.zeros((4, length), [("values", np.int32), ("indices", np.int64)])
        pairs = [
            (buffer[:, :length], buffer[:, length:]),
            (fields["values"], fields["indices"]),
        ]
        for values, indices in pairs:
            sort_with_indices(x, out=(values, indices))
            oracle.check_indices(x, indices, values)


def test_sort_with_indices_into_interleaved_tensors_equals_new_results():
    torch = pytest.importorskip("torch")
    x = oracle.random("int32", (4, 40), np.random.default_rng(13))
    buffer = torch.zeros((4, 80), dtype=torch.int32)
    sort_with_indices(torch.from_numpy(x), out=(buffer[:, :40], buffer[:, 40:]))
    oracle.check_indices(x, buffer[:, 40:].numpy(), buffer[:, :40].numpy())
    with pytest.raises(ValueError, match=r"out: out\[0\] and out\[1\] share memory"):
        sort_with_indices(torch.from_numpy(x), out=(buffer[:, :40], buffer[:, 39:79]))


def test_argsort_without_names_raises():
    with pytest.raises(TypeError, match=r"axis is given by name: argsort\(x, axis=1\)"):
        argsort(np.ones((2, 2)), 1)


def test_argsort_of_a_read_only_array_equals_the_oracle():
    x = oracle.random("float32", (5, 30), np.random.default_rng(8))
    x.flags.writeable = False
    check("argsort", x)
    check("sort_with_indices", x, 0)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int64", "bool", "float8_e5m2"])
def test_argsort_of_a_tensor_equals_that_of_an_array(name):
    torch = pytest.importorskip("torch")
    x = oracle.random(name, (6, 40), np.random.default_rng(9))
    dtype = getattr(torch, name)
    tensor = torch.from_numpy(oracle.bits(x).view(f"i{x.itemsize}")).view(dtype)
    indices = argsort(tensor, descending=True)
    assert indices.dtype == torch.int64
    np.testing.assert_array_equal(indices.numpy(), argsort(x, descending=True))
    values, indices = sort_with_indices(tensor.T, dim=0, index_dtype=torch.int32)
    assert values.dtype == dtype
    assert indices.dtype == torch.int32
    np.testing.assert_array_equal(indices.T.numpy(), argsort(x))
    picked = torch.take_along_dim(
        tensor.view(getattr(torch, f"int{8 * x.itemsize}")).T, indices.long(), 0
    )
    assert torch.equal(values.contiguous().view(picked.dtype), picked.contiguous())


@pytest.mark.parametrize(
    "index_dtype", ["int32", "i4", np.int32, np.dtype("int32"), np.intc, "torch", "jax"]
)
def test_argsort_takes_an_index_dtype_of_any_library(index_dtype):
    if index_dtype == "torch":
        index_dtype = pytest.importorskip("torch").int32
    elif index_dtype == "jax":
        index_dtype = pytest.importorskip("jax").numpy.int32
    assert argsort(np.float32([2, 1]), index_dtype=index_dtype).dtype == np.int32
    assert argsort(np.float32([2, 1]), index_dtype=int).dtype == np.int64


def test_argsort_of_a_tensor_that_requires_a_gradient_returns_indices():
    torch = pytest.importorskip("torch")
    x = torch.tensor([[2.0, 1.0]], requires_grad=True)
    assert argsort(x).tolist() == [[1, 0]]
    with pytest.raises(TypeError, match="x: it requires a gradient"):
        sort_with_indices(x)


def test_argsort_of_a_jax_array_has_jax_default_integer():
    jax = pytest.importorskip("jax")
    x = oracle.random("float32", (6, 40), np.random.default_rng(10))
    indices = argsort(jax.numpy.asarray(x))
    assert isinstance(indices, jax.Array)
    assert indices.dtype == ("int64" if jax.config.jax_enable_x64 else "int32")
    np.testing.assert_array_equal(np.asarray(indices), argsort(x))
    values, indices = sort_with_indices(jax.numpy.asarray(x), index_dtype="int32", nan="last")
    assert indices.dtype == np.int32
    oracle.check_indices(x, np.asarray(indices), np.asarray(values), nan="last")
    with np.errstate(invalid="ignore"):
        bfloat16 = jax.numpy.asarray(x.astype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(np.asarray(argsort(bfloat16)), argsort(np.asarray(bfloat16)))


def test_argsort_of_a_jax_array_follows_x64_between_calls():
    jax = pytest.importorskip("jax")
    context = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    x = jax.numpy.asarray(np.float32([[3, 1, 2]]))
    for enabled, dtype in [(False, np.int32), (True, np.int64), (False, np.int32)]:
        with context(enabled):
            indices = argsort(x)
            assert indices.dtype == dtype
            assert indices.tolist() == [[1, 2, 0]]
            assert argsort(x, index_dtype=dtype).dtype == dtype
    for function in (argsort, partial(explain, operation="argsort")):
        with pytest.raises(ValueError, match='index_dtype: JAX has int64 only.*Pass "int32"'):
            function(x, index_dtype="int64")


def test_argsort_of_a_dlpack_array_returns_its_kind():
    tvm_ffi = pytest.importorskip("tvm_ffi")
    x = oracle.random("float32", (6, 40), np.random.default_rng(11))
    values, indices = sort_with_indices(tvm_ffi.from_dlpack(x))
    oracle.check_indices(x, np.from_dlpack(indices), np.from_dlpack(values))


def test_explain_argsort_names_a_kernel_with_indices():
    said = explain((100, MAX_REGISTER_LENGTH), operation="argsort", dtype="int16")
    assert said.operation == "argsort"
    assert f"_all_index_integer16_registers{MAX_REGISTER_LENGTH}_rows_" in said.kernel
    assert str(said).startswith("argsort 100 rows of 32 int16")
    with pytest.raises(ValueError, match="operation: expected one of sort, argsort"):
        explain((2, 2), operation="rank")


def test_explain_argsort_says_how_its_rows_are_sorted():
    for dtype, words in [
        ("uint8", "each word of 32 bits holds a key and its index"),
        ("float32", "each word of 32 bits holds a prefix of a key and its index"),
        ("int64", "each word of 64 bits holds a prefix of a key and its index"),
    ]:
        assert words in explain((100, 9), operation="argsort", dtype=dtype).reason
    assert "the array's library inverts the indices" in explain((5, 9), operation="ranks").reason
    assert "np.argsort sorts their keys" in explain((2, LONG), operation="argsort").reason


@pytest.mark.parametrize(
    ("shape", "route"),
    [((3, 9), "kernel"), ((0, 9), "copy"), ((4, 1), "copy"), ((2, LONG), "fallback")],
)
def test_plan_of_indices_on_a_gpu_has_the_routes_of_a_sort(shape, route):
    for name, arch in [("cuda", "sm_90"), ("hip", "gfx942")]:
        strides = [(shape[1], 1)] * 2
        made = plan("all", "index", DTYPES["float32"], shape, strides, 1, target_of(name), arch)
        assert made.route == route


@pytest.mark.parametrize("axis", [0, 1])
def test_argsort_of_short_rows_with_one_or_two_nans_of_any_bits_is_stable(axis):
    rng = np.random.default_rng(6)
    nans = np.array([0x7F800001, 0x7F800002, 0x7F800040, 0x7FC00000, 0x7FFFFFFF], np.uint32)
    nans = np.concatenate([nans, nans | 0x80000000])
    for length in (2, 3, 8, 9, 25, 32):
        x = rng.standard_normal((200, length), np.float32)
        x[::3, 0] = np.inf
        x[::4, -1] = -np.inf
        bits, rows = x.view(np.uint32), np.arange(200)
        for _ in range(2):
            bits[rows, rng.integers(0, length, 200)] = rng.choice(nans, 200)
        x = x if axis else np.ascontiguousarray(x.T)
        for operation, order in zip(OPERATIONS * 2, ORDERS, strict=True):
            check(operation, x, axis, *order)
