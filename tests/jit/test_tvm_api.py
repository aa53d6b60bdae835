"""The runtime as C++ callers use it: typed, documented, and an error for every misuse."""

import json

import numpy as np
import pytest
import torch
import tvm_ffi

from support.descriptions import cpu_kernel
from warp_bitonic_sort import settings
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.targets import HOST
from warp_bitonic_sort.targets.common.host import find_compiler

ARCH = HOST.arch_for()


@pytest.fixture(scope="module")
def runtime():
    return loader.runtime()


def path_of(kernel):
    loader.build([kernel])
    compiler = find_compiler()
    store = Store(settings.cache_dir())
    text = build_text(kernel)
    entry = store.find(kernel, text, compiler.version())
    return str(entry.library)


@pytest.fixture(scope="module")
def rows9(runtime):
    return runtime.open_cpu_kernel(path_of(cpu_kernel("ieee", 32, 9, "rows", ARCH)), "float32")


@pytest.fixture(scope="module")
def columns9(runtime):
    return runtime.open_cpu_kernel(path_of(cpu_kernel("ieee", 32, 9, "columns", ARCH)), "float32")


@pytest.fixture(scope="module")
def indices(runtime):
    kernel = cpu_kernel("ieee", 32, 0, "strided", ARCH)._replace(payload="index")
    return runtime.open_cpu_kernel(path_of(kernel), "float32")


def array(*shape, dtype=np.float32):
    return np.random.default_rng(1).random(shape).astype(dtype)


def test_cpu_kernel_sorts_rows_and_columns(rows9, columns9):
    x = array(5, 9)
    out = np.empty_like(x)
    rows9(x, out, -1, False, False)
    np.testing.assert_array_equal(out, np.sort(x))
    x, out = array(9, 50), np.empty((9, 50), np.float32)
    columns9(x, out, 0, True, False)
    np.testing.assert_array_equal(out, -np.sort(-x, axis=0))
    raw = array(5, 9)
    rows9(raw.view(np.uint32), raw.view(np.uint32), 1, False, False)
    assert (np.diff(raw) >= 0).all()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_index_kernel_sorts_stably_in_both_directions(indices, dtype):
    x = np.array([[2, -0.0, np.nan, 0, 2, -np.nan], [5, 5, 1, 1, 5, 1]], np.float32)
    values, index = np.empty_like(x), np.empty(x.shape, dtype)
    indices(x, values, index, -1, False, False)
    np.testing.assert_array_equal(index, [[1, 3, 0, 4, 2, 5], [2, 3, 5, 0, 1, 4]])
    assert values.tobytes() == np.take_along_axis(x, index, -1).tobytes()
    indices(x, None, index, 1, True, False)
    np.testing.assert_array_equal(index, [[2, 5, 0, 4, 1, 3], [0, 1, 4, 2, 3, 5]])
    indices(x, None, index, 1, True, True)
    np.testing.assert_array_equal(index, [[0, 4, 1, 3, 2, 5], [0, 1, 4, 2, 3, 5]])


def test_index_kernel_sorts_in_place_along_any_axis(indices):
    x = array(3, 40, 7).round(1)
    sorted_x, index = x.copy(), np.empty((3, 7, 40), np.int64).transpose(0, 2, 1)
    indices(sorted_x, sorted_x, index, 1, False, False)
    np.testing.assert_array_equal(index, np.argsort(x, 1, kind="stable"))
    np.testing.assert_array_equal(sorted_x, np.sort(x, 1))


@pytest.mark.parametrize(
    ("values", "index", "error", "text"),
    [
        (None, array(5, 9), TypeError, "indices: expected dtype int32 or int64, got float32"),
        (
            None,
            np.empty((5, 8), np.int64),
            ValueError,
            r"indices: expected the shape of x, \(5, 9\)",
        ),
        (None, None, TypeError, "Expected `Tensor` but got `None`"),
        (np.empty((5, 9)), np.empty((5, 9), np.int32), TypeError, "values: expected dtype float32"),
        (np.empty((4, 9), np.float32), np.empty((5, 9), np.int32), ValueError, "values: expected"),
    ],
)
def test_misuse_of_an_index_kernel_raises(indices, values, index, error, text):
    with pytest.raises(error, match=text):
        indices(array(5, 9), values, index, 1, False, False)


def test_outputs_that_share_memory_raise(indices):
    memory = np.empty((5, 9), np.int32)
    with pytest.raises(ValueError, match="indices: it overlaps values in memory"):
        indices(array(5, 9), memory.view(np.float32), memory, 1, False, False)


