"""`sort` of arrays on CUDA devices, with kernels that nvcc compiles.

Every test runs in a process of its own, against a double of the driver (support/cuda_double.py): no
device is needed.
"""

import numpy as np
import pytest

from support import driver_double, host_cupy, oracle
from support.cuda_double import LIBRARY, Driver
from support.descriptions import cuda_kernel, gpu_cells
from support.driver_double import array, driven, memory_of
from support.host_cupy import CUDA, CUDA_MANAGED, OnDevice
from warp_bitonic_sort import dtypes, explain, sort
from warp_bitonic_sort.jit import loader

double = driver_double.fixture("fake_cuda.cc", LIBRARY)


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
