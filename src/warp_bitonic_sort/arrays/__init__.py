"""The caller's arrays: what they are, how they cross to a kernel, and how a result is made.

Invariant: this is the one room that knows array libraries. None is imported before an array of its
kind has come in, and an array that does come in is described once, then handled as a `Description`,
whose strides count elements, and whose dtype has NumPy's name. Device types are DLPack's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from ..process import forks

__all__ = [
    "CPU",
    "CPU_DEVICE",
    "CUDA",
    "CUDA_MANAGED",
    "ROCM",
    "Adapter",
    "Description",
    "Device",
    "Plain",
    "adapter_of",
    "adapters",
    "between_torch_graphs",
    "check_distinct",
    "dense_strides",
    "numpy_missing",
    "outside_torch_compile",
    "span",
    "type_name",
    "unsupported_device",
    "unsupported_type",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])

CPU, CUDA, ROCM, CUDA_MANAGED = 1, 2, 10, 13
_PINNED = {3: "CUDA", 11: "ROCm"}
_DEVICES = {7: "Vulkan", 8: "Metal", 14: "oneAPI"}


class Device(NamedTuple):
    """Where an array lives.

    Parameters
    ----------
    backend : str
        Which kernels reach it: cpu, cuda or hip.
    number : int
        The number of the device; 0 for the CPU.
    arch : str or None
        The compiler's target for the device, where the array's library tells it.
    """

    backend: Literal["cpu", "cuda", "hip"]
    number: int
    arch: str | None


CPU_DEVICE = Device("cpu", 0, None)


class Description(NamedTuple):
    """An array, as far as planning goes.

    Parameters
    ----------
    kind : str
        The library it is from: numpy, torch, cupy, jax, tvm_ffi or dlpack.
    dtype : str
        Its dtype's name.
    shape : tuple of int
        Its shape.
    strides : tuple of int
        Its strides, in elements.
    device : Device
        Where it lives.
    library : str
        What its library can be asked for on a device: ``none`` where it is not known here,
        ``sorts`` rows that no kernel takes, and ``turns`` the sorted axis into the last one, too.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device: Device = CPU_DEVICE
    library: Literal["none", "sorts", "turns"] = "sorts"


# Nothing that runs needs it, and no start is to read it.
if TYPE_CHECKING:
    from ._adapter import Adapter
else:
    Adapter = object


class Plain:
    """What an adapter does without: to sort `again`, and to turn arrays."""

    again: Callable[[Any, int, bool], Any] | None = None

    def sort_turned(self, x: Any, buffer: Any, axis: int, sort: Callable[[Any], None]) -> None:
        """Never called: the library is not asked to turn arrays."""

    def remembers(self, x: Any) -> bool:
        """Return False."""
        del x
        return False


def type_name(x: object) -> str:
    """Return the name of x's type as its users write it."""
    return f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")


def check_distinct(shape: Sequence[int], strides: Sequence[int], item: int) -> None:
    """Raise ValueError for an out in which two elements may share memory.

    Strides and item in one unit. As everywhere, that is refused when strides do not nest: telling
    for sure is a hard problem, and nobody makes such an array on purpose.
    """
    if 0 in shape:
        return
    reach = item
    for stride, size in sorted((abs(t), n) for t, n in zip(strides, shape, strict=True) if n > 1):
        if stride < reach:
            raise ValueError(
                f"out: two of its elements may share memory (shape {tuple(shape)}, strides "
                f"{tuple(strides)}); pass an array whose elements are all distinct."
            )
        reach += stride * (size - 1)


def span(address: int, shape: Sequence[int], strides: Sequence[int], item: int) -> tuple[int, int]:
    """Return the addresses of an array's first byte and of the one after its last.

    Strides and item in bytes.
    """
    if 0 in shape:
        return address, address
    reach = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
    low = address + sum(each for each in reach if each < 0)
    return low, address + sum(each for each in reach if each > 0) + item


def numpy_missing() -> RuntimeError:
    """Return the error for a call that takes NumPy where it is not installed."""
    return RuntimeError(
        "x: sorting it takes NumPy, which is not installed (for rows longer than any kernel sorts, "
        "and some of one element); pip install numpy ml_dtypes."
    )


def unsupported_device(name: str, argument: str) -> NotImplementedError:
    """Return the error for an array that no back end reaches."""
    return NotImplementedError(
        f"{argument}: it is on a {name} device, whose back end is not built yet; arrays in CPU "
        f"memory and on CUDA and ROCm devices can be sorted. Move it to the CPU first."
    )


