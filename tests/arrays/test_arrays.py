"""The arrays of every library: results of the caller's kind, and errors that name the type."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
import tvm_ffi
from torch.autograd import forward_ad

from support import oracle
from warp_bitonic_sort import (
    argsort,
    arrays,
    dtypes,
    explain,
    ranks,
    sort,
    sort_with_indices,
    warp_bitonic_sort,
)
from warp_bitonic_sort.arrays import _dlpack, _jax, _jax_gpu, _private_stream, _torch
from warp_bitonic_sort.arrays._checks import span

TORCH = {name: getattr(torch, name) for name in oracle.ALL}
WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@pytest.fixture(autouse=True)
def _on_the_cpu():
    """Where JAX has a device, its arrays would be made there."""
    with jax.default_device(jax.devices("cpu")[0]):
        yield


def to_torch(x):
    """A tensor of the same bits as an array of any dtype."""
    raw = np.ascontiguousarray(x).view(f"i{x.dtype.itemsize}" if x.dtype.itemsize > 1 else "u1")
    return torch.from_numpy(raw.copy()).view(TORCH[x.dtype.name]).reshape(x.shape)


def to_numpy(t):
    name = str(t.dtype).removeprefix("torch.")
    raw = t.contiguous().view(WORDS[t.element_size()]).numpy()
    return raw.view(oracle.ALL[name]).reshape(tuple(t.shape))


# -- PyTorch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", oracle.ALL)
def test_sort_of_tensors_of_every_dtype_equals_the_oracle(name):
    rng = np.random.default_rng(1)
    for shape, axis in (((40, 9), -1), ((9, 40), 0), ((3, 50, 4), 1), ((0, 4), 1), ((), 0)):
        x = oracle.random(name, shape, rng)
        result = sort(to_torch(x), axis=axis, descending=True)
        assert type(result) is torch.Tensor
        assert result.dtype == TORCH[name]
        oracle.check(x, to_numpy(result), axis, descending=True)


def test_sort_of_tensor_with_nans_equals_torch_sort():
    x = torch.randn(64, 100)
    x[x > 1] = float("nan")
    for descending in (False, True):
        want = torch.sort(x, descending=descending).values
        torch.testing.assert_close(
            sort(x, dim=1, descending=descending), want, rtol=0, atol=0, equal_nan=True
        )


@pytest.mark.parametrize("length", [7, 90])
def test_sort_of_tensor_views_equals_torch_sort(length):
    base = torch.randn(6, 8, length, 2)
    for x in (base[..., 0], base.transpose(0, 2), base[:, :1].expand(6, 8, length, 2), base[::2]):
        for dim in range(-x.ndim, x.ndim):
            torch.testing.assert_close(sort(x, dim=dim), torch.sort(x, dim=dim).values)


def test_sort_of_lazily_negated_tensor_equals_torch_sort():
    negated = torch.randn(9, 12, dtype=torch.complex64).conj().imag
    assert negated.is_neg()
    torch.testing.assert_close(sort(negated), torch.sort(negated).values)
    out = torch.empty(9, 12)
    assert sort(negated, out=out) is out
    torch.testing.assert_close(out, torch.sort(negated).values)
    with pytest.raises(TypeError, match="x: dtype complex64 cannot be sorted"):
        sort(torch.randn(3, dtype=torch.complex64).conj())


def test_sort_into_tensor_out_returns_it():
    x = torch.randn(30, 20)
    want = torch.sort(x).values
    out = torch.empty(30, 40)[:, ::2]
    assert sort(x, out=out) is out
    torch.testing.assert_close(out, want)
    shared = torch.randn(31, 20)
    expected = torch.sort(shared[:-1]).values
    sort(shared[:-1], out=shared[1:])
    torch.testing.assert_close(shared[1:], expected)
    assert sort(x, out=x) is x
    torch.testing.assert_close(x, want)


def test_sort_of_dense_tensor_keeps_its_layout():
    x = torch.randn(4, 5, 6).permute(2, 0, 1)
    assert sort(x).stride() == torch.empty_like(x).stride()
    assert explain(x, axis=0).access == "rows"


def test_sort_of_tensor_that_requires_a_gradient_raises():
    x = torch.randn(4, 8, requires_grad=True)
    message = r"x: it requires a gradient.*x\.detach\(\).*torch\.no_grad"
    with pytest.raises(TypeError, match=message):
        sort(x)
    with pytest.raises(TypeError, match=message):
        warp_bitonic_sort(x)
    want = torch.sort(x.detach()).values
    torch.testing.assert_close(sort(x.detach()), want)
    with torch.no_grad():
        result = sort(x)
    assert not result.requires_grad
    torch.testing.assert_close(result, want)
    parameter = torch.nn.Parameter(x.detach().clone())
    with torch.no_grad():
        torch.testing.assert_close(sort(parameter), want)


def test_sort_of_tensor_that_is_not_plain_raises():
    class Mine(torch.Tensor):
        pass

    with pytest.raises(
        TypeError, match=r"x: expected a plain torch\.Tensor, got its subclass .*Mine"
    ):
        sort(torch.randn(3).as_subclass(Mine))
    with pytest.raises(TypeError, match="x: this call is inside a torch.func transform"):
        torch.func.jvp(sort, (torch.ones(3),), (torch.ones(3),))
    with forward_ad.dual_level(), pytest.raises(TypeError, match="x: it is a dual tensor"):
        sort(forward_ad.make_dual(torch.ones(3), torch.ones(3)))
    with pytest.raises(TypeError, match="x: expected a dense tensor, got a nested one"):
        sort(torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]))
    with pytest.raises(TypeError, match="x: expected a dense tensor, got layout torch.sparse_coo"):
        sort(torch.eye(3).to_sparse())
    with pytest.raises(NotImplementedError, match="x: it is on a meta device"):
        sort(torch.empty(3, 4, device="meta"))
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), pytest.raises(TypeError, match="FakeTensor"):
        sort(torch.empty(3, 4))


def test_sort_inside_vmap_raises():
    """A wrapped tensor must never be taken for its memory."""
    with pytest.raises(TypeError, match="x: this call is inside a torch.func transform"):
        torch.func.vmap(sort)(torch.randn(3, 4))


def test_sort_of_tensor_without_memory_raises():
    gone = torch.randn(4, 8)
    gone.untyped_storage().resize_(0)
    kept = []
    torch.func.vmap(lambda v: kept.append(v) or v)(torch.randn(4, 8))
    torch.func.functionalize(lambda v: kept.append(v + 1) or v)(torch.randn(4, 8))
    for x in (gone, *kept, torch._efficientzerotensor((4, 8)), torch._efficientzerotensor((4, 1))):
        with pytest.raises(ValueError, match="x: it has no memory"):
            sort(x)


def test_backward_after_sort_overwrote_its_input_raises():
    """Backward must raise, as it does for torch's own in-place operations."""
    a, w = torch.randn(3, 8), torch.randn(3, 8, requires_grad=True)
    y = (w * a).sum()
    version = a._version
    sort(a, out=a)
    assert a._version == version + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_sort_into_tensor_that_shares_numpy_memory_is_right():
    memory = np.random.default_rng(8).random((9, 40), dtype=np.float32)
    x, out = torch.from_numpy(memory[:-1]), torch.from_numpy(memory[1:])
    want = torch.sort(x).values
    sort(x, out=out)
    torch.testing.assert_close(out, want)