def test_cpu_kernel_honours_byte_offsets(rows9):
    base = torch.from_numpy(array(6, 9))
    out = torch.zeros(8, 9)
    rows9(base[2:], out[3:7], 1, False, False)
    torch.testing.assert_close(out[3:7], torch.sort(base[2:]).values)
    assert not out[:3].any()
    assert not out[7:].any()


def test_cpu_kernel_of_empty_batches_does_nothing(rows9):
    rows9(array(0, 9), array(0, 9), 1, False, False)
    rows9(array(9, 0), array(9, 0), 0, False, False)


@pytest.mark.parametrize(
    ("x", "out", "axis", "kind", "message"),
    [
        (array(5, 9, dtype=np.float64), array(5, 9), 1, TypeError, "x: expected dtype float32"),
        (
            array(5, 9),
            array(5, 9, dtype=np.int32),
            1,
            TypeError,
            "out: expected dtype float32, .*int32",
        ),
        (
            array(5, 9),
            array(4, 9),
            1,
            ValueError,
            r"out: expected the shape of x, \(5, 9\), got \(4, 9\)",
        ),
        (array(5, 9), array(5, 9, 1), 1, ValueError, "out: expected the shape of x"),
        (
            array(5, 9),
            array(5, 9),
            2,
            ValueError,
            "axis: expected -2 to 1 for a tensor of rank 2, got 2",
        ),
        (array(5, 9), array(5, 9), -3, ValueError, "axis: expected -2 to 1"),
        (
            array(5, 8),
            array(5, 8),
            1,
            ValueError,
            "x: expected rows of 9 to 9 elements for the kernel .*, got rows of 8 along axis 1",
        ),
        (
            array(9, 5),
            array(9, 5),
            0,
            ValueError,
            "x: expected rows whose elements are contiguous in x",
        ),
        (
            np.zeros((), np.float32),
            np.empty((), np.float32),
            0,
            ValueError,
            "x: expected at least one",
        ),
        (array(5, 9), "out", 1, TypeError, "Mismatched type on argument #1"),
        (array(5, 9), array(5, 9), "1", TypeError, "Mismatched type on argument #2"),
    ],
)
def test_misuse_of_a_cpu_kernel_is_a_typed_error(rows9, x, out, axis, kind, message):
    with pytest.raises(kind, match=message):
        rows9(x, out, axis, False, False)


def test_missing_argument_is_a_typed_error(rows9):
    with pytest.raises(TypeError, match="Mismatched number of arguments"):
        rows9(array(5, 9))


def test_memory_that_is_shared_is_a_typed_error(rows9):
    memory = array(7, 9)
    before = memory.copy()
    with pytest.raises(ValueError, match="out: it overlaps x in memory without being x itself"):
        rows9(memory[:-1], memory[1:], 1, False, False)
    folded = np.lib.stride_tricks.as_strided(memory, (5, 9), (4, 4))
    with pytest.raises(ValueError, match="out: two of its elements may share memory"):
        rows9(array(5, 9), folded, 1, False, False)
    np.testing.assert_array_equal(memory, before)


def test_columns_kernel_along_rows_is_a_typed_error(columns9):
    with pytest.raises(ValueError, match="x: expected rows side by side in x and out"):
        columns9(array(5, 9), array(5, 9), 1, False, False)


def test_device_that_is_not_the_cpu_is_a_typed_error(rows9):
    class Elsewhere:
        """Claims to be a CUDA tensor; its memory must never be touched."""

        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack__(self, **options):
            import ctypes

            capsule = self.tensor.__dlpack__()
            ctypes.pythonapi.PyCapsule_GetPointer.restype = ctypes.c_void_p
            ctypes.pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
            tensor = ctypes.pythonapi.PyCapsule_GetPointer(capsule, b"dltensor")
            # DLTensor: data pointer, then the device's type.
            ctypes.c_int32.from_address(tensor + 8).value = 2
            return capsule

        def __dlpack_device__(self):
            return (2, 0)

    with pytest.raises(
        ValueError, match="x: expected a tensor on the CPU, .* got one on CUDA device 0"
    ):
        rows9(Elsewhere(array(5, 9)), array(5, 9), 1, False, False)


