"""Opening and launching CUDA kernels, against a double of the driver: no device is needed.

cpp/fake_cuda.cc is the double (driver_double.py says how tests run with it).
"""

import contextlib
import ctypes
import os
import re
import subprocess
import threading

import numpy as np
import pytest
import tvm_ffi

from support import cubin, driver_double, host_cupy, oracle
from support.descriptions import cuda_kernel, gpu_cells
from support.driver_double import DRIVERS, driven
from support.host_cupy import CUDA, CUDA_MANAGED, OnDevice
from warp_bitonic_sort import dtypes, explain, sort
from warp_bitonic_sort.jit import loader

double = driver_double.fixture("fake_cuda.cc", "libcuda.so.1")


def cuda(number):
    return loader.device_of("cuda", number)


class Driver(driver_double.Driver):
    LIBRARY, PREFIX = "libcuda.so.1", "fake_cuda"

    def stack(self):
        """The devices of the contexts on this thread's stack, the current one last."""
        return self.report()["stack"]

    @contextlib.contextmanager
    def current(self, devices):
        """Have devices' primary contexts on this thread's stack, as any library may."""
        assert self.library.cuInit(0) == 0
        for device in devices:
            context = ctypes.c_void_p()
            assert self.library.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) == 0
            assert self.library.cuCtxPushCurrent_v2(context) == 0
        yield
        assert self.stack() == list(devices)
        for _ in devices:
            assert self.library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p())) == 0


def array(*shape, dtype=np.float32):
    return np.random.default_rng(1).random(shape).astype(dtype)


def check_sorts(kernel, number=0, stream=0):
    x = array(10, 8)
    out = np.zeros_like(x)
    kernel(OnDevice(x, number), OnDevice(out, number), -1, False, False, stream)
    np.testing.assert_array_equal(out, np.sort(x))


# From here on every body runs in a process of its own.


@driven()
def test_launch_runs_on_the_arrays_own_device(folder):
    driver, runtime = Driver(), loader.runtime()
    paths = [cubin.write(folder / f"{arch}.cubin", arch) for arch in (80, 90)]
    for current in ([], [0], [1], [1, 0]):
        with driver.current(current):
            for number, path in enumerate(paths):
                kernel = runtime.open_gpu_kernel(path, "float32", cuda(number))
                assert driver.stack() == current
                check_sorts(kernel, number)
                assert driver.stack() == current
                launch = driver.launches()[-1]
                assert launch["current_device"] == launch["module_device"] == number
                with driver.failing(cuLaunchKernel=1), pytest.raises(RuntimeError):
                    check_sorts(kernel, number)
                assert driver.stack() == current
                assert runtime.is_capturing(cuda(number), 0) is False
                assert runtime.gpu_arch(cuda(number)) == ("sm_80", "sm_90")[number]
    # Retained once a device, however many kernels and calls there are; ours are the other four.
    assert driver.report()["calls"]["cuDevicePrimaryCtxRetain"] == 2 + 4


@driven()
def test_launch_at_address_between_elements_raises(folder):
    """An access to such an address on a device would lose the context."""
    driver, runtime = Driver(), loader.runtime()
    kernel = runtime.open_gpu_kernel(cubin.write(folder / "80.cubin", 80), "float32", cuda(0))
    x, out = array(10, 8), np.zeros((10, 8), np.float32)
    kernel(OnDevice(x), OnDevice(out), -1, False, False, 0, True)
    launches = len(driver.launches())
    odd = np.zeros(321, np.uint8)[1:].view(np.float32).reshape(10, 8)
    for name, arrays in (("x", (odd, out)), ("out", (x, odd))):
        assert not runtime.open_launch_cache("all", "none")(
            *map(OnDevice, arrays), -1, False, False
        )
        with pytest.raises(
            ValueError, match=f"^{name}: expected an address .* of the 4 bytes .*copy"
        ):
            kernel(*map(OnDevice, arrays), -1, False, False, 0)
    assert len(driver.launches()) == launches


