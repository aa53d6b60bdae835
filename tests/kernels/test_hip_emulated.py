"""Operations on AMD GPUs that are not there: the whole path, and every kernel's own instructions.

A call is planned, its kernel compiled by ninja, opened and launched through a double of HIP
(cpp/fake_hip.cc), whose launch runs the code object on an emulator (amd_emulator.py) over memory of
the host. Without the emulator nothing here runs, and the suite's last line says so.
"""

import ctypes
import functools
import itertools
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import tvm_ffi

from support import amd_emulator, driver_double, host_cupy, oracle
from support.host_cupy import ROCM, OnDevice
from support.selection_rows import rows_of
from warp_bitonic_sort import explain, median, sort, sort_pairs, sort_with_indices, top_k
from warp_bitonic_sort.operations._call import call
from warp_bitonic_sort.operations.order_statistics import MEDIAN

LIBRARY = "libamdhip64.so"
# Waves of 64 lanes, with what each generation of them exchanges lanes by, and waves of 32.
ARCHS = ["gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1201"]
ORDERS = [(False, "largest"), (True, "largest"), (True, "last")]


double = driver_double.fixture("fake_hip.cc", LIBRARY)


@pytest.fixture
def on_emulator(double, each_hip_compiler):
    """A function that runs one of this module's bodies in a process of its own."""
    reason = amd_emulator.available()
    if reason is not None:
        pytest.skip(reason)

    def run(arch, body):
        each_hip_compiler(arch)
        path = os.pathsep.join(filter(None, [str(double), os.environ.get("LD_LIBRARY_PATH")]))
        ran = subprocess.run(
            [sys.executable, __file__, body, arch],
            capture_output=True,
            text=True,
            env={**os.environ, "LD_LIBRARY_PATH": path, "FAKE_HIP_DEVICES": arch,
                 "GPU_ARCH": "native", "PYTHONPATH": str(driver_double.TESTS)},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]

    return run


# -- in the process of its own ---------------------------------------------------------------------

_PROTOTYPE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_uint * 3), ctypes.POINTER(ctypes.c_uint * 3), ctypes.c_uint,
    ctypes.c_void_p, ctypes.c_size_t,
)  # fmt: skip
_LAUNCH_FAILURE = 719


_code_object = functools.cache(amd_emulator.CodeObject)