def test_sort_of_tensor_without_numpy_works_unless_rows_are_long():
    """Everything that a kernel sorts, and what is only copied, works where NumPy is missing."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['numpy'] = None; import torch, warp_bitonic_sort as w\n"
        "for shape in ((3, 9), (3, 1), (0, 4), (4, 0), (), (40, 50)):\n"
        "    x = torch.randn(shape); assert torch.equal(w.sort(x), torch.sort(x).values)\n"
        "    assert torch.equal(w.sort_pairs(x, -x).values, -torch.sort(x).values)\n"
        "    order = torch.argsort(x, stable=True)\n"
        "    assert torch.equal(w.ranks(x), torch.argsort(order, stable=True))\n"
        "try: w.sort(torch.randn(2, 17000))\n"
        "except RuntimeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("NumPy is not installed, and this call needs it"), done.stderr


# -- JAX ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", oracle.ALL)
def test_sort_of_jax_arrays_of_every_dtype_equals_the_oracle(name):
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        for shape, axis in (((40, 9), -1), ((9, 40), 0), ((2, 40, 3), 1), ((0, 3), 1), ((), 0)):
            x = oracle.random(name, shape, rng)
            array = jnp.asarray(x)
            before = np.array(array)
            result = sort(array, axis=axis, descending=True, nan="last")
            assert isinstance(result, jax.Array)
            assert result.devices() == array.devices()
            oracle.check(x, np.asarray(result), axis, True, "last")
            np.testing.assert_array_equal(oracle.bits(np.asarray(array)), oracle.bits(before))


def test_sort_of_64_bit_jax_array_outside_of_x64_keeps_its_dtype():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(3).random((5, 9)))
    result = sort(x)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(np.asarray(result), np.sort(np.asarray(x)))


def test_sort_of_committed_jax_array_is_committed():
    x = jnp.ones((3, 4))
    assert sort(x).committed == x.committed
    there = jax.device_put(x, jax.devices("cpu")[0])
    assert sort(there).committed


def test_sort_of_jax_tracer_or_into_jax_out_raises():
    with pytest.raises(TypeError, match=r"x: it is a tracer .*jax\.jit, vmap"):
        jax.jit(sort)(jnp.ones((3, 4)))
    with pytest.raises(TypeError, match="out: JAX arrays can't be written"):
        sort(jnp.ones((3, 4)), out=jnp.ones((3, 4)))


class JaxOnADevice(_jax_gpu.JaxGpuAdapter):
    """The adapter for devices, with the CPU's arrays and kernels instead of a device's."""

    kind = "jax as on a device"

    def describe(self, x, argument):
        return super().describe(x, argument)._replace(device=arrays.CPU_DEVICE)

    def stream(self, _):
        return None

    def _exported(self, array):
        return tvm_ffi.from_dlpack(array.__dlpack__())


@pytest.fixture
def jax_as_on_a_device(monkeypatch):
    monkeypatch.setattr(arrays, "_choosers", {})
    monkeypatch.setattr(
        _jax.JaxChooser,
        "__call__",
        lambda _self, x, _argument: JaxOnADevice(*x.devices(), arrays.Device("cuda", 0, None)),
    )


@pytest.mark.usefixtures("jax_as_on_a_device")
@pytest.mark.parametrize("name", oracle.ALL)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((40, 9), -1), ((9, 40), 0), ((5, 1), 1), ((0, 3), 1), ((), 0), ((2, 17000), -1)],
)
def test_sort_of_jax_arrays_by_the_device_adapter_equals_the_oracle(name, shape, axis):
    x = oracle.random(name, shape, np.random.default_rng(10))
    with jax.enable_x64(True):
        array = jnp.asarray(x)
        committed = jax.device_put(array, *array.devices())
    for given, descending, nan in ((array, False, "largest"), (committed, True, "last")):
        result = sort(given, axis=axis, descending=descending, nan=nan)
        assert isinstance(result, jax.Array)
        assert result.devices() == given.devices()
        assert result.committed == given.committed
        oracle.check(x, np.asarray(result), axis, descending, nan)
    np.testing.assert_array_equal(oracle.bits(np.asarray(array)), oracle.bits(x))


@pytest.mark.usefixtures("jax_as_on_a_device")
def test_sort_of_jax_arrays_on_a_device_gives_results_that_share_no_memory():
    """A kernel writes to what JAX made: never to what it has made before."""
    for length in (1, 9):
        x = np.random.default_rng(11).random((5, length), dtype=np.float32)
        results = [sort(jnp.asarray(x + i)) for i in range(4)]
        for i, result in enumerate(results):
            np.testing.assert_array_equal(np.asarray(result), np.sort(x + i))


@pytest.mark.usefixtures("jax_as_on_a_device")
@pytest.mark.parametrize("length", [1, 9])
def test_sort_of_jax_constant_on_a_device_inside_transform_is_right(length):
    x = jnp.asarray(np.random.default_rng(12).random((3, length), dtype=np.float32))
    want = np.sort(np.asarray(x))
    np.testing.assert_array_equal(jax.jit(lambda v: v * 0 + sort(x))(x), want)
    np.testing.assert_array_equal(jax.vmap(lambda v: v * 0 + sort(x)[0])(x)[0], want[0])


class Place(NamedTuple):
    platform: str
    number: int


class ElsewhereInJax:
    """An array on devices that are not here."""

    dtype = np.dtype("float32")

    def __init__(self, platform, dlpack_device, count=1):
        self._devices = [Place(platform, number) for number in range(count)]
        self._dlpack_device = dlpack_device

    def devices(self):
        return set(self._devices)

    def __dlpack_device__(self):
        return self._dlpack_device


def test_jax_chooser_takes_gpus_and_refuses_other_devices():
    choose = _jax.JaxChooser(jnp.ones(3), "x")
    for platform, device, message in (
        ("tpu", None, "x: it is on a tpu device, whose back end is not built yet"),
        ("gpu", (14, 0), "x: it is on a oneAPI device, whose back end is not built yet"),
        ("gpu", (3, 0), r"x: it is in pinned host memory \(CUDA's\)"),
    ):
        with pytest.raises(NotImplementedError, match=message):
            choose(ElsewhereInJax(platform, device), "x")
    with pytest.raises(ValueError, match="x: expected an array on one device, got one sharded"):
        choose(ElsewhereInJax("gpu", (2, 0), 2), "x")
    for device_type in (2, 10):
        there = ElsewhereInJax("gpu", (device_type, 3))
        chooser = _jax.JaxChooser(jnp.ones(3), "x")
        adapter = chooser(there, "x")
        assert isinstance(adapter, _jax_gpu.JaxGpuAdapter)
        assert chooser(there, "x") is adapter
        device = adapter.describe(jnp.ones(3), "x").device
        assert device == ("cuda" if device_type == 2 else "hip", 3, None)


# -- any other array with DLPack ---------------------------------------------------------------


class Foreign:
    """An array of a library that this package does not support by name."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __array_namespace__(self):
        class Namespace:
            @staticmethod
            def from_dlpack(x):
                return Foreign(np.from_dlpack(x))

        return Namespace


