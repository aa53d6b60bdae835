"""Finding HIP, opening kernels on its devices, and the errors of both.

Every test runs in a process of its own, against a double of HIP (support/hip_double.py): no device
is needed.
"""

import ctypes
import os
from pathlib import Path

import pytest

from support import cubin, driver_double, hsaco
from support.driver_double import absent, driven, older
from support.hip_double import LIBRARY, Driver, check_sorts, hip, open_both
from warp_bitonic_sort.jit import loader

double = driver_double.fixture("fake_hip.cc", LIBRARY)


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


@driven(absent(LIBRARY, "/opt/rocm/lib/libamdhip64.so"))
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


@driven(absent(LIBRARY, "/opt/rocm/lib/libamdhip64.so"))
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


@driven(older("hip.hpp", "hip", "hipStreamIsCapturing", LIBRARY))
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


if __name__ == "__main__":
    driver_double.run_body(globals())
