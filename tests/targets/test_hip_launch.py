"""Launches of HIP kernels: devices, streams, memory, and the errors of launches.

Every test runs in a process of its own, against a double of HIP (support/hip_double.py): no device
is needed.
"""

import ctypes
import threading

import numpy as np
import pytest
import tvm_ffi

from support import cubin, driver_double, hsaco
from support.driver_double import array, driven
from support.hip_double import LIBRARY, TARGETS, Driver, check_sorts, hip, on_hip, open_both
from support.host_cupy import ROCM, OnDevice
from warp_bitonic_sort.jit import loader

double = driver_double.fixture("fake_hip.cc", LIBRARY)


@driven()
def test_launch_runs_on_the_arrays_own_device(folder):
    kernels, driver, runtime = open_both(folder), Driver(), loader.runtime()
    for current in (0, 1):
        with driver.current(current):
            for number, kernel in enumerate(kernels):
                path = str(folder / f"{TARGETS[number]}.co")
                runtime.open_gpu_kernel(path, "float32", hip(number))
                assert driver.device() == current
                check_sorts(kernel, number)
                assert driver.device() == current
                launch = driver.launches()[-1]
                assert launch["current_device"] == launch["module_device"] == number
                with driver.failing(hipModuleLaunchKernel=1), pytest.raises(RuntimeError):
                    check_sorts(kernel, number)
                assert driver.device() == current
                assert runtime.is_capturing(hip(number), 0) is False
                assert runtime.gpu_arch(hip(number)) == TARGETS[number]
    # On the current device a launch calls nothing beside hipGetDevice.
    before = driver.report()["calls"]
    with driver.current(1):
        check_sorts(kernels[1], 1)
        after = driver.report()["calls"]
    made = {name: after[name] - before.get(name, 0) for name in after}
    assert {name: count for name, count in made.items() if count} == {
        "hipGetDevice": 1,
        "hipSetDevice": 1,  # the test's own
        "hipModuleLaunchKernel": 1,
    }


@driven()
def test_launch_cache_relaunches_equal_sorts_only(folder):
    """A relaunch uses the ROCm device's current stream, not the CUDA device's."""
    kernels, driver, runtime = open_both(folder), Driver(), loader.runtime()
    again = runtime.open_launch_cache("all", "none")
    x = array(10, 8)
    out = np.zeros_like(x)
    a, b = on_hip(x), on_hip(out)
    assert not again(a, b, -1, False, False)
    kernels[0](a, b, -1, False, False, 0, True)
    out[:] = 0
    assert again(a, b, 1, False, False)
    np.testing.assert_array_equal(out, np.sort(x))
    launches = len(driver.launches())
    for axis, descending, nan_last in ((1, True, False), (1, False, True), (0, False, False)):
        assert not again(a, b, axis, descending, nan_last)
    assert not again(on_hip(x, 1), on_hip(out, 1), 1, False, False)
    # Laid out alike, and of the same number.
    assert not again(OnDevice(x), OnDevice(out), 1, False, False)
    assert not again(x, out, 1, False, False)
    assert len(driver.launches()) == launches
    with (
        tvm_ffi.use_raw_stream(tvm_ffi.device("rocm", 0), 0x777),
        tvm_ffi.use_raw_stream(tvm_ffi.device("cuda", 0), 0x999),
    ):
        assert again(b, b, 1, False, False)
        assert runtime.current_stream(b) == 0x777
    assert driver.launches()[-1]["stream"] == 0x777
    kernels[1](on_hip(x, 1), on_hip(out, 1), -1, False, False, 0, True)
    assert again(on_hip(x, 1), on_hip(out, 1), 1, False, False)
    assert driver.launches()[-1]["current_device"] == 1
    with (
        driver.failing(hipModuleLaunchKernel=719),
        pytest.raises(RuntimeError, match="hipErrorLaunchFailure"),
    ):
        again(a, b, 1, False, False)
    assert again(a, b, 1, False, False)