class Emulated:
    """The double's device, whose kernels the emulator runs, and CuPy's arrays on it."""

    def __init__(self):
        self.library = ctypes.CDLL(LIBRARY)
        self.ran = 0
        self.error = None
        self._run = _PROTOTYPE(self._launch)  # its memory has to live
        self.library.fake_hip_run_with(self._run)
        self.cupy = host_cupy.install(ROCM)

    def _launch(self, image, size, target, grid, block, shared_bytes, args, args_size):
        try:
            code = _code_object(ctypes.string_at(image, size), target.decode())
            assert code.scratch_bytes("warp_bitonic_sort_rows") == 0
            code.launch(
                "warp_bitonic_sort_rows", grid.contents[0], block.contents[0],
                ctypes.string_at(args, args_size), shared_bytes,
            )  # fmt: skip
        except BaseException as error:
            self.error = error
            return _LAUNCH_FAILURE
        self.ran += 1
        return 0

    def array(self, x):
        return self.cupy.ndarray(x, 0)

    def check(self, x, axis=-1, descending=False, nan="largest"):
        """Sort into a result of the library's own."""
        given = x.copy()
        try:
            result = sort(self.array(given), axis=axis, descending=descending, nan=nan)
        except RuntimeError:
            if self.error is not None:
                raise self.error from None
            raise
        oracle.check(x, result.array, axis, descending, nan)
        np.testing.assert_array_equal(oracle.bits(given), oracle.bits(x))

    def check_indices(self, x, axis=-1, descending=False, nan="largest", **options):
        """Sort with indices into results of the library's own."""
        try:
            values, indices = sort_with_indices(
                self.array(x.copy()), axis=axis, descending=descending, nan=nan, **options
            )
        except RuntimeError:
            if self.error is not None:
                raise self.error from None
            raise
        oracle.check_indices(x, indices.array, values.array, axis, descending, nan)

    def check_pairs(self, keys, values, descending=False, nan="largest", is_in_place=False):
        """Sort with values in one launch, into results of the library's own or in place."""
        inputs = [self.array(x.copy()) for x in (keys, values)]
        ran = self.ran
        try:
            result = sort_pairs(
                *inputs, descending=descending, nan=nan, out=inputs if is_in_place else None
            )
        except RuntimeError:
            if self.error is not None:
                raise self.error from None
            raise
        assert self.ran == ran + 1
        order = oracle.expected_indices(keys, -1, descending, nan)
        for x, got in zip((keys, values), result, strict=True):
            want = np.take_along_axis(oracle.bits(x), order, -1)
            np.testing.assert_array_equal(oracle.bits(got.array), want)

    def check_first(self, x, k, descending=True, nan="largest", axis=-1, **options):
        """Find the first elements of rows in one launch, with a kernel that drops the others."""
        mode = "largest" if descending else "smallest"
        source = self.array(x)
        kernel = explain(source, axis=axis, operation="top_k", k=k).kernel
        assert kernel.startswith("hip_first"), kernel
        ran = self.ran
        try:
            result = top_k(source, k, axis=axis, mode=mode, nan=nan, **options)
        except RuntimeError:
            if self.error is not None:
                raise self.error from None
            raise
        assert self.ran == ran + 1
        values, indices = (each.array for each in result)
        wide = indices.astype(np.int64)
        oracle.check_selected(x, slice(k), wide, values, axis, descending, nan)
        return kernel

    def check_median(self, x, axis=-1, nan="propagate"):
        """Store medians alone; of integers, the middle elements."""
        part = "median" if nan == "propagate" else "nanmedian"
        ran = self.ran
        try:
            result = call(MEDIAN, self.array(x), (axis, False, False), part=part)
        except RuntimeError:
            if self.error is not None:
                raise self.error from None
            raise
        assert self.ran == ran + 1
        if x.dtype.name in oracle.INTEGERS:
            rows = np.moveaxis(oracle.expected(x, axis), axis, -1)
            want = rows[..., (x.shape[axis] - 1) // 2 : x.shape[axis] // 2 + 1]
            want = np.moveaxis(want, -1, axis)
        else:
            want = median(x, axis=axis, keepdims=True, nan=nan)
        # NumPy cannot compare all dtypes of ml_dtypes.
        got, want = (each.astype(np.float64) for each in (result.array, want))
        np.testing.assert_array_equal(got, want)

    def check_into(self, x, out, around, axis=-1, descending=False):
        """Sort into an array, a view of `around`, of which nothing else may change."""
        before = oracle.bits(around).copy()
        target = self.array(out)
        assert sort(self.array(x), axis=axis, descending=descending, out=target) is target
        oracle.check(x.copy(), np.ascontiguousarray(out), axis, descending)
        out[...] = np.frombuffer(bytes(x.dtype.itemsize), x.dtype)[0]
        after = oracle.bits(around).copy()
        other = np.ones(around.shape, bool)
        np.lib.stride_tricks.as_strided(
            other.reshape(-1)[(out.ctypes.data - around.ctypes.data) // x.dtype.itemsize :],
            out.shape,
            [stride // x.dtype.itemsize for stride in out.strides],
        )[...] = False
        np.testing.assert_array_equal(after[other], before[other])


def every_dtype(device):
    """Both directions, NaNs and zeros of both signs, padded rows, fewer rows than a block holds."""
    rng = np.random.default_rng(1)
    for name in oracle.ALL:
        x = oracle.random(name, (37, 50), rng)
        for descending, nan in ORDERS:
            device.check(x, descending=descending, nan=nan)
        device.check(oracle.random(name, (9, 64), rng))


def every_length(device):
    """Thread, lanes of a row of sixteen, of a wave, and waves; padded, full, and one too long."""
    rng = np.random.default_rng(2)
    lengths = [2, 3, 4, 7, 8, 9, 16, 17, 25, 31, 32, 33, 48, 63, 65, 96, 100, 128, 129, 192, 200,
               256, 300, 384, 512, 513, 700, 768, 1000, 1024, 1025, 1536, 2000, 2048, 2049, 3072,
               4096, 4097]  # fmt: skip
    for name in ("float32", "int16", "float64"):
        for length in lengths:
            rows = max(2, 70 // length)
            device.check(oracle.random(name, (rows, length), rng), descending=length % 2 == 0)
    for name in ("float32", "float16"):
        device.check(oracle.random(name, (1, 8191), rng))
        device.check(oracle.random(name, (1, 16384), rng))


def plain_floats(device):
    """Rows without NaN or -0.0 take another way on some targets; rows beside them may not."""
    rng = np.random.default_rng(3)
    for length in (16, 50, 64, 100, 256, 700, 1024, 2100):
        x = rng.standard_normal((max(3, 600 // length), length)).astype(np.float32)
        x[x == 0] = 1
        x[:, ::5] *= np.float32(1e-42)  # subnormal
        x[0, :2] = np.inf, -np.inf
        for descending in (False, True):
            device.check(x, descending=descending)
            for special in (np.nan, -np.nan, -0.0):
                some = x.copy()
                some[len(x) // 2, length // 3] = special
                some[len(x) // 2, 0] = 0.0
                device.check(some, descending=descending)


def layouts(device):
    """Columns, strides, unaligned addresses, batch dimensions, in place; red zones around out."""
    rng = np.random.default_rng(4)
    for name in ("float32", "int8", "bfloat16", "int64"):
        for shape, axis in (((9, 40), 0), ((25, 70), 0), ((100, 33), 0), ((3, 40, 5), 1),
                            ((300, 9), 0), ((2, 3, 4, 30), 3), ((5, 1), 1), ((0, 7), 1),
                            ((4, 0), 1), ((), -1)):  # fmt: skip
            device.check(oracle.random(name, shape, rng), axis)
        room = oracle.random(name, (12, 140), rng)
        x = oracle.random(name, (8, 100), rng)
        device.check_into(x, room[2:10, 20:120], room)
        device.check_into(x, room[2:10, 21:121], room, descending=True)
        device.check_into(x[:, ::3], room[2:10, 3:105:3], room)
        inside = room[1:9, 7:107]
        held = inside.copy()
        before = oracle.bits(room).copy()
        given = device.array(inside)
        assert sort(given, out=given) is given
        oracle.check(held, np.ascontiguousarray(inside))
        np.testing.assert_array_equal(oracle.bits(room)[9:], before[9:])
        np.testing.assert_array_equal(oracle.bits(room)[:, 107:], before[:, 107:])


def any_library(device):
    """An array of an unknown library that supports DLPack, on a ROCm device."""
    x = oracle.random("float32", (30, 77), np.random.default_rng(5))
    told = explain(OnDevice(x, kind=ROCM))
    assert told.backend == "hip"
    result = sort(OnDevice(x, kind=ROCM), descending=True)
    assert isinstance(result, tvm_ffi.Tensor)
    assert result.__dlpack_device__() == (ROCM, 0)
    held = (ctypes.c_char * x.nbytes).from_address(result.data_ptr())
    oracle.check(x, np.frombuffer(held, x.dtype).reshape(x.shape), descending=True)
    assert device.ran == 1


def indices(device):
    """Every dtype and order; every layout; data that prefixes of codes and of values tell apart."""
    rng = np.random.default_rng(4)
    for number, name in enumerate(oracle.ALL):
        length = (7, 50, 64, 100)[number % 4]
        device.check_indices(oracle.random(name, (37, length), rng), -1, *ORDERS[number % 3])
    for number, length in enumerate(
        (3, 8, 16, 31, 64, 96, 128, 200, 256, 300, 512, 1000, 1024, 1500, 2048)
    ):
        dtype = ("int32", "int64")[number % 2]
        # Enough rows that a warp of full ones has no other.
        normal = rng.standard_normal((9, length)).astype(np.float32)
        device.check_indices(normal, -1, *ORDERS[number % 3], index_dtype=dtype)
        normal[:, length // 2] = 1e30
        device.check_indices(normal)
    device.check_indices((1 + rng.integers(0, 900, (5, 512)) * 2.0**-23).astype(np.float32))
    hard = (1 + rng.integers(0, 1 << 10, (5, 300)) * 2.0**-23).astype(np.float32)
    hard[:, 0], hard[:, -1] = 3e38, -3e38
    device.check_indices(hard, descending=True)
    device.check_indices(rng.integers(-(2**62), 2**62, (3, 100)))
    device.check_indices(np.ascontiguousarray(normal[:, :60].T), 0)


def pairs(device):
    """Values of both widths: every length in turn, padded and full rows, in place, hard data."""
    rng = np.random.default_rng(6)
    names = ("float32", "int64", "bfloat16", "int8", "float64")
    for number, length in enumerate((7, 8, 50, 64, 100, 256, 300, 700, 1024, 1500)):
        keys = oracle.random(names[number % 5], (9, length), rng)
        values = oracle.random(("int32", "float64")[number % 2], keys.shape, rng)
        order = ORDERS[number % 3]
        device.check_pairs(keys, values, *order, is_in_place=number % 4 == 1)
    hard = (1 + rng.integers(0, 1 << 10, (5, 300)) * 2.0**-23).astype(np.float32)
    hard[:, 0], hard[:, -1] = 3e38, -3e38
    for dtype in (np.uint32, np.int64):
        device.check_pairs(hard, np.arange(hard.size, dtype=dtype).reshape(hard.shape), True)


# Rows, their length, and k: pruned, in a few lanes, in a warp, in warps, and sorted as a whole.
FIRST = [(70, 64, 8), (70, 50, 1), (9, 200, 16), (9, 300, 32), (9, 1000, 1), (5, 2500, 64),
         (3, 6400, 100), (9, 100, 70)]  # fmt: skip
FIRST_KINDS = ["normal", "ties", "NaN", "masked", "all but 8 masked", "bits", "low bits", "equal",
               "large first", "sorted", "outliers"]  # fmt: skip


def first(device):
    """Every kind of kernel and of rows; rows that are not aligned, and columns; few long rows."""
    rng = np.random.default_rng(7)
    number = 0
    for name in ("float32", "bfloat16", "uint8", "int64"):
        for rows, length, k in FIRST:
            x = rows_of(FIRST_KINDS[number % len(FIRST_KINDS)], name, (rows, length), rng)
            index_dtype = ("int32", "int64")[number // 3 % 2]
            device.check_first(x, k, *ORDERS[number % 3], index_dtype=index_dtype)
            number += 1
        x = rows_of("ties", name, (40, 333), rng)
        device.check_first(x[:9, 1:], 20)
        device.check_first(x[:, 3:43], 5, False)
        device.check_first(np.ascontiguousarray(x[:9].T), 8, axis=0)
    device.check_first(rows_of("NaN", "float32", (2, 40000), rng), 30)


def medians(device):
    """Medians of rows of every kind of kernel, some with NaNs; of columns."""
    rng = np.random.default_rng(8)
    names = ("float32", "bfloat16", "int8", "float64", "float16")
    for number, length in enumerate((2, 9, 25, 49, 64, 100, 128, 256, 300, 1000, 1024, 2100, 5000)):
        for name in ("float32", names[number % 5]):
            x = rows_of("normal", name, (max(3, 200 // length), length), rng)
            device.check_median(x)
            if name not in oracle.INTEGERS:
                x[1, length // 2] = x[2, : length // 2] = np.nan
                device.check_median(x, nan=("omit", "propagate")[length % 3 == 0])
    for name in ("float32", "bfloat16", "float64", "float16"):  # overflows, and a NaN of infinities
        dtype = oracle.ALL[name]
        most, inf = ml_dtypes.finfo(dtype).max, np.inf
        for row in ([most, most], [inf, -inf], [inf, most, -most, most], [inf, inf, -inf, -inf]):
            x = np.tile(np.array(row, dtype), (3, 20))
            device.check_median(x[:, : len(row)])
            device.check_median(x)
            device.check_median(x.T.copy(), 0)
    for name, shape in itertools.product(names, ((9, 40), (25, 70), (100, 33), (300, 9))):
        x = rows_of("normal" if name == "int8" else "NaN", name, shape, rng)
        x[:, ::3] = rows_of("ties", name, x[:, ::3].shape, rng)
        device.check_median(x, 0)
        device.check_median(x[:, 1:].T, nan="omit")


BODIES = {body.__name__: body for body in (every_dtype, every_length, plain_floats, layouts,
                                           any_library, indices, pairs, first,
                                           medians)}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("arch", ARCHS)
def test_sort_on_an_emulated_amd_gpu_equals_the_oracle(on_emulator, arch, body):
    on_emulator(arch, body)


if __name__ == "__main__":
    # tvm_ffi imports torch where there is one, which takes seconds and may look for a driver.
    sys.modules["torch"] = None
    emulated = Emulated()
    BODIES[sys.argv[1]](emulated)
    assert emulated.ran > 0
    sys.stdout.write(f"{emulated.ran} launches\n")