@driven()
def test_launch_cache_relaunches_equal_sorts_only(folder):
    """Equal means the same layout, order, axis and device; raw bits are never relaunched."""
    driver, runtime = Driver(), loader.runtime()
    again = runtime.open_launch_cache("all", "none")
    kernels = [
        runtime.open_gpu_kernel(
            cubin.write(folder / f"{arch}.cubin", arch), "float32", cuda(number)
        )
        for number, arch in enumerate((80, 90))
    ]
    x = array(10, 8)
    out = np.zeros_like(x)
    a, b = OnDevice(x), OnDevice(out)
    assert not again(a, b, -1, False, False)
    kernels[0](a, b, -1, False, False, 0, True)
    out[:] = 0
    assert again(a, b, 1, False, False)
    np.testing.assert_array_equal(out, np.sort(x))
    launches = len(driver.launches())
    for axis, descending, nan_last in ((1, True, False), (1, False, True), (0, False, False)):
        assert not again(a, b, axis, descending, nan_last)
    for axis in (2, -3, 2**40):
        assert not again(a, b, axis, False, False)
    assert not again(OnDevice(x, 1), OnDevice(out, 1), 1, False, False)
    assert not again(OnDevice(x.view(np.int32)), OnDevice(out.view(np.int32)), 1, False, False)
    assert not again(OnDevice(x[:9]), OnDevice(out[:9]), 1, False, False)
    assert not again(a, OnDevice(np.zeros((8, 10), np.float32).T), 1, False, False)
    memory = np.zeros(200, np.float32)
    windows = [OnDevice(memory[at : at + 80].reshape(10, 8)) for at in (0, 8)]
    assert not again(*windows, 1, False, False)
    assert len(driver.launches()) == launches
    # In place, in the stream that is TVM FFI's current one, and of raw bits never.
    with tvm_ffi.use_raw_stream(tvm_ffi.device("cuda", 0), 0x777):
        assert again(b, b, 1, False, False)
        assert runtime.current_stream(b) == 0x777
    assert driver.launches()[-1]["stream"] == 0x777
    kernels[1](OnDevice(x, 1), OnDevice(out, 1), -1, False, False, 0, True)
    assert again(OnDevice(x, 1), OnDevice(out, 1), 1, False, False)
    assert driver.launches()[-1]["current_device"] == 1
    raw = OnDevice(x.view(np.uint32)), OnDevice(out.view(np.uint32))
    kernels[0](*raw, -1, False, False, 0, True)
    assert not again(*raw, -1, False, False)
    with driver.failing(cuLaunchKernel=719), pytest.raises(RuntimeError, match="719|LAUNCH_FAILED"):
        again(a, b, 1, False, False)
    assert again(a, b, 1, False, False)


@driven()
def test_launches_of_threads_run_on_their_arrays_devices(folder):
    driver, runtime = Driver(), loader.runtime()
    paths = [cubin.write(folder / f"{arch}.cubin", arch) for arch in (80, 90)]
    sorts = [runtime.open_gpu_kernel(path, "float32", cuda(i)) for i, path in enumerate(paths)]
    stacks = []

    def work(number):
        for _ in range(50):
            check_sorts(sorts[number], number)
        stacks.append(driver.stack())

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stacks == [[]] * 4
    launches = driver.launches()
    assert len(launches) == 200
    assert all(launch["current_device"] == launch["module_device"] for launch in launches)


@driven()
def test_launch_gets_stream_block_and_shared_memory(folder):
    """Streams, blocks, shared memory, tensors in managed memory."""
    driver, runtime = Driver(), loader.runtime()
    path = cubin.write(folder / "kernel.cubin", threads=256, rows=64, shared_bytes=4096)
    kernel = runtime.open_gpu_kernel(path, "float32", cuda(0))
    for stream in (0, 1, 2, 0x7F12_3456_7890):
        check_sorts(kernel, stream=stream)
        launch = driver.launches()[-1]
        assert launch["stream"] == stream
        assert launch["block"] == [256, 1, 1]
        assert launch["shared_bytes"] == 4096
        assert launch["one"] == 1
    assert "cuFuncSetAttribute" not in driver.report()["calls"]
    large = cubin.write(folder / "large.cubin", shared_bytes=48 * 1024 + 16)
    check_sorts(runtime.open_gpu_kernel(large, "float32", cuda(0)))
    assert driver.launches()[-1]["shared_bytes"] == 48 * 1024 + 16
    assert driver.report()["calls"]["cuFuncSetAttribute"] == 1
    managed = OnDevice(array(10, 8), kind=CUDA_MANAGED)
    kernel(managed, managed, -1, False, False, 0)
    np.testing.assert_array_equal(managed.array, np.sort(array(10, 8)))
    with pytest.raises(ValueError, match="x: expected a tensor on CUDA device 0, .* device 1"):
        kernel(OnDevice(array(10, 8), 1), OnDevice(array(10, 8)), -1, False, False, 0)
    with pytest.raises(ValueError, match="out: expected a tensor on CUDA device 0, .* the CPU"):
        kernel(OnDevice(array(10, 8)), array(10, 8), -1, False, False, 0)


