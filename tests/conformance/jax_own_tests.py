"""Runs JAX's own tests of sorting, with the functions of warp_bitonic_sort.jax in place of JAX's.

``WARP_SORT_JAX_TESTS`` names the folder ``tests`` of JAX's sources, of the version that is
installed; nothing is fetched. They need absl-py. Arguments go to pytest::

    WARP_SORT_JAX_TESTS=jax/tests python tests/conformance/jax_own_tests.py

Invariant: no test is left out in silence. One that finds a documented difference is listed with the
reason, and has to fail.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from warp_bitonic_sort import jax as wbs

VARIABLE = "WARP_SORT_JAX_TESTS"
FILES = ["lax_numpy_test.py", "lax_numpy_reducers_test.py", "lax_test.py", "lax_autodiff_test.py"]
FILES += ["lax_vmap_test.py", "lax_vmap_op_test.py"]
NAMES = "Sort or TopK or top_k or Median or Quantile or Percentile"
# The beginning of a test's name, and why it fails.
DIFFERENCES: dict[str, str] = {}
calls = dict.fromkeys(wbs.__all__, 0)


def counted(name):
    """Return a function of the package that counts its calls."""
    function = getattr(wbs, name)

    def call(*args, **kwargs):
        calls[name] += 1
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    return call


class Replaced:
    """A module of JAX, some of whose functions are others; JAX itself keeps its own."""

    def __init__(self, module, functions):
        self.__dict__.update(functions)
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)


class OwnFunctions:
    """The plugin of pytest that replaces functions of jax.numpy and jax.lax in the tests."""

    def pytest_collection_modifyitems(self, items):
        own = {name: counted(name) for name in wbs.__all__}
        top_k = {"top_k": own.pop("top_k")}
        for module in {item.module for item in items}:
            module.jnp = Replaced(jnp, own)
            module.lax = Replaced(jax.lax, top_k)
            module.jax = Replaced(jax, {"numpy": module.jnp, "lax": module.lax})
        for item in items:
            for start, reason in DIFFERENCES.items():
                if item.name.startswith(start):
                    item.add_marker(pytest.mark.xfail(reason=reason, strict=True))

    def pytest_terminal_summary(self, terminalreporter):
        listed = ", ".join(f"{name} {count}" for name, count in calls.items())
        terminalreporter.write_line(f"JAX {jax.__version__}; calls of our functions: {listed}")


def main(arguments):
    folder = os.environ.get(VARIABLE)
    if folder is None:
        sys.exit(f"{VARIABLE}: set it to the folder tests of JAX's sources")
    files = [str(Path(folder) / name) for name in FILES]
    options = ["-q", "-rxX", "-p", "no:cacheprovider", "--rootdir", folder, "-c", os.devnull]
    return pytest.main([*options, "-k", NAMES, *files, *arguments], plugins=[OwnFunctions()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