@pytest.mark.parametrize("axis", [0, 1])
def test_sort_of_dlpack_array_returns_its_kind(axis):
    x = np.random.default_rng(4).random((40, 33), dtype=np.float32)
    for array in (x, x.T, x[::-1, ::2]):
        result = sort(Foreign(array), axis=axis, descending=True)
        assert isinstance(result, Foreign)
        np.testing.assert_array_equal(result.array, np.flip(np.sort(array, axis=axis), axis))


def test_sort_of_read_only_dlpack_array_equals_numpy():
    x = np.random.default_rng(5).random((3, 20_000), dtype=np.float32)
    x.flags.writeable = False
    np.testing.assert_array_equal(sort(Foreign(x)).array, np.sort(x))
    np.testing.assert_array_equal(sort(Foreign(x[:, :50])).array, np.sort(x[:, :50]))


def test_sort_of_tvm_ffi_tensor_returns_one():
    x = np.random.default_rng(6).random((40, 9), dtype=np.float32)
    result = sort(tvm_ffi.from_dlpack(x))
    assert isinstance(result, tvm_ffi.Tensor)
    np.testing.assert_array_equal(np.from_dlpack(result), np.sort(x))


def test_sort_of_dlpack_array_without_namespace_returns_a_tensor():
    class Mute(Foreign):
        __array_namespace__ = None

    x = np.random.default_rng(7).random((4, 9), dtype=np.float32)
    Mute.__module__ = "nowhere"
    result = sort(Mute(x))
    assert isinstance(result, tvm_ffi.Tensor)
    np.testing.assert_array_equal(np.from_dlpack(result), np.sort(x))