@driven()
def test_grid_has_a_block_for_every_tile_up_to_its_limit(folder):
    """A block for every tile, up to the most that a grid may have; nothing holds more rows."""
    driver, runtime = Driver(), loader.runtime()
    driver.record_only()
    path = cubin.write(folder / "kernel.cubin", rows=64)
    kernel = runtime.open_gpu_kernel(path, "float32", cuda(0))
    most = 2**31 - 1
    for rows, blocks in (
        (1, 1),
        (64, 1),
        (65, 2),
        (64 * (most - 1), most - 1),
        (64 * (most - 1) + 1, most),
        (64 * most, most),
    ):
        # In place, for two claims of that size would overlap.
        x = OnDevice(array(2, 8), shape=(rows, 8))
        kernel(x, x, -1, False, False, 0)
        launch = driver.launches()[-1]
        assert launch["rows"] == rows
        assert launch["grid"] == [blocks, 1, 1]
    before = len(driver.launches())
    for rows in (64 * most + 1, 64 * 2**33):
        x = OnDevice(array(2, 8), shape=(rows, 8))
        with pytest.raises(
            RuntimeError, match=f"x: expected at most {64 * most} rows .*, got {rows};"
        ):
            kernel(x, x, -1, False, False, 0)
    assert len(driver.launches()) == before


@driven()
def test_call_with_many_batch_dimensions_takes_several_launches(folder):
    driver, runtime = Driver(), loader.runtime()
    path = cubin.write(folder / "kernel.cubin")
    kernel = runtime.open_gpu_kernel(path, "float32", cuda(0))
    rank = cubin.MAX_BATCH_DIMS + 2
    whole = array(*(3,) * rank, 8)
    # Every other element, so that no two dimensions are one run; reversed in out.
    x = whole[(slice(None, None, 2),) * rank]
    out = np.zeros(x.shape[::-1], np.float32)
    before = whole.copy()
    kernel(OnDevice(x), OnDevice(out.T), -1, False, False, 0)
    np.testing.assert_array_equal(out.T, np.sort(x))
    np.testing.assert_array_equal(whole, before)
    launches = driver.launches()
    assert len(launches) == 2**2
    for launch in launches:
        assert launch["batch_shape"] == [2] * cubin.MAX_BATCH_DIMS
        assert launch["rows"] == 2**cubin.MAX_BATCH_DIMS
    # A launch that fails is the last.
    with driver.failing(cuLaunchKernel=719), pytest.raises(RuntimeError):
        kernel(OnDevice(x), OnDevice(out.T), -1, False, False, 0)
    assert driver.report()["calls"]["cuLaunchKernel"] == 2**2 + 1
    assert driver.stack() == []


OPENING = [
    "cuDeviceGet",
    "cuDevicePrimaryCtxRetain",
    "cuCtxGetCurrent",
    "cuCtxPushCurrent_v2",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleGetGlobal_v2",
    "cuMemcpyDtoH_v2",
    "cuFuncSetAttribute",
]


