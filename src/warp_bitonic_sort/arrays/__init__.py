"""The caller's arrays: what they are, how they cross to a kernel, and how a result is made.

Invariant: only this package knows array libraries. None is imported before an array of its kind has
come in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from ..process import forks
from ._adapter import CPU_DEVICE, Adapter, Description, Device, SortOptions
from ._checks import dense_strides, type_name

__all__ = [
    "CPU_DEVICE",
    "Adapter",
    "Description",
    "Device",
    "SortOptions",
    "adapter_of",
    "adapters",
    "between_torch_graphs",
    "dense_strides",
    "outside_torch_compile",
    "type_name",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Chooser = Callable[[Any, str], Adapter]


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


# The adapters of types of arrays, of the types met so far that have one adapter.
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
