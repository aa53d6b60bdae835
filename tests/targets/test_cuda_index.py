"""`argsort` and `sort_with_indices` on CUDA devices, against the oracle of the CPU's tests."""

import numpy as np
import pytest

from support import oracle
from support.covering import pairwise
from support.descriptions import gpu_cells
from support.device_arrays import TORCH, to_device, to_host, torch
from warp_bitonic_sort import argsort, explain, sort_with_indices

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("cuda_kernels")

ORDERS = [(False, "largest"), (False, "last"), (True, "largest"), (True, "last")]
LONGEST = 4096
LONG = 5000


def edges(bits):
    """Lengths at and around the capacity of every layout."""
    capacities = [r << lanes << warps for r, lanes, warps, _ in gpu_cells(bits, "sm_90", "index")]
    return sorted({n + d for n in capacities for d in (-3, -1, 0, 1) if 2 <= n + d <= LONGEST})


def check(x, order=(False, "largest"), axis=-1, index_dtype="int64", given=None):
    """Both operations, of x or of a view on the device that holds the same."""
    source = to_device(x) if given is None else given
    options = {"axis": axis, "descending": order[0], "nan": order[1], "index_dtype": index_dtype}
    values, indices = sort_with_indices(source, **options)
    oracle.check_indices(x, indices.cpu().numpy(), to_host(values, x.dtype), axis, *order)
    assert torch.equal(argsort(source, **options), indices)
    assert indices.dtype == getattr(torch, index_dtype)
    np.testing.assert_array_equal(oracle.bits(to_host(source, x.dtype)), oracle.bits(x))


@pytest.mark.parametrize("name", TORCH)
def test_argsort_at_the_edges_of_every_layout_equals_the_oracle(name):
    rng = np.random.default_rng(1)
    for i, length in enumerate(edges(np.dtype(oracle.ALL[name]).itemsize * 8)):
        rows = 1 + (37 if length < 2000 else 3) * (i % 3)
        x = oracle.random(name, (rows, length), rng)
        check(x, ORDERS[i % 4], index_dtype=("int32", "int64")[i % 2])