@driven()
def test_launches_of_threads_run_on_their_arrays_devices(folder):
    kernels, driver = open_both(folder), Driver()
    devices = []

    def work(number):
        for _ in range(50):
            check_sorts(kernels[number], number)
        devices.append(driver.device())

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert devices == [0] * 4
    launches = driver.launches()
    assert len(launches) == 200
    assert all(launch["current_device"] == launch["module_device"] for launch in launches)


@driven()
def test_launch_gets_stream_block_and_shared_memory(folder):
    kernels, driver = open_both(folder, threads=256, rows=64, shared_bytes=64 * 1024), Driver()
    for stream in (0, 1, 2, 0x7F12_3456_7890):
        check_sorts(kernels[0], stream=stream)
        launch = driver.launches()[-1]
        assert launch["stream"] == stream
        assert launch["block"] == [256, 1, 1]
        assert launch["shared_bytes"] == 64 * 1024
        assert launch["one"] == 1
    assert "hipDeviceGetAttribute" not in driver.report()["calls"]
    x, there = array(10, 8), on_hip(array(10, 8))
    with pytest.raises(ValueError, match="x: expected a tensor on HIP device 0, .* HIP device 1"):
        kernels[0](on_hip(x, 1), there, -1, False, False, 0)
    with pytest.raises(ValueError, match="x: expected a tensor on HIP device 0, .* CUDA device 0"):
        kernels[0](OnDevice(x), there, -1, False, False, 0)
    with pytest.raises(ValueError, match="out: expected a tensor on HIP device 0, .* the CPU"):
        kernels[0](there, x, -1, False, False, 0)


