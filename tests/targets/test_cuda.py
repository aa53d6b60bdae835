"""`sort` on CUDA devices, against the oracle of the CPU's tests.

Every test here needs a device; test_cuda_build.py needs only nvcc.
"""

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

from support import oracle
from support.descriptions import gpu_cells
from support.device_arrays import TORCH, check, to_device, to_host, torch
from warp_bitonic_sort import arrays, explain, sort, warp_bitonic_sort
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.targets.cpu.layouts import MAX_LENGTH

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("cuda_kernels")

ORDERS = [(False, "largest"), (False, "last"), (True, "largest"), (True, "last")]
EDGES = sorted(
    {
        edge + d
        for bits in (16, 32, 64)
        for registers, lane_bits, warp_bits, _ in gpu_cells(bits, "sm_90")
        for edge in [registers << lane_bits << warp_bits]
        for d in (-3, -1, 0, 1)
        if 2 <= edge + d <= MAX_LENGTH
    }
)


@pytest.mark.parametrize("name", TORCH)
def test_sort_at_the_edges_of_every_layout_equals_the_oracle(name):
    rng = np.random.default_rng(1)
    for i, length in enumerate(EDGES):
        rows = 1 + (37 if length < 2000 else 3) * (i % 3)
        x = oracle.random(name, (rows, length), rng)
        order = ORDERS[i % 4]
        result = sort(to_device(x), descending=order[0], nan=order[1])
        check(x, result, -1, *order)


@pytest.mark.parametrize("name", TORCH)
def test_sort_of_short_rows_in_every_order_equals_the_oracle(name):
    rng = np.random.default_rng(2)
    for length in range(1, 70):
        x = oracle.random(name, (67, length), rng)
        for order in ORDERS:
            check(x, sort(to_device(x), descending=order[0], nan=order[1]), -1, *order)


@pytest.mark.parametrize("name", TORCH)
def test_sort_of_columns_at_the_edges_of_every_layout_equals_the_oracle(name):
    rng = np.random.default_rng(11)
    for i, length in enumerate(edge for edge in EDGES if edge < 1100):
        columns = (4, 5, 33, 130)[i % 4]
        x = oracle.random(name, (length, columns), rng)
        order = ORDERS[i % 4]
        source = to_device(x)
        check(x, sort(source, axis=0, descending=order[0], nan=order[1]), 0, *order)
        # Into columns a gap apart, and out of them.
        wide = torch.zeros(length, columns + 3, dtype=source.dtype, device="cuda")
        out = wide[:, 1 : columns + 1]
        sort(source, axis=0, out=out)
        check(x, out, 0)
        assert not wide[:, 0].to(torch.bool).any()
        assert not wide[:, columns + 1 :].to(torch.bool).any()
        check(to_host(out, x.dtype), sort(out, axis=0, descending=True), 0, True)
        assert sort(source, axis=0, out=source) is source
        check(x, source, 0)


@pytest.mark.parametrize("name", TORCH)
def test_sort_of_unaligned_short_rows_leaves_their_neighbours(name):
    """Contiguous rows that do not fill 16-byte accesses, at every alignment."""
    rng = np.random.default_rng(12)
    for length in range(2, 68):
        for offset, rows in ((0, 1), (1, 7), (3, 64), (5, 259)):
            flat = oracle.random(name, (rows * length + 16,), rng)
            source = to_device(flat)
            whole = torch.full_like(source, 1)
            window = slice(offset, offset + rows * length)
            out = whole[window].view(rows, length)
            sort(source[window].view(rows, length), out=out)
            check(flat[window].reshape(rows, length), out)
            assert (whole[:offset] == 1).all()
            assert (whole[offset + rows * length :] == 1).all()


def test_sort_of_long_columns_is_transposed_by_the_library():
    x = oracle.random("float32", (1500, 3, 40), np.random.default_rng(13))
    source = to_device(x)
    assert "a copy with the axis last is taken" in explain(source, axis=0).reason
    for order in ORDERS:
        check(x, sort(source, axis=0, descending=order[0], nan=order[1]), 0, *order)
    sort(source, axis=0, out=source)
    check(x, source, 0)


