"""Imports JAX and jax-tvm-ffi, or raises an error that says how to install them.

Invariant: importing this module loads nothing else of the package.
"""

from __future__ import annotations

import re

# The first one that loads the handlers of jax-tvm-ffi 0.1.3: their interface has a version.
_OLDEST_JAX = (0, 9, 1)
_ADVICE = "run pip install 'warp-bitonic-sort[jax]'"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers at the head of a version, as in (0, 9, 1) of 0.9.1.dev2."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def require() -> None:
    """Import what the functions for JAX need.

    Raises
    ------
    ImportError
        JAX or jax-tvm-ffi is missing, or JAX is too old.
    """
    try:
        import jax
    except ImportError as error:
        raise ImportError(f"warp_bitonic_sort.jax needs JAX; {_ADVICE}.") from error
    if _numbers(jax.__version__) < _OLDEST_JAX:
        oldest = ".".join(map(str, _OLDEST_JAX))
        raise ImportError(
            f"warp_bitonic_sort.jax needs JAX {oldest} or newer, got {jax.__version__}; {_ADVICE}."
        )
    try:
        import jax_tvm_ffi  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"warp_bitonic_sort.jax needs jax-tvm-ffi, which passes arrays of JAX to kernels; "
            f"{_ADVICE}."
        ) from error
