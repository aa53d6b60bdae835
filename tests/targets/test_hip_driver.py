"""Opening and launching kernels on AMD's devices, against a double of HIP: no device is needed.

cpp/fake_hip.cc is the double (driver_double.py says how tests run with it).
"""

import contextlib
import ctypes
import os
import re
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import tvm_ffi

from support import cubin, driver_double, host_cupy, hsaco, oracle
from support.descriptions import plan_sort
from support.driver_double import DRIVERS, driven
from support.host_cupy import ROCM, OnDevice
from warp_bitonic_sort import dtypes, explain, sort
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.jit.store.files import stamp
from warp_bitonic_sort.jit.store.store import Entry
from warp_bitonic_sort.targets import recipe_of

LIBRARY = "libamdhip64.so"
TARGETS = ("gfx90a", "gfx1100")  # of the double's devices, by default


double = driver_double.fixture("fake_hip.cc", LIBRARY)


def hip(number):
    return loader.device_of("hip", number)


class Driver(driver_double.Driver):
    LIBRARY, PREFIX = LIBRARY, "fake_hip"

    def device(self):
        """The thread's current device."""
        return self.report()["device"]

    def last_error(self):
        """The result that hipGetLastError() would give to a framework."""
        return self.report()["last_error"]

    @contextlib.contextmanager
    def current(self, device):
        """Have a device be this thread's current one, and find it so afterwards."""
        assert self.library.hipSetDevice(device) == 0
        yield
        assert self.device() == device


def array(*shape, dtype=np.float32):
    return np.random.default_rng(1).random(shape).astype(dtype)


def on_hip(array, number=0, **options):
    return OnDevice(array, number, kind=ROCM, **options)


def check_sorts(kernel, number=0, stream=0):
    x = array(10, 8)
    out = np.zeros_like(x)
    kernel(on_hip(x, number), on_hip(out, number), -1, False, False, stream)
    np.testing.assert_array_equal(out, np.sort(x))


def open_both(folder, **said):
    """Kernels for the double's devices."""
    runtime = loader.runtime()
    paths = [hsaco.write(folder / f"{target}.co", target, **said) for target in TARGETS]
    return [runtime.open_gpu_kernel(path, "float32", hip(i)) for i, path in enumerate(paths)]


# From here on every body runs in a process of its own.


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


@driven(FAKE_HIP_DEVICES="gfx942,gfx950")
def test_open_of_kernel_with_too_much_shared_memory_raises(folder):
    driver, runtime = Driver(), loader.runtime()
    kib = 1024
    for number, target, most in ((0, "gfx942", 64 * kib), (1, "gfx950", 160 * kib)):
        path = hsaco.write(folder / f"{target}.co", target, shared_bytes=most)
        check_sorts(runtime.open_gpu_kernel(path, "float32", hip(number)), number)
        path = hsaco.write(folder / f"{target}.co", target, shared_bytes=most + 16)
        with pytest.raises(
            RuntimeError,
            match=f"sort_hip_of_a_test takes {most + 16} bytes of LDS a block, and HIP device "
            f"{number} has {most}",
        ):
            runtime.open_gpu_kernel(path, "float32", hip(number))
    assert driver.report()["modules"] == 2
    with driver.failing(hipDeviceGetAttribute=1), pytest.raises(RuntimeError, match="Attribute"):
        runtime.open_gpu_kernel(path, "float32", hip(1))


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


# glibc then fills memory that is given back with bytes that are not what it held.
@driven(MALLOC_PERTURB_="85")
def test_image_of_an_open_kernel_is_kept(folder):
    kernels = open_both(folder)
    for path in folder.glob("*.co"):
        path.unlink()
    rubbish = [os.urandom(4000) for _ in range(100)]
    for number, kernel in enumerate(kernels):
        check_sorts(kernel, number)
    del rubbish


OPENING = [
    "hipGetDevice",
    "hipSetDevice",
    "hipModuleLoadData",
    "hipModuleGetFunction",
    "hipModuleGetGlobal",
    "hipMemcpyDtoH",
    "hipDeviceGetAttribute",
]


