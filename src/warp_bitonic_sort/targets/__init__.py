"""Lists the back ends, each of which describes the processors of one maker or kind.

Invariant: only ``targets`` and ``arrays`` contain names of back ends. Other code uses a `Target`;
the build uses only its `Recipe`. Back ends do not import each other.
"""

from __future__ import annotations

from ..kernels import RUNTIME
from .common.recipe import Recipe
from .common.target import Target
from .cpu import CPU
from .cuda import CUDA
from .hip import HIP
from .runtime import RUNTIME_RECIPE

TARGETS: dict[str, Target] = {target.name: target for target in (CPU, CUDA, HIP)}
HOST = CPU
RECIPES: dict[str, Recipe] = {
    RUNTIME.target: RUNTIME_RECIPE,
    **{name: target.recipe for name, target in TARGETS.items()},
}


def target_of(name: str) -> Target:
    """Return the back end of a name, as in ``kernel.target`` or ``device.backend``."""
    return TARGETS[name]


def recipe_of(name: str) -> Recipe:
    """Return the recipe of a back end, or of the runtime."""
    return RECIPES[name]


def target_with(arch: str) -> Target | None:
    """Return the back end that has kernels for an architecture, or None."""
    return next((target for target in TARGETS.values() if target.is_arch(arch)), None)


def arch_of(product: bytes) -> str | None:
    """Return the architecture of a compiled file, as in ``sm_90`` or ``x86-64``, or None."""
    archs = (recipe.arch_of(product) for recipe in RECIPES.values())
    return next(filter(None, archs), None)
