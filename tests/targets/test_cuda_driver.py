"""Finding CUDA's driver, opening kernels on its devices, and the errors of both.

Every test runs in a process of its own, against a double of the driver (support/cuda_double.py): no
device is needed.
"""

import pytest
import tvm_ffi

from support import cubin, driver_double
from support.cuda_double import LIBRARY, Driver, check_sorts, cuda
from support.driver_double import absent, driven, older
from warp_bitonic_sort.jit import loader

double = driver_double.fixture("fake_cuda.cc", LIBRARY)


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


@driven(absent(LIBRARY))
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


@driven(older("cuda.hpp", "cu", "cuStreamIsCapturing", LIBRARY))
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


if __name__ == "__main__":
    driver_double.run_body(globals())
