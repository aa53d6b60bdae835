"""Launches of CUDA kernels: devices, streams, memory, and the errors of launches.

Every test runs in a process of its own, against a double of the driver (support/cuda_double.py): no
device is needed.
"""

import threading

import numpy as np
import pytest
import tvm_ffi

from support import cubin, driver_double
from support.cuda_double import LIBRARY, Driver, check_sorts, cuda, open_both
from support.driver_double import array, driven
from support.host_cupy import CUDA_MANAGED, OnDevice
from warp_bitonic_sort.jit import loader

double = driver_double.fixture("fake_cuda.cc", LIBRARY)


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
    kernels, driver, runtime = open_both(folder), Driver(), loader.runtime()
    again = runtime.open_launch_cache("all", "none")
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
    kernels, driver = open_both(folder), Driver()
    stacks = []

    def work(number):
        for _ in range(50):
            check_sorts(kernels[number], number)
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
def test_grid_has_a_cluster_for_every_tile_up_to_its_limit(folder):
    driver, runtime = Driver(), loader.runtime()
    driver.record_only()
    path = cubin.write(folder / "kernel.cubin", rows=1, blocks=8)
    kernel = runtime.open_gpu_kernel(path, "float32", cuda(0))
    most = (2**31 - 1) // 8
    for rows in (1, 7, most):
        x = OnDevice(array(2, 8), shape=(rows, 8))
        kernel(x, x, -1, False, False, 0)
        assert driver.launches()[-1]["grid"] == [8 * rows, 1, 1]
    x = OnDevice(array(2, 8), shape=(most + 1, 8))
    with pytest.raises(RuntimeError, match=f"x: expected at most {most} rows .*, got {most + 1};"):
        kernel(x, x, -1, False, False, 0)


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
    kernels, driver, runtime = open_both(folder), Driver(), loader.runtime()

    with driver.failing(cuStreamCreate=2), pytest.raises(RuntimeError, match="OUT_OF_MEMORY"):
        check_sorts(kernels[0], 0, -1)
    assert driver.launches() == []
    for current in ([], [0], [1]):
        with driver.current(current):
            for number, kernel in enumerate(kernels):
                before = driver.streams().get(number, {"waits": 0})["waits"]
                check_sorts(kernel, number, -1)
                own = driver.streams()[number]
                assert own["flags"] == 1
                assert own["waits"] == before + 1
                assert own["handle"] == runtime.private_stream(cuda(number))
                launch = driver.launches()[-1]
                assert launch["stream"] == own["handle"]
                assert launch["current_device"] == number
                # A launch of several may have begun before one fails.
                with driver.failing(cuLaunchKernel=719), pytest.raises(RuntimeError):
                    check_sorts(kernel, number, -1)
                assert driver.streams()[number]["waits"] == before + 2
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


@driven()
def test_launch_in_forked_process_advises_spawn(folder):
    driver, runtime = Driver(), loader.runtime()
    kernel = runtime.open_gpu_kernel(cubin.write(folder / "kernel.cubin"), "float32", cuda(0))
    with driver.failing(cuLaunchKernel=3), pytest.raises(RuntimeError, match="; .*fork.*spawn"):
        check_sorts(kernel)


if __name__ == "__main__":
    driver_double.run_body(globals())