@driven()
def test_open_that_fails_leaks_nothing(folder):
    driver, runtime = Driver(), loader.runtime()
    path = cubin.write(folder / "kernel.cubin", shared_bytes=50_000)
    # A context is made once, so that only the first round can fail to.
    for current, steps in (([1], OPENING), ([], OPENING[2:])):
        with driver.current(current):
            for step in steps:
                with (
                    driver.failing(**{step: 2}),
                    pytest.raises(RuntimeError, match="CUDA_ERROR_OUT_OF_MEMORY"),
                ):
                    runtime.open_gpu_kernel(path, "float32", cuda(0))
                assert driver.report()["modules"] == 0, step
                assert driver.stack() == current, step
    with driver.current([1]):
        for dtype in ("int32", "float64"):
            with pytest.raises(ValueError, match=f"dtype: .*{dtype}"):
                runtime.open_gpu_kernel(path, dtype, cuda(0))
            assert driver.report()["modules"] == 0
            assert driver.stack() == [1]
    # The first error is the one that is raised.
    with (
        driver.failing(cuModuleGetFunction=2, cuModuleUnload=999),
        pytest.raises(RuntimeError, match="CUDA_ERROR_OUT_OF_MEMORY"),
    ):
        runtime.open_gpu_kernel(path, "float32", cuda(0))
    check_sorts(runtime.open_gpu_kernel(path, "float32", cuda(0)))


@driven()
def test_open_of_foreign_code_object_raises(folder):
    driver, runtime = Driver(), loader.runtime()
    kernel = folder / "kernel.cubin"

    def check_refused(content, message):
        kernel.write_bytes(content)
        with pytest.raises(RuntimeError, match=message):
            runtime.open_gpu_kernel(str(kernel), "float32", cuda(0))
        assert driver.report()["modules"] == 0
        assert driver.stack() == []

    said = cubin.constant()
    another = "kernel.cubin was built for another version of warp_bitonic_sort"
    check_refused(cubin.cubin(cubin.constant(abi_version=cubin.ABI_VERSION + 1)), another)
    check_refused(cubin.cubin(said + bytes(8)), another)
    check_refused(
        cubin.cubin(said, function="another"), "kernel.cubin .*CUDA_ERROR_NOT_FOUND .*named symbol"
    )
    check_refused(b"", "kernel.cubin is empty")
    invalid = "kernel.cubin .*CUDA_ERROR_INVALID_IMAGE .*damaged, or .*newer than the driver"
    check_refused(b"not a code object", invalid)
    check_refused(cubin.cubin(said)[:18] + b"\x3e" + cubin.cubin(said)[19:], invalid)
    with pytest.raises(RuntimeError, match="cannot open the kernel .*missing.cubin: No such"):
        runtime.open_gpu_kernel(str(folder / "missing.cubin"), "float32", cuda(0))
    # Older toolkits write the architecture elsewhere.
    for abi in (7, 8):
        kernel.write_bytes(cubin.cubin(said, 80, abi=abi))
        check_sorts(runtime.open_gpu_kernel(str(kernel), "float32", cuda(0)))


# glibc then fills memory that it hands out with bytes that are not zero.
@driven(MALLOC_PERTURB_="85")
def test_open_of_text_ends_it_with_a_zero(folder):
    """A driver reads what is no ELF file as text, up to a zero: there must be one."""
    driver, runtime = Driver(), loader.runtime()
    for size in (1, 20, 100, 16384, 16384 * 3):
        (folder / "text").write_bytes(b"x" * size)
        with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_IMAGE"):
            runtime.open_gpu_kernel(str(folder / "text"), "float32", cuda(0))
        assert driver.report()["text_bytes"] == size


@driven()
def test_open_of_kernel_for_another_architecture_raises(folder):
    runtime = loader.runtime()
    path = cubin.write(folder / "kernel.cubin", 90)
    with pytest.raises(
        RuntimeError,
        match="the kernel .*kernel.cubin does not run on CUDA device 0, an sm_80: "
        "CUDA_ERROR_NO_BINARY_FOR_GPU .no kernel image is available .*; build it for sm_80",
    ):
        runtime.open_gpu_kernel(path, "float32", cuda(0))
    check_sorts(runtime.open_gpu_kernel(path, "float32", cuda(1)), 1)


@driven()
def test_call_without_device_memory_says_so(folder):
    driver, runtime = Driver(), loader.runtime()
    path = cubin.write(folder / "kernel.cubin")

    def says(doing):
        return pytest.raises(
            RuntimeError,
            match=rf"{doing} on CUDA device 0 failed: CUDA_ERROR_OUT_OF_MEMORY \(out of memory\); "
            "free some of the device's memory",
        )

    with driver.failing(cuDevicePrimaryCtxRetain=2), says("making CUDA's context"):
        runtime.open_gpu_kernel(path, "float32", cuda(0))
    with driver.failing(cuModuleLoadData=2), says("loading the kernel .*kernel.cubin"):
        runtime.open_gpu_kernel(path, "float32", cuda(0))
    kernel = runtime.open_gpu_kernel(path, "float32", cuda(0))
    # Where modules are loaded lazily, their code is only when they are launched.
    with driver.failing(cuLaunchKernel=2), says("launching sort_cuda_of_a_test"):
        check_sorts(kernel)
    check_sorts(kernel)


