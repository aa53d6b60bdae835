"""The double of HIP as tests use it: its library, its devices, and kernels for them.

cpp/fake_hip.cc is the double; driver_double.py runs the tests.
"""

import contextlib

import numpy as np

from support import driver_double, hsaco
from support.driver_double import array
from support.host_cupy import ROCM, OnDevice
from warp_bitonic_sort.jit import loader

LIBRARY = "libamdhip64.so"
TARGETS = ("gfx90a", "gfx1100")  # of the double's devices, by default


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
