"""Several streams, threads and devices at once: each array is sorted where it is, in its stream.

What needs two devices is skipped where there is one.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from support import oracle
from support.descriptions import plan_sort
from support.device_arrays import check, to_device, torch
from warp_bitonic_sort import explain, sort
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.targets.cpu.layouts import MAX_LENGTH

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("cuda_kernels")
two_devices = pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason="two CUDA devices are needed"
)

# What a copy, kernels of one lane, of some, of a warp and of many warps, and torch sort.
LENGTHS = [1, 3, 25, 100, 700, 5000, MAX_LENGTH + 1]
# Longer than any call takes.
CYCLES = 200_000_000


def sleep(stream):
    """Keep a stream busy for a while."""
    with torch.cuda.device(stream.device), torch.cuda.stream(stream):
        torch.cuda._sleep(CYCLES)


def rows(generator, device, number):
    """Some rows of one of many shapes, and what sorting them gives."""
    length = (2, 7, 25, 64, 100, 300, 900, 2500, 9000)[number % 9]
    shape = (1 + (1 << 15) // length + number, length)
    if number % 2:
        x = torch.rand(shape, device=device, generator=generator)
    else:
        x = torch.randint(-1000, 1000, shape, device=device, generator=generator)
    return x, torch.sort(x, dim=-1).values


# -- one device ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_open")
def test_sort_in_threads_with_streams_of_their_own_is_right():
    """Eight threads, each with a stream that is behind the others, open kernels and sort."""

    def work(number):
        stream = torch.cuda.Stream()
        generator = torch.Generator("cuda").manual_seed(number)
        with torch.cuda.stream(stream):
            cases = [rows(generator, "cuda", number + turn) for turn in range(18)]
            torch.cuda._sleep(CYCLES // 20 * (number + 1))
            results = [sort(x) for x, _ in cases]
            good = [torch.equal(y, want) for y, (_, want) in zip(results, cases, strict=True)]
        return all(good)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))


def test_sort_in_free_stream_does_not_wait_for_busy_one():
    """A sort in a free stream is done while one behind a busy stream is not."""
    x = torch.rand(2000, 100, device="cuda")
    busy, free = torch.cuda.Stream(), torch.cuda.Stream()
    for stream in (busy, free):
        with torch.cuda.stream(stream):
            sort(x)  # the stream has memory for a result from here on
    torch.cuda.synchronize()
    sleep(busy)
    with torch.cuda.stream(busy):
        late = sort(x)
    with torch.cuda.stream(free):
        early = sort(x)
    free.synchronize()
    assert not busy.query(), "the free stream waited for the busy one"
    expected = torch.sort(x, dim=-1).values
    busy.synchronize()
    assert torch.equal(early, expected)
    assert torch.equal(late, expected)


# -- two devices ---------------------------------------------------------------------------------


@two_devices
@pytest.mark.usefixtures("nothing_open")
@pytest.mark.parametrize(("current", "own"), [(0, 1), (1, 0)])
def test_sort_of_array_on_any_device_stays_there(current, own):
    """The first call, which opens the kernel, and later ones; the current device stays."""
    rng = np.random.default_rng(1)
    with torch.cuda.device(current):
        for length in LENGTHS:
            x = oracle.random("float32", (37, length), rng)
            tensor = to_device(x, f"cuda:{own}")
            for order in ((False, "largest"), (True, "last")):
                result = sort(tensor, descending=order[0], nan=order[1])
                assert torch.cuda.current_device() == current
                assert result.device == torch.device("cuda", own)
                check(x, result, -1, *order)
            out = torch.empty_like(tensor)
            assert sort(tensor, out=out) is out
            check(x, out)
            memory = to_device(x, f"cuda:{own}")
            sort(memory[:-1], out=memory[1:])
            check(x[:-1], memory[1:])
            assert torch.cuda.current_device() == current


@two_devices
@pytest.mark.usefixtures("nothing_open")
def test_sort_on_two_devices_opens_the_kernel_on_each():
    rng = np.random.default_rng(2)
    x = oracle.random("int32", (50, 90), rng)
    tensors = [to_device(x, f"cuda:{number}") for number in (0, 1)]
    arch = explain(tensors[0]).arch
    if explain(tensors[1]).arch != arch:
        pytest.skip("devices of two architectures share no kernel")
    kernel = plan_sort(DTYPES["int32"], x.shape, (90, 1), (90, 1), 1, arch).kernel
    check(x, sort(tensors[0]))
    assert [loader.is_open(kernel, "int32", number) for number in (0, 1)] == [True, False]
    check(x, sort(tensors[1]))
    assert [loader.is_open(kernel, "int32", number) for number in (0, 1)] == [True, True]
    assert loader.open_kernels() == [kernel.name]
    for tensor in tensors:
        check(x, sort(tensor))


@two_devices
@pytest.mark.parametrize(("current", "own"), [(0, 1), (1, 0)])
@pytest.mark.parametrize("length", [100, MAX_LENGTH + 1])
def test_sort_runs_in_the_stream_of_the_arrays_device(current, own, length):
    """Behind what is slow in it, without waiting, whichever device is current."""
    device = torch.device("cuda", own)
    x = torch.rand(300, length, device=device)
    expected = torch.sort(x, dim=-1).values
    torch.cuda.synchronize(device)
    side = torch.cuda.Stream(device=own)
    with torch.cuda.stream(side), torch.cuda.device(current):
        y = torch.zeros_like(x)
        sort(y)  # the stream has memory for a result from here on
        side.synchronize()
        sleep(side)
        assert torch.cuda.current_device() == current
        y.copy_(x, non_blocking=True)
        result = sort(y)
        if length <= MAX_LENGTH:  # a library's own sort may wait
            assert not side.query(), "sort waited for the stream"
        assert torch.cuda.current_device() == current
    side.synchronize()
    assert torch.equal(result, expected), "sort ran ahead of its stream"


@two_devices
def test_graph_of_another_device_replays_the_sort():
    x = torch.rand(500, 60, device="cuda:1")
    out = torch.empty_like(x)
    sort(x, out=out)
    side = torch.cuda.Stream(device=1)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize(1)
    with torch.cuda.device(1), torch.cuda.graph(graph, stream=side), torch.cuda.device(0):
        sort(x, out=out)
    out.zero_()
    for _ in range(3):
        with torch.cuda.device(1):
            x.copy_(torch.rand_like(x))
            graph.replay()
        assert torch.equal(out, torch.sort(x, dim=-1).values)


@two_devices
@pytest.mark.usefixtures("nothing_open")
def test_sort_in_capture_with_kernel_open_on_another_device_raises():
    sort(torch.zeros(4, 3001, dtype=torch.int16, device="cuda:0"))
    x = torch.zeros(4, 3001, dtype=torch.int16, device="cuda:1")
    out = torch.full_like(x, 7)
    side = torch.cuda.Stream(device=1)
    graph = torch.cuda.CUDAGraph()

    def capture():
        with torch.cuda.device(1), torch.cuda.graph(graph, stream=side), torch.cuda.device(0):
            torch.neg(x)
            sort(x, out=out)

    with pytest.raises(RuntimeError, match="being captured into a CUDA graph"):
        capture()
    assert bool((out == 7).all())
    sort(x, out=out)
    assert not out.any()


@two_devices
@pytest.mark.usefixtures("nothing_open")
def test_sort_in_threads_on_both_devices_is_right():
    """Half of them while the other device is current; they open kernels at once, too."""

    def work(number):
        own = number % 2
        stream = torch.cuda.Stream(device=own)
        generator = torch.Generator(f"cuda:{own}").manual_seed(number)
        good = []
        with torch.cuda.stream(stream), torch.cuda.device((number // 2) % 2):
            for turn in range(27):
                x, want = rows(generator, f"cuda:{own}", number + turn)
                y = sort(x)
                good.append(y.device.index == own and torch.equal(y, want))
        return all(good)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))


@two_devices
def test_sort_with_out_on_another_device_raises():
    x = torch.rand(10, 30, device="cuda:1")
    out = torch.full((10, 30), 7.0, device="cuda:0")
    with pytest.raises(ValueError, match="out: expected x's device cuda:1, got cuda:0"):
        sort(x, out=out)
    assert bool((out == 7).all())


# -- CuPy on two devices -------------------------------------------------------------------------


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


@two_devices
@pytest.mark.usefixtures("nothing_open")
# CuPy warns of work on one device with arrays of another: that would be slow, and out of order.
@pytest.mark.filterwarnings("error:The device where the array resides")
@pytest.mark.parametrize(("current", "own"), [(0, 1), (1, 0)])
def test_sort_of_cupy_array_on_any_device_stays_there(cupy, current, own):
    rng = np.random.default_rng(3)
    for length in LENGTHS:
        x = oracle.random("int32", (20, length), rng)
        with cupy.cuda.Device(own):
            array, out, memory = cupy.asarray(x), cupy.zeros(x.shape, x.dtype), cupy.asarray(x)
            cupy.cuda.Device(own).synchronize()
        with cupy.cuda.Device(current):
            result = sort(array)
            assert sort(array, out=out, descending=True) is out
            sort(memory[:-1], out=memory[1:])
            assert cupy.cuda.runtime.getDevice() == current
        assert result.device.id == own
        with cupy.cuda.Device(own):
            oracle.check(x, result.get())
            oracle.check(x, out.get(), -1, True)
            oracle.check(x[:-1], memory.get()[1:])


@two_devices
@pytest.mark.parametrize(("current", "own"), [(0, 1), (1, 0)])
@pytest.mark.parametrize("length", [100, MAX_LENGTH + 1])
def test_sort_of_cupy_array_runs_in_the_stream_of_its_device(cupy, current, own, length):
    """A non-blocking stream waits for no other: a sort in another one would read old values."""
    x = np.random.default_rng(4).integers(-1000, 1000, (300, length), dtype=np.int32)
    with cupy.cuda.Device(own):
        source, y = cupy.asarray(x), cupy.zeros(x.shape, x.dtype)
        cupy.cuda.Device(own).synchronize()
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            sort(y)  # the stream has memory for a result from here on
            stream.synchronize()
            sleep(torch.cuda.ExternalStream(stream.ptr, device=own))
            y[...] = source
            with cupy.cuda.Device(current):
                result = sort(y)
                assert cupy.cuda.runtime.getDevice() == current
            if length <= MAX_LENGTH:  # a library's own sort may wait
                assert not stream.done, "sort waited for the stream"
        stream.synchronize()
        oracle.check(x, result.get())


@two_devices
def test_sort_with_cupy_out_on_another_device_raises(cupy):
    with cupy.cuda.Device(1):
        x = cupy.zeros((10, 30))
    with cupy.cuda.Device(0):
        out = cupy.ones((10, 30))
    with pytest.raises(ValueError, match="out: expected x's device"):
        sort(x, out=out)
    with cupy.cuda.Device(0):
        assert bool((out == 1).all())