@pytest.mark.parametrize("name", oracle.ALL)
@pytest.mark.parametrize("shape", [(3, 1), (), (0, 4), (4, 0), (2, 32), (3, 9), (2, 17000)])
def test_sort_of_dlpack_arrays_of_every_dtype_and_route_equals_the_oracle(name, shape):
    """Through a producer that is not NumPy, which exports neither bfloat16 nor float8."""

    class Mute:
        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack__(self, **options):
            return self.tensor.__dlpack__()

        def __dlpack_device__(self):
            return (1, 0)

    Mute.__module__ = "nowhere"
    x = oracle.random(name, shape, np.random.default_rng(9))
    result = sort(Mute(tvm_ffi.from_dlpack(to_torch(x))), descending=True)
    assert isinstance(result, tvm_ffi.Tensor)
    oracle.check(x, to_numpy(torch.from_dlpack(result)), -1, descending=True)
    told = explain(Mute(tvm_ffi.from_dlpack(to_torch(x))))
    assert (told.shape, told.dtype) == (shape, name)


def test_sort_into_dlpack_out_raises():
    x = Foreign(np.ones((3, 4), np.float32))
    with pytest.raises(
        TypeError, match="out: expected a NumPy array or a torch tensor, got .*Foreign"
    ):
        sort(x, out=x)