@driven()
def test_error_of_an_earlier_kernel_says_so(folder):
    """The driver reports a kernel's error at whatever call comes next, and at all after it."""
    driver, runtime = Driver(), loader.runtime()
    path = cubin.write(folder / "kernel.cubin", 90)
    opened = runtime.open_gpu_kernel(path, "float32", cuda(1))
    for code, name, text in (
        (700, "ILLEGAL_ADDRESS", "an illegal memory access was encountered"),
        (702, "LAUNCH_TIMEOUT", "the launch timed out and was terminated"),
        (710, "ASSERT", "device-side assert triggered"),
        (719, "LAUNCH_FAILED", "unspecified launch failure"),
    ):
        words = (
            rf"on CUDA device 1 failed: CUDA_ERROR_{name} \({text}\); "
            "it may come from an earlier kernel, of any library"
        )
        sticky = dict.fromkeys(
            ("cuModuleLoadData", "cuModuleUnload", "cuMemcpyDtoH_v2", "cuLaunchKernel"), code
        )
        for current in ([], [0], [1]):
            with driver.current(current), driver.failing(**sticky):
                with pytest.raises(RuntimeError, match=rf"loading the kernel .*cubin {words}"):
                    runtime.open_gpu_kernel(path, "float32", cuda(1))
                with pytest.raises(RuntimeError, match=f"launching sort_cuda_of_a_test {words}"):
                    check_sorts(opened, 1)
                assert driver.stack() == current
            assert driver.report()["modules"] == 1
            check_sorts(opened, 1)
    # These come from the call itself; the last is one that the driver has no name for.
    for code, text in (
        (1, "CUDA_ERROR_INVALID_VALUE"),
        (701, "CUDA_ERROR_LAUNCH_OUT"),
        (12345, "CUDA error .12345"),
    ):
        with driver.failing(cuLaunchKernel=code), pytest.raises(RuntimeError, match=text) as raised:
            check_sorts(opened, 1)
        assert "earlier kernel" not in str(raised.value)
    with (
        driver.failing(cuLaunchKernel=709),
        pytest.raises(RuntimeError, match=r"\(context is destroyed\); .* reset"),
    ):
        check_sorts(opened, 1)
    check_sorts(opened, 1)


@driven(FAKE_CUDA_DEVICES="75,100,121")
def test_gpu_arch_of_every_device_is_found_and_of_others_raises(folder):
    runtime = loader.runtime()
    path = cubin.write(folder / "kernel.cubin", 100)
    assert [runtime.gpu_arch(cuda(number)) for number in range(3)] == ["sm_75", "sm_100", "sm_121"]
    check_sorts(runtime.open_gpu_kernel(path, "float32", cuda(1)), 1)
    calls = [
        runtime.gpu_arch,
        lambda device: runtime.is_capturing(device, 0),
        lambda device: runtime.open_gpu_kernel(path, "float32", device),
    ]
    for call in calls:
        for number in (3, 63, 64, 127, 128, 2**31 - 1):
            name = f"CUDA device {number}"
            message = rf"{name}\b.*invalid device|device: expected .* from 0 to 127, got {name}$"
            with pytest.raises(RuntimeError, match=message):
                call(cuda(number))
        for device in (cuda(-1), *map(tvm_ffi.device, ("cpu", "vulkan"))):
            with pytest.raises(ValueError, match="device: expected a CUDA or ROCm device, got"):
                call(device)


