"""Arrays that claim to be on a device while the host has their memory.

For the doubles of drivers alone (cpp/fake_cuda.cc, cpp/fake_hip.cc), to which both are one.
`OnDevice` supports DLPack; `install` makes as much of CuPy of it as operations need.
"""

import ctypes
import sys
import types

import numpy as np

CUDA, ROCM, CUDA_MANAGED = 2, 10, 13
ARCHS = ("80", "90")  # of the double's CUDA devices, by default

# The handle of the stream that is current, and what CuPy is built for.
stream = 0
kind = CUDA


class OnDevice:
    """An array that claims to be on a device, and to have another shape if one is given."""

    def __init__(self, array, number=0, shape=None, kind=CUDA):
        self.array, self.number, self.shape, self.kind = array, number, shape, kind

    def __dlpack__(self, **options):
        del options
        capsule = self.array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        # DLTensor: data, the device's type and number, rank, dtype, shape.
        tensor = pointer(capsule, b"dltensor")
        ctypes.c_int32.from_address(tensor + 8).value = self.kind
        ctypes.c_int32.from_address(tensor + 12).value = self.number
        if self.shape is not None:
            at = ctypes.c_void_p.from_address(tensor + 24).value
            (ctypes.c_int64 * len(self.shape)).from_address(at)[:] = self.shape
        return capsule

    def __dlpack_device__(self):
        return (self.kind, self.number)


class Device:
    """A device of CuPy's."""

    def __init__(self, number):
        self.id = number
        if kind == CUDA:
            self.compute_capability = ARCHS[number]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        del error

    def __eq__(self, other):
        return self.id == other.id

    __hash__ = None


class ndarray:  # noqa: N801
    """What `cupy.ndarray` is to operations."""

    def __init__(self, array, number):
        self.array, self.device = array, Device(number)
        self.dtype, self.shape, self.strides = array.dtype, array.shape, array.strides
        self.data = types.SimpleNamespace(ptr=array.ctypes.data)

    def __setitem__(self, at, values):
        self.array[at] = values.array

    def copy(self, order):
        return ndarray(self.array.copy(order), self.device.id)

    def view(self, dtype):
        return ndarray(self.array.view(dtype), self.device.id)

    def __dlpack__(self, **options):
        return OnDevice(self.array, self.device.id, kind=kind).__dlpack__(**options)

    def __dlpack_device__(self):
        return (kind, self.device.id)


def install(built_for=CUDA):
    """Be CuPy in this process."""
    global kind
    kind = built_for
    cupy = types.ModuleType("cupy")
    cupy.ndarray = ndarray
    cupy.empty_like = lambda x, dtype=None, order="K", shape=None: ndarray(
        np.empty_like(x.array, dtype, order, shape=shape), x.device.id
    )
    cupy.moveaxis = lambda x, source, to: ndarray(np.moveaxis(x.array, source, to), x.device.id)
    cupy.shares_memory = lambda x, y: np.shares_memory(x.array, y.array)
    cupy.cuda = types.SimpleNamespace(
        get_current_stream=lambda _: types.SimpleNamespace(ptr=stream),
        runtime=types.SimpleNamespace(is_hip=kind == ROCM),
    )
    sys.modules["cupy"] = cupy
    return cupy