@pytest.mark.parametrize(("device", "name"), [(14, "oneAPI"), (8, "Metal"), (99, "99")])
def test_sort_of_array_on_unsupported_device_raises(device, name):
    class Elsewhere(Foreign):
        def __dlpack_device__(self):
            return (device, 0)

    x = Elsewhere(np.ones((3, 4), np.float32))
    with pytest.raises(
        NotImplementedError, match=f"x: it is on a .*{name}.*back end is not built yet"
    ):
        sort(x)
    with pytest.raises(NotImplementedError, match="Move it to the CPU"):
        warp_bitonic_sort(x)


@pytest.mark.parametrize(("device", "name"), [(3, "CUDA"), (11, "ROCm")])
def test_sort_of_array_in_pinned_memory_raises(device, name):
    class Pinned(Foreign):
        def __dlpack_device__(self):
            return (device, 0)

    with pytest.raises(NotImplementedError, match=f"x: it is in pinned host memory .{name}'s"):
        sort(Pinned(np.ones((3, 4), np.float32)))


def test_choose_gives_each_device_its_own_adapter():
    class OnDevice(Foreign):
        def __dlpack_device__(self):
            return self.array

    first, second = (_dlpack.choose(OnDevice((2, i)), "x") for i in (0, 1))
    assert type(first) is type(second) is _dlpack.GpuDlpackAdapter
    assert first is not second
    assert _dlpack.choose(OnDevice((13, 1)), "x") is second
    on_hip = _dlpack.choose(OnDevice((10, 1)), "x")
    assert type(on_hip) is _dlpack.GpuDlpackAdapter
    assert on_hip is not second
    # Those of TVM FFI have another stream, so no prepared call may serve both.
    assert _dlpack.GpuTensorAdapter(arrays.Device("cuda", 0, None)).kind != first.kind