@driven(FAKE_HIP_DEVICES="gfx950,gfx90a")
def test_open_that_fails_leaks_nothing(folder):
    runtime = loader.runtime()
    path = hsaco.write(folder / "kernel.co", "gfx950", shared_bytes=100_000)
    runtime.gpu_arch(hip(0))
    driver = Driver()
    with driver.current(1):
        for step in OPENING:
            with (
                driver.failing(**{step: 2}),
                pytest.raises(RuntimeError, match=r"hipErrorOutOfMemory \(out of memory\); free"),
            ):
                runtime.open_gpu_kernel(path, "float32", hip(0))
            assert driver.report()["modules"] == 0, step
            assert driver.device() == 1, step
            assert driver.last_error() == 0, step
        for dtype in ("int32", "float64"):
            with pytest.raises(ValueError, match=f"dtype: .*{dtype}"):
                runtime.open_gpu_kernel(path, dtype, hip(0))
            assert driver.report()["modules"] == 0
    # The first error is the one that is raised.
    with (
        driver.failing(hipModuleGetFunction=2, hipModuleUnload=999),
        pytest.raises(RuntimeError, match="hipErrorOutOfMemory"),
    ):
        runtime.open_gpu_kernel(path, "float32", hip(0))
    assert driver.last_error() == 0
    check_sorts(runtime.open_gpu_kernel(path, "float32", hip(0)))


@driven()
def test_open_of_foreign_code_object_raises(folder):
    runtime = loader.runtime()
    runtime.gpu_arch(hip(0))
    driver = Driver()
    kernel = folder / "kernel.co"

    def check_refused(content, message):
        kernel.write_bytes(content)
        with pytest.raises(RuntimeError, match=message):
            runtime.open_gpu_kernel(str(kernel), "float32", hip(0))
        assert driver.report()["modules"] == 0
        assert driver.last_error() == 0

    said = cubin.constant()
    another = "kernel.co was built for another version of warp_bitonic_sort"
    check_refused(hsaco.hsaco(cubin.constant(abi_version=cubin.ABI_VERSION + 1)), another)
    check_refused(hsaco.hsaco(said + bytes(8)), another)
    check_refused(
        hsaco.hsaco(said, function="another"), "kernel.co .*hipErrorNotFound .*named symbol"
    )
    check_refused(b"", "kernel.co is empty")
    check_refused(b"not a code object", "kernel.co .*hipErrorInvalidImage .*damaged, or .*newer")
    check_refused(cubin.cubin(said), "does not run on HIP device 0, an gfx90a")
    with driver.failing(hipModuleLoadData=218):
        check_refused(hsaco.hsaco(said), "hipErrorInvalidKernelFile .*damaged, or .*update ROCm")
    with pytest.raises(RuntimeError, match="cannot open the kernel .*missing.co"):
        runtime.open_gpu_kernel(str(folder / "missing.co"), "float32", hip(0))
    # HIP itself would read beyond the end.
    whole = hsaco.hsaco(said)
    loads = driver.report()["calls"]["hipModuleLoadData"]
    for size in (4, 63, 64, 100, len(whole) - 1):
        check_refused(whole[:size], "kernel.co is cut off")
    assert driver.report()["calls"]["hipModuleLoadData"] == loads
    kernel.write_bytes(whole)
    check_sorts(runtime.open_gpu_kernel(str(kernel), "float32", hip(0)))


@driven()
def test_open_of_kernel_for_another_target_raises(folder):
    runtime = loader.runtime()
    path = hsaco.write(folder / "kernel.co", "gfx1100")
    with pytest.raises(
        RuntimeError,
        match="the kernel .*kernel.co does not run on HIP device 0, an gfx90a: "
        "hipErrorNoBinaryForGpu .no kernel image is available .*; build it for gfx90a",
    ):
        runtime.open_gpu_kernel(path, "float32", hip(0))
    assert Driver().last_error() == 0
    check_sorts(runtime.open_gpu_kernel(path, "float32", hip(1)), 1)


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


def rocm5(double, folder):
    """A double that has ROCm 5's properties alone."""
    del double
    driver_double.build("fake_hip.cc", folder / "libamdhip64.so.5", "-DFAKE_HIP_ROCM5")
    return folder


def check_devices(folder, query):
    runtime = loader.runtime()
    path = hsaco.write(folder / "kernel.co", "gfx942")
    found = [runtime.gpu_arch(hip(number)) for number in range(4)]
    assert found == ["gfx942", "gfx90a", "gfx1100", "gfx9-4-generic"]
    driver = Driver()
    assert driver.report()["calls"][query] == 4
    check_sorts(runtime.open_gpu_kernel(path, "float32", hip(0)))
    calls = [
        runtime.gpu_arch,
        lambda device: runtime.is_capturing(device, 0),
        runtime.private_stream,
        lambda device: runtime.open_gpu_kernel(path, "float32", device),
    ]
    for call in calls:
        for number in (4, 127, 128, 2**31 - 1):
            with pytest.raises(RuntimeError, match=rf"HIP device {number}\b.*invalid device"):
                call(hip(number))
        with pytest.raises(ValueError, match="device: expected a CUDA or ROCm device, got HIP"):
            call(hip(-1))
    assert driver.last_error() == 0
    with driver.failing(**{query: 1}), pytest.raises(RuntimeError, match="Properties on HIP"):
        runtime.gpu_arch(hip(0))