@pytest.mark.parametrize("name", ["int8", "float16", "float32", "int64"])
@pytest.mark.parametrize("length", [5, 40, 300, 1500])
def test_sort_of_views_along_every_axis_equals_the_oracle(name, length):
    rng = np.random.default_rng(3)
    x = oracle.random(name, (5, length + 3, 7), rng)
    tensor = to_device(x)
    for view in (
        lambda t: t[:, 1 : length + 1, :],
        lambda t: t[:, 3:, 2:4],
        lambda t: t[::2, :length, ::3],
        lambda t: t.flip(1) if not hasattr(t, "strides") else np.flip(t, 1),
    ):
        a = view(x)
        b = view(tensor)
        for axis in range(3):
            check(a, sort(b, axis=axis), axis)
    flat = to_device(x.reshape(-1))
    for offset in (1, 2, 3):
        window = flat[offset : offset + 4 * length].reshape(4, length)
        check(x.reshape(-1)[offset : offset + 4 * length].reshape(4, length), sort(window))
    expanded = to_device(x[0, :, 0]).expand(6, length + 3)
    check(np.broadcast_to(x[0, :, 0], (6, length + 3)), sort(expanded))


@pytest.mark.parametrize("name", ["uint8", "bfloat16", "int32", "float64"])
@pytest.mark.parametrize("length", [3, 25, 100, 1000, 4000])
def test_sort_into_poisoned_out_writes_all_of_it_and_nothing_else(name, length):
    """Bytes around out stay, every byte of it is written, and x is not."""
    rng = np.random.default_rng(4)
    x = oracle.random(name, (11, length), rng)
    source = to_device(x)
    for offset, gap in ((0, 0), (1, 0), (3, 5)):
        size = x.dtype.itemsize
        pitch = length + gap
        around = torch.full(((11 * pitch + 64) * size,), 0x5A, dtype=torch.uint8, device="cuda")
        whole = around[(16 + offset) * size :][: 11 * pitch * size].view(TORCH[name])
        out = whole.reshape(11, pitch)[:, :length]
        assert sort(source, out=out) is out
        check(x, out)
        around = around.cpu().numpy()
        inside = np.zeros(around.shape, bool)
        start = (16 + offset) * size
        for row in range(11):
            inside[start + row * pitch * size :][: length * size] = True
        assert (around[~inside] == 0x5A).all(), "bytes around the rows"
    assert np.array_equal(oracle.bits(to_host(source, x.dtype)), oracle.bits(x)), "x was written"


@pytest.mark.parametrize("length", [4, 33, 260, 3000])
def test_sort_in_place_or_into_overlapping_out_equals_the_oracle(length):
    rng = np.random.default_rng(5)
    x = oracle.random("float32", (20, length), rng)
    tensor = to_device(x)
    assert sort(tensor, out=tensor) is tensor
    check(x, tensor)
    memory = to_device(x)
    sort(memory[:-1], out=memory[1:])
    check(x[:-1], memory[1:])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 5), (5, 0), (3, 0, 4), (4, 1), (1, 4)])
def test_sort_of_small_shapes_equals_the_oracle(shape):
    x = oracle.random("float32", shape, np.random.default_rng(6))
    result = sort(to_device(x))
    assert tuple(result.shape) == shape
    assert result.device.type == "cuda"
    check(x, result) if x.size else None


@pytest.mark.parametrize("name", TORCH)
def test_sort_of_rows_longer_than_any_kernel_falls_back(name):
    x = oracle.random(name, (3, MAX_LENGTH + 5), np.random.default_rng(7))
    tensor = to_device(x)
    assert explain(tensor).route == "fallback"
    for order in ORDERS:
        check(x, sort(tensor, descending=order[0], nan=order[1]), -1, *order)


def test_sort_of_many_batch_dimensions_equals_the_oracle():
    x = oracle.random("int32", (2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 9), np.random.default_rng(8))
    tensor = to_device(x)
    check(np.swapaxes(x, 1, 8), sort(tensor.transpose(1, 8)))
    order = (9, 7, 5, 3, 1, 10, 8, 6, 4, 2, 0)
    check(x.transpose(order), sort(tensor.permute(order), axis=5), 5)