def test_exported_passes_the_devices_stream_to_the_producer(monkeypatch):
    streams = {("cuda", 0): 70, ("hip", 1): 71}
    monkeypatch.setattr(_private_stream, "_private_stream", lambda *device: streams[device])
    asked = []

    class Producer:
        read_only = False

        def __dlpack__(self, **options):
            asked.append(options)
            if self.read_only and "max_version" not in options:
                raise BufferError
            return np.ones(3, np.float32).__dlpack__()

    _private_stream.exported(Producer(), arrays.Device("cuda", 0, None))
    Producer.read_only = True
    _private_stream.exported(Producer(), arrays.Device("hip", 1, None))
    assert asked == [{"stream": 70}, {"stream": 71}, {"stream": 71, "max_version": (1, 0)}]


def test_span_equals_numpys_byte_bounds():
    bounds = getattr(np.lib, "array_utils", np).byte_bounds
    memory = np.zeros((7, 8, 9), np.int32)
    for x in (
        memory,
        memory[::-2, 1:, ::-1],
        memory.T[3],
        memory[2, 3, 4:5],
        memory[:, :0],
        memory[0],
    ):
        low, high = span(x.ctypes.data, x.shape, x.strides, x.itemsize)
        if x.size:
            assert (low, high) == bounds(x)
        else:
            assert low == high


# -- PyTorch on ROCm, without a device ----------------------------------------------------------


def test_gpu_of_torch_on_rocm_is_a_hip_device(monkeypatch):
    """What torch calls cuda is HIP there; its target has features behind colons."""
    targets = ["gfx90a:sramecc+:xnack-", "gfx1100", ""]
    monkeypatch.setattr(torch.version, "hip", "6.2.41133")
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda i: SimpleNamespace(gcnArchName=targets[i])
    )
    found = [_torch._gpu(i) for i in range(3)]
    assert found == [("hip", 0, "gfx90a"), ("hip", 1, "gfx1100"), ("hip", 2, None)]
    # Versions without that property.
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace())
    assert _torch._gpu(1) == ("hip", 1, None)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    assert _torch._gpu(1) == ("cuda", 1, "sm_90")


# -- CuPy, without a device ---------------------------------------------------------------------


def test_stream_of_a_cupy_array_is_that_of_its_device(monkeypatch):
    cupy = ModuleType("cupy")
    cupy.cuda = SimpleNamespace(
        get_current_stream=lambda device_id=-1: SimpleNamespace(ptr=100 + device_id)
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    # Under another name, so that arrays of a CuPy that is there never meet it.
    path = Path(arrays.__file__).with_name("_cupy.py")
    spec = importlib.util.spec_from_file_location("warp_bitonic_sort.arrays._stubbed", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for is_hip, expected in ((False, ("cuda", 3, "sm_90")), (True, ("hip", 3, None))):
        cupy.cuda.runtime = SimpleNamespace(is_hip=is_hip)
        assert module._device(SimpleNamespace(id=3, compute_capability="90")) == expected
    adapter = module.CupyAdapter()
    streams = [adapter.stream(SimpleNamespace(device=SimpleNamespace(id=i))) for i in (0, 1)]
    assert [stream() for stream in streams] == [100, 101]


# -- NumPy's own -------------------------------------------------------------------------------


def test_sort_of_ml_dtypes_array_keeps_its_dtype():
    x = np.arange(20)[::-1].astype(ml_dtypes.bfloat16).reshape(2, 10)
    result = sort(x)
    assert result.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(result.astype(np.float32), np.sort(x.astype(np.float32)))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            [3, 1, 2],
            r"x: expected an array that speaks DLPack .*got list; pass numpy\.asarray\(x\)",
        ),
        (3.5, "x: expected an array that speaks DLPack .*got float"),
        (None, "x: expected an array .*got NoneType"),
        (
            np.ones(3, complex),
            "x: dtype complex128 cannot be sorted here; convert it to one of bool",
        ),
        (np.array(["b", "a"]), "x: dtype str cannot be sorted"),
        (np.array([b"b", b"a"]), "x: dtype bytes cannot be sorted"),
        (np.array([{}, 1], object), "x: dtype object cannot be sorted"),
        (np.zeros(3, "M8[s]"), r"x: dtype datetime64\[s\] cannot be sorted"),
        (np.zeros(3, ">m8[ns]"), r"x: dtype timedelta64\[ns\] cannot be sorted"),
        (np.zeros(3, [("a", "f4")]), r"x: dtype \[\('a', '<f4'\)\] cannot be sorted"),
        (np.zeros(3, "V8"), r"x: dtype \|V8 cannot be sorted"),
        (np.zeros(3, ml_dtypes.int4), "x: dtype int4 cannot be sorted"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), r"x: numpy\.ma\..* mask; .*x\.filled"),
        (torch.zeros(3, dtype=torch.complex64), "x: dtype complex64 cannot be sorted"),
    ],
)
def test_sort_of_unsupported_values_names_their_type(x, message):
    with pytest.raises(TypeError, match=message):
        sort(x)