DEVICES = "gfx942,gfx90a,gfx1100,gfx9-4-generic"


@driven(FAKE_HIP_DEVICES=DEVICES)
def test_gpu_arch_of_every_device_is_found_and_of_others_raises(folder):
    check_devices(folder, "hipGetDevicePropertiesR0600")


@driven(rocm5, FAKE_HIP_DEVICES=DEVICES)
def test_gpu_arch_of_devices_of_rocm_5_is_found_and_of_others_raises(folder):
    Driver.LIBRARY = "libamdhip64.so.5"
    check_devices(folder, "hipGetDeviceProperties")


@driven(FAKE_HIP_DEVICES="unheard-of")
def test_gpu_arch_of_device_without_a_target_raises(folder):
    del folder
    with pytest.raises(RuntimeError, match=r"HIP device 0: .*does not tell its target"):
        loader.runtime().gpu_arch(hip(0))


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

    def streams():
        return {stream["device"]: stream for stream in driver.report()["streams"]}

    with (
        driver.failing(hipStreamCreateWithFlags=2),
        pytest.raises(RuntimeError, match="hipErrorOutOfMemory"),
    ):
        check_sorts(kernels[0], 0, -1)
    assert driver.launches() == []
    for current in (0, 1):
        with driver.current(current):
            for number, kernel in enumerate(kernels):
                before = streams().get(number, {"waits": 0})["waits"]
                check_sorts(kernel, number, -1)
                own = streams()[number]
                assert own["flags"] == 1
                assert own["waits"] == before + 1
                assert own["handle"] == runtime.private_stream(hip(number))
                launch = driver.launches()[-1]
                assert launch["stream"] == own["handle"]
                assert launch["current_device"] == number
                # A launch of several may have begun before one fails.
                with driver.failing(hipModuleLaunchKernel=719), pytest.raises(RuntimeError):
                    check_sorts(kernel, number, -1)
                assert streams()[number]["waits"] == before + 2
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