@driven()
def test_is_capturing_of_the_captured_stream_is_true(folder):
    del folder
    driver, runtime = Driver(), loader.runtime()
    driver.capture(0x1234)
    for current in ([], [0], [1]):
        with driver.current(current):
            assert runtime.is_capturing(cuda(1), 0x1234) is True
            assert runtime.is_capturing(cuda(1), 0x1235) is False
            with (
                driver.failing(cuStreamIsCapturing=400),
                pytest.raises(
                    RuntimeError, match="CUDA device 1 failed: CUDA_ERROR_INVALID_HANDLE"
                ),
            ):
                runtime.is_capturing(cuda(1), 0x1235)
            # The legacy stream's answer while another stream is captured: no launch may go there.
            with driver.failing(cuStreamIsCapturing=906):
                assert runtime.is_capturing(cuda(1), 0) is True


@driven()
def test_launch_in_the_private_stream_is_waited_for(folder):
    """It is waited for even if it fails."""
    driver, runtime = Driver(), loader.runtime()
    paths = [cubin.write(folder / f"{arch}.cubin", arch) for arch in (80, 90)]
    kernels = [runtime.open_gpu_kernel(path, "float32", cuda(i)) for i, path in enumerate(paths)]

    def streams():
        return {stream["device"]: stream for stream in driver.report()["streams"]}

    with driver.failing(cuStreamCreate=2), pytest.raises(RuntimeError, match="OUT_OF_MEMORY"):
        check_sorts(kernels[0], 0, -1)
    assert driver.launches() == []
    for current in ([], [0], [1]):
        with driver.current(current):
            for number, kernel in enumerate(kernels):
                before = streams().get(number, {"waits": 0})["waits"]
                check_sorts(kernel, number, -1)
                own = streams()[number]
                assert own["flags"] == 1
                assert own["waits"] == before + 1
                assert own["handle"] == runtime.private_stream(cuda(number))
                launch = driver.launches()[-1]
                assert launch["stream"] == own["handle"]
                assert launch["current_device"] == number
                # A launch of several may have begun before one fails.
                with driver.failing(cuLaunchKernel=719), pytest.raises(RuntimeError):
                    check_sorts(kernel, number, -1)
                assert streams()[number]["waits"] == before + 2
                with (
                    driver.failing(cuStreamSynchronize=700),
                    pytest.raises(RuntimeError, match="waiting for a sort .*CUDA device .*ILLEGAL"),
                ):
                    check_sorts(kernel, number, -1)
    assert len(driver.report()["streams"]) == 2
    assert runtime.is_capturing(cuda(0), -1) is False
    for number in (2, 64):
        with pytest.raises(RuntimeError, match=f"CUDA device {number}"):
            runtime.private_stream(cuda(number))


@driven()
def test_empty_gpu_memory_is_on_its_device_until_freed(folder):
    import tvm_ffi  # not before torch is hidden from it

    del folder
    driver, runtime = Driver(), loader.runtime()
    float32 = tvm_ffi.dtype("float32")
    for current in ([], [0], [1]):
        with driver.current(current):
            for number in (0, 1):
                made = runtime.empty_gpu((3, 5), float32, cuda(number))
                (memory,) = driver.report()["memory"]
                assert memory == {"address": made.data_ptr(), "device": number, "bytes": 60}
                assert driver.stack() == current
                del made
                assert driver.report()["memory"] == []
                assert driver.stack() == current
                with (
                    driver.failing(cuMemAlloc_v2=2),
                    pytest.raises(MemoryError, match="60 bytes .*CUDA device .*OUT_OF_MEMORY"),
                ):
                    runtime.empty_gpu((3, 5), float32, cuda(number))
    # An error other than a lack of memory is no MemoryError.
    with (
        driver.failing(cuMemAlloc_v2=700),
        pytest.raises(RuntimeError, match="60 bytes on CUDA device 0 .*earlier kernel"),
    ):
        runtime.empty_gpu((3, 5), float32, cuda(0))
    with pytest.raises(RuntimeError, match="CUDA device 2"):
        runtime.empty_gpu((3, 5), float32, cuda(2))
    with pytest.raises(ValueError, match="device: expected"):
        runtime.empty_gpu((3, 5), float32, tvm_ffi.device("cpu"))
    # Freeing must not raise, even if the device has failed.
    made = runtime.empty_gpu((3, 5), float32, cuda(1))
    with driver.failing(cuMemFree_v2=719, cuCtxPushCurrent_v2=719):
        del made
    assert driver.stack() == []


def absent(double, folder):
    """A folder without a driver, where the machine has none of its own."""
    del double
    with contextlib.suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        pytest.skip("this machine has a CUDA driver")
    return folder


