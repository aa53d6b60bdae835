"""The caller's arrays: what they are, how they cross to a kernel, and how a result is made.

Invariant: this is the one room that knows array libraries. None is imported before an array of its
kind has come in, and an array that does come in is described once, then handled as a `Description`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ._base import CPU_DEVICE, Adapter, Description, Device, dense_strides, type_name

__all__ = [
    "CPU_DEVICE",
    "Adapter",
    "Description",
    "Device",
    "adapter_of",
    "adapters",
    "dense_strides",
    "type_name",
]

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
    if _is(x, "numpy.ma", "MaskedArray"):
        raise TypeError(
            f"{argument}: a masked array cannot be sorted here, its mask would be lost; "
            f"fill it first, as in x.filled(numpy.nan)."
        )
    if _is(x, "numpy", "ndarray"):
        from ._numpy import NumpyAdapter

        return NumpyAdapter()
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
    if hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__"):
        from ._dlpack import choose

        return choose
    advice = ""
    if hasattr(x, "to_numpy"):
        advice = "; x.to_numpy() would do"
    elif hasattr(x, "__array__") or hasattr(x, "__array_interface__") or _is_of_numbers(x):
        advice = "; numpy.asarray(x) would do"
    raise TypeError(
        f"{argument}: expected an array that speaks DLPack (NumPy, PyTorch, JAX, CuPy or any other "
        f"with __dlpack__), got {type_name(x)}{advice}."
    )


def _is_of_numbers(x: object) -> bool:
    """Tell whether NumPy makes an array of numbers of what speaks no protocol of arrays."""
    for _ in range(64):  # a list may hold itself
        if isinstance(x, (list, tuple)) and x:
            x = x[0]
    return isinstance(x, (bool, int, float, list, tuple, range)) or _is(x, "array", "array")
