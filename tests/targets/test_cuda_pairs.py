"""`sort_pairs`, `ranks` and selections on CUDA devices, against the oracle of the CPU's tests.

And streams and graphs of all operations with indices.
"""

import numpy as np
import pytest

from support import oracle
from support.covering import pairwise
from support.descriptions import gpu_cells
from support.device_arrays import TORCH, to_device, to_host, torch
from warp_bitonic_sort import (
    argsort,
    explain,
    kthvalue,
    ranks,
    sort_pairs,
    sort_with_indices,
    top_k,
)
from warp_bitonic_sort.arrays import adapter_of
from warp_bitonic_sort.dtypes import DTYPES

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

ORDERS = [(False, "largest"), (False, "last"), (True, "largest"), (True, "last")]
LONG = 5000  # sorted by the fallback
PAYLOADS = ["bool", "bfloat16", "float32", "int64"]  # of 1, 2, 4 and 8 bytes


def arrays_of(keys, payloads, shape, seed=1):
    rng = np.random.default_rng(seed)
    return [oracle.random(name, shape, rng) for name in (keys, *payloads)]


def check_pairs(inputs, results, axis=-1, descending=False, nan="largest"):
    """Assert that tensors are the inputs at the oracle's indices of the first, bit for bit."""
    order = oracle.expected_indices(inputs[0], axis, descending, nan)
    for x, result in zip(inputs, results, strict=True):
        assert result.shape == x.shape
        got = to_host(result.contiguous(), x.dtype)
        want = np.take_along_axis(oracle.bits(x), order, axis)
        np.testing.assert_array_equal(oracle.bits(got), want)


def expected_ranks(x, axis=-1, descending=False, nan="largest"):
    """The inverse of the oracle's indices."""
    order = oracle.expected_indices(x, axis, descending, nan)
    return np.argsort(order, axis=axis, kind="stable")


@pytest.mark.parametrize(
    ("keys", "payload", "order", "axis", "length"),
    pairwise(list(TORCH), PAYLOADS, ORDERS, [0, -1], [1, 40, 300, 1500, LONG]),
)
def test_sort_pairs_of_one_payload_equals_the_oracle(keys, payload, order, axis, length):
    inputs = arrays_of(keys, [payload], (7, length) if axis else (length, 7))
    sources = [to_device(x) for x in inputs]
    result = sort_pairs(*sources, axis=axis, descending=order[0], nan=order[1])
    check_pairs(inputs, result, axis, *order)
    for x, source in zip(inputs, sources, strict=True):
        np.testing.assert_array_equal(oracle.bits(to_host(source, x.dtype)), oracle.bits(x))


@pytest.mark.parametrize("length", [24, 700])
def test_sort_pairs_of_a_tuple_of_payloads_equals_the_oracle(length):
    inputs = arrays_of("float32", PAYLOADS, (33, length))
    keys, *payloads = map(to_device, inputs)
    result = sort_pairs(keys, tuple(payloads), descending=True)
    assert type(result.values) is tuple
    check_pairs(inputs, [result.keys, *result.values], descending=True)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("place", ["new", "inputs", "each other's", "gaps"])
def test_sort_pairs_into_out_equals_the_oracle(place, payload):
    inputs = arrays_of("float32", [payload, "float32"], (21, 130))
    keys, first, second = map(to_device, inputs)
    wide = [torch.zeros(21, 137, dtype=x.dtype, device="cuda") for x in (keys, first, second)]
    out = {
        "new": [torch.empty_like(x) for x in (keys, first, second)],
        "inputs": [keys, first, second],
        "each other's": [second, first, keys],
        "gaps": [x[:, 3:133] for x in wide],
    }[place]
    result = sort_pairs(keys, (first, second), out=(out[0], tuple(out[1:])))
    assert result.keys is out[0]
    assert all(a is b for a, b in zip(result.values, out[1:], strict=True))
    check_pairs(inputs, out)
    for around in wide:
        assert not around[:, :3].to(torch.bool).any()
        assert not around[:, 133:].to(torch.bool).any()


