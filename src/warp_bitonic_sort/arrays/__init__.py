"""Finds the adapter of an array: it describes the array, passes it to kernels, makes results.

Invariant: of the packages below those with the signatures of libraries, only this one knows array
libraries. A library is imported only after the caller has passed one of its arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from ..process import forks
from ._adapter import CPU_DEVICE, Adapter, Cut, Description, Device, SortOptions
from ._advice import check_listed, other_library
from ._checks import INDEX_DTYPES, dense_strides, shown, type_name

__all__ = [
    "CPU_DEVICE",
    "INDEX_DTYPES",
    "Adapter",
    "Cut",
    "Description",
    "Device",
    "SortOptions",
    "adapter_of",
    "adapters",
    "between_torch_graphs",
    "dense_strides",
    "other_library",
    "outside_torch_compile",
    "shown",
    "type_name",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Chooser = Callable[[Any, str], Adapter]


def between_torch_graphs(function: _Function) -> _Function:
    """Mark a function, so that torch.compile runs it between two graphs.

    torch.compiler.disable does the same; this does not import PyTorch. Where no call may be between
    graphs (fullgraph, torch.export), PyTorch raises an error with the reason given here.
    """
    function.__dict__.update(
        _torchdynamo_disable=True,
        _torchdynamo_disable_msg="its kernel is not an operator of PyTorch; use the functions of "
        "warp_bitonic_sort.torch there, which are",
    )
    return function


_disabled: dict[Any, Any] = {}


def outside_torch_compile(function: _Function) -> _Function:
    """Return a function of a module, so that torch.compile, where it is loaded, does not trace it.

    A traced function runs NumPy's arithmetic on tensors, which lack it for unsigned integers.
    """
    if "torch._dynamo" not in sys.modules:
        return function
    if function not in _disabled:  # torch.compile warns of functools.cache
        _disabled[function] = sys.modules["torch"].compiler.disable(function)
    disabled: _Function = _disabled[function]
    return disabled


# The adapter of each type met so far whose arrays all have the same adapter.
adapters: dict[type, Adapter] = {}
# The chooser of each type met so far whose arrays have an adapter for each device.
_choosers: dict[type, _Chooser] = {}


def adapter_of(x: object, argument: str = "x") -> Adapter:
    """Return the adapter of arrays like x, or raise TypeError with advice."""
    adapter = adapters.get(type(x))
    if adapter is not None:
        return adapter
    choose = _choosers.get(type(x))
    if choose is None:
        with forks.held_off():  # an adapter is imported
            adapter = _find(x, argument)
            if adapter is not None:
                adapters[type(x)] = adapter
                return adapter
            choose = _choosers[type(x)] = _find_chooser(x, argument)
    return choose(x, argument)


def _is(x: object, module: str, name: str) -> bool:
    """Tell whether x is an instance of a class, without importing the module of the class."""
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
    check_listed(type(x), argument)
    if hasattr(type(x), "__dlpack__") and hasattr(type(x), "__dlpack_device__"):
        from ._dlpack import choose

        return choose
    advice = ""
    if hasattr(type(x), "to_numpy"):
        advice = f"; pass {argument}.to_numpy()"
    elif _is_of_numbers(x):
        advice = f"; pass numpy.asarray({argument})"
    raise TypeError(
        f"{argument}: expected an array that speaks DLPack (NumPy, PyTorch, JAX, CuPy or any other "
        f"with __dlpack__), got {type_name(x)}{advice}."
    )


def _is_of_numbers(x: object) -> bool:
    """Tell whether numpy.asarray(x) is an array of numbers."""
    for _ in range(64):  # a list may hold itself
        if isinstance(x, (list, tuple)) and x:
            x = x[0]
    kind = type(x)
    if hasattr(kind, "__array__") or hasattr(kind, "__array_interface__"):
        return True
    numbers = (bool, int, float, list, tuple, range, memoryview)
    return isinstance(x, numbers) or _is(x, "array", "array")
