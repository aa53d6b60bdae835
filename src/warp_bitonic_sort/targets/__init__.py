"""Lists the back ends, each of which describes the processors of one maker or kind.

Invariant: only ``targets``, ``arrays`` and ``jax`` contain names of back ends. Other code uses a
`Target`; the build uses only its `Recipe`. Back ends do not import each other, and each is imported
when it is first used: most processes use one.
"""

from __future__ import annotations

import functools
import importlib

from .. import settings
from ..errors import ToolError
from ..kernels import RUNTIME
from .common.host import machine_of
from .common.recipe import Recipe
from .common.target import Target
from .cpu import TARGET as HOST
from .runtime import RUNTIME_RECIPE

__all__ = [
    "HOST",
    "RECIPES",
    "TARGETS",
    "arch_of",
    "device_arch",
    "listed_archs",
    "machine_of",
    "recipe_of",
    "target_of",
    "target_with",
]

TARGETS = (HOST.name, "cuda", "hip")
RECIPES = (RUNTIME.target, *TARGETS)


@functools.cache
def target_of(name: str) -> Target:
    """Return the back end of a name, as in ``kernel.target`` or ``device.backend``."""
    target: Target = importlib.import_module(f".{name}", __name__).TARGET
    return target


def recipe_of(name: str) -> Recipe:
    """Return the recipe of a back end, or of the runtime."""
    return RUNTIME_RECIPE if name == RUNTIME.target else target_of(name).recipe


def target_with(arch: str) -> Target | None:
    """Return the back end that has kernels for an architecture, or None."""
    return next((target for target in map(target_of, TARGETS) if target.is_arch(arch)), None)


def listed_archs() -> list[str]:
    """Return the architectures that ``GPU_ARCH`` lists; empty for a device's own.

    Raises
    ------
    ToolError
        The list has a word that is not an architecture of a device.
    """
    archs = settings.gpu_archs()
    for arch in archs:
        target = target_with(arch)
        if target is None or target.is_host:
            raise ToolError(
                f"GPU_ARCH: expected native or a list such as sm_90,gfx942 (without features, as "
                f"in :xnack-), got {arch!r} in it."
            )
    return archs


def device_arch(backend: str, native: str) -> str:
    """Return the architecture to build for on a device: its own, or one from ``GPU_ARCH``.

    Raises
    ------
    ToolError
        ``GPU_ARCH`` is wrong, or lists nothing that runs on the device; or it has no kernels.
    """
    return target_of(backend).arch_for(native, listed_archs())


def arch_of(product: bytes) -> str | None:
    """Return the architecture of a compiled file, as in ``sm_90`` or ``x86-64``, or None."""
    archs = (recipe.arch_of(product) for recipe in map(recipe_of, RECIPES))
    return next(filter(None, archs), None)