def test_sort_of_more_than_2_to_the_31_elements_is_right():
    free, _ = torch.cuda.mem_get_info()
    rows, length = (1 << 31) // 8 + 3, 8
    if free < 3 * rows * length:
        pytest.skip("not enough memory")
    x = torch.randint(-128, 128, (rows, length), dtype=torch.int8, device="cuda")
    tail = x[-5:].clone()
    result = sort(x)
    assert torch.equal(result[-5:], torch.sort(tail, dim=-1).values)
    assert bool((result[:, 1:] >= result[:, :-1]).all())
    assert torch.equal(x[: 1 << 20].sum(1), result[: 1 << 20].sum(1))
    del x, result
    gc.collect()
    torch.cuda.empty_cache()


_RELAUNCH = """
import torch
from warp_bitonic_sort import argsort, arrays, sort, sort_with_indices, top_k

x = torch.rand(40, 77, device="cuda")
sort(x)
assert arrays.adapter_of(x).relaunch is None, "more was done for one sort than it needs"
sort(x)
relaunch = arrays.adapter_of(x).relaunch
assert relaunch is not None

def values(x, options):
    outputs = relaunch("none", True, x, options, None, None)
    return None if outputs is None else outputs[0]

for like in (torch.rand_like(x), torch.rand(41, 77, device="cuda")[1:]):
    assert torch.equal(values(like, (-1, False, False)), torch.sort(like).values)
    assert torch.equal(values(like, (1, False, False)), torch.sort(like).values)
strided = torch.rand(40, 78, device="cuda")[:, 1:]
for other, axis, descending in ((x, -1, True), (x, 0, False), (x.double(), -1, False),
                                (strided, -1, False), (x[:3], -1, False)):
    assert values(other, (axis, descending, False)) is None
assert relaunch("index", False, x, (-1, False, False), "int64", None) is None
for _ in range(2):
    argsort(x, index_dtype="int32"), sort_with_indices(x)
order = torch.argsort(x, stable=True)
(only,) = relaunch("index", False, x, (-1, False, False), "int32", None)
assert only.dtype == torch.int32 and torch.equal(only.long(), order)
keys, index = relaunch("index", True, x, (-1, False, False), "int64", None)
assert torch.equal(keys, torch.sort(x).values) and torch.equal(index, order)
assert relaunch("index", True, x, (-1, False, False), "int32", None) is None
for _ in range(2):
    top_k(x, 8)
found = relaunch("index", True, x, (-1, True, False), "int64", 8)
for each, whole in zip(found, torch.sort(x, descending=True, stable=True)):
    assert torch.equal(each, whole[:, :8])
assert relaunch("index", True, x, (-1, True, False), "int64", 9) is None
assert values(x, (-1, False, True)) is None
assert values(x.requires_grad_(), (-1, False, False)) is None
try:
    sort(x)
except TypeError as error:
    assert "requires a gradient" in str(error)
else:
    raise AssertionError("a gradient was lost")
with torch.no_grad():
    assert torch.equal(sort(x), torch.sort(x).values)
"""


def test_relaunch_of_other_layouts_returns_none():
    """The launch cache serves tensors of the same layout, and no others.

    In a process of its own: a runtime remembers so many layouts, and no more.
    """
    subprocess.run([sys.executable, "-c", _RELAUNCH], check=True)


def test_sort_in_a_torch_transform_after_remembered_sorts_raises():
    """It has the same shape and strides as one sorted before, and other values."""
    x = torch.rand(6, 5, 33, device="cuda")
    for _ in range(2):
        sort(x[0])
    assert arrays.adapter_of(x).relaunch is not None
    for transform in (torch.func.vmap, torch.func.grad, torch.func.functionalize):
        with pytest.raises(TypeError, match="a torch.func transform|requires a gradient"):
            transform(lambda x: sort(x).sum())(x if transform is torch.func.vmap else x[0])
    with torch.autograd.forward_ad.dual_level(), pytest.raises(TypeError, match="dual tensor"):
        sort(torch.autograd.forward_ad.make_dual(x[0], torch.ones_like(x[0])))