@driven()
def test_grid_has_a_block_for_every_tile_up_to_its_limit(folder):
    """A block for every tile as long as 32 bits hold all threads; blocks walk over the rest."""
    for threads in (1, 2, 64, 256, 1024):
        kernels, driver = open_both(folder, threads=threads, rows=64), Driver()
        driver.record_only()
        most = min(2**31 - 1, (2**32 - 1) // threads)
        for rows, blocks in (
            (1, 1),
            (64, 1),
            (65, 2),
            (64 * most, most),
            (64 * most + 1, most),
            (64 * 2**33, most),
        ):
            # In place, for two claims of that size would overlap.
            x = on_hip(array(2, 8), shape=(rows, 8))
            kernels[0](x, x, -1, False, False, 0)
            launch = driver.launches()[-1]
            assert launch["rows"] == rows
            assert launch["grid"] == [blocks, 1, 1]


@driven()
def test_call_with_many_batch_dimensions_takes_several_launches(folder):
    kernels, driver = open_both(folder), Driver()
    rank = cubin.MAX_BATCH_DIMS + 2
    whole = array(*(3,) * rank, 8)
    x = whole[(slice(None, None, 2),) * rank]
    out = np.zeros(x.shape[::-1], np.float32)
    kernels[0](on_hip(x), on_hip(out.T), -1, False, False, 0)
    np.testing.assert_array_equal(out.T, np.sort(x))
    assert len(driver.launches()) == 2**2
    with driver.failing(hipModuleLaunchKernel=719), pytest.raises(RuntimeError):
        kernels[0](on_hip(x), on_hip(out.T), -1, False, False, 0)
    assert driver.report()["calls"]["hipModuleLaunchKernel"] == 2**2 + 1


@driven()
def test_error_of_an_earlier_kernel_says_so(folder):
    """HIP reports a kernel's error at whatever call comes next, and at all after it."""
    path = hsaco.write(folder / "kernel.co", "gfx1100")
    runtime = loader.runtime()
    opened = runtime.open_gpu_kernel(path, "float32", hip(1))
    driver = Driver()
    for code, name, text in (
        (700, "IllegalAddress", "an illegal memory access was encountered"),
        (702, "LaunchTimeOut", "the launch timed out and was terminated"),
        (710, "Assert", "device-side assert triggered"),
        (719, "LaunchFailure", "unspecified launch failure"),
    ):
        words = (
            rf"on HIP device 1 failed: hipError{name} \({text}\); "
            "it may come from an earlier kernel, of any library, .*AMD_SERIALIZE_KERNEL=3"
        )
        sticky = dict.fromkeys(
            ("hipModuleLoadData", "hipModuleUnload", "hipMemcpyDtoH", "hipModuleLaunchKernel"), code
        )
        for current in (0, 1):
            with driver.current(current), driver.failing(**sticky):
                with pytest.raises(RuntimeError, match=rf"loading the kernel .*co {words}"):
                    runtime.open_gpu_kernel(path, "float32", hip(1))
                with pytest.raises(RuntimeError, match=f"launching sort_hip_of_a_test {words}"):
                    check_sorts(opened, 1)
            assert driver.report()["modules"] == 1
            assert driver.last_error() == 0
            check_sorts(opened, 1)
    # These come from the call itself; the last is one that HIP has no name for.
    for code, text in (
        (1, r"hipErrorInvalidValue \(invalid argument\)$"),
        (701, "hipErrorLaunchOutOfResources"),
        (12345, r"hipErrorUnknown \(unknown error 12345\)$"),
    ):
        with driver.failing(hipModuleLaunchKernel=code):
            with pytest.raises(RuntimeError, match=text) as raised:
                check_sorts(opened, 1)
            assert "earlier kernel" not in str(raised.value)
    for code, advice in (
        (3, "fork.*spawn"),
        (709, "stream was destroyed"),
        (999, r"\(unknown error\); rocminfo"),
    ):
        with (
            driver.failing(hipModuleLaunchKernel=code),
            pytest.raises(RuntimeError, match=f"; .*{advice}" if code != 999 else advice),
        ):
            check_sorts(opened, 1)
    check_sorts(opened, 1)


@driven()
def test_is_capturing_of_the_captured_stream_is_true(folder):
    del folder
    runtime = loader.runtime()
    runtime.gpu_arch(hip(0))
    driver = Driver()
    driver.capture(0x1234)
    for current in (0, 1):
        with driver.current(current):
            assert runtime.is_capturing(hip(1), 0x1234) is True
            assert runtime.is_capturing(hip(1), 0x1235) is False
            assert runtime.is_capturing(hip(1), -1) is False
            with (
                driver.failing(hipStreamIsCapturing=709),
                pytest.raises(
                    RuntimeError, match="HIP device 1 failed: .*; the stream was destroy"
                ),
            ):
                runtime.is_capturing(hip(1), 0x1235)
            # The legacy stream's answer while another stream is captured: no launch may go there.
            with driver.failing(hipStreamIsCapturing=906):
                assert runtime.is_capturing(hip(1), 0) is True
            assert driver.last_error() == 0


@driven()
def test_launch_in_the_private_stream_is_waited_for(folder):
    """It is waited for even if it fails."""
    kernels, driver, runtime = open_both(folder), Driver(), loader.runtime()

    with (
        driver.failing(hipStreamCreateWithFlags=2),
        pytest.raises(RuntimeError, match="hipErrorOutOfMemory"),
    ):
        check_sorts(kernels[0], 0, -1)
    assert driver.launches() == []
    for current in (0, 1):
        with driver.current(current):
            for number, kernel in enumerate(kernels):
                before = driver.streams().get(number, {"waits": 0})["waits"]
                check_sorts(kernel, number, -1)
                own = driver.streams()[number]
                assert own["flags"] == 1
                assert own["waits"] == before + 1
                assert own["handle"] == runtime.private_stream(hip(number))
                launch = driver.launches()[-1]
                assert launch["stream"] == own["handle"]
                assert launch["current_device"] == number
                # A launch of several may have begun before one fails.
                with driver.failing(hipModuleLaunchKernel=719), pytest.raises(RuntimeError):
                    check_sorts(kernel, number, -1)
                assert driver.streams()[number]["waits"] == before + 2
                with (
                    driver.failing(hipStreamSynchronize=700),
                    pytest.raises(RuntimeError, match="waiting for a sort on HIP device .*Illegal"),
                ):
                    check_sorts(kernel, number, -1)
                assert driver.last_error() == 0
    assert len(driver.report()["streams"]) == 2


@driven()
def test_empty_gpu_memory_is_on_its_device_until_freed(folder):
    del folder
    runtime = loader.runtime()
    runtime.gpu_arch(hip(0))
    driver = Driver()
    float32 = tvm_ffi.dtype("float32")
    for current in (0, 1):
        with driver.current(current):
            for number in (0, 1):
                made = runtime.empty_gpu((3, 5), float32, hip(number))
                assert made.__dlpack_device__() == (ROCM, number)
                (memory,) = driver.report()["memory"]
                assert memory == {"address": made.data_ptr(), "device": number, "bytes": 60}
                assert driver.device() == current
                del made
                assert driver.report()["memory"] == []
                assert driver.device() == current
                with (
                    driver.failing(hipMalloc=2),
                    pytest.raises(MemoryError, match="60 bytes on HIP device .*OutOfMemory .*libr"),
                ):
                    runtime.empty_gpu((3, 5), float32, hip(number))
    # An error other than a lack of memory is no MemoryError.
    with (
        driver.failing(hipMalloc=700),
        pytest.raises(RuntimeError, match="60 bytes on HIP device 0 .*earlier kernel"),
    ):
        runtime.empty_gpu((3, 5), float32, hip(0))
    # Freeing must not raise, even if the device has failed.
    for failing in ("hipFree", "hipSetDevice", "hipDeviceSynchronize"):
        made = runtime.empty_gpu((3, 5), float32, hip(1))
        with driver.failing(**{failing: 719}):
            del made
    assert driver.device() == 0 or driver.library.hipSetDevice(0) == 0
    assert driver.last_error() == 0
    # The error of another library stays.
    assert driver.library.hipSetDevice(99) == 101
    made = runtime.empty_gpu((3, 5), float32, hip(1))
    del made
    assert runtime.is_capturing(hip(0), 0) is False
    assert driver.last_error() == 101


@driven()
def test_launch_with_a_run_function_passes_image_and_arguments(folder):
    """As an emulator would run them: image, target, grid, block, LDS and arguments."""
    kernels, driver = open_both(folder, threads=256, rows=4, shared_bytes=2048), Driver()
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_uint * 3), ctypes.POINTER(ctypes.c_uint * 3), ctypes.c_uint,
        ctypes.c_void_p, ctypes.c_size_t,
    )  # fmt: skip
    ran = []

    @prototype
    def run(image, image_bytes, target, grid, block, shared_bytes, args, args_bytes):
        ran.append(
            (
                ctypes.string_at(image, image_bytes),
                target,
                list(grid.contents),
                list(block.contents),
                shared_bytes,
                ctypes.string_at(args, args_bytes),
            )
        )
        return 719 if len(ran) == 2 else 0

    driver.library.fake_hip_run_with(run)
    x, out = array(10, 8), np.zeros((10, 8), np.float32)
    kernels[1](on_hip(x, 1), on_hip(out, 1), -1, False, False, 0)
    with pytest.raises(RuntimeError, match="LaunchFailure"):
        kernels[1](on_hip(x, 1), on_hip(out, 1), -1, False, False, 0)
    image, target, grid, block, shared_bytes, args = ran[0]
    assert image == (folder / "gfx1100.co").read_bytes()
    assert (target, grid, block, shared_bytes) == (b"gfx1100", [3, 1, 1], [256, 1, 1], 2048)
    assert int.from_bytes(args[:8], "little") == x.ctypes.data
    assert int.from_bytes(args[8:16], "little") == out.ctypes.data
    assert not out.any()
    driver.library.fake_hip_run_with(None)
    check_sorts(kernels[1], 1)


if __name__ == "__main__":
    driver_double.run_body(globals())