@driven(absent)
def test_call_without_driver_says_what_to_install(folder):
    path = cubin.write(folder / "kernel.cubin")
    for _ in range(2):
        for call in (
            lambda: loader.runtime().gpu_arch(cuda(0)),
            lambda: loader.runtime().is_capturing(cuda(0), 0),
            lambda: loader.runtime().open_gpu_kernel(path, "float32", cuda(0)),
        ):
            with pytest.raises(
                RuntimeError,
                match="no CUDA driver: libcuda.so.1: cannot open .*; install NVIDIA's driver",
            ):
                call()


def older(double, folder):
    """A driver of the time when streams were not captured yet."""
    del double
    names = sorted(set(re.findall(r'"(cu[A-Z]\w+)"', (DRIVERS / "cuda.hpp").read_text())))
    names.remove("cuStreamIsCapturing")
    source = folder / "older.cc"
    source.write_text("\n".join(f'extern "C" int {name}() {{ return 0; }}' for name in names))
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-fPIC", "-shared", str(source), "-o", str(folder / "libcuda.so.1")]
    subprocess.run(command, check=True)
    return folder


@driven(older)
def test_call_with_too_old_driver_raises(folder):
    del folder
    with pytest.raises(
        RuntimeError, match="the CUDA driver has no cuStreamIsCapturing; it is too old, update it"
    ):
        loader.runtime().gpu_arch(cuda(0))


@driven(FAKE_CUDA_FAIL="cuInit=100")
def test_call_with_driver_that_does_not_start_raises(folder):
    driver, runtime = Driver(), loader.runtime()
    with pytest.raises(
        RuntimeError,
        match=r"starting the CUDA driver failed: CUDA_ERROR_NO_DEVICE \(no CUDA-capable device is "
        r"detected\); nvidia-smi .*CUDA_VISIBLE_DEVICES",
    ):
        runtime.gpu_arch(cuda(0))
    with (
        driver.failing(cuInit=999),
        pytest.raises(RuntimeError, match=r"CUDA_ERROR_UNKNOWN \(unknown error\); .*nvidia-smi"),
    ):
        runtime.gpu_arch(cuda(0))
    # Nothing of a failed start is kept.
    check_sorts(runtime.open_gpu_kernel(cubin.write(folder / "kernel.cubin"), "float32", cuda(0)))
    assert driver.report()["calls"]["cuInit"] == 3


@driven()
def test_launch_in_forked_process_advises_spawn(folder):
    driver, runtime = Driver(), loader.runtime()
    kernel = runtime.open_gpu_kernel(cubin.write(folder / "kernel.cubin"), "float32", cuda(0))
    with driver.failing(cuLaunchKernel=3), pytest.raises(RuntimeError, match="; .*fork.*spawn"):
        check_sorts(kernel)


def kernels_of_every_class():
    """One kernel for each codec and width, on alternating devices, with the names of its dtypes."""
    names: dict[tuple[str, int], list[str]] = {}
    for dtype in dtypes.DTYPES.values():
        names.setdefault((dtype.codec, dtype.bits), []).append(dtype.name)
    return [
        (cuda_kernel(codec, bits, *gpu_cells(bits, "sm_90")[2], ("sm_80", "sm_90")[i % 2]), names)
        for i, ((codec, bits), names) in enumerate(sorted(names.items()))
    ]


@pytest.mark.usefixtures("nvcc")
@driven()
def test_kernels_of_nvcc_open_and_launch_for_every_dtype(folder):
    """The runtime reads nvcc's code objects and passes the order of every dtype."""
    del folder
    driver = Driver()
    kernels = kernels_of_every_class()
    loader.build(kernel for kernel, _ in kernels)
    rng = np.random.default_rng(2)
    for kernel, names in kernels:
        number = ("sm_80", "sm_90").index(kernel.arch)
        for name in names:
            call = loader.open_kernel(kernel, name, number)
            for descending, nan in ((False, "largest"), (True, "largest"), (True, "last")):
                x = oracle.random(name, (kernel.layout.capacity, 3, 50), rng)
                out = np.zeros_like(x)
                claims = (OnDevice(oracle.bits(x), number), OnDevice(oracle.bits(out), number))
                call(*claims, 0, descending, nan == "last", 0)
                oracle.check(x, claims[1].array.view(x.dtype), 0, descending, nan)
                launch = driver.launches()[-1]
                assert launch["kernel"] == kernel.name
                assert launch["current_device"] == launch["module_device"] == number
    kernel, names = kernels[1]
    with pytest.raises(RuntimeError, match=f"{kernel.name} is for sm_90, but device 0 is sm_80"):
        loader.open_kernel(kernel, names[0], 0)


