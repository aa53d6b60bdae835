"""`sort` of arrays on HIP devices, with kernels that are written instead of compiled.

Every test runs in a process of its own, against a double of HIP (support/hip_double.py): no device
is needed.
"""

import numpy as np
import pytest
import tvm_ffi

from support import driver_double, host_cupy, hsaco, oracle
from support.descriptions import plan_sort
from support.driver_double import array, driven, memory_of
from support.hip_double import LIBRARY, TARGETS, Driver, on_hip
from support.host_cupy import ROCM, OnDevice
from warp_bitonic_sort import dtypes, explain, sort
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.jit.store.files import stamp
from warp_bitonic_sort.jit.store.store import Entry
from warp_bitonic_sort.targets import recipe_of

double = driver_double.fixture("fake_hip.cc", LIBRARY)


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


if __name__ == "__main__":
    driver_double.run_body(globals())