@pytest.mark.parametrize("payload", ["int32", "float32", "int64", "float64"])
@pytest.mark.parametrize("keys", ["float32", "float16", "float64", "int64", "uint8"])
def test_sort_pairs_of_every_layout_equals_the_oracle(keys, payload):
    """Full and padded rows, and rows of equal, rising and clustered keys."""
    bits, value_bits = DTYPES[keys].bits, DTYPES[payload].bits
    cells = gpu_cells(bits, "sm_80", f"value{value_bits}")
    for registers, lane_bits, warp_bits, _ in cells:
        capacity = registers << lane_bits << warp_bits
        for length in (capacity, capacity - 1):
            inputs = arrays_of(keys, [payload], (40 if length < 1000 else 8, length), length)
            x = inputs[0]
            x[0] = x[0, 0]
            x[1] = np.sort(x[1])
            x[2, 1:-1] = x[2, 0]
            order = ORDERS[length % 4]
            sources = [to_device(each) for each in inputs]
            check_pairs(inputs, sort_pairs(*sources, descending=order[0], nan=order[1]), -1, *order)
            said = explain(sources[0], operation="sort_pairs")
            assert value_bits != 32 or (said.open and "_value32_" in said.kernel)


@pytest.mark.parametrize("payload", ["float32", "int64"])
@pytest.mark.parametrize("length", [25, 128, 700])
@pytest.mark.parametrize(
    "place", ["new", "inputs", "keys alone", "values alone", "each other's", "beside", "gaps"]
)
def test_sort_pairs_of_one_payload_into_out_equals_the_oracle(place, length, payload):
    """Twice, because the second call is prepared."""
    keys_dtype = "float32" if payload == "float32" else "float64"
    inputs = arrays_of(keys_dtype, [payload], (21, length))
    for _ in range(2):
        room = [torch.zeros(25, length, dtype=to_device(x).dtype, device="cuda") for x in inputs]
        sources = [around[1:22] for around in room]
        for source, x in zip(sources, inputs, strict=True):
            source.copy_(to_device(x))
        keys, values = sources
        fresh = [torch.empty_like(source) for source in sources]
        wide = [torch.zeros(21, length + 7, dtype=x.dtype, device="cuda") for x in sources]
        out = {
            "new": fresh,
            "inputs": [keys, values],
            "keys alone": [keys, fresh[1]],
            "values alone": [fresh[0], values],
            "each other's": [values.view(keys.dtype), keys.view(values.dtype)],
            "beside": [around[3:24] for around in room],  # overlaps its input
            "gaps": [around[:, 3:-4] for around in wide],
        }[place]
        result = sort_pairs(keys, values, out=tuple(out))
        assert result.keys is out[0]
        assert result.values is out[1]
        check_pairs(inputs, out)
        for around in wide:
            assert not around[:, :3].to(torch.bool).any()
            assert not around[:, -4:].to(torch.bool).any()