@pytest.mark.usefixtures("nvcc")
@driven()
def test_sort_of_cupy_arrays_from_build_to_result_equals_the_oracle(folder):
    """Arguments, plan, nvcc, driver and result, with arrays of a double of CuPy."""
    del folder
    driver, cupy = Driver(), host_cupy.install()
    rng = np.random.default_rng(3)
    for number in (0, 1):
        for name, shape, axis in (("float32", (9, 20), -1), ("int8", (30, 4, 5), 0)):
            x = oracle.random(name, shape, rng)
            array = cupy.ndarray(x.copy(), number)
            host_cupy.stream = 0x1000 + number
            for descending, nan in ((False, "largest"), (True, "last")):
                result = sort(array, axis=axis, descending=descending, nan=nan)
                assert type(result) is cupy.ndarray
                assert result.device.id == number
                oracle.check(x, result.array, axis, descending, nan)
                launch = driver.launches()[-1]
                assert launch["current_device"] == launch["module_device"] == number
                assert launch["stream"] == host_cupy.stream
                assert launch["kernel"] == explain(array, axis=axis).kernel
                assert launch["kernel"].endswith(("sm_80", "sm_90")[number])
            assert sort(array, axis=axis, out=array) is array
            oracle.check(x, array.array, axis)
    done = len(driver.launches())
    array = cupy.ndarray(np.zeros((3, 7), np.uint16), 0)
    driver.capture(host_cupy.stream)
    with pytest.raises(RuntimeError, match="is being captured into a CUDA graph"):
        sort(array)
    host_cupy.stream = 0
    with driver.failing(cuLaunchKernel=719), pytest.raises(RuntimeError, match="LAUNCH_FAILED"):
        sort(array)
    assert len(driver.launches()) == done
    sort(array)
    assert len(driver.launches()) == done + 1
    assert driver.stack() == []


@pytest.mark.usefixtures("nvcc")
@driven()
def test_sort_of_dlpack_arrays_uses_the_private_stream(folder):
    """Such arrays have no current stream. The runtime allocates the result."""
    del folder
    driver = Driver()
    rng = np.random.default_rng(4)

    def memory_of(tensor, like):
        held = (ctypes.c_char * like.nbytes).from_address(tensor.data_ptr())
        return np.frombuffer(held, like.dtype).reshape(like.shape)

    for number in (0, 1):
        for kind in (CUDA, CUDA_MANAGED):
            for shape, axis in (((9, 20), -1), ((30, 4, 5), 0), ((), -1), ((3, 0), 0), ((4, 1), 1)):
                x = oracle.random("int32", shape, rng)
                result = sort(OnDevice(x, number, kind=kind), axis=axis)
                assert result.__dlpack_device__() == (CUDA, number)
                assert tuple(result.shape) == shape
                (memory,) = driver.report()["memory"]
                assert memory["device"] == number
                if x.size:
                    oracle.check(x, memory_of(result, x), axis)
                    stream = {s["handle"]: s for s in driver.report()["streams"]}
                    assert stream[driver.launches()[-1]["stream"]]["device"] == number
                del result
                assert driver.report()["memory"] == []
    x = OnDevice(array(9, 20), 1)
    done = sum(stream["waits"] for stream in driver.report()["streams"])
    with driver.failing(cuLaunchKernel=719), pytest.raises(RuntimeError, match="LAUNCH_FAILED"):
        sort(x)
    with driver.failing(cuMemAlloc_v2=2), pytest.raises(MemoryError, match="cannot allocate 720"):
        sort(x)
    report = driver.report()
    assert report["memory"] == []
    assert sum(stream["waits"] for stream in report["streams"]) == done + 1
    sort(x)
    assert driver.stack() == []


if __name__ == "__main__":
    driver_double.run_body(globals())