def hard(kind, rows, length, rng):
    """Rows of float32 that prefixes of 32 bits tell apart badly."""
    x = rng.standard_normal((rows, length)).astype(np.float32)
    if kind == "outlier":
        x[:, length // 2] = 1e30
    elif kind == "heavy tails":
        x /= rng.random(x.shape, np.float32) ** 3 + np.float32(1e-30)
    elif kind == "clusters":
        low = rng.integers(0, 1 << 16, x.shape).astype(np.float32) * np.float32(2**-23)
        x = np.where(x > 0, 1 + low, -1 - low)
    elif kind == "low bits":
        x = (1 + rng.integers(0, 1 << 10, x.shape) * 2.0**-23).astype(np.float32)
        x[:, 0], x[:, -1] = 3e38, -3e38
    elif kind == "subnormal":
        x *= np.float32(1e-42)
    elif kind == "reversed":
        x = -np.sort(-x)
    elif kind == "mostly -inf":
        x[rng.random(x.shape) < 0.9] = -np.inf
    elif kind == "zeros":
        x[rng.random(x.shape) < 0.5] = 0
        x[rng.random(x.shape) < 0.2] *= np.float32(-0.0)
    elif kind == "a NaN":
        x[:, length // 3] = np.nan
    elif kind == "equal":
        x[:] = 3
    return x


KINDS = ["normal", "outlier", "heavy tails", "clusters", "low bits", "subnormal", "reversed",
         "mostly -inf", "zeros", "a NaN", "equal"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_argsort_of_data_that_breaks_prefixes_equals_the_oracle(kind):
    rng = np.random.default_rng(2)
    for i, length in enumerate([16, 64, 100, 200, 512, 1024, 1500, 4096]):
        check(hard(kind, 70, length, rng), ORDERS[i % 4])


@pytest.mark.parametrize(
    ("name", "order", "length", "layout"),
    pairwise(list(TORCH), ORDERS, [3, 40, 64, 333, 1024],
             ["columns", "gaps", "reversed", "rows apart", "broadcast"]),
)  # fmt: skip
def test_argsort_of_views_equals_the_oracle(name, order, length, layout):
    x = oracle.random(name, (23, 2 * length), np.random.default_rng(3))[:, :length]
    if layout == "broadcast":
        x = np.broadcast_to(x[:1], x.shape)
    source = to_device(np.ascontiguousarray(x))
    if layout == "columns":
        given = source.t().contiguous().t()
    elif layout == "gaps":
        given = torch.stack([source, source], -1)[..., 1]
    elif layout == "reversed":
        given = torch.stack([source, source])[1].flip(0)
        x = x[::-1]
    elif layout == "rows apart":
        given = torch.cat([source, source], 1)[:, :length]
    else:
        given = source[:1].expand(source.shape)
    check(np.ascontiguousarray(x), order, given=given)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["int8", "float16", "float32", "int64"])
def test_argsort_along_every_axis_equals_the_oracle(name, axis):
    x = oracle.random(name, (33, 20, 65), np.random.default_rng(4))
    check(x, axis=axis)


@pytest.mark.parametrize("name", ["float16", "float32", "int64"])
@pytest.mark.parametrize("length", [5, 64, 300, 2048])
def test_sort_with_indices_into_out_leaves_bytes_around_out(name, length):
    x = oracle.random(name, (19, length), np.random.default_rng(5))
    source = to_device(x)
    wide = torch.zeros(19, length + 7, dtype=source.dtype, device="cuda")
    numbers = torch.full((19, length + 5), -1, dtype=torch.int32, device="cuda")
    out = (wide[:, 3 : 3 + length], numbers[:, 2 : 2 + length])
    sort_with_indices(source, out=out)
    oracle.check_indices(x, out[1].cpu().numpy(), to_host(out[0].contiguous(), x.dtype))
    assert not wide[:, :3].to(torch.bool).any()
    assert not wide[:, 3 + length :].to(torch.bool).any()
    assert (numbers[:, :2] == -1).all()
    assert (numbers[:, 2 + length :] == -1).all()


@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
@pytest.mark.parametrize("name", ["int8", "float16", "float32", "int64"])
def test_sort_with_indices_into_out_at_any_offset_equals_the_oracle(name, index_dtype):
    """Full rows too, whose vectors need aligned addresses."""
    for length, offset in ((16, 1), (64, 3), (1024, 2), (1024, 1)):
        x = oracle.random(name, (40, length), np.random.default_rng(8))
        source = to_device(x)
        size = x.size + offset
        values = torch.zeros(size, dtype=source.dtype, device="cuda")[offset:].view(x.shape)
        indices = torch.zeros(size, dtype=getattr(torch, index_dtype), device="cuda")
        indices = indices[offset:].view(x.shape)
        sort_with_indices(source, out=(values, indices))
        oracle.check_indices(x, indices.cpu().numpy(), to_host(values, x.dtype))
        sort_with_indices(source, out=(torch.empty_like(source), indices))
        oracle.check_indices(x, indices.cpu().numpy())


@pytest.mark.parametrize("length", [8, 100, 1024, 4000])
def test_sort_with_indices_in_place_equals_the_oracle(length):
    x = oracle.random("float32", (50, length), np.random.default_rng(6))
    source = to_device(x)
    indices = torch.empty(x.shape, dtype=torch.int64, device="cuda")
    sort_with_indices(source, out=(source, indices))
    oracle.check_indices(x, indices.cpu().numpy(), to_host(source, x.dtype))


@pytest.mark.parametrize("name", TORCH)
def test_argsort_of_rows_longer_than_kernels_take_equals_the_oracle(name):
    x = oracle.random(name, (3, LONG), np.random.default_rng(7))
    assert explain(to_device(x), operation="argsort").route == "fallback"
    for order in ORDERS:
        check(x, order)


def test_argsort_in_a_captured_graph_reads_what_is_there_at_replay():
    source = torch.randn(300, 64, device="cuda")
    argsort(source)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = argsort(source)
    source.copy_(torch.randn(300, 64, device="cuda"))
    graph.replay()
    assert torch.equal(result, torch.argsort(source, stable=True))


def test_argsort_on_two_streams_at_once_equals_torch():
    streams = [torch.cuda.Stream() for _ in range(2)]
    sources = [torch.randn(5000, 100, device="cuda") for _ in streams]
    torch.cuda.synchronize()
    results = []
    for stream, source in zip(streams, sources, strict=True):
        with torch.cuda.stream(stream):
            results.append(argsort(source))
    torch.cuda.synchronize()
    for source, result in zip(sources, results, strict=True):
        assert torch.equal(result, torch.argsort(source, stable=True))


def test_argsort_repeated_on_one_shape_equals_torch():
    """The third and later calls may repeat a remembered launch."""
    for dtype in ("int32", "int64"):
        for _ in range(5):
            source = torch.randn(100, 64, device="cuda")
            result = argsort(source, index_dtype=dtype)
            assert result.dtype == getattr(torch, dtype)
            assert torch.equal(result.long(), torch.argsort(source, stable=True))
            values, indices = sort_with_indices(source)
            assert torch.equal(indices, torch.argsort(source, stable=True))
            assert torch.equal(values, torch.sort(source).values)