def test_open_of_what_is_no_kernel_is_a_typed_error(runtime, tmp_path):
    kernel = path_of(cpu_kernel("ieee", 32, 9, "rows", ARCH))
    with pytest.raises(ValueError, match="dtype: expected one of bool, .*; got 'float31'"):
        runtime.open_cpu_kernel(kernel, "float31")
    with pytest.raises(
        ValueError, match="dtype: expected a dtype of 32 bits for the kernel cpu_all.*, got float64"
    ):
        runtime.open_cpu_kernel(kernel, "float64")
    for dtype in ("int32", "uint32"):
        with pytest.raises(ValueError, match=f"the codec of the kernel cpu_all.*, got {dtype}"):
            runtime.open_cpu_kernel(kernel, dtype)
    with pytest.raises(RuntimeError, match="the kernel does not load: .*cannot open"):
        runtime.open_cpu_kernel(str(tmp_path / "missing.so"), "float32")
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(RuntimeError, match="the kernel does not load"):
        runtime.open_cpu_kernel(str(tmp_path / "text.so"), "float32")
    with pytest.raises(RuntimeError, match="is not a kernel of warp_bitonic_sort"):
        runtime.open_cpu_kernel("libm.so.6", "float32")


def test_dispatch_by_device_calls_the_kernel_of_the_device(runtime, rows9, indices):
    x, positions = array(5, 9), np.empty((5, 9), np.int32)
    out = np.empty_like(x)
    runtime.dispatch_by_device([rows9], False)(x, out, -1, False, False)
    np.testing.assert_array_equal(out, np.sort(x))
    runtime.dispatch_by_device((indices, None), True)(x, positions, -1, True, False)
    np.testing.assert_array_equal(positions, np.argsort(-x, kind="stable"))


def test_dispatch_by_device_of_wrong_arguments_raises(runtime, rows9):
    x = array(5, 9)
    for kernels in ([], [None]):
        call = runtime.dispatch_by_device(kernels, False)
        with pytest.raises(ValueError, match=r"^x: expected a tensor on a device .* got the CPU"):
            call(x, x, -1, False, False)
    call = runtime.dispatch_by_device([rows9], False)
    with pytest.raises(TypeError, match="Expected 1 but got 0 arguments"):
        call()
    with pytest.raises(TypeError, match="Expected `Tensor` but got `int`"):
        call(1, x, -1, False, False)
    with pytest.raises(TypeError, match="Expected 5 but got 2 arguments"):  # the kernel's own
        call(x, x)
    for kernels in (rows9, [rows9, 1]):
        with pytest.raises(TypeError, match="argument #0.*Expected `Array`"):
            runtime.dispatch_by_device(kernels, False)


def test_every_export_is_documented_and_typed(runtime):
    names = ["open_cpu_kernel", "describe_cpu_kernel", "empty", "abi_version", "thread_count"]
    names += ["set_thread_count"]
    names += [
        "open_gpu_kernel",
        "gpu_arch",
        "is_capturing",
        "open_launch_cache",
        "private_stream",
        "empty_gpu",
        "dispatch_by_device",
    ]
    for name in names:
        assert runtime.get_function_doc(name)
        assert "type_schema" in json.dumps(runtime.get_function_metadata(name))
    assert runtime.abi_version() == 5
    assert runtime.thread_count() >= 1


def test_empty_of_a_valid_shape_allocates_it(runtime):
    made = runtime.empty((3, 5), tvm_ffi.dtype("bfloat16"))
    assert tuple(made.shape) == (3, 5)
    assert str(made.dtype) == "bfloat16"
    assert made.data_ptr() % 64 == 0
    assert str(runtime.empty((2,), "float16").dtype) == "float16"
    for shape in ((2**62, 0), (2**40, 2**40, 0), (0, 2**40, 2**40)):
        assert tuple(runtime.empty(shape, tvm_ffi.dtype("int8")).shape) == shape
    for shape in ((2**62, 4), (-1, 3), (2**63 - 1,), (-1, 0)):
        with pytest.raises(ValueError, match="shape: expected sizes of at least 0"):
            runtime.empty(shape, tvm_ffi.dtype("float32"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_gpu_call_without_a_driver_says_so(runtime):
    device = tvm_ffi.device("cuda", 0)
    for call in (
        lambda: runtime.private_stream(device),
        lambda: runtime.empty_gpu((3,), torch.int8, device),
    ):
        with pytest.raises(RuntimeError, match="no CUDA driver: .*; install NVIDIA's driver"):
            call()
    assert not runtime.is_capturing(device, -1)


def test_tensor_without_memory_is_a_typed_error(rows9):
    gone = torch.randn(5, 9)
    gone.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="x: expected a tensor with memory"):
        rows9(gone, torch.empty(5, 9), 1, False, False)