@pytest.mark.skipif(np.__version__ < "2", reason="NumPy 2 brings StringDType")
def test_sort_of_numpy_stringdtype_names_it():
    with pytest.raises(TypeError, match="x: dtype StringDType cannot be sorted"):
        sort(np.array(["b", "a"], "T"))


def test_supported_dtypes_in_messages_are_complete():
    text = re.sub(
        r"(\w+) \((.*)\)",
        lambda found: ", ".join(f"{found[1]}_{kind}" for kind in found[2].split(", ")),
        re.sub(
            r"(\w*int)8 to \w+64",
            lambda found: ", ".join(f"{found[1]}{bits}" for bits in (8, 16, 32, 64)),
            dtypes.SUPPORTED,
        ),
    )
    assert sorted(text.split(", ")) == sorted(dtypes.DTYPES)


@pytest.mark.parametrize("dtype", ["M8[ns]", ">M8[s]", "m8[ms]"])
@pytest.mark.parametrize("call", [sort, argsort, sort_with_indices, ranks])
def test_error_for_dates_advises_code_that_sorts_nat_last(call, dtype):
    x = np.array([3, "NaT", -5, 0], "m8[s]").astype("i8").astype(dtype)
    with pytest.raises(TypeError, match="NaT last.*smallest int64") as caught:
        call(x)
    pattern = r"Indices are those of (argsort.*), and sorted values are (.*)\.$"
    names = {"sort": sort, "argsort": argsort, "x": x}
    for advice, want in zip(
        re.search(pattern, str(caught.value)).groups(), (np.argsort(x), np.sort(x)), strict=True
    ):
        np.testing.assert_array_equal(eval(advice, names), want)  # noqa: S307


@pytest.mark.parametrize("x", [[3, 1], (3.0, 1.0), [[True], [False]], [], 7, 2.5, range(3)])
def test_sort_of_plain_numbers_advises_asarray(x):
    with pytest.raises(TypeError, match=r"got \w+; pass numpy\.asarray\(x\)\.$"):
        sort(x)
    sort(np.asarray(x))


@pytest.mark.parametrize("x", [None, "abc", b"abc", ["a"], {"a": 1}, {1, 2}, object(), 1j, [None]])
def test_sort_of_what_is_no_number_advises_no_asarray(x):
    with pytest.raises(TypeError, match=r"got \w+\.$"):
        sort(x)


def test_sort_of_list_that_holds_itself_raises():
    x = []
    x.append(x)
    with pytest.raises(TypeError, match="got list"):
        sort(x)


def test_sort_of_unknown_series_advises_to_numpy():
    class Series:
        def to_numpy(self):
            return np.ones(3)

    with pytest.raises(TypeError, match=r"got .*Series; pass x\.to_numpy\(\)"):
        sort(Series())