def test_relaunch_after_sorts_of_a_parameter_is_found(monkeypatch):
    """Whether sorts can be remembered is found out with the second, whatever it is of."""
    x = torch.nn.Parameter(torch.rand(9, 31, device="cuda"))
    adapter = arrays.adapter_of(x)
    monkeypatch.setattr(adapter, "relaunch", None)
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(sort(x), torch.sort(x).values)
    assert adapter.relaunch is not None


def test_sort_runs_in_the_current_stream_without_waiting():
    """The kernel runs in torch's current stream: behind work that is slow, without waiting."""
    x = torch.rand(1 << 14, 100, device="cuda")
    sort(x)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)
        y = torch.full_like(x, 3.0)
        y.copy_(x)
        result = sort(y)
        assert not side.query(), "sort waited for the stream"
        expected = torch.sort(y, dim=-1).values
    side.synchronize()
    assert torch.equal(result, expected)


def test_sort_captured_into_a_graph_is_replayed():
    x = torch.rand(500, 60, device="cuda")
    out = torch.empty_like(x)
    sort(x, out=out)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sort(x, out=out)
    for _ in range(3):
        x.copy_(torch.rand_like(x))
        graph.replay()
        assert torch.equal(out, torch.sort(x, dim=-1).values)


def test_later_sorts_captured_into_a_graph_are_replayed():
    """The second call finds out whether sorts can be remembered; the third is remembered."""
    x = torch.rand(500, 61, device="cuda")
    sort(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = [sort(x), sort(x)]
    for _ in range(3):
        x.copy_(torch.rand_like(x))
        graph.replay()
        for result in results:
            assert torch.equal(result, torch.sort(x, dim=-1).values)


@pytest.mark.usefixtures("nothing_open")
def test_sort_that_needs_a_build_during_capture_raises():
    x = torch.zeros(4, 3001, dtype=torch.int16, device="cuda")
    out = torch.full_like(x, 7)
    graph = torch.cuda.CUDAGraph()

    def capture():
        with torch.cuda.graph(graph):
            torch.neg(x)
            sort(x, out=out)

    with pytest.raises(RuntimeError, match="being captured into a CUDA graph"):
        capture()
    assert bool((out == 7).all())
    sort(x, out=out)


def test_warp_bitonic_sort_equals_torch_sort():
    x = torch.rand(100, 64, device="cuda")
    assert torch.equal(warp_bitonic_sort(x), torch.sort(x, dim=-1, descending=True).values)
    assert torch.equal(warp_bitonic_sort(x, False), torch.sort(x, dim=-1).values)


def test_explain_of_a_cuda_tensor_names_layout_and_open_kernel():
    x = torch.rand(10, 300, device="cuda")
    said = explain(x)
    assert said.backend == "cuda"
    assert said.arch.startswith("sm_")
    assert said.layout == "lanes16_registers20"
    sort(x)
    assert explain(x).open


def test_sort_with_wrong_arguments_names_them():
    x = torch.rand(10, 30, device="cuda")
    with pytest.raises(ValueError, match="out: expected x's device cuda:0, got cpu"):
        sort(x, out=torch.empty(10, 30))
    with pytest.raises(ValueError, match="axis: expected -2 to 1"):
        sort(x, axis=2)
    with pytest.raises(TypeError, match="requires a gradient"):
        sort(x.requires_grad_())
    with pytest.raises(TypeError, match="dtype"):
        sort(torch.zeros(3, 4, dtype=torch.complex64, device="cuda"))


def test_sort_of_cupy_arrays_equals_the_oracle():
    cupy = pytest.importorskip("cupy")
    rng = np.random.default_rng(9)
    for name in ("bool", "uint8", "int16", "uint32", "float16", "float32", "float64", "uint64"):
        x = oracle.random(name, (50, 77), rng)
        array = cupy.asarray(x)
        for axis in (0, 1):
            result = sort(array, axis=axis, descending=axis == 0)
            assert isinstance(result, cupy.ndarray)
            oracle.check(x, result.get(), axis, axis == 0)
        oracle.check(x[:, ::-2], sort(array[:, ::-2]).get())
        long = oracle.random(name, (2, MAX_LENGTH + 1), rng)
        oracle.check(long, sort(cupy.asarray(long)).get())
        assert sort(array, out=array) is array
        oracle.check(x, array.get())
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        array = cupy.random.random((1000, 100))
        result = sort(array)
        expected = cupy.sort(array, axis=-1)
    stream.synchronize()
    assert bool((result == expected).all())


def test_sort_of_cupy_array_off_the_current_device_stays_there():
    cupy = pytest.importorskip("cupy")
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one device only")
    stream = cupy.cuda.Stream(non_blocking=True)  # of device 0, and current there
    for length in (1, 100, MAX_LENGTH + 1):
        with cupy.cuda.Device(1):
            array = cupy.random.random((100, length))
        with stream:
            result = sort(array)
        assert result.device.id == 1
        oracle.check(array.get(), result.get())


# -- JAX ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place():
    """JAX's first CUDA device."""
    jax = pytest.importorskip("jax")
    try:
        return jax.devices("cuda")[0]
    except RuntimeError as error:
        pytest.skip(f"JAX has no CUDA device: {error}")


def to_jax(x, place):
    import jax

    with jax.enable_x64(True):
        return jax.device_put(x, place)


@pytest.mark.parametrize("name", oracle.ALL)
def test_sort_of_jax_arrays_of_every_dtype_equals_the_oracle(place, name):
    import jax

    rng = np.random.default_rng(20)
    shapes = [((40, 17), -1), ((17, 40), 0), ((2, 40, 3), 1), ((0, 3), 1), ((3, 0), 0), ((), 0)]
    shapes += [((5, 1), -1), ((1, 5), 0), ((3, 1000), -1), ((2, MAX_LENGTH + 5), -1)]
    for shape, axis in shapes:
        x = oracle.random(name, shape, rng)
        array = to_jax(x, place)
        for descending, nan in ORDERS:
            result = sort(array, axis=axis, descending=descending, nan=nan)
            assert isinstance(result, jax.Array)
            assert result.devices() == {place}
            assert result.dtype == array.dtype
            assert result.committed
            oracle.check(x, np.asarray(result), axis, descending, nan)
        assert np.array_equal(oracle.bits(np.asarray(array)), oracle.bits(x)), "x was written"


def test_sort_of_uncommitted_jax_array_is_uncommitted(place):
    import jax
    import jax.numpy as jnp

    with jax.default_device(place):
        array = jnp.arange(60.0).reshape(6, 10)[:, ::-1]
    assert not array.committed
    for x in (array, array[:, :1], jnp.tile(array, (1, 2000))):
        result = sort(x)
        assert result.devices() == {place}
        assert not result.committed
        oracle.check(np.asarray(x), np.asarray(result))


def test_explain_of_a_jax_array_names_layout_and_route(place):
    x = to_jax(np.ones((10, 300), np.float32), place)
    said = explain(x)
    assert (said.backend, said.layout) == ("cuda", "lanes16_registers20")
    assert said.arch.startswith("sm_")
    assert explain(to_jax(np.ones((2, 20000), np.float32), place)).route == "fallback"
    with pytest.raises(TypeError, match="out: JAX arrays can't be written"):
        sort(x, out=x)


@pytest.mark.parametrize("length", [9, 300, 2000])
def test_sort_of_jax_arrays_keeps_the_order_of_work(place, length):
    """What JAX does with its memory before, after and beside a sort is in the right order."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def slow(seed):
        x = jax.random.normal(jax.random.key(seed), ((1 << 22) // length, length))
        for _ in range(5):
            x = jnp.sin(x) + x
        return x

    churn = jax.jit(lambda x: jnp.full_like(x, -1.0))
    flags = []
    with jax.default_device(place):
        for seed in range(60):
            result = sort(slow(seed))  # x is dropped at once
            noise = [churn(result) for _ in range(3)]  # and its memory written again
            flags.append(jnp.array_equal(result, jnp.sort(slow(seed), axis=-1)))
            sort(slow(seed))  # this result is dropped at once, and its memory written again
            noise.append(churn(result))
            del noise
    assert all(bool(flag) for flag in flags)


def test_sort_of_jax_array_allows_donation_of_x_and_the_result(place):
    import jax
    import jax.numpy as jnp

    overwrite = jax.jit(lambda a: a * 0 - 1, donate_argnums=0)
    rng = np.random.default_rng(21)
    for _ in range(20):
        host = rng.random((20000, 100), dtype=np.float32)
        x = jnp.copy(to_jax(host, place))
        result = sort(x)
        overwritten = overwrite(x)
        np.testing.assert_array_equal(np.asarray(result), np.sort(host))
        assert x.is_deleted()
        assert bool((overwrite(result) == -1).all())
        assert bool((overwritten == -1).all())


def test_sort_of_jax_arrays_in_threads_is_right(place):
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            x = rng.random((500, 40 + seed), dtype=np.float32)
            if not np.array_equal(np.asarray(sort(to_jax(x, place))), np.sort(x)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.usefixtures("place")
def test_sort_of_jax_array_waits_without_pythons_lock():
    """What x waits for may run Python; in a process of its own, for a failure would hang."""
    code = (
        "import time, jax, numpy as np\n"
        "from warp_bitonic_sort import sort\n"
        "def slow(a):\n"
        "    time.sleep(1)\n"
        "    return np.asarray(a) + 1\n"
        "x = jax.device_put(np.arange(900, 0, -1, np.float32).reshape(30, 30),\n"
        "                   jax.devices('cuda')[0])\n"
        "sort(x)\n"
        "like = jax.ShapeDtypeStruct(x.shape, x.dtype)\n"
        "y = sort(jax.jit(lambda a: jax.pure_callback(slow, like, a))(x))\n"
        "np.testing.assert_array_equal(np.asarray(y), np.sort(np.asarray(x) + 1))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


# -- any other array with DLPack ---------------------------------------------------------------


class Foreign:
    """An array of a library that this package does not support by name."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.asked = set()

    def __dlpack__(self, *, stream=None, **options):
        self.asked.add(stream)
        return self.tensor.__dlpack__(stream=stream, **options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __array_namespace__(self):
        class Namespace:
            @staticmethod
            def from_dlpack(x):
                return Foreign(torch.from_dlpack(x))

        return Namespace


@pytest.mark.parametrize("name", ["bool", "uint8", "float16", "bfloat16", "int32", "float64"])
def test_sort_of_dlpack_arrays_equals_the_oracle(name):
    rng = np.random.default_rng(22)
    shapes = [((40, 17), -1), ((17, 40), 0), ((2, 40, 3), 1), ((0, 3), 1), ((3, 0), 0), ((), 0)]
    shapes += [((5, 1), -1), ((1, 5), 0), ((3, MAX_LENGTH), 1)]
    for shape, axis in shapes:
        x = oracle.random(name, shape, rng)
        for descending, nan in ORDERS:
            given = Foreign(to_device(x))
            result = sort(given, axis=axis, descending=descending, nan=nan)
            assert isinstance(result, Foreign)
            assert result.tensor.device == given.tensor.device
            assert given.asked == {loader.runtime().private_stream(loader.device_of("cuda", 0))}
            check(x, result.tensor, axis, descending, nan)
    strided = to_device(oracle.random(name, (30, 8, 50), rng))
    for view in (strided[::2, :, 3:40], strided.transpose(0, 2), strided[..., 5:6]):
        host = to_host(view.contiguous(), np.dtype(oracle.ALL[name]))
        check(host, sort(Foreign(view)).tensor)


def test_explain_of_dlpack_arrays_names_layout_and_refuses_long_rows():
    x = Foreign(torch.zeros(10, 300, device="cuda"))
    said = explain(x)
    assert (said.backend, said.layout) == ("cuda", "lanes16_registers20")
    assert explain(Foreign(torch.zeros(10, 1, device="cuda"))).route == "kernel"
    long = Foreign(torch.zeros(2, MAX_LENGTH + 1, device="cuda"))
    for call in (sort, explain):
        with pytest.raises(
            NotImplementedError, match=r"rows have length 16385.*torch\.from_dlpack"
        ):
            call(long)


def test_sort_of_dlpack_arrays_keeps_the_order_of_work():
    """In whatever stream x was made, and whatever happens to its memory afterwards."""
    side = torch.cuda.Stream()
    expected, results = [], []
    for i in range(30):
        with torch.cuda.stream(side):
            if i < 3:
                torch.cuda._sleep(50_000_000)
            x = torch.rand(1 << 14, 100, device="cuda")
            expected.append(torch.sort(x, dim=-1).values)
            results.append(sort(Foreign(x)).tensor)
            x.fill_(-1.0)
            del x
            torch.full((1 << 14, 100), -2.0, device="cuda")
    results = [result.cpu() for result in results]  # in a stream that waits for no other
    side.synchronize()
    for result, want in zip(results, expected, strict=True):
        assert torch.equal(result, want.cpu())


def test_sort_of_tvm_ffi_tensors_uses_its_current_stream():
    import tvm_ffi

    for length in (1, 40, 700):
        x = torch.rand(1000, length, device="cuda")
        torch.cuda.synchronize()
        side = torch.cuda.Stream()
        with tvm_ffi.use_raw_stream(tvm_ffi.device("cuda", 0), side.cuda_stream):
            result = sort(tvm_ffi.from_dlpack(x))
        assert isinstance(result, tvm_ffi.Tensor)
        side.synchronize()
        assert torch.equal(torch.from_dlpack(result), torch.sort(x, dim=-1).values)


def test_empty_gpu_memory_is_freed_with_its_tensor():
    runtime = loader.runtime()
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    size = 1 << 28
    made = runtime.empty_gpu((size,), torch.int8, loader.device_of("cuda", 0))
    assert made.data_ptr() % 16 == 0
    assert torch.cuda.mem_get_info()[0] <= free - size
    del made
    assert torch.cuda.mem_get_info()[0] > free - size
    with pytest.raises(
        MemoryError, match=f"cannot allocate {2 * total} bytes on CUDA device 0: CUDA_ERROR_OUT"
    ):
        runtime.empty_gpu((2 * total,), torch.int8, loader.device_of("cuda", 0))
    with pytest.raises(RuntimeError, match="no such CUDA device|CUDA_ERROR_INVALID_DEVICE"):
        runtime.empty_gpu((3,), torch.int8, loader.device_of("cuda", 63))
    with pytest.raises(ValueError, match="shape: expected sizes of at least 0"):
        runtime.empty_gpu((-1,), torch.int8, loader.device_of("cuda", 0))


@pytest.mark.parametrize("shape", [(4, 9), (3, 1), (2, 20_000)])
def test_sort_that_torch_records_raises_after_sorts_are_remembered(shape):
    from torch.fx.experimental.proxy_tensor import make_fx

    x, other = torch.rand(shape, device="cuda"), torch.rand(shape, device="cuda")
    for _ in range(5):
        sort(x)
    for record in (
        lambda: torch.jit.trace(sort, (x,), check_trace=False),
        lambda: make_fx(lambda v: sort(v))(x),
        lambda: make_fx(lambda v: sort(v), pre_dispatch=True)(x),
        lambda: torch.func.grad(lambda v: (v * sort(x)).sum())(x),
    ):
        with pytest.raises(TypeError, match="^x: this call is inside"):
            record()
    compiled = torch.compile(lambda v: sort(v * 2) + 1, backend="eager")
    for stream in (torch.cuda.Stream(), torch.cuda.current_stream()):
        with torch.cuda.stream(stream):
            torch.testing.assert_close(compiled(other), torch.sort(other).values * 2 + 1)
        torch.cuda.synchronize()