@pytest.mark.parametrize("payload", ["uint32", "float64"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("layouts", ["both dense", "gaps", "turned", "offset", "expanded"])
def test_sort_pairs_of_arrays_of_any_strides_equals_the_oracle(layouts, axis, payload):
    inputs = arrays_of("float32", [payload], (6, 40, 9))
    if layouts == "expanded":
        inputs = [np.broadcast_to(x[:1], x.shape).copy() for x in inputs]
    sources = [to_device(x) for x in inputs]
    if layouts == "gaps":
        sources[0] = torch.cat([sources[0]] * 2, dim=-1)[..., :9]
    elif layouts == "turned":
        sources[1] = sources[1].permute(2, 0, 1).contiguous().permute(1, 2, 0)
    elif layouts == "offset":
        flat = torch.empty(sources[1].numel() + 1, dtype=sources[1].dtype, device="cuda")
        sources[1] = flat[1:].view(sources[1].shape).copy_(sources[1])
    elif layouts == "expanded":
        sources = [source[:1].expand(source.shape) for source in sources]
    for _ in range(2):
        check_pairs(inputs, sort_pairs(*sources, axis=axis), axis)


class Subclass(torch.Tensor):
    pass


def test_relaunch_of_pairs_serves_equal_layouts_only():
    keys = torch.rand(43, 79, device="cuda")
    values = torch.arange(keys.numel(), dtype=torch.int32, device="cuda").view(keys.shape)
    for _ in range(3):
        sort_pairs(keys, values)
    relaunch = adapter_of(keys).relaunch_pairs
    options = (-1, False, False)
    for x in (keys, torch.rand_like(keys)):
        order = torch.argsort(x, stable=True)
        result = relaunch(x, values, options)
        assert torch.equal(result[0], x.gather(-1, order))
        assert torch.equal(result[1], values.gather(-1, order))
    for other_keys, other_values in (
        (keys[:3], values[:3]),
        (keys.double(), values),
        (keys, values.double()),
        (keys, values.short()),
        (keys, values.view(torch.float32)),
        (keys, values.cpu()),
        (keys, values.cpu().numpy()),
        (keys, values.as_subclass(Subclass)),
        (keys, torch.zeros(43, 80, dtype=torch.int32, device="cuda")[:, 1:]),
        (keys.clone().requires_grad_(), values),
    ):
        assert relaunch(other_keys, other_values, options) is None
    assert relaunch(keys, values, (-1, True, False)) is None
    assert relaunch(keys, values, (-1, False, True)) is None
    with torch.autograd.forward_ad.dual_level():
        assert relaunch(keys, values, options) is None
    # What is refused is refused as before.
    with pytest.raises(TypeError, match="^keys: it requires a gradient"):
        sort_pairs(keys.clone().requires_grad_(), values)
    with pytest.raises(ValueError, match="^values: expected keys' device"):
        sort_pairs(keys, values.cpu())
    with pytest.raises(TypeError, match="^values: expected a plain torch.Tensor"):
        sort_pairs(keys, values.as_subclass(Subclass))


@pytest.mark.parametrize(
    ("name", "order", "axis", "length", "index_dtype"),
    pairwise(list(TORCH), ORDERS, [0, -1], [1, 40, 300, 1500, LONG], ["int32", "int64"]),
)
def test_ranks_equal_the_inverse_of_the_oracles_indices(name, order, axis, length, index_dtype):
    (x,) = arrays_of(name, [], (7, length) if axis else (length, 7))
    result = ranks(
        to_device(x), axis=axis, descending=order[0], nan=order[1], index_dtype=index_dtype
    )
    assert result.dtype == getattr(torch, index_dtype)
    np.testing.assert_array_equal(result.cpu().numpy(), expected_ranks(x, axis, *order))


@pytest.mark.parametrize(
    ("name", "order", "axis", "length", "k", "index_dtype"),
    pairwise(
        list(TORCH), ORDERS, [0, -1], [1, 40, 300, 1500, LONG], ["one", "some", "all"],
        ["int32", "int64"],
    ),
)  # fmt: skip
def test_selection_equals_positions_of_the_oracle(name, order, axis, length, k, index_dtype):
    (x,) = arrays_of(name, [], (7, length) if axis else (length, 7))
    k = {"one": 1, "some": (length + 1) // 3 + 1, "all": length}[k]
    k = min(k, length)
    options = {"axis": axis, "nan": order[1], "index_dtype": index_dtype}
    mode = "largest" if order[0] else "smallest"
    values, indices = top_k(to_device(x), k, mode=mode, **options)
    assert values.is_contiguous()
    assert values.untyped_storage().nbytes() == values.nbytes
    assert indices.dtype == getattr(torch, index_dtype)
    host = indices.cpu().long().numpy()
    oracle.check_selected(x, slice(0, k), host, to_host(values, x.dtype), axis, *order)
    values, indices = kthvalue(to_device(x), k, **options)
    host = indices.cpu().long().numpy()
    oracle.check_selected(x, k - 1, host, to_host(values, x.dtype), axis)


def test_top_k_into_out_on_a_device_equals_the_oracle():
    (x,) = arrays_of("float32", [], (7, 300))
    out = (torch.empty(7, 8, device="cuda"), torch.empty(7, 8, dtype=torch.int32, device="cuda"))
    result = top_k(to_device(x), 8, out=out)
    assert result.values is out[0]
    host = out[1].cpu().long().numpy()
    oracle.check_selected(x, slice(0, 8), host, to_host(out[0], x.dtype), -1, True)
    with pytest.raises(ValueError, match=r"^out\[0\]: expected the result's device"):
        top_k(to_device(x), 8, out=(out[0].cpu(), out[1]))


def test_selection_from_a_tensor_of_tvm_ffi_on_a_device_raises():
    tvm_ffi = pytest.importorskip("tvm_ffi")
    x = tvm_ffi.from_dlpack(torch.randn(7, 40, device="cuda"))
    for select in (top_k, kthvalue):
        with pytest.raises(
            NotImplementedError, match="^x: on a device, (top_k|kthvalue) takes arrays of"
        ):
            select(x, 3)
    assert tuple(top_k(x, 0).values.shape) == (7, 0)


# -- streams and graphs ----------------------------------------------------------------------------


def every_operation(x, payload):
    """The results of all operations with indices."""
    return [
        *sort_with_indices(x),
        argsort(x),
        ranks(x),
        *sort_pairs(x, payload),
        *top_k(x, 5, mode="smallest"),
        *kthvalue(x, 3),
    ]


def expected_of_torch(x, payload):
    values, indices = torch.sort(x, stable=True)
    return [
        values,
        indices,
        indices,
        torch.argsort(indices, stable=True),
        values,
        payload.gather(-1, indices),
        values[:, :5],
        indices[:, :5],
        values[:, 2],
        indices[:, 2],
    ]


def assert_all_equal(results, expected):
    for result, want in zip(results, expected, strict=True):
        assert torch.equal(result, want)


def test_operations_with_indices_run_behind_what_their_stream_does_before():
    fresh = [torch.randn(2000, 90, device="cuda") for _ in range(3)]
    payload = torch.randn(2000, 90, device="cuda")
    streams = [torch.cuda.Stream() for _ in fresh]
    sources = [torch.zeros_like(x) for x in fresh]
    every_operation(sources[0], payload)  # kernels are built and loaded
    torch.cuda.synchronize()
    results = []
    for stream, source, x in zip(streams, sources, fresh, strict=True):
        with torch.cuda.stream(stream):
            torch.cuda._sleep(20_000_000)  # some 10 ms: until then the source is zero
            source.copy_(x)
            results.append(every_operation(source, payload))
    torch.cuda.synchronize()
    for x, each in zip(fresh, results, strict=True):
        assert_all_equal(each, expected_of_torch(x, payload))


@pytest.mark.parametrize("length", [8, 64, 300, 2048])
def test_operations_with_indices_in_a_graph_read_what_is_there_at_replay(length):
    x, payload = (torch.randn(100, length, device="cuda") for _ in range(2))
    values, indices = torch.empty_like(x), torch.empty(x.shape, dtype=torch.int32, device="cuda")
    every_operation(x, payload)
    sort_with_indices(x, out=(values, indices))
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = every_operation(x, payload)
        sort_with_indices(x, out=(values, indices))
    for seed in range(2):
        generator = torch.Generator("cuda").manual_seed(seed)
        x.normal_(generator=generator)
        payload.normal_(generator=generator)
        graph.replay()
        expected = expected_of_torch(x, payload)
        assert_all_equal(results, expected)
        assert_all_equal([values, indices.long()], expected[:2])


# -- CuPy ------------------------------------------------------------------------------------------


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


@pytest.mark.parametrize(
    ("name", "order", "axis", "length"),
    pairwise(["float16", "float32", "float64", "int8", "uint16", "int32", "uint64"], ORDERS,
             [0, -1], [1, 40, 300, LONG]),
)  # fmt: skip
def test_operations_with_indices_of_cupy_arrays_equal_the_oracle(cupy, name, order, axis, length):
    inputs = arrays_of(name, ["int8", "float64"], (7, length) if axis else (length, 7))
    x, *payloads = map(cupy.asarray, inputs)
    options = {"axis": axis, "descending": order[0], "nan": order[1]}
    expected = oracle.expected_indices(inputs[0], axis, *order)
    values, indices = sort_with_indices(x, **options)
    oracle.check_indices(inputs[0], indices.get(), values.get(), axis, *order)
    np.testing.assert_array_equal(argsort(x, index_dtype="int32", **options).get(), expected)
    np.testing.assert_array_equal(
        ranks(x, **options).get(), expected_ranks(inputs[0], axis, *order)
    )
    mode = "largest" if order[0] else "smallest"
    values, indices = top_k(x, length, axis=axis, mode=mode, nan=order[1])
    oracle.check_indices(inputs[0], indices.get(), values.get(), axis, *order)
    values, indices = kthvalue(x, 1, axis=axis)
    oracle.check_selected(inputs[0], 0, indices.get(), values.get(), axis)
    result = sort_pairs(x, tuple(payloads), **options)
    for given, got in zip(inputs, [result.keys, *result.values], strict=True):
        assert isinstance(got, cupy.ndarray)
        want = np.take_along_axis(oracle.bits(given), expected, axis)
        np.testing.assert_array_equal(oracle.bits(got.get()), want)


def test_operations_with_indices_of_cupy_arrays_run_in_the_current_stream(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        x = cupy.random.random((1000, 100), dtype=cupy.float32)
        values, indices = sort_with_indices(x)
        rank = ranks(x)
        sorted_keys, payload = sort_pairs(x, -x)
    stream.synchronize()
    host = x.get()
    order = np.argsort(host, axis=-1, kind="stable")
    want = np.take_along_axis(host, order, -1)
    np.testing.assert_array_equal(indices.get(), order)
    np.testing.assert_array_equal(rank.get(), np.argsort(order, axis=-1))
    for got, expected in ((values, want), (sorted_keys, want), (payload, -want)):
        np.testing.assert_array_equal(got.get(), expected)
