"""Describes how the runtime, the library that calls the kernels of all targets, is compiled.

Invariant: the runtime needs only the host's compiler. It loads drivers when a device is first used.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from importlib import metadata
from pathlib import Path

from ..errors import ToolError
from .common import sources
from .common.host import HOST_FLAGS, HostRecipe

# -Og compiles faster than -O1 by a quarter; calls become slower by a few percent.
_FLAGS = ("-Og", "-pthread")
# A start reads the whole library, a third of which would be symbols.
_WITHOUT_SYMBOLS = "-s"


class RuntimeRecipe(HostRecipe):
    """How the runtime is compiled."""

    name = "runtime"
    # Not libtvm_ffi: the process that loads the runtime has loaded it already.
    libraries = ("-ldl",)

    def flags(self, arch: str) -> tuple[str, ...]:
        """Return the compiler's flags, without include folders."""
        # A user who sets options may want to debug the runtime.
        stripped = () if self.options() else (_WITHOUT_SYMBOLS,)
        return (*HOST_FLAGS, *_FLAGS, *stripped)

    def include_dirs(self) -> dict[str, Path]:
        """Return the include folders by the token that stands for each in a key."""
        return {
            **super().include_dirs(),
            "csrc": sources.CSRC,
            "tvm_ffi_include": _tvm_ffi_include(),
        }

    def key_parts(self) -> dict[str, str]:
        """Return the version of tvm-ffi, which stands for its headers."""
        return {"tvm_ffi": tvm_ffi_version()}


RUNTIME_RECIPE = RuntimeRecipe()


def tvm_ffi_version() -> str:
    """Return the version of tvm-ffi that this process has imported, else the installed one."""
    version = getattr(sys.modules.get("tvm_ffi"), "__version__", None)
    return version if isinstance(version, str) else metadata.version("apache-tvm-ffi")


@functools.cache
def _tvm_ffi_include() -> Path:
    # Not imported: if torch is installed, an import takes seconds, during which a compiler can run.
    spec = importlib.util.find_spec("tvm_ffi")
    if spec is None or spec.origin is None:
        raise ToolError("no apache-tvm-ffi: it calls the kernels. pip install apache-tvm-ffi")
    return Path(spec.origin).absolute().parent / "include"