def unsupported_type(device_type: int, argument: str) -> NotImplementedError:
    """Return the error for an array on a DLPack device type that no back end reaches."""
    if device_type in _PINNED:
        name = _PINNED[device_type]
        return NotImplementedError(
            f"{argument}: it is in pinned host memory ({name}'s), which no back end takes; move it "
            f"to ordinary CPU memory or to a {name} device first."
        )
    name = _DEVICES.get(device_type, f"DLPack type {device_type}")
    return unsupported_device(name, argument)


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a row-major array, in elements."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def between_torch_graphs(function: _Function) -> _Function:
    """Mark a function, which torch.compile then runs between two graphs.

    That is what torch.compiler.disable does, here without importing PyTorch. Where no call may be
    between graphs (fullgraph, torch.export), PyTorch raises an error with the reason given here.
    """
    function.__dict__.update(
        _torchdynamo_disable=True,
        _torchdynamo_disable_msg="its kernel is no operator of PyTorch; use torch.sort there, or "
        "make an operator of it with torch.library.custom_op",
    )
    return function


def outside_torch_compile(function: _Function) -> _Function:
    """Return a function that torch.compile, where it is loaded, runs as it is.

    It would follow ours step by step, and run NumPy's arithmetic with tensors, which have none of
    unsigned integers.
    """
    if "torch._dynamo" not in sys.modules:
        return function
    disabled: _Function = sys.modules["torch"].compiler.disable(function)
    return disabled


# -- who handles an array --------------------------------------------------------------------------

_Chooser = Callable[[Any, str], Adapter]

# What handles arrays of a type, of the types met so far that have one adapter.
adapters: dict[type, Adapter] = {}
# Of types whose arrays have one adapter or another by their device.
_choosers: dict[type, _Chooser] = {}


def adapter_of(x: object, argument: str = "x") -> Adapter:
    """Return what handles arrays like x, or raise an error that says what would do."""
    found = adapters.get(type(x))
    if found is not None:
        return found
    choose = _choosers.get(type(x))
    if choose is None:
        with forks.held_off():  # an adapter is imported
            found = _find(x, argument)
            if found is not None:
                adapters[type(x)] = found
                return found
            choose = _choosers[type(x)] = _find_chooser(x, argument)
    return choose(x, argument)


def _is(x: object, module: str, name: str) -> bool:
    """Tell whether x is an instance of a class, without importing the module it would be from."""
    loaded: Any = sys.modules.get(module)
    kind = getattr(loaded, name, None)
    return isinstance(kind, type) and isinstance(x, kind)


def _find(x: object, argument: str) -> Adapter | None:
    if _is(x, "numpy", "ndarray"):
        from ._numpy import NumpyAdapter

        return NumpyAdapter(type(x), argument)
    if _is(x, "torch", "Tensor"):
        from ._torch import TorchAdapter

        return TorchAdapter(type(x), argument)
    if _is(x, "cupy", "ndarray"):
        from ._cupy import CupyAdapter

        return CupyAdapter()
    return None


def _find_chooser(x: object, argument: str) -> _Chooser:
    if _is(x, "jax", "Array"):
        from ._jax import JaxChooser

        return JaxChooser(x, argument)
    from ._advice import check_listed

    check_listed(type(x), argument)
    if hasattr(type(x), "__dlpack__") and hasattr(type(x), "__dlpack_device__"):
        from ._dlpack import choose

        return choose
    advice = ""
    if hasattr(type(x), "to_numpy"):
        advice = "; x.to_numpy() would do"
    elif _is_of_numbers(x):
        advice = "; numpy.asarray(x) would do"
    raise TypeError(
        f"{argument}: expected an array that speaks DLPack (NumPy, PyTorch, JAX, CuPy or any other "
        f"with __dlpack__), got {type_name(x)}{advice}."
    )


def _is_of_numbers(x: object) -> bool:
    """Tell whether NumPy makes an array of numbers of x."""
    for _ in range(64):  # a list may hold itself
        if isinstance(x, (list, tuple)) and x:
            x = x[0]
    kind = type(x)
    if hasattr(kind, "__array__") or hasattr(kind, "__array_interface__"):
        return True
    numbers = (bool, int, float, list, tuple, range, memoryview)
    return isinstance(x, numbers) or _is(x, "array", "array")
