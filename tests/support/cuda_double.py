"""The double of CUDA's driver as tests use it: its library, its devices, and kernels for them.

cpp/fake_cuda.cc is the double; driver_double.py runs the tests.
"""

import contextlib
import ctypes

import numpy as np

from support import cubin, driver_double
from support.driver_double import array
from support.host_cupy import OnDevice
from warp_bitonic_sort.jit import loader

LIBRARY = "libcuda.so.1"


def cuda(number):
    return loader.device_of("cuda", number)


class Driver(driver_double.Driver):
    LIBRARY, PREFIX = LIBRARY, "fake_cuda"

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


def check_sorts(kernel, number=0, stream=0):
    x = array(10, 8)
    out = np.zeros_like(x)
    kernel(OnDevice(x, number), OnDevice(out, number), -1, False, False, stream)
    np.testing.assert_array_equal(out, np.sort(x))


def open_both(folder):
    """Kernels for the double's devices."""
    runtime = loader.runtime()
    paths = [cubin.write(folder / f"{arch}.cubin", arch) for arch in (80, 90)]
    return [runtime.open_gpu_kernel(path, "float32", cuda(i)) for i, path in enumerate(paths)]