def absent(double, folder):
    """A folder without HIP, where the machine has none of its own."""
    del double
    for name in (LIBRARY, "/opt/rocm/lib/libamdhip64.so"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            pytest.skip("this machine has HIP")
    return folder


@driven(absent)
def test_call_without_driver_says_what_to_install(folder):
    path = hsaco.write(folder / "kernel.co")
    runtime = loader.runtime()
    calls = [
        lambda: runtime.gpu_arch(hip(0)),
        lambda: runtime.is_capturing(hip(0), 0),
        lambda: runtime.open_gpu_kernel(path, "float32", hip(0)),
    ]
    for _ in range(2):
        for call in calls:
            with pytest.raises(
                RuntimeError,
                match="no HIP: libamdhip64.so is neither .*; install ROCm, or set ROCM",
            ):
                call()
    # A library that is there, and does not load.
    (folder / "libamdhip64.so.6").write_text("not a library")
    with pytest.raises(RuntimeError, match=r"no HIP: .*libamdhip64\.so\.6: .*; install ROCm"):
        calls[0]()
    # It may come later.
    driver_double.build("fake_hip.cc", folder / "libamdhip64.so.7")
    assert runtime.gpu_arch(hip(0)) == "gfx90a"


@driven(absent)
def test_rocm_path_names_the_folder_of_hip(folder):
    """It may name a folder that the dynamic loader does not search."""
    (folder / "lib").mkdir()
    driver_double.build("fake_hip.cc", folder / "lib" / LIBRARY)
    os.environ["ROCM_PATH"] = str(folder / "nowhere")
    with pytest.raises(RuntimeError, match="no HIP"):
        loader.runtime().gpu_arch(hip(0))
    os.environ["ROCM_PATH"] = str(folder)
    assert loader.runtime().gpu_arch(hip(0)) == "gfx90a"


@driven(FAKE_HIP_DEVICES="gfx942")
def test_hip_that_a_framework_loaded_is_used(folder):
    """Of any version, and in a folder that the dynamic loader does not search."""
    place = folder / "torch" / "lib"
    place.mkdir(parents=True)
    driver_double.build("fake_hip.cc", place / "libamdhip64.so.99")
    theirs = ctypes.CDLL(str(place / "libamdhip64.so.99"))
    assert loader.runtime().gpu_arch(hip(0)) == "gfx942"
    theirs.fake_hip_report.restype = ctypes.c_char_p
    assert b'"hipInit": 1' in theirs.fake_hip_report()


def older(double, folder):
    """A HIP of the time when streams were not captured yet."""
    del double
    names = sorted(set(re.findall(r'"(hip[A-Z]\w+)"', (DRIVERS / "hip.hpp").read_text())))
    names.remove("hipStreamIsCapturing")
    source = folder / "older.cc"
    source.write_text("\n".join(f'extern "C" int {name}() {{ return 0; }}' for name in names))
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-fPIC", "-shared", str(source), "-o", str(folder / LIBRARY)]
    subprocess.run(command, check=True)
    return folder


@driven(older)
def test_call_with_too_old_driver_raises(folder):
    del folder
    with pytest.raises(
        RuntimeError, match="libamdhip64 has no hipStreamIsCapturing; it is too old, update ROCm"
    ):
        loader.runtime().gpu_arch(hip(0))


@driven(FAKE_HIP_FAIL="hipInit=100")
def test_call_with_driver_that_does_not_start_raises(folder):
    runtime = loader.runtime()
    with pytest.raises(
        RuntimeError,
        match=r"starting HIP failed: hipErrorNoDevice \(no ROCm-capable device is detected\); .*"
        + ("HIP_VISIBLE_DEVICES|/dev/kfd" if Path("/dev/kfd").exists() else "there is no /dev/kfd"),
    ):
        runtime.gpu_arch(hip(0))
    driver = Driver()
    with (
        driver.failing(hipInit=35),
        pytest.raises(RuntimeError, match="hipErrorInsufficientDriver .*amdgpu .*update"),
    ):
        runtime.gpu_arch(hip(0))
    # Nothing of a failed start is kept.
    assert driver.last_error() == 0
    path = hsaco.write(folder / "kernel.co")
    check_sorts(runtime.open_gpu_kernel(path, "float32", hip(0)))
    assert driver.report()["calls"]["hipInit"] == 3


@driven()
def test_kernels_of_cuda_and_hip_in_one_process_use_their_own_drivers(folder):
    """A device's type decides which driver is called."""
    kernels = open_both(folder)
    runtime = loader.runtime()
    cuda = loader.device_of("cuda", 0)
    with pytest.raises(RuntimeError, match="no CUDA driver|on CUDA device 0"):
        runtime.open_gpu_kernel(str(folder / "gfx90a.co"), "float32", cuda)
    check_sorts(kernels[0])


# From here on: sort itself. Kernels are written instead of compiled.


def without_a_compiler(folder):
    """Have the loader find every HIP kernel in a folder."""
    find = loader._ready

    def ready(kernels, *_):
        find([])
        return {kernel.name: written(folder, kernel) for kernel in kernels}

    loader._ready = ready


def written(folder, kernel):
    assert kernel.target == "hip"
    product = folder / kernel.name / recipe_of(kernel.target).product
    product.parent.mkdir(exist_ok=True)
    hsaco.write(
        product,
        kernel.arch,
        name=kernel.name,
        codec=kernel.codec,
        bits=kernel.bits,
        capacity=kernel.layout.capacity,
    )
    return Entry(product.parent, kernel.target, stamp(product.stat()))


def memory_of(tensor, like):
    held = (ctypes.c_char * like.nbytes).from_address(tensor.data_ptr())
    return np.frombuffer(held, like.dtype).reshape(like.shape)


@driven()
def test_kernel_call_of_every_dtype_equals_the_oracle(folder):
    without_a_compiler(folder)
    rng = np.random.default_rng(2)
    for name in dtypes.DTYPES:
        for descending, nan in ((False, "largest"), (True, "largest"), (True, "last")):
            x = oracle.random(name, (7, 3, 50), rng)
            tensor = tvm_ffi.from_dlpack(on_hip(oracle.bits(x)))
            claim = on_hip(oracle.bits(x).copy())
            kernel = plan_sort(
                dtypes.DTYPES[name], x.shape, (150, 50, 1), (150, 50, 1), 2, "gfx90a"
            ).kernel
            call = loader.open_kernel(kernel, name, 0)
            call(tensor, claim, -1, descending, nan == "last", 0)
            oracle.check(x, claim.array.view(x.dtype), -1, descending, nan)


@driven()
def test_sort_of_dlpack_arrays_uses_the_private_stream(folder):
    """Such arrays have no current stream. The runtime allocates the result."""
    without_a_compiler(folder)
    rng = np.random.default_rng(4)
    asked = []

    class Producer(OnDevice):
        def __dlpack__(self, **options):
            asked.append(options.get("stream"))
            return super().__dlpack__(**options)

    for number in (0, 1):
        for shape, axis in (((9, 20), -1), ((30, 4, 5), 0), ((), -1), ((3, 0), 0), ((4, 1), 1)):
            x = oracle.random("int32", shape, rng)
            result = sort(Producer(x, number, kind=ROCM), axis=axis)
            driver = Driver()
            assert result.__dlpack_device__() == (ROCM, number)
            assert tuple(result.shape) == shape
            (memory,) = driver.report()["memory"]
            assert memory["device"] == number
            if x.size:
                oracle.check(x, memory_of(result, x), axis)
                stream = {s["handle"]: s for s in driver.report()["streams"]}
                assert stream[driver.launches()[-1]["stream"]]["device"] == number
            del result
            assert driver.report()["memory"] == []
        own = {s["device"]: s["handle"] for s in driver.report()["streams"]}
        # DLPack's numbers 1 and 2 mean no stream on ROCm.
        assert set(asked) <= set(own.values())
        assert min(own.values()) > 2
    x = on_hip(array(9, 20), 1)
    told = explain(x)
    assert (told.backend, told.arch) == ("hip", "gfx1100")
    assert told.kernel.endswith("gfx1100")
    assert "on hip (gfx1100)" in str(told)
    done = sum(stream["waits"] for stream in driver.report()["streams"])
    with driver.failing(hipModuleLaunchKernel=719), pytest.raises(RuntimeError, match="Failure"):
        sort(x)
    with driver.failing(hipMalloc=2), pytest.raises(MemoryError, match="cannot allocate 720"):
        sort(x)
    report = driver.report()
    assert report["memory"] == []
    assert sum(stream["waits"] for stream in report["streams"]) == done + 1
    sort(x)
    assert driver.device() == 0


@driven()
def test_sort_of_tvm_ffi_tensors_uses_its_current_stream(folder):
    """In the stream that is current in TVM FFI, without a wait."""
    without_a_compiler(folder)
    x = array(9, 20)
    tensor = tvm_ffi.from_dlpack(on_hip(x, 1))
    with tvm_ffi.use_raw_stream(tvm_ffi.device("rocm", 1), 0x4321):
        result = sort(tensor)
    driver = Driver()
    oracle.check(x, memory_of(result, x), -1)
    assert driver.launches()[-1]["stream"] == 0x4321
    assert driver.report()["streams"] == []


@driven()
def test_sort_of_cupy_arrays_on_rocm_uses_its_current_stream(folder):
    """In CuPy's current stream; and nothing is loaded while that is captured."""
    without_a_compiler(folder)
    cupy = host_cupy.install(ROCM)
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
                driver = Driver()
                launch = driver.launches()[-1]
                assert launch["current_device"] == launch["module_device"] == number
                assert launch["stream"] == host_cupy.stream
                assert launch["kernel"] == explain(array, axis=axis).kernel
                assert launch["kernel"].startswith("hip_all_none_")
                assert launch["kernel"].endswith(TARGETS[number])
            assert sort(array, axis=axis, out=array) is array
            oracle.check(x, array.array, axis)
    done = len(driver.launches())
    array = cupy.ndarray(np.zeros((3, 7), np.uint16), 0)
    driver.capture(host_cupy.stream)
    with pytest.raises(RuntimeError, match="is being captured into a HIP graph"):
        sort(array)
    host_cupy.stream = 0
    with driver.failing(hipStreamIsCapturing=906), pytest.raises(RuntimeError, match="HIP graph"):
        sort(array)
    with driver.failing(hipModuleLaunchKernel=719), pytest.raises(RuntimeError, match="Failure"):
        sort(array)
    assert len(driver.launches()) == done
    # What is loaded may be captured.
    sort(array)
    host_cupy.stream = 0x1001
    sort(array)
    assert len(driver.launches()) == done + 2
    assert driver.device() == 0
    assert driver.last_error() == 0


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
