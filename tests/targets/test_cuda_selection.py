"""`top_k`, `kthvalue`, `median` and `quantile` on CUDA devices.

Results are compared with the oracle of the CPU's tests, with those of the CPU's kernels, and where
rows are many or long with torch.sort on the device.
"""

import numpy as np
import pytest

from support import numpy_quantiles, oracle
from support.covering import pairwise
from support.device_arrays import TORCH, WORDS, bits_to_device, to_device, to_host, torch
from support.selection_rows import KINDS, rows_of
from warp_bitonic_sort import kthvalue, median, quantile, top_k

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

NAMES = ["float32", "float16", "bfloat16", "float64", "int8", "uint8", "int32", "int64",
         "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]  # fmt: skip
LENGTHS = [1, 5, 25, 64, 100, 160, 256, 300, 384, 896, 1000, 1024, 4096, 5000, 16384, 20000, 40000]
COUNTS = [0, 1, 2, 4, 7, 8, 16, 31, 32, 50, 64, 100, 128, 256]
ORDERS = [(mode, nan) for mode in ("largest", "smallest") for nan in ("largest", "last")]
INDEX_DTYPES = ["int32", "int64"]
LAYOUTS = ["rows", "odd offset", "gaps", "rows apart", "columns", "first axis", "middle axis"]
# Calls that each kind of kernel may serve: (rows, length, k).
SHAPES = [(300, 64, 8), (300, 100, 100), (200, 300, 1), (100, 1024, 32), (60, 4096, 8),
          (40, 5000, 500), (20, 20000, 50), (1, 131072, 50)]  # fmt: skip


def counts(length):
    """Every k that is tested with rows of a length."""
    return sorted({k for k in (*COUNTS, length - 1, length) if k <= length})


def rows_in(length):
    return 35 if length <= 5000 else 10


def lay_out(x, layout):
    """Return a tensor on the device with the given rows, and the axis along which they lie."""
    words = bits_to_device(x)
    axis = -1
    if layout == "odd offset":
        words = torch.cat([words.reshape(-1)[:1], words.reshape(-1)])[1:].view(x.shape)
    elif layout == "gaps":
        words = torch.stack([words, words], -1)[..., 1]
    elif layout == "rows apart":
        words = torch.cat([words, words], 1)[:, : x.shape[1]]
    elif layout == "columns":
        words = words.t().contiguous().t()
    elif layout == "first axis":
        words, axis = words.t().contiguous(), 0
    elif layout == "middle axis":
        words, axis = words.view(5, -1, x.shape[1]).transpose(1, 2).contiguous(), 1
    return words.view(TORCH[x.dtype.name]), axis


def check_top_k(x, order, result, axis=-1, index_dtype="int64"):
    """Assert that a result has the first elements of rows, given the oracle's order of them."""
    k = result.indices.shape[axis]
    assert result.indices.dtype == getattr(torch, index_dtype)
    assert result.values.is_contiguous()
    assert result.indices.is_contiguous()
    values, indices = (each.movedim(axis, -1).reshape(len(x), k) for each in result)
    np.testing.assert_array_equal(indices.cpu().numpy(), order[:, :k])
    want = np.take_along_axis(oracle.bits(x), order[:, :k], -1)
    np.testing.assert_array_equal(oracle.bits(to_host(values, x.dtype)), want)


@pytest.mark.parametrize(
    ("name", "length", "kind", "layout"), pairwise(NAMES, LENGTHS, KINDS, LAYOUTS)
)
def test_top_k_of_every_k_and_order_equals_the_oracle(name, length, kind, layout):
    x = rows_of(kind, name, (rows_in(length), length), np.random.default_rng(length))
    source, axis = lay_out(x, layout)
    for at, (mode, nan) in enumerate(ORDERS):
        order = oracle.expected_indices(x, -1, mode == "largest", nan)
        options = {"axis": axis, "mode": mode, "nan": nan}
        for number, k in enumerate(counts(length)):
            index_dtype = INDEX_DTYPES[(at + number) % 2]
            result = top_k(source, k, index_dtype=index_dtype, **options)
            check_top_k(x, order, result, axis, index_dtype)
    after = source.movedim(axis, -1).reshape(x.shape)
    np.testing.assert_array_equal(oracle.bits(to_host(after, x.dtype)), oracle.bits(x))


@pytest.mark.parametrize(
    ("name", "length", "kind", "order"), pairwise(NAMES, [25, 100, 1024, 5000], KINDS[::3], ORDERS)
)
def test_top_k_unsorted_has_the_same_elements_at_every_call(name, length, kind, order):
    x = rows_of(kind, name, (rows_in(length), length), np.random.default_rng(1))
    source, (mode, nan) = to_device(x), order
    wanted = oracle.expected_indices(x, -1, mode == "largest", nan)
    for k in counts(length):
        first, again = (top_k(source, k, mode=mode, nan=nan, sorted=False) for _ in range(2))
        indices = first.indices.cpu().numpy()
        np.testing.assert_array_equal(np.sort(indices), np.sort(wanted[:, :k]))
        want = np.take_along_axis(oracle.bits(x), indices, -1)
        np.testing.assert_array_equal(oracle.bits(to_host(first.values, x.dtype)), want)
        assert torch.equal(first.indices, again.indices)


@pytest.mark.parametrize(
    ("name", "length", "kind", "layout", "index_dtype", "keepdims"),
    pairwise(NAMES, [1, 25, 300, 1024, 5000], KINDS[::2], LAYOUTS, INDEX_DTYPES, [False, True]),
)
def test_kthvalue_equals_the_oracle(name, length, kind, layout, index_dtype, keepdims):
    x = rows_of(kind, name, (rows_in(length), length), np.random.default_rng(2))
    source, axis = lay_out(x, layout)
    order = oracle.expected_indices(x)
    for k in {1, (length + 1) // 2, length}:
        result = kthvalue(source, k, axis=axis, keepdims=keepdims, index_dtype=index_dtype)
        assert result.indices.dim() == source.dim() - (not keepdims)
        values, indices = (each.reshape(-1) for each in result)
        np.testing.assert_array_equal(indices.cpu().numpy(), order[:, k - 1])
        want = np.take_along_axis(oracle.bits(x), order[:, k - 1 : k], -1)[:, 0]
        np.testing.assert_array_equal(oracle.bits(to_host(values, x.dtype)), want)


@pytest.mark.parametrize(
    ("name", "nan", "axis", "length", "method"),
    pairwise(
        numpy_quantiles.NAMES,
        numpy_quantiles.MODES,
        [0, -1, 1, (0, 2), None],
        [0, 1, 2, 9, 25, 49, 64, 100, 300, 1500, 3000],
        [*numpy_quantiles.METHODS, "median"],
        allowed=lambda name, *_: name in TORCH,
    ),
)
def test_medians_and_quantiles_equal_those_of_numpy_and_of_the_cpu(name, nan, axis, length, method):
    shape = [7, 5, 3]
    shape[{0: 0, 1: 1, -1: 2}.get(axis, 0)] = length
    x = numpy_quantiles.few(name, shape, np.random.default_rng(length))
    options = {"axis": axis, "nan": nan}
    if method == "median":
        host, result = median(x, **options), median(to_device(x), **options)
        expected = numpy_quantiles.expected_median(x, **options) if x.size else host
    else:
        options["method"] = method
        q = [0.0, 0.3, 0.5, 1.0]
        host, result = quantile(x, q, **options), quantile(to_device(x), q, **options)
        expected = numpy_quantiles.expected_quantile(x, q, **options) if x.size else host
    assert result.device.type == "cuda"
    result = to_host(result.contiguous(), host.dtype)
    numpy_quantiles.check(x, result, expected)
    is_nan = oracle.is_nan(host)
    np.testing.assert_array_equal(oracle.is_nan(result), is_nan)
    np.testing.assert_array_equal(oracle.bits(result)[~is_nan], oracle.bits(host)[~is_nan])


@pytest.mark.parametrize(
    ("name", "shape", "order"),
    pairwise(NAMES, [(40, 100, 8), (9, 1000, 1000), (4, 20000, 50)], ORDERS),
)
def test_selection_on_the_device_equals_that_on_the_cpu(name, shape, order):
    rows, length, k = shape
    x = to_device(oracle.random(name, (rows, length), np.random.default_rng(3)))
    host, (mode, nan) = x.cpu(), order
    calls = [
        lambda x: top_k(x, k, mode=mode, nan=nan),
        lambda x: top_k(x.t().contiguous(), k, axis=0, mode=mode, nan=nan),
        lambda x: kthvalue(x, k, nan=nan),
    ]
    for call in calls:
        (values, indices), (host_values, host_indices) = call(x), call(host)
        assert torch.equal(indices.cpu(), host_indices)
        word = WORDS[values.element_size()]
        assert torch.equal(values.cpu().view(word), host_values.view(word))


@pytest.mark.parametrize("shape", [(), (0, 9), (3, 0), (0, 0), (1, 1), (2, 0, 70)])
def test_selection_from_few_elements_has_the_right_shape(shape):
    x = torch.zeros(shape, device="cuda")
    length = shape[-1] if shape else 1
    for k in {0, length}:
        result = top_k(x, k)
        assert result.values.shape == result.indices.shape == (*shape[:-1], k)
        assert result.values.device == x.device
    if length:
        assert kthvalue(x, 1).indices.shape == shape[:-1]


# -- Many rows, long rows --------------------------------------------------------------------------


def expected_of_torch(x, k, mode="largest"):
    """The results of a stable sort on the device; without NaNs, both are the same."""
    values, indices = torch.sort(x, dim=-1, descending=mode == "largest", stable=True)
    return values[..., :k], indices[..., :k]


def assert_equals_torch(result, x, k, mode="largest"):
    for got, want in zip(result, expected_of_torch(x, k, mode), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("fill", ["normal", "ties", "equal", "masked", "sorted", "reversed"])
@pytest.mark.parametrize(
    ("rows", "length"),
    [(200_001, 64), (20_001, 1000), (301, 32768), (1, 131072), (8, 131072), (64, 131072),
     (3, 1_000_003)],
)  # fmt: skip
def test_top_k_of_many_or_long_rows_equals_torch(rows, length, fill):
    x = torch.randn(rows, length, device="cuda")
    if fill == "ties":
        x = (x * 3).round() + 0.0  # without -0.0
    elif fill == "equal":
        x[:] = 1
    elif fill == "masked":
        x[torch.rand_like(x) < 0.25] = -torch.inf
    elif fill in ("sorted", "reversed"):
        x = torch.sort(x, descending=fill == "reversed").values
    for k, mode in ((1, "largest"), (8, "smallest"), (50, "largest"), (1000, "largest")):
        assert_equals_torch(top_k(x, min(k, length), mode=mode), x, min(k, length), mode)


@pytest.mark.parametrize(
    ("name", "rows", "kind", "layout", "order"),
    pairwise(
        ["float32", "bfloat16", "int64", "uint8", "float8_e4m3fnuz"],
        [1, 3, 8, 9, 16, 17, 40],
        KINDS,
        LAYOUTS[:4],
        ORDERS,
    ),
)
def test_top_k_of_few_long_rows_equals_the_oracle(name, rows, kind, layout, order):
    """Several blocks of a cluster share a row."""
    x = rows_of(kind, name, (rows, 131_077), np.random.default_rng(rows))
    source, axis = lay_out(x, layout)
    mode, nan = order
    wanted = oracle.expected_indices(x, -1, mode == "largest", nan)
    for k in (1, 9, 50, 256):
        result = top_k(source, k, axis=axis, mode=mode, nan=nan)
        check_top_k(x, wanted, result, axis)


def test_top_k_of_more_than_2_to_the_31_elements_is_right():
    free, _ = torch.cuda.mem_get_info()
    rows, length, k = (1 << 31) // 64 + 3, 64, 2
    if free < 3 * rows * length:
        pytest.skip("not enough memory")
    x = torch.randint(-128, 128, (rows, length), dtype=torch.int8, device="cuda")
    values, indices = top_k(x, k, index_dtype="int32")
    assert torch.equal(values[:, 0], x.amax(1))
    for part in (slice(0, 1000), slice(-1000, None)):
        assert_equals_torch((values[part], indices[part].long()), x[part], k)
    del x, values, indices
    torch.cuda.empty_cache()


# -- Outputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["odd offset", "gaps", "columns", "in x"])
@pytest.mark.parametrize("index_dtype", INDEX_DTYPES)
@pytest.mark.parametrize(("rows", "length", "k"), SHAPES)
def test_top_k_into_out_leaves_memory_around_out(rows, length, k, index_dtype, place):
    x = torch.randn(rows, length, device="cuda")
    expected = expected_of_torch(x, k)
    around = [
        torch.full((rows + 2, k + 5), -7, dtype=dtype, device="cuda")
        for dtype in (x.dtype, getattr(torch, index_dtype))
    ]
    flat = [each.view(-1) for each in around]
    out = {
        "odd offset": [each[3 : 3 + rows * k].view(rows, k) for each in flat],
        "gaps": [each[1:-1, 3 : 3 + k] for each in around],
        "columns": [each[1 : 1 + rows * k].view(k, rows).t() for each in flat],
        "in x": [x[:, :k], around[1][1:-1, 3 : 3 + k]],
    }[place]
    result = top_k(x, k, out=tuple(out))
    assert result.values is out[0]
    assert result.indices is out[1]
    assert torch.equal(out[0], expected[0])
    assert torch.equal(out[1].long(), expected[1])
    for each in out:
        each.fill_(-7)
    assert all((each == -7).all() for each in around)


# -- Calls one after another, streams and graphs ---------------------------------------------------


@pytest.mark.parametrize("length", [64, 300, 1024, 5000, 20000])
def test_top_k_repeated_on_one_shape_with_other_arguments_equals_torch(length):
    """Later calls may repeat a remembered launch, which has to be that of the same arguments."""
    for k in (8, 9, 1, 8, length, 8, 7):
        for mode in ("largest", "smallest"):
            x = torch.randn(33, length, device="cuda")
            for index_dtype in INDEX_DTYPES:
                values, indices = top_k(x, k, mode=mode, index_dtype=index_dtype)
                assert indices.dtype == getattr(torch, index_dtype)
                assert_equals_torch((values, indices.long()), x, k, mode)
    x = torch.randn(33, length, device="cuda")
    x[:, length // 2] = torch.nan
    assert (top_k(x, 8).indices[:, 0] == length // 2).all()
    assert_equals_torch(top_k(x, 8, nan="last"), x.nan_to_num(-torch.inf), 8)


def test_top_k_in_the_current_stream_does_not_wait():
    for rows, length, k in SHAPES:
        x = torch.randn(rows, length, device="cuda")
        expected = expected_of_torch(x, k)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            # Afterwards kernels are loaded, and this stream has memory.
            top_k(x, k), median(x, nan="omit"), torch.zeros_like(x)
            side.synchronize()
            torch.cuda._sleep(100_000_000)
            y = torch.zeros_like(x)
            y.copy_(x)
            result = top_k(y, k)
            middle = median(y, nan="omit")
            assert not side.query(), "a selection waited for the stream"
        side.synchronize()
        for got, want in zip(result, expected, strict=True):
            assert torch.equal(got, want)
        assert torch.equal(middle, median(x))


def test_top_k_on_several_streams_at_once_equals_torch():
    """Streams share no workspace: rows are selected by several blocks each."""
    streams = [torch.cuda.Stream() for _ in range(4)]
    for rows, length, k in SHAPES:
        sources = [torch.randn(rows, length, device="cuda") for _ in streams]
        top_k(sources[0], k)
        torch.cuda.synchronize()
        results = [[] for _ in streams]
        for _ in range(10):
            for stream, source, made in zip(streams, sources, results, strict=True):
                with torch.cuda.stream(stream):
                    made.append(top_k(source, k))
        torch.cuda.synchronize()
        for source, made in zip(sources, results, strict=True):
            for result in made:
                assert_equals_torch(result, source, k)


@pytest.mark.parametrize(("rows", "length", "k"), SHAPES)
def test_selections_in_graphs_read_what_is_there_at_replay(rows, length, k):
    """Also rows that need another way than those of the capture, and two graphs at once."""
    sources = [torch.randn(rows, length, device="cuda") for _ in range(2)]
    numbers = torch.empty(rows, k, dtype=torch.int32, device="cuda")
    outputs = (torch.empty(rows, k, device="cuda"), numbers)
    top_k(sources[0], k)
    top_k(sources[0], k, out=outputs)
    median(sources[0])
    torch.cuda.synchronize()
    graphs, results = [torch.cuda.CUDAGraph() for _ in sources], []
    for graph, source in zip(graphs, sources, strict=True):
        with torch.cuda.graph(graph):
            results.append((top_k(source, k), median(source)))
            if source is sources[0]:
                top_k(source, k, out=outputs)
    streams = [torch.cuda.Stream() for _ in graphs]
    for fill in ("normal", "equal", "ties", "sorted", "normal"):
        for source in sources:
            source.normal_()
            if fill == "equal":
                source.fill_(2)
            elif fill == "ties":
                source.round_().add_(0.0)
            elif fill == "sorted":
                source.copy_(torch.sort(source).values)
        torch.cuda.synchronize()
        for graph, stream in zip(graphs, streams, strict=True):
            with torch.cuda.stream(stream):
                graph.replay()
        torch.cuda.synchronize()
        for source, (result, middle) in zip(sources, results, strict=True):
            assert_equals_torch(result, source, k)
            assert torch.equal(middle, median(source))
        assert torch.equal(outputs[0], results[0][0].values)
        assert torch.equal(outputs[1].long(), results[0][0].indices)


# -- Arrays of other libraries ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "order", "axis"), pairwise(
    ["float16", "float32", "float64", "uint8", "int64"], ORDERS, [0, -1]
))  # fmt: skip
def test_selection_from_cupy_arrays_equals_the_oracle(name, order, axis):
    cupy = pytest.importorskip("cupy")
    mode, nan = order
    for length, k in ((5, 2), (64, 8), (1000, 50), (5000, 5), (20000, 50)):
        x = oracle.random(name, (7, length) if axis else (length, 7), np.random.default_rng(4))
        values, indices = top_k(cupy.asarray(x), k, axis=axis, mode=mode, nan=nan)
        assert isinstance(values, cupy.ndarray)
        at = slice(0, k)
        oracle.check_selected(x, at, indices.get(), values.get(), axis, mode == "largest", nan)
        for nan_mode in numpy_quantiles.MODES:
            got = median(cupy.asarray(x), axis=axis, nan=nan_mode)
            assert isinstance(got, cupy.ndarray)
            np.testing.assert_allclose(
                got.get(), median(x, axis=axis, nan=nan_mode), rtol=0, atol=_flushed(name, length)
            )
    got = quantile(cupy.asarray(x), [0.1, 0.7], axis=axis, nan="omit")
    want = quantile(x, [0.1, 0.7], axis=axis, nan="omit")
    np.testing.assert_allclose(got.get(), want, rtol=0, atol=_flushed(name, length))


def _flushed(name, length):
    """What CuPy may flush to zero between its steps; where kernels find medians, nothing."""
    is_computed = name == "float32" and length > 16384
    return np.finfo(name).tiny if is_computed else 0


@pytest.mark.parametrize(("name", "order", "axis"), pairwise(
    ["float16", "bfloat16", "float32", "float8_e4m3fn", "uint8", "int32"], ORDERS, [0, -1]
))  # fmt: skip
def test_selection_from_jax_arrays_equals_the_oracle(name, order, axis):
    jax = pytest.importorskip("jax")
    try:
        device = jax.devices("cuda")[0]
    except RuntimeError as error:
        pytest.skip(f"JAX has no CUDA device: {error}")
    mode, nan = order
    for length, k in ((5, 2), (64, 8), (1000, 50), (5000, 5), (20000, 50)):
        x = oracle.random(name, (7, length) if axis else (length, 7), np.random.default_rng(5))
        array = jax.device_put(x, device)
        values, indices = top_k(array, k, axis=axis, mode=mode, nan=nan)
        assert values.devices() == indices.devices() == {device}
        oracle.check_selected(
            x, slice(0, k), np.asarray(indices).astype(np.int64), np.asarray(values), axis,
            mode == "largest", nan,
        )  # fmt: skip
        np.testing.assert_array_equal(oracle.bits(np.asarray(array)), oracle.bits(x))
        for nan_mode in () if name.startswith("float8") else numpy_quantiles.MODES:
            got = np.asarray(median(array, axis=axis, nan=nan_mode))
            want = median(x, axis=axis, nan=nan_mode).astype(got.dtype)
            np.testing.assert_array_equal(got.astype(np.float64), want.astype(np.float64))
